//! Opening a task again that is over (K3, K4).

use board::{
    command::{Answer, NewTask, Update, Wish},
    id::{AttemptNumber, Revision, TaskId},
    refusal::Refusal,
    task::{AttemptEnding, BlockerFailedPolicy, Status, TaskState, Waiting},
};

use crate::support::*;

fn reopen(task: u64, reason: &str) -> Wish {
    Wish::ReopenTask(t(), TaskId(task), None, reason.into())
}

fn reopened(task: u64, blocked: &[u64], started: &[u64]) -> Answer {
    Answer::Reopened {
        task: key(task),
        blocked: ids(blocked.iter().copied()),
        started: ids(started.iter().copied()),
    }
}

#[test]
fn a_task_that_is_over_is_pending_again_for_a_reason() {
    for status in [Status::Completed, Status::Failed, Status::Cancelled] {
        let mut script = Script::given(&[card("a")]);
        script.set(LEAD, 1, status).unwrap();

        let told = script.by(LEAD, reopen(1, "look\nagain")).unwrap();

        let line = format!("lead: #1 reopened, was {}: look…", status.word());
        told.is(&[&line]).answers(&reopened(1, &[], &[]));
        let waiting = Waiting {
            since: script.now,
            not_before: None,
            refusals: 0,
            reason: "look\nagain".into(),
            paused: None,
        };
        assert_eq!(script.task(1).state, TaskState::Pending(waiting));
    }
}

#[test]
fn what_is_not_over_is_not_opened_again() {
    let mut script = Script::given(&[card("a"), card("b"), job("c")]);
    script.claim("alice", 2).unwrap();
    script.dispatch(3, "w1");

    for (task, status) in [
        (1, Status::Pending),
        (2, Status::InProgress),
        (3, Status::InProgress),
    ] {
        let refused = script.by(LEAD, reopen(task, "again"));
        let task = TaskId(task);
        assert_eq!(refused.unwrap_err(), Refusal::TaskOpen { task, status });
    }
}

/// What came of it goes, what is known of its attempts stays, and the next has the next number.
#[test]
fn a_reopened_task_has_no_result_and_goes_on_with_the_next_attempt() {
    let mut script = Script::given(&[NewTask {
        crash_limit: Some(0),
        ..job("a")
    }]);
    script.dispatch(1, "w1");
    script.lose(1);
    assert_eq!(script.task(1).status(), Status::Failed);

    script.by(LEAD, reopen(1, "again")).unwrap();

    let task = script.task(1);
    assert_eq!((&*task.result, &*task.error), ("", ""));
    assert_eq!(task.outputs, []);
    assert_eq!((task.crashes, task.failures), (0, 0));
    assert_eq!(task.started_at, None);
    assert_eq!(task.attempts[0].ending, AttemptEnding::Lost);
    assert_eq!(script.queued(), [1]);
    script.dispatch(1, "w1").is(&[
        "coordinator: #1 dispatched to w1 as attempt 2",
        "> assign #1/2 to w1",
    ]);
    assert_eq!(script.task(1).last_attempt, AttemptNumber(2));
}

/// A deadline that has passed would end it again at once.
#[test]
fn a_deadline_that_has_passed_is_dropped_and_one_to_come_stays() {
    let mut script = Script::new();
    let (past, future) = (script.now + secs(1), script.now + secs(2));
    let due = |at| NewTask {
        deadline: Some(at),
        ..card("a")
    };
    script.create(LEAD, &[due(past), due(future)]).unwrap();
    for task in [1, 2] {
        script.set(LEAD, task, Status::Completed).unwrap();
    }
    script.now = past;

    for task in [1, 2] {
        script.by(LEAD, reopen(task, "again")).unwrap();
    }

    assert_eq!(script.task(1).deadline, None);
    assert_eq!(script.task(2).deadline, Some(future));
    assert_eq!(script.next_deadline(), Some(future));
}

/// K4: pending dependants wait again; those that have begun are told of and left alone.
#[test]
fn its_dependants_wait_again_unless_they_have_begun() {
    let mut script = Script::given(&[
        card("a"),
        waits_for([1], job("waits")),
        waits_for([1], card("claimed")),
        waits_for([1], job("placed")),
        waits_for([1], card("over")),
    ]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    script.claim("alice", 3).unwrap();
    script.dispatch(4, "w1");
    script.set(LEAD, 5, Status::Completed).unwrap();

    let told = script.by(LEAD, reopen(1, "again")).unwrap();

    told.is(&["lead: #1 reopened, was completed: again"])
        .answers(&reopened(1, &[2], &[3, 4, 5]));
    assert_eq!(script.queued(), []);
    assert_eq!(
        script.lines()[1..],
        [
            "#2 [pending] waits [blocked by #1]",
            "#3 [in_progress] claimed (alice)",
            "#4 [in_progress] placed (w1)",
            "#5 [completed] over",
        ]
    );
    script.set("alice", 3, Status::Completed).unwrap();
    script.end(4, done("")).is(&[
        "worker w1: #4 in_progress → completed in attempt 1",
        "> #4 is over",
    ]);
    script.set(LEAD, 1, Status::Completed).unwrap().is(&[
        "lead: #1 pending → completed",
        "lead: #2 unblocked (because of #1)",
        "> #1 is over",
    ]);
}

/// Work that goes on beside its reopened blocker waits for it when it comes back.
#[test]
fn a_dependant_that_is_given_back_waits_for_the_reopened_blocker() {
    let mut script = Script::given(&[
        card("a"),
        waits_for([1], card("claimed")),
        waits_for([1], job("placed")),
    ]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    script.claim("alice", 2).unwrap();
    script.dispatch(3, "w1");
    script.by(LEAD, reopen(1, "again")).unwrap();

    let release = Wish::ReleaseTask(t(), TaskId(2), None, "".into());
    script.by("alice", release).unwrap();
    script.lose(3);

    let blocked = |task| Refusal::TaskBlocked {
        task: TaskId(task),
        blockers: ids([1]),
    };
    assert_eq!(script.claim("alice", 2).unwrap_err(), blocked(2));
    assert_eq!(script.try_dispatch(3, "w1").unwrap_err(), blocked(3));
}

/// K5: the blocker failed while they were at work; when they come back, that acts on them.
#[test]
fn a_dependant_that_is_given_back_heeds_what_became_of_the_blocker() {
    let cancels = |task| NewTask {
        blocker_failed_policy: BlockerFailedPolicy::Cancel,
        ..waits_for([1], task)
    };
    let mut script = Script::given(&[card("a"), cancels(card("b")), cancels(job("c"))]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    script.claim("alice", 2).unwrap();
    script.dispatch(3, "w1");
    script.by(LEAD, reopen(1, "again")).unwrap();
    script.set(LEAD, 1, Status::Failed).unwrap();
    assert_eq!(script.task(2).status(), Status::InProgress);

    let release = Wish::ReleaseTask(t(), TaskId(2), None, "tired".into());
    script.by("alice", release).unwrap().is(&[
        "alice: #2 requeued after attempt 1: tired",
        "coordinator: #2 pending → cancelled: blocker #1 did not complete (because of #1)",
        "> #2 is over",
    ]);
    script.lose(3).is(&[
        "coordinator: #3 requeued after attempt 1: gone",
        "coordinator: #3 pending → cancelled: blocker #1 did not complete (because of #1)",
        "> #3 is over",
    ]);
}

/// What it waits for itself may have failed since.
#[test]
fn a_reopened_task_heeds_its_own_blockers() {
    let mut script = Script::given(&[
        card("a"),
        NewTask {
            blocker_failed_policy: BlockerFailedPolicy::Cancel,
            ..waits_for([1], card("b"))
        },
        waits_for([1], card("c")),
    ]);
    script.set(LEAD, 1, Status::Failed).unwrap();
    script.set(LEAD, 3, Status::Failed).unwrap();

    script.by(LEAD, reopen(2, "again")).unwrap().is(&[
        "lead: #2 reopened, was cancelled: again",
        "coordinator: #2 pending → cancelled: blocker #1 did not complete (because of #1)",
        "> #2 is over",
    ]);
    script.by(LEAD, reopen(3, "again")).unwrap();
    assert_eq!(script.lines()[2], "#3 [pending] c [blocked by #1]");
    script.by(LEAD, reopen(1, "again")).unwrap();
    script.set(LEAD, 1, Status::Completed).unwrap().is(&[
        "lead: #1 pending → completed",
        "lead: #3 unblocked (because of #1)",
        "> #1 is over",
    ]);
}

/// P4: what a cascade had not come to yet is spared when its cause is opened again.
#[test]
fn a_cascade_stops_at_a_task_that_is_opened_again() {
    let mut script = Script::given(&[card("root")]);
    script.is_checked = false;
    let cancels = |blocker| NewTask {
        blocker_failed_policy: BlockerFailedPolicy::Cancel,
        ..waits_for([blocker], card("x"))
    };
    script.create(LEAD, &vec![cancels(1); 999]).unwrap();
    script
        .create(LEAD, &[cancels(1_000), cancels(999)])
        .unwrap();
    script.set(LEAD, 1, Status::Failed).unwrap();
    let waits = Update {
        blocker_failed_policy: Some(BlockerFailedPolicy::Wait),
        ..Update::default()
    };
    script.update(LEAD, 1_000, waits).unwrap();

    script.by(LEAD, reopen(1_000, "again")).unwrap();
    while script.tick().is_some() {}

    script.check();
    let lines = script.lines();
    assert_eq!(lines[999], "#1000 [pending] x [blocked by #1]");
    assert_eq!(lines[1_000], "#1001 [pending] x [blocked by #1000]");
    assert_eq!(lines[1_001], "#1002 [cancelled] x");
}

/// From memory or as the stub of it: a command that needs the whole asks for it.
#[test]
fn an_outlined_task_is_reopened_like_any() {
    let mut script = Script::given(&[card("a"), waits_for([1], job("b"))]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    script.board = outlined(&script.board);

    let told = script.by(LEAD, reopen(1, "again")).unwrap();

    told.answers(&reopened(1, &[2], &[]));
    assert_eq!(script.queued(), []);
}

#[test]
fn only_who_has_a_say_reopens_and_at_the_revision_that_it_saw() {
    let mut script = Script::given(&[owned_by("alice", card("a"))]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    let revision = script.task(1).revision;
    let at = |revision| Wish::ReopenTask(t(), TaskId(1), Some(revision), "again".into());

    let not_his = script.by("bob", reopen(1, "again"));
    let stale = script.by("alice", at(Revision(revision.0 - 1)));
    let fresh = script.by("alice", at(revision));

    assert!(matches!(not_his, Err(Refusal::NotOwner { .. })));
    assert!(matches!(stale, Err(Refusal::RevisionMismatch { .. })));
    fresh
        .unwrap()
        .is(&["alice: #1 reopened, was completed: again"]);
}

/// Who owned it and left does not get it back: it is nobody's.
#[test]
fn a_reopened_task_of_who_left_becomes_nobodys() {
    let mut script = Script::given(&[owned_by("alice", card("a"))]);
    script.set("alice", 1, Status::Completed).unwrap();
    let leave = Wish::RemoveMember(t(), name("alice"), board::command::Removal::default());
    script.by("alice", leave).unwrap();

    script.by(LEAD, reopen(1, "again")).unwrap();
    script.until_due().is(&["coordinator: #1 updated: owner"]);

    assert_eq!(script.lines(), ["#1 [pending] a"]);
    assert_eq!(script.next_deadline(), None);
}
