//! `ganger task delete`.

use ganger_proto::v1;

use crate::{
    context::Context,
    failure::Failure,
    flags::{Expected, RequestId},
    output::words,
};

/// What is deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Its id is never used again. A task that a worker runs, or that has children, is refused: cancel it,
or delete them, first.")]
pub struct Args {
    /// The task
    id: u64,
    #[command(flatten)]
    expected: Expected,
    #[command(flatten)]
    request_id: RequestId,
}

/// Deletes it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::DeleteTaskRequest {
        task_id: args.id,
        expected_revision: args.expected.expected_revision,
        request_id: args.request_id.or_new(),
        ..v1::DeleteTaskRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().delete_task(request).await
        })
        .await?;
    context
        .out
        .answer(&answer, || match answer.unblocked.as_slice() {
            [] => format!("deleted task #{}", args.id),
            freed => format!("deleted task #{}; freed {}", args.id, words::ids(freed)),
        })?;
    Ok(())
}
