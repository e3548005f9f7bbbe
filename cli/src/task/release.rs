//! `ganger task release`.

use ganger_proto::v1;

use crate::{
    context::Context,
    failure::Failure,
    flags::{Attempt, RequestId},
};

/// What is given back.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: ganger --member alice task release 3 --reason 'I lack the access'"
)]
pub struct Args {
    /// The task
    id: u64,
    /// Why, for who takes it next
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    attempt: Attempt,
    #[command(flatten)]
    request_id: RequestId,
}

/// Gives it back.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::ReleaseTaskRequest {
        task_id: args.id,
        attempt: args.attempt.attempt,
        reason: args.reason,
        request_id: args.request_id.or_new(),
        ..v1::ReleaseTaskRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().release_task(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        format!("task #{} is pending, and nobody's", args.id)
    })?;
    Ok(())
}
