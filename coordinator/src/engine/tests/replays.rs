//! A request that comes again.

use super::*;

fn ids(reply: &CallReply) -> Vec<u64> {
    match reply {
        Ok(Told::Tasks(views)) => views.iter().map(|view| view.task.id.0).collect(),
        other => panic!("no tasks: {other:?}"),
    }
}

#[test]
fn request_that_comes_again_is_answered_with_its_first_outcome() {
    let mut world = World::new();
    let wish = || create([plain(), plain()]);
    let id = Some(request(1, 1));

    let mut first = world.call(wish(), id);
    let mut in_its_group = world.call(wish(), id);
    world.flush();
    let commits = world.engine.commits;
    let later = world.called_as(wish(), id);
    assert_eq!(world.engine.commits, commits);
    let mut world = world.restart();
    let after_restart = world.called_as(wish(), id);

    assert_eq!(ids(&first.try_recv().unwrap()), [1, 2]);
    assert_eq!(ids(&in_its_group.try_recv().unwrap()), [1, 2]);
    assert_eq!(ids(&later), [1, 2]);
    assert_eq!(ids(&after_restart), [1, 2]);
    assert_eq!(world.engine.board.counts(TEAM).pending, 2);
}

#[test]
fn request_id_with_another_body_is_refused() {
    let mut world = World::new();

    let mut first = world.call(create([plain()]), Some(request(1, 1)));
    let mut in_its_group = world.call(create([delegated()]), Some(request(1, 2)));
    world.flush();
    let later = world.called_as(create([delegated()]), Some(request(1, 3)));

    assert_eq!(ids(&first.try_recv().unwrap()), [1]);
    for reused in [in_its_group.try_recv().unwrap(), later] {
        assert_eq!(reused.unwrap_err().refusal, Refusal::RequestIdReused);
    }
    assert_eq!(world.engine.board.counts(TEAM).pending, 1);
}

#[test]
fn refused_request_may_come_again_and_be_taken() {
    let mut world = World::new();
    let id = Some(request(1, 1));

    let refused = world.called_as(cancel(1), id).unwrap_err();
    assert!(matches!(refused.refusal, Refusal::TaskUnknown { .. }));
    world.called(create([plain()])).unwrap();

    world.called_as(cancel(1), id).unwrap();
    assert_eq!(world.status(1), Status::Cancelled);
}

#[test]
fn replayed_update_tells_what_it_changed_then_of_the_task_as_it_is_now() {
    let mut world = World::new();
    world.called(create([plain()])).unwrap();
    let rename = Update {
        subject: Some("first".into()),
        ..Update::default()
    };
    let id = Some(request(1, 1));
    let first = world.called_as(update(1, rename.clone()), id).unwrap();
    let again = Update {
        subject: Some("second".into()),
        ..Update::default()
    };
    world.called(update(1, again)).unwrap();

    let replayed = world.called_as(update(1, rename), id).unwrap();

    let (Told::Updated(first), Told::Updated(replayed)) = (first, replayed) else {
        panic!("no updates");
    };
    assert_eq!(replayed.fields, first.fields);
    assert_eq!(&*replayed.view.task.subject, "second");
}
