//! `ganger team`: teams, from their making to their end.

use std::time::SystemTime;

use clap::Subcommand;
use ganger_proto::v1;
use serde::Serialize;

use crate::{
    client::Client,
    context::Context,
    failure::Failure,
    member,
    output::{Facts, Table, safe_line, stdout_width, words},
};

mod create;
mod dissolve;
mod hand_over;
mod update;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a team; its lead is the first member
    Create(create::Args),
    /// List teams
    #[command(visible_alias = "ls")]
    List {
        /// Those that were dissolved, too
        #[arg(long)]
        all: bool,
    },
    /// Show a team and its roster
    #[command(visible_alias = "get")]
    Show {
        /// The team [default: the one spoken in]
        name: Option<String>,
    },
    /// Change what a team is for, its share of the fleet, and its bounds
    Update(update::Args),
    /// End a team: its open tasks are cancelled, its mail is closed
    Dissolve(dissolve::Args),
    /// Make another member the lead
    HandOver(hand_over::Args),
}

/// Does it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(verb: Verb, context: &Context) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => create::run(args, context).await,
        Verb::List { all } => list(all, context).await,
        Verb::Show { name } => show(name, context).await,
        Verb::Update(args) => update::run(args, context).await,
        Verb::Dissolve(args) => dissolve::run(args, context).await,
        Verb::HandOver(args) => hand_over::run(args, context).await,
    }
}

async fn list(include_dissolved: bool, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut all = v1::ListTeamsResponse::default();
    loop {
        let request = v1::ListTeamsRequest {
            page_size: 1_000,
            page_token: all.next_page_token,
            include_dissolved,
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
        team_table(&all.teams, SystemTime::now()).text(stdout_width())
    })?;
    Ok(())
}

fn team_table(teams: &[v1::Team], now: SystemTime) -> Table {
    let mut table = Table::new(&["TEAM", "LEAD", "MEMBERS", "TASKS", "AGE", "DESCRIPTION"]);
    for team in teams {
        let description = safe_line(&team.description);
        table.row(vec![
            team.name.clone(),
            safe_line(&team.lead),
            team.member_count.to_string(),
            counts(team.tasks.as_ref()),
            words::age(team.created_at.as_ref(), now),
            match end(team, now) {
                ended if ended.is_empty() => description,
                ended => format!("({ended}) {description}"),
            },
        ]);
    }
    table
}

/// That and when a team was dissolved; nothing where it wasn't.
fn end(team: &v1::Team, now: SystemTime) -> String {
    let age = words::age(team.dissolved_at.as_ref(), now);
    match (age.as_str(), team.dissolving) {
        ("", true) => "dissolving".into(),
        ("", false) => String::new(),
        (age, true) => format!("dissolved {age} ago, still stopping tasks"),
        (age, false) => format!("dissolved {age} ago"),
    }
}

/// A team with its members, as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    team: &'a v1::Team,
    members: &'a [v1::Member],
}

async fn show(name: Option<String>, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let team = name.unwrap_or_default();
    let found = get(&client, &team).await?;
    let members = member::all(&client, &team, false).await?;
    let shown = Shown {
        team: &found,
        members: &members,
    };
    context.out.answer(&shown, || {
        let now = SystemTime::now();
        format!(
            "{}\n{}",
            team_facts(&found, now).text(),
            member::roster(&members, now).text(stdout_width())
        )
    })?;
    Ok(())
}

fn team_facts(team: &v1::Team, now: SystemTime) -> Facts {
    let mut facts = Facts::new();
    let yes = |is: bool, word: &str| if is { word.to_owned() } else { String::new() };
    let ended = match (end(team, now), team.dissolved_by.as_str()) {
        (ended, "") => ended,
        (ended, by) => format!("{ended} by {}", safe_line(by)),
    };
    facts
        .add("team", team.name.clone())
        .add("lead", team.lead_agent_id.clone())
        .add("description", safe_line(&team.description))
        .add("ended", ended)
        .add("tasks", counts(team.tasks.as_ref()))
        .add("runs", running(team))
        .add("share", share(team))
        .add("to verify", verification(team))
        .add("idle notices", yes(team.idle_notices, "to the lead"))
        .add("made", words::time(team.created_at.as_ref()))
        .add("revision", team.revision.to_string())
        .add(
            "events kept",
            match team.oldest_revision {
                0 | 1 => String::new(),
                oldest => format!("from revision {oldest} on"),
            },
        );
    facts
}

/// How many of its tasks workers run, as in `3 of at most 20`.
fn running(team: &v1::Team) -> String {
    match (team.running, team.max_running) {
        (0, 0) => String::new(),
        (running, 0) => running.to_string(),
        (running, max) => format!("{running} of at most {max}"),
    }
}

/// What it may have of the fleet where that is not as for most, as in `weight 3, at most 20 tasks
/// at once`.
fn share(team: &v1::Team) -> String {
    let weight = match team.weight {
        0 | 1 => String::new(),
        weight => format!("weight {weight}"),
    };
    let bound = match team.max_running {
        0 => String::new(),
        max => format!("at most {max} tasks at once"),
    };
    let said = [weight, bound].into_iter().filter(|part| !part.is_empty());
    said.collect::<Vec<_>>().join(", ")
}

/// How far it is to the next verification, as in `2 completed since the last verification`.
pub fn verification(team: &v1::Team) -> String {
    match (team.closed_since_verification, team.verification_threshold) {
        (0, _) | (_, 0) => String::new(),
        (closed, threshold) => {
            let now = match team.verification_nudge_needed {
                true => "; it is time for one",
                false => "",
            };
            format!("{closed} completed since the last verification (due at {threshold}){now}")
        }
    }
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

    fn at(seconds: i64) -> Option<pbjson_types::Timestamp> {
        Some(pbjson_types::Timestamp { seconds, nanos: 0 })
    }

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
    fn tombstones_are_told_from_teams() {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(100);
        let team = |name: &str| v1::Team {
            name: name.into(),
            lead: "ann".into(),
            member_count: 2,
            description: "paint".into(),
            created_at: at(40),
            ..v1::Team::default()
        };
        let dissolved = v1::Team {
            dissolved_at: at(88),
            dissolving: true,
            ..team("red")
        };

        let text = team_table(&[team("blue"), dissolved], now).text(None);

        assert_eq!(
            console::strip_ansi_codes(&text),
            "TEAM  LEAD  MEMBERS  TASKS  AGE    DESCRIPTION\n\
             blue  ann   2        0      1m00s  paint\n\
             red   ann   2        0      1m00s  (dissolved 12s ago, still stopping tasks) paint\n"
        );
    }

    #[test]
    fn share_is_told_where_it_is_not_as_for_most() {
        let team = |weight, max_running, running| v1::Team {
            weight,
            max_running,
            running,
            ..v1::Team::default()
        };

        assert_eq!(share(&team(1, 0, 4)), "");
        assert_eq!(share(&team(3, 0, 0)), "weight 3");
        assert_eq!(share(&team(1, 20, 0)), "at most 20 tasks at once");
        assert_eq!(share(&team(3, 20, 0)), "weight 3, at most 20 tasks at once");
        assert_eq!(running(&team(1, 0, 0)), "");
        assert_eq!(running(&team(1, 0, 4)), "4");
        assert_eq!(running(&team(1, 20, 0)), "0 of at most 20");
    }

    #[test]
    fn team_says_when_its_work_wants_verifying() {
        let mut team = v1::Team {
            closed_since_verification: 2,
            verification_threshold: 3,
            ..v1::Team::default()
        };
        assert_eq!(
            verification(&team),
            "2 completed since the last verification (due at 3)"
        );

        team.verification_nudge_needed = true;
        assert!(verification(&team).ends_with("; it is time for one"));

        team.verification_threshold = 0;
        assert_eq!(verification(&team), "");
    }
}
