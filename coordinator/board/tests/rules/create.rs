//! Putting tasks on the board (K1, K2, K6, K13, §10).

use std::{sync::Arc, time::Duration};

use board::{
    command::{Answer, NewTask},
    id::{Digest, Revision, TaskId},
    limits,
    refusal::Refusal,
    task::{Artifact, BlockerFailedPolicy, Priority, Status, TaskKind},
    time::Time,
};

use crate::support::*;

/// C1, L1.
#[test]
fn ids_count_from_one_and_defaults_are_plain() {
    let mut script = Script::new();

    let told = script.create(LEAD, &[card("a"), card("b")]).unwrap();

    told.is(&["lead: #1 created: a", "lead: #2 created: b"])
        .answers(&Answer::Tasks {
            team: TEAM,
            first: TaskId(1),
            count: 2,
        });
    let task = script.task(1);
    assert_eq!(task.status(), Status::Pending);
    assert_eq!(task.owner, None);
    assert_eq!(task.blocked_by, []);
    assert_eq!(task.priority, Priority::Normal);
    assert_eq!(task.kind, TaskKind::Work);
    assert_eq!(task.blocker_failed_policy, BlockerFailedPolicy::Wait);
    assert_eq!(task.crash_limit, limits::CRASH_LIMIT);
    assert_eq!((task.created_at, task.started_at), (script.now, None));
    assert_eq!(script.task(2).revision, Revision(task.revision.0 + 1));
}

/// L2.
#[test]
fn what_was_given_is_kept() {
    let mut script = Script::given(&[card("first")]);
    let new = NewTask {
        subject: "subject".into(),
        description: "description".into(),
        active_form: "doing".into(),
        owner: Some(name("alice")),
        blocked_by: ids([1]),
        metadata: [("k".into(), "1".into())].into(),
        priority: Priority::High,
        labels: vec!["l".into()],
        agent_type: Some(agent_type("coder")),
        prompt: "prompt".into(),
        parent: Some(TaskId(1)),
        kind: TaskKind::Verification,
        deadline: Some(Time(9_000_000)),
        timeout: Some(secs(60)),
        crash_limit: Some(1),
        blocker_failed_policy: BlockerFailedPolicy::Proceed,
        inputs: vec![artifact("in/a")],
        output_globs: vec!["*.md".into()],
        client_task_id: "c-1".into(),
        ..NewTask::default()
    };

    script.create(LEAD, std::slice::from_ref(&new)).unwrap();

    let task = script.task(2);
    assert_eq!(task.subject, new.subject);
    assert_eq!(task.description, new.description);
    assert_eq!(task.active_form, new.active_form);
    assert_eq!(task.owner, new.owner);
    assert_eq!(task.blocked_by, new.blocked_by);
    assert_eq!(task.metadata, new.metadata);
    assert_eq!(task.priority, new.priority);
    assert_eq!(task.labels, new.labels);
    assert_eq!(task.agent_type, new.agent_type);
    assert_eq!(task.prompt, new.prompt);
    assert_eq!(task.parent, new.parent);
    assert_eq!(task.kind, new.kind);
    assert_eq!(task.deadline, new.deadline);
    assert_eq!(task.timeout, new.timeout);
    assert_eq!(task.crash_limit, 1);
    assert_eq!(task.blocker_failed_policy, new.blocker_failed_policy);
    assert_eq!(task.inputs, new.inputs);
    assert_eq!(task.output_globs, new.output_globs);
    assert_eq!(task.client_task_id, new.client_task_id);
}

/// C2.
#[test]
fn a_blank_subject_is_refused() {
    for blank in ["", " ", "\t\n", "\u{2003}"] {
        let refused = Script::new().create(LEAD, &[card(blank)]);
        let blank = Refusal::Blank { field: "subject" };
        assert_eq!(refused.unwrap_err(), blank);
    }
}

#[test]
fn a_refused_item_refuses_the_whole_batch() {
    let mut script = Script::new();

    let refused = script.create(LEAD, &[card("a"), card("")]);

    assert_eq!(refused.unwrap_err(), Refusal::Blank { field: "subject" });
    script
        .create(LEAD, &[card("b")])
        .unwrap()
        .is(&["lead: #1 created: b"]);
}

#[test]
fn items_wait_for_earlier_items_of_their_batch() {
    let mut script = Script::given(&[card("before")]);
    let after = |items: &[usize]| NewTask {
        blocked_by: ids([1]),
        blocked_by_items: items.to_vec(),
        ..card("x")
    };

    script
        .create(LEAD, &[card("a"), after(&[0]), after(&[0, 1])])
        .unwrap();

    assert_eq!(script.task(3).blocked_by, ids([1, 2]));
    assert_eq!(script.task(4).blocked_by, ids([1, 2, 3]));
    for (own_or_later, place) in [(1, 1), (2, 1), (0, 0)] {
        let mut batch = vec![card("a"); place];
        batch.push(after(&[own_or_later]));
        let refusal = Refusal::BadValue {
            field: "blocked_by_items",
            why: format!("names item {own_or_later}, which is no earlier one of the batch"),
        };
        assert_eq!(script.create(LEAD, &batch).unwrap_err(), refusal);
    }
}

#[test]
fn a_batch_has_at_least_one_item() {
    let refused = Script::new().create(LEAD, &[]);

    assert_eq!(refused.unwrap_err(), Refusal::Blank { field: "tasks" });
}

#[test]
fn a_parent_must_be_there() {
    let mut script = Script::new();
    let child = NewTask {
        parent: Some(TaskId(1)),
        ..card("child")
    };

    let refused = script.create(LEAD, std::slice::from_ref(&child));
    let in_batch = script.create(LEAD, &[card("parent"), child]);

    let unknown = Refusal::ReferenceUnknown {
        field: "parent_task_id",
        task: TaskId(1),
        team: t(),
    };
    assert_eq!(refused.unwrap_err(), unknown);
    assert!(in_batch.is_ok());
}

#[test]
fn an_owner_must_be_on_the_roster() {
    let refused = Script::new().create(LEAD, &[owned_by("mallory", card("a"))]);

    let unknown = Refusal::MemberUnknown {
        member: name("mallory"),
        team: t(),
    };
    assert_eq!(refused.unwrap_err(), unknown);
}

/// K13, each kind of owner with and without a type.
#[test]
fn a_task_waits_for_a_worker_if_it_has_a_type_or_a_hosted_owner() {
    let mut script = Script::new();
    script.join("w1");
    let is_for_worker = [
        (card("nobody's card"), false),
        (job("nobody's job"), true),
        (owned_by(LEAD, card("the lead's own card")), false),
        (owned_by(LEAD, job("the lead's job")), true),
        (owned_by("alice", card("an agent's card")), false),
        (owned_by("alice", job("an agent's job")), true),
        (owned_by("hana", card("a hosted member's card")), true),
        (owned_by("hana", job("a hosted member's job")), true),
        (owned_by("w1", job("a worker's job")), true),
    ];

    for (task, is_queued) in is_for_worker {
        script.create(LEAD, std::slice::from_ref(&task)).unwrap();

        let last = script.shelf.tasks.keys().next_back().unwrap().1.0;
        assert_eq!(script.queued().contains(&last), is_queued, "{task:?}");
        let dispatched = script.clone().try_dispatch(last, "w1");
        assert_eq!(dispatched.is_ok(), is_queued, "{task:?}");
    }
}

#[test]
fn a_task_of_a_worker_must_name_a_type() {
    let mut script = Script::new();
    script.join("w1");

    let refused = script.create(LEAD, &[owned_by("w1", card("a"))]);

    let missing = Refusal::AgentTypeMissing { owner: name("w1") };
    assert_eq!(refused.unwrap_err(), missing);
}

#[test]
fn a_command_type_never_runs_without_a_prompt() {
    let mut script = Script::new();
    let shell = |prompt: &str| NewTask {
        agent_type: Some(agent_type("shell")),
        prompt: prompt.into(),
        ..card("rm everything that is old")
    };
    let missing = Refusal::PromptMissing {
        agent_type: agent_type("shell"),
    };

    for blank in ["", " \n"] {
        let refused = script.create(LEAD, &[shell(blank)]);
        assert_eq!(refused.unwrap_err(), missing);
    }
    assert!(script.create(LEAD, &[shell("true")]).is_ok());
}

fn artifact(path: &str) -> Artifact {
    Artifact {
        digest: Digest([1; 32]),
        path: path.into(),
        size: 1,
    }
}

fn long(len: usize) -> Arc<str> {
    "x".repeat(len).into()
}

/// One claim for each bound: at it all is well, one past it is refused.
#[test]
fn each_bound_of_a_task_holds_at_it_and_refuses_one_past_it() {
    type Make = fn(usize) -> NewTask;
    let bounds: [(&str, usize, Make); 11] = [
        ("subject", limits::SUBJECT_CHARS_MAX, |n| NewTask {
            subject: "ä".repeat(n).into(),
            ..card("a")
        }),
        ("description", limits::DESCRIPTION_LEN_MAX, |n| NewTask {
            description: long(n),
            ..card("a")
        }),
        ("active_form", limits::ACTIVE_FORM_LEN_MAX, |n| NewTask {
            active_form: long(n),
            ..card("a")
        }),
        ("prompt", limits::PROMPT_LEN_MAX, |n| NewTask {
            prompt: long(n),
            ..card("a")
        }),
        ("client_task_id", limits::CLIENT_TASK_ID_CHARS_MAX, |n| {
            NewTask {
                client_task_id: long(n),
                ..card("a")
            }
        }),
        ("metadata", limits::METADATA_LEN_MAX, |n| NewTask {
            metadata: [("k".into(), long(n - 1))].into(),
            ..card("a")
        }),
        ("labels", limits::LABELS_MAX, |n| NewTask {
            labels: vec!["l".into(); n],
            ..card("a")
        }),
        ("labels", limits::LABEL_CHARS_MAX, |n| NewTask {
            labels: vec![long(n)],
            ..card("a")
        }),
        ("output_globs", limits::OUTPUT_GLOBS_MAX, |n| NewTask {
            output_globs: vec!["*".into(); n],
            ..card("a")
        }),
        ("inputs", limits::ARTIFACTS_MAX, |n| NewTask {
            inputs: (0..n).map(|i| artifact(&format!("f{i}"))).collect(),
            ..card("a")
        }),
        ("inputs", limits::ARTIFACT_PATH_LEN_MAX, |n| NewTask {
            inputs: vec![artifact(&long(n))],
            ..card("a")
        }),
    ];
    for (name, max, make) in bounds {
        let mut script = Script::new();
        script.create(LEAD, &[make(max)]).unwrap();
        match script.create(LEAD, &[make(max + 1)]).unwrap_err() {
            Refusal::TooLong {
                field,
                len: n,
                max: m,
                ..
            }
            | Refusal::TooMany {
                field,
                count: n,
                max: m,
            } => assert_eq!((field, n, m), (name, max + 1, max)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn crash_limit_and_timeout_stay_in_their_bounds() {
    let with = |crash_limit, timeout| {
        let task = NewTask {
            crash_limit,
            timeout,
            ..card("a")
        };
        Script::new().create(LEAD, &[task])
    };
    let field = |step: Step| match step.unwrap_err() {
        Refusal::BadValue { field, .. } => field,
        other => panic!("{other:?}"),
    };
    let tick = Duration::from_millis(1);

    assert!(with(Some(limits::CRASH_LIMIT_MAX), None).is_ok());
    assert!(with(None, Some(tick)).is_ok());
    assert!(with(None, Some(limits::TIMEOUT_MAX)).is_ok());
    assert_eq!(
        field(with(Some(limits::CRASH_LIMIT_MAX + 1), None)),
        "crash_limit"
    );
    assert_eq!(field(with(None, Some(Duration::ZERO))), "timeout");
    assert_eq!(
        field(with(None, Some(limits::TIMEOUT_MAX + tick))),
        "timeout"
    );
}

#[test]
fn an_input_stays_below_its_directory_and_comes_once() {
    let with = |paths: &[&str]| {
        let inputs = paths.iter().map(|path| artifact(path)).collect();
        let task = NewTask {
            inputs,
            ..card("a")
        };
        Script::new().create(LEAD, &[task])
    };

    for bad in ["", "/a", "a/", "a//b", "../a", "a/..", "./a", "a\0b"] {
        let refused = with(&[bad]).unwrap_err();
        let field = matches!(
            refused,
            Refusal::BadValue {
                field: "inputs",
                ..
            }
        );
        assert!(field, "{bad:?}: {refused:?}");
    }
    assert!(matches!(
        with(&["a", "a"]),
        Err(Refusal::BadValue {
            field: "inputs",
            ..
        })
    ));
    assert!(with(&["a", "b/..c/d", "ä b"]).is_ok());
}

#[test]
fn a_batch_holds_at_its_bounds_and_refuses_one_past_them() {
    let mut script = Script::new();
    script.is_checked = false;
    let cards = |n: usize| vec![card("a"); n];
    // Sixteen tasks of 256 KiB make 4 MiB; the subjects are over it.
    let fat = |subject: &str, n: usize| {
        vec![
            NewTask {
                description: long(limits::DESCRIPTION_LEN_MAX - subject.len()),
                ..card(subject)
            };
            n
        ]
    };

    let too_many = script.create(LEAD, &cards(limits::BATCH_MAX + 1));
    let too_fat = script.create(LEAD, &fat("a", 17));
    let most = script.create(LEAD, &cards(limits::BATCH_MAX));
    let fattest = script.create(LEAD, &fat("a", 16));

    let count = Refusal::TooMany {
        field: "tasks",
        count: limits::BATCH_MAX + 1,
        max: limits::BATCH_MAX,
    };
    let size = Refusal::CommandTooLarge {
        size: 17 * limits::DESCRIPTION_LEN_MAX,
        max: limits::BYTES_PER_COMMAND_MAX,
        unit: "bytes",
    };
    assert_eq!(too_many.unwrap_err(), count);
    assert_eq!(too_fat.unwrap_err(), size);
    assert!(most.is_ok() && fattest.is_ok());
    script.check();
}

/// Every text and path of a task weighs, not only the long ones.
#[test]
fn a_batch_weighs_all_that_its_tasks_carry() {
    let heavy = NewTask {
        inputs: (0..250)
            .map(|i| artifact(&format!("{i}/{}", long(1_000))))
            .collect(),
        labels: vec![long(100); 60],
        output_globs: vec![long(1_000); 60],
        ..card("a")
    };
    let refused = Script::new().create(LEAD, &vec![heavy; 20]);

    assert!(
        matches!(refused, Err(Refusal::CommandTooLarge { unit: "bytes", .. })),
        "{refused:?}"
    );
}

#[test]
fn one_command_touches_no_more_records_than_it_may() {
    let mut script = Script::new();
    script.is_checked = false;
    for _ in 0..5 {
        script.create(LEAD, &vec![card("a"); 1_000]).unwrap();
    }
    let blocks = |first: u64| NewTask {
        blocks: ids(first..first + 1_000),
        ..card("b")
    };

    let batch: Vec<NewTask> = (0..5).map(|i| blocks(i * 1_000 + 1)).collect();
    let refused = script.create(LEAD, &batch);

    assert!(
        matches!(
            refused,
            Err(Refusal::CommandTooLarge {
                unit: "records",
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(script.create(LEAD, &batch[..4]).is_ok());
    script.check();
}
