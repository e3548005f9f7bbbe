//! `ganger task cancel`.

use ganger_proto::v1;

use super::{
    cancel,
    sweep::{self, Meant, Swept, Which},
};
use crate::{context::Context, failure::Failure, flags::RequestId};

/// What is cancelled.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ganger task cancel 3 --reason 'no longer needed'
  ganger task cancel --parent 1
  ganger task cancel --label nightly --owner bob")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// Cancels it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let reason = args.reason;
    let filter = match args.which.meant() {
        Meant::One(id) => {
            let client = context.connect().await?;
            let answer = cancel(&client, id, &reason, args.request_id.or_new()).await?;
            let task = answer.task.clone().unwrap_or_default();
            context.out.answer(&answer, || match task.status() {
                v1::TaskStatus::InProgress => format!("task #{id} is being stopped"),
                _ => format!("task #{id} is cancelled"),
            })?;
            return Ok(());
        }
        Meant::All(filter) => filter,
    };
    let word = "cancelled, or being stopped";
    let call = |client: crate::client::Client, filter, request_id| {
        let request = v1::CancelTasksRequest {
            filter: Some(filter),
            reason: reason.clone(),
            request_id,
            ..v1::CancelTasksRequest::default()
        };
        async move {
            let answer = client
                .ask(request, |client, request| async move {
                    client.delegation().cancel_tasks(request).await
                })
                .await?;
            Ok(Swept {
                changed: answer.changed,
                more: answer.more,
                last: answer.last_task_id,
            })
        }
    };
    sweep::all(filter, args.request_id, word, context, call).await
}
