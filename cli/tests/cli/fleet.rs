//! `ganger worker drain`, `ganger fleet` and pages of `ganger logs`: what is asked and shown.

use ganger_proto::v1;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tonic::Status;

use crate::{
    ganger, run,
    scripted::{Asked, Script, Scripted},
};

async fn scripted(others: Vec<(&'static str, Result<Value, Status>)>) -> Scripted {
    Scripted::start(Script {
        others,
        ..Script::default()
    })
    .await
}

fn worker(attempts: Value, is_up: bool) -> Result<Value, Status> {
    let worker = json!({
        "name": "w1", "instanceId": "one", "state": "WORKER_STATE_DRAINING",
        "attempts": attempts, "streamUp": is_up, "heard": true, "leaseValid": true,
        "drainReason": "it is old", "protocol": 2, "version": "0.1.0", "slots": 2,
        "freeSlots": 1, "sandbox": "native", "labels": {"zone": "b", "os": "linux"},
        "held": [{
            "fence": {"taskId": "7", "attempt": 2}, "team": "red", "subject": "Migrate",
            "agentType": "coder", "member": "bob", "phase": "TASK_PHASE_RUNNING",
            "doing": "Writing SQL",
        }],
    });
    Ok(json!({ "worker": worker }))
}

#[tokio::test]
async fn drained_worker_is_told_why_and_how_long_and_what_it_runs_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let running = json!([{"taskId": "7"}]);
    let mut coordinator = scripted(vec![
        ("drain_worker", worker(running, true)),
        ("drain_worker", worker(json!([]), true)),
    ])
    .await;
    let addr = coordinator.addr.clone();

    let args = ["--addr", &addr, "worker", "drain", "w1"];
    let long = [&args[..], &["--reason", "it is old", "--within", "1h 30s"]].concat();
    let busy = run(dir.path(), &["worker", "drain", "w1", "--addr", &addr]).await;
    let idle = run(dir.path(), &long).await;

    assert_eq!(
        busy.out, "worker w1 drains; it still runs #7\n",
        "{}",
        busy.err
    );
    assert_eq!(
        idle.out, "worker w1 drains; it runs nothing\n",
        "{}",
        idle.err
    );
    assert_eq!((busy.code, idle.code), (0, 0));
    assert_eq!(
        coordinator.other("drain_worker").await,
        json!({"name": "w1"})
    );
    assert_eq!(
        coordinator.other("drain_worker").await,
        json!({"name": "w1", "reason": "it is old", "timeout": "3630s"})
    );
    assert!(coordinator.is_asked_no_more());
}

#[tokio::test]
async fn wait_for_a_drained_worker_ends_when_it_has_neither_stream_nor_work() {
    let dir = tempfile::tempdir().unwrap();
    let running = || json!([{"taskId": "7"}]);
    let another = json!({"worker": {"name": "w1", "instanceId": "two", "streamUp": true}});
    let gone = Status::not_found("there is no worker \"w1\"");
    for last in [worker(json!([]), false), Ok(another), Err(gone)] {
        let mut coordinator = scripted(vec![
            ("drain_worker", worker(running(), true)),
            ("get_worker", worker(running(), true)),
            ("get_worker", worker(running(), false)),
            ("get_worker", last),
        ])
        .await;
        let addr = coordinator.addr.clone();

        let args = ["worker", "drain", "w1", "--wait", "--addr", &addr];
        let said = run(dir.path(), &args).await;

        assert_eq!(
            (said.code, &*said.out),
            (0, "worker w1 has left\n"),
            "{}",
            said.err
        );
        coordinator.other("drain_worker").await;
        for _ in 0..3 {
            assert_eq!(coordinator.other("get_worker").await, json!({"name": "w1"}));
        }
        assert!(coordinator.is_asked_no_more());
    }
}

#[tokio::test]
async fn worker_that_is_not_there_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let gone = || Err(Status::not_found("there is no worker \"w9\""));
    let coordinator = scripted(vec![("drain_worker", gone()), ("get_worker", gone())]).await;
    let addr = coordinator.addr.clone();

    for args in [["worker", "drain", "w9"], ["fleet", "worker", "w9"]] {
        let said = run(dir.path(), &[&["--addr", &*addr], &args[..]].concat()).await;
        assert_eq!((said.code, &*said.out), (4, ""));
        assert!(
            said.err.contains("there is no worker \"w9\""),
            "{}",
            said.err
        );
    }
}

#[tokio::test]
async fn one_worker_is_shown_with_its_facts_and_what_its_sub_agents_are_at() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = scripted(vec![("get_worker", worker(json!([]), true))]).await;
    let addr = coordinator.addr.clone();

    let said = run(dir.path(), &["--addr", &addr, "fleet", "worker", "w1"]).await;

    assert_eq!(said.code, 0, "{}", said.err);
    let lines: Vec<String> = said
        .out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "worker w1",
        "state draining",
        "drains because it is old",
        "stream up",
        "lease open",
        "slots 1 of 2 free",
        "sandbox native",
        "labels os=linux, zone=b",
        "version 0.1.0",
        "protocol 2",
        "instance one",
        "",
        "TASK TEAM PHASE AS TYPE STARTED PROGRESS SUBJECT DOING",
        "#7.2 red running bob coder Migrate Writing SQL",
    ];
    assert_eq!(lines, expected);
    assert_eq!(coordinator.other("get_worker").await, json!({"name": "w1"}));
}

#[tokio::test]
async fn page_of_a_transcript_is_what_is_asked_for_also_over_a_broken_stream() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = scripted(vec![]).await;
    let addr = coordinator.addr.clone();
    let args = ["logs", "7", "--after", "4", "--limit", "3", "--addr", &addr];
    let mut child = ganger(dir.path(), &args).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let record = |index: i64| v1::TranscriptRecord {
        index,
        kind: v1::TranscriptKind::Stdout.into(),
        text: format!("line {index}\n"),
        ..v1::TranscriptRecord::default()
    };
    let answer = |indices: &[i64]| v1::WatchTranscriptResponse {
        records: indices.iter().copied().map(record).collect(),
        ..v1::WatchTranscriptResponse::default()
    };

    let Asked::Watched(first, into) = coordinator.next().await else {
        panic!("something else was asked");
    };
    into.send(Ok(answer(&[5, 6]))).await.unwrap();
    into.send(Err(Status::unavailable("restarting")))
        .await
        .unwrap();
    let Asked::Watched(second, into) = coordinator.next().await else {
        panic!("something else was asked");
    };
    into.send(Ok(answer(&[7]))).await.unwrap();
    let status = child.wait().await.unwrap();

    assert_eq!((first.after_index, first.limit), (4, 3));
    assert_eq!((second.after_index, second.limit), (6, 1));
    assert_eq!(status.code(), Some(0));
    for index in 5..=7 {
        let line = out.next_line().await.unwrap();
        assert_eq!(line, Some(format!("line {index}")));
    }
    assert_eq!(out.next_line().await.unwrap(), None);
    drop(into);
}
