//! What waits for what (D, and C5 to C7), and what is told of it.

use ganger_proto::v1::{
    self, EventType,
    TaskStatus::{Cancelled, Completed, InProgress, Pending},
};
use ganger_tests::{Client, Cluster, ids_of, new_task, programs, refused};
use tonic::Code;

/// A chain: each waits for the one before.
async fn chain(client: &Client, len: u64) {
    for at in 1..=len {
        let before = at - 1;
        let waits = v1::CreateTaskRequest {
            subject: at.to_string(),
            blocked_by: (before > 0).then_some(before).into_iter().collect(),
            ..v1::CreateTaskRequest::default()
        };
        client.create(waits).await;
    }
}

/// TestSetDependency.test_set_dependency_cycle_detection, _transitive_cycle_detection (D1);
/// test_rejects_simple_circular, _transitive_circular, _circular_via_add_blocks,
/// test_allows_non_cyclic_diamond (C5). Edges to itself, to nothing and given twice are refused
/// among all bad input.
#[tokio::test]
async fn circle_is_refused_with_its_path_whichever_way_it_is_said_and_a_diamond_is_none() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    chain(&client, 4).await;
    let before = client.list(|_| {}).await;

    for (id, blocked_by, blocks, path) in [
        (1, vec![4], vec![], "1,4,3,2,1"),
        (4, vec![], vec![1], "1,4,3,2,1"),
        (2, vec![3], vec![], "2,3,2"),
        (3, vec![], vec![2], "2,3,2"),
    ] {
        let answer = client.try_update(id, |update| {
            update.add_blocked_by = blocked_by;
            update.add_blocks = blocks;
        });
        let info = refused(answer.await, Code::InvalidArgument, "EDGE_CYCLE");
        assert_eq!(info.metadata["path"], path);
    }
    // One that only comes about by both ends of one change.
    client.plan(vec![new_task("5")]).await;
    let both = client.try_update(5, |update| {
        update.add_blocked_by = vec![4];
        update.add_blocks = vec![1];
    });
    refused(both.await, Code::InvalidArgument, "EDGE_CYCLE");
    assert_eq!(client.list(|_| {}).await[..4], before);
    assert_eq!(client.get(5).await.blocked_by, [0_u64; 0]);

    let diamond = client.update(5, |update| {
        update.add_blocked_by = vec![1];
        update.add_blocks = vec![4];
    });
    assert_eq!(diamond.await.updated_fields, ["blocks", "blocked_by"]);
    let (first, last) = (client.get(1).await, client.get(4).await);
    assert_eq!((first.blocks, last.blocked_by), (vec![2, 5], vec![3, 5]));
}

/// TestSetDependency._auto_blocks, _not_blocked_if_completed (D3), TestUpdateTodoStatus
/// test_cannot_start_blocked_task, test_can_start_task_with_completed_deps (D4);
/// _rejects_start_when_blocked, _allows_start_when_blockers_completed (C7). Blocked is derived, and
/// no status: upstream a blocked item stayed so for ever.
#[tokio::test]
async fn open_blocker_holds_back_and_a_completed_one_does_not() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.plan(["1", "2", "3"].map(new_task).into()).await;
    client.set(1, Completed).await;

    let done = client
        .update(3, |update| update.add_blocked_by = vec![1])
        .await;
    let done = done.task.unwrap();
    assert_eq!(
        (&done.blocked_by[..], &done.open_blockers[..]),
        (&[1][..], &[][..])
    );
    assert_eq!(done.phase(), v1::TaskPhase::Unspecified);
    let open = client
        .update(3, |update| update.add_blocked_by = vec![2])
        .await;
    let open = open.task.unwrap();
    assert_eq!(
        (&open.blocked_by[..], &open.open_blockers[..]),
        (&[1, 2][..], &[2][..])
    );
    assert_eq!(
        (open.status(), open.phase()),
        (Pending, v1::TaskPhase::Blocked)
    );

    for to in [InProgress, Completed] {
        let info = refused(
            client.try_set(3, to).await,
            Code::FailedPrecondition,
            "TASK_BLOCKED",
        );
        assert_eq!(info.metadata["blockers"], "2");
    }
    let because = client.explain(3).await.because;
    assert_eq!(
        (&because[0].reason[..], &because[0].task_ids[..]),
        ("BLOCKED", &[2][..])
    );
    let freed = client.set(2, Completed).await.unblocked;
    assert_eq!(freed, [3]);
    let began = client.set(3, InProgress).await.task.unwrap();
    assert_eq!(
        (began.status(), &began.owner[..]),
        (InProgress, "team-lead")
    );
}

/// A cancelled blocker is no completed one: what becomes of who waits is that task's own policy.
/// Upstream what is missing or over counts as done (PD), or is refused (CC).
#[tokio::test]
async fn blocker_that_did_not_complete_holds_back_cancels_or_lets_go_as_its_dependant_says() {
    use v1::BlockerFailedPolicy::{Cancel, Proceed, Wait};
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let waits = [Wait, Cancel, Proceed].map(|policy| v1::NewTask {
        blocked_by_items: vec![0],
        blocker_failed_policy: policy.into(),
        ..new_task(policy.as_str_name())
    });
    let last = v1::NewTask {
        blocked_by_items: vec![2],
        blocker_failed_policy: Cancel.into(),
        ..new_task("waits for the one that is cancelled")
    };
    client
        .plan([vec![new_task("blocker")], waits.into(), vec![last]].concat())
        .await;

    let freed = client.set(1, Cancelled).await.unblocked;

    assert_eq!(freed, [4]);
    let all = client.list(|_| {}).await;
    let statuses: Vec<_> = all.iter().map(v1::Task::status).collect();
    assert_eq!(
        statuses,
        [Cancelled, Pending, Cancelled, Pending, Cancelled]
    );
    assert_eq!(
        (&all[1].open_blockers[..], &all[3].open_blockers[..]),
        (&[1][..], &[][..])
    );
    assert_eq!(all[4].stop_reason(), v1::StopReason::BlockerFailed);
    let why = &client.explain(5).await.history[0];
    assert_eq!((&why.actor[..], why.cause_task_id), ("coordinator", 3));
}

/// TestUpdateTodoStatusWithSubtasks.test_cannot_start_blocked_dependency (D6). Upstream a batch is
/// judged on the state before it, so that completing A and starting B fails: here each change sees
/// what the earlier ones did, and the order counts.
#[tokio::test]
async fn batch_is_applied_in_order_and_all_or_nothing() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    chain(&client, 3).await;
    let change = |task_id, status: v1::TaskStatus| v1::UpdateTaskRequest {
        task_id,
        status: status.into(),
        ..v1::UpdateTaskRequest::default()
    };
    let batch = async |updates| {
        let request = v1::BatchUpdateTasksRequest {
            updates,
            ..v1::BatchUpdateTasksRequest::default()
        };
        let answer = client.task().batch_update_tasks(request).await;
        answer.map(|answer| answer.into_inner().updates)
    };
    let before = client.list(|_| {}).await;

    let wrong_order = batch(vec![change(2, InProgress), change(1, Completed)]).await;
    refused(wrong_order, Code::FailedPrecondition, "TASK_BLOCKED");
    let last_fails = vec![
        change(1, Completed),
        change(2, Completed),
        change(9, Completed),
    ];
    refused(batch(last_fails).await, Code::NotFound, "TASK_NOT_FOUND");
    assert_eq!(client.list(|_| {}).await, before);

    let done = batch(vec![change(1, Completed), change(2, InProgress)])
        .await
        .unwrap();

    assert_eq!(done[0].unblocked, [2]);
    let statuses: Vec<_> = done
        .iter()
        .map(|one| one.task.as_ref().unwrap().status())
        .collect();
    assert_eq!(statuses, [Completed, InProgress]);
    assert_eq!(client.get(2).await.status(), InProgress);
}

/// TestGetAvailableTasks (D7), TestSharedTodoList.test_get_available_empty, _filters_claimed,
/// _filters_blocked, _skips_non_pending (L10).
#[tokio::test]
async fn ready_are_those_that_are_pending_and_held_back_by_nothing() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let ready = async || ids_of(&client.list(|list| list.ready = Some(true)).await);
    let blocked = async || ids_of(&client.list(|list| list.blocked = Some(true)).await);
    assert_eq!(ready().await, [0_u64; 0]);
    chain(&client, 2).await;
    client.plan(["3", "4", "5", "6"].map(new_task).into()).await;
    client.claim(3).await.unwrap();
    client.set(4, Completed).await;
    client.set(5, Cancelled).await;
    let pause = v1::PauseTaskRequest {
        task_id: 6,
        ..v1::PauseTaskRequest::default()
    };
    client.delegation().pause_task(pause).await.unwrap();

    assert_eq!((ready().await, blocked().await), (vec![1], vec![2]));
    let rest = client.list(|list| list.ready = Some(false)).await;
    assert_eq!(ids_of(&rest), [2, 3, 4, 5, 6]);
    client.set(1, Completed).await;
    assert_eq!((ready().await, blocked().await), (vec![2], vec![]));
}

/// TestAddSubtask, TestReadTodosHierarchical (D7).
#[tokio::test]
async fn children_stand_below_their_parent_and_a_parent_must_be_there() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let child = |parent_task_id, subject: &str| v1::CreateTaskRequest {
        parent_task_id,
        subject: subject.into(),
        ..v1::CreateTaskRequest::default()
    };
    for (parent, subject) in [
        (0, "a"),
        (0, "b"),
        (1, "a.1"),
        (3, "a.1.1"),
        (1, "a.2"),
        (2, "b.1"),
    ] {
        client.create(child(parent, subject)).await;
    }

    let tree = v1::TaskOrder::Tree.into();
    for page_size in [50, 1, 2, 4] {
        let tasks = client
            .list(|list| (list.order, list.page_size) = (tree, page_size))
            .await;
        let told: Vec<_> = tasks.iter().map(|t| (&t.subject[..], t.depth)).collect();
        let rows = [
            ("a", 0),
            ("a.1", 1),
            ("a.1.1", 2),
            ("a.2", 1),
            ("b", 0),
            ("b.1", 1),
        ];
        assert_eq!(told, rows);
    }
    let below = client
        .list(|list| (list.order, list.parent_task_id) = (tree, 1))
        .await;
    assert_eq!(ids_of(&below), [3, 4, 5]);
    let children = client.list(|list| list.parent_task_id = 1).await;
    assert_eq!(ids_of(&children), [3, 5]);

    let lost = client.task().create_task(child(9, "c")).await;
    let info = refused(lost, Code::NotFound, "TASK_NOT_FOUND");
    assert_eq!(info.metadata["field"], "parent_task_id");
    // A parent stays as long as it has children.
    let info = refused(
        client.try_delete(1).await,
        Code::FailedPrecondition,
        "TASK_HAS_CHILDREN",
    );
    assert_eq!(info.metadata["children"], "3,5");
    for id in [4, 3, 5, 1] {
        client.try_delete(id).await.unwrap();
    }
}

/// test_events TestStorageEventIntegration (D8): created, updated, status_changed, completed,
/// deleted; none for unknown ids, and none where nothing changed.
#[tokio::test]
async fn every_change_is_one_event_and_no_change_is_none() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut watch = client.watch().await;
    chain(&client, 2).await;

    client
        .update(1, |update| update.subject = Some("one".into()))
        .await;
    client
        .update(1, |update| update.subject = Some("one".into()))
        .await;
    client.set(1, Pending).await;
    client.set(1, InProgress).await;
    client.set(1, InProgress).await;
    client.set(1, Completed).await;
    client.try_delete(1).await.unwrap();
    client.try_set(9, Completed).await.unwrap_err();
    client.try_delete(9).await.unwrap_err();
    client.plan(vec![new_task("the end")]).await;

    watch.until(3, EventType::TaskCreated).await;
    let told: Vec<(u64, EventType)> = watch
        .events
        .iter()
        .filter(|event| event.task_id != 0)
        .map(|event| (event.task_id, event.r#type()))
        .collect();
    assert_eq!(
        told,
        [
            (1, EventType::TaskCreated),
            (2, EventType::TaskCreated),
            (1, EventType::TaskUpdated),
            (1, EventType::TaskClaimed),
            (1, EventType::TaskCompleted),
            (2, EventType::TaskUnblocked),
            (1, EventType::TaskDeleted),
            (2, EventType::TaskUpdated),
            (3, EventType::TaskCreated),
        ]
    );
    let updated = &watch
        .events
        .iter()
        .find(|e| e.r#type() == EventType::TaskUpdated)
        .unwrap();
    assert_eq!(updated.updated_fields, ["subject"]);
}

/// test_ordering_preserved, test_set_todos_replaces_all (D9). A list can't be replaced as a whole
/// here, so that nobody's tasks are lost with it: a batch puts its tasks on the board in order, or
/// none of them.
#[tokio::test]
async fn batch_keeps_its_order_and_puts_all_of_it_on_the_board_or_nothing() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let subjects: Vec<String> = (0..40).map(|n| format!("{}", 97 * n % 40)).collect();
    let tasks = || subjects.iter().map(|subject| new_task(subject));
    let with_a_bad_one = v1::BatchCreateTasksRequest {
        tasks: tasks().chain([new_task(" ")]).collect(),
        ..v1::BatchCreateTasksRequest::default()
    };
    let none = client.task().batch_create_tasks(with_a_bad_one).await;
    refused(none, Code::InvalidArgument, "FIELD_BLANK");
    assert_eq!(client.list(|_| {}).await, []);

    let ids = client.plan(tasks().collect()).await;

    assert_eq!(ids, (1..=40).collect::<Vec<_>>());
    let told = client.list(|list| list.page_size = 7).await;
    let told: Vec<String> = told.into_iter().map(|task| task.subject).collect();
    assert_eq!(told, subjects);
}
