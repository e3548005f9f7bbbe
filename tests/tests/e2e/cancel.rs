//! A cancelled sub-agent is gone, however it feels about it.
//!
//! That a worker which never confirms is cut off after 60 s is proved by the board's own tests, with a
//! clock that can be turned; here it would take a minute.

use ganger_proto::v1;
use ganger_tests::{Cluster, HandWorker, hello, proc, programs};
use v1::TaskStatus;

/// Cancels a task of this script when it has said "ready", and looks whether all of it is gone.
async fn cancel(script: &str) -> (v1::Task, String) {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let worker = cluster.worker("w1").await;
    let idle = proc::descendants(worker.pid());

    let task = client.start(script).await;
    let mut transcript = client.transcript(task.id).await;
    transcript.said("ready").await;
    let tree: Vec<i32> = proc::descendants(worker.pid())
        .difference(&idle)
        .copied()
        .collect();
    assert!(!tree.is_empty(), "the sub-agent is a process");

    let stopping = client.cancel(task.id).await;
    assert_eq!(
        (stopping.status(), stopping.phase()),
        (TaskStatus::InProgress, v1::TaskPhase::Stopping)
    );
    let ended = client.ended(task.id).await;
    // By the time that it is told to be over, nothing of it lives.
    let alive: Vec<_> = tree.iter().filter(|pid| proc::lives(**pid)).collect();
    assert!(alive.is_empty(), "{alive:?} of {tree:?} live after the end");

    assert_eq!(ended.status(), TaskStatus::Cancelled, "{ended:?}");
    assert_eq!(ended.stop_reason(), v1::StopReason::Cancelled);
    assert_eq!(ended.attempt_count, 1);
    (ended, transcript.whole().await)
}

#[tokio::test]
async fn sub_agent_that_respects_term_may_say_a_last_word() {
    let (ended, said) =
        cancel("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done").await;

    assert!(said.contains("bye"), "{said}");
    assert_eq!(ended.error, "the test says so");
}

#[tokio::test]
async fn sub_agent_that_ignores_term_is_killed() {
    cancel("trap '' TERM; echo ready; while :; do sleep 0.05; done").await;
}

#[tokio::test]
async fn sub_agent_that_forks_away_dies_too() {
    cancel("trap '' TERM HUP; (setsid sh -c 'trap \"\" TERM HUP; echo ready; while :; do sleep 0.05; done' &); while :; do sleep 0.05; done").await;
}

#[tokio::test]
async fn task_that_waits_is_cancelled_at_once_and_never_runs() {
    let cluster = Cluster::with(programs!(), &["--expect-type", "shell"]).await;
    let client = cluster.client();
    let task = client.start("echo never").await;

    let cancelled = client.cancel(task.id).await;

    assert_eq!(cancelled.status(), TaskStatus::Cancelled);
    let _worker = cluster.worker("w1").await;
    let marker = client.start("echo marker").await;
    client.ended(marker.id).await;
    assert_eq!(client.get(task.id).await.attempt_count, 0);
}

#[tokio::test]
async fn report_before_the_cancel_wins_and_one_after_it_is_kept_as_partial() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut worker = HandWorker::connect(&client, hello("me")).await.unwrap();
    let by_hand = || v1::StartTaskRequest {
        agent_type: "by-hand".into(),
        prompt: "x".into(),
        ..v1::StartTaskRequest::default()
    };

    // The end first, then the cancel.
    let first = client.start_task(by_hand()).await;
    let fence = worker.assignment().await.fence.unwrap();
    assert!(worker.completed(&fence, "in time").await.accepted);
    let late = v1::CancelTaskRequest {
        task_id: first.id,
        ..v1::CancelTaskRequest::default()
    };
    let late = client.delegation().cancel_task(late).await;
    ganger_tests::refused(late, tonic::Code::FailedPrecondition, "TASK_OVER");
    // The cancel first, then the end.
    let second = client.start_task(by_hand()).await;
    let fence = worker.assignment().await.fence.unwrap();
    client.cancel(second.id).await;
    assert_eq!(worker.stop().await.fence.as_ref(), Some(&fence));
    assert!(worker.completed(&fence, "too late").await.accepted);

    let (first, second) = (client.ended(first.id).await, client.ended(second.id).await);
    assert_eq!(
        (first.status(), &first.result[..]),
        (TaskStatus::Completed, "in time")
    );
    assert_eq!(
        (second.status(), &second.result[..]),
        (TaskStatus::Cancelled, "too late")
    );
}
