//! Claims about the stream: how it begins, what is said again on the next one, what is refused.

use std::time::Duration;

use ganger_proto::v1::{
    AttemptEnding, Goodbye, HeldVerdict, ReportKind, SandboxLevel, StopReason, TranscriptKind,
    connect_request::Message as Said, connect_response::Message as Say,
};
use ganger_worker::{RunError, sandbox::DriverKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    coordinator::{Connection, Coordinator, secret_of},
    support::{Worker, fence, script},
};

claims![
    hello_says_who_the_worker_is,
    the_token_is_shown,
    a_wrong_token_ends_the_worker_with_what_to_do,
    a_taken_name_is_tried_again,
    an_unacknowledged_end_is_said_again_on_the_next_stream,
    a_running_attempt_survives_the_stream_and_goes_on_in_its_transcript,
    a_disowned_attempt_is_killed_and_forgotten,
    a_stale_report_stops_the_attempt,
    what_exceeds_the_slots_is_refused,
    what_is_not_offered_is_refused,
    an_assignment_said_twice_runs_once,
    a_stop_for_what_is_not_held_is_answered,
    a_goodbye_is_followed_by_a_new_stream,
    a_silent_coordinator_is_dialled_again,
    nothing_begins_after_the_lease,
    the_credit_bounds_what_is_on_the_way,
];

fn verdict(task_id: u64, keep: bool, kept_through: i64) -> HeldVerdict {
    HeldVerdict {
        fence: Some(fence(task_id, 1)),
        keep,
        reason: String::new(),
        kept_through,
        secret: secret_of(task_id),
    }
}

async fn hello_says_who_the_worker_is() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        config.teams = vec!["red".into()];
        config.labels = [("zone".to_owned(), "a".to_owned())].into();
    });

    let (_connection, hello) = coordinator.welcomed().await;

    assert_eq!(
        (hello.name.as_str(), hello.slots, hello.manual),
        ("w1", 2, false)
    );
    assert_eq!((hello.teams, hello.held.len()), (vec!["red".to_owned()], 0));
    assert_eq!(hello.labels["zone"], "a");
    assert_eq!(
        (hello.labels["sandbox"].as_str(), hello.sandbox.as_str()),
        ("none", "none")
    );
    assert!(
        hello
            .sandbox_controls
            .iter()
            .all(|control| control.level() == SandboxLevel::Missing)
    );
    let [shell] = &hello.agent_types[..] else {
        panic!("one type is built in")
    };
    assert_eq!(
        (shell.name.as_str(), shell.runtime.as_str()),
        ("shell", "command")
    );
    assert!(uuid::Uuid::parse_str(&hello.instance_id).is_ok());
}

async fn the_token_is_shown() {
    let mut coordinator = Coordinator::start().await;
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "s3cret\n").unwrap();
    let _worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        config.token_file = Some(token_file)
    });

    let connection = coordinator.connection().await;

    assert_eq!(connection.authorization.as_deref(), Some("Bearer s3cret"));
}

async fn a_wrong_token_ends_the_worker_with_what_to_do() {
    let coordinator = Coordinator::start().await;
    coordinator.refuse(Some(Status::unauthenticated("no token")));
    let mut worker = Worker::bare(&coordinator.address);

    let error = worker.end().await.unwrap_err();

    assert!(matches!(error, RunError::Unauthenticated(_)));
    assert!(error.to_string().contains("--token-file"), "{error}");
}

async fn a_taken_name_is_tried_again() {
    let mut coordinator = Coordinator::start().await;
    let details = ErrorDetails::with_error_info("WORKER_NAME_TAKEN", "ganger.dev", []);
    coordinator.refuse(Some(Status::with_error_details(
        Code::AlreadyExists,
        "w1 is there",
        details,
    )));
    let _worker = Worker::bare(&coordinator.address);

    coordinator.refuse(None);

    coordinator.welcomed().await;
}

async fn an_unacknowledged_end_is_said_again_on_the_next_stream() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::bare(&coordinator.address);
    let (mut connection, first_hello) = coordinator.welcomed().await;
    connection
        .assign(&script(1, "echo one; echo two >&2; exit 3"))
        .await;
    let (mut records, mut ended) = (Vec::new(), None);
    while ended.is_none() {
        match connection.next().await.unwrap() {
            Said::Progress(progress) => records.extend(progress.records),
            Said::Ended(said) => ended = Some(said),
            Said::Started(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }

    drop(connection);
    let mut connection = coordinator.connection().await;
    let hello = connection.hello().await;
    connection.welcome(vec![verdict(1, true, 1)]).await;

    assert_eq!(hello.instance_id, first_hello.instance_id);
    assert_eq!(
        (hello.held[0].fence.clone(), hello.held[0].started),
        (Some(fence(1, 1)), true)
    );
    let again = connection.settle().await;
    assert_eq!(again.reports, ["started", "ended"]);
    assert_eq!(again.records, records[1..]);
    assert_eq!(Some(&again.ended), ended.as_ref());
    assert_eq!(again.ended.ending(), AttemptEnding::Failed);
    assert_eq!(again.ended.error, "exit code 3\ntwo");

    drop(connection);
    let (_connection, hello) = coordinator.welcomed().await;
    assert_eq!((hello.held, worker.leftovers().len()), (Vec::new(), 0));
}

async fn a_running_attempt_survives_the_stream_and_goes_on_in_its_transcript() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let gate = worker.dir.path().join("gate");
    let waiting = format!(
        "echo before; while [ ! -e {} ]; do :; done; echo after",
        gate.display()
    );
    connection.assign(&script(1, &waiting)).await;
    let first = next_records(&mut connection).await;
    assert_eq!((first[0].index, first[0].text.as_str()), (1, "before\n"));

    drop(connection);
    let mut connection = coordinator.connection().await;
    let hello = connection.hello().await;
    connection.welcome(vec![verdict(1, true, 1)]).await;
    std::fs::write(gate, "").unwrap();

    assert!(hello.held[0].started);
    let settled = connection.settle().await;
    let texts: Vec<_> = settled
        .records
        .iter()
        .map(|record| (record.index, record.text.as_str()))
        .collect();
    assert_eq!(texts, [(2, "after\n")]);
    assert_eq!(settled.ended.ending(), AttemptEnding::Completed);
    assert_eq!(settled.ended.result, "before\nafter\n");
}

async fn next_records(connection: &mut Connection) -> Vec<ganger_proto::v1::TranscriptRecord> {
    loop {
        match connection.next().await.unwrap() {
            Said::Progress(progress) => return progress.records,
            Said::Started(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

async fn a_disowned_attempt_is_killed_and_forgotten() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        config.slots = 1
    });
    let (mut connection, _) = coordinator.welcomed().await;
    connection.assign(&script(1, "echo up; sleep 3600")).await;
    next_records(&mut connection).await;

    drop(connection);
    let mut connection = coordinator.connection().await;
    connection.hello().await;
    connection.welcome(vec![verdict(1, false, 0)]).await;

    // Its slot comes free, and nothing more is heard of it.
    let second = take_until_taken(&mut connection, 2).await;
    assert_eq!(second.fence, Some(fence(2, 1)));
}

/// Assigns until the worker has room: a killed attempt holds its slot until it is dead.
async fn take_until_taken(connection: &mut Connection, task_id: u64) -> ganger_proto::v1::Ended {
    loop {
        connection.assign(&script(task_id, "true")).await;
        match connection.next().await.unwrap() {
            Said::Refused(refused) => assert_eq!(refused.reason, "no free slot"),
            Said::Started(started) => {
                assert_eq!(started.fence, Some(fence(task_id, 1)));
                return connection.settle().await.ended;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

async fn a_stale_report_stops_the_attempt() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        config.slots = 1
    });
    let (mut connection, _) = coordinator.welcomed().await;
    connection.assign(&script(1, "sleep 3600")).await;
    assert!(matches!(connection.next().await, Some(Said::Started(_))));

    connection
        .acknowledge(&fence(1, 1), ReportKind::Started, false)
        .await;

    let second = take_until_taken(&mut connection, 2).await;
    assert_eq!(second.ending(), AttemptEnding::Completed);
}

async fn what_exceeds_the_slots_is_refused() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    for task_id in 1..=3 {
        connection.assign(&script(task_id, "sleep 3600")).await;
    }

    let mut started = Vec::new();
    let mut refused = Vec::new();
    while started.len() + refused.len() < 3 {
        match connection.next().await.unwrap() {
            Said::Started(said) => started.push(said.fence.unwrap().task_id),
            Said::Refused(said) => refused.push((said.fence.unwrap().task_id, said.reason)),
            other => panic!("unexpected {other:?}"),
        }
    }
    started.sort();
    assert_eq!(
        (started, refused),
        (vec![1, 2], vec![(3, "no free slot".to_owned())])
    );
}

async fn what_is_not_offered_is_refused() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(1, "true");
    assignment.agent_type = "rm".into();

    connection.assign(&assignment).await;

    let Some(Said::Refused(refused)) = connection.next().await else {
        panic!("it is refused")
    };
    assert_eq!(
        (refused.fence, refused.reason.as_str()),
        (Some(fence(1, 1)), "unknown agent type \"rm\"")
    );
}

async fn an_assignment_said_twice_runs_once() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    connection.assign(&script(1, "echo x")).await;
    connection.assign(&script(1, "echo x")).await;

    let settled = connection.settle().await;
    assert_eq!(
        (settled.reports, settled.ended.result.as_str()),
        (vec!["started", "ended"], "x\n")
    );
    connection.assign(&script(2, "echo y")).await;
    assert_eq!(connection.settle().await.ended.fence, Some(fence(2, 1)));
}

async fn a_stop_for_what_is_not_held_is_answered() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    connection.stop(&fence(9, 1), Duration::ZERO).await;

    let Some(Said::Refused(refused)) = connection.next().await else {
        panic!("it is answered")
    };
    assert_eq!(
        (refused.fence, refused.reason.as_str()),
        (Some(fence(9, 1)), "not held here")
    );
}

async fn a_goodbye_is_followed_by_a_new_stream() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, first) = coordinator.welcomed().await;

    connection
        .say(Say::Goodbye(Goodbye {
            reason: "SHUTTING_DOWN".into(),
            retry_after: None,
        }))
        .await;

    let (_connection, second) = coordinator.welcomed().await;
    assert_eq!(first.instance_id, second.instance_id);
    assert!(connection.next().await.is_none());
}

async fn a_silent_coordinator_is_dialled_again() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let mut silent = coordinator.connection().await;
    silent.hello().await;
    silent.answers_heartbeats = false;

    silent
        .welcome_for(Duration::from_millis(300), Vec::new())
        .await;

    coordinator.welcomed().await;
}

async fn nothing_begins_after_the_lease() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let mut connection = coordinator.connection().await;
    connection.hello().await;
    connection.answers_heartbeats = false;
    // The lease is over before anything can be prepared.
    connection
        .welcome_for(Duration::from_nanos(1), Vec::new())
        .await;
    connection.assign(&script(1, "true")).await;

    // Whether the assignment arrived before the silence was noticed or not: nothing has begun.
    let mut connection = coordinator.connection().await;
    let hello = connection.hello().await;
    assert!(
        hello.held.iter().all(|held| !held.started),
        "{:?}",
        hello.held
    );
    let verdicts = hello.held.iter().map(|_| verdict(1, true, 0)).collect();
    connection.welcome(verdicts).await;
    connection.assign(&script(1, "true")).await;
    assert_eq!(connection.settle().await.reports, ["started", "ended"]);
}

async fn the_credit_bounds_what_is_on_the_way() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    connection
        .assign(&script(
            1,
            "yes 'a line of output' | head -c 1000000; echo the end",
        ))
        .await;

    // Nothing is acknowledged before the end.
    let mut records = Vec::new();
    let ended = loop {
        match connection.next().await.unwrap() {
            Said::Progress(progress) => records.extend(progress.records),
            Said::Ended(ended) => break ended,
            _ => {}
        }
    };
    let bytes: usize = records.iter().map(|record| record.text.len()).sum();
    assert!(bytes <= 256 << 10, "{bytes} bytes");
    assert!(
        records
            .iter()
            .zip(1..)
            .all(|(record, index)| record.index == index)
    );
    assert!(records.last().unwrap().text.ends_with("the end\n"));
    assert!(
        records
            .iter()
            .any(|record| record.kind() == TranscriptKind::Worker && record.text.contains("cut"))
    );
    assert_eq!(ended.usage.unwrap().output_bytes, 1_000_008);
    assert_eq!(
        (ended.ending, ended.stop_reason),
        (
            AttemptEnding::Completed.into(),
            StopReason::Unspecified.into()
        )
    );
}
