//! `ganger mcp` as a session that may begin too soon, go wrong, and change under way.

use ganger_tests::{Cluster, Mcp, programs};
use serde_json::{Value, json};

async fn tools(mcp: &mut Mcp) -> Vec<Value> {
    let mut listed = mcp.ask("tools/list", json!({})).await.unwrap();
    listed["tools"].as_array_mut().unwrap().drain(..).collect()
}

fn description<'t>(tools: &'t [Value], name: &str) -> &'t str {
    let tool = tools.iter().find(|tool| tool["name"] == name).unwrap();
    tool["description"].as_str().unwrap()
}

#[tokio::test]
async fn tools_are_listed_without_a_coordinator_and_every_change_is_told() {
    const CHANGED: &str = "notifications/tools/list_changed";
    let mut cluster = Cluster::start(programs!()).await;
    cluster.coordinator.kill().await;
    let (mut mcp, told) = Mcp::initialized(&cluster, &[]).await;
    assert_eq!(told["capabilities"]["tools"]["listChanged"], true);
    let alone = tools(&mut mcp).await;
    assert_eq!(alone.len(), 29);

    cluster.restart_coordinator().await;
    mcp.notification(CHANGED).await;
    let none = tools(&mut mcp).await;
    assert!(description(&none, "task").contains("No worker offers an agent type now"));

    let worker = cluster.worker("w1").await;
    mcp.notification(CHANGED).await;
    let some = tools(&mut mcp).await;
    let offer = "On offer now, as subagent_type:\n- shell: ";
    assert!(
        description(&some, "task").contains(offer),
        "{}",
        description(&some, "task")
    );
    // Nothing but that has changed.
    let others = |tools: &[Value]| -> Vec<Value> {
        let others = tools.iter().filter(|tool| tool["name"] != "task");
        others.cloned().collect()
    };
    assert_eq!(others(&alone), others(&some));
    drop(worker);
}

#[tokio::test]
async fn client_without_a_handshake_subscribes_to_changes() {
    let cluster = Cluster::start(programs!()).await;
    let mut mcp = Mcp::inline(&cluster, &[]);
    tools(&mut mcp).await;
    let filter = json!({"notifications": {"toolsListChanged": true}});
    mcp.request("subscriptions/listen", filter).await;
    mcp.notification("notifications/subscriptions/acknowledged")
        .await;

    let _worker = cluster.worker("w1").await;

    mcp.notification("notifications/tools/list_changed").await;
}

#[tokio::test]
async fn unknown_member_is_refused_at_once() {
    let cluster = Cluster::start(programs!()).await;
    for member in ["mallory", "team-lead/9"] {
        let mut mcp = Mcp::start(&cluster, &["--member", member]);
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "a test", "version": "1"},
        });
        let refused = mcp.ask("initialize", params).await.unwrap_err();
        assert_eq!(refused["code"], -32602, "{refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.contains(member) && message.contains("team-lead"),
            "{message}"
        );
        assert_eq!(mcp.ended().await.code(), Some(2));

        let mut inline = Mcp::inline(&cluster, &["--member", member]);
        for method in ["server/discover", "tools/list"] {
            let refused = inline.ask(method, json!({})).await.unwrap_err();
            assert!(
                refused["message"].as_str().unwrap().contains(member),
                "{refused}"
            );
        }
    }
    let (mut known, _) = Mcp::initialized(&cluster, &["--member", "team-lead/1"]).await;
    known.done("TaskList", json!({})).await;
}

#[tokio::test]
async fn every_line_that_wants_an_answer_gets_one() {
    let cluster = Cluster::start(programs!()).await;
    let (mut mcp, _) = Mcp::initialized(&cluster, &[]).await;
    let huge = "x".repeat(9 << 20);
    for (line, code, id) in [
        ("no json\n".to_owned(), -32700, json!(null)),
        (
            "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]\n".into(),
            -32600,
            json!(null),
        ),
        (
            "{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"ping\"}\n".into(),
            -32600,
            json!(7),
        ),
        ("{\"jsonrpc\":\"2.0\",\"id\":7}\n".into(), -32600, json!(7)),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"no/such\"}\n".into(),
            -32601,
            json!(7),
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{}}\n".into(),
            -32602,
            json!(7),
        ),
        (
            format!(
                "{{\"method\":\"tools/call\",\"params\":{{\"name\":\"TaskCreate\",\"arguments\":\
                 {{\"subject\":\"{huge}\"}}}},\"jsonrpc\":\"2.0\",\"id\":\"late\"}}\n"
            ),
            -32600,
            json!("late"),
        ),
    ] {
        mcp.write(&line).await;
        let answer = mcp.next().await;
        let begin = &line[..line.len().min(100)];
        assert_eq!(answer["error"]["code"], code, "{begin}: {answer}");
        assert_eq!(answer["id"], id, "{begin}: {answer}");
    }
    // Neither an empty line nor a notification that nobody knows is answered.
    mcp.write("\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/unknown\"}\n")
        .await;
    mcp.done("TaskList", json!({})).await;
    assert!(mcp.close().await.success());
}
