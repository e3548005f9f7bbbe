//! Claims about how attempts and workers end.

use std::time::Duration;

use ganger_proto::v1::{AttemptEnding, StopReason, connect_request::Message as Said};
use ganger_worker::{RunError, Shutdown, run, sandbox::DriverKind};

use crate::{
    coordinator::{Connection, Coordinator},
    support::{Worker, config, fence, script},
};

claims![
    a_stop_is_asked_before_it_is_enforced,
    what_ignores_the_asking_is_killed,
    a_stop_before_the_start_is_confirmed,
    the_time_limit_is_the_lower_of_the_two,
    a_passed_deadline_ends_the_attempt,
    a_deadline_is_counted_by_what_is_left_not_by_the_workers_clock,
    too_much_output_ends_the_attempt,
    a_drain_waits_for_what_runs_and_takes_nothing_new,
    a_drain_hands_back_what_is_left,
    an_idle_worker_drains_at_once,
    an_end_at_once_kills_what_runs,
    the_data_directory_has_one_worker,
    the_daemon_drains_on_sigterm,
    the_daemon_tells_what_is_wrong_with_its_configuration,
    the_daemon_tells_the_cause_and_what_to_do,
];

async fn until_up(connection: &mut Connection) {
    loop {
        match connection.next().await.unwrap() {
            Said::Progress(progress) => {
                assert_eq!(progress.records[0].text, "up\n");
                return;
            }
            Said::Started(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

async fn a_stop_is_asked_before_it_is_enforced() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let polite = "trap 'echo so far > result.md; kill $!; exit 0' TERM; sleep 3600 & echo up; wait";
    connection.assign(&script(1, polite)).await;
    until_up(&mut connection).await;

    connection.stop(&fence(1, 1), Duration::from_secs(60)).await;

    let ended = connection.settle().await.ended;
    assert_eq!(ended.ending(), AttemptEnding::Cancelled);
    assert_eq!(ended.stop_reason(), StopReason::Cancelled);
    assert_eq!(
        (ended.error.as_str(), ended.result.as_str()),
        ("changed my mind", "so far\n")
    );
}

async fn what_ignores_the_asking_is_killed() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    connection
        .assign(&script(
            1,
            "trap '' TERM; echo up; while :; do sleep 3600; done",
        ))
        .await;
    until_up(&mut connection).await;

    connection
        .stop(&fence(1, 1), Duration::from_millis(100))
        .await;

    let ended = connection.settle().await.ended;
    assert_eq!(ended.ending(), AttemptEnding::Cancelled);
}

async fn a_stop_before_the_start_is_confirmed() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    connection.assign(&script(1, "sleep 3600")).await;
    connection.stop(&fence(1, 1), Duration::ZERO).await;

    let ended = connection.settle().await.ended;
    assert_eq!(
        (ended.ending(), ended.stop_reason()),
        (AttemptEnding::Cancelled, StopReason::Cancelled)
    );
}

async fn the_time_limit_is_the_lower_of_the_two() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        config.agent_types.get_mut("shell").unwrap().timeout = Duration::from_millis(400);
    });
    let (mut connection, _) = coordinator.welcomed().await;

    for (task_id, asked, limit) in [(1, 200, "200ms"), (2, 3_600_000, "400ms")] {
        let mut assignment = script(task_id, "sleep 3600");
        assignment.timeout = Some(Duration::from_millis(asked).into());
        connection.assign(&assignment).await;

        let Some(Said::Started(started)) = connection.next().await else {
            panic!("it begins")
        };
        let told: Duration = started.run_limit.unwrap().try_into().unwrap();
        assert_eq!(humantime::format_duration(told).to_string(), limit);
        let ended = connection.settle().await.ended;
        assert_eq!(
            (ended.ending(), ended.stop_reason()),
            (AttemptEnding::TimedOut, StopReason::Timeout)
        );
        assert_eq!(ended.error, format!("ran longer than {limit}"));
    }
}

async fn a_passed_deadline_ends_the_attempt() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(1, "sleep 3600");
    assignment.deadline = Some(pbjson_types::Timestamp {
        seconds: 1,
        nanos: 0,
    });

    connection.assign(&assignment).await;

    let ended = connection.settle().await.ended;
    assert_eq!(
        (ended.ending(), ended.stop_reason()),
        (AttemptEnding::TimedOut, StopReason::Deadline)
    );
}

async fn a_deadline_is_counted_by_what_is_left_not_by_the_workers_clock() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(1, "echo done");
    // Long ago by the worker's clock, which runs ahead.
    assignment.deadline = Some(pbjson_types::Timestamp {
        seconds: 1,
        nanos: 0,
    });
    assignment.time_left = Some(Duration::from_secs(3_600).into());

    connection.assign(&assignment).await;

    let ended = connection.settle().await.ended;
    assert_eq!(
        (ended.ending(), ended.result.trim()),
        (AttemptEnding::Completed, "done")
    );
}

async fn too_much_output_ends_the_attempt() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        config.agent_types.get_mut("shell").unwrap().output_bytes = 100_000;
    });
    let (mut connection, _) = coordinator.welcomed().await;

    connection.assign(&script(1, "yes")).await;

    let ended = connection.settle().await.ended;
    assert_eq!(
        (ended.ending(), ended.stop_reason()),
        (AttemptEnding::Failed, StopReason::ResourceLimit)
    );
    assert_eq!(ended.error, "wrote more than 100000 bytes of output");
}

async fn a_drain_waits_for_what_runs_and_takes_nothing_new() {
    let mut coordinator = Coordinator::start().await;
    let mut worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let gate = worker.dir.path().join("gate");
    connection
        .assign(&script(
            1,
            &format!("echo up; while [ ! -e {} ]; do :; done", gate.display()),
        ))
        .await;
    until_up(&mut connection).await;

    worker.shutdown.drain();
    assert!(matches!(connection.next().await, Some(Said::Draining(_))));
    connection.assign(&script(2, "true")).await;
    let Some(Said::Refused(refused)) = connection.next().await else {
        panic!("nothing new is taken")
    };
    std::fs::write(gate, "").unwrap();
    let ended = connection.settle().await.ended;

    assert_eq!(
        (refused.fence, refused.reason.as_str()),
        (Some(fence(2, 1)), "draining")
    );
    assert_eq!(
        (ended.fence.clone(), ended.ending()),
        (Some(fence(1, 1)), AttemptEnding::Completed)
    );
    worker.end().await.unwrap();
    assert_eq!(worker.leftovers(), Vec::<std::path::PathBuf>::new());
}

async fn a_drain_hands_back_what_is_left() {
    let mut coordinator = Coordinator::start().await;
    let mut worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        config.drain_span = Duration::ZERO
    });
    let (mut connection, _) = coordinator.welcomed().await;
    connection.assign(&script(1, "echo up; sleep 3600")).await;
    until_up(&mut connection).await;

    worker.shutdown.drain();
    assert!(matches!(connection.next().await, Some(Said::Draining(_))));
    let Some(Said::Refused(refused)) = connection.next().await else {
        panic!("it is handed back")
    };
    connection
        .acknowledge(&fence(1, 1), ganger_proto::v1::ReportKind::Refused, true)
        .await;

    assert_eq!(
        (refused.fence, refused.reason.as_str()),
        (Some(fence(1, 1)), "draining")
    );
    worker.end().await.unwrap();
}

async fn an_idle_worker_drains_at_once() {
    let mut worker = Worker::bare("http://127.0.0.1:9");

    worker.shutdown.drain();

    worker.end().await.unwrap();
}

async fn an_end_at_once_kills_what_runs() {
    let mut coordinator = Coordinator::start().await;
    let mut worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    connection
        .assign(&script(
            1,
            "trap '' TERM; echo up; while :; do sleep 3600; done",
        ))
        .await;
    until_up(&mut connection).await;

    worker.shutdown.now();

    worker.end().await.unwrap();
    assert_eq!(worker.leftovers(), Vec::<std::path::PathBuf>::new());
    assert!(connection.next().await.is_none());
}

async fn the_data_directory_has_one_worker() {
    let mut coordinator = Coordinator::start().await;
    let first = Worker::bare(&coordinator.address);
    coordinator.welcomed().await;

    let second = run(
        config(&coordinator.address, first.dir.path(), DriverKind::None),
        Shutdown::new(),
    )
    .await;

    assert!(matches!(second, Err(RunError::Workspaces(_))), "{second:?}");
}

fn daemon(args: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ganger-worker"));
    command.args(args).env_clear().kill_on_drop(true);
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}

async fn the_daemon_drains_on_sigterm() {
    let mut coordinator = Coordinator::start().await;
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let args = [
        "--coordinator",
        &coordinator.address,
        "--data-dir",
        data_dir,
        "--sandbox",
        "none",
    ];
    let child = daemon(&args).spawn().unwrap();
    let (mut connection, _) = coordinator.welcomed().await;
    connection
        .assign(&script(
            1,
            "echo up; trap 'exit 7' TERM; while :; do :; done",
        ))
        .await;
    until_up(&mut connection).await;

    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(matches!(connection.next().await, Some(Said::Draining(_))));
    connection.stop(&fence(1, 1), Duration::from_secs(60)).await;
    connection.settle().await;

    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("draining")
    );
}

async fn the_daemon_tells_what_is_wrong_with_its_configuration() {
    let args = [
        "--coordinator",
        "https://a:1",
        "--name",
        "-",
        "--slots",
        "0",
        "--data-dir",
        "here",
    ];
    let output = daemon(&args).output().await.unwrap();

    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    for key in ["coordinator:", "name:", "slots:", "data_dir:"] {
        assert!(told.contains(key), "{told}");
    }
}

async fn the_daemon_tells_the_cause_and_what_to_do() {
    let output = daemon(&["--data-dir", "/proc/nowhere"])
        .output()
        .await
        .unwrap();

    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("/proc/nowhere") && told.contains("give --data-dir"),
        "{told}"
    );
    assert!(told.contains("(os error "), "{told}");
}
