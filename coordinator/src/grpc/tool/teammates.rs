//! check_teammates: how the members of a team stand, and what is open.

use std::fmt::Write as _;

use ganger_proto::v1::{self, task_service_server::TaskService, team_service_server::TeamService};
use serde_json::{Value, json};

use super::{
    args::arguments,
    board::hashes,
    json::{self, Case},
    listing::fits,
    refusal::No,
    registry::{Answer, Caller, Hints, Tool},
};

arguments! {
    /// check_teammates.
    CheckTeammates {
        /// The next_page_token of the last answer, to go on with further members.
        page_token = "page_token": Option<String>,
    }
}

impl Tool for CheckTeammates {
    const NAME: &'static str = "check_teammates";
    const DESCRIPTION: &'static str = "\
Tells how the team is: each member's status as the coordinator sees it (working, idle, stalled, \
unreachable, waiting_for_answer, waiting_for_approval) with the cause, the tasks that are not \
over yet with the questions that wait for you, the counts, and whether somebody should verify the work now.\n\
Doesn't wait: for that use wait_tasks.";
    const HINTS: Hints = Hints::LOOKS;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let team = caller.team.clone();
        let request = caller.say(v1::GetTeamRequest { team: team.clone() });
        let answer = caller.services.get_team(request).await?.into_inner();
        let head = answer.team.unwrap_or_default();
        // Of large teams there is room for fewer at once.
        let page_token = self.page_token.unwrap_or_default();
        let (mut members_max, mut tasks_max) = (1_000, 100);
        loop {
            let there = caller.members(members_max, &page_token).await?;
            let mut open = Vec::new();
            let mut is_cut = false;
            for status in [v1::TaskStatus::InProgress, v1::TaskStatus::Pending] {
                let request = caller.say(v1::ListTasksRequest {
                    team: team.clone(),
                    status: status.into(),
                    page_size: tasks_max,
                    ..v1::ListTasksRequest::default()
                });
                let listed = caller.services.list_tasks(request).await?.into_inner();
                is_cut |= !listed.next_page_token.is_empty();
                open.extend(listed.tasks);
            }
            let answer = checked(&head, &there, &open, is_cut);
            if (members_max, tasks_max) == (1, 1) || fits(&answer) {
                return Ok(answer);
            }
            members_max = (members_max / 2).max(1);
            tasks_max = (tasks_max / 2).max(1);
        }
    }
}

fn checked(
    team: &v1::Team,
    there: &v1::ListMembersResponse,
    open: &[v1::Task],
    is_cut: bool,
) -> Answer {
    let is_cut = is_cut || !there.next_page_token.is_empty();
    let mut text = format!("Team '{}' status:\n\nMembers:", team.name);
    let mut told = Vec::new();
    for member in &there.members {
        let mut object = json::told(member, Case::Snake);
        // The word that lead agents know it by.
        let status = object.remove("liveness").unwrap_or_default();
        let _ = write!(
            text,
            "\n- {}: {}",
            member.name,
            status.as_str().unwrap_or("unknown")
        );
        if !member.tasks.is_empty() {
            let _ = write!(text, " on {}", hashes(&member.tasks));
        }
        if !member.liveness_reason.is_empty() {
            let _ = write!(text, " ({})", member.liveness_reason);
        }
        // What each is for is said by its role; a roster of a thousand must fit.
        for long in ["instructions", "description"] {
            object.remove(long);
        }
        object.insert("status".into(), status);
        told.push(Value::Object(object));
    }
    let counts = team.tasks.unwrap_or_default();
    let _ = write!(
        text,
        "\n\nTasks: {} pending, {} in progress, {} completed, {} failed, {} cancelled",
        counts.pending, counts.in_progress, counts.completed, counts.failed, counts.cancelled
    );
    for task in open {
        let _ = write!(text, "\n{}", task.line);
        if let Some(question) = &task.question {
            let _ = write!(text, " (asks: {})", question.text);
        }
    }
    if is_cut {
        text.push_str("\nThere is more than is shown here: use TaskList");
        if !there.next_page_token.is_empty() {
            let _ = write!(
                text,
                ", and page_token {:?} for members",
                there.next_page_token
            );
        }
        text.push('.');
    }
    if team.verification_nudge_needed {
        let _ = write!(
            text,
            "\n{} tasks were completed since the last verification: have somebody verify them \
             who did none of them.",
            team.closed_since_verification
        );
    }
    let lines = open.iter().map(|task| {
        let mut told = json!({
            "id": task.id.to_string(),
            "owner": task.owner,
            "status": json::status(task.status()),
            "line": task.line,
        });
        if let Some(question) = &task.question {
            told["question"] = json::told(question, Case::Snake).into();
        }
        told
    });
    let mut result = json!({
        "team_name": team.name,
        "lead_agent_id": team.lead_agent_id,
        "members": told,
        "tasks": {
            "pending": counts.pending,
            "in_progress": counts.in_progress,
            "completed": counts.completed,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
        },
        "open_tasks": lines.collect::<Value>(),
        "cut": is_cut,
        "verification_nudge_needed": team.verification_nudge_needed,
    });
    if !there.next_page_token.is_empty() {
        result["next_page_token"] = there.next_page_token.as_str().into();
    }
    Answer::new(result, text)
}
