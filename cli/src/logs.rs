//! `ganger logs`: the transcript of a task, as it grows.

use ganger_proto::v1;
use tonic::{Status, Streaming};

use crate::{
    client::Client, context::Context, failure::Failure, follow::Patience, output::Output,
    run::transcript::Printer,
};

/// Which transcript.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The sub-agent's stdout goes to stdout, the rest to stderr. With -o json each record is one line of JSON."
)]
pub struct Args {
    /// The task
    task: u64,
    /// The attempt [default: the latest]
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    attempt: i32,
    /// Only records after this index
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "INDEX"
    )]
    after: i64,
    /// End after so many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    limit: Option<i32>,
    /// End after what is there, rather than wait for the attempt's end
    #[arg(long)]
    no_follow: bool,
}

/// Prints it, until the attempt is over.
///
/// # Errors
/// Where the coordinator refuses, or is away for too long.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut printer = Printer::new(None);
    let mut at = v1::WatchTranscriptRequest {
        task_id: args.task,
        attempt: args.attempt,
        after_index: args.after,
        no_follow: args.no_follow,
        limit: args.limit.unwrap_or(0),
        ..v1::WatchTranscriptRequest::default()
    };
    let mut patience = Patience::default();
    loop {
        let before = at.after_index;
        match pass_on(&client, &mut at, context.out, &mut printer).await? {
            Ok(()) => return Ok(()),
            Err(status) => {
                if at.after_index > before {
                    patience.renew();
                }
                patience.pause(&client, Some(status)).await?;
            }
        }
    }
}

/// Prints one stream to its end, or to its break.
async fn pass_on(
    client: &Client,
    at: &mut v1::WatchTranscriptRequest,
    out: Output,
    printer: &mut Printer,
) -> Result<Result<(), Status>, Failure> {
    let mut stream: Streaming<v1::WatchTranscriptResponse> =
        match client.delegation().watch_transcript(at.clone()).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
    loop {
        let answer = match stream.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(Ok(())),
            Err(status) => return Ok(Err(status)),
        };
        at.attempt = answer.attempt;
        for record in answer.records {
            at.after_index = record.index;
            // A stream that breaks goes on with what is still wanted.
            let is_last = at.limit == 1;
            at.limit = (at.limit - 1).max(0);
            if out.is_json() {
                out.record(&record, || None)?;
            } else {
                printer.print(record.kind(), &record.text)?;
            }
            if is_last {
                return Ok(Ok(()));
            }
        }
    }
}
