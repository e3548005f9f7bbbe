//! The door: the fleet token guards every call, and is seen nowhere.

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, HandWorker, WorkerSpec, error_info, hello, proc, programs};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::grpcurl;

const TOKEN: &str = "e2e-f1eet-t0ken-0b8d";

/// One call of every service.
pub async fn every_service(client: &Client) -> Vec<(&'static str, Result<(), Status>)> {
    let header = v1::UploadHeader::default();
    let part = Some(v1::upload_artifact_request::Part::Header(header));
    let upload = tokio_stream::once(v1::UploadArtifactRequest { part });
    let caller = client.caller();
    let (mut health, name) = (HealthClient::new(caller.clone()), rand_name());
    vec![
        (
            "team",
            client
                .team()
                .list_teams(v1::ListTeamsRequest::default())
                .await
                .map(drop),
        ),
        (
            "task",
            client
                .task()
                .list_tasks(v1::ListTasksRequest::default())
                .await
                .map(drop),
        ),
        (
            "delegation",
            client
                .delegation()
                .list_agent_types(v1::ListAgentTypesRequest {})
                .await
                .map(drop),
        ),
        (
            "artifact",
            client.artifact().upload_artifact(upload).await.map(drop),
        ),
        (
            "fleet",
            client
                .fleet()
                .get_status(v1::GetStatusRequest {})
                .await
                .map(drop),
        ),
        (
            "tools",
            client
                .tools()
                .list_tools(v1::ListToolsRequest {})
                .await
                .map(drop),
        ),
        (
            "worker",
            HandWorker::connect(client, hello(&name)).await.map(drop),
        ),
        (
            "health",
            health.check(HealthCheckRequest::default()).await.map(drop),
        ),
        (
            "reflection v1",
            grpcurl::v1::services(&caller).await.map(drop),
        ),
        (
            "reflection v1alpha",
            grpcurl::v1alpha::services(&caller).await.map(drop),
        ),
    ]
}

fn rand_name() -> String {
    format!("w-{}", uuid::Uuid::new_v4().simple())
}

#[tokio::test]
async fn every_service_wants_the_token_health_and_reflection_too() {
    let cluster = Cluster::guarded(programs!(), TOKEN).await;
    let stranger = Client::of(&cluster.address());

    for (what, client) in [
        ("no token", stranger.clone()),
        ("another token", stranger.clone().token("another")),
        (
            "a longer token",
            stranger.clone().token(&format!("{TOKEN}x")),
        ),
        ("no bearer", stranger.clone().saying("authorization", TOKEN)),
    ] {
        for (service, answer) in every_service(&client).await {
            let status = answer.expect_err(service);
            assert_eq!(
                status.code(),
                Code::Unauthenticated,
                "{service} with {what}: {status:?}"
            );
            assert_eq!(
                error_info(&status).reason,
                "TOKEN_INVALID",
                "{service} with {what}"
            );
            assert!(!format!("{status:?}").contains(TOKEN));
        }
    }
    for (service, answer) in every_service(&cluster.client()).await {
        assert!(answer.is_ok(), "{service} with the token: {answer:?}");
    }
    assert!(cluster.status().await.token_required);
}

#[tokio::test]
async fn listening_beyond_loopback_without_token_is_refused_with_both_ways_out() {
    let cluster = Cluster::start(programs!()).await;

    let mut open = cluster.another_coordinator(&["--addr", "0.0.0.0:0"]);
    let code = open.end().await.code();

    assert_eq!(code, Some(2));
    let said = open.log();
    assert!(
        said.contains("--token-file") && said.contains("--insecure"),
        "{said}"
    );
    assert!(!said.contains("serving"), "{said}");
}

#[tokio::test]
async fn worker_without_the_right_token_says_what_to_do_and_ends() {
    let cluster = Cluster::guarded(programs!(), TOKEN).await;
    let wrong = cluster.dir().join("wrong");
    std::fs::write(&wrong, "wrong").unwrap();

    let spec = WorkerSpec::named("w1").args(["--token-file", wrong.to_str().unwrap()]);
    let mut worker = cluster.launch_worker(spec);
    let code = worker.end().await.code();

    assert_eq!(code, Some(1));
    assert!(worker.log().contains("--token-file"), "{}", worker.log());
    assert_eq!(cluster.client().workers().await, []);
}

#[tokio::test]
async fn token_shows_in_no_log_and_no_process_and_not_in_the_sandbox() {
    let cluster = Cluster::guarded(programs!(), TOKEN).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let worker = cluster.worker("w1").await;
    let token_file = cluster.dir().join("token");
    let script = format!(
        "env; cat {} 2>&1; cat /proc/1/environ /proc/1/cmdline 2>/dev/null | tr '\\0' '\\n'; echo looked; {}",
        token_file.display(),
        gate.wait(),
    );

    let task = client.start(&script).await;
    let mut transcript = client.transcript(task.id).await;
    transcript.said("looked").await;
    assert_eq!(proc::showing(TOKEN), Vec::<i32>::new());
    gate.open();
    let ended = client.ended(task.id).await;

    assert_eq!(ended.status(), v1::TaskStatus::Completed, "{ended:?}");
    let said = transcript.whole().await;
    assert!(said.contains("GANGER_TASK_ID=1"), "{said}");
    for text in [
        said,
        format!("{ended:?}"),
        worker.log(),
        cluster.coordinator.log(),
    ] {
        assert!(!text.contains(TOKEN), "the token is in: {text}");
    }
}
