//! The person's tool and the real grpcurl print the same.

use std::{path::Path, process::Stdio};

use ganger_tests::{Cluster, patiently, programs};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{jq, printed, program, tool};

/// Verbs, and what they ask: the call, what it says, and what jq takes of its answer.
const VERBS: &[(&[&str], &str, &str, &str)] = &[
    (&["team", "list"], "TeamService/ListTeams", "{}", "."),
    (
        &["task", "show", "1"],
        "TaskService/GetTask",
        r#"{"task_id": 1}"#,
        ".",
    ),
    (
        &["task", "show", "2"],
        "TaskService/GetTask",
        r#"{"task_id": 2}"#,
        ".",
    ),
    (&["task", "list"], "TaskService/ListTasks", "{}", "."),
    (
        &["task", "explain", "2"],
        "TaskService/ExplainTask",
        r#"{"task_id": 2, "page_size": 10}"#,
        ".",
    ),
    (
        &["--member", "alice", "mail", "receive"],
        "MailboxService/ReceiveMessages",
        "{}",
        ".",
    ),
    (&["tool", "list"], "ToolService/ListTools", "{}", "."),
    (
        &["logs", "2"],
        "DelegationService/WatchTranscript",
        r#"{"task_id": 2}"#,
        ".records[]?",
    ),
];

/// What grpcurl brings, by jq's filter.
async fn theirs(grpcurl: &Path, cluster: &Cluster, call: &[&str], filter: &str) -> Option<String> {
    let [rest @ .., data, method] = call else {
        unreachable!("a call has data and a method");
    };
    let mut command = program(grpcurl);
    command
        .arg("-plaintext")
        .args(rest)
        .args(["-d", data, &cluster.addr().to_string()])
        .arg(format!("ganger.v1.{method}"));
    jq(filter, &printed(&mut command).await).await
}

fn ganger(cluster: &Cluster, args: &[&str]) -> tokio::process::Command {
    let mut command = program(cluster.ganger());
    command
        .args(["--addr", &cluster.addr().to_string(), "-o", "json"])
        .args(args)
        .env_clear()
        .env("HOME", cluster.dir())
        .current_dir(cluster.dir());
    command
}

#[tokio::test]
async fn json_of_the_tool_is_grpcurls_answer_after_jq() {
    let Some(grpcurl) = tool("bin/grpcurl") else {
        return;
    };
    let cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("w1").await;
    for args in [
        &["member", "add", "alice", "--role", "<writer> & reader"][..],
        &["task", "create", "Größe \"prüfen\"", "--owner", "alice"],
        &["run", "--type", "shell", "echo one; echo two"],
        &["task", "create", "last", "--blocked-by", "1"],
    ] {
        printed(&mut ganger(&cluster, args)).await;
    }
    // The same request id answers the first outcome, so both see the same task.
    let id = "0192d1f6-7a6e-7b3c-8a6e-2f6f7b3c8a6e";
    let create = [
        "task",
        "create",
        "labelled",
        "--label",
        "b",
        "--label",
        "a",
        "--worker-label",
        "zone=x",
        "--worker-label",
        "gpu=yes",
        "--request-id",
        id,
    ];
    let said = format!(
        r#"{{"subject": "labelled", "labels": ["b", "a"], "request_id": "{id}",
            "worker_labels": {{"zone": "x", "gpu": "yes"}}}}"#
    );
    let create_call = (&create[..], "TaskService/CreateTask", said.as_str(), ".");

    for (verb, method, data, filter) in VERBS.iter().copied().chain([create_call]) {
        let ours = printed(&mut ganger(&cluster, verb)).await;
        let mut call = Vec::new();
        if verb.contains(&"alice") {
            call.extend(["-H", "ganger-member: alice"]);
        }
        call.extend([data, method]);
        let Some(theirs) = theirs(&grpcurl, &cluster, &call, filter).await else {
            return;
        };
        assert!(theirs.ends_with("}\n"), "{verb:?}: {theirs:?}");
        assert_eq!(ours, theirs, "{verb:?}");
    }
}

#[tokio::test]
async fn stream_of_the_tool_is_one_object_a_line() {
    let Some(grpcurl) = tool("bin/grpcurl") else {
        return;
    };
    let cluster = Cluster::start(programs!()).await;
    for subject in ["one", "two", "three"] {
        printed(&mut ganger(&cluster, &["task", "create", subject])).await;
    }

    let mut command = ganger(&cluster, &["watch", "--after", "0"]);
    let mut watching = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut ours = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut heard = String::new();
    let until = heard_until(&mut ours, &mut heard);
    patiently("ganger watch tells of the third task", until).await;

    let mut command = program(grpcurl);
    let events = r#"{"after_revision": 0}"#;
    command
        .args(["-plaintext", "-max-time", "1", "-d", events])
        .arg(cluster.addr().to_string())
        .arg("ganger.v1.TeamService/WatchTeam");
    // The stream has no end: what comes until grpcurl gives up is all there is.
    let theirs = super::run(&mut command).await;
    let theirs = String::from_utf8(theirs.stdout).unwrap();
    let Some(theirs) = jq(".events[]?", &theirs).await else {
        return;
    };
    assert_eq!(heard, theirs);
}

async fn heard_until(
    lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    heard: &mut String,
) {
    while !heard.contains("three") {
        let line = lines.next_line().await.unwrap().expect("it goes on");
        heard.push_str(&line);
        heard.push('\n');
    }
}
