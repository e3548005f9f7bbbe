//! `ganger mail` and `ganger tool`: what is taken out of a mailbox when, and what is never done
//! twice.

use ganger_proto::v1;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tonic::Status;

use crate::{
    ganger, run,
    scripted::{Asked, Script, Scripted},
};

type Answers = Vec<(&'static str, Result<Value, Status>)>;

async fn scripted(others: Answers) -> Scripted {
    Scripted::start(Script {
        others,
        ..Script::default()
    })
    .await
}

fn message(id: u64, kind: &str) -> Value {
    json!({
        "id": id, "from": "bob", "type": kind, "text": format!("words {id}"),
        "correlationId": "7",
    })
}

#[tokio::test]
async fn mail_is_acknowledged_once_it_is_printed_and_only_where_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mail = || {
        let messages = [
            message(3, "MESSAGE_TYPE_TEXT"),
            message(5, "MESSAGE_TYPE_TEXT"),
        ];
        Ok(json!({"messages": messages, "unread": 2}))
    };
    let mut coordinator = scripted(vec![
        ("receive_messages", mail()),
        ("receive_messages", mail()),
        ("ack_messages", Ok(json!({"acknowledged": 2}))),
    ])
    .await;
    let addr = coordinator.addr.clone();

    let looked = run(dir.path(), &["--addr", &addr, "mail", "receive"]).await;
    let taken = run(dir.path(), &["--addr", &addr, "mail", "read", "--ack"]).await;

    for said in [&looked, &taken] {
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.out.contains("message 3 from bob"), "{}", said.out);
        assert!(said.out.contains("\n  words 5\n"), "{}", said.out);
    }
    assert!(looked.err.contains("ganger mail ack"), "{}", looked.err);
    for _ in 0..2 {
        assert_eq!(coordinator.other("receive_messages").await, json!({}));
    }
    assert_eq!(
        coordinator.other("ack_messages").await,
        json!({"messageIds": ["3", "5"]})
    );
    assert!(coordinator.is_asked_no_more());
}

#[tokio::test]
async fn wait_for_mail_bridges_a_broken_wire_and_is_timed_out_without() {
    let dir = tempfile::tempdir().unwrap();
    let mail = json!({"messages": [message(3, "MESSAGE_TYPE_TEXT")]});
    let mut coordinator = scripted(vec![
        ("receive_messages", Err(Status::unavailable("restarting"))),
        ("receive_messages", Err(Status::unavailable("starting"))),
        ("receive_messages", Ok(mail)),
        ("receive_messages", Ok(json!({"unread": 4}))),
    ])
    .await;
    let addr = coordinator.addr.clone();

    let waited = run(
        dir.path(),
        &["--addr", &addr, "mail", "receive", "--wait", "1h"],
    )
    .await;
    let over = run(
        dir.path(),
        &["--addr", &addr, "mail", "receive", "--wait", "0s"],
    )
    .await;

    assert_eq!(waited.code, 0, "{}", waited.err);
    assert!(waited.out.contains("words 3"), "{}", waited.out);
    assert_eq!(
        coordinator.other("receive_messages").await,
        json!({"wait": "300s"}),
        "one call waits as long as the contract allows"
    );
    assert_eq!(
        (over.code, over.out.as_str()),
        (124, "no such mail; 4 unread in all\n"),
        "{}",
        over.err
    );
}

#[tokio::test]
async fn followed_mailbox_goes_on_where_it_was_and_acknowledges_what_was_printed() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = scripted(vec![
        ("ack_messages", Ok(json!({}))),
        ("ack_messages", Ok(json!({}))),
    ])
    .await;
    let args = [
        "--addr",
        &coordinator.addr,
        "-o",
        "json",
        "mail",
        "watch",
        "--ack",
        "--from",
        "bob",
    ];
    let mut child = ganger(dir.path(), &args).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mail = |id| v1::WatchMailboxResponse {
        messages: vec![v1::Message {
            id,
            ..v1::Message::default()
        }],
    };

    let mut ids = Vec::new();
    for (after, id) in [(0, 3), (3, 5)] {
        let Asked::MailWatched(request, into) = coordinator.next().await else {
            panic!("something else was asked");
        };
        assert_eq!(
            (request.from.as_str(), request.after_message_id),
            ("bob", after)
        );
        assert!(!request.auto_ack);
        into.send(Ok(mail(id))).await.unwrap();
        let line = lines.next_line().await.unwrap().unwrap();
        ids.push(serde_json::from_str::<v1::Message>(&line).unwrap().id);
        assert_eq!(
            coordinator.other("ack_messages").await,
            json!({"messageIds": [id.to_string()]})
        );
        into.send(Err(Status::unavailable("restarting")))
            .await
            .unwrap();
    }

    child.kill().await.unwrap();
    assert_eq!(ids, [3, 5]);
}

#[tokio::test]
async fn question_waits_for_its_own_answer_prints_it_alone_and_takes_it_out() {
    let dir = tempfile::tempdir().unwrap();
    let sent = json!({
        "messageId": "7", "correlationId": "7",
        "receipts": [{"member": "bob", "stored": true, "liveness": "MEMBER_LIVENESS_IDLE"}],
    });
    let answer = json!({"messages": [message(9, "MESSAGE_TYPE_ANSWER")]});
    let mut coordinator = scripted(vec![
        ("send_message", Ok(sent.clone())),
        ("receive_messages", Ok(answer)),
        ("ack_messages", Ok(json!({}))),
        ("send_message", Ok(sent)),
        ("receive_messages", Ok(json!({}))),
    ])
    .await;
    let addr = coordinator.addr.clone();
    let ask = ["--addr", &addr, "mail", "ask", "bob", "which?", "--wait"];

    let answered = run(dir.path(), &[&ask[..], &["1m"]].concat()).await;
    let over = run(dir.path(), &[&ask[..], &["0s"]].concat()).await;

    assert_eq!(
        (answered.code, answered.out.as_str()),
        (0, "words 9\n"),
        "{}",
        answered.err
    );
    assert_eq!(answered.err, "message 7 to bob: stored; idle\n");
    let asked = coordinator.other("send_message").await;
    assert_eq!(
        (&asked["type"], &asked["to"], &asked["text"]),
        (
            &json!("MESSAGE_TYPE_QUESTION"),
            &json!(["bob"]),
            &json!("which?")
        )
    );
    let filter = coordinator.other("receive_messages").await;
    assert_eq!(filter["types"], json!(["MESSAGE_TYPE_ANSWER"]));
    assert_eq!(
        (&filter["correlationId"], &filter["afterMessageId"]),
        (&json!("7"), &json!("7"))
    );
    assert_eq!(
        coordinator.other("ack_messages").await,
        json!({"messageIds": ["9"]})
    );
    assert_eq!((over.code, over.out.as_str()), (124, ""), "{}", over.err);
    assert!(
        over.err.contains("--correlation-id 7"),
        "no way on in {}",
        over.err
    );
}

#[tokio::test]
async fn shutdown_waits_for_every_answer_and_one_no_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let receipts = [json!({"member": "bob"}), json!({"member": "carol"})];
    let verdict = |id: u64, approve: bool| {
        let mut message = message(id, "MESSAGE_TYPE_SHUTDOWN_RESPONSE");
        message["approve"] = approve.into();
        Ok(json!({"messages": [message]}))
    };
    let mut coordinator = scripted(vec![
        (
            "send_message",
            Ok(json!({"messageId": "7", "correlationId": "7", "receipts": receipts})),
        ),
        ("receive_messages", verdict(8, true)),
        ("receive_messages", verdict(9, false)),
        ("ack_messages", Ok(json!({}))),
        ("ack_messages", Ok(json!({}))),
    ])
    .await;
    let args = [
        "--addr",
        &coordinator.addr,
        "mail",
        "shutdown",
        "bob,carol",
        "--reason",
        "done",
        "--answer-within",
        "30s",
        "--wait",
        "1m",
    ];

    let said = run(dir.path(), &args).await;

    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.out.contains("(shutdown response; yes; correlation 7)"));
    assert!(said.out.contains("(shutdown response; no; correlation 7)"));
    let asked = coordinator.other("send_message").await;
    assert_eq!(
        (&asked["timeout"], &asked["text"]),
        (&json!("30s"), &json!("done"))
    );
    let after = |request: Value| request["afterMessageId"].clone();
    assert_eq!(after(coordinator.other("receive_messages").await), "7");
    coordinator.other("ack_messages").await;
    assert_eq!(after(coordinator.other("receive_messages").await), "8");
}

#[tokio::test]
async fn verdict_goes_to_who_asked_and_who_leaves_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let asked = |kind| Ok(json!({"messages": [message(12, kind)]}));
    let mut coordinator = scripted(vec![
        ("receive_messages", asked("MESSAGE_TYPE_SHUTDOWN_REQUEST")),
        ("send_message", Ok(json!({"messageId": "13"}))),
        (
            "receive_messages",
            asked("MESSAGE_TYPE_PLAN_APPROVAL_REQUEST"),
        ),
        ("send_message", Ok(json!({"messageId": "14"}))),
        ("ack_messages", Ok(json!({}))),
        ("receive_messages", Ok(json!({}))),
    ])
    .await;
    let addr = coordinator.addr.clone();

    let leaves = run(dir.path(), &["--addr", &addr, "mail", "approve", "12"]).await;
    let refuses = run(
        dir.path(),
        &["--addr", &addr, "mail", "reject", "12", "the tests first"],
    )
    .await;
    let absent = run(dir.path(), &["--addr", &addr, "mail", "approve", "12"]).await;

    assert_eq!((leaves.code, refuses.code), (0, 0), "{}", refuses.err);
    assert_eq!(
        coordinator.other("receive_messages").await,
        json!({"afterMessageId": "11", "limit": 1})
    );
    let verdict = coordinator.other("send_message").await;
    assert_eq!(
        (&verdict["type"], &verdict["to"], &verdict["approve"]),
        (
            &json!("MESSAGE_TYPE_SHUTDOWN_RESPONSE"),
            &json!(["bob"]),
            &json!(true)
        )
    );
    coordinator.other("receive_messages").await;
    let verdict = coordinator.other("send_message").await;
    assert_eq!(
        (&verdict["approve"], &verdict["text"]),
        (&json!(false), &json!("the tests first"))
    );
    assert_eq!(
        coordinator.other("ack_messages").await,
        json!({"messageIds": ["12"]})
    );
    assert_eq!(absent.code, 4, "{}", absent.err);
    assert!(
        absent.err.contains("message 12 is not in your mailbox"),
        "{}",
        absent.err
    );
}

#[tokio::test]
async fn tool_is_called_again_as_the_same_call_where_the_wire_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let mut coordinator = scripted(vec![
        ("call_tool", Err(Status::unavailable("restarting"))),
        ("call_tool", Ok(json!({"text": "heard"}))),
    ])
    .await;
    let args = [
        "--addr",
        &coordinator.addr,
        "tool",
        "call",
        "TaskUpdate",
        "taskId=3",
        "addBlockedBy:=[\"2\"]",
    ];

    let said = run(dir.path(), &args).await;

    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "heard\n"),
        "{}",
        said.err
    );
    let first = coordinator.other("call_tool").await;
    assert_eq!(first["name"], "TaskUpdate");
    assert_eq!(
        first["arguments"],
        json!({"taskId": "3", "addBlockedBy": ["2"]})
    );
    assert!(first["requestId"].as_str().is_some_and(|id| id.len() == 36));
    assert_eq!(coordinator.other("call_tool").await, first);
    assert!(coordinator.is_asked_no_more());
}

#[tokio::test]
async fn refusal_of_a_tool_is_told_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let refused = || {
        Ok(json!({
            "text": "task #9 is not there", "isError": true,
            "result": {"reason": "TASK_NOT_FOUND"},
        }))
    };
    let coordinator = scripted(vec![("call_tool", refused()), ("call_tool", refused())]).await;
    let addr = coordinator.addr.clone();
    let call = ["--addr", &addr, "tool", "call", "TaskGet", "taskId=9"];

    let people = run(dir.path(), &call).await;
    let program = run(dir.path(), &[&call[..], &["-o", "json"]].concat()).await;

    assert_eq!((people.code, people.out.as_str()), (1, ""));
    assert_eq!(people.err, "task #9 is not there\n");
    assert_eq!(program.code, 1);
    let answer: v1::CallToolResponse = serde_json::from_str(&program.out).unwrap();
    assert!(answer.is_error, "{}", program.out);
}

#[tokio::test]
async fn nothing_to_claim_is_an_empty_answer_and_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = scripted(vec![("claim_next_task", Ok(json!({})))]).await;
    let args = ["--addr", &coordinator.addr, "-o", "json", "task", "next"];

    let said = run(dir.path(), &args).await;

    assert_eq!((said.code, said.out.as_str()), (4, "{}\n"), "{}", said.err);
}

/// It has no mailbox to which an answer could go.
#[tokio::test]
async fn question_of_a_task_s_sub_agent_is_answered_to_the_task() {
    let dir = tempfile::tempdir().unwrap();
    let question = json!({
        "id": "12", "from": "task:3", "type": "MESSAGE_TYPE_QUESTION", "text": "which one?",
        "correlationId": "task:3/1/2", "taskId": "3",
    });
    let mut coordinator = scripted(vec![
        ("receive_messages", Ok(json!({"messages": [question]}))),
        ("answer_question", Ok(json!({"task": {"id": "3"}}))),
        ("ack_messages", Ok(json!({"acknowledged": 1}))),
    ])
    .await;
    let addr = coordinator.addr.clone();

    let said = run(
        dir.path(),
        &["--addr", &addr, "mail", "answer", "12", "the new"],
    )
    .await;

    let told = (said.code, said.out.as_str());
    let expected = "the sub-agent of task #3 has its answer\n";
    assert_eq!(told, (0, expected), "{}", said.err);
    coordinator.other("receive_messages").await;
    let mut asked = coordinator.other("answer_question").await;
    asked.as_object_mut().unwrap().remove("requestId").unwrap();
    assert_eq!(
        asked,
        json!({"taskId": "3", "text": "the new", "question": 2})
    );
    assert_eq!(
        coordinator.other("ack_messages").await,
        json!({"messageIds": ["12"]})
    );
    assert!(coordinator.is_asked_no_more());
}
