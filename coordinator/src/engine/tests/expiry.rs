//! Finished tasks leave board, store and memory in time (K15).

use super::*;

fn kept() -> TasksKept {
    TasksKept {
        count: 2,
        span: Duration::from_secs(3_600),
    }
}

/// A world that keeps two finished tasks, in which so many were made and cancelled.
fn with_finished(count: u64) -> World {
    let mut world = World::keeping(MemoryStore::default(), Time(1_000_000), kept());
    for task in 1..=count {
        world.called(create([plain()])).unwrap();
        world.called(cancel(task)).unwrap();
    }
    world.flush();
    world
}

fn refused(world: &mut World, task: u64) -> Refusal {
    let mut answer =
        world.read(move |reader| reader.task(&team(), TaskId(task), &Caller::default()));
    world.flush();
    answer.try_recv().unwrap().unwrap_err()
}

fn expired(task: u64) -> Refusal {
    let team = team();
    let task = TaskId(task);
    Refusal::TaskExpired { task, team }
}

fn is_stored(world: &World, task: u64) -> bool {
    world.store.task(TEAM, TaskId(task)).unwrap().is_some()
}

#[test]
fn a_task_that_expired_is_gone_from_board_and_store_and_is_told_so() {
    let mut world = with_finished(5);

    for task in 1..=3 {
        assert_eq!(refused(&mut world, task), expired(task));
        assert!(!is_stored(&world, task));
    }
    assert!(is_stored(&world, 4) && is_stored(&world, 5));
    let status = world.read(|reader| reader.status()).try_recv();
    assert!(status.is_err(), "a read waits for its group");
    let mut status = world.read(|reader| reader.status());
    world.flush();
    let status = status.try_recv().unwrap();
    assert_eq!((status.counts.cancelled, status.tasks_expired), (2, 3));
}

#[test]
fn whoever_waits_for_a_task_that_expired_is_told_so_at_once() {
    let mut world = with_finished(3);

    let mut over = world.wait(1);
    world.flush();

    assert_eq!(over.try_recv().unwrap().unwrap_err(), expired(1));
}

#[test]
fn what_expired_stays_so_over_a_restart_and_ids_go_on() {
    let world = with_finished(5);

    let mut world = World::keeping(world.store.clone(), world.now, kept());

    assert_eq!(refused(&mut world, 1), expired(1));
    assert_eq!(
        refused(&mut world, 6),
        Refusal::never_was(TaskId(6), team())
    );
    world.called(create([plain()])).unwrap();
    assert_eq!(world.task(6).task.id, TaskId(6));
}

/// Killed between any two steps, a sweep goes on where it was.
#[test]
fn a_sweep_that_was_cut_short_goes_on_after_a_restart() {
    const COUNT: u64 = 1_000;
    let mut world = World::new();
    let many = vec![plain(); 1_000];
    world.called(create(many)).unwrap();
    for task in 1..=COUNT {
        world.call(cancel(task), None);
    }
    world.flush();
    let mut store = world.store.clone();

    let mut restarts = 0;
    while is_stored(&world, COUNT - 2) {
        assert!((1..=2).all(|task| is_stored(&world, COUNT + 1 - task)));
        world = World::keeping(store.clone(), world.now, kept());
        world.flush();
        store = world.store.clone();
        restarts += 1;
        assert!(restarts <= 1_000 / 128 + 1, "a step that does nothing");
    }

    let left: Vec<u64> = (1..=COUNT)
        .filter(|task| is_stored(&world, *task))
        .collect();
    assert_eq!(left, [COUNT - 1, COUNT]);
    board::invariants::check(world.engine.board()).unwrap();
}
