//! `ganger team update`.

use ganger_proto::v1;

use crate::{context::Context, failure::Failure, flags::RequestId};

/// What changes. What isn't said stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Slots go to the team that runs the least for its weight. Only the lead may change it.

Examples:
  ganger --team db-refactor team update --weight 3
  ganger team update db-refactor --max-running 20 --description 'the autumn migration'")]
pub struct Args {
    /// The team [default: the one spoken in]
    name: Option<String>,
    /// What it is for
    #[arg(short, long)]
    description: Option<String>,
    /// Its share of the fleet, compared with other teams that have work waiting
    #[arg(long, value_name = "N")]
    weight: Option<i32>,
    /// How many of its tasks workers run at once at the most; 0 for no bound
    #[arg(long, value_name = "N")]
    max_running: Option<i32>,
    /// After how many completed tasks somebody is told to verify them; 0 for never
    #[arg(long, value_name = "N")]
    verification_threshold: Option<i32>,
    /// Whether the lead is told by mail when a member has nothing to do any more
    #[arg(long, value_name = "BOOL")]
    idle_notices: Option<bool>,
    #[command(flatten)]
    request_id: RequestId,
}

/// Changes it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = v1::UpdateTeamRequest {
        team: args.name.unwrap_or_default(),
        description: args.description,
        weight: args.weight,
        max_running: args.max_running,
        verification_threshold: args.verification_threshold,
        idle_notices: args.idle_notices,
        request_id: args.request_id.or_new(),
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.teams().update_team(request).await
        })
        .await?;
    let team = answer.team.clone().unwrap_or_default();
    context.out.answer(&answer, || {
        let share = super::share(&team);
        match share.as_str() {
            "" => format!("team {} has an equal share, and no bound", team.name),
            share => format!("team {}: {share}", team.name),
        }
    })?;
    Ok(())
}
