//! `ganger mail plan`: asks the lead to approve a plan.

use std::time::Duration;

use ganger_proto::v1;

use super::{
    send::said,
    talk::{self, Awaited},
    verdict,
};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    flags::RequestId,
    input::text_or_stdin,
    team, values,
};

/// The plan.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --wait the lead's answer is printed: exit 0 where it is yes, 1 where it is no, 124 where none
came in time.

Example: ganger --member dave mail plan - --wait 1h < plan.md")]
pub struct Args {
    /// The plan; - for stdin
    text: String,
    /// The same in a few words [default: the first line]
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    summary: String,
    /// How long the answer may take before the plan counts as rejected [default: 1h]
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    answer_within: Option<Duration>,
    /// Wait for the answer so long
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    wait: Option<Duration>,
    /// The task that it is about
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "ID"
    )]
    about: u64,
    #[command(flatten)]
    request_id: RequestId,
}

/// Asks.
///
/// # Errors
/// What the coordinator refused, or that no answer came in time.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let text = text_or_stdin(args.text)?;
    let client = context.connect().await?;
    let request = v1::SendMessageRequest {
        to: vec![team::get(&client, "").await?.lead],
        r#type: v1::MessageType::PlanApprovalRequest.into(),
        text,
        summary: args.summary,
        task_id: args.about,
        timeout: args.answer_within.map(values::wire_span),
        request_id: args.request_id.or_new(),
        ..v1::SendMessageRequest::default()
    };
    let sent = talk::send(&client, request).await?;
    let Some(span) = args.wait else {
        context.out.answer(&sent, || said(&sent))?;
        context.out.note(&talk::read_on(&sent.correlation_id));
        return Ok(Exit::Done);
    };
    talk::note_sent(context, &sent);
    let awaited = Awaited {
        kind: v1::MessageType::PlanApprovalResponse,
        count: 1,
        span,
    };
    verdict::print_all(&client, &sent, &awaited, context).await
}
