//! Changing a task (K3, K6, K7, K8, K9).

use std::sync::Arc;

use board::{
    command::{Answer, NewTask, Update},
    event::Fields,
    id::{Revision, TaskId},
    limits,
    refusal::Refusal,
    task::{Priority, Status, TaskKind},
};

use crate::support::*;

const ALL: [Status; 5] = [
    Status::Pending,
    Status::InProgress,
    Status::Completed,
    Status::Failed,
    Status::Cancelled,
];

/// C6: from each status to each other, of a task that its owner holds.
#[test]
fn a_status_only_moves_forward() {
    for from in ALL {
        for to in ALL {
            let mut script = Script::given(&[card("a")]);
            if from != Status::Pending {
                script.set("alice", 1, Status::InProgress).unwrap();
            }
            if from.is_terminal() {
                script.set("alice", 1, from).unwrap();
            }

            let step = script.set(LEAD, 1, to);

            let late = Refusal::LateEnding {
                task: TaskId(1),
                status: from,
            };
            let backward = Refusal::StatusBackward {
                task: TaskId(1),
                from,
                to,
            };
            match step {
                Err(refusal) if from.is_terminal() => assert_eq!(refusal, late),
                Err(refusal) => {
                    assert_eq!(to, Status::Pending);
                    assert_eq!(refusal, backward);
                }
                Ok(told) if from == to => {
                    told.is(&[]);
                }
                Ok(_) => assert!(to > from && !from.is_terminal(), "{from:?} → {to:?}"),
            }
        }
    }
}

/// D8: an update that changes nothing leaves no trace, not even a write.
#[test]
fn an_update_that_changes_nothing_leaves_no_trace() {
    let mut script = Script::given(&[owned_by("alice", card("a"))]);
    script.claim("alice", 1).unwrap();
    let same = Update {
        subject: Some("a".into()),
        description: Some("".into()),
        owner: Some(Some(name("alice"))),
        status: Some(Status::InProgress),
        priority: Some(Priority::Normal),
        metadata: [("gone".into(), None)].into(),
        ..Update::default()
    };

    let told = script.update("alice", 1, same).unwrap();

    told.is(&[])
        .answers(&Answer::Updated(board::command::Updated {
            task: key(1),
            fields: Fields::default(),
            status: None,
            unblocked: vec![],
            verification_nudge: None,
        }));
    assert_eq!(told.decision.records, []);
}

#[test]
fn an_update_says_which_fields_and_which_status_it_changed() {
    let mut script = Script::given(&[card("a"), waits_for([1], card("b"))]);
    let update = Update {
        status: Some(Status::Completed),
        subject: Some("A".into()),
        description: Some("long".into()),
        active_form: Some("doing".into()),
        priority: Some(Priority::High),
        metadata: [("k".into(), Some("1".into()))].into(),
        result: Some("fine".into()),
        ..Update::default()
    };

    let told = script.update(LEAD, 1, update).unwrap();

    told.is(&[
        "lead: #1 updated: subject, description, active_form, metadata, priority, result",
        "lead: #1 pending → completed",
        "lead: #2 unblocked (because of #1)",
        "> #1 is over",
    ]);
    let Answer::Updated(board::command::Updated {
        fields,
        status,
        unblocked,
        ..
    }) = &told.answer
    else {
        panic!("{:?}", told.answer);
    };
    let names: Vec<&str> = fields.names().collect();
    assert_eq!(
        names,
        [
            "status",
            "subject",
            "description",
            "active_form",
            "metadata",
            "priority",
            "result"
        ]
    );
    assert_eq!(*status, Some((Status::Pending, Status::Completed)));
    assert_eq!(*unblocked, ids([2]));
}

/// K6: a refusal in any part of an update is one of all its parts.
#[test]
fn an_update_is_all_or_nothing() {
    let mut script = Script::given(&[card("a"), waits_for([1], card("b"))]);
    let before = script.board.clone();

    let refused = script.update(
        LEAD,
        2,
        Update {
            subject: Some("B".into()),
            metadata: [("k".into(), Some("1".into()))].into(),
            status: Some(Status::Completed),
            ..Update::default()
        },
    );

    assert!(matches!(refused, Err(Refusal::TaskBlocked { .. })));
    assert_eq!(script.board, before);
}

#[test]
fn an_expected_revision_that_is_not_the_tasks_is_refused_with_the_actual_one() {
    let mut script = Script::given(&[card("a"), card("b")]);
    let revision = script.task(1).revision;
    let at = |expected| Update {
        subject: Some("A".into()),
        expected_revision: Some(expected),
        ..Update::default()
    };
    let mismatch = |expected, actual| Refusal::RevisionMismatch {
        task: TaskId(1),
        expected,
        actual,
    };

    let ahead = Revision(revision.0 + 1);
    let refused = script.update(LEAD, 1, at(ahead));
    script.update(LEAD, 1, at(revision)).unwrap();
    let again = script.update(LEAD, 1, at(revision));

    assert_eq!(refused.unwrap_err(), mismatch(ahead, revision));
    let now = script.task(1).revision;
    assert_eq!(again.unwrap_err(), mismatch(revision, now));
}

/// C3, K7.
#[test]
fn metadata_merges_by_key_and_null_deletes() {
    let mut script = Script::given(&[NewTask {
        metadata: [("a".into(), "1".into()), ("b".into(), "2".into())].into(),
        ..card("a")
    }]);

    script
        .update(
            LEAD,
            1,
            Update {
                metadata: [
                    ("a".into(), None),
                    ("b".into(), Some("3".into())),
                    ("c".into(), Some("4".into())),
                    ("d".into(), None),
                ]
                .into(),
                ..Update::default()
            },
        )
        .unwrap()
        .is(&["lead: #1 updated: metadata"]);

    let expected = [("b".into(), "3".into()), ("c".into(), "4".into())].into();
    assert_eq!(script.task(1).metadata, expected);
}

#[test]
fn merged_metadata_stays_in_its_bound() {
    let max = limits::METADATA_LEN_MAX;
    let value = |len: usize| -> Arc<str> { "x".repeat(len).into() };
    let put = |key: &str, len| Update {
        metadata: [(key.into(), Some(value(len)))].into(),
        ..Update::default()
    };
    let mut script = Script::given(&[card("a")]);
    script.update(LEAD, 1, put("a", max - 3)).unwrap();

    let over = script.update(LEAD, 1, put("b", 2));
    let at = script.update(LEAD, 1, put("b", 1));

    let refusal = Refusal::TooLong {
        field: "metadata",
        len: max + 1,
        max,
        unit: "bytes",
    };
    assert_eq!(over.unwrap_err(), refusal);
    assert!(at.is_ok());
}

#[test]
fn each_bound_of_an_update_holds_at_it_and_refuses_one_past_it() {
    type Make = fn(Arc<str>) -> Update;
    let bounds: [(&str, usize, Make); 4] = [
        ("subject", limits::SUBJECT_CHARS_MAX, |text| Update {
            subject: Some(text),
            ..Update::default()
        }),
        ("description", limits::DESCRIPTION_LEN_MAX, |text| Update {
            description: Some(text),
            ..Update::default()
        }),
        ("active_form", limits::ACTIVE_FORM_LEN_MAX, |text| Update {
            active_form: Some(text),
            ..Update::default()
        }),
        ("result", limits::RESULT_LEN_MAX, |text| Update {
            result: Some(text),
            ..Update::default()
        }),
    ];
    for (name, max, make) in bounds {
        let mut script = Script::given(&[card("a")]);
        let text = |len: usize| -> Arc<str> { "x".repeat(len).into() };

        script.update(LEAD, 1, make(text(max))).unwrap();
        let refused = script.update(LEAD, 1, make(text(max + 1)));

        match refused.unwrap_err() {
            Refusal::TooLong {
                field, len, max: m, ..
            } => assert_eq!((field, len, m), (name, max + 1, max)),
            other => panic!("{other:?}"),
        }
    }
    let blank = Update {
        subject: Some(" ".into()),
        ..Update::default()
    };
    let refused = Script::given(&[card("a")]).update(LEAD, 1, blank);
    assert_eq!(refused.unwrap_err(), Refusal::Blank { field: "subject" });
}

#[test]
fn a_task_that_is_not_there_is_not_found() {
    let mut script = Script::new();
    let unknown = Refusal::TaskUnknown {
        was_deleted: false,
        task: TaskId(1),
        team: t(),
    };

    assert_eq!(script.set(LEAD, 1, Status::Completed).unwrap_err(), unknown);
    assert_eq!(script.claim("alice", 1).unwrap_err(), unknown);
    assert_eq!(script.cancel(LEAD, 1, "").unwrap_err(), unknown);
}

/// D3: what is over keeps its result; labels of the work may still be changed.
#[test]
fn the_result_of_what_is_over_never_changes() {
    let mut script = Script::given(&[card("a")]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    let result = Update {
        result: Some("other".into()),
        ..Update::default()
    };
    let subject = Update {
        subject: Some("A".into()),
        ..Update::default()
    };

    let refused = script.update(LEAD, 1, result);
    let renamed = script.update(LEAD, 1, subject);

    let late = Refusal::LateEnding {
        task: TaskId(1),
        status: Status::Completed,
    };
    assert_eq!(refused.unwrap_err(), late);
    renamed.unwrap().is(&["lead: #1 updated: subject"]);
}

#[test]
fn what_is_said_when_failing_is_the_error() {
    let mut script = Script::given(&[card("a")]);

    let told = script.update(
        LEAD,
        1,
        Update {
            result: Some("no luck\nat all".into()),
            ..to(Status::Failed)
        },
    );

    told.unwrap().is(&[
        "lead: #1 updated: error",
        "lead: #1 pending → failed: no luck…",
        "> #1 is over",
    ]);
    assert_eq!(&*script.task(1).error, "no luck\nat all");
    assert_eq!(&*script.task(1).result, "");
}

/// K9: the third completion since the last verification, and each after it, is told.
#[test]
fn three_tasks_closed_without_a_verification_are_told() {
    let mut script = Script::given(&vec![card("a"); 9]);
    let verify = NewTask {
        kind: TaskKind::Verification,
        ..card("look at it")
    };
    script.create(LEAD, &[verify, card("Verify #4")]).unwrap();
    let mut nudge = |task, status| match script.set(LEAD, task, status).unwrap().answer {
        Answer::Updated(updated) => updated.verification_nudge,
        other => panic!("{other:?}"),
    };

    assert_eq!(nudge(1, Status::Completed), None);
    assert_eq!(nudge(2, Status::Completed), None);
    assert_eq!(nudge(3, Status::Failed), None, "only what is done counts");
    assert_eq!(nudge(4, Status::Completed), Some(3));
    assert_eq!(nudge(5, Status::Cancelled), None);
    assert_eq!(nudge(6, Status::Completed), Some(4));
    assert_eq!(nudge(10, Status::Completed), None, "by its kind");
    assert_eq!(nudge(7, Status::Completed), None);
    assert_eq!(nudge(8, Status::Completed), None);
    assert_eq!(nudge(11, Status::Completed), None, "by its subject");
    assert_eq!(nudge(9, Status::Completed), None);
}

#[test]
fn completions_by_workers_count_for_the_verification() {
    let mut script = Script::given(&[job("a"), job("b"), card("c")]);
    for task in [1, 2] {
        script.dispatch(task, "w1");
        script.end(task, done(""));
    }

    let told = script.set(LEAD, 3, Status::Completed).unwrap();

    let Answer::Updated(board::command::Updated {
        verification_nudge, ..
    }) = told.answer
    else {
        panic!("{:?}", told.answer);
    };
    assert_eq!(verification_nudge, Some(3));
}
