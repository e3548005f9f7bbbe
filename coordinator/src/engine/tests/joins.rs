//! What goes with the assignment of a task that joins others (D13).

use super::*;

fn part() -> NewTask {
    NewTask {
        parent: Some(TaskId(1)),
        subject: "part".into(),
        ..NewTask::default()
    }
}

#[test]
fn results_of_joined_children_go_with_the_assignment_as_far_as_there_is_room() {
    let mut world = World::new();
    let whole = NewTask {
        subject: "the whole".into(),
        ..NewTask::default()
    };
    world.called(create([whole])).unwrap();
    world.called(create(vec![part(); 260])).unwrap();
    let joins = NewTask {
        joins: Some(TaskId(1)),
        ..delegated()
    };
    world.called(create([joins])).unwrap();
    let done = |result: String| Update {
        status: Some(Status::Completed),
        result: Some(result.into()),
        ..Update::default()
    };
    for task in 2..=260 {
        let text = if task == 2 {
            "x".repeat(20_000)
        } else {
            format!("of {task}")
        };
        world.called(update(task, done(text))).unwrap();
    }
    let mut worker = world.dial(hello("w", 1));
    assert!(worker.is_left_alone());

    world.called(update(261, done("of 261".into()))).unwrap();

    let brought = worker.assigned().blockers;
    assert_eq!(brought.len(), 257);
    assert_eq!(
        (brought[0].task, brought[0].result.len()),
        (TaskId(2), 16 * 1024)
    );
    assert!(brought[0].is_cut);
    assert_eq!(
        (brought[255].task, &*brought[255].result),
        (TaskId(257), "of 257")
    );
    assert!(!brought[255].is_cut);
    let missing = "4 more tasks that are part of #1 completed; their results are not here, but in \
                   the tasks.";
    assert_eq!(
        (brought[256].task, &*brought[256].subject),
        (TaskId(1), "the whole")
    );
    assert_eq!(&*brought[256].result, missing);
}

#[test]
fn results_together_leave_room_for_the_rest_of_the_assignment() {
    let mut world = World::new();
    let blocker = NewTask {
        subject: "blocker".into(),
        ..NewTask::default()
    };
    world.called(create(vec![blocker; 200])).unwrap();
    let waits = NewTask {
        blocked_by: (1..=200).map(TaskId).collect(),
        ..delegated()
    };
    world.called(create([waits])).unwrap();
    let mut worker = world.dial(hello("w", 1));

    for task in 1..=200 {
        let done = Update {
            status: Some(Status::Completed),
            result: Some("x".repeat(16 * 1024).into()),
            ..Update::default()
        };
        world.called(update(task, done)).unwrap();
    }

    let brought = worker.assigned().blockers;
    let bytes: usize = brought.iter().map(|one| one.result.len()).sum();
    assert_eq!((brought.len(), bytes), (200, 2 * 1024 * 1024));
    let whole = brought.iter().filter(|one| !one.is_cut).count();
    assert_eq!(whole, 128);
}
