//! `ganger mail approve` and `ganger mail reject`: yes or no to a shutdown or a plan.

use ganger_proto::v1;

use super::{
    acknowledge,
    send::said,
    talk::{self, Awaited},
    told,
};
use crate::{
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    flags::RequestId,
    input::text_or_stdin,
    output::words,
};

/// What is approved.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Who approves its own shutdown leaves the team with that.

Example: ganger mail approve 12 'go ahead'")]
pub struct ApproveArgs {
    /// The request: its message id
    id: u64,
    /// More about it; - for stdin
    #[arg(default_value = "", hide_default_value = true)]
    text: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// What is rejected.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ganger mail reject 12 'the tests come first'")]
pub struct RejectArgs {
    /// The request: its message id
    id: u64,
    /// Why; - for stdin
    text: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// Says yes.
///
/// # Errors
/// Where it is no such request in this mailbox, and what the coordinator refused.
pub async fn approve(args: ApproveArgs, context: &Context) -> Result<(), Failure> {
    answer(args.id, true, args.text, args.request_id, context).await
}

/// Says no.
///
/// # Errors
/// Where it is no such request in this mailbox, and what the coordinator refused.
pub async fn reject(args: RejectArgs, context: &Context) -> Result<(), Failure> {
    answer(args.id, false, args.text, args.request_id, context).await
}

async fn answer(
    id: u64,
    approve: bool,
    text: String,
    request_id: RequestId,
    context: &Context,
) -> Result<(), Failure> {
    let text = text_or_stdin(text)?;
    let client = context.connect().await?;
    let asked = talk::find(&client, id).await?;
    let request = v1::SendMessageRequest {
        text,
        request_id: request_id.or_new(),
        ..verdict_on(&asked, approve)?
    };
    let leaves = approve && request.r#type() == v1::MessageType::ShutdownResponse;
    let sent = talk::send(&client, request).await?;
    context.out.answer(&sent, || said(&sent))?;
    // Who leaves has no mailbox any more.
    if !leaves {
        acknowledge(&client, vec![id]).await?;
    }
    Ok(())
}

fn verdict_on(asked: &v1::Message, approve: bool) -> Result<v1::SendMessageRequest, Failure> {
    let kind = match asked.r#type() {
        v1::MessageType::ShutdownRequest => v1::MessageType::ShutdownResponse,
        v1::MessageType::PlanApprovalRequest => v1::MessageType::PlanApprovalResponse,
        other => {
            return Err(Failure::Usage(format!(
                "message {} asks for neither a shutdown nor a plan's approval, but is: {}",
                asked.id,
                words::message_type(other)
            )));
        }
    };
    Ok(v1::SendMessageRequest {
        to: vec![asked.from.clone()],
        r#type: kind.into(),
        correlation_id: asked.correlation_id.clone(),
        approve: Some(approve),
        task_id: asked.task_id,
        ..v1::SendMessageRequest::default()
    })
}

/// Waits for verdicts and prints each as it comes: a line, or an object, each.
///
/// # Errors
/// That not all came in time, and what the coordinator refused.
pub async fn print_all(
    client: &Client,
    sent: &v1::SendMessageResponse,
    awaited: &Awaited,
    context: &Context,
) -> Result<Exit, Failure> {
    let mut verdicts = Vec::new();
    talk::answers(client, sent, awaited, |verdict| {
        verdicts.push(verdict.approve == Some(true));
        context.out.record(verdict, || Some(told(verdict)))?;
        Ok(())
    })
    .await?;
    Ok(talk::exit(&verdicts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kind: v1::MessageType) -> v1::Message {
        v1::Message {
            id: 12,
            from: "team-lead".into(),
            r#type: kind.into(),
            correlation_id: "12".into(),
            ..v1::Message::default()
        }
    }

    #[test]
    fn verdict_is_of_the_kind_that_was_asked_for() {
        let shutdown = verdict_on(&asked(v1::MessageType::ShutdownRequest), true).unwrap();
        assert_eq!(
            serde_json::to_value(shutdown).unwrap(),
            serde_json::json!({
                "to": ["team-lead"], "type": "MESSAGE_TYPE_SHUTDOWN_RESPONSE",
                "correlationId": "12", "approve": true,
            })
        );
        let plan = verdict_on(&asked(v1::MessageType::PlanApprovalRequest), false).unwrap();
        assert_eq!(plan.r#type(), v1::MessageType::PlanApprovalResponse);
        assert_eq!(plan.approve, Some(false));
    }

    #[test]
    fn what_asks_for_no_verdict_gets_none() {
        let failure = verdict_on(&asked(v1::MessageType::Question), true).unwrap_err();

        assert!(failure.to_string().ends_with("is: question"), "{failure}");
    }
}
