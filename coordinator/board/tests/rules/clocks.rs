//! What time brings by itself (D4, W7).

use board::{
    command::{Lease, NewTask, Wish},
    id::TaskId,
    limits,
    task::{AttemptEnding, EndStatus, Status, StopReason},
    time::Time,
};

use crate::support::*;

fn due_in(secs: u64, task: NewTask) -> NewTask {
    let now = Script::new().now;
    NewTask {
        deadline: Some(now + self::secs(secs)),
        ..task
    }
}

#[test]
fn nothing_is_due_on_a_board_where_nothing_runs() {
    let mut script = Script::given(&[card("a"), job("b"), waits_for([1], card("c"))]);
    let for_good = Wish::ClaimTask(t(), TaskId(1), None, Some(Lease(None)));
    script.by("alice", for_good).unwrap();

    assert_eq!(script.next_deadline(), None);
    assert!(script.after(secs(1 << 30)).tick().is_none());
}

#[test]
fn a_deadline_fails_what_waits_and_what_is_claimed() {
    let mut script = Script::given(&[
        due_in(60, job("waits")),
        due_in(60, card("claimed")),
        due_in(60, waits_for([1], card("blocked"))),
    ]);
    script.claim("alice", 2).unwrap();
    let due = script.now + secs(60);

    script.now = Time(due.0 - 1);
    assert!(script.tick().is_none());
    let told = script.until_due();

    assert_eq!(script.now, due);
    told.is(&[
        "coordinator: #1 pending → failed: its deadline passed",
        "coordinator: #2 in_progress → failed in attempt 1: its deadline passed",
        "coordinator: #3 pending → failed: its deadline passed",
        "> #1 is over",
        "> #2 is over",
        "> #3 is over",
    ]);
    for task in 1..=3 {
        let end = script.task(task).end().unwrap().clone();
        let deadline = Some(StopReason::Deadline);
        assert_eq!((end.status, end.stop_reason), (EndStatus::Failed, deadline));
    }
    assert_eq!(script.task(2).attempts[0].ending, AttemptEnding::TimedOut);
    assert_eq!(script.next_deadline(), None);
}

#[test]
fn a_deadline_stops_what_runs_and_fails_it_when_confirmed() {
    let mut script = Script::given(&[due_in(60, job("a"))]);
    script.dispatch(1, "w1");
    script.start(1, None);

    script.until_due().is(&[
        "coordinator: #1 stop of attempt 1: its deadline passed",
        "> stop #1/1: its deadline passed",
    ]);
    let told = script.end(1, report(AttemptEnding::Cancelled, "half", ""));

    told.is(&[
        "coordinator: #1 in_progress → failed in attempt 1: its deadline passed",
        "> #1 is over",
    ]);
    let task = script.task(1);
    assert_eq!(task.end().unwrap().stop_reason, Some(StopReason::Deadline));
    assert_eq!(&*task.result, "half");
}

#[test]
fn a_deadline_does_not_wait_for_a_back_off() {
    let mut script = Script::given(&[due_in(60, job("a"))]);
    script.now = script.now + secs(59) + std::time::Duration::from_millis(900);
    script.dispatch(1, "w1");
    script.hand_back(1, "no room");

    script.until_due().is(&[
        "coordinator: #1 pending → failed: its deadline passed",
        "> #1 is over",
    ]);
}

/// A request to stop that was there before the deadline decides.
#[test]
fn a_deadline_leaves_a_stopping_attempt_to_its_stop() {
    let mut script = Script::given(&[due_in(10, job("a"))]);
    script.dispatch(1, "w1");
    script.cancel(LEAD, 1, "enough").unwrap();

    assert!(script.after(secs(30)).tick().is_none());
    script.end(1, done(""));

    assert_eq!(script.task(1).status(), Status::Cancelled);
}

#[test]
fn an_attempt_that_does_not_start_in_time_is_lost_and_tried_again() {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    let dispatched = script.now;

    let told = script.until_due();

    assert_eq!(script.now, dispatched + limits::START_TIMEOUT);
    told.is(&[
        "coordinator: #1 requeued after attempt 1: it did not start in time",
        "> stop #1/1: it did not start in time",
    ]);
    assert_eq!(script.task(1).crashes, 1);
    assert_eq!(script.queued(), [1]);
}

/// D4: the worker enforces the limit; the coordinator does a little later.
#[test]
fn an_attempt_that_outruns_its_limit_is_stopped_and_fails() {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    script.after(secs(5)).start(1, Some(secs(60)));
    let started = script.now;

    let told = script.until_due();

    assert_eq!(script.now, started + secs(60) + limits::RUN_LIMIT_BACKSTOP);
    told.is(&[
        "coordinator: #1 stop of attempt 1: it ran longer than it may",
        "> stop #1/1: it ran longer than it may",
    ]);
    script
        .end(1, report(AttemptEnding::TimedOut, "half", ""))
        .is(&[
            "coordinator: #1 in_progress → failed in attempt 1: it ran longer than it may",
            "> #1 is over",
        ]);
    let stop_reason = script.task(1).end().unwrap().stop_reason;
    assert_eq!(stop_reason, Some(StopReason::Timeout));
}

/// D4, W9: a worker may run a task for less than the task asks, never for more.
#[test]
fn the_shorter_of_the_tasks_and_the_workers_limit_counts() {
    let table = [
        (Some(60), Some(30), Some(30)),
        (Some(60), Some(90), Some(60)),
        (Some(60), None, Some(60)),
        (None, Some(30), Some(30)),
        (None, None, None),
    ];
    for (of_task, of_worker, counts) in table {
        let mut script = Script::given(&[NewTask {
            timeout: of_task.map(secs),
            ..job("a")
        }]);
        script.dispatch(1, "w1");
        script.start(1, of_worker.map(secs));

        let due = script.next_deadline();

        let expected = counts.map(|s| script.now + secs(s) + limits::RUN_LIMIT_BACKSTOP);
        assert_eq!(due, expected, "{of_task:?} {of_worker:?}");
    }
}

/// W6: after a restart, what a worker holds that was not heard yet is left alone.
#[test]
fn attempts_of_spared_processes_are_not_due() {
    let mut script = Script::given(&[job("a"), job("b")]);
    script.dispatch(1, "w1");
    script.after(secs(1)).dispatch(2, "w2");
    let second = script.now + limits::START_TIMEOUT;
    script.spared = [instance("w1")].into();
    script.now = second;

    let told = script.tick().unwrap();

    told.is(&[
        "coordinator: #2 requeued after attempt 1: it did not start in time",
        "> stop #2/1: it did not start in time",
    ]);
    assert_eq!(script.next_deadline(), None);
    script.spared.clear();
    script.tick().unwrap().is(&[
        "coordinator: #1 requeued after attempt 1: it did not start in time",
        "> stop #1/1: it did not start in time",
    ]);
}

/// W6: what the coordinator measures of an attempt counts from its worker's return at the earliest,
/// as before that a wall clock may have jumped. A task's own deadline is a moment, and stays it.
#[test]
fn clocks_of_attempts_of_processes_that_came_back_count_from_there() {
    let late = due_in(86_490, job("is late"));
    let mut script = Script::given(&[job("starts"), job("runs"), job("stops"), late]);
    for task in 1..=4 {
        script.dispatch(task, "w1");
    }
    script.start(2, Some(secs(30)));
    script.start(4, None);
    script.cancel(LEAD, 3, "enough").unwrap();
    script.after(secs(86_400));
    script.came_back = [(instance("w1"), script.now)].into();
    let back = script.now;

    assert!(script.tick().is_none());
    let mut told = |after, lines: &[&str]| {
        script.until_due().is(lines);
        assert_eq!(script.now, back + after);
    };
    told(
        secs(30) + limits::RUN_LIMIT_BACKSTOP,
        &[
            "coordinator: #2 stop of attempt 1: it ran longer than it may",
            "> stop #2/1: it ran longer than it may",
        ],
    );
    told(
        limits::START_TIMEOUT,
        &[
            "coordinator: #1 requeued after attempt 1: it did not start in time",
            "lead: #3 in_progress → cancelled in attempt 1: enough",
            "> stop #1/1: it did not start in time",
            "> cut off 1",
            "> #3 is over",
        ],
    );
    told(
        secs(90),
        &[
            "coordinator: #4 stop of attempt 1: its deadline passed",
            "> stop #4/1: its deadline passed",
        ],
    );
}

/// P4: what is due at one moment is done in steps of so many records, mail and all.
#[test]
fn a_tick_writes_a_thousand_records_and_leaves_the_rest_to_the_next() {
    let mut script = Script::new();
    script.is_checked = false;
    for _ in 0..2 {
        script
            .create(LEAD, &vec![due_in(60, card("a")); 750])
            .unwrap();
    }
    script.after(secs(60));

    let mut ended = vec![];
    while let Some(told) = script.tick() {
        let records = told.decision.records.len();
        assert!(records <= limits::STEP_MAX + 2, "{records} records");
        ended.push(told.decision.events.len());
    }

    assert_eq!(ended.iter().sum::<usize>(), 1_500, "{ended:?}");
    assert!(ended.len() > 1, "{ended:?}");
    assert_eq!(script.next_deadline(), None);
    script.check();
}
