//! Cancelling, holding and resuming what a filter finds.

use board::{
    command::{Answer, NewTask, Sweep, SweepWhat, Wish},
    id::TaskId,
    limits,
    refusal::Refusal,
    task::{BlockerFailedPolicy, Status},
};

use crate::support::*;

fn sweep(what: SweepWhat) -> Sweep {
    Sweep {
        what,
        reason: "".into(),
        parent: None,
        label: None,
        agent_type: None,
        owner: None,
        tasks: vec![],
        after: TaskId(0),
    }
}

fn below(what: SweepWhat, parent: u64) -> Sweep {
    Sweep {
        parent: Some(TaskId(parent)),
        ..sweep(what)
    }
}

fn named(what: SweepWhat, tasks: impl IntoIterator<Item = u64>) -> Sweep {
    Sweep {
        tasks: ids(tasks),
        ..sweep(what)
    }
}

fn wish(sweep: Sweep) -> Wish {
    Wish::SweepTasks(t(), Box::new(sweep))
}

fn swept(count: u32, is_more: bool, last: u64) -> Answer {
    Answer::Swept {
        team: TEAM,
        count,
        is_more,
        last: TaskId(last),
    }
}

fn labelled(label: &str, task: NewTask) -> NewTask {
    NewTask {
        labels: vec![label.into()],
        ..task
    }
}

fn statuses(script: &Script, tasks: impl IntoIterator<Item = u64>) -> Vec<&'static str> {
    let word = |task| script.task(task).status().word();
    tasks.into_iter().map(word).collect()
}

const CANCEL: SweepWhat = SweepWhat::Cancel;

#[test]
fn all_that_is_open_below_a_task_is_cancelled_at_any_depth_and_what_runs_is_stopped() {
    let mut script = Script::given(&[
        card("the whole"),
        part_of(1, card("a part")),
        part_of(2, job("running")),
        part_of(1, card("done")),
        part_of(4, card("below what is done")),
        card("another"),
    ]);
    script.dispatch(3, "w1");
    script.set(LEAD, 4, Status::Completed).unwrap();

    let told = script.by(LEAD, wish(below(CANCEL, 1))).unwrap();

    told.answers(&swept(3, false, 5)).is(&[
        "lead: #2 pending → cancelled: cancelled by lead",
        "lead: #3 stop of attempt 1: cancelled by lead",
        "lead: #5 pending → cancelled: cancelled by lead",
        "> #2 is over",
        "> stop #3/1: cancelled by lead",
        "> #5 is over",
    ]);
    let expected = [
        "pending",
        "cancelled",
        "in_progress",
        "completed",
        "cancelled",
        "pending",
    ];
    assert_eq!(statuses(&script, 1..=6), expected);
    let again = script.by(LEAD, wish(below(CANCEL, 1))).unwrap();
    again.answers(&swept(0, false, 5)).is(&[]);
}

#[test]
fn filters_add_up() {
    let tasks = [
        labelled("x", job("label and type")),
        labelled("x", card("label")),
        job("type"),
        labelled("x", owned_by("hana", card("label, and its owner's type"))),
        labelled("x", part_of(1, job("below too"))),
    ];
    let filters = [
        (
            Sweep {
                label: Some("x".into()),
                ..sweep(CANCEL)
            },
            vec![1, 2, 4, 5],
        ),
        (
            Sweep {
                agent_type: Some(agent_type("coder")),
                ..sweep(CANCEL)
            },
            vec![1, 3, 4, 5],
        ),
        (
            Sweep {
                owner: Some(name("hana")),
                ..sweep(CANCEL)
            },
            vec![4],
        ),
        (
            Sweep {
                label: Some("x".into()),
                ..below(CANCEL, 1)
            },
            vec![5],
        ),
        (
            Sweep {
                label: Some("x".into()),
                ..named(CANCEL, [3, 2, 2])
            },
            vec![2],
        ),
        (
            Sweep {
                owner: Some(name("alice")),
                ..sweep(CANCEL)
            },
            vec![],
        ),
    ];
    for (filter, expected) in filters {
        let mut script = Script::given(&tasks);
        script.by(LEAD, wish(filter.clone())).unwrap();
        let is_cancelled = |task: &u64| script.task(*task).status() == Status::Cancelled;
        let cancelled: Vec<u64> = (1..=5).filter(is_cancelled).collect();
        assert_eq!(cancelled, expected, "{filter:?}");
    }
}

#[test]
fn what_is_pending_is_held_and_what_is_held_goes_on() {
    let label = |what| Sweep {
        label: Some("x".into()),
        reason: "the model is down".into(),
        ..sweep(what)
    };
    let mut script = Script::given(&[
        labelled("x", job("waits")),
        labelled("x", job("runs")),
        labelled("x", card("claimed")),
        labelled("x", card("held by hand")),
    ]);
    script.dispatch(2, "w1");
    script.claim("alice", 3).unwrap();
    script
        .by(LEAD, Wish::PauseTask(t(), TaskId(4), "mine".into()))
        .unwrap();

    let told = script.by(LEAD, wish(label(SweepWhat::Pause))).unwrap();

    told.answers(&swept(1, false, 4))
        .is(&["lead: #1 paused: the model is down"]);
    assert_eq!(script.queued(), []);
    script
        .by(LEAD, wish(label(SweepWhat::Resume)))
        .unwrap()
        .answers(&swept(2, false, 4))
        .is(&["lead: #1 resumed", "lead: #4 resumed"]);
    assert_eq!(script.queued(), [1]);
}

#[test]
fn a_sweep_without_a_filter_is_refused_and_so_are_names_that_mean_nothing() {
    let mut script = Script::given(&[card("a")]);
    let unknown = |field| Refusal::ReferenceUnknown {
        field,
        task: TaskId(9),
        team: t(),
    };
    let blank = Refusal::Blank { field: "filter" };
    let only_a_place = Sweep {
        after: TaskId(1),
        ..sweep(CANCEL)
    };
    let too_many = Refusal::TooMany {
        field: "filter.task_ids",
        count: limits::BATCH_MAX + 1,
        max: limits::BATCH_MAX,
    };
    let cases = [
        (sweep(CANCEL), blank.clone()),
        (only_a_place, blank),
        (below(CANCEL, 9), unknown("filter.parent_task_id")),
        (
            named(CANCEL, [1, 9]),
            Refusal::TaskUnknown {
                task: TaskId(9),
                team: t(),
                was_deleted: false,
            },
        ),
        (named(CANCEL, 1..=limits::BATCH_MAX as u64 + 1), too_many),
    ];
    for (filter, expected) in cases {
        assert_eq!(script.by(LEAD, wish(filter)).unwrap_err(), expected);
    }
    assert_eq!(statuses(&script, 1..=1), ["pending"]);
}

#[test]
fn who_may_not_change_a_task_passes_it_over_and_may_not_name_it() {
    let label = Sweep {
        label: Some("x".into()),
        ..sweep(CANCEL)
    };
    let mut script = Script::given(&[
        labelled("x", owned_by("bob", card("bob's"))),
        labelled("x", owned_by("alice", card("alice's"))),
        labelled("x", card("nobody's, made by the lead")),
    ]);

    let refused = script.by("alice", wish(named(CANCEL, [2, 1]))).unwrap_err();
    script
        .by("alice", wish(label))
        .unwrap()
        .answers(&swept(1, false, 3));

    let not_owner = Refusal::NotOwner {
        task: TaskId(1),
        owner: Some(name("bob")),
        member: by("alice"),
    };
    assert_eq!(refused, not_owner);
    assert_eq!(
        statuses(&script, 1..=3),
        ["pending", "cancelled", "pending"]
    );
}

#[test]
fn a_sub_agent_sweeps_its_own_list_only() {
    let label = Sweep {
        label: Some("x".into()),
        ..sweep(CANCEL)
    };
    let mut script = Script::given(&[
        labelled("x", job("runs")),
        labelled("x", part_of(1, card("below"))),
        labelled("x", card("beside")),
    ]);
    script.dispatch(1, "w1");

    script
        .by_agent(1, 1, wish(label))
        .unwrap()
        .answers(&swept(1, false, 3));
    let beside = script.by_agent(1, 1, wish(below(CANCEL, 3))).unwrap_err();

    assert_eq!(
        statuses(&script, 1..=3),
        ["in_progress", "cancelled", "pending"]
    );
    let field = "filter.parent_task_id";
    assert_eq!(
        beside,
        Refusal::ReferenceUnknown {
            field,
            task: TaskId(3),
            team: t()
        }
    );
}

/// One call never becomes a commit without bound, and the next goes on where it stopped.
#[test]
fn a_long_sweep_goes_on_call_by_call() {
    let mut script = Script::given(&[card("the whole")]);
    script.is_checked = false;
    let some: Vec<NewTask> = (0..1_000).map(|_| part_of(1, card("a part"))).collect();
    for _ in 0..3 {
        script.create(LEAD, &some).unwrap();
    }
    script.create(LEAD, &some[..1]).unwrap();

    let mut calls = vec![];
    let mut after = TaskId(0);
    loop {
        let filter = Sweep {
            after,
            ..below(CANCEL, 1)
        };
        let told = script.by(LEAD, wish(filter)).unwrap();
        assert!(told.decision.records.len() <= limits::RECORDS_PER_COMMAND_MAX);
        let Answer::Swept {
            count,
            is_more,
            last,
            ..
        } = told.answer
        else {
            panic!("a sweep answers what it swept");
        };
        calls.push(count);
        after = last;
        if !is_more {
            break;
        }
    }

    assert_eq!(calls, [1_000, 1_000, 1_000, 1]);
    assert_eq!(after, TaskId(3_002));
    assert_eq!(script.board.counts(TEAM).cancelled, 3_001);
    script.check();
}

/// What a cancelled task drags along doesn't make the commit larger than it may be.
#[test]
fn a_sweep_over_tasks_with_many_dependants_stays_within_a_commit() {
    let drags = |blocker| NewTask {
        blocker_failed_policy: BlockerFailedPolicy::Cancel,
        ..waits_for([blocker], owned_by("bob", card("dragged along")))
    };
    let mut script = Script::given(&[labelled("x", card("first")), labelled("x", card("second"))]);
    script.is_checked = false;
    for blocker in [1, 2] {
        let some: Vec<NewTask> = (0..1_000).map(|_| drags(blocker)).collect();
        script.create(LEAD, &some).unwrap();
    }
    let label = |after| Sweep {
        label: Some("x".into()),
        after: TaskId(after),
        ..sweep(CANCEL)
    };

    let first = script.by(LEAD, wish(label(0))).unwrap();
    let second = script.by(LEAD, wish(label(1))).unwrap();

    first.answers(&swept(1, true, 1));
    second.answers(&swept(1, true, 2));
    while script.tick().is_some() {}
    assert_eq!(script.board.counts(TEAM).cancelled, 2_002);
    script.check();
}

/// Tasks that are looked at in vain are counted too: a call over a large board stays short.
#[test]
fn a_sweep_that_finds_little_stops_and_says_where() {
    let mut script = Script::new();
    script.is_checked = false;
    let some: Vec<NewTask> = (0..1_000).map(|_| card("other")).collect();
    for _ in 0..10 {
        script.create(LEAD, &some).unwrap();
    }
    script
        .create(LEAD, &[labelled("x", card("the one"))])
        .unwrap();
    let label = |after| Sweep {
        label: Some("x".into()),
        after: TaskId(after),
        ..sweep(CANCEL)
    };

    script
        .by(LEAD, wish(label(0)))
        .unwrap()
        .answers(&swept(0, true, 10_000));
    script
        .by(LEAD, wish(label(10_000)))
        .unwrap()
        .answers(&swept(1, false, 10_001));
    assert_eq!(statuses(&script, [10_001]), ["cancelled"]);
}
