//! `ganger run` and `ganger logs`: streams, broken wires and Ctrl-C.

use std::process::Stdio;

use ganger_proto::v1::{self, TranscriptKind};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tonic::Status;

use crate::{
    ganger, run, said,
    scripted::{Asked, Into, Script, Scripted},
    signal,
};

fn started() -> v1::StreamTaskResponse {
    v1::StreamTaskResponse {
        r#type: "task_started".into(),
        task_id: 7,
        attempt: 1,
        ..v1::StreamTaskResponse::default()
    }
}

fn record(index: i64, kind: TranscriptKind, text: &str) -> v1::StreamTaskResponse {
    v1::StreamTaskResponse {
        r#type: "task_running".into(),
        task_id: 7,
        attempt: 1,
        index,
        kind: kind.into(),
        message: text.into(),
        ..v1::StreamTaskResponse::default()
    }
}

fn ended(kind: &str) -> v1::StreamTaskResponse {
    v1::StreamTaskResponse {
        r#type: kind.into(),
        task_id: 7,
        attempt: 1,
        error: "exit code 9".into(),
        result: "the result".into(),
        ..v1::StreamTaskResponse::default()
    }
}

async fn streamed(
    coordinator: &mut Scripted,
) -> (v1::StreamTaskRequest, Into<v1::StreamTaskResponse>) {
    match coordinator.next().await {
        Asked::Streamed(request, into) => (*request, into),
        _ => panic!("something else was asked"),
    }
}

#[tokio::test]
async fn broken_wire_is_joined_again_and_nothing_is_printed_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = Scripted::start(Script::default()).await;
    let args = [
        "--addr",
        &coordinator.addr,
        "run",
        "--type",
        "shell",
        "echo one",
    ];
    let child = ganger(dir.path(), &args).spawn().unwrap();

    let (first, into) = streamed(&mut coordinator).await;
    for event in [started(), record(1, TranscriptKind::Stdout, "one\n")] {
        into.send(Ok(event)).await.unwrap();
    }
    into.send(Err(Status::unavailable("restarting")))
        .await
        .unwrap();
    let (second, into) = streamed(&mut coordinator).await;
    for event in [
        started(),
        record(1, TranscriptKind::Stdout, "one\n"),
        record(2, TranscriptKind::Stderr, "two\n"),
        record(3, TranscriptKind::Stdout, "three"),
        ended("task_completed"),
    ] {
        into.send(Ok(event)).await.unwrap();
    }

    let said = said(child.wait_with_output().await.unwrap());
    assert_eq!((said.code, said.out.as_str()), (0, "one\nthree"));
    assert_eq!(said.err, "two\n");
    assert_eq!(first.request_id, second.request_id);
    assert_eq!(
        (first.description.as_str(), first.prompt.as_str()),
        ("echo one", "echo one")
    );
}

#[tokio::test]
async fn exit_code_is_the_endings() {
    for (ending, code) in [
        ("task_completed", 0),
        ("task_failed", 3),
        ("task_cancelled", 3),
        ("task_timed_out", 124),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut coordinator = Scripted::start(Script::default()).await;
        let args = [
            "--addr",
            &coordinator.addr,
            "run",
            "--type",
            "shell",
            "true",
        ];
        let child = ganger(dir.path(), &args).spawn().unwrap();

        let (_, into) = streamed(&mut coordinator).await;
        into.send(Ok(ended(ending))).await.unwrap();

        let said = said(child.wait_with_output().await.unwrap());
        assert_eq!(said.code, code, "{ending}: {}", said.err);
        // Nothing came on stdout, so the result does.
        assert_eq!(said.out, "the result\n");
        assert_eq!(said.err.contains("exit code 9"), code != 0, "{}", said.err);
    }
}

#[tokio::test]
async fn first_interrupt_cancels_the_task_and_waits_for_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = Scripted::start(Script::default()).await;
    let args = [
        "--addr",
        &coordinator.addr,
        "run",
        "--type",
        "shell",
        "sleep 9",
    ];
    let mut child = ganger(dir.path(), &args).spawn().unwrap();
    let (_, into) = streamed(&mut coordinator).await;
    into.send(Ok(started())).await.unwrap();
    into.send(Ok(record(1, TranscriptKind::Stdout, "begun\n")))
        .await
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("begun"));

    signal(&child, Signal::INT);
    let Asked::Cancelled(request) = coordinator.next().await else {
        panic!("something else was asked");
    };
    into.send(Ok(ended("task_cancelled"))).await.unwrap();

    let said = said(child.wait_with_output().await.unwrap());
    assert_eq!(request.task_id, 7);
    assert_eq!(request.request_id.len(), 36);
    assert_eq!(said.code, 130, "{}", said.err);
    assert!(said.err.contains("cancelling task #7"), "{}", said.err);
}

#[tokio::test]
async fn second_interrupt_leaves_the_task_and_prints_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = Scripted::start(Script::default()).await;
    let args = [
        "--addr",
        &coordinator.addr,
        "run",
        "--type",
        "shell",
        "sleep 9",
    ];
    let mut child = ganger(dir.path(), &args).spawn().unwrap();
    let (_, into) = streamed(&mut coordinator).await;
    into.send(Ok(started())).await.unwrap();
    into.send(Ok(record(1, TranscriptKind::Stdout, "begun\n")))
        .await
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next_line().await.unwrap();

    signal(&child, Signal::INT);
    assert!(matches!(coordinator.next().await, Asked::Cancelled(_)));
    signal(&child, Signal::INT);

    let said = said(child.wait_with_output().await.unwrap());
    assert_eq!(said.code, 130, "{}", said.err);
    assert!(
        said.err
            .contains("detached; task #7 goes on: ganger logs 7"),
        "{}",
        said.err
    );
}

#[tokio::test]
async fn timeout_ends_the_wait_and_not_the_task() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = Scripted::start(Script::default()).await;
    let args = [
        "--addr",
        &coordinator.addr,
        "--timeout",
        "300ms",
        "run",
        "--type",
        "shell",
        "sleep 9",
    ];
    let child = ganger(dir.path(), &args).spawn().unwrap();
    let (_, into) = streamed(&mut coordinator).await;
    into.send(Ok(started())).await.unwrap();

    let said = said(child.wait_with_output().await.unwrap());

    assert_eq!(said.code, 124);
    assert!(
        said.err.contains("the wait is over; task #7 goes on"),
        "{}",
        said.err
    );
    assert!(
        coordinator.asked.try_recv().is_err(),
        "the task was touched"
    );
}

#[tokio::test]
async fn prompt_may_come_from_stdin_and_events_go_out_as_json_lines() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = Scripted::start(Script::default()).await;
    let args = [
        "--addr",
        &coordinator.addr,
        "-o",
        "json",
        "run",
        "--type",
        "shell",
        "-",
    ];
    let mut command = ganger(dir.path(), &args);
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n\nmake all\n").unwrap();
    command.stdin(Stdio::from(std::fs::File::open(script).unwrap()));
    let child = command.spawn().unwrap();

    let (request, into) = streamed(&mut coordinator).await;
    into.send(Ok(started())).await.unwrap();
    into.send(Ok(ended("task_completed"))).await.unwrap();

    let said = said(child.wait_with_output().await.unwrap());
    assert_eq!(
        (request.description.as_str(), said.code),
        ("make all", 0),
        "{}",
        said.err
    );
    let types: Vec<String> = said
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<v1::StreamTaskResponse>(line)
                .unwrap()
                .r#type
        })
        .collect();
    assert_eq!(types, ["task_started", "task_completed"]);
    assert_eq!(said.err, "");
}

#[tokio::test]
async fn logs_go_on_where_they_were_when_the_wire_broke() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = Scripted::start(Script::default()).await;
    let child = ganger(dir.path(), &["--addr", &coordinator.addr, "logs", "7"])
        .spawn()
        .unwrap();
    let records = |index, text: &str| v1::WatchTranscriptResponse {
        records: vec![v1::TranscriptRecord {
            index,
            kind: TranscriptKind::Stdout.into(),
            text: text.into(),
            ..v1::TranscriptRecord::default()
        }],
        attempt: 2,
        ..v1::WatchTranscriptResponse::default()
    };

    let Asked::Watched(first, into) = coordinator.next().await else {
        panic!("something else was asked");
    };
    into.send(Ok(records(1, "one\n"))).await.unwrap();
    into.send(Err(Status::unavailable("restarting")))
        .await
        .unwrap();
    let Asked::Watched(second, into) = coordinator.next().await else {
        panic!("something else was asked");
    };
    into.send(Ok(records(2, "two\n"))).await.unwrap();
    drop(into);

    let said = said(child.wait_with_output().await.unwrap());
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "one\ntwo\n"),
        "{}",
        said.err
    );
    assert_eq!((first.attempt, first.after_index), (0, 0));
    assert_eq!((second.attempt, second.after_index), (2, 1));
}

fn waited(statuses: &[&str], timed_out: bool) -> serde_json::Value {
    let task = |(id, status): (usize, &&str)| serde_json::json!({"id": id + 1, "subject": "Work", "status": status});
    let tasks: Vec<_> = statuses.iter().enumerate().map(task).collect();
    serde_json::json!({"tasks": tasks, "finished": 1, "timedOut": timed_out})
}

#[tokio::test]
async fn wait_for_tasks_bridges_a_broken_wire_and_says_how_they_ended() {
    let dir = tempfile::tempdir().unwrap();
    let ended = waited(&["TASK_STATUS_COMPLETED", "TASK_STATUS_FAILED"], false);
    let mut coordinator = Scripted::start(Script {
        others: vec![
            ("wait_tasks", Err(Status::unavailable("restarting"))),
            ("wait_tasks", Err(Status::unavailable("starting"))),
            // A wait that nobody bounded is taken up again where the coordinator ends it.
            ("wait_tasks", Ok(waited(&["TASK_STATUS_PENDING"], true))),
            ("wait_tasks", Ok(ended)),
        ],
        ..Script::default()
    })
    .await;

    let said = run(
        dir.path(),
        &["--addr", &coordinator.addr, "task", "wait", "1", "2"],
    )
    .await;

    assert_eq!(said.code, 3, "{}", said.err);
    assert!(
        said.out.contains("completed") && said.out.contains("failed"),
        "{}",
        said.out
    );
    for _ in 0..4 {
        assert_eq!(
            coordinator.other("wait_tasks").await,
            serde_json::json!({"taskIds": ["1", "2"], "until": "WAIT_UNTIL_ALL"})
        );
    }
}

#[tokio::test]
async fn wait_that_is_over_shows_how_the_tasks_stand_and_is_timed_out() {
    let dir = tempfile::tempdir().unwrap();
    let over = waited(&["TASK_STATUS_COMPLETED", "TASK_STATUS_IN_PROGRESS"], true);
    let mut coordinator = Scripted::start(Script {
        others: vec![("wait_tasks", Ok(over))],
        ..Script::default()
    })
    .await;
    let args = [
        "--addr",
        &coordinator.addr,
        "--timeout",
        "0s",
        "task",
        "wait",
        "--any",
        "1,2",
    ];

    let said = run(dir.path(), &args).await;

    assert_eq!(said.code, 124, "{}", said.err);
    assert!(said.out.contains("in_progress"), "{}", said.out);
    assert!(
        said.err.contains("the wait is over; 1 of 2 are"),
        "{}",
        said.err
    );
    assert_eq!(
        coordinator.other("wait_tasks").await,
        serde_json::json!({"taskIds": ["1", "2"], "until": "WAIT_UNTIL_ANY", "timeout": "0s"})
    );
}

#[tokio::test]
async fn wait_that_wants_something_of_who_waits_says_what_and_is_no_completion() {
    let dir = tempfile::tempdir().unwrap();
    let mut early = waited(&["TASK_STATUS_IN_PROGRESS", "TASK_STATUS_PENDING"], false);
    early["questions"] = serde_json::json!([
        {"taskId": "1", "question": {"number": 1, "text": "which one?"}}
    ]);
    early["stuck"] = serde_json::json!([{"taskId": "2", "because": "is held: review first"}]);
    let mut coordinator = Scripted::start(Script {
        others: vec![("wait_tasks", Ok(early.clone())), ("wait_tasks", Ok(early))],
        ..Script::default()
    })
    .await;
    let args = ["--addr", &coordinator.addr, "task", "wait", "1", "2"];

    let told = run(dir.path(), &args).await;
    let json = run(dir.path(), &[&["-o", "json"], &args[..]].concat()).await;

    assert_eq!((told.code, json.code), (75, 75), "{}", told.err);
    let question = "#1 asks: which one?\n  ganger task answer 1 TEXT";
    assert!(told.err.contains(question), "{}", told.err);
    assert!(
        told.err.contains("#2 is held: review first"),
        "{}",
        told.err
    );
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["questions"][0]["question"]["text"], "which one?");
    assert_eq!(json["stuck"][0]["because"], "is held: review first");
    let asked = serde_json::json!({"taskIds": ["1", "2"], "until": "WAIT_UNTIL_ALL"});
    assert_eq!(coordinator.other("wait_tasks").await, asked);
}

#[tokio::test]
async fn wait_on_goes_on_whatever_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let ended = waited(&["TASK_STATUS_COMPLETED"], false);
    let mut coordinator = Scripted::start(Script {
        others: vec![("wait_tasks", Ok(ended))],
        ..Script::default()
    })
    .await;
    let args = [
        "--addr",
        &coordinator.addr,
        "task",
        "wait",
        "1",
        "--wait-on",
    ];

    let said = run(dir.path(), &args).await;

    assert_eq!(said.code, 0, "{}", said.err);
    let asked = serde_json::json!({"taskIds": ["1"], "until": "WAIT_UNTIL_ALL", "waitOn": true});
    assert_eq!(coordinator.other("wait_tasks").await, asked);
}

#[tokio::test]
async fn answer_and_steer_say_their_words_to_the_sub_agent() {
    let dir = tempfile::tempdir().unwrap();
    let task = serde_json::json!({"task": {"id": "3", "status": "TASK_STATUS_IN_PROGRESS"}});
    let stale = Status::failed_precondition("task #3 waits for no answer");
    let mut coordinator = Scripted::start(Script {
        others: vec![
            ("answer_question", Err(Status::unavailable("restarting"))),
            ("answer_question", Ok(task.clone())),
            ("answer_question", Err(stale)),
            ("steer_task", Ok(task)),
        ],
        ..Script::default()
    })
    .await;
    let addr = coordinator.addr.clone();
    let ran = async |args: &[&str]| {
        let line = [&["--addr", addr.as_str(), "task"], args].concat();
        run(dir.path(), &line).await
    };

    let answered = ran(&["answer", "3", "the new", "--question", "2"]).await;
    let refused = ran(&["answer", "3", "late"]).await;
    let steered = ran(&["steer", "3", "go left"]).await;

    let told = (answered.code, answered.out.as_str());
    assert_eq!(told, (0, "the sub-agent of task #3 has its answer\n"));
    assert_eq!(refused.code, 5, "{}", refused.err);
    let told = (steered.code, steered.out.as_str());
    assert_eq!(told, (0, "the sub-agent of task #3 is told\n"));
    let mut asked = Vec::new();
    for call in [
        "answer_question",
        "answer_question",
        "answer_question",
        "steer_task",
    ] {
        let mut request = coordinator.other(call).await;
        let id = request
            .as_object_mut()
            .unwrap()
            .remove("requestId")
            .unwrap();
        asked.push((request, id));
    }
    let words = serde_json::json!({"taskId": "3", "text": "the new", "question": 2});
    assert_eq!((&asked[0].0, &asked[1].0), (&words, &words));
    assert_eq!(asked[0].1, asked[1].1, "the same request again");
    assert_eq!(
        asked[2].0,
        serde_json::json!({"taskId": "3", "text": "late"})
    );
    assert_eq!(
        asked[3].0,
        serde_json::json!({"taskId": "3", "text": "go left"})
    );
}
