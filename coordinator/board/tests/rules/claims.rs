//! Taking a task (K12).

use board::{
    command::{Answer, Update, Wish},
    id::{AttemptNumber, Revision, TaskId},
    refusal::Refusal,
    task::{AttemptEnding, Claim, Runner, Status, TaskState},
};

use crate::support::*;

/// L3.
#[test]
fn a_claim_takes_a_free_task_and_numbers_the_attempt() {
    let mut script = Script::given(&[card("a")]);
    script.after(secs(1));

    let told = script.claim("alice", 1).unwrap();

    told.is(&["alice: #1 claimed by alice as attempt 1"])
        .answers(&Answer::Task(key(1)));
    let task = script.task(1);
    let claim = Claim {
        attempt: AttemptNumber(1),
        by: by("alice"),
        since: script.now,
        lease: Some(board::limits::CLAIM_LEASE),
        renewed_at: script.now,
    };
    assert_eq!(task.state, TaskState::Claimed(claim));
    assert_eq!(task.owner, Some(name("alice")));
    assert_eq!(task.started_at, Some(script.now));
    assert_eq!(script.lines(), ["#1 [in_progress] a (alice)"]);
}

/// L4: exactly one wins, and the other hears who.
#[test]
fn a_second_claim_is_refused_with_the_holder() {
    let mut script = Script::given(&[card("a"), job("b"), owned_by("alice", card("c"))]);
    script.claim("alice", 1).unwrap();
    script.dispatch(2, "w1");
    let held = |task| Refusal::TaskHeld {
        task: TaskId(task),
        holder: "alice".into(),
    };
    let running = Refusal::TaskRunning {
        task: TaskId(2),
        worker: "w1".into(),
        attempt: AttemptNumber(1),
    };

    assert_eq!(script.claim("bob", 1).unwrap_err(), held(1));
    assert_eq!(script.claim("alice", 1).unwrap_err(), held(1));
    assert_eq!(script.claim("bob", 2).unwrap_err(), running);
    assert_eq!(script.claim("bob", 3).unwrap_err(), held(3));
    script.claim("alice", 3).unwrap();
}

/// L6.
#[test]
fn what_is_over_can_not_be_claimed() {
    for status in [Status::Completed, Status::Failed, Status::Cancelled] {
        let mut script = Script::given(&[card("a")]);
        script.set(LEAD, 1, status).unwrap();

        let refused = script.claim("alice", 1);

        let over = Refusal::TaskOver {
            task: TaskId(1),
            status,
        };
        assert_eq!(refused.unwrap_err(), over);
    }
}

#[test]
fn a_claimed_task_is_not_dispatched() {
    let mut script = Script::given(&[job("a")]);
    script.claim("alice", 1).unwrap();

    let refused = script.try_dispatch(1, "w1");

    let held = Refusal::TaskHeld {
        task: TaskId(1),
        holder: "alice".into(),
    };
    assert_eq!(refused.unwrap_err(), held);
    assert_eq!(script.queued(), []);
}

#[test]
fn anybody_begins_a_task_that_is_nobodys() {
    let mut script = Script::given(&[card("a"), card("b")]);

    script
        .set("alice", 1, Status::InProgress)
        .unwrap()
        .is(&["alice: #1 claimed by alice as attempt 1"]);
    let own = Update {
        owner: Some(Some(name("bob"))),
        ..Update::default()
    };
    script
        .update("bob", 2, own)
        .unwrap()
        .is(&["bob: #2 updated: owner"]);
}

#[test]
fn a_claim_at_another_revision_is_refused() {
    let mut script = Script::given(&[card("a")]);
    let revision = script.task(1).revision;
    let claim = |revision| {
        Wish::ClaimTask(
            t(),
            TaskId(1),
            Some(revision),
            board::command::Lease::default(),
        )
    };

    let stale = script.by("alice", claim(Revision(revision.0 - 1)));
    let fresh = script.by("alice", claim(revision));

    let mismatch = Refusal::RevisionMismatch {
        task: TaskId(1),
        expected: Revision(revision.0 - 1),
        actual: revision,
    };
    assert_eq!(stale.unwrap_err(), mismatch);
    assert!(fresh.is_ok());
}

/// L9: complete sets completed, and the claim is kept among the attempts.
#[test]
fn completing_ends_the_claim_as_an_attempt() {
    let mut script = Script::given(&[card("a")]);
    let since = script.now;
    script.claim("alice", 1).unwrap();
    script.after(secs(9));

    let told = script.set("alice", 1, Status::Completed).unwrap();

    told.is(&[
        "alice: #1 in_progress → completed in attempt 1",
        "> #1 is over",
    ]);
    let task = script.task(1);
    let [attempt] = &task.attempts[..] else {
        panic!("{:?}", task.attempts);
    };
    assert_eq!(attempt.number, AttemptNumber(1));
    assert_eq!(attempt.runner, Runner::Claimant(by("alice")));
    assert_eq!(attempt.ending, AttemptEnding::Completed);
    assert_eq!(
        (attempt.dispatched_at, attempt.ended_at),
        (since, script.now)
    );
}

/// L10.
#[test]
fn only_what_is_free_is_ready() {
    let mut script = Script::given(&[
        job("free"),
        job("claimed"),
        waits_for([1], job("blocked")),
        job("done"),
        job("placed"),
    ]);
    script.claim("alice", 2).unwrap();
    script.set(LEAD, 4, Status::Completed).unwrap();
    script.dispatch(5, "w1");

    assert_eq!(script.queued(), [1]);
}
