//! `ganger task claim`.

use ganger_proto::v1;

use crate::{
    context::Context,
    failure::Failure,
    flags::{Expected, Lease, RequestId},
    output::{safe_line, words},
};

/// What is claimed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exactly one claimant wins; a refusal names the holder, or what the task waits for. Claiming a task
that you hold renews your claim, and so does whatever else you do on the board.

Example: ganger --member alice task claim 3 --lease 2h")]
pub struct Args {
    /// The task
    id: u64,
    #[command(flatten)]
    lease: Lease,
    #[command(flatten)]
    expected: Expected,
    #[command(flatten)]
    request_id: RequestId,
}

/// Claims it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::ClaimTaskRequest {
        task_id: args.id,
        expected_revision: args.expected.expected_revision,
        lease: args.lease.span(),
        no_lease: args.lease.no_lease,
        request_id: args.request_id.or_new(),
        ..v1::ClaimTaskRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().claim_task(request).await
        })
        .await?;
    let task = answer.task.clone().unwrap_or_default();
    context.out.answer(&answer, || {
        let said = said(&task, answer.attempt, answer.lease_until.as_ref());
        match answer.renewed {
            true => format!("{said}: it was already, and the claim is renewed"),
            false => said,
        }
    })?;
    Ok(())
}

/// Whose the task is, by which attempt and until when.
pub fn said(
    task: &v1::Task,
    attempt: i32,
    lease_until: Option<&pbjson_types::Timestamp>,
) -> String {
    let until = match words::time(lease_until) {
        until if until.is_empty() => String::new(),
        until => format!(", until {until} unless you are heard of"),
    };
    format!(
        "task #{} is now {}'s (attempt {attempt}){until}",
        task.id,
        safe_line(&task.owner)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_says_whose_the_task_is_and_for_how_long() {
        let task = v1::Task {
            id: 3,
            owner: "ann".into(),
            ..v1::Task::default()
        };
        let until = pbjson_types::Timestamp {
            seconds: 1_795_269_600,
            nanos: 0,
        };

        assert_eq!(
            said(&task, 2, Some(&until)),
            "task #3 is now ann's (attempt 2), until 2026-11-21T14:00:00Z unless you are heard of"
        );
        assert_eq!(said(&task, 1, None), "task #3 is now ann's (attempt 1)");
    }
}
