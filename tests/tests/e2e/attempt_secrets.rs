//! A fence is a number that every reader sees: who speaks in an attempt's name shows its secret.

use ganger_proto::{ATTEMPT_SECRET_KEY, v1};
use ganger_tests::{
    Client, Cluster, HandWorker, hello, new_task, patiently, programs, refused, struct_of,
};
use serde_json::json;
use tonic::{Code, Status};

use super::{fences::by_hand, token::every_service};

/// A coordinator, and two workers of whom each was given a task.
async fn two_at_work() -> (Cluster, [(HandWorker, v1::Assignment); 2]) {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut workers = Vec::new();
    for name in ["one", "other"] {
        let mut worker = HandWorker::connect(&client, hello(name)).await.unwrap();
        client.start_task(by_hand()).await;
        let assignment = worker.assignment().await;
        worker.started(assignment.fence.as_ref().unwrap()).await;
        workers.push((worker, assignment));
    }
    (cluster, workers.try_into().ok().unwrap())
}

async fn calls(client: &Client) -> Vec<(&'static str, Result<(), Status>)> {
    let mut calls = every_service(client).await;
    let tool = v1::CallToolRequest {
        name: "TaskCreate".into(),
        arguments: Some(struct_of(json!({"subject": "forged", "description": ""}))),
        ..v1::CallToolRequest::default()
    };
    let task = v1::CreateTaskRequest {
        subject: "forged".into(),
        ..v1::CreateTaskRequest::default()
    };
    let watch = v1::WatchTeamRequest::default();
    calls.extend([
        ("CallTool", client.tools().call_tool(tool).await.map(drop)),
        (
            "CreateTask",
            client.task().create_task(task).await.map(drop),
        ),
        ("WatchTeam", client.team().watch_team(watch).await.map(drop)),
    ]);
    calls
}

async fn upload(client: &Client, fence: Option<v1::Fence>) -> Result<(), Status> {
    let header = v1::UploadHeader {
        fence,
        ..v1::UploadHeader::default()
    };
    let part = Some(v1::upload_artifact_request::Part::Header(header));
    let upload = tokio_stream::once(v1::UploadArtifactRequest { part });
    let mut artifacts = client.artifact();
    let upload = artifacts.upload_artifact(upload);
    patiently("UploadArtifact", upload).await.map(drop)
}

#[tokio::test]
async fn a_fence_without_its_secret_speaks_for_nobody_whatever_is_called() {
    let (cluster, [(_one, held), (_other, others)]) = two_at_work().await;
    let client = cluster.client();
    let before = client.list(|_| {}).await;
    let fence = held.fence.clone().unwrap();
    let named = v1::GetWorkerRequest { name: "one".into() };
    let told = patiently("GetWorker", client.fleet().get_worker(named)).await;
    let told = told.unwrap().into_inner().worker.unwrap();
    assert_eq!(told.held[0].fence.as_ref(), Some(&fence));
    assert_eq!((held.secret.len(), others.secret.len()), (64, 64));
    assert_ne!(held.secret, others.secret);

    let missing = client.clone().claiming(&fence);
    for (call, answer) in calls(&missing).await {
        println!("{call} without a secret");
        let info = refused(answer, Code::Unauthenticated, "ATTEMPT_SECRET_MISSING");
        assert_eq!(
            (&*info.metadata["task"], &*info.metadata["attempt"]),
            ("1", "1")
        );
    }
    for wrong in [&others.secret, &held.secret[1..], "", &"0".repeat(64)] {
        let wrong = missing.clone().saying(ATTEMPT_SECRET_KEY, wrong);
        for (call, answer) in calls(&wrong).await {
            println!("{call} with a wrong secret");
            let status = answer.clone().unwrap_err();
            refused(answer, Code::PermissionDenied, "ATTEMPT_SECRET_WRONG");
            let told = format!("{status:?}");
            assert!(!told.contains(&held.secret) && !told.contains(&others.secret));
        }
    }
    assert_eq!(client.list(|_| {}).await, before);

    // With its secret it is heard, and the event is its own.
    let sub_agent = client.clone().sub_agent(&held);
    let made = sub_agent.plan(vec![new_task("its own")]).await[0];
    assert_eq!(client.get(made).await.created_by, "task:1");
}

#[tokio::test]
async fn only_the_holder_of_an_attempt_uploads_for_it_be_the_disk_low_or_not() {
    let (mut cluster, [(_one, held), (_other, others)]) = two_at_work().await;
    for more in [&[][..], &["--disk-floor-bytes", "1125899906842624"]] {
        cluster.coordinator.kill().await;
        cluster.restart_coordinator_with(more).await;
        let client = cluster.client();
        let (holder, thief) = (
            client.clone().sub_agent(&held),
            client.clone().sub_agent(&others),
        );

        let stolen = upload(&thief, held.fence.clone()).await;
        refused(stolen, Code::PermissionDenied, "ATTEMPT_SECRET_WRONG");
        let claimed = upload(&client, held.fence.clone()).await;
        refused(claimed, Code::Unauthenticated, "ATTEMPT_SECRET_MISSING");
        // Whether there is room for its own is told by the disk alone.
        let own = upload(&holder, held.fence.clone()).await;
        let is_room = own.is_ok() || own.as_ref().is_err_and(is_disk_low);
        assert!(is_room, "{own:?}");
    }
}

fn is_disk_low(status: &Status) -> bool {
    ganger_tests::error_info(status).reason == "DISK_LOW"
}

#[tokio::test]
async fn a_secret_outlives_a_crash_and_ends_with_its_attempt() {
    let (mut cluster, [(one, held), _]) = two_at_work().await;
    let fence = held.fence.clone().unwrap();
    let instance_id = cluster.client().workers().await[0].instance_id.clone();
    drop(one);
    cluster.crash_coordinator().await;
    let client = cluster.client();
    let sub_agent = client.clone().sub_agent(&held);

    // At once, before its worker is back.
    assert_eq!(sub_agent.try_get(1).await.unwrap().id, 1);
    let again = v1::Hello {
        instance_id,
        held: vec![v1::Held {
            fence: Some(fence.clone()),
            started: true,
        }],
        ..hello("one")
    };
    let mut one = HandWorker::connect(&client, again).await.unwrap();
    let verdict = &one.welcome.verdicts[0];
    assert!(verdict.keep && verdict.secret == held.secret, "{verdict:?}");

    assert!(one.completed(&fence, "done").await.accepted);
    for (call, answer) in calls(&sub_agent).await {
        println!("{call} after the end");
        refused(answer, Code::Aborted, "ATTEMPT_STALE");
    }
    let stale = v1::Hello {
        held: vec![v1::Held {
            fence: Some(fence),
            started: true,
        }],
        ..hello("third")
    };
    let third = HandWorker::connect(&client, stale).await.unwrap();
    let verdict = &third.welcome.verdicts[0];
    assert!(!verdict.keep && verdict.secret.is_empty(), "{verdict:?}");
}

#[tokio::test]
async fn no_secret_is_in_a_log_a_list_or_a_backup() {
    let (cluster, [(mut one, held), (_other, others)]) = two_at_work().await;
    let client = cluster.client().sub_agent(&held);
    client.plan(vec![new_task("its own")]).await;
    let workers = cluster.client().workers().await;
    let list = client.list(|_| {}).await;
    let mut backup = Vec::new();
    let mut fleet = cluster.client().fleet();
    let made = fleet.back_up_board(v1::BackUpBoardRequest {}).await;
    let mut pieces = made.unwrap().into_inner();
    while let Some(piece) = patiently("a piece", pieces.message()).await.unwrap() {
        backup.extend_from_slice(&piece.chunk);
    }
    assert!(
        one.completed(held.fence.as_ref().unwrap(), "done")
            .await
            .accepted
    );

    let shown = format!("{workers:?} {list:?} {}", cluster.coordinator.log());
    for secret in [&held.secret, &others.secret] {
        assert!(!shown.contains(secret));
        assert!(!String::from_utf8_lossy(&backup).contains(secret));
    }
    assert!(shown.contains("worker connected"), "{shown}");
}
