//! What becomes of a task whose attempt failed, or was lost once too often (D8).

use std::time::Duration;

use board::{
    command::{NewTask, Wish},
    id::TaskId,
    refusal::Refusal,
    task::{AttemptEnding, EndStatus, FailurePolicy, Retry, Status, StopReason},
};

use crate::support::*;

fn retried(max_attempts: u32, task: NewTask) -> NewTask {
    NewTask {
        retry: Some(Retry {
            max_attempts,
            initial_backoff: secs(1),
            max_backoff: secs(3),
        }),
        ..task
    }
}

fn policy(failure_policy: FailurePolicy, task: NewTask) -> NewTask {
    NewTask {
        failure_policy,
        ..task
    }
}

fn fail(script: &mut Script, task: u64) -> Told {
    script.end(task, report(AttemptEnding::Failed, "half", "boom"))
}

/// When the task may be placed again.
fn not_before(script: &Script) -> Duration {
    let task = script.task(1);
    let not_before = task.waiting().unwrap().not_before.unwrap();
    not_before.since(script.now)
}

#[test]
fn a_failure_is_tried_again_until_the_tries_are_used_up() {
    let mut script = Script::given(&[retried(3, job("a"))]);

    for (attempt, longest) in [(1, secs(1)), (2, secs(2))] {
        script.dispatch(1, "w1");
        fail(&mut script, 1).is(&[&format!(
            "worker w1: #1 requeued after attempt {attempt}: boom"
        )]);
        assert!(not_before(&script) <= longest);
        assert_eq!(&*script.task(1).result, "half", "what there is stays");
        assert_eq!(script.queued(), []);
        assert!(script.try_dispatch(1, "w1").is_err(), "it backs off");
        script.until_due().is(&["writes #1"]);
        assert_eq!(script.queued(), [1]);
    }
    script.dispatch(1, "w1");

    fail(&mut script, 1).is(&[
        "worker w1: #1 in_progress → failed in attempt 3: boom",
        "> #1 is over",
    ]);
    let task = script.task(1);
    assert_eq!((task.failures, task.crashes), (3, 0));
    assert_eq!(&*task.error, "boom");
    assert_eq!(script.next_deadline(), None);
}

/// Each attempt draws its own wait below a span that doubles up to its bound.
#[test]
fn the_waits_are_different_and_bounded() {
    let mut script = Script::given(&[retried(100, job("a"))]);
    let mut waits = vec![];
    for _ in 0..20 {
        script.dispatch(1, "w1");
        fail(&mut script, 1);
        waits.push(not_before(&script));
        script.until_due();
    }

    assert!(waits.iter().all(|wait| *wait <= secs(3)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > secs(1)), "{waits:?}");
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 15, "{waits:?}");
}

/// D3: a time-out counts as the agent's own failure, whether the worker or the coordinator saw
/// to it.
#[test]
fn a_time_out_is_tried_again_like_any_failure() {
    let mut script = Script::given(&[retried(3, job("a"))]);
    script.dispatch(1, "w1");
    script
        .end(1, report(AttemptEnding::TimedOut, "", "too long"))
        .is(&["worker w1: #1 requeued after attempt 1: too long"]);
    script.until_due();
    script.dispatch(1, "w1");
    script.start(1, Some(secs(60)));
    script.until_due().is(&[
        "coordinator: #1 stop of attempt 2: it ran longer than it may",
        "> stop #1/2: it ran longer than it may",
    ]);

    let confirmed = script
        .clone()
        .end(1, report(AttemptEnding::Cancelled, "half", ""));
    let lost = script.clone().lose(1);
    let silent = script.until_due();

    let again = "coordinator: #1 requeued after attempt 2: it ran longer than it may";
    confirmed.is(&[again]);
    lost.is(&[again]);
    silent.is(&[again, "> cut off 1"]);
    assert_eq!((script.task(1).failures, script.task(1).crashes), (2, 0));
}

/// What is not the agent's own failure uses up no try, and a failure is no crash.
#[test]
fn tries_and_crashes_are_counted_apart() {
    let mut script = Script::given(&[NewTask {
        crash_limit: Some(2),
        ..retried(2, job("a"))
    }]);
    for _ in 0..2 {
        script.dispatch(1, "w1");
        script.lose(1);
    }
    script.dispatch(1, "w1");
    script.hand_back(1, "no room");
    script.until_due();
    script.dispatch(1, "w1");

    fail(&mut script, 1).is(&["worker w1: #1 requeued after attempt 4: boom"]);

    let task = script.task(1);
    assert_eq!((task.failures, task.crashes), (1, 2));
}

#[test]
fn a_cancelled_or_late_task_is_not_tried_again() {
    let mut script = Script::given(&[NewTask {
        deadline: Some(Script::new().now + secs(10)),
        ..retried(9, job("a"))
    }]);
    script.dispatch(1, "w1");
    let mut cancelled = script.clone();
    cancelled.cancel(LEAD, 1, "enough").unwrap();
    script.start(1, None);
    script.until_due();

    fail(&mut cancelled, 1);
    fail(&mut script, 1);

    assert_eq!(cancelled.task(1).status(), Status::Cancelled);
    let end = script.task(1).end().unwrap().clone();
    let deadline = Some(StopReason::Deadline);
    assert_eq!((end.status, end.stop_reason), (EndStatus::Failed, deadline));
}

#[test]
fn a_deadline_does_not_wait_for_the_next_try() {
    let mut script = Script::given(&[NewTask {
        deadline: Some(Script::new().now + Duration::from_millis(1)),
        ..retried(9, job("a"))
    }]);
    script.dispatch(1, "w1");
    fail(&mut script, 1);

    script.until_due();
    while script.next_deadline().is_some() {
        script.until_due();
    }

    let end = script.task(1).end().unwrap().clone();
    assert_eq!(end.stop_reason, Some(StopReason::Deadline));
}

/// Each policy, for the failure after the last try and for the loss after the last crash.
#[test]
fn when_the_tries_are_used_up_the_failure_policy_decides() {
    let given = |of| {
        Script::given(&[NewTask {
            crash_limit: Some(0),
            ..policy(of, owned_by("alice", job("a")))
        }])
    };
    let lost = "1 attempts were lost, 0 may be; the last one: gone";
    for (of, is_crash) in [
        (FailurePolicy::Fail, false),
        (FailurePolicy::Fail, true),
        (FailurePolicy::Pause, false),
        (FailurePolicy::Pause, true),
        (FailurePolicy::Release, false),
        (FailurePolicy::Release, true),
    ] {
        let mut script = given(of);
        script.dispatch(1, "w1");

        let (told, by, why) = match is_crash {
            true => (script.lose(1), "coordinator", lost),
            false => (fail(&mut script, 1), "worker w1", "boom"),
        };

        let (requeued, paused, failed) = (
            format!("{by}: #1 requeued after attempt 1: {why}"),
            format!("coordinator: #1 paused: its tries are used up: {why}"),
            format!("{by}: #1 in_progress → failed in attempt 1: {why}"),
        );
        let line = match of {
            FailurePolicy::Fail => {
                told.is(&[&failed, "> #1 is over"]);
                "#1 [failed] a (alice)"
            }
            FailurePolicy::Pause => {
                told.is(&[&requeued, &paused]);
                "#1 [pending] a (alice)"
            }
            FailurePolicy::Release => {
                told.is(&[&requeued, &paused]);
                assert_eq!(
                    script.mailbox("alice"),
                    ["1 TaskAssignment: a", "2 TaskUnassigned: a"]
                );
                "#1 [pending] a"
            }
        };
        assert_eq!(script.lines(), [line]);
        assert_eq!(script.queued(), [], "{of:?}");
        assert_eq!(script.next_deadline(), None);
        assert_eq!(&*script.task(1).error, why, "{of:?}");
    }
}

/// A task that is held because its tries are used up is for a person: who resumes it gives it all
/// of them again.
#[test]
fn who_resumes_a_held_task_gives_it_its_tries_again() {
    let mut script = Script::given(&[NewTask {
        crash_limit: Some(1),
        ..policy(FailurePolicy::Pause, retried(1, job("a")))
    }]);
    script.dispatch(1, "w1");
    fail(&mut script, 1);
    let paused = Refusal::TaskPaused {
        task: TaskId(1),
        reason: "its tries are used up: boom".into(),
    };
    assert_eq!(script.try_dispatch(1, "w1").unwrap_err(), paused);
    assert_eq!(script.claim("alice", 1).unwrap_err(), paused);

    script
        .by(LEAD, Wish::ResumeTask(t(), TaskId(1)))
        .unwrap()
        .is(&["lead: #1 resumed"]);

    let task = script.task(1);
    assert_eq!((task.failures, task.crashes), (0, 0));
    script.dispatch(1, "w1");
    script
        .lose(1)
        .is(&["coordinator: #1 requeued after attempt 2: gone"]);
    script.dispatch(1, "w1");
    fail(&mut script, 1);
    assert!(script.task(1).waiting().unwrap().paused.is_some());
}

/// The task is another one for who has it cancelled by its blocker: it is not held any more.
#[test]
fn a_held_task_still_heeds_deadline_cancel_and_blockers() {
    let held = |task: NewTask| {
        let mut script = Script::given(&[card("a"), policy(FailurePolicy::Pause, task)]);
        script.dispatch(2, "w1");
        fail(&mut script, 2);
        script
    };
    let due = Script::new().now + secs(10);
    let mut late = held(NewTask {
        deadline: Some(due),
        ..job("b")
    });
    let mut off = held(job("b"));

    late.until_due();
    off.cancel(LEAD, 2, "enough").unwrap();

    assert_eq!(late.task(2).status(), Status::Failed);
    assert_eq!(off.task(2).status(), Status::Cancelled);
}
