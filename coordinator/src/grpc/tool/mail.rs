//! The tools of mail: SendMessage, message_teammate, broadcast, read_messages, answer_question.
//!
//! read_messages keeps nothing between calls: an answer says under `ack` what it told, the next
//! call says that back and so acknowledges it. What was lost on its way to the model is never
//! acknowledged, and comes again; a memory of the server's could not know.

use std::fmt::Write as _;

use ganger_proto::v1::{
    self, delegation_service_server::DelegationService, mailbox_service_server::MailboxService,
    team_service_server::TeamService,
};
use serde_json::{Value, json};

use super::{
    args::{Object, arguments},
    bound,
    json::{self, Case},
    kinds::{Count, Id, Seconds, Word},
    listing::fits,
    refusal::{No, Refusal},
    registry::{Answer, Caller, Hints, Tool},
    team::either,
};

mod ack;
mod send;

pub use self::ack::Ack;
pub use self::send::SendMessage;

/// Sends, in the caller's name and team.
async fn send(
    caller: &Caller,
    mut request: v1::SendMessageRequest,
) -> Result<v1::SendMessageResponse, No> {
    request.team.clone_from(&caller.team);
    request.request_id.clone_from(&caller.request_id);
    let sent = caller.services.send_message(caller.say(request)).await?;
    Ok(sent.into_inner())
}

/// What became of the copies of a message, in words.
fn receipts(sent: &v1::SendMessageResponse) -> String {
    let lines = sent.receipts.iter().map(|receipt| {
        let member = &receipt.member;
        if receipt.answers {
            return format!("{member} was waiting for an answer, and takes it as that.");
        }
        match receipt.liveness() {
            v1::MemberLiveness::Working => format!("{member} is at work, and reads it in between."),
            v1::MemberLiveness::Idle => format!("{member} is idle, and reads it when it begins."),
            v1::MemberLiveness::Gone => format!("{member} is gone; it lies in the mailbox."),
            _ => format!("It lies in {member}'s mailbox."),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn sent(sent: &v1::SendMessageResponse) -> Object {
    let receipts = sent.receipts.iter();
    let mut result = Object::new();
    result.insert("success".into(), true.into());
    result.insert("message_id".into(), sent.message_id.to_string().into());
    let told = receipts.map(|receipt| Value::Object(json::told(receipt, Case::Snake)));
    result.insert("receipts".into(), told.collect());
    result
}

arguments! {
    /// message_teammate.
    MessageTeammate {
        /// Who is to get it.
        member_name = "member_name": String,
        /// What you want to say.
        message = "message": String,
        /// The same in a few words.
        summary = "summary": Option<String>,
    }
}

impl Tool for MessageTeammate {
    const NAME: &'static str = "message_teammate";
    const DESCRIPTION: &'static str = "\
Sends a message to a member: more context, a correction, an answer.\n\
It is stored at once, and read between two steps, before the next task, or when the member \
calls; a member that waits for an answer takes it as that. Answers what became of it.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = v1::SendMessageRequest {
            to: vec![self.member_name],
            text: self.message,
            summary: self.summary.unwrap_or_default(),
            ..v1::SendMessageRequest::default()
        };
        let answer = send(caller, request).await?;
        let text = format!("Message {} sent. {}", answer.message_id, receipts(&answer));
        Ok(Answer::new(sent(&answer).into(), text))
    }
}

arguments! {
    /// broadcast.
    Broadcast {
        /// What you want to say to everybody.
        message = "message": String,
        /// The same in a few words.
        summary = "summary": Option<String>,
    }
}

impl Tool for Broadcast {
    const NAME: &'static str = "broadcast";
    const DESCRIPTION: &'static str = "\
Sends a message to every member but yourself.\n\
Costs everybody's attention: for one member use message_teammate. Answers what became of each \
copy.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = v1::SendMessageRequest {
            broadcast: true,
            text: self.message,
            summary: self.summary.unwrap_or_default(),
            ..v1::SendMessageRequest::default()
        };
        let answer = send(caller, request).await?;
        let names: Vec<&str> = answer.receipts.iter().map(|r| r.member.as_str()).collect();
        let text = format!(
            "Message {} sent to {} members: {}.",
            answer.message_id,
            names.len(),
            names.join(", ")
        );
        let mut result = sent(&answer);
        result.insert("recipients".into(), json!(names));
        Ok(Answer::new(result.into(), text))
    }
}

arguments! {
    /// answer_question.
    AnswerQuestion {
        /// The answer.
        answer = "answer": String,
        /// The id of the task whose running sub-agent asks, as wait_tasks and check_task tell it.
        task_id = "task_id": Option<Id>,
        /// Instead of task_id: who asked, the question's `from`.
        to = "to": Option<String>,
        /// The question's correlation_id; may be left out where only one question is open.
        question_id = "question_id": Option<String>,
    }
}

impl Tool for AnswerQuestion {
    const NAME: &'static str = "answer_question";
    const DESCRIPTION: &'static str = "\
Answers a question: one that a running sub-agent asks (give its task_id), or one that \
read_messages told (type question; give its `from` as to).\n\
Whoever asked waits for it, and goes on without you when you take too long.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let question_id = self.question_id.unwrap_or_default();
        // A sub-agent that is nobody's asks as `task:<id>`, and is on no roster.
        let of_task = |to: &String| to.strip_prefix("task:")?.trim().parse().ok();
        let asker: Option<u64> = self.to.as_ref().and_then(of_task);
        match (asker, self.to, self.task_id) {
            (Some(task), ..) | (None, None, Some(Id(task))) => {
                answer_sub_agent(caller, task, self.answer, &question_id).await
            }
            (None, Some(to), _) => {
                let request = v1::SendMessageRequest {
                    to: vec![to],
                    r#type: v1::MessageType::Answer.into(),
                    text: self.answer,
                    correlation_id: question_id,
                    ..v1::SendMessageRequest::default()
                };
                let answer = send(caller, request).await?;
                let text = format!("Answer {} sent. {}", answer.message_id, receipts(&answer));
                Ok(Answer::new(sent(&answer).into(), text))
            }
            (None, None, None) => Err(either(Self::NAME, "task_id", "to").into()),
        }
    }
}

/// Answers the question that a task's running sub-agent has asked.
async fn answer_sub_agent(
    caller: &Caller,
    task_id: u64,
    text: String,
    question_id: &str,
) -> Result<Answer, No> {
    // `task:<id>/<attempt>/<number>`.
    let number = question_id.rsplit('/').next();
    let question = number.and_then(|number| number.parse().ok());
    let request = caller.say(v1::AnswerQuestionRequest {
        team: caller.team.clone(),
        task_id,
        text,
        question: question.unwrap_or_default(),
        request_id: caller.request_id.clone(),
    });
    let answer = caller.services.answer_question(request).await?;
    let line = answer.into_inner().task.unwrap_or_default().line;
    let result = json!({"success": true, "task_id": task_id.to_string(), "line": line});
    let text = format!("The sub-agent of task #{task_id} has its answer.\n{line}");
    Ok(Answer::new(result, text))
}

arguments! {
    /// read_messages.
    ReadMessages {
        /// The `ack` of your last read_messages: removes what that answered from the mailbox.
        ack = "ack": Option<Ack>,
        /// How many seconds to wait where there is no mail; 300 at the most, none when left out.
        wait = "wait_seconds": Option<Seconds>,
        /// Only messages of these types.
        types = "types": Option<Vec<Word<v1::MessageType>>>,
        /// Only messages from this member, or "coordinator".
        from = "from": Option<String>,
        /// How many at the most; 10 when left out, 20 at the most.
        limit = "limit": Option<Count>,
        /// Only this message, a page of its text: for one that was cut.
        message_id = "message_id": Option<Id>,
        /// With message_id: from which character on.
        offset = "offset": Option<Count>,
    }
}

/// Messages of an answer at the most.
const LIMIT_MAX: i32 = 20;
const LIMIT: i32 = 10;

impl Tool for ReadMessages {
    const NAME: &'static str = "read_messages";
    const DESCRIPTION: &'static str = "\
Reads your mailbox, oldest first: messages, questions (answer_question), finished tasks, \
requests for approval.\n\
Nothing is lost: what you read stays in the mailbox until the next read_messages says the `ack` \
that came with it, and is told again otherwise.";
    const HINTS: Hints = Hints::CHANGES.long();

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        // An answer without messages has an ack of none.
        let ids = self.ack.map(|ack| ack.ids()).unwrap_or_default();
        if !ids.is_empty() {
            let request = caller.say(v1::AckMessagesRequest {
                team: caller.team.clone(),
                message_ids: ids,
                ..v1::AckMessagesRequest::default()
            });
            caller.services.ack_messages(request).await?;
        }
        if let Some(Id(id)) = self.message_id {
            let offset = self.offset.map_or(0, |offset| offset.0);
            return page(caller, id, usize::try_from(offset).unwrap_or_default()).await;
        }
        let types = self.types.unwrap_or_default();
        let limit = self.limit.map_or(LIMIT, |limit| limit.0);
        let request = caller.say(v1::ReceiveMessagesRequest {
            team: caller.team.clone(),
            types: types.into_iter().map(|word| word.0.into()).collect(),
            from: self.from.unwrap_or_default(),
            limit: limit.clamp(1, LIMIT_MAX),
            wait: self.wait.map(Into::into),
            ..v1::ReceiveMessagesRequest::default()
        });
        let answer = caller.services.receive_messages(request).await?;
        let mut answer = answer.into_inner();
        loop {
            let told = received(&answer);
            if answer.messages.len() <= 1 || fits(&told) {
                return Ok(told);
            }
            // What isn't told isn't acknowledged, and comes with the next call.
            answer.messages.pop();
            answer.has_more = true;
        }
    }
}

/// A page of the text of one message in the mailbox.
async fn page(caller: &Caller, id: u64, offset: usize) -> Result<Answer, No> {
    let request = caller.say(v1::ReceiveMessagesRequest {
        team: caller.team.clone(),
        after_message_id: id - 1,
        limit: 1,
        ..v1::ReceiveMessagesRequest::default()
    });
    let answer = caller.services.receive_messages(request).await?;
    let mut found = answer.into_inner().messages.into_iter();
    let Some(message) = found.next().filter(|message| message.id == id) else {
        return Err(Refusal {
            error: format!("message_id {id} is no message in your mailbox"),
            reason: "ARGUMENT_INVALID".to_owned(),
            next: "read your mail with read_messages".to_owned(),
            facts: Object::new(),
        }
        .into());
    };
    let mut text = message.text.clone();
    if let Some(payload) = json::told(&message, Case::Snake).get("payload") {
        let _ = write!(text, "\n{payload}");
    }
    let page = bound::page(&text, offset);
    let mut words = page.text.to_owned();
    let mut result = json!({
        "message_id": id.to_string(),
        "offset": offset,
        "characters": page.of,
        "text": page.text,
    });
    if let Some(next) = page.next {
        result["next_offset"] = next.into();
        let of = page.of;
        let _ = write!(
            words,
            "\n[Characters {offset} to {next} of {of}: go on with offset {next}.]"
        );
    }
    Ok(Answer::new(result, words))
}

fn received(answer: &v1::ReceiveMessagesResponse) -> Answer {
    let mut text = String::new();
    let mut answer = answer.clone();
    if let [alone] = answer.messages.as_mut_slice() {
        cut_message(alone);
    }
    for message in &answer.messages {
        add_message(&mut text, message);
    }
    if answer.messages.is_empty() {
        text.push_str("No new messages.");
    }
    let ack = Ack::of(answer.messages.iter().map(|message| message.id));
    if !answer.messages.is_empty() {
        let _ = write!(
            text,
            "Next time give ack {ack:?} to have these removed.",
            ack = ack.0
        );
    }
    if answer.has_more {
        text.push_str(" There are more.");
    }
    let messages = answer.messages.iter().map(|message| {
        let mut told = json::told(message, Case::Snake);
        for key in ["team", "to", "from_incarnation"] {
            told.remove(key);
        }
        Value::Object(told)
    });
    let result = json!({
        "messages": messages.collect::<Value>(),
        "unread": answer.unread,
        "has_more": answer.has_more,
        "ack": ack.0,
    });
    Answer::new(result, text)
}

/// Cuts a message that has no room in an answer of its own.
fn cut_message(message: &mut v1::Message) {
    let payload = json::told(message, Case::Snake).remove("payload");
    let payload_len = payload.as_ref().map_or(0, bound::json_len);
    if bound::len(&message.text) + payload_len <= bound::TEXTS_MAX {
        return;
    }
    let id = message.id;
    let mut read_on = format!("[Cut: read on with read_messages: message_id {id}, offset ");
    let of = message.text.chars().count();
    let (part, shown) = bound::beginning(&message.text, bound::TEXTS_MAX);
    let part = part.to_owned();
    if payload.is_some() {
        // Half an object is none; the page has it behind the text.
        message.payload = None;
    }
    let _ = write!(read_on, "{shown} of {of}");
    if payload.is_some() {
        read_on.push_str(", with the payload behind the text");
    }
    message.text = format!("{part}…\n{read_on}]");
}

fn add_message(text: &mut String, message: &v1::Message) {
    let told = json::told(message, Case::Snake);
    let kind = told.get("type").and_then(Value::as_str).unwrap_or("text");
    let _ = write!(text, "[{}] {kind} from {}", message.id, message.from);
    if message.task_id != 0 {
        let _ = write!(text, " about task #{}", message.task_id);
    }
    if !message.correlation_id.is_empty() {
        let _ = write!(text, " (correlation_id {})", message.correlation_id);
    }
    if let Some(approve) = message.approve {
        text.push_str(if approve { ": approved" } else { ": rejected" });
    }
    let _ = writeln!(text, "\n{}", message.text);
    if let Some(payload) = told.get("payload") {
        let _ = writeln!(text, "{payload}");
    }
}
