//! `ganger team create`.

use std::path::{Path, PathBuf};

use ganger_proto::v1;

use crate::{context::Context, failure::Failure, flags::RequestId, input};

/// A team to be.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
--members takes a JSON array (- for stdin); each member has a name and may have kind, role,
description, instructions, agent_type, model and plan_required.

Examples:
  ganger team create db-refactor --lead ann --with carol --hosted bob=shell
  ganger team create review --plan-required dave --verification-threshold 5
  echo '[{\"name\": \"eve\", \"role\": \"tester\", \"agent_type\": \"shell\"}]' |
      ganger team create checks --members -")]
pub struct Args {
    /// Its name: 1 to 64 of A-Z a-z 0-9 . _ -
    name: String,
    /// What it is for
    #[arg(short, long, default_value = "", hide_default_value = true)]
    description: String,
    /// The lead's name [default: team-lead]
    #[arg(long, default_value = "", hide_default_value = true)]
    lead: String,
    /// The lead's role label
    #[arg(long, default_value = "", hide_default_value = true)]
    role: String,
    /// A member that calls the API itself; may be repeated
    #[arg(long = "with", value_name = "NAME")]
    agents: Vec<String>,
    /// As --with, and it may change nothing until the lead approved its plan; may be repeated
    #[arg(long = "plan-required", value_name = "NAME")]
    planners: Vec<String>,
    /// A member that runs as a sub-agent of this type; may be repeated
    #[arg(long = "hosted", value_name = "NAME=TYPE")]
    hosted: Vec<String>,
    /// A file with members as JSON; - for stdin
    #[arg(long, value_name = "FILE")]
    members: Option<PathBuf>,
    /// After how many completed tasks somebody is told to verify them; 0 for never [default: 3]
    #[arg(long, value_name = "N")]
    verification_threshold: Option<i32>,
    /// Tell the lead by mail when a member has nothing to do any more
    #[arg(long)]
    idle_notices: bool,
    /// Its share of the fleet, compared with other teams that have work waiting [default: 1]
    #[arg(long, value_name = "N")]
    weight: Option<i32>,
    /// How many of its tasks workers run at once at the most; 0 for no bound
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    max_running: i32,
    #[command(flatten)]
    request_id: RequestId,
}

/// Makes it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = request(args)?;
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.teams().create_team(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        format!(
            "made team {}; its lead is {}",
            answer.team_name, answer.lead_agent_id
        )
    })?;
    Ok(())
}

fn request(args: Args) -> Result<v1::CreateTeamRequest, Failure> {
    Ok(v1::CreateTeamRequest {
        members: members(&args)?,
        team_name: args.name,
        description: args.description,
        agent_type: args.role,
        lead: args.lead,
        verification_threshold: args.verification_threshold,
        idle_notices: args.idle_notices,
        weight: args.weight,
        max_running: args.max_running,
        request_id: args.request_id.or_new(),
    })
}

fn members(args: &Args) -> Result<Vec<v1::NewMember>, Failure> {
    let agent = |name: &String, plan_required| v1::NewMember {
        name: name.clone(),
        kind: v1::MemberKind::Agent.into(),
        plan_required,
        ..v1::NewMember::default()
    };
    // A name that both flags have is one member.
    let plain = args
        .agents
        .iter()
        .filter(|name| !args.planners.contains(name));
    let mut members: Vec<_> = plain.map(|name| agent(name, false)).collect();
    members.extend(args.planners.iter().map(|name| agent(name, true)));
    for member in &args.hosted {
        let (name, agent_type) = member
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("--hosted {member:?}: give NAME=TYPE")))?;
        members.push(v1::NewMember {
            name: name.into(),
            kind: v1::MemberKind::Hosted.into(),
            agent_type: agent_type.into(),
            ..v1::NewMember::default()
        });
    }
    if let Some(path) = &args.members {
        members.extend(read(path)?);
    }
    Ok(members)
}

fn read(path: &Path) -> Result<Vec<v1::NewMember>, Failure> {
    let text = input::read_text(path)?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("--members {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn asked(line: &[&str]) -> Result<serde_json::Value, Failure> {
        let line = Line::try_parse_from([&["create"], line].concat()).unwrap();
        let mut request = serde_json::to_value(request(line.args)?).unwrap();
        assert_eq!(request["requestId"].as_str().unwrap().len(), 36);
        request.as_object_mut().unwrap().remove("requestId");
        Ok(request)
    }

    #[test]
    fn members_of_every_kind_come_with_the_team() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("members.json");
        std::fs::write(&file, r#"[{"name": "eve", "instructions": "be brief"}]"#).unwrap();

        let request = asked(&[
            "red",
            "--lead",
            "ann",
            "--role",
            "tech-lead",
            "--with",
            "carol",
            "--with",
            "dave",
            "--plan-required",
            "dave",
            "--hosted",
            "bob=shell",
            "--members",
            file.to_str().unwrap(),
            "--verification-threshold",
            "0",
            "--idle-notices",
            "--weight",
            "3",
            "--max-running",
            "20",
        ]);

        assert_eq!(
            request.unwrap(),
            serde_json::json!({
                "teamName": "red",
                "agentType": "tech-lead",
                "lead": "ann",
                "members": [
                    {"name": "carol", "kind": "MEMBER_KIND_AGENT"},
                    {"name": "dave", "kind": "MEMBER_KIND_AGENT", "planRequired": true},
                    {"name": "bob", "kind": "MEMBER_KIND_HOSTED", "agentType": "shell"},
                    {"name": "eve", "instructions": "be brief"},
                ],
                "verificationThreshold": 0,
                "idleNotices": true,
                "weight": 3,
                "maxRunning": 20,
            })
        );
    }

    #[test]
    fn what_is_not_said_is_left_to_the_coordinator() {
        assert_eq!(
            asked(&["red"]).unwrap(),
            serde_json::json!({"teamName": "red"})
        );
    }

    #[test]
    fn misspelt_member_is_wrong_usage_and_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("members.json");
        std::fs::write(&file, r#"[{"nam": "eve"}]"#).unwrap();

        let failure = asked(&["red", "--members", file.to_str().unwrap()]).unwrap_err();

        assert!(matches!(failure, Failure::Usage(_)), "{failure:?}");
        let text = failure.to_string();
        assert!(
            text.contains("members.json") && text.contains("`nam`"),
            "{text}"
        );
        assert!(matches!(
            asked(&["red", "--hosted", "bob"]),
            Err(Failure::Usage(_))
        ));
    }
}
