//! The bounds of what may be said of a task after it was made, and of what claims it (§10): at
//! each all is well, one past it is refused with the field.

use std::{sync::Arc, time::Duration};

use board::{
    command::{ClaimNext, CreateTeam, Lease, NewTask, Update, Wish},
    id::{Digest, TaskId},
    limits,
    refusal::Refusal,
    task::{Artifact, BlockerFailedPolicy, Priority, Retry, Status},
};

use crate::support::*;

const TICK: Duration = Duration::from_millis(1);

/// A task to be changed, one that the lead holds, one that is over.
fn script() -> Script {
    let mut script = Script::given(&[card("a"), card("held"), card("over")]);
    script.claim(LEAD, 2).unwrap();
    script.set(LEAD, 3, Status::Completed).unwrap();
    script
}

fn long(n: usize) -> Arc<str> {
    "x".repeat(n).into()
}

/// Text of so many characters, each of two bytes.
fn wide(n: usize) -> Arc<str> {
    "ä".repeat(n).into()
}

fn labels(n: usize) -> Vec<Arc<str>> {
    (0..n).map(|i| format!("l{i}").into()).collect()
}

fn output(path: &str) -> Artifact {
    Artifact {
        digest: Digest([1; 32]),
        path: path.into(),
        size: 1,
    }
}

fn update(update: Update) -> Wish {
    Wish::UpdateTask(t(), TaskId(1), Box::new(update))
}

fn change(change: impl FnOnce(&mut Update)) -> Wish {
    let mut changes = Update::default();
    change(&mut changes);
    update(changes)
}

fn make(make: impl FnOnce(&mut NewTask)) -> Wish {
    let mut task = card("new");
    make(&mut task);
    create(&[task])
}

type Make = fn(usize) -> Wish;

/// A field, its bound, and a wish that has so much in it.
fn lengths_and_counts() -> [(&'static str, usize, Make); 18] {
    let note = limits::NOTE_LEN_MAX;
    [
        ("prompt", limits::PROMPT_LEN_MAX, |n| {
            change(|c| c.prompt = Some(long(n)))
        }),
        ("add_labels", limits::LABELS_MAX, |n| {
            change(|c| c.add_labels = labels(n))
        }),
        ("add_labels", limits::LABEL_CHARS_MAX, |n| {
            change(|c| c.add_labels = vec![wide(n)])
        }),
        ("remove_labels", limits::LABELS_MAX, |n| {
            change(|c| c.remove_labels = labels(n))
        }),
        ("add_outputs", limits::ARTIFACTS_MAX, |n| {
            change(|c| c.add_outputs = (0..n).map(|i| output(&format!("o{i}"))).collect())
        }),
        ("add_outputs", limits::ARTIFACT_PATH_LEN_MAX, |n| {
            change(|c| c.add_outputs = vec![output(&long(n))])
        }),
        ("reason", note, |n| change(|c| c.reason = Some(long(n)))),
        ("remove_blocks", limits::EDGES_MAX, |n| {
            change(|c| c.remove_blocks = ids(1..=n as u64))
        }),
        ("remove_blocked_by", limits::EDGES_MAX, |n| {
            change(|c| c.remove_blocked_by = ids(1..=n as u64))
        }),
        ("labels", limits::LABEL_CHARS_MAX, |n| {
            make(|task| task.labels = vec![wide(n)])
        }),
        ("client_task_id", limits::CLIENT_TASK_ID_CHARS_MAX, |n| {
            make(|task| task.client_task_id = wide(n))
        }),
        ("output_globs", limits::ARTIFACT_PATH_LEN_MAX, |n| {
            make(|task| task.output_globs = vec![long(n)])
        }),
        ("reason", note, |n| {
            Wish::ReleaseTask(t(), TaskId(2), None, long(n))
        }),
        ("reason", note, |n| {
            Wish::ReopenTask(t(), TaskId(3), None, long(n))
        }),
        ("reason", note, |n| Wish::PauseTask(t(), TaskId(1), long(n))),
        ("reason", note, |n| {
            Wish::CancelTask(t(), TaskId(1), long(n))
        }),
        ("labels", limits::WANTED_LABELS_MAX, |n| {
            let labels = labels(n);
            let wanted = ClaimNext {
                labels,
                ..ClaimNext::default()
            };
            Wish::ClaimNext(t(), wanted)
        }),
        ("updates", limits::BATCH_MAX, |n| {
            Wish::UpdateTasks(t(), vec![(TaskId(1), Update::default()); n])
        }),
    ]
}

#[test]
fn each_length_and_count_holds_at_its_bound_and_refuses_one_past_it() {
    let script = script();
    for (name, max, make) in lengths_and_counts() {
        assert_eq!(script.would(LEAD, make(max)), Ok(()), "{name}");
        match script.would(LEAD, make(max + 1)).unwrap_err() {
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
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// What is added counts together with what is there.
#[test]
fn labels_and_outputs_stay_in_their_bounds_however_they_come() {
    let mut script = Script::given(&[NewTask {
        labels: labels(limits::LABELS_MAX),
        ..card("a")
    }]);
    let outputs = |from: usize, to: usize| Update {
        add_outputs: (from..to).map(|i| output(&format!("o{i}"))).collect(),
        ..Update::default()
    };
    let label = |add: &str, remove: &str| Update {
        add_labels: vec![add.into()],
        remove_labels: vec![remove.into()],
        ..Update::default()
    };
    let most = limits::ARTIFACTS_MAX;

    let one_more = script.update(LEAD, 1, label("new", "none"));
    let another = script.update(LEAD, 1, label("new", "l0"));
    script.update(LEAD, 1, outputs(0, most)).unwrap();
    let more_outputs = script.update(LEAD, 1, outputs(most, most + 1));
    let the_same = script.update(LEAD, 1, outputs(most - 1, most));

    let too_many = |field, max| Refusal::TooMany {
        field,
        count: max + 1,
        max,
    };
    assert_eq!(
        one_more.unwrap_err(),
        too_many("labels", limits::LABELS_MAX)
    );
    another.unwrap().is(&["lead: #1 updated: labels"]);
    assert_eq!(more_outputs.unwrap_err(), too_many("outputs", most));
    the_same.unwrap().is(&[]);
}

#[test]
fn what_is_blank_or_no_path_is_refused_with_its_field() {
    let script = script();
    let blank = |field| Err(Refusal::Blank { field });

    let label = script.would(LEAD, change(|c| c.add_labels = vec![" ".into()]));
    let no_updates = script.would(LEAD, Wish::UpdateTasks(t(), vec![]));
    let no_reason = script.would(LEAD, Wish::ReopenTask(t(), TaskId(3), None, " \n".into()));
    let path = script.would(LEAD, change(|c| c.add_outputs = vec![output("../a")]));
    let twice = script.would(
        LEAD,
        change(|c| c.add_outputs = vec![output("a"), output("a")]),
    );

    assert_eq!(label, blank("add_labels"));
    assert_eq!(no_updates, blank("updates"));
    assert_eq!(no_reason, blank("reason"));
    for refused in [path, twice] {
        let bad = matches!(
            refused,
            Err(Refusal::BadValue {
                field: "add_outputs",
                ..
            })
        );
        assert!(bad, "{refused:?}");
    }
}

fn retry(max_attempts: u32, initial: Duration, max: Duration) -> Option<Retry> {
    Some(Retry {
        max_attempts,
        initial_backoff: initial,
        max_backoff: max,
    })
}

fn lease(span: Duration) -> Wish {
    Wish::ClaimTask(t(), TaskId(1), None, Some(Lease(Some(span))))
}

fn next_lease(span: Duration) -> Wish {
    let lease = Lease(Some(span));
    let wanted = ClaimNext {
        lease,
        ..ClaimNext::default()
    };
    Wish::ClaimNext(t(), wanted)
}

fn threshold(threshold: u32) -> Wish {
    Wish::CreateTeam(CreateTeam {
        verification_threshold: Some(threshold),
        ..team("new")
    })
}

/// The least and the most of each number and span, and one past each: the same when a task is
/// made and when it is changed.
#[test]
fn each_number_and_span_holds_at_its_bounds_and_refuses_one_past_them() {
    let zero = Duration::ZERO;
    let day = limits::RETRY_BACKOFF_LIMIT;
    let timeouts = |span| {
        let made = make(|task| task.timeout = Some(span));
        [made, change(|c| c.timeout = Some(span))]
    };
    let retries = |retry| [make(|task| task.retry = retry), change(|c| c.retry = retry)];
    let leases = |span| [lease(span), next_lease(span)];
    let thresholds = |n| [threshold(n), threshold(n)];
    let most = limits::VERIFICATION_THRESHOLD_MAX;

    let good = [
        timeouts(TICK),
        timeouts(limits::TIMEOUT_MAX),
        retries(retry(1, zero, zero)),
        retries(retry(limits::ATTEMPTS_MAX, day, day)),
        leases(limits::CLAIM_LEASE_MIN),
        leases(limits::CLAIM_LEASE_MAX),
        thresholds(0),
        thresholds(most),
    ];
    let bad = [
        ("timeout", timeouts(zero)),
        ("timeout", timeouts(limits::TIMEOUT_MAX + TICK)),
        ("retry.max_attempts", retries(retry(0, zero, zero))),
        (
            "retry.max_attempts",
            retries(retry(limits::ATTEMPTS_MAX + 1, zero, zero)),
        ),
        ("retry.initial_backoff", retries(retry(1, day + TICK, day))),
        ("retry.max_backoff", retries(retry(1, day, day + TICK))),
        ("lease", leases(limits::CLAIM_LEASE_MIN - TICK)),
        ("lease", leases(limits::CLAIM_LEASE_MAX + TICK)),
        ("verification_threshold", thresholds(most + 1)),
    ];

    let script = script();
    for wish in good.into_iter().flatten() {
        assert_eq!(script.would(LEAD, wish.clone()), Ok(()), "{wish:?}");
    }
    for (name, wishes) in bad {
        for wish in wishes {
            match script.would(LEAD, wish).unwrap_err() {
                Refusal::BadValue { field, .. } => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_lease_that_may_not_be_is_refused_where_nothing_is_ready_too() {
    let mut script = script();
    script.claim(LEAD, 1).unwrap();

    let refused = script.would(LEAD, next_lease(TICK)).unwrap_err();

    assert!(matches!(refused, Refusal::BadValue { field: "lease", .. }));
    assert_eq!(
        script.would(LEAD, next_lease(limits::CLAIM_LEASE_MIN)),
        Ok(())
    );
}

/// P4: a batch is refused as soon as it would write too much, not after all of it.
#[test]
fn a_batch_of_updates_writes_no_more_records_than_a_commit_may_hold() {
    let mut script = Script::new();
    script.is_checked = false;
    for _ in 0..5 {
        script.create(LEAD, &vec![card("a"); 1_000]).unwrap();
    }
    let blocks = |item: u64| {
        let first = item * 1_000 + 1;
        let update = Update {
            add_blocks: ids(first + 1..first + 1_000),
            ..Update::default()
        };
        (TaskId(first), update)
    };
    let five: Vec<_> = (0..5).map(blocks).collect();

    let refused = script.by(LEAD, Wish::UpdateTasks(t(), five.clone()));
    let four = script.by(LEAD, Wish::UpdateTasks(t(), five[..4].to_vec()));

    let too_large = Refusal::CommandTooLarge {
        size: 5_000,
        max: limits::RECORDS_PER_COMMAND_MAX,
        unit: "records",
    };
    assert_eq!(refused.unwrap_err(), too_large);
    assert!(four.is_ok());
    script.check();
}

fn heavy(task: NewTask) -> NewTask {
    NewTask {
        description: long(limits::DESCRIPTION_LEN_MAX),
        ..task
    }
}

/// P4: what is written are whole tasks, however little of them changes.
#[test]
fn a_batch_of_updates_changes_no_more_bytes_than_a_commit_may_hold() {
    let mut script = Script::new();
    for _ in 0..2 {
        script.create(LEAD, &vec![heavy(card("a")); 15]).unwrap();
    }
    let urgent = |task: u64| {
        let update = Update {
            priority: Some(Priority::High),
            ..Update::default()
        };
        (TaskId(task), update)
    };
    let batch = |most: u64| Wish::UpdateTasks(t(), (1..=most).map(urgent).collect());

    let refused = script.by(LEAD, batch(17));
    let granted = script.by(LEAD, batch(16));

    let too_large = Refusal::CommandTooLarge {
        size: 17 * limits::DESCRIPTION_LEN_MAX,
        max: limits::BYTES_PER_COMMAND_MAX,
        unit: "bytes",
    };
    assert_eq!(refused.unwrap_err(), too_large);
    assert!(granted.is_ok());
}

#[test]
fn a_cascade_of_heavy_tasks_is_worked_off_in_steps() {
    let cancels = |blocker| {
        heavy(NewTask {
            blocker_failed_policy: BlockerFailedPolicy::Cancel,
            ..waits_for([blocker], card("x"))
        })
    };
    let mut script = Script::given(&[card("root")]);
    for _ in 0..2 {
        script.create(LEAD, &vec![cancels(1); 10]).unwrap();
    }
    for blockers in [2..12, 12..22] {
        let batch: Vec<NewTask> = blockers.map(cancels).collect();
        script.create(LEAD, &batch).unwrap();
    }

    let first = script.set(LEAD, 1, Status::Failed).unwrap();
    let mut steps = vec![first.decision.events.len()];
    while let Some(told) = script.tick() {
        steps.push(told.decision.events.len());
    }

    assert_eq!(steps.iter().sum::<usize>(), 41, "{steps:?}");
    assert!(steps.len() > 1 && steps[0] == 21, "{steps:?}");
}
