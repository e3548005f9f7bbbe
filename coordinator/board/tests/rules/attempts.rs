//! Attempts on workers: given out, begun, ended, refused, lost, stopped (D3, D8, W2, W5, W7).

use std::time::Duration;

use board::{
    command::{EndReport, FleetCommand},
    id::{AttemptNumber, Epoch, Fence, InstanceId, TaskId, TeamUid},
    limits,
    refusal::{Refusal, Staleness},
    task::{AttemptEnding, EndStatus, Runner, StopReason, Task, TaskState, Usage, Waiting},
};

use crate::support::*;

fn end_of(task: &Task) -> (EndStatus, Option<StopReason>) {
    let end = task.end().expect("it is over");
    (end.status, end.stop_reason)
}

fn waiting(task: &Task) -> &Waiting {
    match &task.state {
        TaskState::Pending(waiting) => waiting,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_attempt_goes_from_dispatch_over_start_to_its_end() {
    let mut script = Script::given(&[job("a"), waits_for([1], card("b"))]);

    script.dispatch(1, "w1").is(&[
        "worker w1: w1 joined",
        "coordinator: #1 dispatched to w1 as attempt 1",
        "> assign #1/1 to w1",
    ]);
    assert_eq!(script.lines()[0], "#1 [in_progress] a (w1)");
    script
        .after(secs(1))
        .start(1, None)
        .is(&["worker w1: #1 started attempt 1"]);
    let started = script.now;
    script.after(secs(2)).end(1, done("42")).is(&[
        "worker w1: #1 in_progress → completed in attempt 1",
        "worker w1: #2 unblocked (because of #1)",
        "> #1 is over",
    ]);

    let task = script.task(1);
    assert_eq!(end_of(&task), (EndStatus::Completed, None));
    assert_eq!((&*task.result, &*task.error), ("42", ""));
    assert_eq!(task.owner, None, "dispatch never changes the owner");
    assert_eq!(task.started_at, Some(started));
    assert_eq!(task.usage.wall_ms, 5);
    let [attempt] = &task.attempts[..] else {
        panic!("{:?}", task.attempts);
    };
    let runner = Runner::Worker(worker_name("w1"), instance("w1"));
    assert_eq!(attempt.runner, runner);
    assert_eq!(attempt.started_at, Some(started));
    assert_eq!(attempt.ended_at, script.now);
}

/// D3: the endings that a worker reports, unasked.
#[test]
fn each_reported_ending_ends_the_task_in_its_way() {
    use AttemptEnding::*;
    let table = [
        (Completed, None, EndStatus::Completed, None),
        (
            Completed,
            Some(StopReason::ResourceLimit),
            EndStatus::Completed,
            Some(StopReason::ResourceLimit),
        ),
        (Failed, None, EndStatus::Failed, None),
        (
            Failed,
            Some(StopReason::ResourceLimit),
            EndStatus::Failed,
            Some(StopReason::ResourceLimit),
        ),
        (TimedOut, None, EndStatus::Failed, Some(StopReason::Timeout)),
        (Cancelled, None, EndStatus::Failed, None),
    ];
    for (ending, stop_reason, status, reason) in table {
        let mut script = Script::given(&[job("a")]);
        script.dispatch(1, "w1");

        script.end(
            1,
            EndReport {
                stop_reason,
                ..report(ending, "r", "e")
            },
        );

        let task = script.task(1);
        assert_eq!(end_of(&task), (status, reason), "{ending:?}");
        assert_eq!((&*task.result, &*task.error), ("r", "e"));
    }
}

/// W5, each kind of staleness, for each kind of report.
#[test]
fn a_stale_report_is_refused_with_what_is_stale() {
    let mut script = Script::given(&[job("a"), job("never given out"), job("done")]);
    script.dispatch(1, "w1");
    script.dispatch(3, "w1");
    script.end(3, report(AttemptEnding::Failed, "", ""));
    let good = fence(1, 1);
    let w1 = instance("w1");
    let table = [
        (
            Fence {
                epoch: Epoch(8),
                ..good
            },
            w1,
            Staleness::Epoch,
        ),
        (
            Fence {
                team: TeamUid(9),
                ..good
            },
            w1,
            Staleness::Team,
        ),
        (fence(9, 1), w1, Staleness::Task),
        (fence(1, 2), w1, Staleness::Attempt),
        (fence(1, 0), w1, Staleness::Attempt),
        (fence(2, 1), w1, Staleness::Attempt),
        (fence(3, 1), w1, Staleness::Attempt),
        (good, InstanceId(2), Staleness::Instance),
    ];
    for (fence, instance, why) in table {
        let reports = [
            FleetCommand::Started {
                fence,
                instance,
                run_limit: None,
            },
            FleetCommand::Ended {
                fence,
                instance,
                report: done("forged"),
            },
            FleetCommand::Refused {
                fence,
                instance,
                reason: "no".into(),
            },
        ];
        for report in reports {
            let refused = script.try_fleet(report.clone());
            assert_eq!(refused.unwrap_err(), Refusal::Stale { why }, "{report:?}");
        }
    }
    let lost = |task, attempt| {
        let attempt = AttemptNumber(attempt);
        [
            FleetCommand::Lost(key(task), attempt, "gone".into()),
            FleetCommand::NeverArrived(key(task), attempt),
        ]
    };
    for command in [lost(1, 2), lost(2, 1), lost(3, 1), lost(9, 1)].concat() {
        let why = Staleness::Attempt;
        let refused = script.try_fleet(command.clone());
        assert_eq!(refused.unwrap_err(), Refusal::Stale { why }, "{command:?}");
    }
}

/// W5: two attempts of one task never both count.
#[test]
fn a_lost_attempt_reports_in_vain_when_the_next_runs() {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    let (old, w1) = script.running(1);
    script
        .lose(1)
        .is(&["coordinator: #1 requeued after attempt 1: gone"]);
    script.dispatch(1, "w2");

    let refused = script.try_fleet(FleetCommand::Ended {
        fence: old,
        instance: w1,
        report: done("mine"),
    });

    let why = Staleness::Attempt;
    assert_eq!(refused.unwrap_err(), Refusal::Stale { why });
    script.end(1, done("theirs"));
    assert_eq!(&*script.task(1).result, "theirs");
}

/// W6: an acknowledgement may be lost, so the same report may come again, and counts once.
#[test]
fn a_report_that_comes_again_is_taken_and_counts_once() {
    let mut script = Script::given(&[job("a"), job("b")]);
    script.dispatch(1, "w1");
    let (fence, instance) = script.running(1);
    let ended = FleetCommand::Ended {
        fence,
        instance,
        report: done("42"),
    };
    script.fleet(ended.clone());
    script.board.outline(key(1));
    let again = script.fleet(ended);
    again.is(&[]);
    assert_eq!(again.decision.records, []);

    script.dispatch(2, "w1");
    let (fence, instance) = script.running(2);
    let refused = FleetCommand::Refused {
        fence,
        instance,
        reason: "full".into(),
    };
    script.fleet(refused.clone());
    let again = script.fleet(refused);
    again.is(&[]);
    assert_eq!(again.decision.records, []);
}

#[test]
fn a_start_that_is_reported_again_changes_nothing() {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    script.start(1, Some(secs(60)));

    let again = script.after(secs(1)).start(1, Some(secs(90)));

    again.is(&[]);
    assert_eq!(again.decision.records, []);
}

/// D8: losing a worker is not the task's fault, up to the limit.
#[test]
fn a_lost_attempt_is_tried_again_up_to_the_crash_limit() {
    let mut script = Script::given(&[job("a")]);
    for attempt in 1..=limits::CRASH_LIMIT {
        script.dispatch(1, "w1");
        let line = format!("coordinator: #1 requeued after attempt {attempt}: gone");
        script.lose(1).is(&[&line]);
        assert_eq!(script.queued(), [1]);
    }
    script.dispatch(1, "w1");

    let last = script.lose(1);

    let message = "4 attempts were lost, 3 may be; the last one: gone";
    last.is(&[
        &format!("coordinator: #1 in_progress → failed in attempt 4: {message}"),
        "> #1 is over",
    ]);
    let task = script.task(1);
    let crash_limit = Some(StopReason::CrashLimit);
    assert_eq!(end_of(&task), (EndStatus::Failed, crash_limit));
    assert_eq!(&*task.error, message);
    let endings: Vec<_> = task.attempts.iter().map(|a| a.ending).collect();
    assert_eq!(endings, [AttemptEnding::Lost; 4]);
}

#[test]
fn a_crash_limit_of_none_fails_at_the_first_loss() {
    let mut script = Script::given(&[board::command::NewTask {
        crash_limit: Some(0),
        ..job("a")
    }]);
    script.dispatch(1, "w1");

    script.lose(1);

    let crash_limit = Some(StopReason::CrashLimit);
    assert_eq!(end_of(&script.task(1)), (EndStatus::Failed, crash_limit));
}

/// D8: the agent's own failure is not tried again.
#[test]
fn a_failure_of_the_agents_own_is_final() {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");

    let told = script.end(1, report(AttemptEnding::Failed, "half", "boom\nstack"));

    told.is(&[
        "worker w1: #1 in_progress → failed in attempt 1: boom…",
        "> #1 is over",
    ]);
    assert_eq!(script.queued(), []);
}

/// W2, Q8: a refusal costs no try; each in a row is waited for longer.
#[test]
fn a_refused_assignment_waits_twice_as_long_each_time() {
    let mut script = Script::given(&[job("a")]);
    let mut waits = Vec::new();
    for _ in 0..10 {
        script.dispatch(1, "w1");
        script.hand_back(1, "no room");
        assert_eq!(script.queued(), []);
        let until = waiting(&script.task(1)).not_before.unwrap();
        waits.push(until.since(script.now));
        // One tick too early brings nothing.
        script.now = board::time::Time(until.0 - 1);
        assert!(script.tick().is_none());
        assert!(script.try_dispatch(1, "w1").is_err());
        script.now = until;
        script.tick().unwrap().is(&["writes #1"]);
        assert_eq!(script.queued(), [1]);
    }

    let millis = |ms| Duration::from_millis(ms);
    let doubling = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000].map(millis);
    assert_eq!(waits[..7], doubling);
    assert_eq!(waits[7..], [limits::REFUSAL_BACKOFF_MAX; 3]);
    assert_eq!(script.task(1).crashes, 0);
    let attempt = script.task(1).last_attempt;
    assert_eq!(attempt, AttemptNumber(10), "numbers only grow");
}

#[test]
fn a_refusal_after_something_else_waits_briefly_again() {
    let mut script = Script::given(&[job("a")]);
    for _ in 0..3 {
        script.dispatch(1, "w1");
        script.hand_back(1, "no room");
        script.until_due();
    }
    script.dispatch(1, "w1");
    script.lose(1);
    script.dispatch(1, "w1");

    script
        .hand_back(1, "no room")
        .is(&["worker w1: #1 requeued after attempt 5: no room"]);

    let until = waiting(&script.task(1)).not_before.unwrap();
    assert_eq!(until.since(script.now), limits::REFUSAL_BACKOFF);
}

/// W1.
#[test]
fn an_assignment_that_never_arrived_is_queued_at_once_and_costs_nothing() {
    let mut script = Script::given(&[job("a")]);
    script.dispatch(1, "w1");
    let attempt = AttemptNumber(1);

    let told = script.fleet(FleetCommand::NeverArrived(key(1), attempt));

    told.is(&["coordinator: #1 requeued after attempt 1: the assignment never reached the worker"]);
    assert_eq!(script.queued(), [1]);
    assert_eq!(script.task(1).crashes, 0);
}

#[test]
fn a_task_remembers_its_latest_attempts() {
    let mut script = Script::given(&[job("a")]);
    for attempt in 1..=limits::ATTEMPTS_KEPT as u32 + 2 {
        script.dispatch(1, "w1");
        let attempt = AttemptNumber(attempt);
        script.fleet(FleetCommand::NeverArrived(key(1), attempt));
    }

    let task = script.task(1);
    let numbers: Vec<u32> = task.attempts.iter().map(|a| a.number.0).collect();
    assert_eq!(numbers, (3..=18).collect::<Vec<u32>>());
}

#[test]
fn usage_adds_up_over_attempts() {
    let mut script = Script::given(&[job("a"), job("b")]);
    script.dispatch(1, "w1");
    let take_back = board::command::Update {
        owner: Some(Some(name("hana"))),
        stop_running: true,
        ..Default::default()
    };
    script.update(LEAD, 1, take_back).unwrap();
    script.end(1, report(AttemptEnding::Cancelled, "", ""));
    script.dispatch(1, "w1");

    script.end(1, done(""));

    let twice = Usage {
        input_tokens: 0,
        output_tokens: 0,
        wall_ms: 10,
        cpu_ms: 6,
        output_bytes: 4,
    };
    assert_eq!(script.task(1).usage, twice);
}

/// K13: one task at a time for a hosted member; the rest waits in its queue.
#[test]
fn a_hosted_member_runs_one_task_at_a_time() {
    let mut script = Script::given(&[
        owned_by("hana", card("a")),
        owned_by("hana", job("b")),
        owned_by("hugo", card("c")),
    ]);
    script.dispatch(1, "w1");

    let second = script.try_dispatch(2, "w2");
    let of_another = script.try_dispatch(3, "w2");

    assert!(second.is_err());
    assert!(of_another.is_ok());
    script.end(1, done(""));
    script.dispatch(2, "w2");
}

#[test]
fn a_workers_own_task_goes_to_no_other() {
    let mut script = Script::new();
    script.join("w1");
    script.create(LEAD, &[owned_by("w1", job("a"))]).unwrap();

    assert!(script.try_dispatch(1, "w2").is_err());
    assert!(script.try_dispatch(1, "w1").is_ok());
}

#[test]
fn commands_for_teams_and_tasks_that_are_not_there_are_refused() {
    let mut script = Script::new();
    let nowhere = TeamUid(9);
    let w1 = worker_name("w1");

    let joined = script.try_fleet(FleetCommand::JoinWorker(nowhere, w1.clone()));
    let given = script.try_fleet(FleetCommand::Dispatch(
        (nowhere, TaskId(1)),
        w1,
        InstanceId(1),
    ));
    let unknown = script.try_dispatch(1, "w1");

    let no_team = Refusal::Stale {
        why: Staleness::Team,
    };
    assert_eq!(joined.unwrap_err(), no_team);
    assert_eq!(given.unwrap_err(), no_team);
    let no_task = Refusal::TaskUnknown {
        was_deleted: false,
        task: TaskId(1),
        team: t(),
    };
    assert_eq!(unknown.unwrap_err(), no_task);
}
