//! Clocks that jump: leases and limits are spans, and what is past stays past.

use std::{fs, path::PathBuf};

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, Gate, Transcript, WorkerSpec, programs};
use v1::{EventType, StopReason, TaskStatus};

use crate::may_run;

const DAY_SECONDS: i64 = 86_400;

/// A wall clock that processes read instead of the machine's; spans are measured as ever.
struct WallClock {
    command: Vec<String>,
    file: PathBuf,
}

impl WallClock {
    /// None, loudly, where libfaketime is not installed.
    fn new(cluster: &Cluster) -> Option<Self> {
        let dirs = ["x86_64-linux-gnu", "aarch64-linux-gnu", "."];
        let libraries = dirs.map(|dir| format!("/usr/lib/{dir}/faketime/libfaketime.so.1"));
        let Some(library) = libraries.iter().find(|path| fs::exists(path).unwrap()) else {
            eprintln!("SKIPPED: no wall clock to set here: install faketime");
            return None;
        };
        let file = cluster.dir().join("wall-clock");
        let command = [
            "env".into(),
            format!("LD_PRELOAD={library}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
            "FAKETIME_NO_CACHE=1".into(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
            "FAKETIME_DISABLE_SHM=1".into(),
        ];
        let clock = Self {
            command: command.into(),
            file,
        };
        clock.jump_to(0);
        Some(clock)
    }

    /// Sets it so many days before or after the machine's.
    fn jump_to(&self, days: i64) {
        // At once, so that nobody reads half of it.
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, format!("{days:+}d\n")).unwrap();
        fs::rename(&fresh, &self.file).unwrap();
    }

    /// The command that starts another one with this clock.
    fn command(&self) -> Vec<&str> {
        self.command.iter().map(String::as_str).collect()
    }
}

/// A sub-agent that ticks until its gate is opened.
async fn ticking(client: &Client, gate: &Gate) -> u64 {
    let script = format!(
        "(n=0; while :; do n=$((n + 1)); echo tick $n; sleep 0.1; done) & {}; kill $!; wait",
        gate.wait()
    );
    let task = client.start(&script).await;
    client.running(task.id).await;
    task.id
}

/// Waits until it ticked so often, which takes a tenth of a second each.
async fn ticks(transcript: &mut Transcript, more: usize) {
    let ticked = transcript.text().lines().count();
    transcript.said(&format!("tick {}\n", ticked + more)).await;
}

/// Makes a card, and answers its id and the second at which the coordinator says that it was made.
async fn card(client: &Client, deadline: Option<i64>) -> (u64, i64) {
    let deadline = deadline.map(|seconds| pbjson_types::Timestamp { seconds, nanos: 0 });
    let task = client.create(v1::CreateTaskRequest {
        subject: "a card".into(),
        deadline,
        ..v1::CreateTaskRequest::default()
    });
    let task = task.await;
    (task.id, task.created_at.unwrap().seconds)
}

/// That an attempt was neither lost nor stopped.
async fn check_kept(client: &Client, task_id: u64, gate: &Gate) {
    gate.open();
    let ended = client.ended(task_id).await;
    assert_eq!(
        (ended.status(), ended.attempt_count),
        (TaskStatus::Completed, 1),
        "{ended:?}"
    );
}

/// That no event lies before an earlier one.
async fn check_events(client: &Client) {
    let (last, _) = card(client, None).await;
    let mut watch = client.watch().await;
    watch.until(last, EventType::TaskCreated).await;
    let at = |event: &v1::Event| event.at.map(|at| (at.seconds, at.nanos));
    assert!(watch.events.is_sorted_by_key(at), "{:?}", watch.events);
}

#[tokio::test]
async fn wall_clock_that_jumps_ahead_and_back_ends_no_lease_and_no_attempt() {
    let _permit = may_run().await;
    let flags = ["--lease", "2s", "--heartbeat", "200ms"];
    let mut cluster = Cluster::with(programs!(), &flags).await;
    let Some(clock) = WallClock::new(&cluster) else {
        return;
    };
    cluster.coordinator.kill().await;
    cluster
        .restart_coordinator_under(&clock.command(), &[])
        .await;
    let worker = WorkerSpec::named("w1").under(clock.command());
    let worker = cluster.start_worker(worker).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let task = ticking(&client, &gate).await;
    let mut transcript = client.transcript(task).await;
    let (_, before) = card(&client, None).await;
    let lines = worker.log_len();

    for days in [1, -1, 0] {
        clock.jump_to(days);
        // Longer than a lease.
        ticks(&mut transcript, 30).await;
    }

    let (_, after) = card(&client, None).await;
    assert!((before..before + DAY_SECONDS / 2).contains(&after));
    assert!(
        !worker
            .log()
            .lines()
            .skip(lines)
            .any(|line| line.contains("connected"))
    );
    let [known] = &client.workers().await[..] else {
        panic!("one worker is known");
    };
    assert_eq!(known.state(), v1::WorkerState::Connected);
    check_kept(&client, task, &gate).await;
    check_events(&client).await;
}

#[tokio::test]
async fn coordinator_that_starts_with_its_wall_clock_behind_goes_on_from_its_last_commit() {
    let _permit = may_run().await;
    let mut cluster = Cluster::start(programs!()).await;
    let Some(clock) = WallClock::new(&cluster) else {
        return;
    };
    clock.jump_to(2);
    cluster.coordinator.kill().await;
    cluster
        .restart_coordinator_under(&clock.command(), &[])
        .await;
    let worker = cluster.worker("w1").await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let task = ticking(&client, &gate).await;
    let (_, before) = card(&client, None).await;
    let (late, _) = card(&client, Some(before + 20)).await;
    let lines = worker.log_len();

    clock.jump_to(0);
    cluster.coordinator.kill().await;
    cluster
        .restart_coordinator_under(&clock.command(), &[])
        .await;
    worker.logged_after(lines, "connected coordinator").await;
    let client = cluster.client();
    let (_, after) = card(&client, None).await;
    let missed = client.ended(late).await;

    assert!((before..before + DAY_SECONDS / 2).contains(&after));
    assert_eq!(
        (missed.status(), missed.stop_reason()),
        (TaskStatus::Failed, StopReason::Deadline)
    );
    let ended_at = missed.finished_at.unwrap().seconds;
    assert!((before + 20..before + DAY_SECONDS / 2).contains(&ended_at));
    check_kept(&client, task, &gate).await;
    check_events(&client).await;
}

#[tokio::test]
async fn coordinator_that_starts_with_its_wall_clock_ahead_keeps_what_runs() {
    let _permit = may_run().await;
    let mut cluster = Cluster::start(programs!()).await;
    let Some(clock) = WallClock::new(&cluster) else {
        return;
    };
    let worker = cluster.worker("w1").await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let task = ticking(&client, &gate).await;
    let (_, before) = card(&client, None).await;
    let (late, _) = card(&client, Some(before + DAY_SECONDS)).await;
    let lines = worker.log_len();

    clock.jump_to(2);
    cluster.coordinator.kill().await;
    cluster
        .restart_coordinator_under(&clock.command(), &[])
        .await;
    worker.logged_after(lines, "connected coordinator").await;
    let client = cluster.client();
    // Longer than its worker has to settle; by the wall clock, its limit was over long ago.
    let mut transcript = client.transcript(task).await;
    ticks(&mut transcript, 1).await;
    ticks(&mut transcript, 120).await;

    let (_, after) = card(&client, None).await;
    assert!(after > before + DAY_SECONDS);
    assert_eq!(
        client.ended(late).await.stop_reason(),
        StopReason::Deadline,
        "what has a moment is over at that moment"
    );
    check_kept(&client, task, &gate).await;
    check_events(&client).await;
}
