//! The lanes, and the thread that drains them.

use std::collections::BTreeMap;

use board::{
    command::{Call, Caller, NewTask, TasksKept, Wish},
    id::{Epoch, InstanceId, Revision, TaskId, TeamName, TeamUid, WorkerName},
};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::{
    engine::{CallReply, DEFAULT_TEAM, FleetInput, From, Setup},
    fleet::{Hello, Leases, Order, SessionId},
    hub::Hub,
    store::{Horizon, MemoryStore, Retention, Store},
};

/// A client's input that is recognised by its number.
fn client(number: u64) -> Input {
    let (reply, _) = oneshot::channel();
    Input::Wait((TeamUid(1), TaskId(number)), reply)
}

/// A worker's input that is recognised by its number.
fn fleet(number: u64) -> Input {
    Input::Fleet(FleetInput::Draining(From {
        worker: WorkerName::parse("w").unwrap(),
        instance: InstanceId(1),
        session: SessionId(number),
    }))
}

/// What is in a group: the lane and the number of each input.
fn told(taken: &Taken) -> Vec<(&'static str, u64)> {
    let inputs = taken.inputs.iter();
    let told = inputs.map(|input| match input {
        Input::Wait((_, task), _) => ("client", task.0),
        Input::Fleet(FleetInput::Draining(from)) => ("fleet", from.session.0),
        _ => panic!("nothing else was put in line"),
    });
    told.collect()
}

fn take_now(lanes: &Lanes) -> Taken {
    lanes.take(Instant::now(), GROUP_LEN_MAX)
}

#[test]
fn fleet_goes_before_clients_and_each_in_its_order() {
    let lanes = Lanes::default();
    lanes.push_client(client(1), 0).unwrap();
    lanes.push_fleet(fleet(1)).unwrap();
    lanes.push_client(client(2), 0).unwrap();
    lanes.push_fleet(fleet(2)).unwrap();

    let taken = take_now(&lanes);

    let expected = [("fleet", 1), ("fleet", 2), ("client", 1), ("client", 2)];
    assert_eq!(told(&taken), expected);
    assert!(take_now(&lanes).inputs.is_empty());
}

#[test]
fn group_ends_at_its_number_of_inputs() {
    let lanes = Lanes::default();
    let many = GROUP_LEN_MAX as u64;
    for number in 0..many - 1 {
        lanes.push_fleet(fleet(number)).unwrap();
    }
    for number in 0..3 {
        lanes.push_client(client(number), 0).unwrap();
    }

    let first = take_now(&lanes);
    assert_eq!(first.inputs.len(), GROUP_LEN_MAX);
    assert_eq!(told(&first).last(), Some(&("client", 0)));
    assert_eq!(told(&take_now(&lanes)), [("client", 1), ("client", 2)]);
}

#[test]
fn group_ends_with_the_input_that_fills_its_bytes() {
    let lanes = Lanes::default();
    lanes.push_client(client(1), GROUP_BYTES_MAX - 1).unwrap();
    lanes.push_client(client(2), 1).unwrap();
    lanes.push_client(client(3), GROUP_BYTES_MAX * 2).unwrap();
    lanes.push_client(client(4), 1).unwrap();

    assert_eq!(told(&take_now(&lanes)), [("client", 1), ("client", 2)]);
    assert_eq!(told(&take_now(&lanes)), [("client", 3)]);
    assert_eq!(told(&take_now(&lanes)), [("client", 4)]);
}

#[test]
fn full_lane_refuses_and_leaves_the_other_one_open() {
    let lanes = Lanes::default();
    for number in 0..CLIENTS_LEN_MAX as u64 {
        lanes.push_client(client(number), 0).unwrap();
    }
    assert_eq!(lanes.push_client(client(0), 0), Err(NotTaken::Full));

    for number in 0..FLEET_LEN_MAX as u64 {
        lanes.push_fleet(fleet(number)).unwrap();
    }
    assert_eq!(lanes.push_fleet(fleet(0)), Err(NotTaken::Full));

    assert_eq!(told(&take_now(&lanes))[0], ("fleet", 0));
    lanes.push_fleet(fleet(0)).unwrap();
}

#[test]
fn closed_lanes_take_nothing_in_and_are_worked_off() {
    let lanes = Lanes::default();
    lanes.push_client(client(1), 0).unwrap();

    lanes.close();

    assert_eq!(lanes.push_client(client(2), 0), Err(NotTaken::Closed));
    assert_eq!(lanes.push_fleet(fleet(2)), Err(NotTaken::Closed));
    let last = take_now(&lanes);
    assert_eq!((told(&last), last.is_end), (vec![("client", 1)], false));
    assert!(take_now(&lanes).is_end);
}

#[test]
fn who_waits_at_the_lanes_is_woken_by_an_input_and_by_their_close() {
    let far = Instant::now() + Duration::from_secs(3_600);
    let wakers: [fn(&Lanes); 3] = [
        |lanes| lanes.push_client(client(1), 0).unwrap(),
        |lanes| lanes.push_fleet(fleet(1)).unwrap(),
        Lanes::close,
    ];
    for wake in wakers {
        let lanes = Arc::new(Lanes::default());
        let waiting = thread::spawn({
            let lanes = lanes.clone();
            move || lanes.take(far, GROUP_LEN_MAX)
        });

        wake(&lanes);

        let taken = waiting.join().unwrap();
        assert!(taken.is_end || taken.inputs.len() == 1);
    }
}

/// A driver at work, and the store under it.
struct Running {
    lanes: Arc<Lanes>,
    store: MemoryStore,
    thread: thread::JoinHandle<Result<(), StoreError>>,
}

fn running() -> Running {
    running_on(MemoryStore::default())
}

fn running_on(store: MemoryStore) -> Running {
    let lanes = Arc::new(Lanes::default());
    let setup = Setup {
        limits: board::limits::RunningLimits::default(),
        store: Box::new(store.clone()),
        hub: Hub::default(),
        new_epoch: Epoch(1),
        leases: Leases::default(),
        tombstones_kept: Duration::from_secs(3_600),
        tasks_kept: TasksKept::default(),
        expected_types: Vec::new(),
    };
    let clock = Clock::start(board::time::Time(0));
    let engine = Engine::start(setup, |_| clock.now()).unwrap();
    Running {
        thread: start(engine, lanes.clone(), clock).unwrap(),
        lanes,
        store,
    }
}

fn create(lanes: &Lanes) -> oneshot::Receiver<CallReply> {
    try_create(lanes).unwrap()
}

fn try_create(lanes: &Lanes) -> Result<oneshot::Receiver<CallReply>, NotTaken> {
    let task = NewTask {
        subject: "work".into(),
        ..NewTask::default()
    };
    let call = Call {
        caller: Caller::default(),
        request: None,
        wish: Wish::CreateTasks(TeamName::parse(DEFAULT_TEAM).unwrap(), vec![task]),
    };
    let (reply, answer) = oneshot::channel();
    lanes.push_client(Input::Call(Box::new(call), reply), 1)?;
    Ok(answer)
}

#[test]
fn close_drains_what_is_in_line_and_says_farewell_to_workers() {
    let driver = running();
    let (outbox, mut orders) = mpsc::channel(4);
    let (reply, welcome) = oneshot::channel();
    let hello = Hello {
        protocol: crate::fleet::PROTOCOL,
        protocol_min: crate::fleet::PROTOCOL_MIN,
        name: WorkerName::parse("w").unwrap(),
        instance: InstanceId(1),
        version: "1".into(),
        labels: BTreeMap::new(),
        slots: 1,
        types: Vec::new(),
        teams: None,
        held: Vec::new(),
        manual: true,
        sandbox: "".into(),
        sandbox_controls: Vec::new(),
        ended: Vec::new(),
        dials: 0,
    };
    let hello = FleetInput::Hello {
        hello: Box::new(hello),
        outbox,
        reply,
    };
    driver.lanes.push_fleet(Input::Fleet(hello)).unwrap();
    let answers: Vec<_> = (0..300).map(|_| create(&driver.lanes)).collect();

    driver.lanes.close();
    driver.thread.join().unwrap().unwrap();

    assert!(welcome.blocking_recv().unwrap().is_ok());
    for answer in answers {
        assert!(answer.blocking_recv().unwrap().is_ok());
    }
    let goodbye = orders.try_recv().unwrap();
    assert!(matches!(
        goodbye,
        Order::Goodbye {
            reason: "SHUTTING_DOWN",
            ..
        }
    ));
    assert!(orders.is_closed());
}

#[test]
fn failed_commit_ends_the_driver_with_its_error() {
    let driver = running();
    assert!(create(&driver.lanes).blocking_recv().unwrap().is_ok());
    driver.store.break_disk();

    // A sweep may find the broken disk first, and the driver be gone by now or in a moment.
    let unanswered = try_create(&driver.lanes);

    assert!(unanswered.is_err() || unanswered.unwrap().blocking_recv().is_err());
    let ended = driver.thread.join().unwrap();
    assert!(matches!(ended, Err(StoreError::Io { .. })), "{ended:?}");
}

#[test]
fn who_is_in_line_when_the_driver_ends_learns_that_there_is_no_answer() {
    let lanes = Arc::new(Lanes::default());
    let in_line = create(&lanes);

    drop(End(&lanes));

    assert!(in_line.blocking_recv().is_err());
    let (reply, _) = oneshot::channel();
    let late = Input::Wait((TeamUid(1), TaskId(1)), reply);
    assert_eq!(lanes.push_client(late, 0), Err(NotTaken::Closed));
}

#[test]
fn old_events_are_swept_although_nobody_asks() {
    let newest_only = Retention {
        count: 1,
        ..Retention::default()
    };
    let driver = running_on(MemoryStore::that_forgets(Horizon::default(), newest_only));
    let created = create(&driver.lanes).blocking_recv().unwrap();
    assert!(created.is_ok());

    let give_up = Instant::now() + Duration::from_secs(30);
    let kept = || driver.store.events(TeamUid(1), Revision(0), 9).unwrap();
    while kept().len() > 1 {
        assert!(Instant::now() < give_up, "{:?}", kept());
        thread::yield_now();
    }

    assert_eq!(kept()[0].what.task(), Some(TaskId(1)));
    driver.lanes.close();
    driver.thread.join().unwrap().unwrap();
}

#[test]
fn sweeps_have_a_fifth_of_the_time_while_there_is_more_to_remove() {
    let cases = [
        // Whether there is more; how long the sweep took, and the rest after it, in ms.
        (true, 0, 5),
        (true, 1, 5),
        (true, 2, 8),
        (true, 30, 120),
        (true, 10_000, 1_000),
        (false, 0, 1_000),
        (false, 30, 1_000),
    ];
    for (is_more, took, rest) in cases {
        let told = sweep_rest(is_more, Duration::from_millis(took));
        assert_eq!(told, Duration::from_millis(rest), "{is_more} {took} ms");
    }
}
