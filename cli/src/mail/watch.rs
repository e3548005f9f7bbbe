//! `ganger mail watch`: the mailbox, as it fills.

use ganger_proto::v1;
use tonic::Status;

use super::{acknowledge, receive::Filter, told};
use crate::{client::Client, context::Context, failure::Failure, follow::Patience};

/// What is followed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is in the mailbox comes first, then each new message. With -o json each is one line of JSON. A
break of the wire is bridged without repeat.

Example: ganger --member alice mail watch --ack -o json")]
pub struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Acknowledge each message, once it is printed
    #[arg(long)]
    ack: bool,
}

/// Follows it until it is interrupted.
///
/// # Errors
/// Where the coordinator refuses, or is away for too long.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut at = v1::WatchMailboxRequest {
        types: args.filter.types(),
        from: args.filter.from.clone(),
        after_message_id: args.filter.after,
        ..v1::WatchMailboxRequest::default()
    };
    let mut patience = Patience::default();
    loop {
        let before = at.after_message_id;
        let broken = pass_on(&client, &mut at, args.ack, context).await?;
        if at.after_message_id > before {
            patience.renew();
        }
        patience.pause(&client, broken).await?;
    }
}

/// Prints one stream to its end, or to its break.
async fn pass_on(
    client: &Client,
    at: &mut v1::WatchMailboxRequest,
    ack: bool,
    context: &Context,
) -> Result<Option<Status>, Failure> {
    let mut stream = match client.mail().watch_mailbox(at.clone()).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(Some(status)),
    };
    loop {
        let answer = match stream.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(None),
            Err(status) => return Ok(Some(status)),
        };
        for message in &answer.messages {
            context.out.record(message, || Some(told(message)))?;
            at.after_message_id = message.id;
        }
        if ack {
            let ids = answer.messages.iter().map(|message| message.id);
            acknowledge(client, ids.collect()).await?;
        }
    }
}
