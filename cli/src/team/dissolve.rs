//! `ganger team dissolve`.

use ganger_proto::v1;

use crate::{context::Context, failure::Failure, flags::RequestId, output::words};

/// Which team.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A team with tasks in progress is refused with their list, unless --force stops them. What is left
is a tombstone: ganger team list --all.

Example: ganger team dissolve db-refactor --reason 'migrated'")]
pub struct Args {
    /// The team; named in full, since there is no way back
    name: String,
    /// Stop what is in progress, rather than be refused because of it
    #[arg(long)]
    force: bool,
    /// Why, for the history
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// Dissolves it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::DissolveTeamRequest {
        team: args.name.clone(),
        force: args.force,
        reason: args.reason,
        request_id: args.request_id.or_new(),
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.teams().dissolve_team(request).await
        })
        .await?;
    context.out.answer(&answer, || said(&args.name, &answer))?;
    Ok(())
}

fn said(name: &str, answer: &v1::DissolveTeamResponse) -> String {
    if answer.already_dissolved {
        return format!("team {name} was dissolved before");
    }
    match answer.stopping.as_slice() {
        [] => format!("dissolved team {name}"),
        stopping => format!(
            "dissolved team {name}; being stopped: {}",
            words::ids(stopping)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_says_what_is_stopped_and_what_was_so_before() {
        let mut answer = v1::DissolveTeamResponse::default();
        assert_eq!(said("red", &answer), "dissolved team red");

        answer.stopping = vec![3, 7];
        assert_eq!(
            said("red", &answer),
            "dissolved team red; being stopped: #3, #7"
        );

        answer.already_dissolved = true;
        assert_eq!(said("red", &answer), "team red was dissolved before");
    }
}
