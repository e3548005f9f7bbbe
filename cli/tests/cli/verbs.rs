//! Short verbs: what they ask, what they say, and their exit codes.

use std::collections::HashMap;

use ganger_proto::v1;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    run,
    scripted::{Asked, Script, Scripted},
};

fn task(id: u64, subject: &str) -> v1::Task {
    v1::Task {
        id,
        subject: subject.into(),
        status: v1::TaskStatus::Pending.into(),
        line: format!("#{id} [pending] {subject}"),
        ..v1::Task::default()
    }
}

fn created() -> v1::CreateTaskResponse {
    v1::CreateTaskResponse {
        task: Some(task(3, "Fix")),
    }
}

#[tokio::test]
async fn create_that_meets_a_broken_wire_is_asked_again_with_the_same_request_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = Scripted::start(Script {
        created: vec![Err(Status::unavailable("starting")), Ok(created())],
        ..Script::default()
    })
    .await;

    let said = run(
        dir.path(),
        &["--addr", &coordinator.addr, "task", "create", "Fix"],
    )
    .await;

    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "#3 [pending] Fix\n"),
        "{}",
        said.err
    );
    let mut ids = Vec::new();
    for _ in 0..2 {
        let Asked::Created(request, _) = coordinator.next().await else {
            panic!("something else was asked");
        };
        ids.push(request.request_id);
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0].len(), 36);
}

#[tokio::test]
async fn wire_that_stays_broken_is_unavailable_after_one_more_try() {
    let dir = tempfile::tempdir().unwrap();
    let broken = || Err(Status::unavailable("shutting down"));
    let mut coordinator = Scripted::start(Script {
        created: vec![broken(), broken(), broken()],
        ..Script::default()
    })
    .await;

    let said = run(
        dir.path(),
        &["--addr", &coordinator.addr, "task", "create", "Fix"],
    )
    .await;

    assert_eq!(said.code, 69);
    assert!(said.err.contains("shutting down"), "{}", said.err);
    let mut tries = 0;
    while coordinator.asked.try_recv().is_ok() {
        tries += 1;
    }
    assert_eq!(tries, 2);
}

#[tokio::test]
async fn everything_that_a_task_can_be_told_goes_on_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "s3cret\n").unwrap();
    std::fs::write(
        dir.path().join("ganger.toml"),
        "member = 'ann/2'\ntoken_file = 'token'\n",
    )
    .unwrap();
    std::fs::write(dir.path().join("script"), "make all\n").unwrap();
    let mut coordinator = Scripted::start(Script {
        created: vec![Ok(created())],
        ..Script::default()
    })
    .await;

    let line = "task create Fix -d long --active-form Fixing --owner bob --type shell \
                --prompt-file script --blocked-by 1,2 --blocks 9 --parent 4 --priority high \
                --label a --label b --kind verification --on-blocker-failed proceed \
                --deadline 2030-01-01T00:00:00Z --time-limit 90s --crash-limit 0 \
                --output-glob out/** --metadata {\"n\":1} --request-id abc --share-todos \
                --max-attempts 3 --backoff 2s --backoff-max 1m --on-failure pause \
                --client-task-id mine --joins 5 --outlive-parent --because-of 12 --on-behalf-of carol";
    let args = ["--addr", &coordinator.addr, "--team", "red"]
        .into_iter()
        .chain(line.split_whitespace());
    let said = run(dir.path(), &args.collect::<Vec<_>>()).await;

    assert_eq!(said.code, 0, "{}", said.err);
    let Asked::Created(request, metadata) = coordinator.next().await else {
        panic!("something else was asked");
    };
    assert_eq!(metadata.get("authorization").unwrap(), "Bearer s3cret");
    assert_eq!(metadata.get("ganger-team").unwrap(), "red");
    assert_eq!(metadata.get("ganger-member").unwrap(), "ann/2");
    assert_eq!(metadata.get("ganger-cause-message").unwrap(), "12");
    assert_eq!(metadata.get("ganger-on-behalf-of").unwrap(), "carol");
    assert_eq!(
        serde_json::to_value(&request).unwrap(),
        serde_json::json!({
            "subject": "Fix", "description": "long", "activeForm": "Fixing", "owner": "bob",
            "agentType": "shell", "prompt": "make all\n", "blockedBy": ["1", "2"],
            "blocks": ["9"], "parentTaskId": "4", "joinsTaskId": "5", "outliveParent": true, "priority": "TASK_PRIORITY_HIGH",
            "labels": ["a", "b"], "kind": "TASK_KIND_VERIFICATION",
            "blockerFailedPolicy": "BLOCKER_FAILED_POLICY_PROCEED",
            "deadline": "2030-01-01T00:00:00Z", "timeout": "90s", "crashLimit": 0,
            "outputGlobs": ["out/**"], "metadata": {"n": 1.0}, "requestId": "abc",
            "shareTodos": true, "failurePolicy": "FAILURE_POLICY_PAUSE",
            "retry": {"maxAttempts": 3, "initialBackoff": "2s", "maxBackoff": "60s"},
            "clientTaskId": "mine",
        })
    );
}

#[tokio::test]
async fn list_gathers_every_page_as_table_and_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let pages = || {
        vec![
            Ok(v1::ListTasksResponse {
                tasks: vec![task(1, "First")],
                next_page_token: "1".into(),
                revision: 8,
            }),
            Ok(v1::ListTasksResponse {
                tasks: vec![task(2, "Second")],
                next_page_token: String::new(),
                revision: 9,
            }),
        ]
    };
    let listed = pages().into_iter().chain(pages()).collect();
    let mut coordinator = Scripted::start(Script {
        listed,
        ..Script::default()
    })
    .await;

    let table = run(
        dir.path(),
        &["--addr", &coordinator.addr, "task", "list", "--ready"],
    )
    .await;
    let json = run(
        dir.path(),
        &["--addr", &coordinator.addr, "task", "list", "-o", "json"],
    )
    .await;

    assert_eq!(
        table.out,
        "ID  STANDS   WHO  FOR  TYPE  BLOCKED BY  SUBJECT\n\
         1   pending                              First\n\
         2   pending                              Second\n"
    );
    let json: v1::ListTasksResponse = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.tasks.len(), json.revision), (2, 9));
    let (Asked::Listed(first), Asked::Listed(second)) =
        (coordinator.next().await, coordinator.next().await)
    else {
        panic!("something else was asked");
    };
    assert_eq!((first.ready, first.page_token.as_str()), (Some(true), ""));
    assert_eq!(
        (second.ready, second.page_token.as_str()),
        (Some(true), "1")
    );
}

#[tokio::test]
async fn refusal_has_its_exit_code_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let facts = HashMap::from([
        ("task".into(), "9".into()),
        ("next".into(), "the API's".into()),
    ]);
    let refused = || {
        let details = ErrorDetails::with_error_info("TASK_NOT_FOUND", "ganger.dev", facts.clone());
        Err(Status::with_error_details(
            Code::NotFound,
            "no task #9",
            details,
        ))
    };
    let coordinator = Scripted::start(Script {
        got: vec![refused(), refused()],
        ..Script::default()
    })
    .await;

    let people = run(
        dir.path(),
        &["--addr", &coordinator.addr, "task", "show", "9"],
    )
    .await;
    let program = run(
        dir.path(),
        &[
            "--addr",
            &coordinator.addr,
            "task",
            "show",
            "9",
            "-o",
            "json",
        ],
    )
    .await;

    assert_eq!((people.code, people.out.as_str()), (4, ""));
    assert_eq!(
        people.err,
        "error: no task #9\n  reason: TASK_NOT_FOUND\n  task: 9\nnext: see `ganger task list`; \
         another team is named with --team\n"
    );
    assert_eq!((program.code, program.out.as_str()), (4, ""));
    let error: serde_json::Value = serde_json::from_str(&program.err).unwrap();
    assert_eq!(error["error"]["reason"], "TASK_NOT_FOUND");
    assert_eq!(error["error"]["exitCode"], 4);
}

#[tokio::test]
async fn without_a_coordinator_the_way_to_start_one_is_named() {
    let dir = tempfile::tempdir().unwrap();

    // Port 1 is nobody's.
    let said = run(dir.path(), &["--addr", "127.0.0.1:1", "task", "list"]).await;

    assert_eq!(said.code, 69);
    assert!(
        said.err
            .starts_with("error: no coordinator at 127.0.0.1:1\n"),
        "{}",
        said.err
    );
    assert!(said.err.contains("`ganger up`"), "{}", said.err);
}

#[tokio::test]
async fn wait_for_an_answer_is_bounded_by_timeout() {
    let dir = tempfile::tempdir().unwrap();
    // It takes connections, and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap().to_string();

    let said = run(
        dir.path(),
        &["--addr", &addr, "--timeout", "200ms", "task", "list"],
    )
    .await;

    assert_eq!(said.code, 124, "{}", said.err);
}

#[tokio::test]
async fn unknown_setting_in_a_file_is_wrong_usage() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ganger.toml"), "adress = 'x'\n").unwrap();

    let said = run(dir.path(), &["task", "list"]).await;

    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("ganger.toml") && said.err.contains("adress"),
        "{}",
        said.err
    );
}

#[tokio::test]
async fn completions_and_help_need_no_coordinator() {
    let dir = tempfile::tempdir().unwrap();

    let script = run(dir.path(), &["completions", "bash"]).await;
    let help = run(dir.path(), &["--help"]).await;
    let worker = run(dir.path(), &["worker", "--help"]).await;

    let helped = run(dir.path(), &["help", "worker"]).await;

    assert_eq!((script.code, help.code, worker.code), (0, 0, 0));
    assert_eq!((helped.code, helped.out), (0, worker.out.clone()));
    assert!(script.out.contains("_ganger"), "{}", script.out);
    assert!(help.out.contains("124  timed out"), "{}", help.out);
    assert!(worker.out.contains("--coordinator"), "{}", worker.out);
}

/// Call by call, each from where the last one stopped, with what it has come to so far.
#[tokio::test]
async fn a_sweep_goes_on_until_there_is_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let more = serde_json::json!({"changed": 1000, "more": true, "lastTaskId": "1001"});
    let last = serde_json::json!({"changed": 7, "lastTaskId": "1500"});
    let mut coordinator = Scripted::start(Script {
        others: vec![
            ("cancel_tasks", Ok(more.clone())),
            ("cancel_tasks", Ok(last)),
            (
                "pause_tasks",
                Ok(serde_json::json!({"changed": 1, "lastTaskId": "9"})),
            ),
            (
                "resume_tasks",
                Ok(serde_json::json!({"changed": 2, "lastTaskId": "9"})),
            ),
        ],
        ..Script::default()
    })
    .await;
    let addr = coordinator.addr.clone();
    let ganger = |line: &'static str| {
        let args = ["--addr", &addr, "task"].into_iter().chain(line.split(' '));
        let args: Vec<String> = args.map(str::to_owned).collect();
        let dir = dir.path().to_owned();
        async move {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            run(&dir, &args).await
        }
    };

    let cancelled = ganger("cancel --parent 1 --owner bob --reason why").await;
    let paused = ganger("pause --label nightly --type shell").await;
    let resumed = ganger("resume --label nightly -o json").await;

    assert_eq!(cancelled.out, "1007 tasks cancelled, or being stopped\n");
    assert!(
        cancelled.err.contains("1000 tasks cancelled"),
        "{}",
        cancelled.err
    );
    assert_eq!(paused.out, "1 task held\n");
    let told: serde_json::Value = serde_json::from_str(&resumed.out).unwrap();
    assert_eq!(told["changed"], 2);
    let mut first = coordinator.other("cancel_tasks").await;
    let mut second = coordinator.other("cancel_tasks").await;
    let ids = [&mut first, &mut second].map(|asked| asked["requestId"].take());
    assert_ne!(ids[0], ids[1]);
    assert_eq!(first["reason"], "why");
    assert_eq!(
        first["filter"],
        serde_json::json!({"parentTaskId": "1", "owner": "bob"})
    );
    let from_there = serde_json::json!({
        "parentTaskId": "1", "owner": "bob", "afterTaskId": "1001",
    });
    assert_eq!(second["filter"], from_there);
    let asked = coordinator.other("pause_tasks").await;
    let filter = serde_json::json!({"label": "nightly", "agentType": "shell"});
    assert_eq!(asked["filter"], filter);
}
