//! `ganger task renew`.

use ganger_proto::v1;

use crate::{context::Context, failure::Failure, flags::Attempt, output::words};

/// Which claim.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The task
    id: u64,
    #[command(flatten)]
    attempt: Attempt,
}

/// Renews it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::RenewClaimRequest {
        task_id: args.id,
        attempt: args.attempt.attempt,
        ..v1::RenewClaimRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().renew_claim(request).await
        })
        .await?;
    context
        .out
        .answer(&answer, || match words::time(answer.lease_until.as_ref()) {
            until if until.is_empty() => format!("the claim on #{} has no end", args.id),
            until => format!("the claim on #{} holds until {until}", args.id),
        })?;
    Ok(())
}
