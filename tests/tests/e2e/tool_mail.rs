//! The tools of mail, with the JSON that lead agents speak.

use ganger_proto::TEAM_KEY;
use ganger_tests::{Client, Cluster, Told, programs};
use serde_json::{Value, json};

/// A team of Alice and Bob: its lead, and they.
async fn team(cluster: &Cluster) -> (Client, Client, Client) {
    let members = json!([{"name": "alice", "kind": "agent"}, {"name": "bob", "kind": "agent"}]);
    let team = json!({"team_name": "red", "members": members});
    cluster.client().tool("spawn_team", team).await;
    let lead = cluster.client().saying(TEAM_KEY, "red");
    (
        lead.clone(),
        lead.clone().member("alice"),
        lead.member("bob"),
    )
}

/// What somebody's mailbox says.
async fn read(client: &Client, arguments: Value) -> Told {
    client.tool("read_messages", arguments).await
}

fn texts(read: &Told) -> Vec<&str> {
    let messages = read.result["messages"].as_array().unwrap();
    let texts = messages.iter().map(|message| message["text"].as_str());
    texts.map(Option::unwrap_or_default).collect()
}

#[tokio::test]
async fn each_read_acknowledges_what_the_one_before_answered_and_nothing_else() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, bob) = team(&cluster).await;
    for text in ["one", "two"] {
        let message = json!({"member_name": "alice", "message": text});
        let sent = lead.tool("message_teammate", message).await;
        assert_eq!(sent.result["success"], true);
        assert_eq!(sent.result["receipts"][0]["member"], "alice");
        assert_eq!(sent.result["receipts"][0]["stored"], true);
    }

    let first = read(&alice, json!({})).await;
    assert_eq!(texts(&first), ["one", "two"]);
    assert_eq!(first.result["unread"], 2);
    let message = &first.result["messages"][0];
    assert_eq!(
        (&message["from"], &message["type"]),
        (&json!("team-lead"), &json!("text"))
    );
    assert!(
        first.text.contains("one") && first.text.contains("two"),
        "{}",
        first.text
    );
    // An answer that was lost on its way is told again.
    assert_eq!(read(&alice, json!({})).await.result, first.result);

    let answer = json!({"member_name": "alice", "message": "three"});
    bob.tool("message_teammate", answer).await;
    let ack = json!({"ack": first.result["ack"]});
    let second = read(&alice, ack.clone()).await;
    assert_eq!(texts(&second), ["three"]);
    assert_eq!(second.result["unread"], 1);
    // What was acknowledged before is passed over.
    assert_eq!(texts(&read(&alice, ack).await), ["three"]);
    let last = read(&alice, json!({"ack": second.result["ack"]})).await;
    assert_eq!(last.result["messages"], json!([]));
    assert_eq!(last.text, "No new messages.");
    alice
        .no_tool("read_messages", json!({"ack": "all"}), "ARGUMENT_INVALID")
        .await;
}

#[tokio::test]
async fn read_waits_for_mail_and_filters() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, bob) = team(&cluster).await;

    let none = read(&alice, json!({"wait_seconds": 0.05})).await;
    assert_eq!(none.result["messages"], json!([]));
    let waiting = {
        let alice = alice.clone();
        tokio::spawn(async move { read(&alice, json!({"wait_seconds": 60})).await })
    };
    let hello = json!({"message": "hello all", "summary": "a word"});
    let sent = lead.tool("broadcast", hello).await;
    assert_eq!(sent.result["recipients"], json!(["alice", "bob"]));
    assert_eq!(texts(&waiting.await.unwrap()), ["hello all"]);

    let question = json!({"to": "alice", "message": "which schema?", "type": "question"});
    bob.tool("SendMessage", question).await;
    let from_bob = read(&alice, json!({"from": "bob"})).await;
    assert_eq!(texts(&from_bob), ["which schema?"]);
    let questions = read(&alice, json!({"types": ["question"], "limit": 1})).await;
    assert_eq!(questions.result["messages"], from_bob.result["messages"]);
    let rest = read(&alice, json!({"ack": questions.result["ack"]})).await;
    assert_eq!(texts(&rest), ["hello all"]);
}

#[tokio::test]
async fn question_is_answered_by_its_id() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, _) = team(&cluster).await;
    let question = json!({"to": "team-lead", "message": {"type": "question", "reason": "which?"}});
    let asked = alice.tool("SendMessage", question).await;
    let id = asked.result["request_id"].clone();

    let seen = read(&lead, json!({"types": "question"})).await;
    let message = &seen.result["messages"][0];
    assert_eq!(
        (&message["correlation_id"], &message["from"]),
        (&id, &json!("alice"))
    );
    let answer = json!({"to": "alice", "answer": "the second", "question_id": id});
    lead.tool("answer_question", answer).await;

    let heard = read(&alice, json!({})).await;
    let message = &heard.result["messages"][0];
    assert_eq!(
        (&message["type"], &message["text"]),
        (&json!("answer"), &json!("the second"))
    );
    assert_eq!(message["correlation_id"], id);
}

#[tokio::test]
async fn message_to_a_member_that_waits_is_its_answer() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, _) = team(&cluster).await;
    let message = json!({"member_name": "alice", "message": "the second"});
    let before = lead.tool("message_teammate", message.clone()).await;
    assert_eq!(before.result["receipts"][0]["answers"], Value::Null);
    let question = json!({"to": "team-lead", "message": "which?", "type": "question"});
    alice.tool("SendMessage", question).await;

    let answered = lead.tool("message_teammate", message).await;

    assert_eq!(answered.result["receipts"][0]["answers"], true);
    assert!(
        answered.text.contains("waiting for an answer"),
        "{}",
        answered.text
    );
}

#[tokio::test]
async fn message_goes_out_in_both_spellings_that_lead_agents_know() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, bob) = team(&cluster).await;

    let new = json!({"to": "bob", "message": "new spelling", "summary": "a word"});
    let sent = lead
        .clone()
        .member("team-lead")
        .tool("SendMessage", new)
        .await;
    assert_eq!(sent.result["success"], true);
    assert_eq!(sent.result["message"], "Message sent to bob's inbox");
    assert_eq!(
        sent.result["routing"],
        json!({"sender": "team-lead", "target": "@bob", "summary": "a word", "content": "new spelling"})
    );
    let old = json!({"type": "message", "recipient": "bob", "content": "old spelling"});
    lead.tool("SendMessage", old).await;
    lead.tool("SendMessage", json!({"to": "*", "message": "to all"}))
        .await;
    let old = json!({"type": "broadcast", "content": "to all, too"});
    lead.tool("SendMessage", old).await;

    let read = read(&bob, json!({})).await;
    assert_eq!(
        texts(&read),
        ["new spelling", "old spelling", "to all", "to all, too"]
    );
    for (wrong, reason) in [
        (
            json!({"to": "bob", "recipient": "bob", "message": "x"}),
            "ARGUMENT_INVALID",
        ),
        (
            json!({"to": "bob", "message": "x", "content": "x"}),
            "ARGUMENT_INVALID",
        ),
        (
            json!({"to": "bob", "message": {"type": "gossip"}}),
            "ARGUMENT_INVALID",
        ),
        (json!({"to": "carol", "message": "x"}), "MEMBER_NOT_FOUND"),
        (json!({"to": "bob"}), "FIELD_BLANK"),
    ] {
        alice.no_tool("SendMessage", wrong, reason).await;
    }
}

#[tokio::test]
async fn shutdown_is_asked_for_and_answered() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, _) = team(&cluster).await;
    let request = json!({"to": "alice", "message": {"type": "shutdown_request", "reason": "done"}});
    let asked = lead.tool("SendMessage", request).await;
    let id = asked.result["request_id"].clone();
    assert_eq!(asked.result["target"], "alice");

    let seen = read(&alice, json!({})).await;
    let message = &seen.result["messages"][0];
    assert_eq!(message["type"], "shutdown_request");
    assert_eq!(message["correlation_id"], id);
    let no = json!({"message": {
        "type": "shutdown_response", "request_id": id, "approve": false, "reason": "not yet",
    }});
    alice.tool("SendMessage", no).await;

    let heard = read(&lead, json!({"types": ["shutdown_response"]})).await;
    let message = &heard.result["messages"][0];
    assert_eq!(
        (&message["approve"], &message["text"]),
        (&json!(false), &json!("not yet"))
    );
    // Asked again, in the old spelling, and approved: the member leaves.
    let request = json!({"type": "shutdown_request", "recipient": "alice", "content": "now"});
    let asked = lead.tool("SendMessage", request).await;
    let yes = json!({"type": "shutdown_response", "request_id": asked.result["request_id"], "approve": true});
    alice.tool("SendMessage", yes).await;
    let team = lead.tool("check_teammates", json!({})).await;
    let names: Vec<&str> = team.result["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["bob", "team-lead"]);
}
