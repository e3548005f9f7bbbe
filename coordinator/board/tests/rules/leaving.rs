//! Leaving (T2, W1; C12 and P7 of the behaviours to replay).

use board::{
    command::{Answer, FleetCommand, Update},
    id::{Incarnation, TaskId},
    limits,
    refusal::{Refusal, Staleness},
    task::{AttemptEnding, Runner, Status},
};

use crate::{
    members::{add, agent, lead_only, record, remove},
    support::*,
};

fn removed(member: &str, released: &[u64], stopping: &[u64]) -> Answer {
    Answer::Removed {
        team: TEAM,
        member: name(member),
        released: ids(released.iter().copied()),
        stopping: ids(stopping.iter().copied()),
    }
}

#[test]
fn the_lead_removes_others_and_a_member_only_itself() {
    let mut script = Script::new();

    let another = script.by("alice", remove("bob", false));
    let itself = script.by("alice", remove("alice", false)).unwrap();
    let by_the_lead = script.by(LEAD, remove("bob", false)).unwrap();
    let unknown = script.by(LEAD, remove("bob", false));

    let refusal = lead_only("remove other members", "alice");
    assert_eq!(another.unwrap_err(), refusal);
    itself
        .is(&["alice: alice left: bye"])
        .answers(&removed("alice", &[], &[]));
    by_the_lead.is(&["lead: bob left: bye"]);
    let gone = Refusal::MemberUnknown {
        member: name("bob"),
        team: t(),
    };
    assert_eq!(unknown.unwrap_err(), gone);
    assert_eq!(record(&script, "bob").left_at, Some(script.now));
}

/// P7: neither by itself nor by force.
#[test]
fn the_lead_is_not_removed() {
    let mut script = Script::new();

    for wish in [remove(LEAD, false), remove(LEAD, true)] {
        let leads = Refusal::MemberLeads { member: name(LEAD) };
        assert_eq!(script.by(LEAD, wish).unwrap_err(), leads);
    }
    let by_a_member = script.by("alice", remove(LEAD, false)).unwrap_err();
    assert_eq!(by_a_member, lead_only("remove other members", "alice"));
}

/// C12: the open ones are pending and nobody's; what is over keeps its owner, and what is
/// somebody else's stays theirs.
#[test]
fn who_leaves_frees_its_open_tasks_only() {
    let mut script = Script::given(&[
        owned_by("alice", card("claimed")),
        owned_by("alice", card("waits")),
        owned_by("alice", card("done")),
        owned_by("bob", card("another's")),
    ]);
    script.set("alice", 3, Status::Completed).unwrap();
    script.claim("alice", 1).unwrap();

    let told = script.by("alice", remove("alice", false)).unwrap();

    told.is(&[
        "alice: alice left: bye",
        "alice: #1 requeued after attempt 1: alice left: bye",
        "alice: #2 updated: owner",
    ])
    .answers(&removed("alice", &[1, 2], &[]));
    assert_eq!(
        script.lines(),
        [
            "#1 [pending] claimed",
            "#2 [pending] waits",
            "#3 [completed] done (alice)",
            "#4 [pending] another's (bob)",
        ]
    );
    let attempt = script.task(1).attempts[0].clone();
    assert_eq!(attempt.ending, AttemptEnding::HandedBack);
    assert_eq!(attempt.runner, Runner::Claimant(by("alice")));
}

#[test]
fn the_claim_of_a_removed_member_is_cancelled_and_free_for_the_next() {
    let mut script = Script::given(&[card("a")]);
    script.claim("alice", 1).unwrap();

    script.by(LEAD, remove("alice", false)).unwrap();

    let attempt = &script.task(1).attempts[0];
    assert_eq!(attempt.ending, AttemptEnding::Cancelled);
    script
        .claim("bob", 1)
        .unwrap()
        .is(&["bob: #1 claimed by bob as attempt 2"]);
}

fn run_as_hana() -> Script {
    let mut script = Script::given(&[owned_by("hana", card("a")), owned_by("hana", card("b"))]);
    script.dispatch(1, "w1");
    script.start(1, None);
    script
}

#[test]
fn a_member_that_is_being_run_is_removed_by_force_only() {
    let mut script = run_as_hana();

    let refused = script.by(LEAD, remove("hana", false));
    let forced = script.by(LEAD, remove("hana", true)).unwrap();

    let active = Refusal::MemberActive {
        member: name("hana"),
        tasks: ids([1]),
    };
    assert_eq!(refused.unwrap_err(), active);
    forced
        .is(&[
            "lead: hana left: bye",
            "lead: #1 stop of attempt 1: hana left: bye",
            "lead: #1 updated: owner",
            "lead: #2 updated: owner",
            "> stop #1/1: hana left: bye",
        ])
        .answers(&removed("hana", &[2], &[1]));
}

#[test]
fn what_was_stopped_because_its_member_left_waits_for_anybody() {
    let mut script = run_as_hana();
    script.by(LEAD, remove("hana", true)).unwrap();

    script
        .end(1, report(AttemptEnding::Cancelled, "", ""))
        .is(&["worker w1: #1 requeued after attempt 1: hana left: bye"]);

    assert_eq!(script.lines(), ["#1 [pending] a", "#2 [pending] b"]);
    assert_eq!(script.queued(), [0_u64; 0]);
    script.claim("bob", 1).unwrap();
}

/// What runs in nobody's name goes on when its owner leaves.
#[test]
fn a_task_that_runs_for_itself_outlives_its_owner() {
    let mut script = Script::given(&[owned_by("alice", job("a"))]);
    script.dispatch(1, "w1");

    let told = script.by("alice", remove("alice", false)).unwrap();
    script.end(1, done("r"));

    told.is(&["alice: alice left: bye", "alice: #1 updated: owner"])
        .answers(&removed("alice", &[], &[]));
    assert_eq!(script.lines(), ["#1 [completed] a (w1)"]);
}

#[test]
fn an_attempt_that_was_taken_over_still_counts_for_who_runs_it() {
    let mut script = run_as_hana();
    let to_bob = Update {
        owner: Some(Some(name("bob"))),
        stop_running: true,
        ..Update::default()
    };
    script.update(LEAD, 1, to_bob).unwrap();

    let told = script.by(LEAD, remove("hana", true)).unwrap();
    script.end(1, report(AttemptEnding::Cancelled, "", ""));

    told.is(&["lead: hana left: bye", "lead: #2 updated: owner"])
        .answers(&removed("hana", &[2], &[1]));
    assert_eq!(script.lines(), ["#1 [pending] a (bob)", "#2 [pending] b"]);
}

#[test]
fn who_owns_more_than_a_step_leaves_at_once_and_frees_the_rest_in_steps() {
    let mut script = Script::new();
    script.is_checked = false;
    let cards = vec![owned_by("alice", card("a")); limits::BATCH_MAX];
    for _ in 0..2 {
        script.create(LEAD, &cards).unwrap();
    }
    script.create(LEAD, &cards[..500]).unwrap();
    let owned = |script: &Script| {
        let tasks = script.shelf.tasks.values();
        tasks.filter(|task| task.owner.is_some()).count()
    };

    let told = script.by("alice", remove("alice", false)).unwrap();
    let Answer::Removed { released, .. } = told.answer else {
        panic!("{:?}", told.answer);
    };
    let after_leaving = owned(&script);
    script.check();
    let rejoined = script.by("alice", add(agent("alice")));
    script.until_due();
    let after_a_step = owned(&script);
    script.until_due();

    assert_eq!(released, ids(1..=1_000));
    assert_eq!(
        (after_leaving, after_a_step, owned(&script)),
        (1_500, 500, 0)
    );
    let is_leaving = Refusal::MemberExists {
        member: name("alice"),
    };
    assert_eq!(rejoined.unwrap_err(), is_leaving);
    assert_eq!(script.next_deadline(), None);
    script.by("alice", add(agent("alice"))).unwrap();
    script.check();
}

fn leave(worker: &str) -> FleetCommand {
    FleetCommand::LeaveWorker(TEAM, worker_name(worker), "not heard of for an hour".into())
}

/// W1.
#[test]
fn a_worker_leaves_when_it_is_gone_and_has_no_attempts() {
    let mut script = Script::given(&[job("a"), job("b")]);
    script.by(LEAD, add(agent("w2"))).unwrap();
    script.dispatch(1, "w1");
    let to_worker = Update {
        owner: Some(Some(name("w1"))),
        ..Update::default()
    };
    script.update(LEAD, 2, to_worker).unwrap();

    let active = script.try_fleet(leave("w1"));
    let no_worker = script.try_fleet(leave("w2"));
    script.end(1, done(""));
    let left = script.fleet(leave("w1"));
    let again = script.try_fleet(leave("w1"));

    let running = Refusal::MemberActive {
        member: name("w1"),
        tasks: vec![TaskId(1)],
    };
    assert_eq!(active.unwrap_err(), running);
    let another = Refusal::Stale {
        why: Staleness::Instance,
    };
    assert_eq!(no_worker.unwrap_err(), another);
    left.is(&[
        "coordinator: w1 left: not heard of for an hour",
        "coordinator: #2 updated: owner",
    ]);
    let gone = Refusal::MemberUnknown {
        member: name("w1"),
        team: t(),
    };
    assert_eq!(again.unwrap_err(), gone);
    assert_eq!(script.queued(), [2]);
    script.join("w1").is(&["worker w1: w1 joined"]);
    assert_eq!(record(&script, "w1").incarnation, Incarnation(2));
}
