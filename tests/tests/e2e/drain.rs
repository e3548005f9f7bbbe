//! SIGTERM: what runs is finished or handed back, nothing is lost, the exit code is 0.

use ganger_proto::v1;
use ganger_tests::{Cluster, WorkerSpec, proc, programs};
use rustix::process::Signal;
use v1::{AttemptEnding, TaskStatus};

#[tokio::test]
async fn draining_worker_finishes_what_runs_and_takes_nothing_new() {
    let cluster = Cluster::start(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let mut worker = cluster.worker("w1").await;
    let running = client
        .start(&format!("{}; echo finished", gate.wait()))
        .await;
    client.running(running.id).await;

    worker.signal(Signal::TERM);
    cluster.coordinator.logged("worker drains").await;
    let later = client.start("echo later").await;
    let waiting = client.get(later.id).await;
    assert_eq!(waiting.phase(), v1::TaskPhase::Queued, "{waiting:?}");
    gate.open();
    let finished = client.ended(running.id).await;
    let status = worker.end().await;

    assert!(status.success(), "{status}");
    assert_eq!(
        (&finished.result[..], finished.attempt_count),
        ("finished\n", 1)
    );
    assert_eq!(client.get(later.id).await.attempt_count, 0);
    let _another = cluster.worker("w2").await;
    assert_eq!(client.ended(later.id).await.result, "later\n");
}

#[tokio::test]
async fn drain_hands_back_what_does_not_finish_at_no_cost() {
    let cluster = Cluster::start(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let spec = WorkerSpec::named("w1").args(["--drain-seconds", "1"]);
    let mut worker = cluster.start_worker(spec).await;
    let task = client
        .create(v1::CreateTaskRequest {
            subject: "long".into(),
            agent_type: "shell".into(),
            prompt: format!("{}; echo done", gate.wait()),
            // The first loss would be its end: so what is handed back is none.
            crash_limit: Some(0),
            ..v1::CreateTaskRequest::default()
        })
        .await;
    client.running(task.id).await;
    let tree = proc::descendants(worker.pid());

    worker.signal(Signal::TERM);
    let status = worker.end().await;
    proc::gone(tree).await;
    let _another = cluster.worker("w2").await;
    gate.open_for(2);
    let ended = client.ended(task.id).await;

    assert!(status.success(), "{status}");
    assert_eq!(
        (ended.status(), &ended.result[..]),
        (TaskStatus::Completed, "done\n")
    );
    let endings: Vec<_> = ended
        .attempts
        .iter()
        .map(|a| (a.runner.as_str(), a.ending()))
        .collect();
    assert_eq!(
        endings,
        [
            ("w1", AttemptEnding::HandedBack),
            ("w2", AttemptEnding::Completed)
        ]
    );
}

#[tokio::test]
async fn second_signal_ends_a_worker_at_once_and_its_sub_agents_with_it() {
    let cluster = Cluster::hasty(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let mut worker = cluster.worker("w1").await;
    let task = client.start(&gate.wait()).await;
    client.running(task.id).await;
    let tree = proc::descendants(worker.pid());

    worker.signal(Signal::TERM);
    worker.logged("stage=Draining").await;
    worker.signal(Signal::TERM);
    worker.end().await;

    proc::gone(tree).await;
    let _another = cluster.worker("w2").await;
    gate.open_for(2);
    assert_eq!(client.ended(task.id).await.status(), TaskStatus::Completed);
}

#[tokio::test]
async fn coordinator_that_is_asked_to_stop_ends_well_and_goes_on_where_it_was() {
    let mut cluster = Cluster::start(programs!()).await;
    let gate = cluster.gate("g");
    let worker = cluster.worker("w1").await;
    let client = cluster.client();
    let task = client
        .start(&format!("echo $$; {}; echo done", gate.wait()))
        .await;
    client.running(task.id).await;
    let tree = proc::descendants(worker.pid());
    let waiting = tokio::spawn({
        let client = client.clone();
        let request = v1::RunTaskRequest {
            description: "waits".into(),
            agent_type: "shell".into(),
            prompt: gate.wait(),
            request_id: "0a8a1d5e-5b0c-4f6e-8f39-4d2f1a5a7c02".into(),
            ..v1::RunTaskRequest::default()
        };
        async move { client.delegation().run_task(request).await }
    });
    client
        .watch()
        .await
        .until(2, v1::EventType::TaskStarted)
        .await;

    let lines = worker.log_len();
    cluster.coordinator.signal(Signal::TERM);
    let status = cluster.coordinator.end().await;
    let told = waiting.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Some(0));
    assert_eq!(told.code(), tonic::Code::Unavailable, "{told:?}");
    assert!(tree.iter().all(|pid| proc::lives(*pid)), "sub-agents go on");
    cluster.restart_coordinator().await;
    worker.logged_after(lines, "connected coordinator").await;
    gate.open_for(2);

    let client = cluster.client();
    for id in [task.id, 2] {
        let ended = client.ended(id).await;
        assert_eq!(
            (ended.status(), ended.attempt_count),
            (TaskStatus::Completed, 1),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn second_signal_ends_a_coordinator_at_once() {
    let mut cluster = Cluster::start(programs!()).await;
    // A call that never ends would hold its end up for seconds.
    let header = v1::upload_artifact_request::Part::Header(v1::UploadHeader::default());
    let header = v1::UploadArtifactRequest { part: Some(header) };
    let parts = tokio_stream::StreamExt::chain(tokio_stream::once(header), tokio_stream::pending());
    let mut client = cluster.client().artifact();
    let upload = tokio::spawn(async move { client.upload_artifact(parts).await });
    cluster.status().await;

    cluster.coordinator.signal(Signal::TERM);
    cluster.coordinator.logged("stopping: streams end").await;
    cluster.coordinator.signal(Signal::TERM);
    let status = cluster.coordinator.end().await;

    assert_eq!(status.code(), Some(130), "{status}");
    assert!(upload.await.unwrap().is_err());
    cluster.restart_coordinator().await;
    assert_eq!(cluster.status().await.team_count, 1);
}

#[tokio::test]
async fn worker_that_is_told_to_drain_finishes_what_runs_and_leaves() {
    let cluster = Cluster::start(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let mut worker = cluster.worker("w1").await;
    let running = client
        .start(&format!("{}; echo finished", gate.wait()))
        .await;
    client.running(running.id).await;

    let drain = v1::DrainWorkerRequest {
        name: "w1".into(),
        reason: "the machine is to be replaced".into(),
        timeout: Some(pbjson_types::Duration {
            seconds: 600,
            nanos: 0,
        }),
    };
    let told = client.fleet().drain_worker(drain).await.unwrap();
    let told = told.into_inner().worker.unwrap();
    cluster.coordinator.logged("worker drains").await;
    let later = client.start("echo later").await;
    let waiting = client.get(later.id).await;
    gate.open();
    let finished = client.ended(running.id).await;
    let status = worker.end().await;

    assert_eq!(told.state(), v1::WorkerState::Draining);
    assert_eq!(told.drain_reason, "the machine is to be replaced");
    assert_eq!(waiting.phase(), v1::TaskPhase::Queued, "{waiting:?}");
    assert!(status.success(), "{status}");
    assert_eq!(
        (&finished.result[..], finished.attempt_count),
        ("finished\n", 1)
    );
    let _another = cluster.worker("w1").await;
    assert_eq!(client.ended(later.id).await.result, "later\n");
}

#[tokio::test]
async fn worker_that_is_told_to_drain_hands_back_what_is_not_over_in_the_time_that_it_is_given() {
    let cluster = Cluster::start(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let mut worker = cluster.worker("w1").await;
    let task = client.start(&format!("{}; echo done", gate.wait())).await;
    client.running(task.id).await;

    let drain = v1::DrainWorkerRequest {
        name: "w1".into(),
        timeout: Some(pbjson_types::Duration {
            seconds: 1,
            nanos: 0,
        }),
        ..v1::DrainWorkerRequest::default()
    };
    client.fleet().drain_worker(drain).await.unwrap();
    let status = worker.end().await;
    let _another = cluster.worker("w2").await;
    gate.open_for(2);
    let ended = client.ended(task.id).await;

    assert!(status.success(), "{status}");
    let endings: Vec<_> = ended
        .attempts
        .iter()
        .map(|a| (a.runner.as_str(), a.ending()))
        .collect();
    let expected = [
        ("w1", AttemptEnding::HandedBack),
        ("w2", AttemptEnding::Completed),
    ];
    assert_eq!(endings, expected);
}
