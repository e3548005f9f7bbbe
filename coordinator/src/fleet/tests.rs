//! The fleet under a made-up clock.

mod drains;
mod facts;
mod spans;

use std::{collections::BTreeMap, time::Duration};

use board::{
    Board,
    command::{Call, Caller, CreateTeam, FleetCommand, NewTask, Wish},
    decide,
    decision::Decision,
    id::{AgentTypeName, Epoch, InstanceId, MemberName, TaskId, TeamName, TeamUid, WorkerName},
    limits,
    record::OfferedType,
    time::Time,
};
use tokio::sync::mpsc;

use super::*;

const LEASES: Leases = Leases {
    heartbeat: secs(5),
    silence: secs(10),
    lease: secs(15),
    manual_lease: secs(600),
    grace: secs(60),
    settling: secs(10),
};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> Time {
    Time(0) + secs(seconds)
}

fn worker_name(name: &str) -> WorkerName {
    WorkerName::parse(name).unwrap()
}

fn hello(name: &str, instance: u128) -> Hello {
    Hello {
        protocol: PROTOCOL,
        protocol_min: PROTOCOL_MIN,
        name: worker_name(name),
        instance: InstanceId(instance),
        version: "1".into(),
        labels: BTreeMap::new(),
        slots: 2,
        types: vec![Offered {
            is_interactive: false,
            hiring_depth: 0,
            tasks_max: limits::ATTEMPT_TASKS,
            may_create_teams: false,
            prompt_is_script: false,
            stall_span: None,
            name: AgentTypeName::parse("shell").unwrap(),
            description: "".into(),
            runtime: "".into(),
            digest: "".into(),
        }],
        teams: None,
        held: Vec::new(),
        manual: false,
        sandbox: "".into(),
        sandbox_controls: Vec::new(),
        ended: Vec::new(),
        dials: 0,
    }
}

fn manual(name: &str, instance: u128) -> Hello {
    Hello {
        manual: true,
        ..hello(name, instance)
    }
}

fn empty_fleet() -> Fleet {
    Fleet::new(LEASES, &Board::new(Epoch(1)), at(0))
}

/// A worker's own end of what the fleet has of it.
struct Dialled {
    session: SessionId,
    heard: Heard,
    orders: mpsc::Receiver<Order>,
}

fn dial(fleet: &mut Fleet, hello: Hello, now: Time) -> Dialled {
    let (outbox, orders) = mpsc::channel(1);
    let heard = Heard::at(now);
    fleet.check_hello(&hello, now).unwrap();
    let session = fleet.admit(hello, outbox, heard.clone(), now);
    Dialled {
        session,
        heard,
        orders,
    }
}

fn standing(fleet: &Fleet, name: &str, now: Time) -> Option<Standing> {
    let worker = fleet.worker(&worker_name(name))?;
    Some(worker.standing(now))
}

fn expired(fleet: &mut Fleet, now: Time) -> Vec<u128> {
    let expired = fleet.expire(now);
    if let Some(next) = fleet.next_deadline() {
        assert!(next > now, "{next:?} is not after {now:?}");
    }
    expired
        .into_iter()
        .map(|(instance, _)| instance.0)
        .collect()
}

fn goodbye(dialled: &mut Dialled) -> Option<&'static str> {
    match dialled.orders.try_recv() {
        Ok(Order::Goodbye { reason, .. }) => Some(reason),
        Ok(other) => panic!("no goodbye: {other:?}"),
        Err(_) => None,
    }
}

fn take_in(board: &mut Board, decision: Decision) {
    for record in &decision.records {
        board.install(record);
    }
}

/// A board on which this process of a worker holds `count` attempts.
fn board_with_attempts_of(worker: &str, instance: u128, count: u64) -> Board {
    let mut board = Board::new(Epoch(1));
    let shell = AgentTypeName::parse("shell").unwrap();
    let team = TeamName::parse("team").unwrap();
    let offered = OfferedType {
        is_interactive: false,
        hiring_depth: 0,
        tasks_max: limits::ATTEMPT_TASKS,
        may_create_teams: false,
        prompt_is_script: false,
        name: shell.clone(),
        description: "".into(),
        runtime: "".into(),
        digest: "".into(),
        last_seen: None,
    };
    let offer = FleetCommand::OfferTypes(vec![offered]);
    let decision = decide::decide_fleet(&board, &offer, at(0)).unwrap();
    take_in(&mut board, decision);
    let task = NewTask {
        subject: "work".into(),
        agent_type: Some(shell),
        ..NewTask::default()
    };
    let wishes = [
        Wish::CreateTeam(CreateTeam {
            weight: None,
            max_running: 0,
            name: team.clone(),
            description: "".into(),
            lead: MemberName::parse("lead").unwrap(),
            lead_role: "".into(),
            members: Vec::new(),
            verification_threshold: None,
            idle_notices: false,
        }),
        Wish::CreateTasks(team, vec![task; usize::try_from(count).unwrap()]),
    ];
    for wish in wishes {
        let call = Call {
            caller: Caller::default(),
            request: None,
            wish,
        };
        let decision = decide::decide(&board, &call, at(0)).unwrap();
        take_in(&mut board, decision);
    }
    for id in 1..=count {
        let key = (TeamUid(1), TaskId(id));
        let command = FleetCommand::Dispatch(key, worker_name(worker), InstanceId(instance));
        let decision = decide::decide_fleet(&board, &command, at(0)).unwrap();
        take_in(&mut board, decision);
    }
    board
}

#[test]
fn lease_of_a_worker_that_is_heard_is_put_off() {
    let mut fleet = empty_fleet();
    let worker = dial(&mut fleet, hello("w", 1), at(0));

    worker.heard.note(at(14));

    assert!(expired(&mut fleet, at(15)).is_empty());
    assert!(expired(&mut fleet, at(28)).is_empty());
    assert_eq!(expired(&mut fleet, at(29)), [1]);
    assert!(fleet.worker(&worker_name("w")).is_none());
    assert_eq!(fleet.next_deadline(), None);
}

#[test]
fn late_sign_of_life_never_takes_a_later_one_back() {
    let heard = Heard::at(at(5));

    heard.note(at(3));

    assert_eq!(heard.last(), at(5));
}

#[test]
fn silent_worker_is_unreachable_until_it_is_heard_again() {
    let mut fleet = empty_fleet();
    let worker = dial(&mut fleet, hello("w", 1), at(0));

    assert_eq!(standing(&fleet, "w", at(10)), Some(Standing::Connected));
    let later = at(10) + Duration::from_millis(1);
    assert_eq!(standing(&fleet, "w", later), Some(Standing::Unreachable));

    worker.heard.note(later);
    assert_eq!(standing(&fleet, "w", later), Some(Standing::Connected));
}

#[test]
fn open_stream_of_a_manual_worker_is_its_heartbeat() {
    let mut fleet = empty_fleet();
    let worker = dial(&mut fleet, manual("w", 1), at(0));

    assert!(expired(&mut fleet, at(5_000)).is_empty());
    assert_eq!(standing(&fleet, "w", at(5_000)), Some(Standing::Connected));
    assert_eq!(fleet.worker(&worker_name("w")).unwrap().lease_until(), None);

    fleet.close(&worker_name("w"), worker.session, at(5_000));
    assert_eq!(
        standing(&fleet, "w", at(5_000)),
        Some(Standing::Unreachable)
    );
    assert!(expired(&mut fleet, at(5_599)).is_empty());
    assert_eq!(expired(&mut fleet, at(5_600)), [1]);
}

#[test]
fn late_close_of_an_old_stream_does_not_hurt_the_new_one() {
    let mut fleet = empty_fleet();
    let mut old = dial(&mut fleet, hello("w", 1), at(0));
    let mut new = dial(&mut fleet, hello("w", 1), at(1));

    fleet.close(&worker_name("w"), old.session, at(2));
    fleet.drain(&worker_name("w"), old.session);

    assert_eq!(goodbye(&mut old), Some("SESSION_REPLACED"));
    assert_eq!(goodbye(&mut new), None);
    assert_eq!(standing(&fleet, "w", at(2)), Some(Standing::Connected));
    assert!(fleet.of_session(&worker_name("w"), old.session).is_none());
    assert!(fleet.of_session(&worker_name("w"), new.session).is_some());
    // The same process is no ghost of itself: it is forgotten once, by its new stream's lease.
    assert_eq!(fleet.spared(at(11)), [].into());
    assert!(expired(&mut fleet, at(15)).is_empty());
    assert_eq!(expired(&mut fleet, at(16)), [1]);
}

#[test]
fn other_process_under_a_healthy_name_is_refused() {
    let mut fleet = empty_fleet();
    let mut first = dial(&mut fleet, hello("w", 1), at(0));

    let refused = fleet.check_hello(&hello("w", 2), at(10));

    let name = worker_name("w");
    assert_eq!(refused, Err(HelloRefused::NameTaken { name }));
    assert_eq!(goodbye(&mut first), None);
    assert_eq!(fleet.check_hello(&hello("w", 1), at(10)), Ok(()));
}

#[test]
fn other_process_takes_the_name_of_an_unreachable_one_which_keeps_its_lease() {
    let mut fleet = empty_fleet();
    let first = dial(&mut fleet, hello("w", 1), at(0));
    fleet.close(&worker_name("w"), first.session, at(3));

    let second = dial(&mut fleet, hello("w", 2), at(4));

    assert_eq!(standing(&fleet, "w", at(4)), Some(Standing::Connected));
    second.heard.note(at(14));
    assert!(expired(&mut fleet, at(14)).is_empty());
    assert_eq!(fleet.spared(at(14)), [InstanceId(1)].into());
    assert_eq!(expired(&mut fleet, at(15)), [1]);
    assert_eq!(standing(&fleet, "w", at(15)), Some(Standing::Connected));
}

#[test]
fn who_held_something_at_the_start_is_expected_back_for_the_grace() {
    let board = board_with_attempts_of("w", 7, 1);

    let mut fleet = Fleet::new(LEASES, &board, at(100));

    assert_eq!(fleet.workers().count(), 0);
    assert_eq!(fleet.spared(at(159)), [InstanceId(7)].into());
    assert_eq!(fleet.next_deadline(), Some(at(160)));
    assert!(expired(&mut fleet, at(159)).is_empty());
    assert_eq!(expired(&mut fleet, at(160)), [7]);
    assert!(fleet.spared(at(160)).is_empty());
}

#[test]
fn ghost_that_dials_in_is_a_worker_again() {
    let board = board_with_attempts_of("w", 7, 1);
    let mut fleet = Fleet::new(LEASES, &board, at(0));

    let worker = dial(&mut fleet, hello("w", 7), at(5));

    worker.heard.note(at(60));
    assert_eq!(fleet.spared(at(14)), [InstanceId(7)].into());
    assert!(fleet.spared(at(15)).is_empty());
    assert!(expired(&mut fleet, at(60)).is_empty());
    assert_eq!(standing(&fleet, "w", at(60)), Some(Standing::Connected));
}

#[test]
fn nobody_but_ghosts_and_those_who_settle_is_spared() {
    let board = board_with_attempts_of("ghost", 7, 1);
    let mut fleet = Fleet::new(LEASES, &board, at(0));
    dial(&mut fleet, manual("settled", 1), at(0));
    dial(&mut fleet, manual("settling", 2), at(9));

    assert_eq!(fleet.spared(at(10)), [InstanceId(2), InstanceId(7)].into());
}

#[test]
fn forgiven_pause_makes_every_lease_longer() {
    let board = board_with_attempts_of("ghost", 7, 1);
    let mut fleet = Fleet::new(LEASES, &board, at(0));
    dial(&mut fleet, hello("w", 1), at(0));

    fleet.forgive(secs(30));

    assert!(expired(&mut fleet, at(44)).is_empty());
    assert_eq!(expired(&mut fleet, at(45)), [1]);
    assert!(expired(&mut fleet, at(89)).is_empty());
    assert_eq!(expired(&mut fleet, at(90)), [7]);
}

#[test]
fn worker_that_is_cut_off_is_told_and_loses_everything_at_once() {
    let mut fleet = empty_fleet();
    let mut worker = dial(&mut fleet, hello("w", 1), at(0));

    fleet.cut_off(InstanceId(1), at(1));

    assert_eq!(goodbye(&mut worker), Some("EVICTED"));
    assert!(fleet.worker(&worker_name("w")).is_none());
    assert_eq!(expired(&mut fleet, at(1)), [1]);
    assert!(expired(&mut fleet, at(100)).is_empty());
}

#[test]
fn ghost_that_is_cut_off_is_expected_no_longer() {
    let board = board_with_attempts_of("w", 7, 1);
    let mut fleet = Fleet::new(LEASES, &board, at(0));

    fleet.cut_off(InstanceId(7), at(1));

    assert_eq!(expired(&mut fleet, at(1)), [7]);
}

#[test]
fn full_outbox_cuts_the_stream_and_the_lease_goes_on() {
    let mut fleet = empty_fleet();
    let mut worker = dial(&mut fleet, hello("w", 1), at(0));
    let order = || Order::Goodbye {
        reason: "TEST",
        retry_after: Duration::ZERO,
    };

    fleet.send(InstanceId(1), order(), at(1));
    assert_eq!(standing(&fleet, "w", at(1)), Some(Standing::Connected));
    fleet.send(InstanceId(1), order(), at(1));

    assert_eq!(standing(&fleet, "w", at(1)), Some(Standing::Unreachable));
    assert_eq!(goodbye(&mut worker), Some("TEST"));
    assert!(matches!(
        worker.orders.try_recv(),
        Err(mpsc::error::TryRecvError::Disconnected)
    ));
    assert!(expired(&mut fleet, at(14)).is_empty());
    assert_eq!(expired(&mut fleet, at(15)), [1]);
}

#[test]
fn slots_of_the_draining_and_the_unreachable_are_not_offered() {
    let board = board_with_attempts_of("full", 1, 2);
    let mut fleet = Fleet::new(LEASES, &board, at(0));
    dial(&mut fleet, manual("full", 1), at(0));
    let draining = dial(&mut fleet, manual("draining", 2), at(0));
    fleet.drain(&worker_name("draining"), draining.session);
    let broken = dial(&mut fleet, manual("broken", 3), at(0));
    fleet.close(&worker_name("broken"), broken.session, at(1));
    dial(&mut fleet, hello("silent", 4), at(0));
    let unknown = TeamName::parse("unknown").unwrap();
    let serving = Hello {
        teams: Some(vec![TeamName::parse("team").unwrap(), unknown]),
        ..manual("free", 5)
    };
    dial(&mut fleet, serving, at(0));

    fleet.refresh_offers(&board);

    let offers = fleet.slots().offers();
    let offered: Vec<_> = offers.map(|o| (o.worker.as_str(), o.free)).collect();
    // The silent one is asked for when something is about to go to it.
    assert_eq!(offered, [("free", 2), ("full", 0), ("silent", 2)]);
    let free = fleet.slots().offer(&worker_name("free")).unwrap();
    assert_eq!(free.teams, Some([TeamUid(1)].into()));
    assert_eq!(fleet.mend_offers(&board), []);
}

#[test]
fn farewell_reaches_every_open_stream_and_closes_it() {
    let mut fleet = empty_fleet();
    let mut one = dial(&mut fleet, hello("one", 1), at(0));
    let mut two = dial(&mut fleet, hello("two", 2), at(0));

    fleet.farewell(secs(1));

    for worker in [&mut one, &mut two] {
        assert_eq!(goodbye(worker), Some("SHUTTING_DOWN"));
        assert!(worker.orders.try_recv().is_err());
    }
}

#[test]
fn a_full_roster_drops_who_is_gone_and_then_who_never_had_work_the_longest_there_first() {
    let board = board_with_attempts_of("busy", 1, 1);
    let mut fleet = Fleet::new(LEASES, &Board::new(Epoch(1)), at(0));
    let _busy = dial(&mut fleet, manual("busy", 1), at(0));
    fleet.note_held(InstanceId(1));
    let _idle = dial(&mut fleet, manual("idle", 2), at(0));
    fleet.note_held(InstanceId(2));
    let mut invented = Vec::new();
    for at_all in 3..=limits::WORKERS_MAX as u128 {
        invented.push(dial(
            &mut fleet,
            manual(&format!("w{at_all}"), at_all),
            at(0),
        ));
    }
    let gone = &invented[4];
    fleet.close(&worker_name("w7"), gone.session, at(0));
    let newcomer = |at_all: u128| manual(&format!("new{at_all}"), 1_000_000 + at_all);

    for (number, dropped) in [(1, "w7"), (2, "w3"), (3, "w4")] {
        let hello = newcomer(number);
        assert_eq!(fleet.check_hello(&hello, at(1)), Err(HelloRefused::Full));
        assert!(fleet.make_room(&board, at(1)));
        dial(&mut fleet, hello, at(1));
        assert!(fleet.worker(&worker_name(dropped)).is_none(), "{dropped}");
    }
    assert_eq!(goodbye(&mut invented[0]), Some("EVICTED"));

    // Who has work, or had some, stays, be it that nobody else does.
    let present = fleet.workers().filter(|worker| !worker.has_held);
    for worker in present
        .map(|worker| worker.hello.instance)
        .collect::<Vec<_>>()
    {
        fleet.note_held(worker);
    }
    assert!(!fleet.make_room(&board, at(1)));
    for kept in ["busy", "idle"] {
        assert!(fleet.worker(&worker_name(kept)).is_some(), "{kept}");
    }
    // A name that had work is let go once it is gone, and holds nothing.
    let idle = fleet.worker(&worker_name("idle")).unwrap().session;
    fleet.close(&worker_name("idle"), idle, at(1));
    let busy = fleet.worker(&worker_name("busy")).unwrap().session;
    fleet.close(&worker_name("busy"), busy, at(1));
    assert!(fleet.make_room(&board, at(1)));
    assert!(fleet.worker(&worker_name("idle")).is_none());
    assert!(!fleet.make_room(&board, at(1)));
    assert!(fleet.worker(&worker_name("busy")).is_some());
}
