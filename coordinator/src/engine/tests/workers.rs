//! What workers bring, and what becomes of their attempts.

use board::task::AttemptEnding;

use super::*;

#[test]
fn hello_keeps_what_is_its_own_and_stops_the_rest() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let own = worker.assigned().fence;
    let later = Fence {
        attempt: own.attempt.next(),
        ..own
    };
    let elsewhere = Fence {
        epoch: Epoch(8),
        ..own
    };
    let unknown = Fence {
        task: TaskId(9),
        ..own
    };

    let again = Hello {
        held: vec![own, later, elsewhere, unknown],
        ..hello("w", 1)
    };
    let worker = world.dial(again);

    let verdicts = worker.welcome.verdicts.iter();
    let verdicts: Vec<_> = verdicts.map(|v| (v.fence, v.keep)).collect();
    let expected = [
        (own, true),
        (later, false),
        (elsewhere, false),
        (unknown, false),
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(world.task(1).phase, Some(board::view::Phase::Dispatched));
}

#[test]
fn another_process_may_not_keep_what_a_first_one_holds() {
    let mut world = World::new();
    let mut first = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = first.assigned().fence;
    world.take(Input::Fleet(FleetInput::Closed(first.from.clone())));

    let second = Hello {
        held: vec![fence],
        ..hello("w", 2)
    };
    let second = world.dial(second);

    assert!(!second.welcome.verdicts[0].keep);
    assert_eq!(world.status(1), Status::InProgress);
}

#[test]
fn assignment_that_never_arrived_goes_out_again_at_no_cost() {
    let mut world = World::new();
    world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();

    let mut worker = world.dial(hello("w", 1));

    assert_eq!(worker.assigned().fence.attempt.0, 2);
    assert_eq!(world.last_attempt(1).ending, AttemptEnding::HandedBack);
    assert_eq!(world.task(1).task.crashes, 0);
}

#[test]
fn sub_agent_that_its_worker_came_back_without_is_lost() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    world.started(&worker, fence).unwrap();

    let mut worker = world.dial(hello("w", 1));

    assert_eq!(worker.assigned().fence.attempt.0, 2);
    assert_eq!(world.last_attempt(1).ending, AttemptEnding::Lost);
    assert_eq!(world.task(1).task.crashes, 1);
}

#[test]
fn stop_that_was_asked_for_is_repeated_to_who_dials_in() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    world.started(&worker, fence).unwrap();
    world.called(cancel(1)).unwrap();
    assert_eq!(worker.stopped(), fence);
    assert!(worker.is_left_alone());

    let mut world = world.restart();
    let again = Hello {
        held: vec![fence],
        ..hello("w", 1)
    };
    let mut worker = world.dial(again);

    assert!(worker.welcome.verdicts[0].keep);
    assert_eq!(worker.stopped(), fence);
    assert!(worker.is_left_alone());
}

#[test]
fn task_of_a_lost_worker_is_given_to_another() {
    let mut world = World::new();
    let mut silent = world.dial(hello("a", 1));
    world.called(create([delegated()])).unwrap();
    let fence = silent.assigned().fence;
    world.pass(secs(5));
    let mut other = world.dial(hello("b", 2));
    assert!(other.is_left_alone());

    world.pass(secs(10));
    other.welcome.heard.note(world.now);
    world.flush();

    assert_eq!(other.assigned().fence.attempt, fence.attempt.next());
    assert_eq!(world.last_attempt(1).ending, AttemptEnding::Lost);
    let late = world.completed(&silent, fence, "late").unwrap_err();
    assert!(matches!(late, Refusal::Stale { .. }));
    assert_eq!(world.status(1), Status::InProgress);
}

#[test]
fn worker_that_was_silent_and_is_heard_again_is_given_what_waits() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.pass(secs(12));
    world.called(create([delegated()])).unwrap();
    assert!(worker.is_left_alone());

    worker.welcome.heard.note(world.now);
    world.now = world.engine.next_deadline(world.now).unwrap();
    world.flush();

    assert_eq!(worker.assigned().fence.task, TaskId(1));
}

#[test]
fn attempts_are_left_alone_for_the_grace_after_a_restart_and_then_lost() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    // Its own time to start is over before the grace is.
    world.pass(secs(14));
    worker.welcome.heard.note(world.now);
    world.flush();
    let mut world = world.restart();

    world.pass(secs(59));
    world.flush();
    assert_eq!(world.task(1).phase, Some(board::view::Phase::Dispatched));
    world.pass(secs(1));
    world.flush();

    assert_eq!(world.status(1), Status::Pending);
    assert_eq!(world.last_attempt(1).ending, AttemptEnding::Lost);
    assert_eq!(world.engine.board.fence(key(1)), None);
    assert_eq!(fence.attempt, world.last_attempt(1).number);
}

#[test]
fn limit_of_what_runs_counts_anew_when_its_worker_comes_back_after_a_restart() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    world.started_for(&worker, fence, secs(60)).unwrap();
    // The wall clock jumps ahead; the sub-agent has not run for a second yet.
    world.pass(secs(86_400));
    let mut world = world.restart();
    let again = Hello {
        held: vec![fence],
        manual: true,
        ..hello("w", 1)
    };
    let mut worker = world.dial(again);

    world.pass(secs(69));
    world.flush();
    assert_eq!(world.task(1).phase, Some(board::view::Phase::Running));
    assert!(worker.is_left_alone());
    assert_eq!(
        world.engine.next_deadline(world.now),
        Some(world.now + secs(1))
    );
    world.pass(secs(1));
    world.flush();

    assert_eq!(worker.stopped(), fence);
}

#[test]
fn report_of_a_worker_that_came_back_after_a_restart_counts() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;
    world.started(&worker, fence).unwrap();
    let mut world = world.restart();

    world.pass(secs(59));
    let again = Hello {
        held: vec![fence],
        ..hello("w", 1)
    };
    let worker = world.dial(again);
    world.completed(&worker, fence, "done").unwrap();

    assert_eq!(&*world.task(1).task.result, "done");
    assert_eq!(world.status(1), Status::Completed);
}

#[test]
fn worker_that_confirms_no_stop_is_cut_off_with_all_that_it_holds() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated(), delegated()])).unwrap();
    let (first, second) = (worker.assigned().fence, worker.assigned().fence);
    world.started(&worker, first).unwrap();
    world.started(&worker, second).unwrap();
    world.called(cancel(1)).unwrap();
    assert_eq!(worker.stopped(), first);

    for _ in 0..6 {
        world.pass(secs(10));
        worker.welcome.heard.note(world.now);
        assert_eq!(world.status(2), Status::InProgress);
    }
    world.flush();

    assert_eq!(world.status(1), Status::Cancelled);
    assert_eq!(world.status(2), Status::Pending);
    assert_eq!(world.last_attempt(2).ending, AttemptEnding::Lost);
    assert!(world.engine.fleet.worker(&worker.from.worker).is_none());
    assert!(matches!(
        worker.orders.try_recv(),
        Ok(Order::Goodbye {
            reason: "EVICTED",
            ..
        })
    ));
    let late = world.completed(&worker, second, "late").unwrap_err();
    assert!(matches!(late, Refusal::Stale { .. }));
}

#[test]
fn report_by_a_replaced_stream_does_not_count() {
    let mut world = World::new();
    let mut old = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = old.assigned().fence;
    let again = Hello {
        held: vec![fence],
        ..hello("w", 1)
    };
    let new = world.dial(again);

    let stale = world.completed(&old, fence, "old").unwrap_err();
    assert!(matches!(stale, Refusal::Stale { .. }));
    assert_eq!(world.status(1), Status::InProgress);
    world.completed(&new, fence, "new").unwrap();

    assert_eq!(&*world.task(1).task.result, "new");
}

#[test]
fn draining_worker_is_given_nothing_more() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));

    world.take(Input::Fleet(FleetInput::Draining(worker.from.clone())));
    world.called(create([delegated()])).unwrap();

    assert!(worker.is_left_alone());
    assert_eq!(world.task(1).phase, Some(board::view::Phase::Queued));
}

#[test]
fn worker_is_never_given_more_than_its_slots() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));

    world.called(create(vec![delegated(); 3])).unwrap();
    let first = worker.assigned().fence;
    worker.assigned();
    assert!(worker.is_left_alone());

    world.completed(&worker, first, "done").unwrap();
    assert_eq!(worker.assigned().fence.task, TaskId(3));
}

#[test]
fn assignment_carries_the_results_of_blockers_cut_where_they_are_long() {
    let mut world = World::new();
    let mut worker = world.dial(hello("w", 1));
    world.called(create([delegated(), delegated()])).unwrap();
    let (short, long) = (worker.assigned().fence, worker.assigned().fence);
    let dependant = NewTask {
        blocked_by: vec![TaskId(1), TaskId(2)],
        ..delegated()
    };
    world.called(create([dependant])).unwrap();
    let fits = "x".repeat(BLOCKER_RESULT_LEN_MAX);
    // Its last character would be cut in two.
    let too_long = format!("{}ü", "y".repeat(BLOCKER_RESULT_LEN_MAX - 1));
    world.completed(&worker, short, &fits).unwrap();
    assert!(worker.is_left_alone());
    world.completed(&worker, long, &too_long).unwrap();

    let assignment = worker.assigned();

    assert_eq!(assignment.fence.task, TaskId(3));
    let blockers = assignment.blockers.iter();
    let blockers: Vec<_> = blockers.map(|b| (b.task.0, &*b.result, b.is_cut)).collect();
    let cut = &too_long[..BLOCKER_RESULT_LEN_MAX - 1];
    assert_eq!(blockers, [(1, fits.as_str(), false), (2, cut, true)]);
}

#[test]
fn refused_hello_changes_nothing() {
    let mut world = World::new();
    world.dial(hello("w", 1));
    let commits = world.engine.commits;

    let other = Hello {
        teams: Some(vec![team()]),
        ..hello("w", 2)
    };
    let (outbox, mut orders) = mpsc::channel(1);
    let (reply, mut answer) = oneshot::channel();
    world.take(Input::Fleet(FleetInput::Hello {
        hello: Box::new(other),
        outbox,
        reply,
    }));
    world.flush();

    let refused = answer.try_recv().unwrap().unwrap_err();
    assert!(matches!(refused, HelloRefused::NameTaken { .. }));
    assert!(orders.try_recv().is_err());
    assert_eq!(world.engine.commits, commits);
}

#[test]
fn hello_that_comes_after_a_later_one_of_its_process_takes_nothing_from_it() {
    let mut world = World::new();
    let dialled = |dials| Hello {
        dials,
        ..hello("w", 1)
    };
    let mut worker = world.dial(dialled(2));
    world.called(create([delegated()])).unwrap();
    let fence = worker.assigned().fence;

    let (outbox, mut orders) = mpsc::channel(1);
    let (reply, mut answer) = oneshot::channel();
    world.take(Input::Fleet(FleetInput::Hello {
        hello: Box::new(dialled(1)),
        outbox,
        reply,
    }));
    world.flush();

    let refused = answer.try_recv().unwrap().unwrap_err();
    let name = worker.from.worker.clone();
    assert_eq!(refused, HelloRefused::Overtaken { name });
    assert!(orders.try_recv().is_err());
    assert!(worker.is_left_alone());
    assert_eq!(world.engine.board.fence(key(1)), Some(fence));
    world.completed(&worker, fence, "done").unwrap();
    assert!(world.dial(dialled(3)).welcome.session > worker.from.session);
}

#[test]
fn worker_that_names_its_teams_is_a_member_of_each() {
    let mut world = World::new();
    let missing = TeamName::parse("missing").unwrap();
    let serving = Hello {
        teams: Some(vec![team(), missing]),
        ..hello("w", 1)
    };

    world.dial(serving);

    let members = world.engine.board.members(TEAM);
    let members: Vec<_> = members.map(|m| m.name.to_string()).collect();
    assert_eq!(members, [DEFAULT_LEAD, "w"]);
}

#[test]
fn worker_that_was_started_again_gets_its_lost_attempt_at_once() {
    let mut world = World::new();
    let mut first = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = first.assigned().fence;
    world.started(&first, fence).unwrap();
    let mut world = world.restart();

    let again = Hello {
        ended: vec![InstanceId(1)],
        ..hello("w", 2)
    };
    let mut second = world.dial(again);

    let assigned = second.assigned().fence;
    assert_eq!(
        (assigned.task, assigned.attempt),
        (fence.task, fence.attempt.next())
    );
    assert_eq!(world.last_attempt(1).ending, AttemptEnding::Lost);
    assert!(world.completed(&first, fence, "late").is_err());
}

#[test]
fn worker_can_not_give_up_what_another_worker_holds() {
    let mut world = World::new();
    let mut holder = world.dial(hello("w", 1));
    world.called(create([delegated()])).unwrap();
    let fence = holder.assigned().fence;

    let liar = Hello {
        ended: vec![InstanceId(1)],
        ..hello("other", 2)
    };
    let mut liar = world.dial(liar);

    assert!(liar.is_left_alone());
    assert_eq!(world.engine.board.fence(key(1)), Some(fence));
}

#[test]
fn worker_with_another_actors_name_is_refused_unless_the_board_knows_it() {
    let mut world = World::new();
    let dial = |world: &mut World| {
        let (outbox, _orders) = mpsc::channel(16);
        let (reply, mut answer) = oneshot::channel();
        world.take(Input::Fleet(FleetInput::Hello {
            hello: Box::new(hello("Admin", 1)),
            outbox,
            reply,
        }));
        world.flush();
        answer.try_recv().unwrap()
    };
    let name = hello("Admin", 1).name;

    let refused = dial(&mut world).unwrap_err();
    assert_eq!(refused, HelloRefused::NameReserved { name: name.clone() });

    // As a board from before may have one.
    world.called(create([delegated()])).unwrap();
    let dispatch = FleetCommand::Dispatch(key(1), name, InstanceId(1));
    world.engine.decide_fleet(&dispatch, world.now).unwrap();
    assert!(dial(&mut world).is_ok());
}

/// W4: the lease that a worker is told is the one by which it is judged.
#[test]
fn welcome_tells_a_worker_that_is_played_by_hand_its_ten_minutes() {
    let mut world = World::new();
    let by_hand = Hello {
        manual: true,
        ..hello("me", 1)
    };

    let me = world.dial(by_hand);
    let other = world.dial(hello("w", 2));

    assert_eq!(me.welcome.lease_span, secs(600));
    assert_eq!(other.welcome.lease_span, secs(15));
    world.take(Input::Fleet(FleetInput::Closed(me.from.clone())));
    let worker = world.engine.fleet.worker(&me.from.worker).unwrap();
    assert_eq!(
        worker.lease_until(),
        Some(world.now + me.welcome.lease_span)
    );
}
