//! How work that a worker does ends, and what lists tell of it (E1, E21, Q1, Q4, Q8, Q9, X9).

use ganger_proto::v1::{
    self, AttemptEnding, EventType, NewTask,
    TaskStatus::{Completed, Failed, Pending},
    connect_request::Message as Says,
};
use ganger_tests::{
    Client, Cluster, HandWorker, hello, ids_of, is_ending, new_task, programs, refused, struct_of,
};
use pbjson_types::Duration;
use serde_json::json;
use tonic::Code;

use crate::fences::by_hand;

/// A task that the worker by hand runs.
fn scripted(subject: &str) -> NewTask {
    NewTask {
        agent_type: "by-hand".into(),
        prompt: "do it".into(),
        ..new_task(subject)
    }
}

async fn with_worker() -> (Cluster, Client, HandWorker) {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let worker = HandWorker::connect(&client, hello("me")).await.unwrap();
    (cluster, client, worker)
}

async fn fails(worker: &mut HandWorker, fence: &v1::Fence, error: &str) {
    let ended = v1::Ended {
        fence: Some(fence.clone()),
        ending: AttemptEnding::Failed.into(),
        error: error.into(),
        ..v1::Ended::default()
    };
    assert!(worker.ended(ended).await.accepted);
}

/// test_terminal_status_is_published_after_payload_fields (X9), TestTerminalTransitions
/// test_hard_cancel_cannot_overwrite_a_completed_task, _records_timezone_aware_timestamps (E1),
/// test_wait_all_via_task_manager, test_refresh_from_manager (T7, T8).
#[tokio::test]
async fn whoever_hears_of_an_end_finds_all_of_it_and_no_later_end_counts() {
    let (_cluster, client, mut worker) = with_worker().await;
    let mut watch = client.watch().await;
    let task = client.start_task(by_hand()).await;
    let fence = worker.assignment().await.fence.unwrap();
    worker.started(&fence).await;
    let wait = {
        let client = client.clone();
        let request = v1::WaitTasksRequest {
            task_ids: vec![task.id],
            ..v1::WaitTasksRequest::default()
        };
        tokio::spawn(async move { client.try_wait(request).await })
    };

    worker.completed(&fence, "the result").await;
    let event = watch.ended(task.id).await;
    let ended = client.get(task.id).await;

    assert_eq!(event.r#type(), EventType::TaskCompleted);
    assert_eq!(
        (ended.status(), &ended.result[..]),
        (Completed, "the result")
    );
    assert_eq!(event.at, ended.finished_at);
    assert_eq!(
        (&ended.started_by[..], &ended.finished_by[..]),
        ("me", "worker:me")
    );
    let at = |time: Option<pbjson_types::Timestamp>| time.map(|t| (t.seconds, t.nanos)).unwrap();
    assert!(at(ended.created_at) <= at(ended.started_at));
    assert!(at(ended.started_at) <= at(ended.finished_at));
    let waited = wait.await.unwrap().unwrap();
    assert_eq!(waited.tasks[0].result, "the result");

    let cancel = v1::CancelTaskRequest {
        task_id: task.id,
        ..v1::CancelTaskRequest::default()
    };
    let late = client.delegation().cancel_task(cancel).await;
    refused(late, Code::FailedPrecondition, "TASK_OVER");
    refused(
        client.try_set(task.id, Failed).await,
        Code::Aborted,
        "TASK_OVER",
    );
    let other = client.try_update(task.id, |update| update.result = Some("mine".into()));
    refused(other.await, Code::Aborted, "TASK_OVER");
    assert_eq!(client.get(task.id).await, ended);
    let history = client.explain(task.id).await.history;
    assert_eq!(history.iter().filter(|event| is_ending(event)).count(), 1);
}

/// TestTruncateTaskCalls (Q1): upstream drops what is too much, here every call is queued with its
/// place. test_executor_admission_failure_requeues_without_consuming_attempt (Q8).
#[tokio::test]
async fn every_call_beyond_the_slots_is_queued_with_its_place_and_a_refused_start_is_free() {
    let (_cluster, client, mut worker) = with_worker().await;
    let ids = client
        .plan((1..=4).map(|n| scripted(&n.to_string())).collect())
        .await;
    let fence = worker.assignment().await.fence.unwrap();
    assert_eq!((&ids[..], fence.task_id), (&[1, 2, 3, 4][..], 1));

    for (id, place) in [(2, 1), (3, 2), (4, 3)] {
        let told = client.explain(id).await;
        assert_eq!(told.task.unwrap().phase(), v1::TaskPhase::Queued);
        let queued = told
            .because
            .iter()
            .find(|because| because.reason == "QUEUED");
        assert_eq!(queued.unwrap().place, place, "{:?}", told.because);
    }
    worker.say(Says::Refused(v1::Refused {
        fence: Some(fence.clone()),
        reason: "no room for the workspace".into(),
    }));
    assert!(worker.report_ack(v1::ReportKind::Refused).await.accepted);
    // The next one goes first then, and the refused one comes back.
    let next = worker.assignment().await.fence.unwrap();
    assert_eq!(next.task_id, 2);
    let back = client.get(1).await;
    assert_eq!((back.status(), back.failure_count), (Pending, 0));
    assert_eq!(back.attempts[0].ending(), AttemptEnding::HandedBack);
    assert!(worker.completed(&next, "2").await.accepted);
    let mut left = vec![1, 3, 4];
    while !left.is_empty() {
        let fence = worker.assignment().await.fence.unwrap();
        assert!(worker.completed(&fence, "done").await.accepted);
        left.retain(|id| *id != fence.task_id);
    }
    assert_eq!(client.get(1).await.status(), Completed);
}

/// The attempts of test_expired_running_lease_keeps_attempt_and_honors_max_attempts (Q4), and
/// test_failed_member_releases_its_shared_todo (T18): there a failed task is free again, here it is
/// what its policy says.
#[tokio::test]
async fn failing_attempts_are_tried_again_as_often_as_said_and_then_end_as_said() {
    use v1::FailurePolicy::{Fail, Pause, Release};
    let (_cluster, client, mut worker) = with_worker().await;
    let mut watch = client.watch().await;
    for (policy, status, owner, paused) in [
        (Fail, Failed, "team-lead", false),
        (Pause, Pending, "team-lead", true),
        (Release, Pending, "", true),
    ] {
        let retry = v1::RetryPolicy {
            max_attempts: 2,
            initial_backoff: Some(Duration {
                seconds: 0,
                nanos: 1_000_000,
            }),
            max_backoff: None,
        };
        let task = NewTask {
            owner: "team-lead".into(),
            retry: Some(retry),
            failure_policy: policy.into(),
            ..scripted(policy.as_str_name())
        };
        let id = client.plan(vec![task]).await[0];
        for attempt in 1..=2 {
            let fence = worker.assignment().await.fence.unwrap();
            assert_eq!((fence.task_id, fence.attempt), (id, attempt));
            fails(&mut worker, &fence, "no luck").await;
        }
        if paused {
            watch.until(id, EventType::TaskPaused).await;
        } else {
            watch.ended(id).await;
        }

        let told = client.get(id).await;
        assert_eq!(
            (told.status(), &told.owner[..]),
            (status, owner),
            "{told:?}"
        );
        assert_eq!((told.attempt_count, told.failure_count), (2, 2));
        assert_eq!(told.phase() == v1::TaskPhase::Paused, paused, "{told:?}");
        assert!(
            told.attempts
                .iter()
                .all(|a| a.ending() == AttemptEnding::Failed)
        );
        if paused {
            // Resumed, it has all its tries again.
            let resume = v1::ResumeTaskRequest {
                task_id: id,
                ..v1::ResumeTaskRequest::default()
            };
            client.delegation().resume_task(resume).await.unwrap();
            let fence = worker.assignment().await.fence.unwrap();
            assert_eq!((fence.task_id, fence.attempt), (id, 3));
            assert!(worker.completed(&fence, "at last").await.accepted);
            assert_eq!(watch.ended(id).await.r#type(), EventType::TaskCompleted);
        }
    }
}

/// test_public_projections_omit_execution_context_and_full_results (Q9), TestPreviewResult,
/// TestWaitTasksResultTruncation (E21).
#[tokio::test]
async fn lists_tell_long_texts_cut_at_200_characters_and_one_task_is_told_whole() {
    let (_cluster, client, _worker) = with_worker().await;
    let long = |len: usize| "ä".repeat(len);
    let fits = NewTask {
        description: long(200),
        prompt: long(200),
        ..new_task("fits")
    };
    let cut = NewTask {
        description: long(201),
        prompt: long(100_000),
        metadata: Some(struct_of(json!({"k": "v"}))),
        ..new_task("is cut")
    };
    let request = v1::BatchCreateTasksRequest {
        tasks: vec![fits, cut],
        ..v1::BatchCreateTasksRequest::default()
    };
    let made = client.task().batch_create_tasks(request).await.unwrap();
    let made = made.into_inner().tasks;
    let done = |task_id, len| v1::UpdateTaskRequest {
        task_id,
        status: Completed.into(),
        result: Some(long(len)),
        ..v1::UpdateTaskRequest::default()
    };
    let batch = v1::BatchUpdateTasksRequest {
        updates: vec![done(1, 200), done(2, 201)],
        ..v1::BatchUpdateTasksRequest::default()
    };
    let updated = client.task().batch_update_tasks(batch).await.unwrap();
    let updated = updated.into_inner().updates;
    let updated: Vec<v1::Task> = updated.into_iter().map(|one| one.task.unwrap()).collect();
    let wait = v1::WaitTasksRequest {
        task_ids: vec![1, 2],
        ..v1::WaitTasksRequest::default()
    };
    let waited = client.try_wait(wait).await.unwrap().tasks;
    let listed = client.list(|_| {}).await;

    for tasks in [&made, &updated, &waited, &listed] {
        assert_eq!(ids_of(tasks), [1, 2]);
        let [short, brief] = &tasks[..] else {
            unreachable!()
        };
        assert_eq!(
            (&short.description, &short.prompt),
            (&long(200), &long(200))
        );
        let cut = long(200) + "…";
        assert_eq!((&brief.description, &brief.prompt), (&cut, &cut));
    }
    for tasks in [&updated, &waited, &listed] {
        let results: Vec<_> = tasks.iter().map(|task| task.result.clone()).collect();
        assert_eq!(results, [long(200), long(200) + "…"]);
    }
    let whole = client.get(2).await;
    assert_eq!(
        (whole.description, whole.prompt),
        (long(201), long(100_000))
    );
    assert_eq!(whole.result, long(201));
}
