//! `ganger member remove`.

use ganger_proto::v1;

use crate::{
    context::Context,
    failure::Failure,
    flags::RequestId,
    output::{safe_line, words},
};

/// Whom.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The lead removes anybody but itself, a member only itself. One with running attempts is refused
with their list, unless --force stops them. To ask rather than to remove: ganger mail shutdown.

Example: ganger member remove carol --reason 'on leave'")]
pub struct Args {
    /// The member
    name: String,
    /// Stop its running attempts, rather than be refused because of them
    #[arg(long)]
    force: bool,
    /// Why, for the history
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// Removes it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::RemoveMemberRequest {
        member: args.name.clone(),
        force: args.force,
        reason: args.reason,
        request_id: args.request_id.or_new(),
        ..v1::RemoveMemberRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.teams().remove_member(request).await
        })
        .await?;
    context.out.answer(&answer, || said(&args.name, &answer))?;
    Ok(())
}

fn said(name: &str, answer: &v1::RemoveMemberResponse) -> String {
    let mut text = format!("{} left", safe_line(name));
    if !answer.released.is_empty() {
        text.push_str(&format!("; free again: {}", words::ids(&answer.released)));
    }
    if !answer.stopping.is_empty() {
        text.push_str(&format!(
            "; being stopped: {}",
            words::ids(&answer.stopping)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_says_what_is_free_and_what_is_stopped() {
        let answer = v1::RemoveMemberResponse {
            released: vec![1],
            stopping: vec![2, 3],
            ..v1::RemoveMemberResponse::default()
        };

        assert_eq!(
            said("bob", &answer),
            "bob left; free again: #1; being stopped: #2, #3"
        );
        assert_eq!(
            said("bob", &v1::RemoveMemberResponse::default()),
            "bob left"
        );
    }
}
