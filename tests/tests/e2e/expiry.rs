//! Finished tasks leave in time, and are told to have (K15), over the wire.

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, new_task, patiently, programs};
use v1::{EventType, TaskStatus::Completed};

/// A cluster that keeps two finished tasks, on which the first three of five were finished.
async fn with_one_expired() -> (Cluster, Client) {
    let cluster = Cluster::with(programs!(), &["--tasks-kept", "2"]).await;
    let client = cluster.client();
    client
        .plan(["a", "b", "c", "d", "e"].map(new_task).into())
        .await;
    for task in 1..=3 {
        client.set(task, Completed).await;
    }
    let mut watch = client.watch().await;
    watch.until(1, EventType::TaskExpired).await;
    (cluster, client)
}

#[tokio::test]
async fn the_history_of_the_team_tells_which_task_left_and_when() {
    let (mut cluster, client) = with_one_expired().await;
    client.set(4, Completed).await;
    let mut watch = client.watch().await;
    watch.until(2, EventType::TaskExpired).await;
    cluster.crash_coordinator().await;

    let mut watch = cluster.client().watch().await;
    watch.until(2, EventType::TaskExpired).await;

    let of_type = |kind: EventType| watch.events.iter().filter(move |e| e.r#type() == kind);
    let left: Vec<&v1::Event> = of_type(EventType::TaskExpired).collect();
    let ends: Vec<u64> = of_type(EventType::TaskUpdated)
        .chain(of_type(EventType::TaskCompleted))
        .filter(|event| event.to_status() == Completed)
        .map(|event| event.revision)
        .collect();
    assert_eq!(left.iter().map(|e| e.task_id).collect::<Vec<_>>(), [1, 2]);
    for event in left {
        assert_eq!(event.actor, "coordinator");
        assert!(event.at.is_some());
        assert!(ends.contains(&event.previous_revision), "{event:?}");
    }
}

#[tokio::test]
async fn the_status_tells_how_many_tasks_are_kept_how_long_and_how_many_left() {
    let (_cluster, client) = with_one_expired().await;

    let mut fleet = client.fleet();
    let status = patiently("GetStatus", fleet.get_status(v1::GetStatusRequest {})).await;

    let told = status.unwrap().into_inner().retention.unwrap();
    let kept_for = told.tasks_kept_for.unwrap();
    assert_eq!((told.finished_tasks, told.tasks_kept), (2, 2));
    assert_eq!((told.expired_tasks, kept_for.seconds), (1, 90 * 24 * 3_600));
    assert_eq!(
        (told.removed_artifacts, told.removed_artifact_bytes),
        (0, 0)
    );
    assert_eq!(told.removed_transcript_files, 0);
    assert_eq!(told.removed_transcript_bytes, 0);
}
