//! SendMessage: words, and the handshakes of shutdown and plan approval, in both spellings that
//! lead agents know.

use serde_json::{Value, json};

use super::*;
use crate::grpc::tool::{
    args::{Argument, Arguments, Shape, Wrong},
    kinds::Words,
    refusal::Refusal,
};

/// What SendMessage sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Words to one or some.
    Message,
    /// Words to everybody.
    Broadcast,
    /// A typed message.
    Typed(v1::MessageType),
}

impl Words for Sort {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("message", Self::Message),
        ("broadcast", Self::Broadcast),
        ("question", Self::Typed(v1::MessageType::Question)),
        ("answer", Self::Typed(v1::MessageType::Answer)),
        (
            "shutdown_request",
            Self::Typed(v1::MessageType::ShutdownRequest),
        ),
        (
            "shutdown_response",
            Self::Typed(v1::MessageType::ShutdownResponse),
        ),
        (
            "plan_approval_request",
            Self::Typed(v1::MessageType::PlanApprovalRequest),
        ),
        (
            "plan_approval_response",
            Self::Typed(v1::MessageType::PlanApprovalResponse),
        ),
    ];
}

arguments! {
    /// A message with a type.
    Structured {
        /// What it is.
        sort = "type": Word<Sort>,
        /// Responses: the request_id of the request.
        request_id = "request_id": Option<String>,
        /// Responses: yes or no.
        approve = "approve": Option<bool>,
        /// Why.
        reason = "reason": Option<String>,
        /// plan_approval_response: what to do better.
        feedback = "feedback": Option<String>,
        /// plan_approval_request: the plan.
        plan = "plan": Option<String>,
    }
}

/// Words, or a message with a type.
#[derive(Debug)]
pub enum Content {
    /// Words.
    Words(String),
    /// A message with a type.
    Structured(Structured),
}

impl Argument for Content {
    const SHAPE: Shape = Shape::Text;

    fn schema() -> Value {
        let structured = crate::grpc::tool::args::schema(Structured::ALL.iter());
        json!({"anyOf": [{"type": "string"}, structured]})
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        match value {
            Value::String(text) => Ok(Self::Words(text)),
            Value::Object(_) => Structured::read(value).map(Self::Structured),
            other => Err(Wrong::value(&other, "a text, or an object with a type")),
        }
    }
}

arguments! {
    /// SendMessage.
    SendMessage {
        /// Who is to get it: a member's name, or "*" for everybody. A list of names, too.
        to = "to": Option<Vec<String>>,
        /// What you want to say; or an object, for a request or the response to one.
        message = "message": Option<Content>,
        /// The same in 5 to 10 words.
        summary = "summary": Option<String>,
        /// What it is, where `message` is a text; a message when left out.
        sort = "type": Option<Word<Sort>>,
        /// The same as `to`.
        recipient = "recipient": Option<Vec<String>>,
        /// The same as `message`.
        content = "content": Option<String>,
        /// Responses and answers: the request_id or correlation_id of what they respond to.
        request_id = "request_id": Option<String>,
        /// Responses: yes or no.
        approve = "approve": Option<bool>,
        /// The id of the task that it is about.
        task_id = "task_id": Option<Id>,
    }
}

impl Tool for SendMessage {
    const NAME: &'static str = "SendMessage";
    const DESCRIPTION: &'static str = "\
Sends a message to members, or asks for something that must be answered.\n\
Words: {\"to\": \"bob\", \"message\": \"...\", \"summary\": \"...\"}; \"to\": \"*\" is \
everybody. Ask a member to shut down: {\"to\": \"bob\", \"message\": {\"type\": \
\"shutdown_request\", \"reason\": \"...\"}}. Respond to a request that read_messages told: \
{\"to\": \"bob\", \"message\": {\"type\": \"plan_approval_response\", \"request_id\": \"...\", \
\"approve\": true}}, and so with shutdown_response. What you write elsewhere is seen by no other \
member: this is how you talk.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let letter = Letter::of(self)?;
        letter.post(caller).await
    }
}

/// A message to be sent, however it was spelled.
struct Letter {
    sort: Sort,
    to: Vec<String>,
    text: String,
    summary: String,
    correlation_id: String,
    approve: Option<bool>,
    task_id: u64,
}

impl Letter {
    fn of(said: SendMessage) -> Result<Self, Refusal> {
        let twice = |one, other| either(SendMessage::NAME, one, other);
        let mut to = match (said.to, said.recipient) {
            (Some(_), Some(_)) => return Err(twice("to", "recipient")),
            (to, recipient) => to.or(recipient).unwrap_or_default(),
        };
        let content = match (said.message, said.content) {
            (Some(_), Some(_)) => return Err(twice("message", "content")),
            (message, content) => message.or(content.map(Content::Words)),
        };
        let sort = said.sort.map(|word| word.0);
        let mut letter = Self {
            sort: sort.unwrap_or(Sort::Message),
            to: Vec::new(),
            text: String::new(),
            summary: said.summary.unwrap_or_default(),
            correlation_id: said.request_id.unwrap_or_default(),
            approve: said.approve,
            task_id: said.task_id.map_or(0, |id| id.0),
        };
        match content {
            None => {}
            Some(Content::Words(text)) => letter.text = text,
            Some(Content::Structured(typed)) => {
                if sort.is_some_and(|sort| sort != typed.sort.0) {
                    return Err(twice("type", "message.type"));
                }
                let texts = [typed.plan, typed.feedback, typed.reason];
                letter.sort = typed.sort.0;
                letter.text = texts.into_iter().flatten().collect::<Vec<_>>().join("\n");
                letter.approve = typed.approve.or(letter.approve);
                if let Some(id) = typed.request_id {
                    letter.correlation_id = id;
                }
            }
        }
        if to.iter().any(|name| name == "*") && letter.sort == Sort::Message {
            to.clear();
            letter.sort = Sort::Broadcast;
        }
        letter.to = to;
        Ok(letter)
    }

    async fn post(mut self, caller: &Caller) -> Result<Answer, No> {
        let kind = match self.sort {
            Sort::Message | Sort::Broadcast => v1::MessageType::Text,
            Sort::Typed(kind) => kind,
        };
        let is_to_lead = matches!(
            kind,
            v1::MessageType::ShutdownResponse | v1::MessageType::PlanApprovalRequest
        );
        if self.to.is_empty() && is_to_lead {
            self.to.push(lead(caller).await?);
        }
        let request = v1::SendMessageRequest {
            to: self.to.clone(),
            broadcast: self.sort == Sort::Broadcast,
            r#type: kind.into(),
            text: self.text.clone(),
            summary: self.summary.clone(),
            correlation_id: self.correlation_id.clone(),
            approve: self.approve,
            task_id: self.task_id,
            ..v1::SendMessageRequest::default()
        };
        let answer = send(caller, request).await?;
        Ok(self.told(caller, kind, &answer))
    }

    fn told(
        &self,
        caller: &Caller,
        kind: v1::MessageType,
        answer: &v1::SendMessageResponse,
    ) -> Answer {
        let names: Vec<&str> = answer.receipts.iter().map(|r| r.member.as_str()).collect();
        let whose = names.join(", ");
        let is_request = matches!(
            kind,
            v1::MessageType::ShutdownRequest
                | v1::MessageType::PlanApprovalRequest
                | v1::MessageType::Question
        );
        let id = &answer.correlation_id;
        let message = match self.sort {
            Sort::Broadcast => format!("Message broadcast to {} members: {whose}", names.len()),
            Sort::Message => format!("Message sent to {whose}'s inbox"),
            Sort::Typed(_) if is_request => format!("Request sent to {whose}. Request ID: {id}"),
            Sort::Typed(_) => format!("Response sent to {whose}"),
        };
        let mut result = sent(answer);
        result.insert("message".into(), message.as_str().into());
        result.insert("recipients".into(), json!(names));
        let target = match self.sort {
            Sort::Broadcast => "@team".to_owned(),
            _ => format!("@{whose}"),
        };
        let mut routing = json!({"target": target, "summary": self.summary, "content": self.text});
        if let Some(name) = caller.name() {
            routing["sender"] = name.into();
        }
        result.insert("routing".into(), routing);
        if is_request {
            result.insert("request_id".into(), id.as_str().into());
            result.insert("target".into(), whose.into());
        }
        let text = format!("{message}. {}", receipts(answer));
        Answer::new(result.into(), text)
    }
}

/// The lead's name, for what can go to nobody else.
async fn lead(caller: &Caller) -> Result<String, No> {
    let request = caller.say(v1::GetTeamRequest {
        team: caller.team.clone(),
    });
    let answer = caller.services.get_team(request).await?.into_inner();
    Ok(answer.team.unwrap_or_default().lead)
}
