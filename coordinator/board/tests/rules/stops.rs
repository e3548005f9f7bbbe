//! The stop ladder, as far as the board climbs it (D3, W7).

use board::{
    command::FleetCommand,
    id::{AttemptNumber, TaskId},
    limits,
    refusal::Refusal,
    task::{AttemptEnding, EndStatus, Status, StopReason, Task},
};

use crate::support::*;

fn end_of(task: &Task) -> (EndStatus, Option<StopReason>) {
    let end = task.end().expect("it is over");
    (end.status, end.stop_reason)
}

/// X6: what nobody runs is cancelled at once.
#[test]
fn cancelling_a_waiting_or_claimed_task_ends_it_at_once() {
    let mut script = Script::given(&[job("a"), card("b")]);
    script.claim("alice", 2).unwrap();

    script
        .cancel(LEAD, 1, "not needed")
        .unwrap()
        .is(&["lead: #1 pending → cancelled: not needed", "> #1 is over"]);
    script.cancel("alice", 2, " ").unwrap().is(&[
        "alice: #2 in_progress → cancelled in attempt 1: cancelled by alice",
        "> #2 is over",
    ]);
    let cancelled = (EndStatus::Cancelled, Some(StopReason::Cancelled));
    assert_eq!(end_of(&script.task(1)), cancelled);
    assert_eq!(end_of(&script.task(2)), cancelled);
    assert_eq!(&*script.task(1).error, "not needed");
}

fn cancelled_while_running() -> Script {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    script.start(1, None);
    script
        .cancel(LEAD, 1, "enough")
        .unwrap()
        .is(&["lead: #1 stop of attempt 1: enough", "> stop #1/1: enough"]);
    assert_eq!(script.task(1).status(), Status::InProgress);
    script
}

/// D3, W7: whatever the worker says after the request, the task is cancelled; output is kept.
#[test]
fn a_report_after_the_request_to_stop_is_kept_as_partial_output() {
    for ending in [
        AttemptEnding::Completed,
        AttemptEnding::Failed,
        AttemptEnding::Cancelled,
        AttemptEnding::TimedOut,
    ] {
        let mut script = cancelled_while_running();

        let told = script.end(1, report(ending, "half of it", "err"));

        told.is(&[
            "lead: #1 in_progress → cancelled in attempt 1: enough",
            "> #1 is over",
        ]);
        let task = script.task(1);
        let cancelled = (EndStatus::Cancelled, Some(StopReason::Cancelled));
        assert_eq!(end_of(&task), cancelled);
        assert_eq!((&*task.result, &*task.error), ("half of it", "enough"));
        assert_eq!(task.attempts[0].ending, ending);
    }
}

/// D3: the first terminal state wins.
#[test]
fn a_report_before_the_request_to_stop_wins() {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    script.end(1, done("all of it"));

    let refused = script.cancel(LEAD, 1, "enough");

    let over = Refusal::TaskOver {
        task: TaskId(1),
        status: Status::Completed,
    };
    assert_eq!(refused.unwrap_err(), over);
}

#[test]
fn a_stopped_attempt_that_is_lost_or_refused_is_cancelled_too() {
    let cancelled = [
        "lead: #1 in_progress → cancelled in attempt 1: enough",
        "> #1 is over",
    ];
    let never = FleetCommand::NeverArrived(key(1), AttemptNumber(1));

    cancelled_while_running().lose(1).is(&cancelled);
    cancelled_while_running().hand_back(1, "no").is(&cancelled);
    cancelled_while_running().fleet(never).is(&cancelled);
}

#[test]
fn a_stop_that_is_not_confirmed_cuts_the_worker_off() {
    let mut script = cancelled_while_running();
    let asked = script.now;

    let told = script.until_due();

    assert_eq!(script.now, asked + limits::STOP_CONFIRM_TIMEOUT);
    told.is(&[
        "lead: #1 in_progress → cancelled in attempt 1: enough",
        "> cut off 1",
        "> #1 is over",
    ]);
    assert_eq!(script.task(1).attempts[0].ending, AttemptEnding::Lost);
}

#[test]
fn cancelling_again_changes_nothing() {
    let mut script = cancelled_while_running();

    let again = script.cancel(LEAD, 1, "really").unwrap();

    again.is(&[]);
    assert_eq!(again.decision.records, []);
}

/// A cancel outranks what was asked for before, and doesn't start the ladder anew.
#[test]
fn a_cancel_outranks_a_requeue() {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    let hand_over = board::command::Update {
        owner: Some(Some(name("bob"))),
        stop_running: true,
        ..Default::default()
    };
    script.update(LEAD, 1, hand_over).unwrap();
    let asked = script.now;
    script.after(secs(30));

    script
        .cancel("bob", 1, "enough")
        .unwrap()
        .is(&["bob: #1 stop of attempt 1: enough", "> stop #1/1: enough"]);
    script.until_due();

    assert_eq!(script.now, asked + limits::STOP_CONFIRM_TIMEOUT);
    assert_eq!(script.task(1).status(), Status::Cancelled);
}

#[test]
fn a_requeue_does_not_outrank_a_cancel() {
    let mut script = cancelled_while_running();
    let hand_over = board::command::Update {
        owner: Some(Some(name("bob"))),
        stop_running: true,
        ..Default::default()
    };

    script
        .update(LEAD, 1, hand_over)
        .unwrap()
        .is(&["lead: #1 updated: owner"]);
    script.end(1, done("late"));

    assert_eq!(script.task(1).status(), Status::Cancelled);
}

/// What a worker runs ends by its report, or by a stop: never behind its back.
#[test]
fn a_running_task_is_not_ended_by_an_update() {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    let running = Refusal::TaskRunning {
        task: TaskId(1),
        worker: "w1".into(),
        attempt: AttemptNumber(1),
    };

    for status in [Status::Completed, Status::Failed, Status::Cancelled] {
        assert_eq!(script.set(LEAD, 1, status).unwrap_err(), running);
    }
}
