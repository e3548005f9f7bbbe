//! `ganger member`: who is on a team's roster.

use std::time::SystemTime;

use clap::Subcommand;
use ganger_proto::v1;

use crate::{
    client::Client,
    context::Context,
    failure::Failure,
    output::{Table, safe_line, stdout_width, words},
};

mod add;
mod remove;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the members: where each stands and why, when it was last seen, its unread mail
    #[command(visible_alias = "ls")]
    List {
        /// Those who left, too
        #[arg(long)]
        all: bool,
    },
    /// Add a member
    Add(add::Args),
    /// Remove a member; what it had not ended is free again
    #[command(visible_alias = "rm")]
    Remove(remove::Args),
}

/// Does it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(verb: Verb, context: &Context) -> Result<(), Failure> {
    match verb {
        Verb::List { all } => list(all, context).await,
        Verb::Add(args) => add::run(args, context).await,
        Verb::Remove(args) => remove::run(args, context).await,
    }
}

async fn list(include_gone: bool, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let answer = v1::ListMembersResponse {
        members: all(&client, "", include_gone).await?,
        ..v1::ListMembersResponse::default()
    };
    context.out.answer(&answer, || {
        roster(&answer.members, SystemTime::now()).text(stdout_width())
    })?;
    Ok(())
}

/// Lists all members of a team; an empty name is the one spoken in.
///
/// # Errors
/// What the coordinator refused.
pub async fn all(
    client: &Client,
    team: &str,
    include_gone: bool,
) -> Result<Vec<v1::Member>, Failure> {
    let mut members = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListMembersRequest {
            team: team.into(),
            page_size: 1_000,
            page_token,
            include_gone,
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

/// The members under each other.
pub fn roster(members: &[v1::Member], now: SystemTime) -> Table {
    let mut table = Table::new(&[
        "MEMBER", "KIND", "TYPE", "STANDS", "SEEN", "UNREAD", "TASKS", "ROLE", "WHY",
    ]);
    for member in members {
        let heard = member.last_seen_at.as_ref();
        let heard = heard.or(member.last_progress_at.as_ref());
        table.row(vec![
            identity(&member.name, member.incarnation),
            words::tail(member.kind().as_str_name(), "MEMBER_KIND_"),
            safe_line(&member.agent_type),
            words::liveness(member.liveness()),
            words::age(heard, now),
            match member.unread {
                0 => String::new(),
                unread => unread.to_string(),
            },
            words::ids(&member.tasks),
            safe_line(&member.role),
            why(member, now),
        ]);
    }
    table
}

/// A name, with its incarnation where it isn't the first: `bob/2`.
pub fn identity(name: &str, incarnation: i32) -> String {
    match incarnation {
        0 | 1 => safe_line(name),
        again => format!("{}/{again}", safe_line(name)),
    }
}

/// Why a member stands where it does, and what holds it.
fn why(member: &v1::Member, now: SystemTime) -> String {
    let left = words::age(member.left_at.as_ref(), now);
    let mut facts = vec![safe_line(&member.liveness_reason)];
    if member.liveness_reason.is_empty() && !left.is_empty() {
        facts.push(format!("left {left} ago"));
    }
    facts.push(match member.plan() {
        v1::PlanState::Unspecified | v1::PlanState::Approved => String::new(),
        v1::PlanState::Required => "owes a plan".into(),
        v1::PlanState::Submitted => "its plan waits for approval".into(),
    });
    if let Some(deadline) = &member.shutdown_deadline {
        let at = words::time_of_day(Some(deadline));
        facts.push(format!("asked to leave by {at}"));
    }
    facts.retain(|fact| !fact.is_empty());
    facts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<pbjson_types::Timestamp> {
        Some(pbjson_types::Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn roster_says_where_each_stands_and_why_when_seen_and_what_is_unread() {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(100);
        let again = v1::Member {
            name: "bob".into(),
            incarnation: 2,
            kind: v1::MemberKind::Hosted.into(),
            agent_type: "shell".into(),
            liveness: v1::MemberLiveness::Stalled.into(),
            liveness_reason: "no progress for 5m".into(),
            last_progress_at: at(40),
            tasks: vec![3],
            unread: 4,
            ..v1::Member::default()
        };
        let planner = v1::Member {
            name: "dave".into(),
            incarnation: 1,
            kind: v1::MemberKind::Agent.into(),
            role: "tester".into(),
            liveness: v1::MemberLiveness::WaitingForApproval.into(),
            last_seen_at: at(88),
            plan: v1::PlanState::Submitted.into(),
            shutdown_deadline: at(160),
            ..v1::Member::default()
        };
        let gone = v1::Member {
            name: "eve".into(),
            kind: v1::MemberKind::Agent.into(),
            liveness: v1::MemberLiveness::Gone.into(),
            left_at: at(90),
            ..v1::Member::default()
        };

        let text = roster(&[again, planner, gone], now).text(None);

        assert_eq!(
            console::strip_ansi_codes(&text),
            "MEMBER  KIND    TYPE   STANDS                SEEN   UNREAD  TASKS  ROLE    WHY\n\
             bob/2   hosted  shell  stalled               1m00s  4       #3             \
             no progress for 5m\n\
             dave    agent          waiting for approval  12s                   tester  \
             its plan waits for approval; asked to leave by 00:02:40\n\
             eve     agent          gone                                                \
             left 10s ago\n"
        );
    }
}
