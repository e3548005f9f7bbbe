//! Sub-agents that have others run, fan-outs, and what becomes of them (D7, D12).

use ganger_proto::v1::{self, TaskStatus};
use ganger_tests::{Cluster, HandWorker, hello, new_task, patiently, programs, refused};
use tonic::Code;

use super::fences::by_hand;

/// A worker with one slot, whose sub-agents may hire so deep.
fn boss(hiring_depth: i32) -> v1::Hello {
    let mut hello = hello("me");
    hello.agent_types[0].hiring_depth = hiring_depth;
    hello
}

/// What a sub-agent hires, and goes on.
fn start() -> v1::StartTaskRequest {
    v1::StartTaskRequest {
        description: "a part".into(),
        ..by_hand()
    }
}

/// What it hires, and waits for.
fn run() -> v1::RunTaskRequest {
    v1::RunTaskRequest {
        description: "a part".into(),
        agent_type: "by-hand".into(),
        prompt: "do it".into(),
        ..v1::RunTaskRequest::default()
    }
}

#[tokio::test]
async fn a_worker_with_one_slot_runs_who_hires_and_what_it_hires_and_waits_for() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut worker = HandWorker::connect(&client, boss(1)).await.unwrap();
    client.start_task(by_hand()).await;
    let first = worker.assignment().await;
    let hirer = first.fence.clone().unwrap();
    worker.started(&hirer).await;
    let agent = client.clone().sub_agent(&first);

    let waits = tokio::spawn(async move { agent.delegation().run_task(run()).await });
    let second = worker.assignment().await;
    let hired = second.fence.clone().unwrap();
    worker.started(&hired).await;
    let deeper = client.clone().sub_agent(&second);
    let deeper = patiently("StartTask", deeper.delegation().start_task(start())).await;
    let info = refused(deeper, Code::PermissionDenied, "HIRING_REFUSED");
    worker.completed(&hired, "the part").await;
    let answer = patiently("RunTask", waits).await.unwrap().unwrap();
    worker.completed(&hirer, "the whole").await;

    assert_eq!((first.hiring_depth, second.hiring_depth), (1, 0));
    assert_eq!((first.lender, second.lender), (None, Some(hirer)));
    assert_eq!(info.metadata["depth"], "2");
    let part = answer.into_inner().task.unwrap();
    assert_eq!(
        (part.status(), &*part.result),
        (TaskStatus::Completed, "the part")
    );
    assert_eq!((part.parent_task_id, part.hired_by_task_id), (1, 1));
    assert_eq!(client.ended(1).await.status(), TaskStatus::Completed);
}

#[tokio::test]
async fn who_would_wait_for_ever_is_refused_and_the_task_is_cancelled() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut worker = HandWorker::connect(&client, boss(1)).await.unwrap();
    client.start_task(by_hand()).await;
    let first = worker.assignment().await;
    let hirer = first.fence.clone().unwrap();
    worker.started(&hirer).await;
    let agent = client.clone().sub_agent(&first);

    let after_me = v1::RunTaskRequest {
        blocked_by: vec![1],
        ..run()
    };
    let answer = patiently("RunTask", agent.delegation().run_task(after_me)).await;

    let info = refused(answer, Code::FailedPrecondition, "WOULD_DEADLOCK");
    assert_eq!(info.metadata["why"], "#2 waits for #1");
    assert_eq!(client.ended(2).await.status(), TaskStatus::Cancelled);
}

#[tokio::test]
async fn what_an_attempt_hired_ends_with_it() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut worker = HandWorker::connect(&client, boss(1)).await.unwrap();
    client.start_task(by_hand()).await;
    let first = worker.assignment().await;
    let hirer = first.fence.clone().unwrap();
    worker.started(&hirer).await;
    let agent = client.clone().sub_agent(&first);
    let outlives = v1::StartTaskRequest {
        outlive_parent: true,
        ..start()
    };
    for request in [start(), outlives] {
        let started = patiently("StartTask", agent.delegation().start_task(request)).await;
        started.unwrap();
    }

    worker.completed(&hirer, "done").await;

    let hired = client.ended(2).await;
    assert_eq!(hired.status(), TaskStatus::Cancelled);
    assert_eq!(hired.error, "the attempt that hired it is over");
    let next = worker.assignment().await.fence.unwrap();
    assert_eq!(next.task_id, 3);
}

/// Five batches of a thousand children below task 1.
async fn fan_out(client: &ganger_tests::Client) {
    client.plan(vec![new_task("the whole")]).await;
    for _ in 0..5 {
        let part = v1::NewTask {
            parent_task_id: 1,
            ..new_task("a part")
        };
        client.plan(vec![part; 1_000]).await;
    }
}

#[tokio::test]
async fn a_fan_out_of_five_thousand_is_joined() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut worker = HandWorker::connect(&client, hello("me")).await.unwrap();
    fan_out(&client).await;
    let join = client
        .start_task(v1::StartTaskRequest {
            joins_task_id: 1,
            ..by_hand()
        })
        .await;
    assert_eq!(join.open_blockers, (2..=21).collect::<Vec<u64>>());

    for first in (2..=5_001).step_by(1_000) {
        let done = |task_id: u64| v1::UpdateTaskRequest {
            task_id,
            status: TaskStatus::Completed.into(),
            result: Some(format!("of {task_id}")),
            ..v1::UpdateTaskRequest::default()
        };
        let request = v1::BatchUpdateTasksRequest {
            updates: (first..first + 1_000).map(done).collect(),
            ..v1::BatchUpdateTasksRequest::default()
        };
        let mut board = client.task();
        let updated = patiently("BatchUpdateTasks", board.batch_update_tasks(request)).await;
        updated.unwrap();
    }

    let assignment = worker.assignment().await;
    assert_eq!(assignment.fence.unwrap().task_id, join.id);
    assert_eq!(assignment.blockers.len(), 257);
    assert_eq!(assignment.blockers[255].result, "of 257");
    assert!(
        assignment.blockers[256]
            .result
            .starts_with("4744 more tasks")
    );
}

#[tokio::test]
async fn cancelling_a_parent_of_five_thousand_goes_on_over_a_crash() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    fan_out(&client).await;

    client.cancel(1).await;
    cluster.crash_coordinator().await;

    let client = cluster.client();
    let mut watch = client.watch_after(0).await;
    watch.ended(5_001).await;
    for task in [1, 2, 2_500, 5_001] {
        assert_eq!(
            client.ended(task).await.status(),
            TaskStatus::Cancelled,
            "{task}"
        );
    }
    let team = patiently(
        "GetTeam",
        client.team().get_team(v1::GetTeamRequest::default()),
    )
    .await;
    let team = team.unwrap().into_inner().team.unwrap();
    assert_eq!(team.tasks.unwrap().cancelled, 5_001);
}

#[tokio::test]
async fn a_sweep_over_the_wire_goes_on_where_it_stopped() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    fan_out(&client).await;
    let sweep = |after_task_id| v1::CancelTasksRequest {
        filter: Some(v1::TaskFilter {
            parent_task_id: 1,
            after_task_id,
            ..v1::TaskFilter::default()
        }),
        ..v1::CancelTasksRequest::default()
    };

    let mut answers = Vec::new();
    let mut after = 0;
    loop {
        let mut delegation = client.delegation();
        let answer = patiently("CancelTasks", delegation.cancel_tasks(sweep(after))).await;
        let answer = answer.unwrap().into_inner();
        answers.push(answer.changed);
        after = answer.last_task_id;
        if !answer.more {
            break;
        }
    }

    assert_eq!(answers, [1_000; 5]);
    assert_eq!(client.get(1).await.status(), TaskStatus::Pending);
    let paused = v1::PauseTasksRequest::default();
    let paused = patiently("PauseTasks", client.delegation().pause_tasks(paused)).await;
    refused(paused, Code::InvalidArgument, "FIELD_BLANK");
}
