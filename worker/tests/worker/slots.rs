//! Claims about slots and leases: what is lent, what ends with the lease, drains and versions.

use std::time::Duration;

use ganger_proto::v1::{
    AttemptEnding, Drain, HeldVerdict, Welcome, connect_request::Message as Said,
    connect_response::Message as Say,
};
use ganger_worker::{RunError, sandbox::DriverKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    coordinator::{Coordinator, LEASE, secret_of, welcome},
    support::{Hearing, Worker, fence, script},
};

claims![
    a_lent_slot_is_taken_beyond_the_workers_own,
    what_stops_with_the_lease_is_killed_when_it_ends,
    an_ordered_drain_outlives_the_stream_and_ends_the_worker,
    an_ordered_drain_hands_back_what_is_left_when_its_time_is_over,
    a_version_that_is_not_spoken_ends_the_worker,
    a_version_that_is_refused_ends_the_worker_even_after_it_was_up,
    the_first_heartbeat_comes_when_the_welcome_says,
];

async fn a_lent_slot_is_taken_beyond_the_workers_own() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        config.slots = 1
    });
    let (mut connection, _) = coordinator.welcomed().await;
    let gate = worker.dir.path().join("gate");
    let waiting = format!("echo up; while [ ! -e {} ]; do :; done", gate.display());
    connection.assign(&script(1, &waiting)).await;
    let mut hearing = Hearing::of(connection);
    hearing.until_written("up").await;
    let lent = |task_id| {
        let mut assignment = script(task_id, "echo child; sleep 3600");
        assignment.lender = Some(fence(1, 1));
        assignment
    };

    hearing.connection.assign(&lent(2)).await;
    hearing.until_written("child").await;
    hearing.connection.assign(&lent(3)).await;
    let no_slot = |task_id| (Some(fence(task_id, 1)), "no free slot".to_owned());
    assert_eq!(hearing.refused().await, no_slot(3));

    // Who has lent is over: its slot is its borrower's.
    std::fs::write(gate, "").unwrap();
    assert_eq!(hearing.ended().await.fence, Some(fence(1, 1)));
    hearing.connection.assign(&script(4, "true")).await;
    assert_eq!(hearing.refused().await, no_slot(4));

    hearing.connection.stop(&fence(2, 1), Duration::ZERO).await;
    assert_eq!(hearing.ended().await.fence, Some(fence(2, 1)));
    hearing.connection.assign(&script(5, "true")).await;
    let ended = hearing.ended().await;
    assert_eq!(
        (ended.fence.clone(), ended.ending()),
        (Some(fence(5, 1)), AttemptEnding::Completed)
    );
}

async fn what_stops_with_the_lease_is_killed_when_it_ends() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        let mut fenced = config.agent_types["shell"].clone();
        fenced.stop_on_lease_end = true;
        config.agent_types.insert("fenced".into(), fenced);
    });
    let (mut connection, _) = coordinator.welcomed().await;
    let gate = worker.dir.path().join("gate");
    let mut assignment = script(1, "echo up; sleep 3600");
    assignment.agent_type = "fenced".into();
    connection.assign(&assignment).await;
    let mut hearing = Hearing::of(connection);
    hearing.until_written("up").await;
    let waiting = format!("echo other; while [ ! -e {} ]; do :; done", gate.display());
    hearing.connection.assign(&script(2, &waiting)).await;
    hearing.until_written("other").await;

    // A new stream, with a lease that is over at once.
    drop(hearing);
    let mut connection = coordinator.connection().await;
    connection.hello().await;
    connection.answers_heartbeats = false;
    let verdicts = || [1, 2].map(kept).to_vec();
    connection
        .welcome_for(Duration::from_nanos(1), verdicts())
        .await;
    let mut connection = coordinator.connection().await;
    connection.hello().await;
    connection.welcome(verdicts()).await;
    std::fs::write(gate, "").unwrap();

    let mut hearing = Hearing::of(connection);
    let (mut refused, mut ended) = (None, None);
    while refused.is_none() || ended.is_none() {
        match hearing.next().await {
            Said::Refused(said) => refused = Some((said.fence, said.reason)),
            Said::Ended(said) => ended = Some((said.fence.clone(), said.ending())),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(
        refused,
        Some((Some(fence(1, 1)), "the lease was over".to_owned()))
    );
    assert_eq!(
        ended,
        Some((Some(fence(2, 1)), AttemptEnding::Completed)),
        "what doesn't want that runs on"
    );
}

fn kept(task_id: u64) -> HeldVerdict {
    HeldVerdict {
        fence: Some(fence(task_id, 1)),
        keep: true,
        reason: String::new(),
        kept_through: 0,
        secret: secret_of(task_id),
    }
}

fn drain(timeout: Option<Duration>) -> Say {
    Say::Drain(Drain {
        reason: "a new image".into(),
        timeout: timeout.map(Into::into),
    })
}

async fn drains(hearing: &mut Hearing) {
    match hearing.next().await {
        Said::Draining(draining) => assert_eq!(draining.reason, "a new image"),
        other => panic!("it drains not, but {other:?}"),
    }
}

async fn an_ordered_drain_outlives_the_stream_and_ends_the_worker() {
    let mut coordinator = Coordinator::start().await;
    let mut worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        config.drain_span = Duration::ZERO;
    });
    let (mut connection, _) = coordinator.welcomed().await;
    let gate = worker.dir.path().join("gate");
    let waiting = format!("echo up; while [ ! -e {} ]; do :; done", gate.display());
    connection.assign(&script(1, &waiting)).await;
    let mut hearing = Hearing::of(connection);
    hearing.until_written("up").await;

    // Longer than the worker's own drain time, and said twice.
    hearing
        .connection
        .say(drain(Some(Duration::from_secs(3_600))))
        .await;
    drains(&mut hearing).await;
    hearing
        .connection
        .say(drain(Some(Duration::from_secs(3_600))))
        .await;
    drop(hearing);
    let mut connection = coordinator.connection().await;
    connection.hello().await;
    connection.welcome(vec![kept(1)]).await;
    let mut hearing = Hearing::of(connection);
    drains(&mut hearing).await;
    hearing.connection.assign(&script(2, "true")).await;
    let refused = hearing.refused().await;
    std::fs::write(gate, "").unwrap();
    let ended = hearing.ended().await;

    assert_eq!(refused, (Some(fence(2, 1)), "draining".to_owned()));
    assert_eq!(
        (ended.fence.clone(), ended.ending()),
        (Some(fence(1, 1)), AttemptEnding::Completed)
    );
    worker.end().await.unwrap();
}

async fn an_ordered_drain_hands_back_what_is_left_when_its_time_is_over() {
    for (own, ordered) in [
        (Duration::from_secs(3_600), Some(Duration::ZERO)),
        (Duration::ZERO, None),
    ] {
        let mut coordinator = Coordinator::start().await;
        let mut worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
            config.drain_span = own;
        });
        let (mut connection, _) = coordinator.welcomed().await;
        connection.assign(&script(1, "echo up; sleep 3600")).await;
        let mut hearing = Hearing::of(connection);
        hearing.until_written("up").await;

        hearing.connection.say(drain(ordered)).await;

        drains(&mut hearing).await;
        assert_eq!(
            hearing.refused().await,
            (Some(fence(1, 1)), "draining".to_owned())
        );
        hearing
            .connection
            .acknowledge(&fence(1, 1), ganger_proto::v1::ReportKind::Refused, true)
            .await;
        worker.end().await.unwrap();
    }
}

async fn a_version_that_is_not_spoken_ends_the_worker() {
    let mut coordinator = Coordinator::start().await;
    let mut worker = Worker::bare(&coordinator.address);
    let mut connection = coordinator.connection().await;
    connection.hello().await;

    let newer = Welcome {
        protocol: 99,
        ..welcome(LEASE, Vec::new())
    };
    connection.say(Say::Welcome(newer)).await;

    let error = worker.end().await.unwrap_err();
    assert!(matches!(error, RunError::Version(_)), "{error}");
    assert_eq!(
        error.to_string(),
        "the coordinator speaks version 99 of the workers' stream, and this worker 1 to 3: upgrade the worker"
    );
}

async fn a_version_that_is_refused_ends_the_worker_even_after_it_was_up() {
    let mut coordinator = Coordinator::start().await;
    let mut worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    connection.assign(&script(1, "echo up; sleep 3600")).await;
    let mut hearing = Hearing::of(connection);
    hearing.until_written("up").await;
    let details = ErrorDetails::with_error_info("WORKER_VERSION_UNSUPPORTED", "ganger.dev", []);
    coordinator.refuse(Some(Status::with_error_details(
        Code::FailedPrecondition,
        "upgrade the worker",
        details,
    )));

    drop(hearing);

    let error = worker.end().await.unwrap_err();
    assert!(matches!(error, RunError::Version(_)), "{error}");
    assert_eq!(error.to_string(), "upgrade the worker");
    assert_eq!(worker.leftovers(), Vec::<std::path::PathBuf>::new());
}

async fn the_first_heartbeat_comes_when_the_welcome_says() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let mut connection = coordinator.connection().await;
    connection.hello().await;

    // The next one would be due in an hour.
    let hours = Duration::from_secs(3 * 3_600);
    let early = Welcome {
        first_heartbeat: Some(Duration::from_millis(10).into()),
        ..welcome(hours, Vec::new())
    };
    connection.say(Say::Welcome(early)).await;

    assert_eq!(connection.heartbeat().await, 1);
}
