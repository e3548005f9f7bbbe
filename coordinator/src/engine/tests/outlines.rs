//! Finished tasks are let go of, and come back whole.

use board::board::Card;

use super::*;

fn is_outlined(world: &World, task: u64) -> bool {
    matches!(
        world.engine.board.card_of(key(task)),
        Some(Card::Outline(_))
    )
}

/// A world in which task 1 was finished so long ago that it is an outline.
fn with_outline() -> World {
    let mut world = World::new();
    let id = Some(request(1, 1));
    world.called_as(create([plain()]), id).unwrap();
    world.called(cancel(1)).unwrap();
    world.pass(FINISHED_KEPT_SPAN);
    world.flush();
    assert!(!is_outlined(&world, 1));
    world.pass(Duration::from_millis(1));
    world.flush();
    assert!(is_outlined(&world, 1));
    world
}

fn assert_is_whole(view: &TaskView) {
    assert_eq!(&*view.task.subject, "think");
    assert_eq!(view.task.status(), Status::Cancelled);
}

#[test]
fn outline_comes_back_whole_for_a_look_and_goes_again() {
    let mut world = with_outline();

    let mut seen = world.read(|reader| reader.task(&team(), TaskId(1), &Caller::default()));
    assert!(!is_outlined(&world, 1));
    world.flush();

    assert_is_whole(&seen.try_recv().unwrap().unwrap());
    assert!(is_outlined(&world, 1));
}

#[test]
fn outline_is_listed_whole() {
    let mut world = with_outline();

    let mut listed = world.list(None);
    world.flush();

    let page = listed.try_recv().unwrap().unwrap().page;
    assert_eq!((page.items.len(), page.next), (1, None));
    assert_is_whole(&page.items[0].0);
    assert!(is_outlined(&world, 1));
}

#[test]
fn outline_is_waited_for_at_once() {
    let mut world = with_outline();

    let mut over = world.wait(1);
    world.flush();

    assert_is_whole(&over.try_recv().unwrap().unwrap());
}

#[test]
fn edge_from_an_outline_is_decided_as_from_a_whole_task() {
    let mut world = with_outline();

    let task = NewTask {
        blocked_by: vec![TaskId(1)],
        ..plain()
    };
    let told = world.called(create([task])).unwrap();

    let Told::Tasks(views) = told else {
        panic!("no tasks");
    };
    assert_eq!(views[0].task.blocked_by, [TaskId(1)]);
    assert_eq!(world.task(1).blocks, [TaskId(2)]);
}

#[test]
fn change_of_an_outline_meets_the_whole_task() {
    let mut world = with_outline();

    let refused = world.called(cancel(1)).unwrap_err();
    assert!(
        matches!(refused.refusal, Refusal::TaskOver { .. }),
        "{refused:?}"
    );
    world.flush();
    assert!(is_outlined(&world, 1));
}

#[test]
fn replay_of_an_outlines_making_tells_it_whole() {
    let mut world = with_outline();

    let told = world.called_as(create([plain()]), Some(request(1, 1)));

    let Ok(Told::Tasks(views)) = told else {
        panic!("no tasks");
    };
    assert_is_whole(&views[0]);
}

#[test]
fn finished_tasks_are_outlines_after_a_restart() {
    let mut world = World::new();
    world.called(create([plain()])).unwrap();
    world.called(cancel(1)).unwrap();

    let mut world = world.restart();

    assert!(is_outlined(&world, 1));
    let view = world.task(1);
    assert_is_whole(&view);
}

#[test]
fn list_past_the_last_number_is_empty() {
    let mut world = World::new();
    world.called(create([plain()])).unwrap();

    let mut listed = world.list(Some(At::Id(TaskId(u64::MAX))));
    world.flush();

    let page = listed.try_recv().unwrap().unwrap().page;
    assert_eq!((page.items, page.next), (vec![], None));
}
