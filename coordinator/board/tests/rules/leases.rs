//! Claims of those who call the API themselves: they are leases, renewed by whatever their holder
//! calls, until it gives the task back (K12).

use std::time::Duration;

use board::{
    command::{Lease, NewTask, Update, Wish},
    id::{AttemptNumber, TaskId},
    limits,
    refusal::Refusal,
    task::{AttemptEnding, Claim, Runner, Status},
    time::Time,
};

use crate::support::*;

const TICK: Duration = Duration::from_millis(1);

fn claim_for(task: u64, lease: Option<Duration>) -> Wish {
    Wish::ClaimTask(t(), TaskId(task), None, Some(Lease(lease)))
}

fn renew(task: u64, attempt: Option<u32>) -> Wish {
    Wish::RenewClaim(t(), TaskId(task), attempt.map(AttemptNumber))
}

fn release(task: u64, attempt: Option<u32>, reason: &str) -> Wish {
    let attempt = attempt.map(AttemptNumber);
    Wish::ReleaseTask(t(), TaskId(task), attempt, reason.into())
}

/// Says that a member was heard of now.
fn heard(script: &mut Script, member: &str) {
    script.seen.insert((TEAM, name(member)), script.now);
}

fn the_claim(script: &Script) -> Claim {
    script.task(1).claim().unwrap().clone()
}

#[test]
fn a_claim_lasts_half_an_hour_and_no_longer_without_a_word() {
    let mut script = Script::given(&[card("a")]);
    script.claim("alice", 1).unwrap();
    let until = script.now + limits::CLAIM_LEASE;
    assert_eq!(the_claim(&script).lease_until(), Some(until));
    assert_eq!(limits::CLAIM_LEASE, secs(1_800));

    script.now = Time(until.0 - 1);
    assert!(script.tick().is_none());
    let told = script.until_due();

    assert_eq!(script.now, until);
    let reason = "the lease of alice is over: it was not heard of for 1800 seconds";
    told.is(&[&format!(
        "coordinator: #1 requeued after attempt 1: {reason}"
    )])
    .mails(&["coordinator → alice: TaskUnassigned: a"]);
    let task = script.task(1);
    assert_eq!((task.status(), &task.owner), (Status::Pending, &None));
    let attempt = &task.attempts[0];
    assert_eq!(attempt.ending, AttemptEnding::Lost);
    assert_eq!(attempt.runner, Runner::Claimant(by("alice")));
    assert_eq!((task.crashes, task.failures), (0, 0), "it costs nothing");
    assert_eq!(&*task.waiting().unwrap().reason, reason);
    assert_eq!(script.next_deadline(), None);
}

#[test]
fn a_lease_is_as_long_as_was_said() {
    for lease in [limits::CLAIM_LEASE_MIN, secs(90), limits::CLAIM_LEASE_MAX] {
        let mut script = Script::given(&[card("a")]);
        script.by("alice", claim_for(1, Some(lease))).unwrap();
        let until = script.now + lease;

        assert_eq!(script.next_deadline(), Some(until));
        script.until_due();
        assert_eq!(script.lines(), ["#1 [pending] a"]);
    }
}

#[test]
fn a_claim_without_a_lease_lasts_as_long_as_it_takes() {
    let mut script = Script::given(&[card("a")]);
    script.by("alice", claim_for(1, None)).unwrap();

    assert_eq!(script.next_deadline(), None);
    assert_eq!(the_claim(&script).lease_until(), None);
}

/// Whatever its holder calls renews it; that is written down once per lease.
#[test]
fn a_holder_that_was_heard_of_keeps_its_claim() {
    let mut script = Script::given(&[card("a")]);
    let lease = secs(60);
    script.by("alice", claim_for(1, Some(lease))).unwrap();
    let since = script.now;
    let revision = script.task(1).revision;
    script.after(secs(59));
    heard(&mut script, "alice");
    assert_eq!(script.next_deadline(), Some(since + lease), "not written");

    script.until_due().is(&["writes #1"]);

    let claim = the_claim(&script);
    let last_heard = since + secs(59);
    assert_eq!((claim.since, claim.renewed_at), (since, last_heard));
    assert_eq!(script.task(1).revision, revision, "nothing happened");
    assert_eq!(script.next_deadline(), Some(last_heard + lease));
    script.until_due();
    assert_eq!(script.now, last_heard + lease);
    assert_eq!(script.lines(), ["#1 [pending] a"]);
}

/// It lasts for a lease after the last word, and at that moment no more.
#[test]
fn a_word_counts_for_one_lease_and_not_a_moment_longer() {
    for (looked_at, is_kept) in [(secs(70) - TICK, true), (secs(70), false)] {
        let mut script = Script::given(&[card("a")]);
        script.by("alice", claim_for(1, Some(secs(60)))).unwrap();
        let since = script.now;
        script.after(secs(10));
        heard(&mut script, "alice");
        script.now = since + looked_at;

        script.tick().unwrap();

        assert_eq!(script.task(1).claim().is_some(), is_kept, "{looked_at:?}");
    }
}

/// A word at the moment of the claim says no more than the claim.
#[test]
fn a_word_with_the_claim_renews_nothing() {
    let mut script = Script::given(&[card("a")]);
    script.by("alice", claim_for(1, Some(secs(60)))).unwrap();
    heard(&mut script, "alice");

    script.until_due();

    assert_eq!(script.lines(), ["#1 [pending] a"]);
}

/// Others' words, and words before the claim, renew nothing.
#[test]
fn only_its_own_holder_renews_a_claim() {
    let mut script = Script::given(&[card("a")]);
    heard(&mut script, "alice");
    script.after(secs(1));
    script.claim("alice", 1).unwrap();
    script.after(secs(1_000));
    heard(&mut script, "bob");
    heard(&mut script, LEAD);
    let of_another_team = (board::id::TeamUid(2), name("alice"));
    script.seen.insert(of_another_team, script.now);

    script.until_due();

    assert_eq!(script.lines(), ["#1 [pending] a"]);
}

#[test]
fn renewing_is_the_holders_and_asks_for_its_attempt() {
    let mut script = Script::given(&[card("a"), card("free"), job("placed"), card("over")]);
    script.claim("alice", 1).unwrap();
    script.dispatch(3, "w1");
    script.set(LEAD, 4, Status::Completed).unwrap();
    let held = Refusal::TaskHeld {
        task: TaskId(1),
        holder: "alice".into(),
    };
    let over = |task| Refusal::TaskOver {
        task: TaskId(task),
        status: Status::Completed,
    };

    for attempt in [None, Some(1)] {
        script.by("alice", renew(1, attempt)).unwrap().is(&[]);
    }
    assert_eq!(script.by("bob", renew(1, None)).unwrap_err(), held);
    assert_eq!(script.by(LEAD, renew(1, None)).unwrap_err(), held);
    let free = script.by("alice", renew(2, None)).unwrap_err();
    assert_eq!(free, Refusal::TaskNotHeld { task: TaskId(2) });
    let placed = script.by("alice", renew(3, None)).unwrap_err();
    assert!(matches!(placed, Refusal::TaskRunning { .. }));
    assert_eq!(script.by("alice", renew(4, None)).unwrap_err(), over(4));
}

/// Who lost its claim and doesn't know is told so, whatever it does with the old number.
#[test]
fn an_attempt_that_is_over_changes_renews_and_releases_nothing() {
    let mut script = Script::given(&[card("a")]);
    script.claim("alice", 1).unwrap();
    script.until_due();
    let with = |attempt: u32| {
        let update = Update {
            attempt: Some(AttemptNumber(attempt)),
            subject: Some("A".into()),
            ..Update::default()
        };
        let update = Wish::UpdateTask(t(), TaskId(1), Box::new(update));
        [
            update,
            renew(1, Some(attempt)),
            release(1, Some(attempt), ""),
        ]
    };
    let over = |expected: u32, actual: u32| Refusal::AttemptOver {
        task: TaskId(1),
        expected: AttemptNumber(expected),
        actual: AttemptNumber(actual),
    };

    for wish in with(1) {
        let refused = script.by(LEAD, wish);
        assert_eq!(refused.unwrap_err(), over(1, 1), "it is nobody's");
    }
    script.claim("alice", 1).unwrap();
    for stale in [1, 3] {
        for wish in with(stale) {
            let refused = script.by("alice", wish);
            assert_eq!(refused.unwrap_err(), over(stale, 2));
        }
    }
    for wish in with(2) {
        script.by("alice", wish).unwrap();
    }
}

#[test]
fn a_released_task_is_pending_and_nobodys() {
    let mut script = Script::given(&[card("a"), job("b")]);
    script.claim("alice", 1).unwrap();
    script.claim("alice", 2).unwrap();
    script.after(secs(5));

    let first = script.by("alice", release(1, Some(1), "no access"));
    let second = script.by(LEAD, release(2, None, " "));

    first
        .unwrap()
        .is(&["alice: #1 requeued after attempt 1: no access"])
        .mails(&[]);
    second
        .unwrap()
        .is(&["lead: #2 requeued after attempt 1: released by lead"])
        .mails(&["coordinator → alice: TaskUnassigned: b"]);
    let task = script.task(1);
    assert_eq!(task.owner, None);
    assert_eq!(task.attempts[0].ending, AttemptEnding::HandedBack);
    let waiting = task.waiting().unwrap();
    assert_eq!((waiting.since, &*waiting.reason), (script.now, "no access"));
    assert_eq!(
        script.queued(),
        [2],
        "what has a type is for a worker again"
    );
    script
        .claim("bob", 1)
        .unwrap()
        .is(&["bob: #1 claimed by bob as attempt 2"]);
}

#[test]
fn only_its_holder_and_the_lead_release_a_task() {
    let mut script = Script::given(&[card("a"), card("free"), job("placed")]);
    script.claim("alice", 1).unwrap();
    script.dispatch(3, "w1");
    let held = Refusal::TaskHeld {
        task: TaskId(1),
        holder: "alice".into(),
    };

    assert_eq!(script.by("bob", release(1, None, "")).unwrap_err(), held);
    let free = script.by(LEAD, release(2, None, "")).unwrap_err();
    assert_eq!(free, Refusal::TaskNotHeld { task: TaskId(2) });
    let placed = script.by(LEAD, release(3, None, "")).unwrap_err();
    assert!(matches!(placed, Refusal::TaskRunning { .. }));
}

/// A lead that begins a task for a member gives it a lease like any: the member is to be heard of.
#[test]
fn a_task_that_the_lead_began_for_a_member_is_on_a_lease_too() {
    let mut script = Script::given(&[owned_by("alice", card("a"))]);

    script.set(LEAD, 1, Status::InProgress).unwrap();

    let claim = the_claim(&script);
    assert_eq!(claim.by, by("alice"));
    assert_eq!(claim.lease, Some(limits::CLAIM_LEASE));
    script.after(secs(1_000));
    heard(&mut script, LEAD);
    script.until_due();
    assert_eq!(script.lines(), ["#1 [pending] a"]);
}

/// The deadline of a claimed task goes before its lease, and the lease before it.
#[test]
fn of_lease_and_deadline_the_earlier_counts() {
    for (deadline, status) in [(10, Status::Failed), (70, Status::Pending)] {
        let mut script = Script::new();
        let task = NewTask {
            deadline: Some(script.now + secs(deadline)),
            ..card("a")
        };
        script.create(LEAD, &[task]).unwrap();
        script.by("alice", claim_for(1, Some(secs(60)))).unwrap();

        script.until_due();

        assert_eq!(script.task(1).status(), status, "{deadline}");
    }
}

/// Claims of one moment run out in one step, each with its event.
#[test]
fn many_leases_that_are_over_at_once_are_all_given_back() {
    let mut script = Script::given(&vec![card("a"); 40]);
    for task in 1..=40 {
        let who = if task % 2 == 0 { "alice" } else { "bob" };
        script.claim(who, task).unwrap();
    }
    script.after(secs(900));
    heard(&mut script, "bob");

    let told = script.until_due();

    assert_eq!(told.decision.events.len(), 20);
    let held = |task: &u64| script.task(*task).claim().is_some();
    let held: Vec<u64> = (1..=40).filter(held).collect();
    let bobs: Vec<u64> = (1..=40).step_by(2).collect();
    assert_eq!(held, bobs);
}

fn agents_claim(script: &mut Script, agent_of: u64, attempt: u32, task: u64) {
    let claim = claim_for(task, Some(secs(60)));
    script.by_agent(agent_of, attempt, claim).unwrap();
}

/// The sub-agent of a task is heard of by its worker: its claims have no clock of their own. They
/// last as long as its task does, over its attempts.
#[test]
fn what_a_sub_agent_holds_is_given_back_when_its_task_is_over() {
    let child = NewTask {
        parent: Some(TaskId(1)),
        ..card("todo")
    };
    let mut script = Script::given(&[job("a"), child.clone(), child.clone(), child]);
    script.dispatch(1, "w1");
    agents_claim(&mut script, 1, 1, 2);
    agents_claim(&mut script, 1, 1, 3);
    script.lose(1);
    assert_eq!(script.next_deadline(), None, "there is a next attempt");
    script.dispatch(1, "w1");
    let done_with = Wish::UpdateTask(t(), TaskId(3), Box::new(to(Status::Completed)));
    script.by_agent(1, 2, done_with).unwrap();
    agents_claim(&mut script, 1, 2, 4);

    script.end(1, done(""));
    let told = script.until_due();

    told.is(&[
        "coordinator: #2 requeued after attempt 1: its holder, #1, is over",
        "coordinator: #4 requeued after attempt 1: its holder, #1, is over",
    ]);
    assert_eq!(
        script.lines()[1..],
        [
            "#2 [pending] todo",
            "#3 [completed] todo (task:1)",
            "#4 [pending] todo"
        ]
    );
    assert_eq!(script.task(2).attempts[0].ending, AttemptEnding::Lost);
    assert_eq!(script.next_deadline(), None);
}

/// Also where more is held than a step may change, and where the holder is deleted meanwhile.
#[test]
fn what_a_deleted_tasks_sub_agent_held_is_given_back_in_steps() {
    let sharing = NewTask {
        share_todos: true,
        ..job("a")
    };
    let mut script = Script::given(&[sharing]);
    script.is_checked = false;
    script.dispatch(1, "w1");
    for _ in 0..2 {
        script.create(LEAD, &vec![card("x"); 600]).unwrap();
    }
    for task in 2..=1_201 {
        agents_claim(&mut script, 1, 1, task);
    }
    script.end(1, done(""));
    script.check();
    script
        .by(LEAD, Wish::DeleteTask(t(), TaskId(1), None))
        .unwrap();
    script.check();

    let mut steps = vec![];
    while let Some(told) = script.tick() {
        steps.push(told.decision.records.len());
        script.check();
    }

    assert_eq!(steps.len(), 2, "{steps:?}");
    assert!(script.board.counts(TEAM).in_progress == 0);
}
