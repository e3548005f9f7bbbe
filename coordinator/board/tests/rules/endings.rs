//! What the end of a task does to those that wait for it (K5, P4).

use board::{
    command::NewTask,
    limits,
    task::{BlockerFailedPolicy, Status, StopReason},
};

use crate::support::*;

fn policy(policy: BlockerFailedPolicy, task: NewTask) -> NewTask {
    NewTask {
        blocker_failed_policy: policy,
        ..task
    }
}

fn cancels(blockers: impl IntoIterator<Item = u64>) -> NewTask {
    policy(BlockerFailedPolicy::Cancel, waits_for(blockers, job("x")))
}

fn proceeds(blockers: impl IntoIterator<Item = u64>) -> NewTask {
    policy(BlockerFailedPolicy::Proceed, waits_for(blockers, job("x")))
}

#[test]
fn a_blocker_that_fails_acts_by_each_dependants_policy() {
    for status in [Status::Failed, Status::Cancelled] {
        let mut script = Script::given(&[
            card("a"),
            waits_for([1], job("waits")),
            cancels([1]),
            proceeds([1]),
        ]);

        let told = script.set(LEAD, 1, status).unwrap();

        told.is(&[
            &format!("lead: #1 pending → {}", status.word()),
            "coordinator: #3 pending → cancelled: blocker #1 did not complete (because of #1)",
            "lead: #4 unblocked (because of #1)",
            "> #1 is over",
            "> #3 is over",
        ]);
        assert_eq!(script.queued(), [4]);
        assert_eq!(script.lines()[1], "#2 [pending] waits [blocked by #1]");
        let end = script.task(3).end().unwrap().clone();
        assert_eq!(end.stop_reason, Some(StopReason::BlockerFailed));
        let error = "blocker #1 did not complete";
        assert_eq!(&*script.task(3).error, error);
    }
}

#[test]
fn a_failed_blocker_does_not_free_who_waits_for_others_too() {
    let mut script = Script::given(&[card("a"), card("b"), proceeds([1, 2])]);

    script
        .set(LEAD, 1, Status::Failed)
        .unwrap()
        .is(&["lead: #1 pending → failed", "> #1 is over"]);
    script.set(LEAD, 2, Status::Completed).unwrap().is(&[
        "lead: #2 pending → completed",
        "lead: #3 unblocked (because of #2)",
        "> #2 is over",
    ]);
}

#[test]
fn cancelling_runs_down_the_chain_in_one_commit() {
    let mut script = Script::given(&[job("a"), cancels([1]), cancels([2]), proceeds([3])]);
    script.dispatch(1, "w1");

    let told = script.end(1, report(board::task::AttemptEnding::Failed, "", "boom"));

    told.is(&[
        "worker w1: #1 in_progress → failed in attempt 1: boom",
        "coordinator: #2 pending → cancelled: blocker #1 did not complete (because of #1)",
        "coordinator: #3 pending → cancelled: blocker #2 did not complete (because of #2)",
        "worker w1: #4 unblocked (because of #3)",
        "> #1 is over",
        "> #2 is over",
        "> #3 is over",
    ]);
    assert_eq!(script.queued(), [4]);
}

#[test]
fn the_foot_of_a_cancelled_diamond_is_freed_once() {
    let mut script = Script::given(&[card("a"), cancels([1]), cancels([1]), proceeds([2, 3])]);

    let told = script.set(LEAD, 1, Status::Failed).unwrap();

    told.is(&[
        "lead: #1 pending → failed",
        "coordinator: #2 pending → cancelled: blocker #1 did not complete (because of #1)",
        "coordinator: #3 pending → cancelled: blocker #1 did not complete (because of #1)",
        "lead: #4 unblocked (because of #3)",
        "> #1 is over",
        "> #2 is over",
        "> #3 is over",
    ]);
}

#[test]
fn the_foot_of_a_cancelled_diamond_is_cancelled_once() {
    let mut script = Script::given(&[card("a"), cancels([1]), cancels([1]), cancels([2, 3])]);

    let told = script.set(LEAD, 1, Status::Failed).unwrap();

    assert_eq!(
        told.lines[1..4],
        [
            "coordinator: #2 pending → cancelled: blocker #1 did not complete (because of #1)",
            "coordinator: #3 pending → cancelled: blocker #1 did not complete (because of #1)",
            "coordinator: #4 pending → cancelled: blocker #2 did not complete (because of #2)",
        ]
    );
    assert_eq!(told.decision.events.len(), 4);
}

/// K4: work that has begun is not touched by what happens to a blocker.
#[test]
fn only_pending_dependants_are_cancelled() {
    let mut script = Script::given(&[card("a"), policy(BlockerFailedPolicy::Cancel, job("b"))]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    script.dispatch(2, "w1");

    let edge = board::command::Update {
        add_blocked_by: ids([1]),
        ..Default::default()
    };
    script.update(LEAD, 2, edge).unwrap();

    assert_eq!(script.task(2).status(), Status::InProgress);
}

#[test]
fn freed_tasks_count_their_waiting_from_then_on() {
    let mut script = Script::given(&[card("a"), waits_for([1], job("b"))]);
    script.after(secs(100));

    script.set(LEAD, 1, Status::Completed).unwrap();

    let view = script.board.view(key(2)).unwrap();
    assert_eq!(view.phase_since, Some(script.now));
}

/// P4: a cascade of more tasks than one step may change is worked off in ticks; what is still to
/// be cancelled can't start meanwhile, and what is to be freed is freed with its event.
#[test]
fn a_long_cascade_is_worked_off_in_steps_with_nothing_startable_in_between() {
    let wide = 400;
    let mut script = Script::given(&[card("root")]);
    script.is_checked = false;
    // The root, then 400 chains of four: three that cancel, one that proceeds.
    let mut layer: Vec<u64> = vec![1; wide];
    for depth in 0..4 {
        let task = |blocker: &u64| match depth {
            3 => proceeds([*blocker]),
            _ => cancels([*blocker]),
        };
        let batch: Vec<NewTask> = layer.iter().map(task).collect();
        let first = script.shelf.tasks.len() as u64 + 1;
        script.create(LEAD, &batch).unwrap();
        layer = (first..first + wide as u64).collect();
    }

    let mut told = script.set(LEAD, 1, Status::Failed).unwrap();
    let mut steps = 0;
    let mut cancelled = 0;
    let mut freed: Vec<u64> = Vec::new();
    loop {
        steps += 1;
        assert!(told.decision.records.len() <= limits::STEP_MAX + limits::EDGES_MAX + 1);
        for line in &told.lines {
            cancelled += usize::from(line.contains("pending → cancelled"));
            if let Some((_, rest)) = line.split_once(": #")
                && let Some((id, _)) = rest.split_once(" unblocked")
            {
                freed.push(id.parse().unwrap());
            }
        }
        freed.sort_unstable();
        assert_eq!(script.queued(), freed, "only what was freed may start");
        script.check();
        match script.tick() {
            Some(next) => told = next,
            None => break,
        }
    }

    assert_eq!(cancelled, 3 * wide);
    assert_eq!(freed, layer);
    assert!((2..=4).contains(&steps), "{steps} steps");
    assert_eq!(script.next_deadline(), None);
}

/// The same, where a restart and the outlining of what is over come in between.
#[test]
fn a_cascade_goes_on_after_a_reload() {
    let mut script = Script::given(&[card("root")]);
    script.is_checked = false;
    script.create(LEAD, &vec![cancels([1]); 999]).unwrap();
    let batch: Vec<NewTask> = (2..=41).map(|id| cancels([id])).collect();
    script.create(LEAD, &batch).unwrap();
    script.set(LEAD, 1, Status::Failed).unwrap();
    let epoch = script.board.meta().epoch;
    let records = script.shelf.task_records(true);
    script.board = script.shelf.load(epoch, &records);
    assert!(script.next_deadline().is_some());

    while script.tick().is_some() {
        script.check();
    }

    let over = |task: u64| script.board.ended(key(task)).is_some();
    assert!((1..=1_040).all(over));
}

#[test]
fn work_stopped_for_a_blocker_that_fails_meanwhile_is_cancelled() {
    let mut script = Script::given(&[card("a"), policy(BlockerFailedPolicy::Cancel, job("b"))]);
    script.dispatch(2, "w1");
    let stop = board::command::Update {
        add_blocked_by: ids([1]),
        stop_running: true,
        ..Default::default()
    };
    script.update(LEAD, 2, stop).unwrap();
    script
        .set(LEAD, 1, Status::Failed)
        .unwrap()
        .is(&["lead: #1 pending → failed", "> #1 is over"]);

    script.end(2, done("late")).is(&[
        "worker w1: #2 requeued after attempt 1: has to wait for #1",
        "coordinator: #2 pending → cancelled: blocker #1 did not complete (because of #1)",
        "> #2 is over",
    ]);
}

/// A tick goes on with as many cascades as fit into a step, not with all of them.
#[test]
fn wide_cascades_do_not_make_wide_steps() {
    let mut script = Script::given(&[card("root")]);
    script.is_checked = false;
    script.create(LEAD, &vec![cancels([1]); 999]).unwrap();
    for first_of_layer in 2..=6 {
        let batch = vec![cancels([first_of_layer]); 900];
        script.create(LEAD, &batch).unwrap();
    }
    script.set(LEAD, 1, Status::Failed).unwrap();

    let mut ended = 0;
    while let Some(told) = script.tick() {
        let tasks = told.decision.records.len();
        assert!(tasks <= limits::STEP_MAX + limits::EDGES_MAX, "{tasks}");
        ended += told.decision.events.len();
    }

    assert_eq!(ended, 5 * 900);
    script.check();
}
