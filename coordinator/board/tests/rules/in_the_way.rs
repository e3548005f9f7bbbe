//! New blockers in the way of work that has begun (K4).

use board::{
    command::{NewTask, Update},
    id::{AttemptNumber, TaskId},
    refusal::Refusal,
    task::Status,
};

use crate::support::*;

fn blocked_by(blockers: impl IntoIterator<Item = u64>) -> Update {
    Update {
        add_blocked_by: ids(blockers),
        ..Update::default()
    }
}

fn blocks(dependants: impl IntoIterator<Item = u64>) -> Update {
    Update {
        add_blocks: ids(dependants),
        ..Update::default()
    }
}

#[test]
fn work_in_progress_gets_no_open_blocker() {
    let mut script = Script::given(&[card("a"), card("claimed"), job("placed")]);
    script.claim("alice", 2).unwrap();
    script.dispatch(3, "w1");
    let held = Refusal::TaskHeld {
        task: TaskId(2),
        holder: "alice".into(),
    };
    let running = Refusal::TaskRunning {
        task: TaskId(3),
        worker: "w1".into(),
        attempt: AttemptNumber(1),
    };
    let new = |task| NewTask {
        blocks: ids([task]),
        ..card("new")
    };

    for (task, refusal) in [(2, held), (3, running)] {
        let from_below = script.update(LEAD, task, blocked_by([1]));
        let from_above = script.update(LEAD, 1, blocks([task]));
        let by_a_new_task = script.create(LEAD, &[new(task)]);
        assert_eq!(from_below.unwrap_err(), refusal);
        assert_eq!(from_above.unwrap_err(), refusal);
        assert_eq!(by_a_new_task.unwrap_err(), refusal);
    }
}

#[test]
fn work_in_progress_may_get_a_closed_blocker() {
    let mut script = Script::given(&[card("a"), card("b")]);
    script.set(LEAD, 1, Status::Completed).unwrap();
    script.claim("alice", 2).unwrap();

    script
        .update(LEAD, 2, blocked_by([1]))
        .unwrap()
        .is(&["lead: #2 updated: blocked_by"]);
}

#[test]
fn work_stopped_for_a_new_blocker_waits_for_it() {
    let mut script = Script::given(&[card("a"), card("claimed"), job("placed")]);
    script.claim("alice", 2).unwrap();
    script.dispatch(3, "w1");
    let stop = |dependant| Update {
        stop_running: true,
        ..blocks([dependant])
    };

    script.update(LEAD, 1, stop(2)).unwrap().is(&[
        "lead: #2 requeued after attempt 1: has to wait for #1",
        "lead: #2 updated: blocked_by (because of #1)",
        "lead: #1 updated: blocks",
    ]);
    script.update(LEAD, 1, stop(3)).unwrap().is(&[
        "lead: #3 stop of attempt 1: has to wait for #1",
        "lead: #3 updated: blocked_by (because of #1)",
        "lead: #1 updated: blocks",
        "> stop #3/1: has to wait for #1",
    ]);
    script
        .end(3, done("too late"))
        .is(&["worker w1: #3 requeued after attempt 1: has to wait for #1"]);

    assert_eq!(script.queued(), []);
    assert_eq!(
        script.lines()[1..],
        [
            "#2 [pending] claimed (alice) [blocked by #1]",
            "#3 [pending] placed [blocked by #1]",
        ]
    );
    script.set(LEAD, 1, Status::Completed).unwrap();
    assert_eq!(script.queued(), [3]);
}

/// T6: an edge is no way round the owner.
#[test]
fn only_who_may_change_a_task_stops_it_for_a_new_blocker() {
    let mut script = Script::given(&[card("a"), job("b")]);
    script.claim("alice", 1).unwrap();
    script.dispatch(2, "w1");

    let refused = script.update(
        "alice",
        1,
        Update {
            stop_running: true,
            ..blocks([2])
        },
    );

    let not_owner = Refusal::NotOwner {
        task: TaskId(2),
        owner: None,
        member: by("alice"),
    };
    assert_eq!(refused.unwrap_err(), not_owner);
}
