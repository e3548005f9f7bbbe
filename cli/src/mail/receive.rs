//! `ganger mail receive`.

use std::time::Duration;

use ganger_proto::v1;

use super::{acknowledge, any_type, talk, told};
use crate::{
    context::Context,
    failure::{Exit, Failure},
    values,
};

/// Which messages. Filters add up.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// Only messages of this type; may be repeated
    #[arg(long = "type", value_name = "TYPE", value_parser = any_type())]
    types: Vec<v1::MessageType>,
    /// Only messages from this member, or from `coordinator`
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    pub from: String,
    /// Only messages after this one
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "ID"
    )]
    pub after: u64,
}

impl Filter {
    /// The types as the wire has them.
    pub fn types(&self) -> Vec<i32> {
        self.types.iter().map(|kind| (*kind).into()).collect()
    }
}

/// What is read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reading takes nothing out of the mailbox: what is not acknowledged comes again. Exit 124 where
--wait was over and nothing came.

Examples:
  ganger --member alice mail receive --wait 5m --ack
  ganger mail receive --type question --from bob")]
pub struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Only messages with this correlation id
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    correlation_id: String,
    /// How many at the most [default: 50]
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    limit: i32,
    /// Where there is none, wait for mail so long
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    wait: Option<Duration>,
    /// Acknowledge what was printed, once it is
    #[arg(long)]
    ack: bool,
}

/// Reads.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let request = request(&args);
    let client = context.connect().await?;
    let answer = match args.wait {
        Some(span) => talk::receive(&client, request, span).await?,
        None => talk::look(&client, request).await?,
    };
    context.out.answer(&answer, || {
        let lines: Vec<String> = answer.messages.iter().map(told).collect();
        match lines.is_empty() {
            true => format!("no such mail; {} unread in all", answer.unread),
            false => lines.join("\n"),
        }
    })?;
    let ids: Vec<u64> = answer.messages.iter().map(|message| message.id).collect();
    if let Some(last) = ids.last() {
        if answer.has_more {
            context.out.note(&format!("there is more: --after {last}"));
        }
        match args.ack {
            true => acknowledge(&client, ids).await?,
            false => context
                .out
                .note("it stays there until you acknowledge it: ganger mail ack"),
        }
    } else if args.wait.is_some() {
        return Ok(Exit::TimedOut);
    }
    Ok(Exit::Done)
}

fn request(args: &Args) -> v1::ReceiveMessagesRequest {
    v1::ReceiveMessagesRequest {
        types: args.filter.types(),
        from: args.filter.from.clone(),
        correlation_id: args.correlation_id.clone(),
        after_message_id: args.filter.after,
        limit: args.limit,
        // Acknowledged is what was printed, not what was sent on its way.
        auto_ack: false,
        ..v1::ReceiveMessagesRequest::default()
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

    #[test]
    fn every_filter_goes_on_the_wire_and_nothing_is_acknowledged_by_reading() {
        let line = "receive --type question --type task-finished --from bob --after 3 --limit 2 \
                    --correlation-id c-1 --wait 5m --ack";
        let line = Line::try_parse_from(line.split_whitespace()).unwrap();

        assert_eq!(
            serde_json::to_value(request(&line.args)).unwrap(),
            serde_json::json!({
                "types": ["MESSAGE_TYPE_QUESTION", "MESSAGE_TYPE_TASK_FINISHED"],
                "from": "bob", "correlationId": "c-1", "afterMessageId": "3", "limit": 2,
            })
        );
        assert_eq!(line.args.wait, Some(Duration::from_secs(300)));
    }
}
