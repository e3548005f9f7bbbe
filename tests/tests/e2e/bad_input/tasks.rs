//! Tasks that nobody can make.

use ganger_proto::v1::{self, Artifact, CreateTaskRequest};
use ganger_tests::refused;
use pbjson_types::{Duration, Struct, Timestamp, Value, value::Kind};
use tonic::Code::{FailedPrecondition, InvalidArgument, NotFound};

use super::{ABSENT, bad_field, board, good, rows, small_board};

type Change = Box<dyn Fn(&mut CreateTaskRequest)>;

fn doing(change: impl Fn(&mut CreateTaskRequest) + 'static) -> Change {
    Box::new(change)
}

fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

fn span(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

fn input(sha256: &str, path: &str) -> Vec<Artifact> {
    vec![Artifact {
        sha256: sha256.into(),
        path: path.into(),
        size: 0,
    }]
}

fn number(number: f64) -> Option<Struct> {
    let value = Value {
        kind: Some(Kind::NumberValue(number)),
    };
    Some(Struct {
        fields: [("k".to_owned(), value)].into(),
    })
}

#[tokio::test]
async fn bad_tasks_are_refused_and_change_nothing() {
    let (_cluster, client) = small_board().await;
    let before = board(&client).await;
    let table = rows! {
        "no subject", InvalidArgument, "FIELD_BLANK": |t| t.subject = String::new();
        "blank subject", InvalidArgument, "FIELD_BLANK": |t| t.subject = " \t\n".into();
        "blank label", InvalidArgument, "FIELD_BLANK": |t| t.labels = vec![" ".into()];
        "absolute glob", InvalidArgument, "VALUE_INVALID":
            |t| t.output_globs = vec!["/workspace/x".into()];
        "open glob", InvalidArgument, "VALUE_INVALID": |t| t.output_globs = vec!["{x".into()];
        "glob that leads out", InvalidArgument, "VALUE_INVALID":
            |t| t.output_globs = vec!["ok".into(), "../**".into()];
        "empty glob", InvalidArgument, "FIELD_BLANK": |t| t.output_globs = vec!["".into()];
        "no team", NotFound, "TEAM_NOT_FOUND": |t| t.team = "nobody".into();
        "bad team", InvalidArgument, "NAME_INVALID": |t| t.team = "../etc".into();
        "no owner", NotFound, "MEMBER_NOT_FOUND": |t| t.owner = "nobody".into();
        "bad owner", InvalidArgument, "NAME_INVALID": |t| t.owner = "a b".into();
        "no blocker", NotFound, "TASK_NOT_FOUND": |t| t.blocked_by = vec![ABSENT];
        "no blocked", NotFound, "TASK_NOT_FOUND": |t| t.blocks = vec![ABSENT];
        "itself", InvalidArgument, "EDGE_TO_SELF": |t| t.blocked_by = vec![4];
        "task 0", InvalidArgument, "VALUE_INVALID": |t| t.blocked_by = vec![0];
        "in a circle", InvalidArgument, "EDGE_CYCLE":
            |t| (t.blocks, t.blocked_by) = (vec![1], vec![2]);
        "no parent", NotFound, "TASK_NOT_FOUND": |t| t.parent_task_id = ABSENT;
        "no type", FailedPrecondition, "AGENT_TYPE_UNKNOWN": |t| t.agent_type = "poet".into();
        "bad type", InvalidArgument, "NAME_INVALID": |t| t.agent_type = "a/b".into();
        "two types", InvalidArgument, "VALUE_INVALID":
            |t| (t.agent_type, t.subagent_type) = ("shell".into(), "bash".into());
        "priority 99", InvalidArgument, "VALUE_INVALID": |t| t.priority = 99;
        "priority -1", InvalidArgument, "VALUE_INVALID": |t| t.priority = -1;
        "kind 7", InvalidArgument, "VALUE_INVALID": |t| t.kind = 7;
        "policy 9", InvalidArgument, "VALUE_INVALID": |t| t.blocker_failed_policy = 9;
        "before 1970", InvalidArgument, "VALUE_INVALID": |t| t.deadline = at(-1, 0);
        "after 9999", InvalidArgument, "VALUE_INVALID": |t| t.deadline = at(i64::MAX, 0);
        "bad nanos", InvalidArgument, "VALUE_INVALID": |t| t.deadline = at(1, -5);
        "no time", InvalidArgument, "VALUE_INVALID": |t| t.timeout = span(0);
        "less than none", InvalidArgument, "VALUE_INVALID": |t| t.timeout = span(-1);
        "for ever", InvalidArgument, "VALUE_INVALID": |t| t.timeout = span(i64::MAX);
        "crash limit -1", InvalidArgument, "VALUE_INVALID": |t| t.crash_limit = Some(-1);
        "request id", InvalidArgument, "VALUE_INVALID": |t| t.request_id = "once".into();
        "no input", NotFound, "ARTIFACT_NOT_FOUND": |t| t.inputs = input(&"0".repeat(64), "x");
        "no digest", InvalidArgument, "VALUE_INVALID": |t| t.inputs = input("x", "x");
        "NaN", InvalidArgument, "VALUE_INVALID": |t| t.metadata = number(f64::NAN);
        "no end", InvalidArgument, "VALUE_INVALID": |t| t.metadata = number(f64::INFINITY);
    };

    for (what, change, code, reason) in table {
        let mut task = good();
        change(&mut task);
        println!("{what}");
        let answer = client.task().create_task(task).await;
        let status = answer.as_ref().err().cloned();
        refused(answer, code, reason);
        match what {
            "itself" => assert_eq!(bad_field(&status.unwrap()), "blocked_by"),
            "in a circle" => assert_eq!(bad_field(&status.unwrap()), "blocks"),
            _ => {}
        }
    }

    assert_eq!(board(&client).await, before);
}

#[tokio::test]
async fn inputs_stay_below_the_directory_that_they_are_meant_for() {
    let (_cluster, client) = small_board().await;
    let blob = client.upload("blob", b"blob").await;
    let before = board(&client).await;

    for path in [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "a/",
        "a\0b",
    ] {
        println!("{path:?}");
        let task = CreateTaskRequest {
            inputs: input(&blob.sha256, path),
            ..good()
        };
        refused(
            client.task().create_task(task).await,
            InvalidArgument,
            "VALUE_INVALID",
        );
    }

    assert_eq!(board(&client).await, before);
}

#[tokio::test]
async fn an_output_pattern_that_can_not_work_is_refused_by_every_way_that_makes_a_task() {
    let (cluster, client) = small_board().await;
    let _worker = cluster.worker("w1").await;
    let before = board(&client).await;
    let start = |glob: &str| v1::StartTaskRequest {
        description: "x".into(),
        prompt: "true".into(),
        agent_type: "shell".into(),
        output_globs: vec![glob.into()],
        ..v1::StartTaskRequest::default()
    };

    for glob in ["/workspace/x", "{x", "../**", "a/", "[b-a]", "x\\"] {
        println!("{glob}");
        let batch = v1::BatchCreateTasksRequest {
            tasks: vec![v1::NewTask {
                subject: "x".into(),
                output_globs: vec![glob.into()],
                ..v1::NewTask::default()
            }],
            ..v1::BatchCreateTasksRequest::default()
        };
        let batch = client.task().batch_create_tasks(batch).await;
        let info = refused(batch, InvalidArgument, "VALUE_INVALID");
        assert_eq!(info.metadata["field"], "output_globs", "{info:?}");
        let started = client.delegation().start_task(start(glob)).await;
        let info = refused(started, InvalidArgument, "VALUE_INVALID");
        assert_eq!(info.metadata["field"], "output_globs", "{info:?}");
        let run = v1::RunTaskRequest {
            output_globs: vec![glob.into()],
            description: "x".into(),
            prompt: "true".into(),
            agent_type: "shell".into(),
            ..v1::RunTaskRequest::default()
        };
        let run = client.delegation().run_task(run).await;
        refused(run, InvalidArgument, "VALUE_INVALID");
        let arguments = [
            (
                "TaskCreate",
                serde_json::json!({"subject": "x", "description": "x", "outputGlobs": [glob]}),
            ),
            (
                "task",
                serde_json::json!({"description": "x", "prompt": "true", "subagent_type": "shell", "output_globs": [glob]}),
            ),
        ];
        for (tool, arguments) in arguments {
            let call = v1::CallToolRequest {
                name: tool.into(),
                arguments: Some(serde_json::from_value(arguments).unwrap()),
                ..v1::CallToolRequest::default()
            };
            let called = client.tools().call_tool(call).await.unwrap().into_inner();
            assert!(called.is_error, "{tool}: {called:?}");
            let told = serde_json::to_value(called.result).unwrap();
            assert_eq!(told["reason"], "VALUE_INVALID", "{tool}: {told}");
        }
    }

    assert_eq!(board(&client).await, before);
}
