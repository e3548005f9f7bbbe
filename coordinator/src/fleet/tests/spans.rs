//! How often a worker is to be heard, and which versions are understood.

use super::*;

#[test]
fn small_fleet_is_judged_by_the_spans_as_configured() {
    for workers in [0, 1, 2_499, 2_500] {
        assert_eq!(LEASES.stretched(workers), LEASES);
    }
}

#[test]
fn large_fleet_brings_as_many_heartbeats_as_a_smaller_one_and_all_spans_keep_their_ratio() {
    let stretched = LEASES.stretched(10_000);

    let expected = Leases {
        heartbeat: secs(20),
        silence: secs(40),
        lease: secs(60),
        ..LEASES
    };
    assert_eq!(stretched, expected);
}

#[test]
fn short_heartbeats_are_stretched_by_a_few_hundred_workers_already() {
    let hasty = Leases {
        heartbeat: Duration::from_millis(200),
        silence: Duration::from_millis(600),
        lease: secs(1),
        ..LEASES
    };

    assert_eq!(hasty.stretched(100), hasty);
    let stretched = hasty.stretched(200);
    assert_eq!(stretched.heartbeat, Duration::from_millis(400));
    assert_eq!(stretched.silence, Duration::from_millis(1_200));
    assert_eq!(stretched.lease, secs(2));
}

#[test]
fn first_heartbeats_of_a_fleet_that_dials_in_at_once_fall_evenly_over_the_interval() {
    const STREAMS: u64 = 10_000;
    const PARTS: usize = 100;
    let leases = LEASES.stretched(10_000);

    for begin in [1, 123_456_789] {
        let mut parts = [0; PARTS];
        for session in begin..begin + STREAMS {
            let first = leases.first_heartbeat(SessionId(session));
            assert!(first < leases.heartbeat);
            let part = first.as_secs_f64() / leases.heartbeat.as_secs_f64();
            parts[(part * PARTS as f64) as usize] += 1;
        }
        assert!(
            parts.iter().all(|count| (95..=105).contains(count)),
            "{parts:?}"
        );
    }
}

#[test]
fn worker_is_judged_by_the_spans_that_it_was_given() {
    let mut fleet = empty_fleet();
    dial(&mut fleet, hello("early", 1), at(0));
    for worker in 2..=5_000 {
        dial(&mut fleet, hello(&format!("w{worker}"), worker), at(0));
    }
    let spans = |name| fleet.worker(&worker_name(name)).unwrap().spans;
    assert_eq!(spans("early"), LEASES);
    assert_eq!(spans("w5000").lease, secs(30));

    assert_eq!(
        standing(&fleet, "early", at(11)),
        Some(Standing::Unreachable)
    );
    assert_eq!(standing(&fleet, "w5000", at(11)), Some(Standing::Connected));
    let lost = expired(&mut fleet, at(15));

    assert!(lost.contains(&1) && !lost.contains(&5_000), "{lost:?}");
    assert!(expired(&mut fleet, at(29)).contains(&4_800));
    assert!(expired(&mut fleet, at(30)).contains(&5_000));
    assert_eq!(fleet.workers().count(), 0);
}

#[test]
fn who_is_expected_back_counts_for_the_size_of_the_fleet() {
    let mut board = board_with_attempts_of("w", 7, 1);
    for worker in 0..5_000_u128 {
        let id = u64::try_from(worker).unwrap() + 1;
        board = with_ghost(board, id, 10_000 + worker);
    }
    let mut fleet = Fleet::new(LEASES, &board, at(0));

    dial(&mut fleet, hello("first", 1), at(1));

    let spans = fleet.worker(&worker_name("first")).unwrap().spans;
    assert!(spans.heartbeat > secs(10), "{spans:?}");
}

/// The board with one more task, which another process holds.
fn with_ghost(mut board: Board, task: u64, instance: u128) -> Board {
    let shell = AgentTypeName::parse("shell").unwrap();
    let new = NewTask {
        subject: "work".into(),
        agent_type: Some(shell),
        ..NewTask::default()
    };
    let call = Call {
        caller: Caller::default(),
        request: None,
        wish: Wish::CreateTasks(TeamName::parse("team").unwrap(), vec![new]),
    };
    let decision = decide::decide(&board, &call, at(0)).unwrap();
    take_in(&mut board, decision);
    let key = (TeamUid(1), TaskId(task + 1));
    let name = worker_name(&format!("g{instance}"));
    let command = FleetCommand::Dispatch(key, name, InstanceId(instance));
    let decision = decide::decide_fleet(&board, &command, at(0)).unwrap();
    take_in(&mut board, decision);
    board
}

fn speaking(newest: i32, oldest: i32) -> Hello {
    Hello {
        protocol: newest,
        protocol_min: oldest,
        ..hello("w", 1)
    }
}

#[test]
fn worker_with_a_version_in_common_is_spoken_to_in_the_newest_of_them() {
    let fleet = empty_fleet();

    for (newest, oldest, spoken) in [(3, 1, 3), (3, 3, 3), (9, 3, 3), (9, 1, 3)] {
        let hello = speaking(newest, oldest);
        assert_eq!(fleet.check_hello(&hello, at(0)), Ok(()));
        assert_eq!(hello.spoken(), spoken);
    }
}

#[test]
fn worker_without_a_version_in_common_is_refused_and_told_which_side_is_too_old() {
    let fleet = empty_fleet();
    let refused = |newest, oldest| {
        let refused = fleet.check_hello(&speaking(newest, oldest), at(0));
        refused.unwrap_err().to_string()
    };

    assert_eq!(
        refused(5, 4),
        "the worker speaks versions 4 to 5 of the stream, this coordinator version 3: \
         upgrade the coordinator"
    );
    for old in [1, 2] {
        let told = format!(
            "the worker speaks version {old} of the stream, this coordinator version 3: upgrade \
             the worker"
        );
        assert_eq!(refused(old, old), told);
    }
}
