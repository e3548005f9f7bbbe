//! What becomes of a call whose caller has no more time, or goes away.

use std::time::Duration;

use ganger_proto::v1;
use ganger_tests::{Cluster, patiently, programs, refused, task_id_of};
use tonic::{Code, Request};

const SHORT: Duration = Duration::from_millis(600);
const REQUEST: &str = "0a8a1d5e-5b0c-4f6e-8f39-4d2f1a5a7c01";

fn run(prompt: String, cancel_on_disconnect: bool) -> v1::RunTaskRequest {
    v1::RunTaskRequest {
        description: "wait".into(),
        agent_type: "shell".into(),
        request_id: REQUEST.into(),
        prompt,
        cancel_on_disconnect,
        ..v1::RunTaskRequest::default()
    }
}

fn stream(prompt: String, cancel_on_disconnect: bool) -> v1::StreamTaskRequest {
    v1::StreamTaskRequest {
        description: "wait".into(),
        agent_type: "shell".into(),
        request_id: REQUEST.into(),
        prompt,
        cancel_on_disconnect,
        ..v1::StreamTaskRequest::default()
    }
}

/// A request as a client sends it that keeps no clock of its own: what ends it is the server.
fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let millis = format!("{}m", SHORT.as_millis()).parse().unwrap();
    request.metadata_mut().insert("grpc-timeout", millis);
    request
}

#[tokio::test]
async fn run_task_names_its_task_before_its_end_and_the_same_request_joins_it() {
    let cluster = Cluster::start(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let _worker = cluster.worker("w1").await;
    let script = format!("{}; echo done", gate.wait());
    let mut delegation = client.delegation();

    // As a stream of one message the call answers with its headers, as it does for every client.
    let begin = async |mut client: tonic::client::Grpc<_>| {
        client.ready().await.unwrap();
        let path = "/ganger.v1.DelegationService/RunTask".parse().unwrap();
        let codec = tonic_prost::ProstCodec::<v1::RunTaskRequest, v1::RunTaskResponse>::default();
        let request = Request::new(tokio_stream::once(run(script.clone(), false)));
        client.streaming(request, path, codec).await.unwrap()
    };
    let first = begin(tonic::client::Grpc::new(client.caller())).await;
    let id = task_id_of(&first);
    assert_eq!(
        client.running(id).await.status(),
        v1::TaskStatus::InProgress
    );

    let join = tokio::spawn(async move {
        let joined = delegation.run_task(run(script, false)).await.unwrap();
        (task_id_of(&joined), joined.into_inner().task.unwrap())
    });
    gate.open();
    let (joined, task) = patiently("the joined call ends", join).await.unwrap();
    let answer = first.into_inner().message().await.unwrap().unwrap();

    assert_eq!(joined, id);
    assert_eq!(answer.task.as_ref(), Some(&task));
    assert_eq!(
        (task.status(), &task.result[..]),
        (v1::TaskStatus::Completed, "done\n")
    );
    assert_eq!(client.get(id).await.attempt_count, 1);
    assert_eq!(cluster.status().await.tasks.unwrap().completed, 1);
}

#[tokio::test]
async fn call_whose_deadline_passes_loses_its_wait_and_not_its_task() {
    let cluster = Cluster::start(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let _worker = cluster.worker("w1").await;
    let script = format!("{}; echo done", gate.wait());
    let mut delegation = client.delegation();

    let unary = delegation.run_task(timed(run(script.clone(), false)));
    let unary = patiently("RunTask ends", unary).await;
    refused(unary, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    let streaming = delegation
        .stream_task(timed(stream(script, false)))
        .await
        .unwrap();
    let id = task_id_of(&streaming);
    let mut streaming = streaming.into_inner();
    let ended = loop {
        match patiently("StreamTask ends", streaming.message()).await {
            Ok(Some(event)) => assert_eq!(event.task_id, id),
            Ok(None) => panic!("the stream ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::DeadlineExceeded);
    ganger_tests::error_info(&ended);
    let watching = client
        .team()
        .watch_team(timed(v1::WatchTeamRequest::default()))
        .await;
    let mut watching = watching.unwrap().into_inner();
    let ended = loop {
        match patiently("WatchTeam ends", watching.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::DeadlineExceeded);

    assert_eq!(
        client.running(id).await.status(),
        v1::TaskStatus::InProgress
    );
    gate.open();
    let task = client.ended(id).await;
    assert_eq!(
        (task.status(), &task.result[..]),
        (v1::TaskStatus::Completed, "done\n")
    );
    assert_eq!(task.attempt_count, 1);
}

#[tokio::test]
async fn caller_who_goes_away_takes_its_task_along_only_if_it_said_so() {
    let cluster = Cluster::start(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let _worker = cluster.worker("w1").await;

    // A deadline that passes,
    let cancelled = client
        .delegation()
        .run_task(timed(run(gate.wait(), true)))
        .await;
    refused(cancelled, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    let by_deadline = client.ended(1).await;
    // a reader that lets go of its stream,
    let request = v1::StreamTaskRequest {
        request_id: String::new(),
        ..stream(gate.wait(), true)
    };
    let streaming = client
        .delegation()
        .stream_task(request.clone())
        .await
        .unwrap();
    client.running(2).await;
    drop(streaming);
    let by_leaving = client.ended(2).await;
    // and one that never said that it cares.
    let request = v1::StreamTaskRequest {
        cancel_on_disconnect: false,
        ..request
    };
    let streaming = client.delegation().stream_task(request).await.unwrap();
    client.running(3).await;
    drop(streaming);
    gate.open();
    let careless = client.ended(3).await;

    for task in [by_deadline, by_leaving] {
        assert_eq!(task.status(), v1::TaskStatus::Cancelled, "{task:?}");
        assert_eq!(task.error, "the caller went away");
    }
    assert_eq!(careless.status(), v1::TaskStatus::Completed);
}

#[tokio::test]
async fn task_that_runs_longer_than_it_may_is_timed_out() {
    let cluster = Cluster::start(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("never"));
    let _worker = cluster.worker("w1").await;
    let request = v1::StreamTaskRequest {
        timeout: Some(pbjson_types::Duration {
            seconds: 1,
            nanos: 0,
        }),
        ..stream(format!("echo begun; {}", gate.wait()), false)
    };

    let streaming = client.delegation().stream_task(request).await.unwrap();
    let mut streaming = streaming.into_inner();
    let mut events = Vec::new();
    while let Some(event) = patiently("StreamTask ends", streaming.message())
        .await
        .unwrap()
    {
        events.push(event);
    }

    let types: Vec<&str> = events.iter().map(|event| &event.r#type[..]).collect();
    assert_eq!(types.first(), Some(&"task_started"), "{types:?}");
    assert_eq!(types.last(), Some(&"task_timed_out"), "{types:?}");
    let middle = &types[1..types.len() - 1];
    assert!(
        middle.iter().all(|kind| *kind == "task_running"),
        "{types:?}"
    );
    let task = events.last().unwrap().task.clone().unwrap();
    assert_eq!(task.status(), v1::TaskStatus::Failed);
    assert_eq!(task.stop_reason(), v1::StopReason::Timeout);
    assert_eq!(task.attempt_count, 1);
}
