//! `ganger mail shutdown`: asks members to stop and leave.

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
    values,
};

/// Whom.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each answers with ganger mail approve, and leaves, or with ganger mail reject and a reason. Who does
not answer in time is removed. With --wait the answers are printed: exit 0 where all say yes, 1
where one says no, 124 where not all came in time.

Example: ganger mail shutdown alice bob --reason 'all is done' --wait 2m")]
pub struct Args {
    /// The members
    #[arg(required = true, value_delimiter = ',', value_name = "NAME")]
    to: Vec<String>,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// How long the answer may take before the shutdown is enforced [default: 60s]
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    answer_within: Option<Duration>,
    /// Wait for the answers so long
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    wait: Option<Duration>,
    #[command(flatten)]
    request_id: RequestId,
}

/// Asks.
///
/// # Errors
/// What the coordinator refused, or that not all answered in time.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let request = v1::SendMessageRequest {
        to: args.to,
        r#type: v1::MessageType::ShutdownRequest.into(),
        text: args.reason,
        timeout: args.answer_within.map(values::wire_span),
        request_id: args.request_id.or_new(),
        ..v1::SendMessageRequest::default()
    };
    let client = context.connect().await?;
    let sent = talk::send(&client, request).await?;
    let Some(span) = args.wait else {
        context.out.answer(&sent, || said(&sent))?;
        context.out.note(&talk::read_on(&sent.correlation_id));
        return Ok(Exit::Done);
    };
    talk::note_sent(context, &sent);
    let awaited = Awaited {
        kind: v1::MessageType::ShutdownResponse,
        count: sent.receipts.len(),
        span,
    };
    verdict::print_all(&client, &sent, &awaited, context).await
}
