//! An MCP client of `ganger mcp`: JSON-RPC, a line each, over the pipes of a real process.

use std::process::{ExitStatus, Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{Cluster, patiently};

/// The metadata that the revision without a handshake wants with every request.
fn meta(revision: &str) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": revision,
        "io.modelcontextprotocol/clientInfo": {"name": "a test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// A running `ganger mcp`, and who speaks with it.
pub struct Mcp {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    /// The revision, where each request says it.
    revision: Option<&'static str>,
    last_id: u64,
    /// Notifications that came.
    pub heard: Vec<Value>,
}

impl Mcp {
    /// Starts it, and says nothing yet.
    pub fn start(cluster: &Cluster, args: &[&str]) -> Self {
        let mut command = Command::new(cluster.ganger());
        command
            .arg("mcp")
            .args(["--addr", &cluster.addr().to_string()])
            .args(args)
            .env_clear()
            .env("HOME", cluster.dir())
            .current_dir(cluster.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            input: child.stdin.take(),
            output,
            child,
            revision: None,
            last_id: 0,
            heard: Vec::new(),
        }
    }

    /// Starts it, and shakes hands. Answers what the server told of itself, too.
    pub async fn initialized(cluster: &Cluster, args: &[&str]) -> (Self, Value) {
        let mut mcp = Self::start(cluster, args);
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "a test", "version": "1"},
        });
        let told = mcp.ask("initialize", params).await.unwrap();
        mcp.tell("notifications/initialized", json!({})).await;
        (mcp, told)
    }

    /// Starts it, for the revision in which each request stands for itself.
    pub fn inline(cluster: &Cluster, args: &[&str]) -> Self {
        let mut mcp = Self::start(cluster, args);
        mcp.revision = Some("2026-07-28");
        mcp
    }

    async fn send(&mut self, message: Value) {
        self.write(&format!("{message}\n")).await;
    }

    /// Writes what may be no message at all.
    pub async fn write(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        patiently("ganger mcp reads", input.write_all(line.as_bytes()))
            .await
            .unwrap();
    }

    /// Sends a notification.
    pub async fn tell(&mut self, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "method": method, "params": params}))
            .await;
    }

    /// Sends a request, and answers its id.
    pub async fn request(&mut self, method: &str, mut params: Value) -> u64 {
        self.last_id += 1;
        if let Some(revision) = self.revision {
            let mut meta = meta(revision);
            if let Some(Value::Object(own)) = params.get("_meta") {
                meta.as_object_mut().unwrap().extend(own.clone());
            }
            params["_meta"] = meta;
        }
        let id = self.last_id;
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
        id
    }

    /// The next message. All that is on stdout is JSON-RPC.
    pub async fn next(&mut self) -> Value {
        let line = patiently("ganger mcp says something", self.output.next_line()).await;
        let line = line.unwrap().expect("ganger mcp goes on");
        let message: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        message
    }

    /// Waits for a notification, be it that it came already.
    pub async fn notification(&mut self, method: &str) -> Value {
        loop {
            let at = self.heard.iter().position(|said| said["method"] == method);
            if let Some(at) = at {
                return self.heard.remove(at)["params"].take();
            }
            let message = self.next().await;
            assert!(message.get("id").is_none(), "{message}");
            self.heard.push(message);
        }
    }

    /// Waits for progress that speaks of this, be it that other progress comes before.
    pub async fn progress(&mut self, of: &str) -> Value {
        loop {
            let word = self.notification("notifications/progress").await;
            if word["message"].as_str().unwrap().contains(of) {
                return word;
            }
        }
    }

    /// Waits for the answer to a request; the error where it is one.
    pub async fn answer(&mut self, id: u64) -> Result<Value, Value> {
        loop {
            let mut message = self.next().await;
            if message.get("id").is_none() {
                self.heard.push(message);
                continue;
            }
            assert_eq!(message["id"], id, "{message}");
            return match message.get_mut("error") {
                Some(error) => Err(error.take()),
                None => Ok(message["result"].take()),
            };
        }
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.request(method, params).await;
        self.answer(id).await
    }

    /// Calls a tool, and waits for the answer.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.ask("tools/call", params).await.unwrap()
    }

    /// Calls a tool that does what it is asked.
    pub async fn done(&mut self, tool: &str, arguments: Value) -> Value {
        let mut answer = self.call(tool, arguments).await;
        assert_eq!(answer["isError"], false, "{tool}: {answer}");
        answer["structuredContent"].take()
    }

    /// Closes its input, and waits until it ends.
    pub async fn close(mut self) -> ExitStatus {
        drop(self.input.take());
        self.ended().await
    }

    /// Waits until it ends.
    pub async fn ended(mut self) -> ExitStatus {
        let status = patiently("ganger mcp ends", self.child.wait()).await;
        status.unwrap()
    }
}
