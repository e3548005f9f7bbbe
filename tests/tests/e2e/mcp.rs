//! `ganger mcp` as an MCP client sees it: JSON-RPC over the pipes of a real process.

use ganger_proto::{TEAM_KEY, v1};
use ganger_tests::{Cluster, Mcp, programs};
use serde_json::{Value, json};

/// Has a sub-agent run a script.
fn script(script: &str) -> Value {
    json!({"description": "a script", "prompt": script, "subagent_type": "shell"})
}

#[tokio::test]
async fn client_of_the_revision_with_a_handshake_is_served() {
    let cluster = Cluster::start(programs!()).await;
    let (mut mcp, told) = Mcp::initialized(&cluster, &[]).await;
    assert_eq!(told["protocolVersion"], "2025-11-25");
    assert_eq!(told["serverInfo"]["name"], "ganger");
    assert!(told["capabilities"]["tools"].is_object(), "{told}");
    let instructions = told["instructions"].as_str().unwrap();
    assert!(instructions.contains("TaskCreate"), "{instructions}");

    let list = mcp.ask("tools/list", json!({})).await.unwrap();
    let tools = list["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 29);
    let tool = |name: &str| tools.iter().find(|tool| tool["name"] == name).unwrap();
    assert_eq!(tool("TaskList")["annotations"]["readOnlyHint"], true);
    assert_eq!(tool("TaskCreate")["annotations"]["readOnlyHint"], false);
    assert_eq!(tool("TaskCreate")["annotations"]["destructiveHint"], false);
    assert_eq!(
        tool("dissolve_team")["annotations"]["destructiveHint"],
        true
    );
    assert_eq!(
        tool("TaskCreate")["inputSchema"]["required"],
        json!(["subject"])
    );

    let task = json!({"subject": "one", "metadata": {"n": 1}});
    let made = mcp.call("TaskCreate", task).await;
    let wanted = json!({"task": {"id": "1", "subject": "one"}});
    assert_eq!(made["structuredContent"], wanted);
    assert_eq!(made["isError"], false);
    assert_eq!(made["content"][0]["type"], "text");
    let got = mcp.call("TaskGet", json!({"taskId": 1})).await;
    let metadata = &got["structuredContent"]["task"]["metadata"];
    assert_eq!(metadata.to_string(), r#"{"n":1}"#);

    let refused = mcp.call("TaskGet", json!({"taskId": "9"})).await;
    assert_eq!(refused["isError"], true);
    assert_eq!(refused["structuredContent"]["reason"], "TASK_NOT_FOUND");
    let text = refused["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("Possible now: "), "{text}");
    let unknown = json!({"name": "TodoWrite", "arguments": {}});
    let unknown = mcp.ask("tools/call", unknown).await.unwrap_err();
    assert_eq!(unknown["code"], -32602);
    assert_eq!(mcp.ask("ping", json!({})).await.unwrap(), json!({}));
    let method = mcp.ask("resources/subscribe", json!({"uri": "x:y"})).await;
    assert_eq!(method.unwrap_err()["code"], -32601);

    assert!(mcp.close().await.success());
}

#[tokio::test]
async fn client_of_the_revision_without_a_handshake_is_served() {
    let cluster = Cluster::start(programs!()).await;
    let mut mcp = Mcp::inline(&cluster, &[]);

    let told = mcp.ask("server/discover", json!({})).await.unwrap();
    let versions = told["supportedVersions"].as_array().unwrap();
    for version in ["2025-11-25", "2026-07-28"] {
        assert!(versions.contains(&json!(version)), "{versions:?}");
    }
    assert!(
        told["instructions"]
            .as_str()
            .unwrap()
            .contains("TaskCreate")
    );

    let list = mcp.ask("tools/list", json!({})).await.unwrap();
    assert_eq!(list["resultType"], "complete");
    assert_eq!(list["tools"].as_array().unwrap().len(), 29);
    let made = mcp.call("TaskCreate", json!({"subject": "one"})).await;
    assert_eq!(made["resultType"], "complete");
    assert_eq!(made["structuredContent"]["task"]["id"], "1");
    let refused = mcp.call("TaskGet", json!({"taskId": "9"})).await;
    assert_eq!(refused["isError"], true);

    assert!(mcp.close().await.success());
    // Each request must say its revision, and one that is known.
    let mut bare = Mcp::start(&cluster, &[]);
    let refused = bare.ask("tools/list", json!({})).await.unwrap_err();
    assert_eq!(refused["code"], -32602);
    let mut later = Mcp::inline(&cluster, &[]);
    let meta = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}});
    let refused = later.ask("tools/list", meta).await.unwrap_err();
    assert!(
        refused["data"].to_string().contains("2026-07-28"),
        "{refused}"
    );
}

#[tokio::test]
async fn session_speaks_as_the_configured_member_and_in_the_team_that_it_makes() {
    let cluster = Cluster::start(programs!()).await;
    let red = json!({"team_name": "red", "members": [{"name": "alice", "kind": "agent"}]});
    cluster.client().tool("spawn_team", red).await;
    let args = ["--team", "red", "--member", "alice/1"];
    let (mut mcp, told) = Mcp::initialized(&cluster, &args).await;
    let instructions = told["instructions"].as_str().unwrap();
    assert!(
        instructions.ends_with("You are alice/1 of the team red."),
        "{instructions}"
    );

    mcp.done("TaskCreate", json!({"subject": "in red"})).await;
    let got = mcp.done("TaskGet", json!({"taskId": "1"})).await;
    assert_eq!(got["task"]["createdBy"], "alice");
    let made = mcp.done("TeamCreate", json!({"team_name": "blue"})).await;
    assert_eq!(made["lead_agent_id"], "alice@blue");
    mcp.done("TaskCreate", json!({"subject": "in blue"})).await;

    for (team, subject) in [("red", "in red"), ("blue", "in blue")] {
        let client = cluster.client().saying(TEAM_KEY, team);
        let list = client.tool("TaskList", json!({})).await;
        assert_eq!(list.text, format!("#1 [pending] {subject}"));
    }
    mcp.done("dissolve_team", json!({})).await;
    let back = mcp.done("TaskList", json!({})).await;
    assert_eq!(back["tasks"][0]["subject"], "in red");
}

#[tokio::test]
async fn session_acknowledges_the_mail_that_it_read() {
    let cluster = Cluster::start(programs!()).await;
    let red = json!({"team_name": "red", "members": [{"name": "alice", "kind": "agent"}]});
    cluster.client().tool("spawn_team", red).await;
    let lead = cluster.client().saying(TEAM_KEY, "red");
    let say = async |text: &str| {
        let message = json!({"member_name": "alice", "message": text});
        lead.tool("message_teammate", message).await;
    };
    let args = ["--team", "red", "--member", "alice"];
    let (mut mcp, _) = Mcp::initialized(&cluster, &args).await;

    say("one").await;
    let first = mcp.done("read_messages", json!({})).await;
    assert_eq!(first["messages"][0]["text"], "one");
    say("two").await;
    let second = mcp.done("read_messages", json!({})).await;
    assert_eq!(second["messages"][0]["text"], "two");
    assert_eq!(second["unread"], 1);

    // A session that ends has acknowledged what it read after, and not what it read last.
    assert!(mcp.close().await.success());
    let (mut again, _) = Mcp::initialized(&cluster, &args).await;
    let told = again.done("read_messages", json!({})).await;
    assert_eq!(told["messages"], second["messages"]);
}

#[tokio::test]
async fn long_call_tells_how_long_and_what_it_waits_for() {
    let cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("w1").await;
    let client = cluster.client();
    let gate = cluster.gate("g");
    for mut mcp in [
        Mcp::initialized(&cluster, &[]).await.0,
        Mcp::inline(&cluster, &[]),
    ] {
        let work = script(&format!("{}; echo done", gate.wait()));
        let call = json!({"name": "task", "arguments": work, "_meta": {"progressToken": "p1"}});
        let id = mcp.request("tools/call", call).await;
        let word = mcp.progress("] a script").await;
        assert_eq!(word["progressToken"], "p1");
        let elapsed = word["progress"].as_f64().unwrap();
        let message = word["message"].as_str().unwrap();
        assert!(elapsed >= 1.0 && message.contains(" s: #"), "{word}");

        gate.open();
        let answer = mcp.answer(id).await.unwrap();
        assert_eq!(answer["structuredContent"]["result"], "done\n");
    }
    // Looking after the task has made no other.
    let list = client.tool("TaskList", json!({})).await;
    assert_eq!(list.result["tasks"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn waiting_for_tasks_tells_how_many_are_over() {
    let cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("w1").await;
    let client = cluster.client();
    let gate = cluster.gate("g");
    let ended = client.start("true").await;
    client.ended(ended.id).await;
    client.start(&gate.wait()).await;
    let (mut mcp, _) = Mcp::initialized(&cluster, &[]).await;

    let arguments = json!({"task_ids": ["1", "2"]});
    let call = json!({"name": "wait_tasks", "arguments": arguments, "_meta": {"progressToken": 7}});
    let id = mcp.request("tools/call", call).await;
    let word = mcp.progress("1 of 2 over; #2 [in_progress]").await;
    assert_eq!(word["progressToken"], 7);

    gate.open();
    let answer = mcp.answer(id).await.unwrap();
    assert_eq!(answer["structuredContent"]["finished"], 2);
}

#[tokio::test]
async fn cancelled_call_ends_its_wait_and_only_if_asked_its_task() {
    let cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("w1").await;
    let client = cluster.client();
    let gate = cluster.gate("g");
    let (mut mcp, _) = Mcp::initialized(&cluster, &[]).await;
    let mut tied = script("sleep 600");
    tied["cancel_on_disconnect"] = true.into();
    let loose = script(&gate.wait());

    for (task_id, work) in [(1, tied), (2, loose)] {
        let call = json!({"name": "task", "arguments": work});
        let id = mcp.request("tools/call", call).await;
        client.running(task_id).await;
        let cancelled = json!({"requestId": id, "reason": "the person pressed escape"});
        mcp.tell("notifications/cancelled", cancelled).await;
        // The server lives on, and the cancelled call is not answered.
        mcp.done("TaskList", json!({})).await;
    }

    let tied = client.ended(1).await;
    assert_eq!(tied.status(), v1::TaskStatus::Cancelled);
    assert_eq!(client.get(2).await.status(), v1::TaskStatus::InProgress);
    gate.open();
    assert_eq!(client.ended(2).await.status(), v1::TaskStatus::Completed);
}

#[tokio::test]
async fn call_that_waits_outlives_a_restart_of_the_coordinator() {
    let mut cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("w1").await;
    let client = cluster.client();
    let gate = cluster.gate("g");
    let (mut mcp, _) = Mcp::initialized(&cluster, &[]).await;
    let work = script(&format!("{}; echo done", gate.wait()));
    let call = json!({"name": "task", "arguments": work, "_meta": {"progressToken": "p"}});
    let id = mcp.request("tools/call", call).await;
    client.running(1).await;
    // By then the call is one that waits.
    mcp.progress("#1 [in_progress]").await;

    cluster.crash_coordinator().await;
    gate.open();

    let answer = mcp.answer(id).await.unwrap();
    assert_eq!(answer["structuredContent"]["result"], "done\n", "{answer}");
    assert_eq!(answer["structuredContent"]["task_id"], "1");
    let list = client.tool("TaskList", json!({})).await;
    assert_eq!(list.result["tasks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn server_starts_without_a_coordinator_and_says_how_to_get_one() {
    let mut cluster = Cluster::start(programs!()).await;
    cluster.coordinator.kill().await;
    let (mut mcp, _) = Mcp::initialized(&cluster, &[]).await;

    let none = mcp.call("TaskList", json!({})).await;
    assert_eq!(none["isError"], true);
    let text = none["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("no coordinator at") && text.contains("ganger up"),
        "{text}"
    );
    cluster.restart_coordinator().await;
    assert_eq!(mcp.done("TaskList", json!({})).await, json!({"tasks": []}));
}

#[tokio::test]
async fn token_is_wanted_and_its_lack_is_told_in_words() {
    let cluster = Cluster::guarded(programs!(), "t0ken").await;
    let (mut stranger, _) = Mcp::initialized(&cluster, &[]).await;
    let refused = stranger.call("TaskList", json!({})).await;
    assert_eq!(refused["isError"], true);
    let text = refused["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("--token-file"), "{text}");

    let token = cluster.dir().join("token");
    let args = ["--token-file", token.to_str().unwrap()];
    let (mut mcp, _) = Mcp::initialized(&cluster, &args).await;
    mcp.done("TaskList", json!({})).await;
}
