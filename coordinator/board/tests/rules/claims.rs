//! Taking a task (K12).

use board::{
    command::{Answer, ClaimNext, Lease, Update, Wish},
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
    assert_eq!(script.claim("bob", 2).unwrap_err(), running);
    assert_eq!(script.claim("bob", 3).unwrap_err(), held(3));
    script.claim("alice", 3).unwrap();
}

fn claim(task: u64, lease: Option<Lease>) -> Wish {
    Wish::ClaimTask(t(), TaskId(task), None, lease)
}

/// K12: nothing begins anew, nothing happens, and the lease counts from now.
#[test]
fn claiming_what_one_holds_renews_the_claim() {
    let mut script = Script::given(&[card("a")]);
    let lasting = |seconds| Some(Lease(Some(secs(seconds))));
    script.by("alice", claim(1, lasting(60))).unwrap();
    let before = script.task(1).clone();
    script.after(secs(40));

    let again = script.by("alice", claim(1, None)).unwrap();

    again.is(&["writes #1"]).answers(&Answer::Renewed(key(1)));
    let held = |script: &Script| script.task(1).claim().cloned().unwrap();
    assert_eq!(held(&script).lease_until(), Some(script.now + secs(60)));
    assert_eq!(held(&script).since, before.claim().unwrap().since);
    assert_eq!(script.task(1).last_attempt, AttemptNumber(1));
    assert_eq!(script.task(1).revision, before.revision);
    // Where a lease is said, it is the one that holds from now on.
    script.after(secs(40));
    script.by("alice", claim(1, lasting(5))).unwrap();
    assert_eq!(held(&script).lease_until(), Some(script.now + secs(5)));
    script.by("alice", claim(1, Some(Lease(None)))).unwrap();
    assert_eq!(held(&script).lease_until(), None);
    let too_short = script.by("alice", claim(1, lasting(0))).unwrap_err();
    assert!(matches!(
        too_short,
        Refusal::BadValue { field: "lease", .. }
    ));
    // What ends it ends it: then there is nothing to renew.
    script.set("alice", 1, Status::Completed).unwrap();
    let over = script.by("alice", claim(1, None)).unwrap_err();
    assert!(matches!(over, Refusal::TaskOver { .. }));
}

/// K12: its own task is the one thing that a sub-agent holds without having claimed it.
#[test]
fn a_sub_agent_that_claims_its_own_task_holds_it() {
    let mut script = Script::given(&[job("a"), job("b")]);
    script.dispatch(1, "w1");
    script.dispatch(2, "w2");
    let before = script.task(1).clone();

    let own = script.by_agent(1, 1, claim(1, None)).unwrap();
    let others = script.by_agent(2, 1, claim(1, None)).unwrap_err();

    own.is(&[]).answers(&Answer::Renewed(key(1)));
    assert_eq!(script.task(1), before);
    // It sees its own list only.
    assert!(matches!(others, Refusal::TaskUnknown { .. }), "{others:?}");
}

/// K12: what somebody holds is not given to anybody again, its holder included.
#[test]
fn the_next_task_is_never_one_that_is_held() {
    let mut script = Script::given(&[card("a")]);
    let next = || Wish::ClaimNext(t(), ClaimNext::default());
    script.by("alice", next()).unwrap();

    let told = script.by("alice", next()).unwrap();

    told.is(&[]).answers(&Answer::NothingReady);
}

/// K6: the answer names the owner where starting changed it, and only there.
#[test]
fn an_update_that_takes_a_task_says_that_its_owner_changed() {
    let mut script = Script::given(&[card("a"), card("b")]);
    let fields = |told: &Told| match &told.answer {
        Answer::Updated(updated) => updated.fields.names().collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };

    let begun = script.set("alice", 1, Status::InProgress).unwrap();
    let held_back = Update {
        add_blocked_by: ids([2]),
        stop_running: true,
        ..Update::default()
    };
    let stopped = script.update(LEAD, 1, held_back).unwrap();
    let own = Update {
        owner: Some(Some(name("bob"))),
        ..Update::default()
    };
    script.update(LEAD, 2, own).unwrap();
    let begun_by_its_owner = script.set("bob", 2, Status::InProgress).unwrap();

    assert_eq!(fields(&begun), ["status", "owner"]);
    assert_eq!(fields(&stopped), ["status", "blocked_by"]);
    assert_eq!(fields(&begun_by_its_owner), ["status"]);
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
    let claim = |revision| Wish::ClaimTask(t(), TaskId(1), Some(revision), None);

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
