//! What is told of workers, which of them are understood, and how they are told to leave.

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, HandWorker, hello, new_instance, programs, refused};
use tonic::{Code, Status};
use v1::{TaskPhase, TaskStatus, WorkerState};

async fn worker(client: &Client, name: &str) -> Result<v1::Worker, Status> {
    let request = v1::GetWorkerRequest { name: name.into() };
    let answer = client.fleet().get_worker(request).await?;
    Ok(answer.into_inner().worker.unwrap())
}

async fn drain(client: &Client, request: v1::DrainWorkerRequest) -> Result<v1::Worker, Status> {
    let answer = client.fleet().drain_worker(request).await?;
    Ok(answer.into_inner().worker.unwrap())
}

fn draining(name: &str, reason: &str, seconds: Option<i64>) -> v1::DrainWorkerRequest {
    v1::DrainWorkerRequest {
        name: name.into(),
        reason: reason.into(),
        timeout: seconds.map(|seconds| pbjson_types::Duration { seconds, nanos: 0 }),
    }
}

fn by_hand() -> v1::StartTaskRequest {
    v1::StartTaskRequest {
        description: "Create migration script".into(),
        agent_type: "by-hand".into(),
        prompt: "x".into(),
        ..v1::StartTaskRequest::default()
    }
}

#[tokio::test]
async fn worker_is_told_with_its_facts_and_what_each_of_its_sub_agents_is_at() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let hello = v1::Hello {
        protocol: 4,
        protocol_min: 1,
        ..hello("w")
    };
    let mut hand = HandWorker::connect(&client, hello).await.unwrap();
    let task = client.start_task(by_hand()).await;
    let fence = hand.assignment().await.fence.unwrap();
    let before = worker(&client, "w").await.unwrap();
    assert!(hand.started(&fence).await.accepted);
    let progress = v1::Progress {
        fence: Some(fence.clone()),
        doing: Some("Writing SQL\n".into()),
        ..v1::Progress::default()
    };
    hand.progress(progress).await;
    let after = worker(&client, "w").await.unwrap();

    assert_eq!(before.last_progress_at, None);
    assert_eq!(before.held[0].phase(), TaskPhase::Dispatched);
    assert!(after.stream_up && after.heard && after.lease_valid);
    assert_eq!((after.protocol, after.state()), (3, WorkerState::Connected));
    assert_eq!(after.attempts, std::slice::from_ref(&fence));
    let held = &after.held[0];
    assert_eq!(held.last_progress_at, after.last_progress_at);
    assert!(held.last_progress_at.is_some() && held.started_at.is_some());
    let expected = v1::HeldAttempt {
        fence: Some(fence.clone()),
        team: "default".into(),
        subject: "Create migration script".into(),
        agent_type: "by-hand".into(),
        member: "task:1".into(),
        phase: TaskPhase::Running.into(),
        started_at: held.started_at,
        last_progress_at: held.last_progress_at,
        stalled: false,
        doing: "Writing SQL".into(),
    };
    assert_eq!(after.held, [expected]);
    let listed = client.workers().await;
    assert_eq!(
        listed,
        [v1::Worker {
            held: vec![],
            ..after
        }]
    );
    let told = client.get(task.id).await;
    assert_eq!(told.doing, "Writing SQL");
    assert_eq!(
        told.line,
        "#1 [in_progress] Create migration script (w): Writing SQL…"
    );

    assert!(hand.completed(&fence, "done").await.accepted);
    let idle = worker(&client, "w").await.unwrap();
    assert_eq!((idle.held, idle.last_progress_at), (vec![], None));
    assert_eq!(client.get(task.id).await.doing, "");
    refused(
        worker(&client, "nobody").await,
        Code::NotFound,
        "WORKER_NOT_FOUND",
    );
    let nameless = worker(&client, "").await;
    refused(nameless, Code::InvalidArgument, "NAME_INVALID");
}

#[tokio::test]
async fn worker_whose_stream_broke_is_told_as_such_while_its_lease_is_valid() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let hand = v1::Hello {
        manual: false,
        ..hello("w")
    };
    let hand = HandWorker::connect(&client, hand).await.unwrap();
    let facts = |worker: &v1::Worker| (worker.stream_up, worker.lease_valid);
    let open = worker(&client, "w").await.unwrap();
    hand.close().await.unwrap();
    cluster.coordinator.logged("worker's stream ended").await;
    let broken = worker(&client, "w").await.unwrap();

    assert_eq!(facts(&open), (true, true));
    assert_eq!(facts(&broken), (false, true));
    assert_eq!(broken.state(), WorkerState::Unreachable);
    assert_eq!(broken.connected_at, open.connected_at);
}

#[tokio::test]
async fn drained_worker_takes_nothing_new_and_is_told_again_until_its_process_ends() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let two_slots = v1::Hello {
        slots: 2,
        ..hello("w")
    };
    let mut hand = HandWorker::connect(&client, two_slots.clone())
        .await
        .unwrap();
    client.start_task(by_hand()).await;
    let fence = hand.assignment().await.fence.unwrap();
    assert!(hand.started(&fence).await.accepted);

    let request = draining("w", "the machine is to be replaced", Some(90));
    let first = drain(&client, request.clone()).await.unwrap();
    let second = drain(&client, request).await.unwrap();
    let told = hand.drain().await;
    let later = client.start_task(by_hand()).await;

    assert_eq!(first.state(), WorkerState::Draining);
    assert_eq!(first.drain_reason, "the machine is to be replaced");
    assert_eq!((second.state(), &second.held), (first.state(), &first.held));
    assert_eq!(told.reason, "the machine is to be replaced");
    assert_eq!(told.timeout.map(|timeout| timeout.seconds), Some(90));
    assert_eq!(client.get(later.id).await.phase(), TaskPhase::Queued);

    // The same process on another stream is told again, and keeps what it has.
    let held = vec![v1::Held {
        fence: Some(fence.clone()),
        started: true,
    }];
    let again = v1::Hello {
        held,
        ..two_slots.clone()
    };
    let mut again = HandWorker::connect(&client, again).await.unwrap();
    assert_eq!(again.drain().await, told);
    assert!(again.completed(&fence, "done").await.accepted);
    assert_eq!(client.ended(1).await.status(), TaskStatus::Completed);
    assert_eq!(client.get(later.id).await.phase(), TaskPhase::Queued);

    // Another process of the name is not: it is given the work.
    again.close().await.unwrap();
    let other = v1::Hello {
        instance_id: new_instance(),
        ..two_slots
    };
    let mut other = HandWorker::connect(&client, other).await.unwrap();
    assert_eq!(other.assignment().await.fence.unwrap().task_id, later.id);
    let other = worker(&client, "w").await.unwrap();
    assert_eq!(
        (other.state(), &other.drain_reason[..]),
        (WorkerState::Connected, "")
    );
}

#[tokio::test]
async fn drain_that_is_none_is_refused() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _hand = HandWorker::connect(&client, hello("w")).await.unwrap();
    let day = 24 * 3_600;

    let nobody = drain(&client, draining("nobody", "", None)).await;
    let info = refused(nobody, Code::NotFound, "WORKER_NOT_FOUND");
    assert_eq!(info.metadata["name"], "nobody");
    let nameless = drain(&client, draining("", "", None)).await;
    refused(nameless, Code::InvalidArgument, "NAME_INVALID");
    for request in [
        draining("w", &"x".repeat(4_097), None),
        draining("w", "", Some(day + 1)),
        draining("w", "", Some(-1)),
    ] {
        let answer = drain(&client, request).await;
        refused(answer, Code::InvalidArgument, "VALUE_INVALID");
    }
    let untouched = worker(&client, "w").await.unwrap();
    assert_eq!(untouched.state(), WorkerState::Connected);
    let most = draining("w", &"x".repeat(4_096), Some(day));
    assert_eq!(
        drain(&client, most).await.unwrap().drain_reason.len(),
        4_096
    );
}

#[tokio::test]
async fn worker_without_a_version_in_common_is_refused_and_told_which_side_is_too_old() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let speaking = |protocol, protocol_min| v1::Hello {
        protocol,
        protocol_min,
        ..hello("w")
    };

    for old in [0, 1, 2] {
        let older = HandWorker::connect(&client, speaking(old, 0)).await;
        let info = refused(
            older.map(|_| ()),
            Code::FailedPrecondition,
            "WORKER_VERSION_UNSUPPORTED",
        );
        assert_eq!(info.metadata["upgrade"], "worker");
        assert_eq!(info.metadata["worker_newest"], old.max(1).to_string());
        assert_eq!(info.metadata["oldest"], "3");
    }
    let newer = HandWorker::connect(&client, speaking(5, 4)).await;
    let info = refused(
        newer.map(|_| ()),
        Code::FailedPrecondition,
        "WORKER_VERSION_UNSUPPORTED",
    );
    assert_eq!(info.metadata["upgrade"], "coordinator");
    let upside_down = HandWorker::connect(&client, speaking(2, 3)).await;
    refused(
        upside_down.map(|_| ()),
        Code::InvalidArgument,
        "VALUE_INVALID",
    );
    for (protocol, protocol_min, spoken) in [(3, 0, 3), (3, 3, 3), (9, 1, 3)] {
        let hand = HandWorker::connect(&client, speaking(protocol, protocol_min)).await;
        let hand = hand.unwrap();
        assert_eq!(hand.welcome.protocol, spoken);
        let told = worker(&client, "w").await.unwrap();
        assert_eq!(told.protocol, spoken);
        hand.close().await.unwrap();
    }
}

#[tokio::test]
async fn first_heartbeats_are_due_within_the_interval_and_not_at_once() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut firsts = Vec::new();
    for number in 0..5 {
        let hand = HandWorker::connect(&client, hello(&format!("w{number}"))).await;
        let welcome = hand.unwrap().welcome;
        let nanos = |span: Option<pbjson_types::Duration>| {
            let span = span.unwrap();
            span.seconds * 1_000_000_000 + i64::from(span.nanos)
        };
        let interval = nanos(welcome.heartbeat_interval);
        assert_eq!(interval, 5_000_000_000);
        let first = nanos(welcome.first_heartbeat);
        assert!((0..interval).contains(&first), "{first}");
        firsts.push(first);
    }
    firsts.sort();
    let apart = firsts.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(apart.min().unwrap() > 200_000_000, "{firsts:?}");
}

/// A coordinator that was killed while a worker ran a task, with a grace of that long; and the
/// worker's Hello with what it holds.
async fn frozen(grace: &str) -> (Cluster, v1::Hello, v1::Fence) {
    let mut cluster = Cluster::with(programs!(), &["--grace", grace]).await;
    let client = cluster.client();
    let hello = hello("w");
    let mut hand = HandWorker::connect(&client, hello.clone()).await.unwrap();
    client.start_task(by_hand()).await;
    let fence = hand.assignment().await.fence.unwrap();
    assert!(hand.started(&fence).await.accepted);
    cluster.crash_coordinator().await;
    let held = vec![v1::Held {
        fence: Some(fence.clone()),
        started: true,
    }];
    (cluster, v1::Hello { held, ..hello }, fence)
}

#[tokio::test]
async fn frozen_task_that_is_cancelled_is_stopped_when_its_worker_comes_back() {
    let (cluster, hello, fence) = frozen("600s").await;
    let client = cluster.client();

    let stopping = client.cancel(fence.task_id).await;
    let mut hand = HandWorker::connect(&client, hello).await.unwrap();
    let stop = hand.stop().await;
    let still = client.get(fence.task_id).await;
    let ended = v1::Ended {
        fence: Some(fence.clone()),
        ending: v1::AttemptEnding::Cancelled.into(),
        result: "half of it".into(),
        ..v1::Ended::default()
    };
    let ack = hand.ended(ended).await;

    for task in [&stopping, &still] {
        let stands = (task.status(), task.phase());
        assert_eq!(stands, (TaskStatus::InProgress, TaskPhase::Stopping));
    }
    assert!(hand.welcome.verdicts[0].keep);
    assert_eq!(stop.fence, Some(fence.clone()));
    assert!(ack.accepted, "{ack:?}");
    let ended = client.ended(fence.task_id).await;
    assert_eq!(ended.status(), TaskStatus::Cancelled);
    assert_eq!(ended.stop_reason(), v1::StopReason::Cancelled);
    let endings: Vec<_> = ended.attempts.iter().map(v1::Attempt::ending).collect();
    assert_eq!(endings, [v1::AttemptEnding::Cancelled]);
}

#[tokio::test]
async fn frozen_task_that_is_cancelled_is_over_when_the_grace_is_and_its_worker_did_not_come() {
    let (cluster, hello, fence) = frozen("3s").await;
    let client = cluster.client();

    client.cancel(fence.task_id).await;
    let ended = client.ended(fence.task_id).await;

    assert_eq!(ended.status(), TaskStatus::Cancelled, "{ended:?}");
    assert_eq!(ended.stop_reason(), v1::StopReason::Cancelled);
    let endings: Vec<_> = ended.attempts.iter().map(v1::Attempt::ending).collect();
    assert_eq!(endings, [v1::AttemptEnding::Lost]);
    assert_eq!(ended.attempt_count, 1);
    // Who comes later is told to stop it.
    let hand = HandWorker::connect(&client, hello).await.unwrap();
    assert!(!hand.welcome.verdicts[0].keep);
    assert_eq!(client.get(fence.task_id).await.attempt_count, 1);
}
