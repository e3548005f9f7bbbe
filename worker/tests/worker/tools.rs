//! Claims about the tools that sub-agents have called for them.

use std::path::PathBuf;

use ganger_proto::v1::{
    AttemptEnding, CallToolResponse, HeldVerdict, connect_request::Message as Said,
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    coordinator::{Coordinator, secret_of},
    support::{Hearing, Worker, fence, talk},
};

claims![
    a_tool_is_called_in_the_attempts_own_name,
    a_secret_goes_with_its_attempts_calls_and_never_to_the_sub_agent,
    a_secret_in_the_welcome_takes_the_place_of_the_one_before,
    a_tool_that_is_not_allowed_is_not_called,
    refusals_of_a_tool_reach_the_sub_agent,
    a_coordinator_that_is_away_is_called_again_with_the_same_request,
    only_so_many_calls_are_under_way,
];

/// Calls a tool, and writes down what came of it.
fn calls(name: &str) -> String {
    let line =
        json!({"type": "tool", "id": "a", "name": name, "arguments": {"ready": true, "n": 3}});
    format!("read -r task; echo '{line}'; read -r told; echo \"told: $told\"")
}

async fn start(prompt: &str) -> (Coordinator, Worker, Hearing) {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::talking(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    connection.assign(&talk(1, prompt)).await;
    (coordinator, worker, Hearing::of(connection))
}

fn answer(result: Value, text: &str, is_error: bool) -> CallToolResponse {
    CallToolResponse {
        result: Some(serde_json::from_value(result).unwrap()),
        text: text.into(),
        is_error,
    }
}

/// What the sub-agent was told.
async fn told(hearing: &mut Hearing) -> Value {
    let ended = hearing.ended().await;
    assert_eq!(ended.ending(), AttemptEnding::Completed, "{}", ended.error);
    let line = ended.result.strip_prefix("told: ").unwrap();
    assert!(
        line.starts_with("{\"type\":\"tool_result\",\"id\":"),
        "{line}"
    );
    serde_json::from_str(line).unwrap()
}

async fn a_tool_is_called_in_the_attempts_own_name() {
    let (mut coordinator, _worker, mut hearing) = start(&calls("TaskList")).await;

    let call = coordinator.call().await;
    assert_eq!(
        (call.attempt.as_str(), call.team.as_str()),
        ("e/1/1/1", "red")
    );
    assert_eq!(call.request.name, "TaskList");
    let arguments = serde_json::to_value(call.request.arguments.unwrap()).unwrap();
    assert_eq!(arguments, json!({"ready": true, "n": 3.0}));
    assert!(uuid::Uuid::parse_str(&call.request.request_id).is_ok());
    let result = json!({"tasks": [{"id": "3", "n": 2}]});
    call.answer
        .send(Ok(answer(result.clone(), "one", false)))
        .unwrap();

    assert_eq!(
        told(&mut hearing).await,
        json!({"type": "tool_result", "id": "a", "result": result})
    );
    assert_eq!(hearing.notes(), ["called TaskList"]);
}

async fn a_secret_goes_with_its_attempts_calls_and_never_to_the_sub_agent() {
    let look = "read -r task; echo \"$task\"; env; tr '\\0' '\\n' </proc/self/cmdline; \
                find . -type f -exec cat {} +; echo looked";
    let line = json!({"type": "tool", "id": "a", "name": "TaskList", "arguments": {}});
    let (mut coordinator, worker, mut hearing) = start(&format!(
        "{look}; echo '{line}'; read -r told; echo \"$told\""
    ))
    .await;

    let call = coordinator.call().await;

    assert_eq!(call.secret, secret_of(1));
    assert_eq!(worker.files_with(&secret_of(1)), Vec::<PathBuf>::new());
    let told = answer(json!({"tasks": []}), "none", false);
    call.answer.send(Ok(told)).unwrap();
    let ended = hearing.ended().await;
    assert_eq!(ended.ending(), AttemptEnding::Completed, "{}", ended.error);
    let seen: String = hearing.records.iter().map(|r| r.text.as_str()).collect();
    assert!(seen.contains("looked") && seen.contains("task:1"), "{seen}");
    assert!(!seen.contains("s3cret"), "{seen}");
    assert!(!format!("{ended:?}").contains("s3cret"));
}

async fn a_secret_in_the_welcome_takes_the_place_of_the_one_before() {
    let (mut coordinator, _worker, hearing) = start(&calls("TaskList")).await;
    let first = coordinator.call().await;
    assert_eq!(first.secret, secret_of(1));
    drop(hearing);

    let mut again = coordinator.connection().await;
    again.hello().await;
    let verdict = HeldVerdict {
        fence: Some(fence(1, 1)),
        keep: true,
        secret: "s3cret-anew".into(),
        ..HeldVerdict::default()
    };
    again.welcome(vec![verdict]).await;
    // What it repeats on the new stream it says when it has taken the Welcome in.
    while !matches!(again.next().await, Some(Said::Started(_))) {}
    let away = Status::unavailable("starting");
    first.answer.send(Err(away)).unwrap();

    assert_eq!(coordinator.call().await.secret, "s3cret-anew");
}

async fn a_tool_that_is_not_allowed_is_not_called() {
    let (_coordinator, _worker, mut hearing) = start(&calls("dissolve_team")).await;

    assert_eq!(
        told(&mut hearing).await,
        json!({"type": "tool_result", "id": "a", "error": {
            "reason": "TOOL_NOT_ALLOWED",
            "message": "agent type talker may call: TaskList, SendMessage",
        }})
    );
}

async fn refusals_of_a_tool_reach_the_sub_agent() {
    let details = ErrorDetails::with_error_info("ATTEMPT_STALE", "ganger.dev", []);
    let stale = Status::with_error_details(Code::Aborted, "it is over", details);
    let refused = json!({"error": "blocked", "reason": "TASK_BLOCKED"});
    let answers = [
        (Err(stale), "ATTEMPT_STALE", "it is over"),
        (
            Ok(answer(refused, "it is blocked: wait", true)),
            "TASK_BLOCKED",
            "it is blocked: wait",
        ),
    ];
    for (answer, reason, message) in answers {
        let (mut coordinator, _worker, mut hearing) = start(&calls("TaskList")).await;

        coordinator.call().await.answer.send(answer).unwrap();

        assert_eq!(
            told(&mut hearing).await,
            json!({"type": "tool_result", "id": "a", "error": {"reason": reason, "message": message}})
        );
    }
}

async fn a_coordinator_that_is_away_is_called_again_with_the_same_request() {
    let (mut coordinator, _worker, mut hearing) = start(&calls("TaskList")).await;

    let first = coordinator.call().await;
    first
        .answer
        .send(Err(Status::unavailable("starting")))
        .unwrap();
    let second = coordinator.call().await;
    assert_eq!(second.request, first.request);
    second
        .answer
        .send(Ok(answer(json!({}), "", false)))
        .unwrap();

    assert_eq!(
        told(&mut hearing).await,
        json!({"type": "tool_result", "id": "a", "result": {}})
    );
}

async fn only_so_many_calls_are_under_way() {
    let prompt = r#"
        read -r task
        for i in 1 2 3 4 5 6 7 8 9; do echo "{\"type\":\"tool\",\"id\":$i,\"name\":\"TaskList\"}"; done
        read -r told; echo "told: $told""#;
    let (_coordinator, _worker, mut hearing) = start(prompt).await;

    // None of the eight is answered.
    assert_eq!(
        told(&mut hearing).await,
        json!({"type": "tool_result", "id": 9, "error": {
            "reason": "TOO_MANY_CALLS",
            "message": "8 calls are under way: wait for one of them",
        }})
    );
}
