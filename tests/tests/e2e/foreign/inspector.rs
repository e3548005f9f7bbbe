//! The MCP Inspector's command line, as a client of `ganger mcp`.

use std::path::Path;

use ganger_tests::{Cluster, programs};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{printed, program, run, tool};

/// The Inspector, about to ask a server that it starts.
fn inspector(launcher: &Path, cluster: &Cluster, server: &[&str], method: &str) -> Command {
    let mut command = program("node");
    command
        .arg(launcher)
        .arg("--cli")
        .arg(cluster.ganger())
        .args(["mcp", "--addr", &cluster.addr().to_string()])
        .args(server)
        .args(["--method", method])
        .env("HOME", cluster.dir())
        .current_dir(cluster.dir());
    command
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn inspector_finds_sound_schemas_and_calls_tools() {
    let Some(launcher) =
        tool("node/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js")
    else {
        return;
    };
    let cluster = Cluster::start(programs!()).await;

    // `--strict` ends with an error where a schema is one that some client can't take.
    let mut list = inspector(&launcher, &cluster, &[], "tools/list");
    let listed = json_of(&printed(list.arg("--strict")).await);
    let tools = listed["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert!(
        names.contains(&"TaskCreate") && names.contains(&"read_artifact"),
        "{names:?}"
    );

    let call = async |name: &str, arguments: &[&str]| {
        let mut call = inspector(&launcher, &cluster, &[], "tools/call");
        call.args(["--tool-name", name]);
        for argument in arguments {
            call.args(["--tool-arg", argument]);
        }
        json_of(&printed(&mut call).await)
    };
    // The Inspector makes JSON of what looks like it: a number for a text, a list, nothing.
    let made = call("TaskCreate", &["subject=42", "labels=[\"a\",\"b\"]"]).await;
    assert_eq!(
        made["structuredContent"],
        json!({"task": {"id": "1", "subject": "42"}})
    );
    call(
        "TaskCreate",
        &["subject=two", "blockedBy=1", "metadata={\"n\": 1}"],
    )
    .await;
    let list = call("TaskList", &["limit=10", "ready=true"]).await;
    assert_eq!(list["content"][0]["text"], "#1 [pending] 42");
    let two = call("TaskGet", &["taskId=2"]).await;
    assert_eq!(two["structuredContent"]["task"]["blockedBy"], json!(["1"]));

    let stranger = ["--member", "mallory"];
    let mut list = inspector(&launcher, &cluster, &stranger, "tools/list");
    let refused = run(&mut list).await;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(told.contains("has no member mallory"), "{told}");
}
