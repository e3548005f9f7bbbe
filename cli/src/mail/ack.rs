//! `ganger mail ack`.

use ganger_proto::v1;

use crate::{context::Context, failure::Failure};

/// Which messages.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is not there any more is passed over.

Examples:
  ganger mail ack 3 5
  ganger mail ack --up-to 7")]
pub struct Args {
    /// These messages
    #[arg(
        required_unless_present = "up_to",
        value_delimiter = ',',
        value_name = "ID"
    )]
    ids: Vec<u64>,
    /// Every message up to and with this one
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "ID"
    )]
    up_to: u64,
}

/// Takes them out.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::AckMessagesRequest {
        up_to_message_id: args.up_to,
        message_ids: args.ids,
        ..v1::AckMessagesRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.mail().ack_messages(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        format!(
            "acknowledged {}; {} left",
            answer.acknowledged, answer.unread
        )
    })?;
    Ok(())
}
