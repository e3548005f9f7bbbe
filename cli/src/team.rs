//! `ganger team`: teams and their rosters.

use std::time::SystemTime;

use clap::Subcommand;
use ganger_proto::v1;

use crate::{
    client::{Client, request_id},
    context::Context,
    failure::Failure,
    output::{Facts, Table, safe_line, stdout_width, words},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a team; its lead is the first member
    Create(Create),
    /// List teams
    #[command(visible_alias = "ls")]
    List,
    /// Show a team and its roster
    Show {
        /// The team [default: the one spoken in]
        name: Option<String>,
    },
}

/// A team to be.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: ganger team create db-refactor --lead ann --with carol --hosted bob=shell"
)]
pub struct Create {
    /// Its name: 1 to 64 of A-Z a-z 0-9 . _ -
    name: String,
    /// What it is for
    #[arg(short, long, default_value = "")]
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
    /// A member that runs as a sub-agent of this type; may be repeated
    #[arg(long = "hosted", value_name = "NAME=TYPE")]
    hosted: Vec<String>,
    /// The same call again with the same UUID answers the first outcome
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Does it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(verb: Verb, context: &Context) -> Result<(), Failure> {
    match verb {
        Verb::Create(create) => self::create(create, context).await,
        Verb::List => list(context).await,
        Verb::Show { name } => show(name, context).await,
    }
}

async fn create(create: Create, context: &Context) -> Result<(), Failure> {
    let request = create.request()?;
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

impl Create {
    fn request(self) -> Result<v1::CreateTeamRequest, Failure> {
        let agents = self.agents.into_iter().map(|name| {
            Ok(v1::NewMember {
                name,
                kind: v1::MemberKind::Agent.into(),
                ..v1::NewMember::default()
            })
        });
        let hosted = self.hosted.iter().map(|member| {
            let (name, agent_type) = member
                .split_once('=')
                .ok_or_else(|| Failure::Usage(format!("--hosted {member:?}: give NAME=TYPE")))?;
            Ok(v1::NewMember {
                name: name.into(),
                kind: v1::MemberKind::Hosted.into(),
                agent_type: agent_type.into(),
                ..v1::NewMember::default()
            })
        });
        Ok(v1::CreateTeamRequest {
            members: agents.chain(hosted).collect::<Result<_, Failure>>()?,
            team_name: self.name,
            description: self.description,
            agent_type: self.role,
            lead: self.lead,
            request_id: self.request_id.unwrap_or_else(request_id),
            ..v1::CreateTeamRequest::default()
        })
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut all = v1::ListTeamsResponse::default();
    loop {
        let request = v1::ListTeamsRequest {
            page_size: 1_000,
            page_token: all.next_page_token,
            ..v1::ListTeamsRequest::default()
        };
        let page = client
            .ask(request, |client, request| async move {
                client.teams().list_teams(request).await
            })
            .await?;
        all.teams.extend(page.teams);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    context.out.answer(&all, || {
        let mut table = Table::new(&["TEAM", "LEAD", "MEMBERS", "TASKS", "AGE", "DESCRIPTION"]);
        let now = SystemTime::now();
        for team in &all.teams {
            table.row(vec![
                team.name.clone(),
                safe_line(&team.lead),
                team.member_count.to_string(),
                counts(team.tasks.as_ref()),
                words::age(team.created_at.as_ref(), now),
                safe_line(&team.description),
            ]);
        }
        table.text(stdout_width())
    })?;
    Ok(())
}

async fn show(name: Option<String>, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let team = name.unwrap_or_default();
    let found = get(&client, &team).await?;
    let members = members(&client, &team).await?;
    let value = serde_json::json!({"team": found, "members": members});
    context.out.answer(&value, || {
        let mut facts = Facts::new();
        facts
            .add("team", found.name.clone())
            .add("lead", found.lead_agent_id.clone())
            .add("description", safe_line(&found.description))
            .add("tasks", counts(found.tasks.as_ref()))
            .add("made", words::time(found.created_at.as_ref()))
            .add("revision", found.revision.to_string());
        format!(
            "{}\n{}",
            facts.text(),
            roster(&members).text(stdout_width())
        )
    })?;
    Ok(())
}

/// Tells one team; an empty name is the one spoken in.
///
/// # Errors
/// What the coordinator refused.
pub async fn get(client: &Client, team: &str) -> Result<v1::Team, Failure> {
    let request = v1::GetTeamRequest { team: team.into() };
    let answer = client
        .ask(request, |client, request| async move {
            client.teams().get_team(request).await
        })
        .await?;
    Ok(answer.team.unwrap_or_default())
}

async fn members(client: &Client, team: &str) -> Result<Vec<v1::Member>, Failure> {
    let mut members = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListMembersRequest {
            team: team.into(),
            page_size: 1_000,
            page_token,
            ..v1::ListMembersRequest::default()
        };
        let page = client
            .ask(request, |client, request| async move {
                client.teams().list_members(request).await
            })
            .await?;
        members.extend(page.members);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(members);
        }
    }
}

fn roster(members: &[v1::Member]) -> Table {
    let mut table = Table::new(&["MEMBER", "KIND", "TYPE", "STANDS", "TASKS", "ROLE"]);
    for member in members {
        table.row(vec![
            match member.incarnation {
                0 | 1 => safe_line(&member.name),
                again => format!("{}/{again}", safe_line(&member.name)),
            },
            words::tail(member.kind().as_str_name(), "MEMBER_KIND_"),
            safe_line(&member.agent_type),
            words::tail(member.liveness().as_str_name(), "MEMBER_LIVENESS_"),
            words::ids(&member.tasks),
            safe_line(&member.role),
        ]);
    }
    table
}

/// How many tasks stand where, as in `12 (3 pending, 9 completed)`.
pub fn counts(counts: Option<&v1::TaskCounts>) -> String {
    let Some(counts) = counts else {
        return "0".into();
    };
    let named = [
        (counts.in_progress, "in progress"),
        (counts.pending, "pending"),
        (counts.completed, "completed"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
    ];
    let total: i64 = named.iter().map(|(count, _)| i64::from(*count)).sum();
    let parts: Vec<String> = named
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match parts.len() {
        0 => "0".into(),
        _ => format!("{total} ({})", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_leave_out_what_is_not_there() {
        assert_eq!(counts(None), "0");
        assert_eq!(counts(Some(&v1::TaskCounts::default())), "0");
        assert_eq!(
            counts(Some(&v1::TaskCounts {
                pending: 3,
                completed: 9,
                ..v1::TaskCounts::default()
            })),
            "12 (3 pending, 9 completed)"
        );
    }

    #[test]
    fn roster_shows_who_joined_again() {
        let member = v1::Member {
            name: "bob".into(),
            incarnation: 2,
            kind: v1::MemberKind::Hosted.into(),
            agent_type: "shell".into(),
            liveness: v1::MemberLiveness::Working.into(),
            tasks: vec![3],
            ..v1::Member::default()
        };

        let text = roster(&[member]).text(None);

        assert_eq!(
            console::strip_ansi_codes(&text),
            "MEMBER  KIND    TYPE   STANDS   TASKS  ROLE\nbob/2   hosted  shell  working  #3\n"
        );
    }
}
