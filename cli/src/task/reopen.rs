//! `ganger task reopen`.

use ganger_proto::v1;

use crate::{
    context::Context,
    failure::Failure,
    flags::{Expected, RequestId},
    output::words,
};

/// What is opened again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What waits for it and has not begun is blocked again; what began is listed and left alone.

Example: ganger task reopen 3 --reason 'the index is missing'")]
pub struct Args {
    /// The task
    id: u64,
    /// Why
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    expected: Expected,
    #[command(flatten)]
    request_id: RequestId,
}

/// Opens it again.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::ReopenTaskRequest {
        task_id: args.id,
        reason: args.reason,
        expected_revision: args.expected.expected_revision,
        request_id: args.request_id.or_new(),
        ..v1::ReopenTaskRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().reopen_task(request).await
        })
        .await?;
    context.out.answer(&answer, || said(args.id, &answer))?;
    Ok(())
}

fn said(id: u64, answer: &v1::ReopenTaskResponse) -> String {
    let mut text = format!("task #{id} is pending again");
    if !answer.blocked.is_empty() {
        text.push_str(&format!("\nblocked again: {}", words::ids(&answer.blocked)));
    }
    if !answer.started.is_empty() {
        text.push_str(&format!(
            "\nhad begun, and are left alone: {}",
            words::ids(&answer.started)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_says_what_is_blocked_again_and_what_had_begun() {
        let answer = v1::ReopenTaskResponse {
            blocked: vec![4],
            started: vec![5, 6],
            ..v1::ReopenTaskResponse::default()
        };

        assert_eq!(
            said(3, &answer),
            "task #3 is pending again\nblocked again: #4\nhad begun, and are left alone: #5, #6"
        );
        assert_eq!(
            said(3, &v1::ReopenTaskResponse::default()),
            "task #3 is pending again"
        );
    }
}
