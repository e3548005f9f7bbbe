//! `ganger mail ask`.

use std::time::Duration;

use ganger_proto::v1;

use super::{
    send::said,
    talk::{self, Awaited},
};
use crate::{
    context::Context, failure::Failure, flags::RequestId, input::text_or_stdin, output::safe_block,
    values,
};

/// What is asked, and whom.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --wait the answer is printed, and taken out of your mailbox; exit 124 where none came in time.

Example: ganger mail ask bob 'Which schema?' --wait 5m")]
pub struct Args {
    /// The member
    to: String,
    /// The question; - for stdin
    text: String,
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
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::SendMessageRequest {
        to: vec![args.to],
        r#type: v1::MessageType::Question.into(),
        text: text_or_stdin(args.text)?,
        task_id: args.about,
        request_id: args.request_id.or_new(),
        ..v1::SendMessageRequest::default()
    };
    let client = context.connect().await?;
    let sent = talk::send(&client, request).await?;
    let Some(span) = args.wait else {
        context.out.answer(&sent, || said(&sent))?;
        context.out.note(&talk::read_on(&sent.correlation_id));
        return Ok(());
    };
    talk::note_sent(context, &sent);
    let awaited = Awaited {
        kind: v1::MessageType::Answer,
        count: 1,
        span,
    };
    talk::answers(&client, &sent, &awaited, |answer| {
        // The answer alone, for whoever catches it.
        context.out.answer(answer, || safe_block(&answer.text))?;
        Ok(())
    })
    .await
}
