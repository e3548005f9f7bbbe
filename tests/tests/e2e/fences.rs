//! Workers that say what they may not: the stream, the fence, the name.

use ganger_proto::v1::{self, connect_request::Message as Says};
use ganger_tests::{
    Client, Cluster, HandWorker, hello, new_instance, patiently, programs, refused,
};
use tonic::{Code, Status};

/// A coordinator, and a worker played by hand that was given a task.
pub async fn assigned() -> (Cluster, Client, HandWorker, v1::Fence) {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut worker = HandWorker::connect(&client, hello("me")).await.unwrap();
    client.start_task(by_hand()).await;
    let fence = worker.assignment().await.fence.unwrap();
    (cluster, client, worker, fence)
}

pub fn by_hand() -> v1::StartTaskRequest {
    v1::StartTaskRequest {
        agent_type: "by-hand".into(),
        prompt: "do it".into(),
        ..v1::StartTaskRequest::default()
    }
}

/// How the coordinator ends a stream.
pub async fn end_of(worker: &mut HandWorker) -> Result<(), Status> {
    patiently("the coordinator ends the stream", async {
        while worker.hear().await?.is_some() {}
        Ok(())
    })
    .await
}

/// What is wrong with a Hello, what makes it so, and the reason of the refusal.
type BadHello = (&'static str, fn(&mut v1::Hello), &'static str);

#[tokio::test]
async fn bad_hellos_are_refused() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let table: &[BadHello] = &[
        ("no name", |h| h.name = String::new(), "NAME_INVALID"),
        ("bad name", |h| h.name = "a/b".into(), "NAME_INVALID"),
        (
            "the coordinator's name",
            |h| h.name = "coordinator".into(),
            "NAME_INVALID",
        ),
        (
            "the administrator's name",
            |h| h.name = "Admin".into(),
            "NAME_INVALID",
        ),
        ("long name", |h| h.name = "x".repeat(65), "NAME_INVALID"),
        (
            "no instance",
            |h| h.instance_id = String::new(),
            "VALUE_INVALID",
        ),
        (
            "bad instance",
            |h| h.instance_id = "me".into(),
            "VALUE_INVALID",
        ),
        ("no slots", |h| h.slots = 0, "VALUE_INVALID"),
        (
            "a type twice",
            |h| h.agent_types.push(h.agent_types[0].clone()),
            "VALUE_INVALID",
        ),
        ("slots below none", |h| h.slots = -1, "VALUE_INVALID"),
        ("1,001 slots", |h| h.slots = 1_001, "VALUE_INVALID"),
        (
            "bad type",
            |h| h.agent_types[0].name = " ".into(),
            "NAME_INVALID",
        ),
        (
            "long type",
            |h| h.agent_types[0].description = "x".repeat(4_097),
            "VALUE_INVALID",
        ),
        ("bad team", |h| h.teams = vec!["a b".into()], "NAME_INVALID"),
        (
            "no fence",
            |h| h.held = vec![v1::Held::default()],
            "PROTOCOL_VIOLATED",
        ),
        (
            "bad fence",
            |h| {
                h.held = vec![v1::Held {
                    fence: Some(v1::Fence::default()),
                    started: false,
                }]
            },
            "VALUE_INVALID",
        ),
    ];

    for (what, change, reason) in table {
        let mut bad = hello("me");
        change(&mut bad);
        println!("{what}");
        let answer = HandWorker::connect(&client, bad).await.map(|_| ());
        refused(answer, Code::InvalidArgument, reason);
    }

    assert_eq!(client.workers().await, []);
}

#[tokio::test]
async fn stream_that_does_not_begin_with_hello_is_refused() {
    let cluster = Cluster::start(programs!()).await;
    let mut client = cluster.client().worker();
    let heartbeat = Says::Heartbeat(v1::Heartbeat { sequence: 1 });
    for message in [Some(heartbeat), None] {
        let first = v1::ConnectRequest {
            session: 0,
            message,
        };
        let said =
            tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
        let mut answers = client.connect(said).await.unwrap().into_inner();

        refused(
            answers.message().await,
            Code::InvalidArgument,
            "PROTOCOL_VIOLATED",
        );
    }
}

#[tokio::test]
async fn second_hello_and_frames_of_another_session_end_the_stream() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let connect = async |name| HandWorker::connect(&client, hello(name)).await.unwrap();

    let mut twice = connect("twice").await;
    twice.say(Says::Hello(hello("twice")));
    refused(
        end_of(&mut twice).await,
        Code::InvalidArgument,
        "PROTOCOL_VIOLATED",
    );

    let mut other = connect("other").await;
    other.say_in(
        other.session + 1,
        Says::Heartbeat(v1::Heartbeat { sequence: 1 }),
    );
    refused(
        end_of(&mut other).await,
        Code::InvalidArgument,
        "PROTOCOL_VIOLATED",
    );
}

#[tokio::test]
async fn stale_fences_of_each_kind_are_answered_and_count_for_nothing() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut worker = HandWorker::connect(&client, hello("me")).await.unwrap();
    client.start_task(by_hand()).await;
    let assignment = worker.assignment().await;
    let fence = assignment.fence.clone().unwrap();
    let agent = cluster.client().sub_agent(&assignment);
    let stale = [
        (
            "epoch",
            v1::Fence {
                epoch: new_instance(),
                ..fence.clone()
            },
        ),
        (
            "team",
            v1::Fence {
                team_uid: fence.team_uid + 1,
                ..fence.clone()
            },
        ),
        (
            "task",
            v1::Fence {
                task_id: fence.task_id + 1,
                ..fence.clone()
            },
        ),
        (
            "attempt",
            v1::Fence {
                attempt: fence.attempt + 1,
                ..fence.clone()
            },
        ),
        (
            "attempt",
            v1::Fence {
                attempt: 0,
                ..fence.clone()
            },
        ),
    ];
    let before = client.get(fence.task_id).await;

    for (what, stale) in &stale {
        println!("{what}");
        let started = worker.started(stale).await;
        let ended = worker.completed(stale, "mine").await;
        worker.say(Says::Refused(v1::Refused {
            fence: Some(stale.clone()),
            reason: "no".into(),
        }));
        let refused_ack = worker.report_ack(v1::ReportKind::Refused).await;
        let record = v1::TranscriptRecord {
            index: 1,
            text: "lies".into(),
            ..v1::TranscriptRecord::default()
        };
        worker.say(Says::Progress(v1::Progress {
            doing: None,
            fence: Some(stale.clone()),
            records: vec![record],
        }));
        let progress = worker.report_ack(v1::ReportKind::Progress).await;
        for ack in [&started, &ended, &refused_ack] {
            assert!(ack.reason.contains(what), "{ack:?}");
        }
        for ack in [started, ended, refused_ack, progress] {
            assert!(!ack.accepted, "{ack:?}");
            assert_eq!(ack.fence.as_ref(), Some(stale));
        }
        let header = v1::UploadHeader {
            fence: Some(stale.clone()),
            ..v1::UploadHeader::default()
        };
        let part = Some(v1::upload_artifact_request::Part::Header(header));
        let upload = tokio_stream::once(v1::UploadArtifactRequest { part });
        refused(
            agent.artifact().upload_artifact(upload).await,
            Code::PermissionDenied,
            "ATTEMPT_SECRET_WRONG",
        );
    }
    assert_eq!(client.get(fence.task_id).await, before);

    // Another worker process can't speak for this one.
    let mut thief = HandWorker::connect(&client, hello("thief")).await.unwrap();
    let ack = thief.completed(&fence, "stolen").await;
    assert!(
        !ack.accepted && ack.reason.contains("another worker process"),
        "{ack:?}"
    );
    assert_eq!(client.get(fence.task_id).await, before);

    // The right one counts, once; its repetition is acknowledged, and a second word is not.
    assert!(worker.started(&fence).await.accepted);
    assert!(worker.completed(&fence, "done").await.accepted);
    assert!(worker.completed(&fence, "done").await.accepted);
    let failed = v1::Ended {
        fence: Some(fence.clone()),
        ending: v1::AttemptEnding::Failed.into(),
        ..v1::Ended::default()
    };
    assert!(!worker.ended(failed).await.accepted);
    let task = client.ended(fence.task_id).await;
    assert_eq!(
        (task.status(), &task.result[..], task.attempt_count),
        (v1::TaskStatus::Completed, "done", 1)
    );
}

#[tokio::test]
async fn name_of_a_healthy_worker_is_not_given_to_another_process() {
    let (_cluster, client, mut worker, fence) = assigned().await;

    let other = HandWorker::connect(&client, hello("me")).await.map(|_| ());
    refused(other, Code::AlreadyExists, "WORKER_NAME_TAKEN");

    assert!(worker.started(&fence).await.accepted);
    assert!(worker.completed(&fence, "mine").await.accepted);
}

#[tokio::test]
async fn same_process_that_dials_again_replaces_its_stream_and_keeps_its_attempt() {
    let (_cluster, client, mut first, fence) = assigned().await;
    let mut again = hello("me");
    again.instance_id = client.workers().await[0].instance_id.clone();
    again.held = vec![v1::Held {
        fence: Some(fence.clone()),
        started: false,
    }];

    let mut second = HandWorker::connect(&client, again).await.unwrap();

    let verdict = &second.welcome.verdicts[0];
    assert!(
        verdict.keep && verdict.fence.as_ref() == Some(&fence),
        "{verdict:?}"
    );
    let goodbye = first.hear().await.unwrap();
    let is_replaced = matches!(&goodbye, Some(v1::connect_response::Message::Goodbye(bye)) if bye.reason == "SESSION_REPLACED");
    assert!(is_replaced, "{goodbye:?}");
    assert!(second.completed(&fence, "done").await.accepted);
    assert_eq!(client.ended(fence.task_id).await.attempt_count, 1);
}

#[tokio::test]
async fn name_of_an_unreachable_worker_goes_to_another_process_and_its_attempt_keeps_its_lease() {
    let (cluster, client, worker, fence) = assigned().await;
    drop(worker);
    cluster.coordinator.logged("worker's stream ended").await;

    let mut second = HandWorker::connect(&client, hello("me")).await.unwrap();

    let next = client.start_task(by_hand()).await;
    let own = second.assignment().await.fence.unwrap();
    assert_eq!(
        own.task_id, next.id,
        "the other's attempt is not given away"
    );
    let held = client.get(fence.task_id).await;
    assert_eq!(
        (held.status(), held.attempt_count),
        (v1::TaskStatus::InProgress, 1)
    );
    let ack = second.completed(&fence, "not mine").await;
    assert!(!ack.accepted, "{ack:?}");
}
