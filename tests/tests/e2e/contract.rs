//! The contract as somebody finds it who has nothing but a coordinator and grpcurl.

use std::collections::{BTreeMap, BTreeSet};

use ganger_proto::v1 as wire;
use ganger_tests::{Cluster, HandWorker, interactive, programs};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::Code;

use crate::{
    fences::by_hand,
    grpcurl::{self, CommandLine, Grpcurl},
};

/// The calls, so that each finds what it speaks of. Some come again to make room for others.
const ORDER: &[&str] = &[
    "TeamService/CreateTeam",
    "TeamService/GetTeam",
    "TeamService/ListTeams",
    "TeamService/UpdateTeam",
    "TeamService/AddMember",
    "TeamService/ListMembers",
    "MailboxService/SendMessage",
    "MailboxService/ReceiveMessages",
    "MailboxService/WatchMailbox",
    "MailboxService/AckMessages",
    "TeamService/RemoveMember",
    "TeamService/AddMember",
    "TaskService/CreateTask",
    "TaskService/BatchCreateTasks",
    "TaskService/GetTask",
    "TaskService/ListTasks",
    "TaskService/UpdateTask",
    "DelegationService/PauseTask",
    "DelegationService/ResumeTask",
    "DelegationService/PauseTasks",
    "DelegationService/ResumeTasks",
    "DelegationService/CancelTasks",
    "TaskService/ClaimTask",
    "TaskService/RenewClaim",
    "TaskService/ReleaseTask",
    "TaskService/ClaimNextTask",
    "TaskService/BatchUpdateTasks",
    "DelegationService/WaitTasks",
    "TaskService/ReopenTask",
    "TaskService/ExplainTask",
    "DelegationService/RunTask",
    "DelegationService/StreamTask",
    "DelegationService/StartTask",
    "DelegationService/CancelTask",
    "DelegationService/WatchTranscript",
    "DelegationService/ListAgentTypes",
    "TaskService/DeleteTask",
    "ArtifactService/UploadArtifact",
    "ArtifactService/DownloadArtifact",
    "ArtifactService/GetArtifact",
    "FleetService/ListWorkers",
    "FleetService/GetWorker",
    "FleetService/GetStatus",
    "FleetService/BackUpBoard",
    "ToolService/ListTools",
    "ToolService/CallTool",
    "TeamService/WatchTeam",
    "TeamService/HandOverLead",
    "TeamService/DissolveTeam",
    "WorkerService/Connect",
    "FleetService/DrainWorker",
];

/// Calls that want a sub-agent at work: their lines run in a test of their own.
const ELSEWHERE: &[&str] = &[
    "DelegationService/AnswerQuestion",
    "DelegationService/SteerTask",
];

async fn every_line_runs(grpcurl: &Grpcurl) {
    let calls = grpcurl.calls();
    let mut lines = BTreeMap::new();
    for (method, comment) in &calls {
        let name = format!("{}/{}", method.parent_service().full_name(), method.name());
        let line = CommandLine::of(comment);
        let line = line.unwrap_or_else(|| panic!("the comment of {name} has no grpcurl line"));
        assert_eq!(line.method, name, "the line is of another call");
        let name = name.trim_start_matches("ganger.v1.").to_owned();
        let is_known = ORDER.contains(&&*name) || ELSEWHERE.contains(&&*name);
        assert!(is_known, "{name} has no place in ORDER");
        lines.insert(name, (line, method.is_server_streaming()));
    }

    for name in ORDER {
        let (line, streams) = &lines[*name];
        let (came, ended) = grpcurl.run(line).await;
        match ended {
            Ok(()) => {}
            // A stream without an end lasts as long as the line says.
            Err(status) if status.code() == Code::DeadlineExceeded && line.max_time.is_some() => {
                assert!(!came.is_empty(), "{line:?} brought nothing");
            }
            Err(status) => panic!("{line:?}: {status:?}"),
        }
        assert!(*streams || came.len() == 1, "{line:?} brought {came:?}");
    }
}

#[tokio::test]
async fn every_grpcurl_line_of_the_comments_runs_through_reflection_v1() {
    let cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("worker-1").await;

    every_line_runs(&Grpcurl::by_v1(&cluster.client()).await).await;
}

#[tokio::test]
async fn every_grpcurl_line_of_the_comments_runs_through_reflection_v1alpha() {
    let cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("worker-1").await;

    every_line_runs(&Grpcurl::by_v1alpha(&cluster.client()).await).await;
}

#[tokio::test]
async fn lines_that_speak_to_a_sub_agent_run_while_it_is_at_work() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut hand = HandWorker::connect(&client, interactive("me"))
        .await
        .unwrap();
    client.start_task(by_hand()).await;
    let fence = hand.assignment().await.fence.unwrap();
    hand.started(&fence).await;
    assert!(hand.asked(&fence, 1, "which database?").await.accepted);

    let grpcurl = Grpcurl::by_v1(&client).await;
    for call in ELSEWHERE {
        let calls = grpcurl.calls();
        let is_it = |name: &str| call.ends_with(&format!("/{name}"));
        let (_, comment) = calls.iter().find(|(m, _)| is_it(m.name())).unwrap();
        let line = CommandLine::of(comment).unwrap();
        let (came, ended) = grpcurl.run(&line).await;
        assert!(ended.is_ok() && came.len() == 1, "{line:?}: {ended:?}");
    }

    assert_eq!(hand.word().await.text, "the staging database");
    assert_eq!(hand.word().await.text, "leave the tests alone");
}

#[tokio::test]
async fn error_details_resolve_through_reflection() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let caller = client.caller();

    let mut tasks = client.task();
    let refused = tasks.create_task(wire::CreateTaskRequest::default()).await;
    let refused = refused.unwrap_err();
    let details = tonic_types::pb::Status::decode(refused.details())
        .unwrap()
        .details;
    assert!(details.len() >= 2, "{details:?}");

    let names = details
        .iter()
        .map(|any| any.type_url.rsplit('/').next().unwrap().to_owned());
    let more =
        ["PreconditionFailure", "RetryInfo", "QuotaFailure"].map(|n| format!("google.rpc.{n}"));
    let names: Vec<String> = names
        .chain(more)
        .chain(["ganger.v1.Task".to_owned()])
        .collect();
    for files in [
        grpcurl::v1::files(&caller, &names).await,
        grpcurl::v1alpha::files(&caller, &names).await,
    ] {
        let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
        for name in &names {
            assert!(pool.get_message_by_name(name).is_some(), "{name}");
        }
        for (any, name) in details.iter().zip(&names) {
            let descriptor = pool.get_message_by_name(name).unwrap();
            let detail = DynamicMessage::decode(descriptor, &any.value[..]).unwrap();
            assert!(!detail.unknown_fields().any(|_| true), "{detail:?}");
        }
    }
}

#[tokio::test]
async fn health_names_every_service_and_liveness_and_readiness() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    let cluster = Cluster::start(programs!()).await;
    let caller = cluster.client().caller();
    let reflected: BTreeSet<String> = grpcurl::v1::services(&caller)
        .await
        .unwrap()
        .into_iter()
        .filter(|name| name.starts_with("ganger."))
        .collect();
    assert_eq!(reflected.len(), 8, "{reflected:?}");

    let names = ["", "liveness", "readiness"].map(ToOwned::to_owned);
    for service in names.into_iter().chain(reflected) {
        let request = HealthCheckRequest {
            service: service.clone(),
        };
        let answer = HealthClient::new(caller.clone())
            .check(request)
            .await
            .unwrap();
        assert_eq!(
            answer.into_inner().status(),
            ServingStatus::Serving,
            "{service:?}"
        );
    }
}

#[tokio::test]
async fn first_log_line_is_a_command_that_works() {
    let cluster = Cluster::start(programs!()).await;
    let log = cluster.coordinator.log();
    let first = log.lines().next().unwrap();

    let (_, command) = first.split_once("serving: ").unwrap();
    let command = command.replace(&cluster.addr().to_string(), "localhost:50051");
    // The log's fields stand after the command.
    let words: Vec<&str> = command.split(' ').take(4).collect();
    let line = CommandLine::of(&words.join(" ")).unwrap();

    let grpcurl = Grpcurl::by_v1(&cluster.client()).await;
    let (came, ended) = grpcurl.run(&line).await;
    assert!(ended.is_ok() && came.len() == 1, "{first}: {ended:?}");
}
