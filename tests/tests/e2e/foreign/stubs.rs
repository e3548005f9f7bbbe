//! Real gRPC clients of other languages, and what they see of a coordinator.

use std::path::Path;

use ganger_tests::{Cluster, programs};
use serde_json::{Value, json};

use super::{printed, program, tool};

/// Where the clients' programs lie.
fn source(path: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    dir.join(path).to_str().unwrap().to_owned()
}

/// What every client sees alike.
fn assert_seen(seen: &Value) {
    assert_eq!(seen["subject"], "Größe #1 100% prüfen");
    assert_eq!(seen["id"], "1");

    let held = &seen["held"];
    assert_eq!(held["code"], "FAILED_PRECONDITION", "{held}");
    let message = held["message"].as_str().unwrap();
    assert!(message.starts_with("task #1 is held"), "{held}");
    assert_eq!(held["inner_message"], message);
    assert_eq!(held["infos"], 1);
    assert_eq!(held["reason"], "TASK_HELD");
    assert_eq!(held["domain"], "ganger.dev");
    assert_eq!(held["metadata"]["holder"], "alice");
    assert!(held["metadata"]["next"].is_string(), "{held}");

    // Whether the client's own clock was faster or the coordinator's, the wait is over.
    assert_eq!(seen["late"]["code"], "DEADLINE_EXCEEDED", "{seen}");
    let events = seen["events"].as_array().unwrap();
    assert!(events.contains(&json!("1")), "{events:?}");
    assert_eq!(seen["stream_end"], "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn grpc_js_sees_text_details_streams_and_deadlines_undamaged() {
    let Some(modules) = tool("node/node_modules/@grpc/grpc-js") else {
        return;
    };
    let modules = modules.ancestors().nth(3).unwrap();
    let cluster = Cluster::start(programs!()).await;
    let mut command = program("node");
    command
        .arg(source("clients/grpc_js_client.mjs"))
        .arg(modules)
        .args([source("../proto"), cluster.addr().to_string()]);

    let seen: Value = serde_json::from_str(&printed(&mut command).await).unwrap();

    assert_seen(&seen);
    let odd = &seen["odd"];
    assert_eq!(odd["code"], "NOT_FOUND", "{odd}");
    let message = odd["message"].as_str().unwrap();
    assert!(message.contains("é #1 100% %23"), "{odd}");
    assert_eq!(odd["inner_message"], message);
    assert_eq!(seen["artifact"], json!({"size": "200000", "is_same": true}));
}

#[tokio::test]
async fn grpcio_sees_text_details_streams_and_deadlines_undamaged() {
    let Some((packages, python)) = tool("grpcio").zip(tool("bin/python3")) else {
        return;
    };
    let cluster = Cluster::start(programs!()).await;
    let mut command = program(python);
    command
        .arg(source("clients/grpcio_client.py"))
        .arg(cluster.addr().to_string())
        .env("PYTHONPATH", packages);

    let seen: Value = serde_json::from_str(&printed(&mut command).await).unwrap();

    assert_seen(&seen);
}
