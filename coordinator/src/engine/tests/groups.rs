//! What is let out of a group, and when.

use oneshot::error::TryRecvError::{Closed, Empty};

use super::*;

#[test]
fn nothing_is_let_out_before_the_commit() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([plain()])).unwrap();
    let watcher = world.hub.watch(TEAM, Revision(0)).unwrap();

    let mut created = world.call(create([delegated()]), None);
    let mut refused = world.call(cancel(99), None);
    let mut over = world.wait(1);
    let mut cancelled = world.call(cancel(1), None);
    let mut seen = world.read(|reader| reader.task(&team(), TaskId(1), &Caller::default()));
    world.engine.elapse(world.now);
    world.engine.place(world.now);
    assert_eq!(created.try_recv(), Err(Empty));
    assert_eq!(refused.try_recv(), Err(Empty));
    assert_eq!(over.try_recv(), Err(Empty));
    assert_eq!(cancelled.try_recv(), Err(Empty));
    assert_eq!(seen.try_recv(), Err(Empty));
    assert!(worker.is_left_alone());
    assert_eq!(watcher.latest(), Revision(0));

    world.engine.commit(world.now).unwrap();
    assert!(matches!(created.try_recv(), Ok(Ok(Told::Tasks(_)))));
    let refused = refused.try_recv().unwrap().unwrap_err().refusal;
    assert!(matches!(refused, Refusal::TaskUnknown { .. }));
    assert_eq!(
        over.try_recv().unwrap().unwrap().task.status(),
        Status::Cancelled
    );
    assert!(matches!(cancelled.try_recv(), Ok(Ok(Told::Task(_)))));
    assert_eq!(
        seen.try_recv().unwrap().unwrap().task.status(),
        Status::Cancelled
    );
    // The dispatch is in the group of the task's making.
    assert_eq!(worker.assigned().fence.task, TaskId(2));
    assert!(worker.is_left_alone());
    assert!(watcher.latest() > Revision(0));
}

#[test]
fn failing_store_lets_nothing_out() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([plain()])).unwrap();
    let watcher = world.hub.watch(TEAM, Revision(0)).unwrap();
    world.store.break_disk();

    let mut created = world.call(create([delegated()]), Some(request(1, 1)));
    let mut over = world.wait(1);
    let mut cancelled = world.call(cancel(1), None);
    let mut seen = world.read(|reader| reader.task(&team(), TaskId(1), &Caller::default()));
    world.engine.elapse(world.now);
    world.engine.place(world.now);
    let committed = world.engine.commit(world.now);

    assert!(committed.is_err());
    assert_eq!(created.try_recv(), Err(Closed));
    assert_eq!(over.try_recv(), Err(Closed));
    assert_eq!(cancelled.try_recv(), Err(Closed));
    assert_eq!(seen.try_recv(), Err(Closed));
    assert!(worker.is_left_alone());
    assert_eq!(watcher.latest(), Revision(0));
}

#[test]
fn read_sees_what_came_before_it_in_its_group_and_nothing_after_it() {
    let mut world = World::new();

    let count = |reader: &mut Reader<'_>| reader.status().counts.pending;
    let mut before = world.read(count);
    world.call(create([plain()]), None);
    let mut after = world.read(count);
    world.flush();

    assert_eq!(before.try_recv(), Ok(0));
    assert_eq!(after.try_recv(), Ok(1));
}

#[test]
fn group_that_changes_nothing_commits_nothing() {
    let mut world = World::new();
    world.flush();
    let before = world.engine.commits;

    let mut refused = world.call(cancel(99), None);
    world.flush();

    assert!(refused.try_recv().unwrap().is_err());
    assert_eq!(world.engine.commits, before);
}

#[test]
fn revision_mismatch_carries_the_task_as_it_is() {
    let mut world = World::new();
    world.called(create([plain()])).unwrap();
    let present = world.task(1);

    let stale = Update {
        subject: Some("other".into()),
        expected_revision: Some(Revision(present.task.revision.0 + 1)),
        ..Update::default()
    };
    let refused = world.called(update(1, stale)).unwrap_err();

    assert!(matches!(refused.refusal, Refusal::RevisionMismatch { .. }));
    assert_eq!(refused.current, Some(present));
}

#[test]
fn other_refusals_carry_no_task() {
    let mut world = World::new();
    world.called(create([plain()])).unwrap();

    let blank = Update {
        subject: Some("".into()),
        ..Update::default()
    };
    let refused = world.called(update(1, blank)).unwrap_err();

    assert!(matches!(refused.refusal, Refusal::Blank { .. }));
    assert_eq!(refused.current, None);
}

#[test]
fn who_waits_is_told_of_the_end_once_it_is_there() {
    let mut world = World::new();
    world.called(create([plain(), plain()])).unwrap();

    let mut open = world.wait(1);
    let mut gone = world.wait(1);
    gone.close();
    world.flush();
    assert_eq!(open.try_recv(), Err(Empty));
    world.called(cancel(2)).unwrap();
    assert_eq!(open.try_recv(), Err(Empty));
    world.called(cancel(1)).unwrap();
    let told = open.try_recv().unwrap().unwrap();
    assert_eq!(
        (told.task.id, told.task.status()),
        (TaskId(1), Status::Cancelled)
    );

    let mut finished = world.wait(1);
    assert_eq!(finished.try_recv(), Err(Empty));
    world.flush();
    assert_eq!(finished.try_recv().unwrap().unwrap(), told);
}

#[test]
fn default_team_is_made_once() {
    let world = World::new().restart().restart();

    let teams = world.engine.board.teams();
    let teams: Vec<_> = teams.map(|team| (team.uid, team.name.as_str())).collect();
    assert_eq!(teams, [(TEAM, DEFAULT_TEAM)]);
}

#[test]
fn deadline_of_a_task_is_the_engines_deadline() {
    let mut world = World::new();
    let due = world.now + secs(100);
    let task = NewTask {
        deadline: Some(due),
        ..plain()
    };
    world.called(create([task])).unwrap();
    assert_eq!(world.engine.next_deadline(world.now), Some(due));

    world.pass(secs(100));
    let mut over = world.wait(1);
    world.flush();

    let over = over.try_recv().unwrap().unwrap();
    assert_eq!(over.task.status(), Status::Failed);
    // What comes next is that the finished task leaves.
    let leaves = world.now + TasksKept::default().span;
    assert_eq!(world.engine.next_deadline(world.now), Some(leaves));
}
