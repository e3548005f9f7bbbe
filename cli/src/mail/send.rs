//! `ganger mail send`.

use std::time::Duration;

use ganger_proto::v1;

use super::{sent_type, talk};
use crate::{
    context::Context, failure::Failure, flags::RequestId, input::text_or_stdin, member::identity,
    output::words, values,
};

/// What is sent, and to whom.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The answer says what became of each copy, and what its recipient is doing. For questions, shutdowns
and plans there are shorter ways: ganger mail ask, answer, shutdown, plan, approve, reject.

Examples:
  ganger mail send --to alice,bob 'The schema is ready for review.'
  git diff | ganger mail send --broadcast --summary 'the diff' -
  ganger mail send --to team-lead --type answer --correlation-id 12 'the old one'")]
pub struct Args {
    /// What is said; - for stdin
    #[arg(default_value = "", hide_default_value = true)]
    text: String,
    /// A member who is to get it; may be repeated
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME",
        required_unless_present = "broadcast",
        conflicts_with = "broadcast"
    )]
    to: Vec<String>,
    /// To everybody on the roster but you and the workers
    #[arg(long)]
    broadcast: bool,
    /// What it is [default: text]
    #[arg(long = "type", value_name = "TYPE", value_parser = sent_type())]
    kind: Option<v1::MessageType>,
    /// The same in a few words [default: the first line]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    summary: String,
    /// Any JSON object
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    payload: Option<pbjson_types::Struct>,
    /// What ties an answer to its question
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    correlation_id: String,
    /// A shutdown or plan approval response: yes
    #[arg(long, conflicts_with = "reject")]
    approve: bool,
    /// A shutdown or plan approval response: no
    #[arg(long)]
    reject: bool,
    /// The task that it is about
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "ID"
    )]
    about: u64,
    /// A shutdown or plan approval request: how long the answer may take
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    answer_within: Option<Duration>,
    #[command(flatten)]
    request_id: RequestId,
}

/// Sends it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(mut args: Args, context: &Context) -> Result<(), Failure> {
    args.text = text_or_stdin(args.text)?;
    let request = request(args)?;
    let client = context.connect().await?;
    let answer = talk::send(&client, request).await?;
    context.out.answer(&answer, || said(&answer))?;
    Ok(())
}

fn request(args: Args) -> Result<v1::SendMessageRequest, Failure> {
    let kind = args.kind.unwrap_or(v1::MessageType::Text);
    let is_words = matches!(
        kind,
        v1::MessageType::Text | v1::MessageType::Question | v1::MessageType::Answer
    );
    if is_words && args.text.trim().is_empty() {
        return Err(Failure::Usage("say something: TEXT, or - for stdin".into()));
    }
    Ok(v1::SendMessageRequest {
        to: args.to,
        broadcast: args.broadcast,
        r#type: kind.into(),
        text: args.text,
        summary: args.summary,
        payload: args.payload,
        correlation_id: args.correlation_id,
        approve: match (args.approve, args.reject) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        task_id: args.about,
        timeout: args.answer_within.map(values::wire_span),
        request_id: args.request_id.or_new(),
        ..v1::SendMessageRequest::default()
    })
}

/// What became of each copy, in a line each.
pub fn said(answer: &v1::SendMessageResponse) -> String {
    let lines: Vec<String> = answer
        .receipts
        .iter()
        .map(|receipt| {
            let to = identity(&receipt.member, receipt.incarnation);
            let mut facts = vec![match receipt.stored {
                true => "stored".to_owned(),
                false => "not stored".to_owned(),
            }];
            facts.push(words::liveness(receipt.liveness()));
            if receipt.answers {
                facts.push("takes it as its answer".into());
            }
            facts.retain(|fact| !fact.is_empty());
            format!(
                "message {} to {to}: {}",
                answer.message_id,
                facts.join("; ")
            )
        })
        .collect();
    match lines.is_empty() {
        true => format!("message {} went to nobody", answer.message_id),
        false => lines.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn asked(line: &[&str]) -> Result<serde_json::Value, Failure> {
        let line = Line::try_parse_from([&["send"], line].concat()).unwrap();
        let mut request = serde_json::to_value(request(line.args)?).unwrap();
        assert_eq!(request["requestId"].as_str().unwrap().len(), 36);
        request.as_object_mut().unwrap().remove("requestId");
        Ok(request)
    }

    #[test]
    fn message_goes_to_several_with_all_that_it_can_carry() {
        let request = asked(&[
            "--to",
            "alice,bob",
            "--to",
            "carol",
            "--type",
            "plan-approval-request",
            "--summary",
            "plan",
            "--payload",
            "{\"n\":1}",
            "--correlation-id",
            "c-1",
            "--about",
            "3",
            "--answer-within",
            "90s",
            "the plan",
        ]);

        assert_eq!(
            request.unwrap(),
            serde_json::json!({
                "to": ["alice", "bob", "carol"], "type": "MESSAGE_TYPE_PLAN_APPROVAL_REQUEST",
                "text": "the plan", "summary": "plan", "payload": {"n": 1.0},
                "correlationId": "c-1", "taskId": "3", "timeout": "90s",
            })
        );
    }

    #[test]
    fn verdict_needs_no_words_and_says_yes_or_no() {
        let verdict = |flag| {
            let line = ["--to", "ann", "--type", "shutdown-response", flag];
            asked(&line).unwrap()["approve"].clone()
        };

        assert_eq!(verdict("--approve"), true);
        assert_eq!(verdict("--reject"), false);
    }

    #[test]
    fn nothing_said_nobody_named_and_notices_are_wrong_usage() {
        assert!(matches!(asked(&["--to", "ann"]), Err(Failure::Usage(_))));
        assert!(matches!(
            asked(&["--broadcast", " \n"]),
            Err(Failure::Usage(_))
        ));
        for line in [
            "send hello",
            "send --to ann --broadcast hello",
            "send --to ann --type idle hello",
            "send --to ann --approve --reject",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn receipts_say_what_became_of_each_copy() {
        let receipt = |member: &str, liveness: v1::MemberLiveness| v1::Receipt {
            member: member.into(),
            incarnation: 1,
            stored: true,
            liveness: liveness.into(),
            answers: liveness == v1::MemberLiveness::WaitingForAnswer,
        };
        let answer = v1::SendMessageResponse {
            message_id: 7,
            receipts: vec![
                receipt("alice", v1::MemberLiveness::Working),
                receipt("bob", v1::MemberLiveness::WaitingForAnswer),
            ],
            ..v1::SendMessageResponse::default()
        };

        assert_eq!(
            said(&answer),
            "message 7 to alice: stored; working\n\
             message 7 to bob: stored; waiting for answer; takes it as its answer"
        );
    }
}
