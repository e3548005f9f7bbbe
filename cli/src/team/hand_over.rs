//! `ganger team hand-over`.

use ganger_proto::v1;

use crate::{context::Context, failure::Failure, flags::RequestId};

/// To whom.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The present lead stays as an agent. Only the lead may.

Example: ganger --team db-refactor team hand-over carol")]
pub struct Args {
    /// The member that is to lead: an agent on the roster
    to: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// Hands over.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::HandOverLeadRequest {
        to: args.to,
        request_id: args.request_id.or_new(),
        ..v1::HandOverLeadRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.teams().hand_over_lead(request).await
        })
        .await?;
    let team = answer.team.clone().unwrap_or_default();
    context.out.answer(&answer, || {
        format!("{} leads team {}", team.lead, team.name)
    })?;
    Ok(())
}
