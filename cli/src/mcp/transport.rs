//! JSON-RPC over stdin and stdout: a message a line, within bounds.
//!
//! Every line gets what JSON-RPC says it must: what is no message, or is too long, is answered with
//! an error that has the request's own id where it can be found. The client that waits for it then
//! learns why, rather than wait for ever. Lines are read by a task of their own, since rmcp drops
//! a read half way whenever it has something to send.

use std::{borrow::Cow, io, sync::Arc};

use rmcp::{
    RoleServer,
    model::ErrorCode,
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::{
        Transport,
        io::{StdioReader, StdioWriter, stdio_pipes},
    },
};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt, BufReader},
    sync::{Mutex, mpsc},
};

mod lines;

use self::lines::{Line, Lines};

/// Bytes of a line at the most. The coordinator takes messages of 4 MiB; as JSON they are longer.
pub const LINE_LEN_MAX: usize = 8 * 1024 * 1024;

/// Messages that wait to be taken; the client waits before it sends more.
const WAITING_MAX: usize = 16;

/// Stdin and stdout as a way to an MCP client.
pub struct Stdio {
    messages: mpsc::Receiver<RxJsonRpcMessage<RoleServer>>,
    output: Output<StdioWriter>,
}

impl Stdio {
    /// Takes the two over.
    pub fn open() -> Self {
        let (input, output) = stdio_pipes();
        let output = Output::new(output);
        let (sender, messages) = mpsc::channel(WAITING_MAX);
        // Ends with stdin, or when nobody takes its messages any more.
        tokio::spawn(read_messages(input, output.clone(), sender));
        Self { messages, output }
    }
}

impl Transport<RoleServer> for Stdio {
    type Error = io::Error;

    fn name() -> Cow<'static, str> {
        "stdio".into()
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let output = self.output.clone();
        async move { output.write(serde_json::to_vec(&item)?).await }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        self.messages.recv().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.messages.close();
        Ok(())
    }
}

/// Where lines go, one whole line at a time.
struct Output<W>(Arc<Mutex<W>>);

impl<W> Clone for Output<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W: AsyncWrite + Unpin> Output<W> {
    fn new(output: W) -> Self {
        Self(Arc::new(Mutex::new(output)))
    }

    async fn write(&self, mut line: Vec<u8>) -> io::Result<()> {
        line.push(b'\n');
        let mut output = self.0.lock().await;
        output.write_all(&line).await?;
        output.flush().await
    }
}

async fn read_messages(
    input: StdioReader,
    output: Output<StdioWriter>,
    messages: mpsc::Sender<RxJsonRpcMessage<RoleServer>>,
) {
    let mut lines = Lines::new(BufReader::new(input), LINE_LEN_MAX);
    loop {
        let read = match lines.next().await {
            Ok(Some(Line::Whole(line))) => read_message(&line),
            Ok(Some(Line::TooLong { id })) => Err(Wrong {
                code: ErrorCode::INVALID_REQUEST,
                why: format!("the line is longer than {LINE_LEN_MAX} bytes; send less at once"),
                id,
            }),
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "stdin broke");
                return;
            }
        };
        let sent = match read {
            Ok(Some(message)) => messages.send(message).await.is_ok(),
            Ok(None) => true,
            Err(wrong) => {
                tracing::debug!(why = wrong.why, "a line is no message");
                output.write(wrong.told()).await.is_ok()
            }
        };
        if !sent {
            return;
        }
    }
}

/// A line that is no message.
#[derive(Debug, PartialEq)]
struct Wrong {
    code: ErrorCode,
    why: String,
    /// The request's own id, where there is one.
    id: Option<Value>,
}

impl Wrong {
    fn request(why: impl Into<String>, id: Option<Value>) -> Self {
        Self {
            code: ErrorCode::INVALID_REQUEST,
            why: why.into(),
            id,
        }
    }

    fn told(&self) -> Vec<u8> {
        let error = json!({"code": self.code.0, "message": self.why});
        json!({"jsonrpc": "2.0", "id": self.id, "error": error})
            .to_string()
            .into_bytes()
    }
}

/// The message of a line; none where it holds nothing, or nothing that wants an answer.
fn read_message(line: &[u8]) -> Result<Option<RxJsonRpcMessage<RoleServer>>, Wrong> {
    // Some editors begin a stream with a byte order mark.
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let value = serde_json::from_slice(line).map_err(|error| Wrong {
        code: ErrorCode::PARSE_ERROR,
        why: format!("the line is no JSON: {error}"),
        id: None,
    })?;
    let mut message = match value {
        Value::Object(message) => message,
        Value::Array(_) => {
            let why = "batches are not part of MCP: send each message in a line of its own";
            return Err(Wrong::request(why, None));
        }
        _ => return Err(Wrong::request("a message is a JSON object", None)),
    };
    let id = match message.get("id") {
        None => None,
        Some(id) if is_id(id) => Some(id.clone()),
        Some(_) => {
            return Err(Wrong::request(
                "id must be a string or a whole number",
                None,
            ));
        }
    };
    if message.get("jsonrpc") != Some(&json!("2.0")) {
        return Err(Wrong::request("jsonrpc must be \"2.0\"", id));
    }
    let is_answer = message.contains_key("result") || message.contains_key("error");
    match message.get("method") {
        Some(Value::String(method)) => {
            if method == "tools/call" {
                check_call(&mut message, &id)?;
            }
        }
        None if is_answer => {}
        _ => return Err(Wrong::request("method must be a string", id)),
    }
    match serde_json::from_value(Value::Object(message)) {
        Ok(message) => Ok(Some(message)),
        // Neither a notification nor an answer is ever answered.
        Err(error) if id.is_none() || is_answer => {
            tracing::debug!(%error, "a message that can't be read");
            Ok(None)
        }
        Err(error) => Err(Wrong::request(
            format!("the request can't be read: {error}"),
            id,
        )),
    }
}

fn is_id(id: &Value) -> bool {
    match id {
        Value::String(_) => true,
        Value::Number(number) => number.is_i64() || number.is_u64(),
        _ => false,
    }
}

/// Looks whether a call says what to call, and with what. Arguments that a client has encoded once
/// more, or left empty, are made what they mean.
fn check_call(message: &mut Map<String, Value>, id: &Option<Value>) -> Result<(), Wrong> {
    let wrong = |why: &str| Wrong {
        code: ErrorCode::INVALID_PARAMS,
        why: why.to_owned(),
        id: id.clone(),
    };
    let Some(Value::Object(params)) = message.get_mut("params") else {
        return Err(wrong("params must be an object with name and arguments"));
    };
    if !params.get("name").is_some_and(Value::is_string) {
        return Err(wrong("params.name must be the name of a tool"));
    }
    let Some(arguments) = params.get_mut("arguments") else {
        return Ok(());
    };
    let meant = match arguments {
        Value::Object(_) => return Ok(()),
        Value::Null => Some(Map::new()),
        Value::Array(items) if items.is_empty() => Some(Map::new()),
        Value::String(text) if text.trim().is_empty() => Some(Map::new()),
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    };
    match meant {
        Some(meant) => *arguments = Value::Object(meant),
        None => return Err(wrong("params.arguments must be an object")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> (i32, Option<Value>, String) {
        match read_message(line.as_bytes()) {
            Err(wrong) => (wrong.code.0, wrong.id, wrong.why),
            Ok(message) => panic!("{line} is read as {message:?}"),
        }
    }

    fn read(line: &str) -> Value {
        let message = read_message(line.as_bytes()).unwrap();
        serde_json::to_value(message).unwrap()
    }

    #[test]
    fn what_is_no_message_is_answered_with_its_own_id() {
        for (line, code, id) in [
            ("nonsense", -32700, None),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,", -32700, None),
            ("[]", -32600, None),
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
                -32600,
                None,
            ),
            ("5", -32600, None),
            (r#"{"id":1,"method":"ping"}"#, -32600, Some(json!(1))),
            (r#"{"jsonrpc":"2.0","id":"a"}"#, -32600, Some(json!("a"))),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
                -32600,
                Some(json!(1)),
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
                -32600,
                None,
            ),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600, None),
            (
                r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
                -32600,
                None,
            ),
            (
                r#"{"jsonrpc":"2.0","id":2,"method":"tools/call"}"#,
                -32602,
                Some(json!(2)),
            ),
            (
                r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":1}}"#,
                -32602,
                Some(json!(2)),
            ),
            (
                r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"a","arguments":"b"}}"#,
                -32602,
                Some(json!(2)),
            ),
        ] {
            let (told, own, why) = wrong(line);
            assert_eq!((told, own), (code, id), "{line}: {why}");
        }
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(wrong(&deep).0, -32700);
    }

    #[test]
    fn what_wants_no_answer_gets_none() {
        for line in ["", "  \r", "\u{feff}"] {
            assert_eq!(read(line), Value::Null, "{line:?}");
        }
        let ping = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r";
        assert_eq!(read(ping)["method"], "ping");
    }

    #[test]
    fn arguments_that_are_encoded_once_more_or_empty_are_what_they_mean() {
        for (given, meant) in [
            (r#""{\"subject\": \"one\"}""#, json!({"subject": "one"})),
            (r#"{"subject": "one"}"#, json!({"subject": "one"})),
            ("null", json!({})),
            (r#"" ""#, json!({})),
            ("[]", json!({})),
        ] {
            let line = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"a","arguments":{given}}}}}"#
            );
            assert_eq!(read(&line)["params"]["arguments"], meant, "{given}");
        }
    }
}
