//! Taking a task off the board (K1, K5).

use board::{
    command::{Answer, NewTask, Wish},
    id::{AttemptNumber, Revision, TaskId},
    record::Record,
    refusal::Refusal,
    task::{BlockerFailedPolicy, Status},
};

use crate::support::*;

fn delete(task: u64) -> Wish {
    Wish::DeleteTask(t(), TaskId(task), None)
}

fn deleted(unblocked: &[u64]) -> Answer {
    Answer::Deleted {
        team: TEAM,
        unblocked: ids(unblocked.iter().copied()),
    }
}

fn gone(task: u64) -> Refusal {
    Refusal::TaskUnknown {
        task: TaskId(task),
        team: t(),
        was_deleted: true,
    }
}

fn part_of(parent: u64, task: NewTask) -> NewTask {
    NewTask {
        parent: Some(TaskId(parent)),
        ..task
    }
}

/// L13, C9.
#[test]
fn a_deleted_task_is_there_no_more_and_every_call_says_so() {
    let mut script = Script::given(&[card("a"), card("b")]);

    let told = script.by(LEAD, delete(1)).unwrap();

    told.is(&["lead: #1 deleted: a", "> #1 is over"])
        .answers(&deleted(&[]));
    let is_gone = |record: &Record| *record == Record::TaskGone(TEAM, TaskId(1));
    assert!(told.decision.records.iter().any(is_gone));
    assert_eq!(script.lines(), ["#2 [pending] b"]);
    assert_eq!(script.board.card_of(key(1)), None);
    for wish in [
        delete(1),
        Wish::ReopenTask(t(), TaskId(1), None, "again".into()),
        Wish::CancelTask(t(), TaskId(1), "".into()),
        Wish::PauseTask(t(), TaskId(1), "".into()),
        Wish::RenewClaim(t(), TaskId(1), None),
    ] {
        assert_eq!(script.by(LEAD, wish).unwrap_err(), gone(1));
    }
    assert_eq!(script.claim("alice", 1).unwrap_err(), gone(1));
    let never = Refusal::TaskUnknown {
        task: TaskId(3),
        team: t(),
        was_deleted: false,
    };
    assert_eq!(script.by(LEAD, delete(3)).unwrap_err(), never);
}

/// K1: also when it was the last one.
#[test]
fn an_id_is_never_used_again() {
    let mut script = Script::given(&[card("a"), card("b")]);
    script.by(LEAD, delete(2)).unwrap();
    let epoch = script.board.meta().epoch;
    script.board = script.shelf.load(epoch, &script.shelf.task_records(true));

    let told = script.create(LEAD, &[card("c")]).unwrap();

    told.is(&["lead: #3 created: c"]);
}

/// C7, K5: edges are cleaned on both sides, and what waited for nothing else is freed, whatever
/// had become of it.
#[test]
fn a_deleted_blocker_frees_its_dependants() {
    for status in [None, Some(Status::Failed), Some(Status::Cancelled)] {
        let mut script = Script::given(&[
            card("first"),
            waits_for([1], card("a")),
            waits_for([2], job("b")),
            waits_for([1, 2], job("c")),
            NewTask {
                blocker_failed_policy: BlockerFailedPolicy::Cancel,
                ..waits_for([2], job("d"))
            },
        ]);
        if let Some(status) = status {
            script.set(LEAD, 2, status).unwrap();
        }

        let told = script.by(LEAD, delete(2)).unwrap();

        // A blocker that did not complete had cancelled #5 before.
        let freed: &[u64] = if status.is_none() { &[3, 5] } else { &[3] };
        told.answers(&deleted(freed));
        let freed_line = "lead: #3 unblocked (because of #2)".to_string();
        assert!(told.lines.contains(&freed_line), "{:?}", told.lines);
        assert_eq!(script.queued(), freed);
        assert_eq!(script.task(4).blocked_by, ids([1]));
        assert_eq!(script.task(5).blocked_by, ids([]));
        let first = script.board.view(key(1)).unwrap();
        assert_eq!(first.blocks, ids([4]));
    }
}

/// What is over, or at work, keeps what it is; only the edge goes.
#[test]
fn dependants_that_do_not_wait_lose_the_edge_alone() {
    let mut script = Script::given(&[
        card("a"),
        waits_for([1], card("over")),
        waits_for([1], card("at work")),
    ]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    script.set(LEAD, 2, Status::Completed).unwrap();
    script.claim("alice", 3).unwrap();
    script.board = outlined(&script.board);

    let told = script.by(LEAD, delete(1)).unwrap();

    told.is(&[
        "lead: #1 deleted: a",
        "lead: #2 updated: blocked_by (because of #1)",
        "lead: #3 updated: blocked_by (because of #1)",
    ])
    .answers(&deleted(&[]));
    assert_eq!(
        script.lines(),
        ["#2 [completed] over", "#3 [in_progress] at work (alice)"]
    );
}

/// What was done held nothing back: whoever waited for it is free already, and keeps its place.
#[test]
fn a_deleted_task_that_held_nothing_back_frees_nothing() {
    let proceeds = NewTask {
        blocker_failed_policy: BlockerFailedPolicy::Proceed,
        ..waits_for([2], job("d"))
    };
    let mut script = Script::given(&[card("a"), card("b"), waits_for([1], job("c")), proceeds]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    script.set(LEAD, 2, Status::Failed).unwrap();
    let since = script.now;
    script.after(secs(1));

    for (task, dependant) in [(1, 3), (2, 4)] {
        let told = script.by(LEAD, delete(task)).unwrap();
        told.answers(&deleted(&[]));
        assert_eq!(told.lines.len(), 2, "{:?}", told.lines);
        let view = script.board.view(key(dependant)).unwrap();
        assert_eq!(view.phase_since, Some(since));
    }
}

#[test]
fn a_task_with_children_is_not_deleted_before_them() {
    let mut script = Script::given(&[card("a"), part_of(1, card("b")), part_of(1, card("c"))]);
    script.set(LEAD, 2, Status::Completed).unwrap();
    let has = |children: &[u64]| Refusal::TaskHasChildren {
        task: TaskId(1),
        children: ids(children.iter().copied()),
    };

    assert_eq!(script.by(LEAD, delete(1)).unwrap_err(), has(&[2, 3]));
    script.by(LEAD, delete(2)).unwrap();
    assert_eq!(script.by(LEAD, delete(1)).unwrap_err(), has(&[3]));
    script.by(LEAD, delete(3)).unwrap();
    script.by(LEAD, delete(1)).unwrap();
    assert!(script.lines().is_empty());
}

/// What a worker runs is stopped first; what a member holds just goes, and its holder is told.
#[test]
fn a_running_task_is_not_deleted_and_a_claimed_one_is() {
    let mut script = Script::given(&[job("a"), card("b")]);
    script.dispatch(1, "w1");
    script.claim("alice", 2).unwrap();
    let running = Refusal::TaskRunning {
        task: TaskId(1),
        worker: "w1".into(),
        attempt: AttemptNumber(1),
    };

    assert_eq!(script.by(LEAD, delete(1)).unwrap_err(), running);
    script
        .by(LEAD, delete(2))
        .unwrap()
        .is(&["lead: #2 deleted: b", "> #2 is over"])
        .mails(&["coordinator → alice: TaskUnassigned: b"]);
    assert_eq!(script.next_deadline(), Some(script.now + secs(60)));
    assert_eq!(
        script
            .by("alice", Wish::RenewClaim(t(), TaskId(2), None))
            .unwrap_err(),
        gone(2)
    );
}

#[test]
fn only_who_has_a_say_deletes_and_at_the_revision_that_it_saw() {
    let mut script = Script::given(&[owned_by("alice", card("a"))]);
    let revision = script.task(1).revision;
    let at = |revision| Wish::DeleteTask(t(), TaskId(1), Some(revision));

    let not_his = script.by("bob", delete(1));
    let stale = script.by("alice", at(Revision(revision.0 + 1)));
    let fresh = script.by("alice", at(revision));

    assert!(matches!(not_his, Err(Refusal::NotOwner { .. })));
    assert!(matches!(stale, Err(Refusal::RevisionMismatch { .. })));
    fresh.unwrap().is(&["alice: #1 deleted: a", "> #1 is over"]);
}

/// Nothing of it is left where it was listed, counted or waited for.
#[test]
fn a_deleted_task_leaves_no_trace_in_queues_clocks_and_counts() {
    let due = Script::new().now + secs(10);
    let mut script = Script::given(&[
        NewTask {
            deadline: Some(due),
            labels: vec!["l".into()],
            ..job("queued")
        },
        owned_by("alice", card("owned")),
        card("over"),
    ]);
    script.set(LEAD, 3, Status::Failed).unwrap();
    for task in 1..=3 {
        script.by(LEAD, delete(task)).unwrap();
    }

    assert_eq!(script.next_deadline(), None);
    assert!(!script.board.is_queueing());
    assert_eq!(script.board.counts(TEAM), board::view::Counts::default());
}

/// A cascade that had not come to a dependant yet ends with its root, and frees it.
#[test]
fn a_deleted_root_ends_its_cascade() {
    let mut script = Script::given(&[card("root")]);
    script.is_checked = false;
    let cancels = |blocker| NewTask {
        blocker_failed_policy: BlockerFailedPolicy::Cancel,
        ..waits_for([blocker], job("x"))
    };
    script.create(LEAD, &vec![cancels(1); 999]).unwrap();
    script.create(LEAD, &[cancels(1_000)]).unwrap();
    script.set(LEAD, 1, Status::Failed).unwrap();
    assert_eq!(script.task(1_001).status(), Status::Pending);

    let told = script.by(LEAD, delete(1_000)).unwrap();
    while script.tick().is_some() {}

    told.answers(&deleted(&[1_001]));
    assert_eq!(script.queued(), [1_001]);
    script.check();
}
