//! The little protocol of sub-agents that talk: lines of JSON, both ways. Pure and synchronous.
//!
//! An [`Ear`] tells what a sub-agent says from what it merely writes; a [`Told`] is what it is told, as
//! a line. The README documents both ("Sub-agents that talk").
//!
//! Invariants:
//! 1. Whatever is written is heard once, as text or as something said, in its order.
//! 2. No more than [`LINE_LEN_MAX`] bytes are kept while a line's end is awaited.

use std::time::Duration;

use ganger_proto::v1::{Assignment, Message};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    limits::{CALL_ID_LEN_MAX, DOING_LEN_MAX, LINE_LEN_MAX, QUESTION_LEN_MAX, QUESTION_SPAN_MAX},
    text::keep_head,
};

/// What a sub-agent says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    /// It got on.
    Progress {
        /// What it did, for the transcript.
        text: String,
        /// What it does right now; nothing for no news.
        doing: Option<String>,
    },
    /// It asks its lead.
    Question {
        /// What.
        text: String,
        /// How long it waits; the coordinator's own span where it doesn't say.
        timeout: Option<Duration>,
    },
    /// What came out so far; the last one counts.
    Result(String),
    /// What it used.
    Usage {
        /// The tokens.
        tokens: Tokens,
        /// They come on top of those said before, rather than in their place.
        is_delta: bool,
    },
    /// It wants a tool called.
    Tool(Call),
}

/// Tokens of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// Read.
    pub(crate) input: i64,
    /// Written.
    pub(crate) output: i64,
}

/// A tool that a sub-agent wants called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// The sub-agent's own name for the call: a text or a number.
    pub(crate) id: Value,
    /// The tool's.
    pub(crate) name: String,
    pub(crate) arguments: Map<String, Value>,
}

/// A part of what a sub-agent wrote.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    /// Bytes that mean nothing here.
    Text(Vec<u8>),
    /// A line that is understood.
    Said(Said),
    /// A line that was meant to be understood, and what is wrong with it.
    Wrong(String),
}

/// Hears a sub-agent's standard output.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    /// The beginning of a line that may yet say something.
    line: Vec<u8>,
    /// What comes until the next line end is text.
    is_in_text: bool,
}

impl Ear {
    /// Takes bytes, and answers what they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.take(piece, &mut heard);
        }
        heard
    }

    /// The output is over: what was said without a line end is said.
    pub(crate) fn finish(&mut self) -> Vec<Heard> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            Vec::new()
        } else {
            vec![read(line)]
        }
    }

    /// Takes what lies within one line.
    fn take(&mut self, piece: &[u8], heard: &mut Vec<Heard>) {
        let is_end = piece.ends_with(b"\n");
        if self.is_in_text {
            self.is_in_text = !is_end;
            return push_text(piece, heard);
        }
        self.line.extend_from_slice(piece);
        if self.line.len() > LINE_LEN_MAX {
            if may_say_something(&self.line) {
                heard.push(Heard::Wrong(format!(
                    "a line is longer than {LINE_LEN_MAX} bytes and taken as text"
                )));
            }
            push_text(&std::mem::take(&mut self.line), heard);
            self.is_in_text = !is_end;
        } else if is_end {
            match read(std::mem::take(&mut self.line)) {
                Heard::Text(text) => push_text(&text, heard),
                said => heard.push(said),
            }
        } else if !may_say_something(&self.line) {
            push_text(&std::mem::take(&mut self.line), heard);
            self.is_in_text = true;
        }
    }
}

/// Whether a line that begins so may be an object.
fn may_say_something(line: &[u8]) -> bool {
    let first = line.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_none_or(|first| *first == b'{')
}

/// Text that follows on text is one.
fn push_text(text: &[u8], heard: &mut Vec<Heard>) {
    match heard.last_mut() {
        Some(Heard::Text(before)) => before.extend_from_slice(text),
        _ => heard.push(Heard::Text(text.to_vec())),
    }
}

/// What a whole line is.
fn read(line: Vec<u8>) -> Heard {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(&line) else {
        return Heard::Text(line);
    };
    let Some(Value::String(kind)) = fields.remove("type") else {
        return Heard::Text(line);
    };
    let mut fields = Fields(fields);
    let said = match kind.as_str() {
        "progress" => fields.progress(),
        "question" => fields.question(),
        "result" => fields.text("text").map(Said::Result),
        "usage" => fields.usage(),
        "tool" => fields.tool(),
        _ => return Heard::Text(line),
    };
    said.map_or_else(
        |wrong| Heard::Wrong(format!("a line of type {kind:?} {wrong}")),
        Heard::Said,
    )
}

/// The fields of a line; those that nobody asks for are left alone.
struct Fields(Map<String, Value>);

impl Fields {
    fn given(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    fn optional_text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.given(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("has a {key:?} that is no text")),
        }
    }

    fn text(&mut self, key: &str) -> Result<String, String> {
        self.optional_text(key)?
            .ok_or_else(|| format!("has no {key:?}"))
    }

    fn count(&mut self, key: &str) -> Result<i64, String> {
        match self.given(key) {
            None => Ok(0),
            Some(value) => value
                .as_i64()
                .filter(|count| *count >= 0)
                .ok_or_else(|| format!("has a {key:?} that is no whole number from 0 on")),
        }
    }

    fn progress(&mut self) -> Result<Said, String> {
        let text = self.optional_text("text")?;
        let doing = self.optional_text("doing")?;
        if text.is_none() && doing.is_none() {
            return Err("has neither \"text\" nor \"doing\"".to_owned());
        }
        Ok(Said::Progress {
            text: text.unwrap_or_default(),
            doing: doing.map(|doing| keep_head(doing, DOING_LEN_MAX)),
        })
    }

    fn question(&mut self) -> Result<Said, String> {
        let text = self.text("text")?;
        if text.trim().is_empty() {
            return Err("has a blank \"text\"".to_owned());
        }
        if text.len() > QUESTION_LEN_MAX {
            return Err(format!("is longer than {QUESTION_LEN_MAX} bytes"));
        }
        let timeout = match self.given("timeout_seconds") {
            None => None,
            Some(value) => {
                let span = value.as_f64().filter(|seconds| *seconds > 0.0);
                let span = span.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let span = span.filter(|span| *span <= QUESTION_SPAN_MAX);
                Some(span.ok_or_else(|| {
                    let most = QUESTION_SPAN_MAX.as_secs();
                    format!("has a \"timeout_seconds\" that is not above 0 and up to {most}")
                })?)
            }
        };
        Ok(Said::Question { text, timeout })
    }

    fn usage(&mut self) -> Result<Said, String> {
        let tokens = Tokens {
            input: self.count("input_tokens")?,
            output: self.count("output_tokens")?,
        };
        let is_delta = match self.given("delta") {
            None => false,
            Some(Value::Bool(is_delta)) => is_delta,
            Some(_) => return Err("has a \"delta\" that is neither true nor false".to_owned()),
        };
        Ok(Said::Usage { tokens, is_delta })
    }

    fn tool(&mut self) -> Result<Said, String> {
        let id = self.given("id").filter(|id| match id {
            Value::String(id) => !id.is_empty() && id.len() <= CALL_ID_LEN_MAX,
            Value::Number(_) => true,
            _ => false,
        });
        let id = id.ok_or_else(|| {
            format!("has no \"id\" that is a number or a text of 1 to {CALL_ID_LEN_MAX} bytes")
        })?;
        let name = self.text("name")?;
        let arguments = match self.given("arguments") {
            None => Map::new(),
            Some(Value::Object(arguments)) => arguments,
            Some(_) => return Err("has \"arguments\" that are no object".to_owned()),
        };
        Ok(Said::Tool(Call {
            id,
            name,
            arguments,
        }))
    }
}

impl Tokens {
    /// Takes what is said of them.
    pub(crate) fn note(&mut self, tokens: Self, is_delta: bool) {
        *self = if is_delta {
            Self {
                input: self.input.saturating_add(tokens.input),
                output: self.output.saturating_add(tokens.output),
            }
        } else {
            tokens
        };
    }
}

/// What a sub-agent is told. As a line, its `type` comes first.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Told<'a> {
    /// The first line: what it is to do.
    Task(Box<Task<'a>>),
    /// The answer to its question.
    Answer {
        question: i32,
        text: &'a str,
        from: &'a str,
    },
    /// Nobody answers its question: it is to go on alone.
    NoAnswer { question: i32, text: &'a str },
    /// It hasn't asked, and is to heed this from now on.
    Steer { text: &'a str, from: &'a str },
    /// It is to end.
    Stop { reason: &'a str },
    /// What came of a call.
    ToolResult {
        id: &'a Value,
        #[serde(flatten)]
        outcome: &'a Outcome,
    },
    /// A line of its own that was not understood.
    Error { text: &'a str },
}

/// What a call of a tool came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// What came out, in the tool's own JSON.
    Result(Value),
    /// It is refused, or was not made.
    Error {
        /// As in `types.proto`, or one of the worker's own.
        reason: String,
        message: String,
    },
}

/// What a sub-agent is to do.
#[derive(Debug, Serialize)]
pub(crate) struct Task<'a> {
    prompt: &'a str,
    subject: &'a str,
    task_id: u64,
    attempt: i32,
    team: &'a str,
    member: &'a str,
    instructions: &'a str,
    model: &'a str,
    hiring_depth: i32,
    mail: &'a [Message],
}

impl<'a> Told<'a> {
    /// The task of an assignment, with hiring as deep as its agent type allows too.
    pub(crate) fn task(assignment: &'a Assignment, hiring_depth: i32) -> Self {
        let fence = assignment.fence.as_ref();
        Self::Task(Box::new(Task {
            prompt: &assignment.prompt,
            subject: &assignment.subject,
            task_id: fence.map_or(0, |fence| fence.task_id),
            attempt: fence.map_or(0, |fence| fence.attempt),
            team: &assignment.team,
            member: &assignment.member,
            instructions: &assignment.instructions,
            model: &assignment.model,
            hiring_depth,
            mail: &assignment.mail,
        }))
    }

    /// As a line.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("texts, numbers and JSON are always JSON");
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests;
