//! Calls: who calls, what for, and what it came to.

use std::sync::Arc;

use super::{create, roster, stopping, update};
use crate::{
    command::{Answer, Call, Caller, Wish},
    decision::Decision,
    draft::Draft,
    event::Actor,
    id::{MemberName, TaskId, TeamName, TeamUid},
    limits,
    record::{CameTo, Outcome},
    refusal::{Obstacle, Refusal},
};

/// Who calls, as found on the roster.
pub(super) struct Who {
    pub(super) team: TeamUid,
    pub(super) name: MemberName,
    pub(super) is_lead: bool,
}

pub(super) fn decide(mut draft: Draft<'_>, call: &Call) -> Result<Decision, Obstacle> {
    let answer = match &call.wish {
        Wish::CreateTeam(team) => roster::create_team(&mut draft, team)?,
        Wish::CreateTasks(team, tasks) => {
            let who = who(&draft, &call.caller, team)?;
            create::create_tasks(&mut draft, &who, tasks)?
        }
        Wish::UpdateTask(team, task, changes) => {
            let who = who(&draft, &call.caller, team)?;
            update::update(&mut draft, &who, *task, changes)?
        }
        Wish::ClaimTask(team, task, expected) => {
            let who = who(&draft, &call.caller, team)?;
            let key = (who.team, *task);
            update::expect_revision(&draft, key, *expected)?;
            let actor = Actor::Member(who.name.clone());
            update::claim(&mut draft, &who.name, key, &actor)?;
            Answer::Task(key)
        }
        Wish::CancelTask(team, task, reason) => {
            let who = who(&draft, &call.caller, team)?;
            cancel(&mut draft, &who, *task, reason)?
        }
    };
    let outcome = call.request.map(|request| Outcome {
        request,
        at: draft.now,
        team: team_of(&answer),
        came_to: came_to(&answer),
    });
    Ok(draft.finish(answer, outcome))
}

fn cancel(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    reason: &Arc<str>,
) -> Result<Answer, Obstacle> {
    super::check::len("reason", reason, limits::NOTE_LEN_MAX)?;
    let key = (who.team, task);
    update::may_change(draft, who, key)?;
    stopping::cancel(draft, who, key, reason)?;
    Ok(Answer::Task(key))
}

/// Finds the caller on the team's roster; without a name it is the lead who speaks.
fn who(draft: &Draft<'_>, caller: &Caller, team: &TeamName) -> Result<Who, Refusal> {
    let uid = draft.team_uid(team)?;
    let lead = &draft.team(uid).lead;
    let name = caller.member.as_ref().unwrap_or(lead);
    let member = draft.member(uid, name)?;
    if let Some(wanted) = caller.incarnation
        && wanted != member.incarnation.0
    {
        return Err(Refusal::IncarnationStale {
            member: name.clone(),
            wanted,
            present: member.incarnation.0,
        });
    }
    Ok(Who {
        team: uid,
        name: name.clone(),
        is_lead: name == lead,
    })
}

fn team_of(answer: &Answer) -> TeamUid {
    match answer {
        Answer::Team(team) | Answer::Tasks { team, .. } => *team,
        Answer::Updated { task, .. } | Answer::Task(task) => task.0,
        Answer::Done => TeamUid(0),
    }
}

fn came_to(answer: &Answer) -> CameTo {
    match answer {
        Answer::Team(_) | Answer::Done => CameTo::Team,
        Answer::Tasks { first, count, .. } => CameTo::Tasks {
            first: *first,
            count: *count,
        },
        Answer::Updated {
            task,
            fields,
            status,
            ..
        } => CameTo::Updated {
            task: task.1,
            fields: *fields,
            status: *status,
        },
        Answer::Task(task) => CameTo::Task { task: task.1 },
    }
}
