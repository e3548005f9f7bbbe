//! The shared list: making, finding, changing and deleting tasks (L, C).

use ganger_proto::v1::{
    self, CreateTaskRequest, RetryPolicy, TaskPhase, TaskPriority,
    TaskStatus::{self, Cancelled, Completed, Failed, InProgress, Pending},
};
use ganger_tests::{Client, Cluster, ids_of, new_task, object_of, programs, refused, struct_of};
use pbjson_types::{Duration, Timestamp};
use serde_json::json;
use tonic::Code;

/// TestSharedTodoItem.test_create_default, _with_all_fields, test_auto_generated_id,
/// TestSharedTodoList.test_add_item, _with_blocked_by, _with_created_by (L1, L2);
/// test_create_task_assigns_id_1_first, _auto_increments (C1).
#[tokio::test]
async fn new_task_has_the_next_number_and_what_was_said_of_it_and_defaults() {
    let cluster = Cluster::with(programs!(), &["--expect-type", "coder"]).await;
    let lead = cluster.client().team_of("red", &["alice"]).await;
    let alice = lead.clone().member("alice");

    let plain = CreateTaskRequest {
        subject: "plain".into(),
        ..CreateTaskRequest::default()
    };
    let plain = alice.create(plain).await;
    let whole = CreateTaskRequest {
        subject: "whole".into(),
        description: "all of it".into(),
        active_form: "Doing it".into(),
        owner: "alice".into(),
        blocked_by: vec![1],
        metadata: Some(struct_of(json!({"k": [1, {"deep": null}]}))),
        priority: TaskPriority::High.into(),
        labels: vec!["b".into(), "a".into()],
        agent_type: "coder".into(),
        prompt: "do it".into(),
        parent_task_id: 1,
        kind: v1::TaskKind::Verification.into(),
        deadline: Some(Timestamp {
            seconds: 4_102_444_800,
            nanos: 7_000_000,
        }),
        timeout: Some(Duration {
            seconds: 90,
            nanos: 0,
        }),
        crash_limit: Some(0),
        blocker_failed_policy: v1::BlockerFailedPolicy::Proceed.into(),
        output_globs: vec!["out/**".into()],
        client_task_id: "mine".into(),
        share_todos: true,
        retry: Some(RetryPolicy {
            max_attempts: 4,
            initial_backoff: None,
            max_backoff: None,
        }),
        failure_policy: v1::FailurePolicy::Release.into(),
        ..CreateTaskRequest::default()
    };
    let told = lead.create(whole.clone()).await;

    assert_eq!((plain.id, told.id), (1, 2));
    assert_eq!(
        plain,
        v1::Task {
            id: 1,
            team: "red".into(),
            subject: "plain".into(),
            status: Pending.into(),
            priority: TaskPriority::Normal.into(),
            kind: v1::TaskKind::Work.into(),
            crash_limit: 3,
            blocker_failed_policy: v1::BlockerFailedPolicy::Wait.into(),
            failure_policy: v1::FailurePolicy::Fail.into(),
            metadata: plain.metadata.clone(),
            usage: plain.usage,
            created_at: plain.created_at,
            created_by: "alice".into(),
            revision: plain.revision,
            line: "#1 [pending] plain".into(),
            ..v1::Task::default()
        }
    );
    assert!(plain.created_at.is_some());
    assert_eq!(
        told,
        v1::Task {
            id: 2,
            team: "red".into(),
            subject: whole.subject,
            description: whole.description,
            active_form: whole.active_form,
            owner: whole.owner,
            blocked_by: vec![1],
            open_blockers: vec![1],
            metadata: whole.metadata,
            priority: whole.priority,
            labels: whole.labels,
            agent_type: whole.agent_type,
            prompt: whole.prompt,
            parent_task_id: 1,
            kind: whole.kind,
            deadline: whole.deadline,
            timeout: whole.timeout,
            crash_limit: 0,
            blocker_failed_policy: whole.blocker_failed_policy,
            output_globs: whole.output_globs,
            client_task_id: whole.client_task_id,
            share_todos: true,
            // What was not said of the waits is told as it is.
            retry: Some(RetryPolicy {
                max_attempts: 4,
                initial_backoff: Some(Duration {
                    seconds: 1,
                    nanos: 0
                }),
                max_backoff: Some(Duration {
                    seconds: 300,
                    nanos: 0
                }),
            }),
            failure_policy: whole.failure_policy,
            status: Pending.into(),
            usage: told.usage,
            created_at: told.created_at,
            created_by: "team-lead".into(),
            revision: told.revision,
            phase: TaskPhase::Blocked.into(),
            phase_reason: told.phase_reason.clone(),
            phase_since: told.created_at,
            line: "#2 [pending] whole (alice) [blocked by #1]".into(),
            ..v1::Task::default()
        }
    );
    assert_eq!(lead.get(2).await, told);
    assert_eq!(lead.get(1).await.blocks, [2]);
}

/// test_create_task_auto_increments (C1), and more: a number is gone with its task, for ever.
#[tokio::test]
async fn number_of_a_deleted_task_is_never_used_again_not_even_after_a_crash() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.plan(["1", "2", "3"].map(new_task).into()).await;
    // The last one: its number is the one that a count would give again.
    client.try_delete(3).await.unwrap();
    client.try_delete(1).await.unwrap();

    let before = client.plan(vec![new_task("4")]).await;
    client.try_delete(4).await.unwrap();
    cluster.crash_coordinator().await;
    let client = cluster.client();
    let after = client.plan(vec![new_task("5")]).await;

    assert_eq!((before, after), (vec![4], vec![5]));
    assert_eq!(ids_of(&client.list(|_| {}).await), [2, 5]);
    let info = refused(client.try_get(4).await, Code::NotFound, "TASK_NOT_FOUND");
    assert_eq!(info.metadata["was_deleted"], "true");
    let info = refused(client.try_get(6).await, Code::NotFound, "TASK_NOT_FOUND");
    assert_eq!(info.metadata["was_deleted"], "false");
}

/// One task in each status, by its lead: #1 is pending, #2 in progress, and so on.
async fn one_in_each_status(client: &Client) {
    let subjects = ["pending", "in progress", "completed", "failed", "cancelled"];
    client.plan(subjects.map(new_task).into()).await;
    client.claim(2).await.unwrap();
    for (id, status) in [(3, Completed), (4, Failed), (5, Cancelled)] {
        client.set(id, status).await;
    }
}

/// TestSharedTodoList.test_get_all, test_get_by_id, test_get_not_found, test_count (L12);
/// test_list_tasks_returns_sorted, _empty, _rejects_nonexistent_team (C11); test_get_available_*,
/// _skips_non_pending (L10).
#[tokio::test]
async fn list_has_every_status_in_the_order_of_numbers_and_filters_by_each() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    assert_eq!(client.list(|_| {}).await, []);
    one_in_each_status(&client).await;
    // By number, not by letters: 10 comes after 9.
    let more = (6..=12).map(|n| new_task(&n.to_string()));
    client.plan(more.collect()).await;

    let all = client.list(|_| {}).await;
    assert_eq!(ids_of(&all), (1..=12).collect::<Vec<_>>());
    // Whatever the page, the whole is the same.
    for size in [1, 5, 11, 12, 13] {
        assert_eq!(
            client.list(|list| list.page_size = size).await,
            all,
            "{size}"
        );
    }
    for (at, status) in [InProgress, Completed, Failed, Cancelled]
        .iter()
        .enumerate()
    {
        let found = client.list(|list| list.status = (*status).into()).await;
        assert_eq!(ids_of(&found), [at as u64 + 2]);
        assert_eq!(client.get(found[0].id).await.status(), *status);
    }
    let pending: Vec<u64> = [1].into_iter().chain(6..=12).collect();
    let found = client.list(|list| list.status = Pending.into()).await;
    assert_eq!(ids_of(&found), pending);
    let ready = client.list(|list| list.ready = Some(true)).await;
    assert_eq!(ids_of(&ready), pending);

    refused(client.try_get(13).await, Code::NotFound, "TASK_NOT_FOUND");
    let nobodys = client.clone().in_team("nobodys");
    let list = nobodys.try_list(v1::ListTasksRequest::default()).await;
    refused(list, Code::NotFound, "TEAM_NOT_FOUND");
}

/// TestSharedTodoList.test_remove, test_remove_not_found (L13); test_update_task_delete_removes_file,
/// test_delete_task_cleans_up_stale_refs (C9), _allows_start_when_blocker_deleted (C7).
#[tokio::test]
async fn deleted_task_is_gone_from_every_list_and_edge_and_frees_who_waited() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let waits = |blockers: &[i32]| v1::NewTask {
        blocked_by_items: blockers.into(),
        ..new_task("waits")
    };
    client
        .plan(vec![
            new_task("1"),
            waits(&[0]),
            waits(&[0, 1]),
            waits(&[0]),
        ])
        .await;

    let freed = client.try_delete(1).await.unwrap();

    assert_eq!(freed, [2, 4]);
    refused(client.try_delete(1).await, Code::NotFound, "TASK_NOT_FOUND");
    refused(client.claim(1).await, Code::NotFound, "TASK_NOT_FOUND");
    let all = client.list(|_| {}).await;
    let edges: Vec<(u64, &[u64], &[u64])> = all
        .iter()
        .map(|task| (task.id, &task.blocked_by[..], &task.blocks[..]))
        .collect();
    assert_eq!(
        edges,
        [(2, &[][..], &[3][..]), (3, &[2], &[]), (4, &[], &[])]
    );
    client.claim(2).await.unwrap();
    // The one that goes takes its own edges along, too.
    client.try_delete(3).await.unwrap();
    assert_eq!(client.get(2).await.blocks, [0_u64; 0]);
}

/// TestSharedTodoList.test_complete, test_complete_not_found (L9). Upstream an unknown id does
/// nothing, and everybody may complete everything: here the first is refused, and who isn't the
/// owner, or the lead, too. That the lead completes what nobody began is allowed, and recorded.
#[tokio::test]
async fn task_is_completed_by_its_owner_or_the_lead_and_unknown_ones_are_refused() {
    let cluster = Cluster::start(programs!()).await;
    let lead = cluster.client().team_of("red", &["alice", "bob"]).await;
    let (alice, bob) = (lead.clone().member("alice"), lead.clone().member("bob"));
    lead.plan(["alice's", "nobody's", "free"].map(new_task).into())
        .await;
    alice.claim(1).await.unwrap();

    refused(
        lead.try_set(9, Completed).await,
        Code::NotFound,
        "TASK_NOT_FOUND",
    );
    for id in [1, 2] {
        let answer = bob.try_set(id, Completed).await;
        let info = refused(answer, Code::PermissionDenied, "NOT_OWNER");
        let owner = if id == 1 { "alice" } else { "" };
        assert_eq!(
            (&info.metadata["owner"][..], &info.metadata["member"][..]),
            (owner, "bob")
        );
    }
    let done = alice
        .update(1, |update| {
            update.status = Completed.into();
            update.result = Some("it is done".into());
        })
        .await;
    let unbegun = lead.set(2, Completed).await;

    let change = Some(v1::StatusChange {
        from: InProgress.into(),
        to: Completed.into(),
    });
    assert_eq!(done.status_change, change);
    let task = done.task.unwrap();
    assert_eq!((task.status(), &task.result[..]), (Completed, "it is done"));
    assert_eq!(
        (&task.finished_by[..], &task.started_by[..]),
        ("alice", "alice")
    );
    let task = unbegun.task.unwrap();
    assert_eq!(
        (&task.finished_by[..], task.attempt_count),
        ("team-lead", 0)
    );
    let history = lead.explain(2).await.history;
    assert_eq!(
        (&history[0].actor[..], history[0].from_status()),
        ("team-lead", Pending)
    );
    // An empty result is one: upstream such a task was never completed.
    bob.claim(3).await.unwrap();
    let empty = bob.update(3, |update| {
        update.status = Completed.into();
        update.result = Some(String::new());
    });
    assert_eq!(empty.await.task.unwrap().status(), Completed);
}

/// test_update_task_metadata_merge (C3).
#[tokio::test]
async fn metadata_is_merged_by_key_and_null_deletes() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client
        .create(CreateTaskRequest {
            subject: "t".into(),
            metadata: Some(struct_of(json!({"keep": 1, "change": "a", "drop": true}))),
            ..CreateTaskRequest::default()
        })
        .await;

    let change =
        struct_of(json!({"change": {"b": [null]}, "drop": null, "new": 0.5, "never": null}));
    let updated = client
        .update(1, |update| update.metadata = Some(change))
        .await;

    assert_eq!(updated.updated_fields, ["metadata"]);
    assert_eq!(
        object_of(client.get(1).await.metadata.unwrap()),
        json!({"keep": 1, "change": {"b": [null]}, "new": 0.5})
    );
    let again = client.update(1, |update| {
        update.metadata = Some(struct_of(json!({"new": 0.5, "never": null})));
    });
    assert_eq!(again.await.updated_fields, [] as [&str; 0]);
}

/// _rejects_backward_status_transition, _completed_to_in_progress, _allows_forward,
/// _allows_pending_to_completed (C6). A late end is refused as stale, so that a caller can tell it
/// from a wrong one.
#[tokio::test]
async fn status_only_moves_forward_and_reopening_is_a_call_of_its_own() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    one_in_each_status(&client).await;
    let answer = async |id: u64, to: TaskStatus| client.try_set(id, to).await;

    let info = refused(
        answer(2, Pending).await,
        Code::FailedPrecondition,
        "STATUS_BACKWARD",
    );
    assert_eq!(
        (&info.metadata["from"][..], &info.metadata["to"][..]),
        ("in_progress", "pending")
    );
    for (id, is) in [(3, "completed"), (4, "failed"), (5, "cancelled")] {
        for to in [Pending, InProgress, Completed, Failed, Cancelled] {
            let info = refused(answer(id, to).await, Code::Aborted, "TASK_OVER");
            assert_eq!(info.metadata["status"], is, "{id} to {to:?}");
        }
    }
    // To where it is already is no change.
    assert_eq!(answer(1, Pending).await.unwrap().status_change, None);
    assert_eq!(answer(2, InProgress).await.unwrap().status_change, None);

    let reopen = |task_id, reason: &str| v1::ReopenTaskRequest {
        task_id,
        reason: reason.into(),
        ..v1::ReopenTaskRequest::default()
    };
    let blank = client.task().reopen_task(reopen(3, " ")).await;
    refused(blank, Code::InvalidArgument, "FIELD_BLANK");
    let open = client.task().reopen_task(reopen(2, "why")).await;
    refused(open, Code::FailedPrecondition, "TASK_OPEN");
    for id in [3, 4, 5] {
        let opened = client.task().reopen_task(reopen(id, "it was wrong")).await;
        let task = opened.unwrap().into_inner().task.unwrap();
        assert_eq!(
            (task.status(), task.finished_at, &task.error[..]),
            (Pending, None, "")
        );
        // The next attempt has the next number: what was counted before stays counted.
        assert_eq!(
            client.claim(id).await.unwrap().attempt_count,
            task.attempt_count + 1
        );
    }
}
