//! `ganger mail`: messages between the members of a team.
//!
//! Nothing that this tool does loses mail: what is read is acknowledged only after it was printed,
//! and only where that was asked for.

use clap::{Subcommand, builder::PossibleValuesParser, builder::TypedValueParser as _};
use ganger_proto::{json::to_line, v1};

use crate::{
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    member::identity,
    output::{faint, safe_block, safe_line, words},
};

mod ack;
mod answer;
mod ask;
mod plan;
mod receive;
mod send;
mod shutdown;
mod talk;
mod verdict;
mod watch;

/// What members send.
const SENT: [&str; 7] = [
    "text",
    "question",
    "answer",
    "shutdown-request",
    "shutdown-response",
    "plan-approval-request",
    "plan-approval-response",
];
/// What the coordinator sends.
const NOTICES: [&str; 7] = [
    "task-assignment",
    "task-unassigned",
    "task-unblocked",
    "task-finished",
    "idle",
    "member-failed",
    "digest",
];

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Send a message to members, or to everybody
    Send(send::Args),
    /// Read your mailbox, oldest first, and wait for mail if asked to
    #[command(visible_alias = "read")]
    Receive(receive::Args),
    /// Take messages out of your mailbox
    Ack(ack::Args),
    /// Follow your mailbox
    Watch(watch::Args),
    /// Ask a member something
    Ask(ask::Args),
    /// Answer a question
    Answer(answer::Args),
    /// Ask members to stop and leave
    Shutdown(shutdown::Args),
    /// Ask the lead to approve your plan
    Plan(plan::Args),
    /// Say yes to a shutdown or a plan
    Approve(verdict::ApproveArgs),
    /// Say no to a shutdown or a plan
    Reject(verdict::RejectArgs),
}

/// Does it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        Verb::Send(args) => send::run(args, context).await?,
        Verb::Receive(args) => return receive::run(args, context).await,
        Verb::Ack(args) => ack::run(args, context).await?,
        Verb::Watch(args) => watch::run(args, context).await?,
        Verb::Ask(args) => ask::run(args, context).await?,
        Verb::Answer(args) => answer::run(args, context).await?,
        Verb::Shutdown(args) => return shutdown::run(args, context).await,
        Verb::Plan(args) => return plan::run(args, context).await,
        Verb::Approve(args) => verdict::approve(args, context).await?,
        Verb::Reject(args) => verdict::reject(args, context).await?,
    }
    Ok(Exit::Done)
}

/// Reads a type that members send.
fn sent_type() -> impl clap::builder::TypedValueParser<Value = v1::MessageType> {
    PossibleValuesParser::new(SENT).map(|word| message_type(&word))
}

/// Reads any type.
fn any_type() -> impl clap::builder::TypedValueParser<Value = v1::MessageType> {
    PossibleValuesParser::new(SENT.into_iter().chain(NOTICES)).map(|word| message_type(&word))
}

fn message_type(word: &str) -> v1::MessageType {
    let name = word.to_uppercase().replace('-', "_");
    v1::MessageType::from_str_name(&format!("MESSAGE_TYPE_{name}"))
        .expect("the lists hold the contract's types")
}

/// Takes messages out of the caller's mailbox.
///
/// # Errors
/// What the coordinator refused.
async fn acknowledge(client: &Client, ids: Vec<u64>) -> Result<(), Failure> {
    if ids.is_empty() {
        return Ok(());
    }
    let request = v1::AckMessagesRequest {
        message_ids: ids,
        ..v1::AckMessagesRequest::default()
    };
    client
        .ask(request, |client, request| async move {
            client.mail().ack_messages(request).await
        })
        .await?;
    Ok(())
}

/// A message for people: who and what in a line, then its text.
fn told(message: &v1::Message) -> String {
    let mut text = faint(&words::time_of_day(message.sent_at.as_ref()));
    text.push_str(&format!(
        " message {} from {}",
        message.id,
        identity(&message.from, message.from_incarnation)
    ));
    let facts = facts(message);
    if !facts.is_empty() {
        text.push_str(&format!(" ({facts})"));
    }
    let body = message.text.trim_end();
    // A summary is often the text itself, or its first line.
    if !message.summary.is_empty() && !body.starts_with(message.summary.trim()) {
        text.push_str(&format!(": {}", safe_line(&message.summary)));
    }
    for line in safe_block(body).lines() {
        text.push_str(&format!("\n  {line}"));
    }
    if let Some(payload) = &message.payload {
        let json = to_line(payload).unwrap_or_default();
        text.push_str(&format!("\n  payload {}", safe_line(&json)));
    }
    text
}

fn facts(message: &v1::Message) -> String {
    let mut facts = vec![match message.r#type() {
        v1::MessageType::Text => String::new(),
        kind => words::message_type(kind),
    }];
    facts.push(
        match message.approve {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        }
        .into(),
    );
    if message.broadcast {
        facts.push("to all".into());
    }
    if message.task_id != 0 {
        facts.push(format!("about #{}", message.task_id));
    }
    if !message.correlation_id.is_empty() {
        facts.push(format!(
            "correlation {}",
            safe_line(&message.correlation_id)
        ));
    }
    if let Some(deadline) = &message.deadline {
        facts.push(format!("answer by {}", words::time(Some(deadline))));
    }
    facts.retain(|fact| !fact.is_empty());
    facts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(message: &v1::Message) -> String {
        console::strip_ansi_codes(&told(message)).into_owned()
    }

    #[test]
    fn every_type_of_the_contract_has_a_word() {
        let words = SENT.into_iter().chain(NOTICES);
        let mut numbers: Vec<i32> = words.map(|word| message_type(word).into()).collect();
        numbers.sort_unstable();

        let all: Vec<i32> = (1..)
            .take_while(|number| v1::MessageType::try_from(*number).is_ok())
            .collect();
        assert_eq!(numbers, all);
    }

    #[test]
    fn message_says_who_what_about_what_and_until_when() {
        let at = |seconds| Some(pbjson_types::Timestamp { seconds, nanos: 0 });
        let message = v1::Message {
            id: 12,
            from: "alice".into(),
            from_incarnation: 2,
            r#type: v1::MessageType::Question.into(),
            text: "Which schema?\nThe old one\u{1b}[2J?\n".into(),
            summary: "schema".into(),
            correlation_id: "c-1".into(),
            sent_at: at(1_795_269_600),
            deadline: at(1_795_269_660),
            task_id: 3,
            broadcast: true,
            ..v1::Message::default()
        };

        assert_eq!(
            plain(&message),
            "14:00:00 message 12 from alice/2 (question; to all; about #3; correlation c-1; \
             answer by 2026-11-21T14:01:00Z): schema\n  Which schema?\n  The old one\u{fffd}[2J?"
        );
    }

    #[test]
    fn plain_message_is_its_sender_and_its_text_and_a_verdict_says_yes_or_no() {
        let message = v1::Message {
            id: 1,
            from: "bob".into(),
            r#type: v1::MessageType::Text.into(),
            text: "done".into(),
            summary: "done".into(),
            ..v1::Message::default()
        };
        assert_eq!(plain(&message), " message 1 from bob\n  done");

        let verdict = v1::Message {
            r#type: v1::MessageType::ShutdownResponse.into(),
            approve: Some(false),
            ..message
        };
        assert_eq!(
            plain(&verdict),
            " message 1 from bob (shutdown response; no)\n  done"
        );
    }
}
