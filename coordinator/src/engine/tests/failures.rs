//! Reads that fail are told as failures, cost nothing else, and don't end the process.

use super::*;
use crate::store::Unreadable;

/// A world in which tasks 1 to 3 were finished so long ago that they are outlines.
fn with_outlines() -> World {
    let mut world = World::new();
    world.called(create([plain(), plain(), plain()])).unwrap();
    for task in 1..=3 {
        world.called(cancel(task)).unwrap();
    }
    world.pass(FINISHED_KEPT_SPAN + Duration::from_millis(1));
    world.flush();
    world
}

fn damage_task(world: &World, task: u64) {
    world.store.damage(Unreadable::Task(TEAM, TaskId(task)));
}

#[track_caller]
fn assert_failed<T: std::fmt::Debug>(told: Result<T, Refusal>) {
    assert!(
        matches!(&told, Err(Refusal::ReadFailed { reference }) if reference.len() == 36),
        "{told:?}"
    );
}

#[track_caller]
fn assert_call_failed(told: CallReply) {
    assert_failed(told.map_err(|refused| refused.refusal));
}

#[test]
fn unreadable_task_is_a_failure_for_who_asks_for_it_and_is_told_again_when_it_can_be_read() {
    let mut world = with_outlines();
    damage_task(&world, 2);

    let mut seen = world.read(|reader| reader.task(&team(), TaskId(2), &Caller::default()));
    let mut over = world.wait(2);
    let changed = world.called(update(
        2,
        Update {
            subject: Some("other".into()),
            ..Update::default()
        },
    ));
    world.flush();

    assert_failed(seen.try_recv().unwrap());
    assert_failed(over.try_recv().unwrap());
    assert_call_failed(changed);
    world.store.mend();
    assert_eq!(&*world.task(2).task.subject, "think");
}

#[test]
fn task_that_is_not_there_is_told_to_be_unknown_though_others_cannot_be_read() {
    let mut world = with_outlines();
    damage_task(&world, 2);

    let mut seen = world.read(|reader| reader.task(&team(), TaskId(4), &Caller::default()));
    world.flush();

    let seen = seen.try_recv().unwrap();
    assert!(matches!(seen, Err(Refusal::TaskUnknown { .. })), "{seen:?}");
}

#[test]
fn list_shows_an_unreadable_task_as_its_stub_and_goes_on() {
    let mut world = with_outlines();
    damage_task(&world, 2);

    let mut listed = world.list(None);
    let labelled = Wanted {
        filter: ListFilter {
            label: Some("urgent".into()),
            ..ListFilter::default()
        },
        order: listing::Order::Id,
        after: None,
        size: 10,
    };
    let mut filtered =
        world.read(move |reader| reader.tasks(&team(), &labelled, &Caller::default()));
    world.flush();

    let page = listed.try_recv().unwrap().unwrap().page;
    let told: Vec<_> = page.items.iter().map(|(view, _)| view).collect();
    let shown = |view: &&TaskView| (view.task.id.0, view.is_unreadable, view.task.status());
    assert_eq!(
        told.iter().map(shown).collect::<Vec<_>>(),
        [
            (1, false, Status::Cancelled),
            (2, true, Status::Cancelled),
            (3, false, Status::Cancelled),
        ]
    );
    assert_eq!(told[1].line(), "#2 [cancelled] (unreadable)");
    let filtered = filtered.try_recv().unwrap().unwrap().page;
    let told: Vec<_> = filtered.items.iter().map(|it| it.0.task.id.0).collect();
    assert_eq!(told, [2]);
}

#[test]
fn unreadable_outcome_is_a_failure_and_the_request_is_not_carried_out_again() {
    let mut world = World::new();
    let id = Some(request(1, 1));
    world.called_as(create([plain()]), id).unwrap();
    world.store.damage(Unreadable::Outcomes);

    assert_call_failed(world.called_as(create([plain()]), id));

    world.store.mend();
    let again = world.called_as(create([plain()]), id).unwrap();
    let Told::Tasks(views) = again else {
        panic!("{again:?}")
    };
    assert_eq!(views[0].task.id, TaskId(1));
    let mut listed = world.list(None);
    world.flush();
    assert_eq!(listed.try_recv().unwrap().unwrap().page.items.len(), 1);
}

#[test]
fn unreadable_events_are_a_failure_and_not_the_end_of_what_is_kept() {
    let mut world = with_outlines();
    world.store.damage(Unreadable::Events);

    let mut events = world.read(|reader| reader.events(TEAM, Revision(0), 10));
    let mut explained =
        world.read(|reader| reader.explain(&team(), TaskId(1), None, 10, &Caller::default()));
    let mut seen = world.read(|reader| reader.team(&team()).map(|view| view.oldest));
    world.flush();

    assert_failed(events.try_recv().unwrap());
    assert_failed(explained.try_recv().unwrap());
    assert_eq!(seen.try_recv().unwrap(), Ok(Revision(0)));
    assert!(!world.engine.sweep(world.now).unwrap());
}

/// A worker whose type may hire three deep.
fn hires_deep(name: &str, instance: u128) -> Hello {
    let mut hello = hello(name, instance);
    hello.types[0].hiring_depth = 3;
    hello
}

/// The hirer is over, and long enough to be an outline.
#[test]
fn sub_agent_whose_hirer_is_unreadable_may_hire_as_far_as_is_known_and_is_told_of_the_failure() {
    let mut world = World::new();
    let mut worker = world.dial(hires_deep("w", 1));
    world.called(create([delegated()])).unwrap();
    let hirer = worker.assigned();
    let outliving = NewTask {
        is_delegated: true,
        outlives_parent: true,
        ..delegated()
    };
    let by = |fence: Fence, wish: Wish| Call {
        caller: Caller {
            attempt: Some(fence),
            ..Caller::default()
        },
        request: None,
        wish,
    };
    let pause = Wish::PauseTask(team(), TaskId(2), "not yet".into());
    let mut made = world.call_with(by(hirer.fence, create([outliving])));
    world.called(pause).unwrap();
    made.try_recv().unwrap().unwrap();
    world.completed(&worker, hirer.fence, "done").unwrap();
    world.pass(FINISHED_KEPT_SPAN + Duration::from_millis(1));
    world.flush();
    damage_task(&world, 1);
    let mut worker = world.dial(hires_deep("other", 2));

    world.called(Wish::ResumeTask(team(), TaskId(2))).unwrap();
    let hired = worker.assigned();
    let hires = by(hired.fence, create([delegated()]));

    assert_eq!((hired.fence.task, hired.hiring_depth), (TaskId(2), 3));
    assert_call_failed(world.called_with(hires.clone()));
    world.store.mend();
    world.called_with(hires).unwrap();
}

#[test]
fn update_at_another_revision_of_an_unreadable_task_is_a_failure_and_not_a_mismatch() {
    let mut world = with_outlines();
    damage_task(&world, 2);
    let stale = Update {
        expected_revision: Some(Revision(1)),
        ..Update::default()
    };

    assert_call_failed(world.called(update(2, stale)));
}

/// The end of a task that was cut short by a crash, and can't be gone on with.
#[test]
fn what_time_brings_to_others_does_not_wait_for_an_unreadable_task() {
    let mut world = World::new();
    let dependant = NewTask {
        blocked_by: vec![TaskId(1)],
        blocker_failed_policy: board::task::BlockerFailedPolicy::Cancel,
        ..plain()
    };
    let late = NewTask {
        deadline: Some(world.now + secs(10)),
        ..plain()
    };
    world.called(create([plain()])).unwrap();
    world.called(create(vec![dependant; 1_000])).unwrap();
    world.called(create([late])).unwrap();
    let mut cancelled = world.call(cancel(1), None);
    world.engine.commit(world.now).unwrap();
    cancelled.try_recv().unwrap().unwrap();
    let is_due = |world: &World, task: u64| {
        let task = world.store.task(TEAM, TaskId(task)).unwrap().unwrap();
        task.end().unwrap().cascade_due
    };
    assert!(is_due(&world, 5) && is_due(&world, 6));

    let mut world = world.restart();
    damage_task(&world, 5);
    for _ in 0..3 {
        world.flush();
    }
    world.pass(secs(10));
    world.flush();

    assert_eq!(world.status(1_002), Status::Failed);
    assert!(!is_due(&world, 6));
    let again = world.engine.next_deadline(world.now).unwrap();
    assert!(again > world.now && again <= world.now + READ_AGAIN_AFTER);
    world.store.mend();
    assert!(is_due(&world, 5));
    world.now = again;
    world.flush();
    assert!(!is_due(&world, 5));
}
