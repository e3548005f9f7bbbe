//! What is told of workers and of what their sub-agents are at.

use board::{id::WorkerName, view::Phase};

use super::*;

fn looked_at(world: &mut World, name: &str) -> Option<WorkerView> {
    let name = WorkerName::parse(name).unwrap();
    let mut answer = world.read(move |reader| reader.worker(&name));
    world.flush();
    answer.try_recv().unwrap()
}

fn drain(world: &mut World, name: &str, reason: &str) -> Option<WorkerView> {
    let (reply, mut answer) = oneshot::channel();
    world.take(Input::Fleet(FleetInput::Drain {
        worker: WorkerName::parse(name).unwrap(),
        reason: reason.into(),
        timeout: None,
        reply,
    }));
    world.flush();
    answer.try_recv().unwrap()
}

/// A worker whose sub-agents count as stalled after 20 seconds.
fn impatient(name: &str, instance: u128) -> Hello {
    let mut hello = hello(name, instance);
    hello.types[0].stall_span = Some(secs(20));
    Hello {
        manual: true,
        ..hello
    }
}

#[test]
fn worker_is_told_with_each_attempt_that_it_holds() {
    let mut world = World::new();
    let mut worker = world.dial(impatient("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    let dispatched = looked_at(&mut world, "w").unwrap();
    world.started(&worker, fence).unwrap();
    let started_at = world.now;
    world.pass(secs(3));
    let heard = &worker.welcome.heard;
    heard.note_progress(&fence, Some("Writing SQL"), world.now);
    let progress_at = world.now;

    let view = looked_at(&mut world, "w").unwrap();

    assert_eq!(dispatched.held[0].phase, Some(Phase::Dispatched));
    assert_eq!(dispatched.progress_at, None);
    assert_eq!(view.attempts, [fence]);
    assert_eq!((view.free, view.progress_at), (1, Some(progress_at)));
    let held = HeldView {
        fence,
        team: team(),
        subject: "work".into(),
        agent_type: Some(shell()),
        acts_as: "task:1".into(),
        phase: Some(Phase::Running),
        started_at: Some(started_at),
        progress_at: Some(progress_at),
        is_stalled: false,
        doing: "Writing SQL".into(),
    };
    assert_eq!(view.held, [held]);
    assert!(looked_at(&mut world, "nobody").is_none());
}

#[test]
fn attempt_is_stalled_after_the_time_of_its_type_and_not_lost() {
    let mut world = World::new();
    let mut worker = world.dial(impatient("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    world.started(&worker, fence).unwrap();

    world.pass(secs(19));
    let before = looked_at(&mut world, "w").unwrap();
    world.pass(secs(1));
    let after = looked_at(&mut world, "w").unwrap();

    assert!(!before.held[0].is_stalled);
    assert!(after.held[0].is_stalled);
    assert_eq!(after.standing, crate::fleet::Standing::Connected);
    assert!(after.is_stream_up && after.is_heard && after.is_lease_valid);
    assert_eq!(world.status(1), Status::InProgress);
    worker.welcome.heard.note_progress(&fence, None, world.now);
    assert!(!looked_at(&mut world, "w").unwrap().held[0].is_stalled);
}

#[test]
fn what_a_sub_agent_does_is_told_with_its_task_and_in_lists_without_a_commit() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    let task = NewTask {
        active_form: "Working".into(),
        ..delegated()
    };
    world.called(create([task])).unwrap();
    let fence = worker.assigned().fence;
    world.started(&worker, fence).unwrap();
    assert_eq!(world.task(1).line(), "#1 [in_progress] work (w): Working…");
    let commits = world.engine.commits;

    let heard = worker.welcome.heard.clone();
    heard.note_progress(&fence, Some("Writing SQL"), world.now);
    let told = world.task(1);
    let mut list = world.list(None);
    world.flush();
    let listed = list.try_recv().unwrap().unwrap().page.items;

    assert_eq!(world.engine.commits, commits);
    assert_eq!(&*told.doing, "Writing SQL");
    assert_eq!(told.line(), "#1 [in_progress] work (w): Writing SQL…");
    assert_eq!(listed, [(told, 0)]);
    world.completed(&worker, fence, "done").unwrap();
    assert_eq!(world.task(1).line(), "#1 [completed] work (w)");
    assert_eq!(&*world.task(1).doing, "");
}

#[test]
fn worker_that_is_drained_is_given_nothing_and_keeps_what_it_has() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;

    let view = drain(&mut world, "w", "the machine goes").unwrap();
    world.called(create([delegated()])).unwrap();

    assert_eq!(view.standing, crate::fleet::Standing::Draining);
    assert_eq!(&*view.drain_reason, "the machine goes");
    assert!(matches!(worker.orders.try_recv(), Ok(Order::Drain { .. })));
    assert!(worker.is_left_alone());
    assert_eq!(world.task(2).phase, Some(Phase::Queued));
    world.completed(&worker, fence, "done").unwrap();
    assert_eq!(world.status(1), Status::Completed);
    assert!(worker.is_left_alone());
    assert!(drain(&mut world, "nobody", "").is_none());
}
