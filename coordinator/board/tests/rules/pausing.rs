//! Holding a task, and letting it go on (D8, K3).

use board::{
    command::{Answer, NewTask, Wish},
    id::{AttemptNumber, TaskId},
    refusal::Refusal,
    task::{BlockerFailedPolicy, Paused, Status},
    view::Phase,
};

use crate::support::*;

fn pause(task: u64, reason: &str) -> Wish {
    Wish::PauseTask(t(), TaskId(task), reason.into())
}

fn resume(task: u64) -> Wish {
    Wish::ResumeTask(t(), TaskId(task))
}

#[test]
fn a_held_task_is_neither_dispatched_nor_claimed_and_says_why() {
    let mut script = Script::given(&[job("a"), card("b")]);

    script
        .by(LEAD, pause(1, "wait\nfor me"))
        .unwrap()
        .is(&["lead: #1 paused: wait…"])
        .answers(&Answer::Task(key(1)));
    script
        .by(LEAD, pause(2, " "))
        .unwrap()
        .is(&["lead: #2 paused: paused by lead"]);

    let paused = Paused {
        at: script.now,
        by: by(LEAD),
        reason: "wait\nfor me".into(),
    };
    assert_eq!(
        script.task(1).waiting().unwrap().paused,
        Some(Box::new(paused))
    );
    let view = script.board.view(key(1)).unwrap();
    assert_eq!(view.phase, Some(Phase::Paused));
    assert_eq!(view.phase_since, Some(script.now));
    assert_eq!(&*view.phase_reason, "wait\nfor me");
    assert!(!view.is_ready());
    assert_eq!(script.queued(), []);
    let refusal = |task, reason: &str| Refusal::TaskPaused {
        task: TaskId(task),
        reason: reason.into(),
    };
    let first = refusal(1, "wait\nfor me");
    assert_eq!(script.try_dispatch(1, "w1").unwrap_err(), first);
    assert_eq!(script.claim("alice", 1).unwrap_err(), first);
    let second = refusal(2, "paused by lead");
    assert_eq!(script.set(LEAD, 2, Status::InProgress).unwrap_err(), second);
}

#[test]
fn a_resumed_task_is_ready_from_then_on() {
    let mut script = Script::given(&[job("a"), job("b")]);
    script.by(LEAD, pause(1, "")).unwrap();
    script.after(secs(9));

    script
        .by(LEAD, resume(1))
        .unwrap()
        .is(&["lead: #1 resumed"])
        .answers(&Answer::Task(key(1)));

    assert_eq!(script.queued(), [1, 2]);
    let view = script.board.view(key(1)).unwrap();
    assert_eq!(view.phase_since, Some(script.now));
    let places = [1, 2].map(|task| script.board.queue_place(key(task)).unwrap());
    assert_eq!((places, script.board.queue_place(key(3))), ([2, 1], None));
}

/// Holding again says nothing new; what is not held is not let go.
#[test]
fn holding_twice_changes_nothing_and_letting_go_twice_is_refused() {
    let mut script = Script::given(&[card("a")]);
    let not_paused = Refusal::TaskNotPaused { task: TaskId(1) };

    assert_eq!(script.by(LEAD, resume(1)).unwrap_err(), not_paused);
    script.by(LEAD, pause(1, "first")).unwrap();
    let again = script.by(LEAD, pause(1, "second")).unwrap();
    again.is(&[]);
    assert_eq!(again.decision.records, []);
    script.by(LEAD, resume(1)).unwrap();
    assert_eq!(script.by(LEAD, resume(1)).unwrap_err(), not_paused);
}

#[test]
fn only_what_waits_is_held() {
    let mut script = Script::given(&[card("claimed"), job("placed"), card("over")]);
    script.claim("alice", 1).unwrap();
    script.dispatch(2, "w1");
    script.set(LEAD, 3, Status::Completed).unwrap();

    let refused = [1, 2, 3].map(|task| script.by(LEAD, pause(task, "")).unwrap_err());

    let expected = [
        Refusal::TaskHeld {
            task: TaskId(1),
            holder: "alice".into(),
        },
        Refusal::TaskRunning {
            task: TaskId(2),
            worker: "w1".into(),
            attempt: AttemptNumber(1),
        },
        Refusal::TaskOver {
            task: TaskId(3),
            status: Status::Completed,
        },
    ];
    assert_eq!(refused, expected);
}

#[test]
fn only_who_has_a_say_holds_and_lets_go() {
    let mut script = Script::given(&[owned_by("alice", card("a"))]);
    let not_owner = Refusal::NotOwner {
        task: TaskId(1),
        owner: Some(name("alice")),
        member: by("bob"),
    };

    assert_eq!(script.by("bob", pause(1, "")).unwrap_err(), not_owner);
    script.by("alice", pause(1, "")).unwrap();
    assert_eq!(script.by("bob", resume(1)).unwrap_err(), not_owner);
    script.by("alice", resume(1)).unwrap();
}

/// A held task is freed of its blockers like any, and is not ready for all that.
#[test]
fn a_held_task_stays_held_when_its_blocker_is_done() {
    let mut script = Script::given(&[card("a"), waits_for([1], job("b"))]);
    script.by(LEAD, pause(2, "")).unwrap();

    script.set(LEAD, 1, Status::Completed).unwrap().is(&[
        "lead: #1 pending → completed",
        "lead: #2 unblocked (because of #1)",
        "> #1 is over",
    ]);

    assert_eq!(script.queued(), []);
    script.by(LEAD, resume(2)).unwrap();
    assert_eq!(script.queued(), [2]);
}

#[test]
fn a_held_task_that_is_let_go_may_still_wait_for_others() {
    let mut script = Script::given(&[card("a"), waits_for([1], job("b"))]);
    script.by(LEAD, pause(2, "")).unwrap();

    script.by(LEAD, resume(2)).unwrap();

    assert_eq!(script.queued(), []);
    assert_eq!(script.lines()[1], "#2 [pending] b [blocked by #1]");
}

/// To be held is no way round what ends a task.
#[test]
fn a_held_task_ends_like_any() {
    let due = Script::new().now + secs(10);
    let mut script = Script::given(&[
        card("a"),
        NewTask {
            blocker_failed_policy: BlockerFailedPolicy::Cancel,
            ..waits_for([1], card("by its blocker"))
        },
        NewTask {
            deadline: Some(due),
            ..card("by its deadline")
        },
        card("by the lead"),
        card("by a cancel"),
    ]);
    for task in 2..=5 {
        script.by(LEAD, pause(task, "")).unwrap();
    }

    script.set(LEAD, 1, Status::Failed).unwrap();
    script.until_due();
    script.set(LEAD, 4, Status::Completed).unwrap();
    script.cancel(LEAD, 5, "").unwrap();

    let statuses = [2, 3, 4, 5].map(|task| script.task(task).status());
    let (failed, cancelled) = (Status::Failed, Status::Cancelled);
    let expected = [cancelled, failed, Status::Completed, cancelled];
    assert_eq!(statuses, expected);
    assert_eq!(script.next_deadline(), None);
}

/// What backs off is held too; its wait runs down meanwhile, and counts no more when it goes on.
#[test]
fn a_task_that_backs_off_is_held_over_the_end_of_its_wait() {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    script.hand_back(1, "no room");
    script.by(LEAD, pause(1, "")).unwrap();

    script.until_due();

    assert_eq!(script.queued(), []);
    assert_eq!(script.next_deadline(), None);
    script.by(LEAD, resume(1)).unwrap();
    assert_eq!(script.queued(), [1]);
}
