//! What one of many may take of what all share: tasks that an attempt makes, teams.

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, HandWorker, hello, new_task, patiently, programs, refused};
use serde_json::json;
use tonic::Code;

use super::fences::by_hand;

/// A worker whose sub-agents may make two tasks, and hire.
fn bounded(may_create_teams: bool) -> v1::Hello {
    let mut hello = hello("me");
    let offered = &mut hello.agent_types[0];
    (offered.tasks_max, offered.hiring_depth) = (Some(3), 1);
    offered.may_create_teams = may_create_teams;
    hello
}

/// The sub-agent of a new attempt.
async fn sub_agent(client: &Client, worker: &mut HandWorker) -> (Client, v1::Fence) {
    client.start_task(by_hand()).await;
    let assignment = worker.assignment().await;
    let fence = assignment.fence.clone().unwrap();
    worker.started(&fence).await;
    (client.clone().sub_agent(&assignment), fence)
}

#[tokio::test]
async fn an_attempts_tasks_are_counted_over_a_crash_whichever_way_they_are_made() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let hello = bounded(false);
    let mut worker = HandWorker::connect(&client, hello.clone()).await.unwrap();
    let told = client.workers().await[0].agent_types[0].clone();
    assert_eq!((told.tasks_max, told.may_create_teams), (Some(3), false));
    let (agent, fence) = sub_agent(&client, &mut worker).await;

    agent.plan(vec![new_task("one")]).await;
    agent
        .tool("TaskCreate", json!({"subject": "two", "description": ""}))
        .await;
    drop(worker);
    cluster.crash_coordinator().await;
    let held = vec![v1::Held {
        fence: Some(fence),
        started: true,
    }];
    let again = v1::Hello { held, ..hello };
    let _worker = HandWorker::connect(&client, again).await.unwrap();
    let batch = v1::BatchCreateTasksRequest {
        tasks: vec![new_task("three"), new_task("four")],
        ..v1::BatchCreateTasksRequest::default()
    };
    let batch = patiently("BatchCreateTasks", agent.task().batch_create_tasks(batch)).await;
    let info = refused(batch, Code::ResourceExhausted, "ATTEMPT_TASKS_FULL");
    let facts = ["task", "attempt", "agent_type", "made", "count", "max"];
    let facts = facts.map(|fact| &info.metadata[fact][..]);
    assert_eq!(facts, ["1", "1", "by-hand", "2", "2", "3"]);
    let hire = v1::StartTaskRequest {
        description: "three".into(),
        ..by_hand()
    };
    patiently("StartTask", agent.delegation().start_task(hire.clone()))
        .await
        .unwrap();

    let start = patiently("StartTask", agent.delegation().start_task(hire)).await;
    refused(start, Code::ResourceExhausted, "ATTEMPT_TASKS_FULL");
    let run = v1::RunTaskRequest {
        description: "four".into(),
        agent_type: "by-hand".into(),
        prompt: "do it".into(),
        ..v1::RunTaskRequest::default()
    };
    let run = patiently("RunTask", agent.delegation().run_task(run)).await;
    refused(run, Code::ResourceExhausted, "ATTEMPT_TASKS_FULL");
    let task = json!({"description": "four", "prompt": "do it", "subagent_type": "by-hand"});
    agent.no_tool("task", task, "ATTEMPT_TASKS_FULL").await;
    let card = json!({"subject": "four", "description": ""});
    agent
        .no_tool("TaskCreate", card, "ATTEMPT_TASKS_FULL")
        .await;
    assert_eq!(client.list(|_| {}).await.len(), 4);
}

#[tokio::test]
async fn a_sub_agent_makes_a_team_only_if_its_type_says_so() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut worker = HandWorker::connect(&client, bounded(false)).await.unwrap();
    let (agent, fence) = sub_agent(&client, &mut worker).await;

    let create = json!({"team_name": "mine", "description": ""});
    agent
        .no_tool("TeamCreate", create.clone(), "TEAM_CREATION_REFUSED")
        .await;
    let spawn = json!({"team_name": "mine", "members": []});
    agent
        .no_tool("spawn_team", spawn, "TEAM_CREATION_REFUSED")
        .await;
    let made = v1::CreateTeamRequest {
        team_name: "mine".into(),
        ..v1::CreateTeamRequest::default()
    };
    let made = patiently("CreateTeam", agent.team().create_team(made)).await;
    let info = refused(made, Code::PermissionDenied, "TEAM_CREATION_REFUSED");
    assert_eq!(info.metadata["agent_type"], "by-hand");
    worker.completed(&fence, "done").await;
    worker.close().await.unwrap();

    let mut worker = HandWorker::connect(&client, bounded(true)).await.unwrap();
    let (agent, _) = sub_agent(&client, &mut worker).await;
    agent.tool("TeamCreate", create).await;
    assert_eq!(
        client
            .clone()
            .in_team("mine")
            .get_team()
            .await
            .unwrap()
            .name,
        "mine"
    );
}
