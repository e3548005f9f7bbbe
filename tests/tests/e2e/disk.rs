//! A disk that is nearly full, and one that is full.

use std::path::Path;

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, Daemon, SmallDisk, WorkerSpec, patiently, programs, refused};
use rustix::process::Signal;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A floor that no disk is above.
const HIGH_FLOOR: [&str; 2] = ["--disk-floor-bytes", "1125899906842624"];

fn task(subject: &str) -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        subject: subject.into(),
        ..v1::CreateTaskRequest::default()
    }
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = answer.expect_err("is refused");
    let retry = status.get_details_retry_info();
    assert!(retry.is_some_and(|retry| retry.retry_delay.is_some()));
    refused::<()>(Err(status), Code::ResourceExhausted, "DISK_LOW");
}

async fn claim(client: &Client, task_id: u64) -> Result<v1::Task, Status> {
    let request = v1::ClaimTaskRequest {
        task_id,
        ..v1::ClaimTaskRequest::default()
    };
    let mut board = client.task();
    let answer = patiently("ClaimTask", board.claim_task(request)).await;
    answer.map(|answer| answer.into_inner().task.unwrap())
}

async fn send(client: &Client) -> Result<v1::SendMessageResponse, Status> {
    let request = v1::SendMessageRequest {
        to: vec!["bob".into()],
        text: "hello".into(),
        ..v1::SendMessageRequest::default()
    };
    let mut mail = client.mail();
    let answer = patiently("SendMessage", mail.send_message(request)).await;
    answer.map(tonic::Response::into_inner)
}

/// Everything that makes no room, tried.
async fn all_else_is_refused(client: &Client, open_task: u64) {
    is_refused(patiently("CreateTask", client.task().create_task(task("more"))).await);
    is_refused(claim(client, open_task).await);
    is_refused(send(client).await);
    let start = v1::StartTaskRequest {
        description: "more".into(),
        prompt: "true".into(),
        agent_type: "shell".into(),
        ..v1::StartTaskRequest::default()
    };
    is_refused(patiently("StartTask", client.delegation().start_task(start)).await);
    let backup = v1::BackUpBoardRequest {};
    is_refused(
        patiently("BackUpBoard", client.fleet().back_up_board(backup))
            .await
            .map(drop),
    );
    let header = v1::upload_artifact_request::Part::Header(v1::UploadHeader::default());
    let parts = [v1::UploadArtifactRequest { part: Some(header) }];
    let mut artifacts = client.artifact();
    let upload = artifacts.upload_artifact(tokio_stream::iter(parts));
    is_refused(patiently("UploadArtifact", upload).await);
}

#[tokio::test]
async fn under_the_floor_work_ends_and_goes_and_nothing_new_begins() {
    let mut cluster = Cluster::start(programs!()).await;
    let gate = cluster.gate("g");
    let worker = cluster.start_worker(WorkerSpec::named("w1").slots(1)).await;
    let client = cluster.client();
    let bob = v1::AddMemberRequest {
        member: Some(v1::NewMember {
            name: "bob".into(),
            ..v1::NewMember::default()
        }),
        ..v1::AddMemberRequest::default()
    };
    patiently("AddMember", client.team().add_member(bob))
        .await
        .unwrap();
    send(&client).await.unwrap();
    let running = client
        .start(&format!("echo before; {}; echo after", gate.wait()))
        .await;
    client.running(running.id).await;
    let queued = client.start("true").await;
    let [held, dropped, open] =
        ["held", "dropped", "open"].map(|subject| client.create(task(subject)));
    let (held, dropped, open) = (held.await.id, dropped.await.id, open.await.id);
    claim(&client, held).await.unwrap();

    let lines = worker.log_len();
    cluster.coordinator.kill().await;
    cluster.restart_coordinator_with(&HIGH_FLOOR).await;
    worker.logged_after(lines, "connected coordinator").await;

    assert!(cluster.status().await.disk_low);
    all_else_is_refused(&client, open).await;
    let done = v1::UpdateTaskRequest {
        task_id: held,
        status: v1::TaskStatus::Completed.into(),
        result: Some("done".into()),
        ..v1::UpdateTaskRequest::default()
    };
    patiently("UpdateTask", client.task().update_task(done))
        .await
        .unwrap();
    assert_eq!(
        client.cancel(open).await.status(),
        v1::TaskStatus::Cancelled
    );
    let delete = v1::DeleteTaskRequest {
        task_id: dropped,
        ..v1::DeleteTaskRequest::default()
    };
    patiently("DeleteTask", client.task().delete_task(delete))
        .await
        .unwrap();
    let ack = v1::AckMessagesRequest {
        up_to_message_id: 1_000,
        ..v1::AckMessagesRequest::default()
    };
    let mut mail = client.clone().member("bob").mail();
    let acked = patiently("AckMessages", mail.ack_messages(ack))
        .await
        .unwrap();
    assert_eq!(acked.into_inner().acknowledged, 1);

    gate.open();
    let ended = client.ended(running.id).await;
    assert_eq!(ended.status(), v1::TaskStatus::Completed, "{ended:?}");
    assert_eq!(ended.result, "before\nafter\n");
    let said = client.transcript(running.id).await.whole().await;
    assert!(
        said.contains("6 bytes were cut: the coordinator's disk was nearly full"),
        "{said}"
    );
    let waits = client.get(queued.id).await;
    assert!(waits.phase_reason.starts_with("DISK_LOW"), "{waits:?}");

    let lines = worker.log_len();
    cluster.coordinator.kill().await;
    cluster.restart_coordinator().await;
    worker.logged_after(lines, "connected coordinator").await;
    assert!(!cluster.status().await.disk_low);
    let ended = client.ended(queued.id).await;
    assert_eq!(ended.status(), v1::TaskStatus::Completed);
}

/// A coordinator with its data on another disk, and somebody who calls it.
async fn on_disk(cluster: &Cluster, args: &[&str]) -> (Daemon, Client) {
    let coordinator = cluster.another_coordinator(args);
    let line = coordinator.logged("serving: grpcurl").await;
    let mut words = line.split_whitespace();
    let addr = words.find(|word| word.parse::<std::net::SocketAddr>().is_ok());
    let client = Client::of(&format!("http://{}", addr.unwrap()));
    (coordinator, client)
}

async fn until_low_is(client: &Client, wanted: bool) {
    let what = format!("the disk is low: {wanted}");
    patiently(what, async {
        loop {
            let mut fleet = client.fleet();
            let status = fleet.get_status(v1::GetStatusRequest {}).await;
            if status.unwrap().into_inner().disk_low == wanted {
                return;
            }
        }
    })
    .await;
}

fn put_data_on(disk: &SmallDisk, cluster: &Cluster) {
    let data = disk.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(data, data_dir(cluster.dir())).unwrap();
}

fn data_dir(cluster: &Path) -> std::path::PathBuf {
    cluster.join("another")
}

#[tokio::test]
async fn a_disk_that_gets_room_again_is_noticed() {
    let Some(disk) = SmallDisk::new(64) else {
        return;
    };
    let cluster = Cluster::start(programs!()).await;
    put_data_on(&disk, &cluster);
    let floor = [
        "--disk-floor-bytes",
        "25165824",
        "--disk-floor-percent",
        "0",
    ];
    let args = [&["--addr", "127.0.0.1:0"][..], &floor].concat();
    let (coordinator, client) = on_disk(&cluster, &args).await;
    let open = client.create(task("open")).await.id;

    disk.take(44);
    until_low_is(&client, true).await;
    coordinator.logged("the disk is nearly full").await;
    all_else_is_refused(&client, open).await;

    disk.give_back();
    until_low_is(&client, false).await;
    client.create(task("more")).await;
}

#[tokio::test]
async fn a_coordinator_that_finds_its_disk_full_waits_for_room_and_loses_nothing() {
    let Some(disk) = SmallDisk::new(64) else {
        return;
    };
    let cluster = Cluster::start(programs!()).await;
    put_data_on(&disk, &cluster);
    let args = [
        "--addr",
        "127.0.0.1:0",
        "--disk-floor-bytes",
        "0",
        "--disk-floor-percent",
        "0",
    ];
    let (mut coordinator, client) = on_disk(&cluster, &args).await;
    let kept = client.create(task("kept")).await;
    coordinator.kill().await;

    disk.fill();
    let mut waiting = cluster.another_coordinator(&args);
    waiting.logged("the disk is full").await;
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.end().await.code(), Some(0), "it can be stopped");

    let waiting = cluster.another_coordinator(&args);
    waiting.logged("the disk is full").await;
    disk.give_back();
    let line = waiting.logged("serving: grpcurl").await;
    let mut words = line.split_whitespace();
    let addr = words.find(|word| word.parse::<std::net::SocketAddr>().is_ok());
    let client = Client::of(&format!("http://{}", addr.unwrap()));
    assert_eq!(client.get(kept.id).await, kept);
}
