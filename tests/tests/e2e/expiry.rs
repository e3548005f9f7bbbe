//! Finished tasks leave in time, and are told to have (K15), over the wire.

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, new_task, patiently, programs, refused};
use tonic::Code;
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

/// Every call that names a task, about one that left.
async fn assert_expired(client: &Client, task_id: u64) {
    macro_rules! is_told_so {
        ($service:ident.$call:ident($request:expr)) => {
            is_told_so!($service.$call($request), None)
        };
        ($service:ident.$call:ident($request:expr), $field:expr) => {{
            let mut service = client.$service();
            let answer = patiently(stringify!($call), service.$call($request)).await;
            let answer = answer.map(|_| stringify!($call));
            let info = refused(answer, Code::NotFound, "TASK_EXPIRED");
            assert_eq!(info.metadata.get("field").map(String::as_str), $field);
            assert_eq!(info.metadata["task"], task_id.to_string());
            assert_eq!(info.metadata["team"], "default");
        }};
    }
    macro_rules! about {
        ($request:ident) => {
            v1::$request {
                task_id,
                ..v1::$request::default()
            }
        };
    }
    is_told_so!(task.get_task(about!(GetTaskRequest)));
    is_told_so!(task.explain_task(about!(ExplainTaskRequest)));
    is_told_so!(task.update_task(about!(UpdateTaskRequest)));
    is_told_so!(task.claim_task(about!(ClaimTaskRequest)));
    is_told_so!(task.release_task(about!(ReleaseTaskRequest)));
    is_told_so!(task.reopen_task(v1::ReopenTaskRequest {
        reason: "again".into(),
        ..about!(ReopenTaskRequest)
    }));
    is_told_so!(task.delete_task(about!(DeleteTaskRequest)));
    is_told_so!(delegation.cancel_task(about!(CancelTaskRequest)));
    is_told_so!(delegation.pause_task(about!(PauseTaskRequest)));
    is_told_so!(delegation.resume_task(about!(ResumeTaskRequest)));
    is_told_so!(delegation.steer_task(v1::SteerTaskRequest {
        text: "faster".into(),
        ..about!(SteerTaskRequest)
    }));
    is_told_so!(delegation.answer_question(v1::AnswerQuestionRequest {
        text: "yes".into(),
        ..about!(AnswerQuestionRequest)
    }));
    is_told_so!(delegation.watch_transcript(about!(WatchTranscriptRequest)));
    is_told_so!(delegation.wait_tasks(v1::WaitTasksRequest {
        task_ids: vec![4, task_id],
        ..v1::WaitTasksRequest::default()
    }));
    let waits = v1::NewTask {
        blocked_by: vec![task_id],
        ..new_task("after it")
    };
    let batch = v1::BatchCreateTasksRequest {
        tasks: vec![waits],
        ..v1::BatchCreateTasksRequest::default()
    };
    is_told_so!(task.batch_create_tasks(batch), Some("blocked_by"));
}

#[tokio::test]
async fn whoever_names_a_task_that_left_is_told_so_also_after_a_crash() {
    let (mut cluster, client) = with_one_expired().await;
    assert_expired(&client, 1).await;

    cluster.crash_coordinator().await;

    let client = cluster.client();
    assert_expired(&client, 1).await;
    let never = client.try_get(9).await;
    refused(never, Code::NotFound, "TASK_NOT_FOUND");
    let there: Vec<u64> = client
        .list(|_| {})
        .await
        .iter()
        .map(|task| task.id)
        .collect();
    assert_eq!(there, [2, 3, 4, 5]);
    assert_eq!(client.plan(vec![new_task("f")]).await, [6]);
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
