//! Joining, leaving and leading (T2).

use std::{collections::BTreeSet, sync::Arc};

use super::{caller::Who, check, holding, requeue, roster, stopping};
use crate::{
    command::{Answer, NewMember, Removal},
    decision::Decision,
    draft::Draft,
    event::{Actor, Fields, Happening, line},
    id::{MemberKey, MemberName, MessageId, TaskId, TaskKey, TeamUid, WorkerName},
    limits,
    refusal::{Obstacle, Refusal, Staleness},
    task::{AfterStop, AttemptEnding, Task, TaskState, Waiting},
    team::{MemberKind, Plan},
};

pub(super) fn add(
    draft: &mut Draft<'_>,
    who: &Who,
    member: &NewMember,
) -> Result<Answer, Obstacle> {
    let joins_itself = who.actor == Actor::Member(member.name.clone());
    if !joins_itself {
        who.must_lead("add other members")?;
    } else if member.kind != MemberKind::Agent {
        who.must_lead("add members that are run")?;
    }
    check::new_member(member, &check::ONE_MEMBER)?;
    let present = draft.board.members(who.team);
    let count = present.filter(|m| m.kind != MemberKind::Worker).count();
    if count >= limits::MEMBERS_PER_TEAM_MAX {
        return Err(Refusal::Full {
            what: "members",
            max: limits::MEMBERS_PER_TEAM_MAX,
        }
        .into());
    }
    roster::join(draft, who.team, &who.actor, member, "member.name")?;
    Ok(Answer::Member(who.team, member.name.clone()))
}

pub(super) fn remove(
    draft: &mut Draft<'_>,
    who: &Who,
    member: &MemberName,
    removal: &Removal,
) -> Result<Answer, Obstacle> {
    if !who.is(member) {
        who.must_lead("remove other members")?;
    }
    check::len("reason", &removal.reason, limits::NOTE_LEN_MAX)?;
    let key = (who.team, member.clone());
    let (released, stopping) = leave(draft, &key, &who.actor, &removal.reason, removal.force)?;
    Ok(Answer::Removed {
        team: who.team,
        member: member.clone(),
        released,
        stopping,
    })
}

/// Takes a member off the roster, with all that hangs on it: its mailbox is emptied, its attempts
/// are stopped, and what it owned and is not over becomes nobody's. Answers the tasks that are
/// free again, and those that are being stopped first.
///
/// The lead is refused; so is, unless forced, who is being run at a task. What a step has no room
/// for is left to [`free_step`].
pub(super) fn leave(
    draft: &mut Draft<'_>,
    key: &MemberKey,
    actor: &Actor,
    reason: &Arc<str>,
    force: bool,
) -> Result<(Vec<TaskId>, Vec<TaskId>), Obstacle> {
    let (team, name) = key;
    let mut member = draft.member(*team, name)?.clone();
    if draft.team(*team).lead == *name {
        let member = name.clone();
        return Err(Refusal::MemberLeads { member }.into());
    }
    let runs = runs(draft, *team, &member.name, member.kind);
    if !runs.is_empty() && !force {
        return Err(Refusal::MemberActive {
            member: name.clone(),
            tasks: runs,
        }
        .into());
    }
    member.left_at = Some(draft.now);
    member.plan = Plan::NotRequired;
    member.shutdown = None;
    member.questions = Vec::new();
    member.handed = MessageId(0);
    draft.put_member(*team, member);
    let left = Happening::MemberLeft {
        member: name.clone(),
        reason: line(reason),
    };
    draft.happened(*team, actor, None, left);
    draft.empty_mailbox(key);
    let why = departure(name, reason);
    for task in &runs {
        stopping::request_stop(draft, (*team, *task), actor, &why, AfterStop::Requeue)?;
    }
    let released = free(draft, key, actor, &why)?;
    Ok((released, runs))
}

/// The tasks that workers run in this member's name or, of a worker, that it runs itself.
fn runs(draft: &Draft<'_>, team: TeamUid, name: &MemberName, kind: MemberKind) -> Vec<TaskId> {
    let is_its_own = |task: &Task| match task.placement() {
        Some(placement) if kind == MemberKind::Worker => {
            MemberName::from(&placement.worker) == *name
        }
        Some(placement) => placement.member.as_ref() == Some(name),
        None => false,
    };
    let placed = draft.board.in_progress(team).map(|task| task.id);
    let placed: BTreeSet<TaskId> = placed.collect();
    // Looked at through the draft: an earlier part of it may have ended an attempt.
    let is_run = |id: &TaskId| draft.task((team, *id)).is_ok_and(is_its_own);
    placed.into_iter().filter(is_run).collect()
}

fn departure(name: &MemberName, reason: &Arc<str>) -> Arc<str> {
    match reason.trim() {
        "" => format!("{name} left").into(),
        reason => format!("{name} left: {reason}").into(),
    }
}

/// Frees a step of what a member owned who left.
pub(super) fn free_step(draft: &mut Draft<'_>, key: &MemberKey) -> Result<(), Obstacle> {
    let why = departure(&key.1, &Arc::default());
    free(draft, key, &Actor::Coordinator, &why)?;
    Ok(())
}

/// Makes nobody's what a member owns and is not over, up to a step of it. Answers what is free
/// now.
fn free(
    draft: &mut Draft<'_>,
    (team, name): &MemberKey,
    actor: &Actor,
    why: &Arc<str>,
) -> Result<Vec<TaskId>, Obstacle> {
    let owned = draft.board.teams[team].index.owned.get(name);
    let mut released = Vec::new();
    for id in owned.into_iter().flatten() {
        if draft.touched() >= limits::STEP_MAX {
            break;
        }
        if disown(draft, (*team, *id), name, actor, why)? {
            released.push(*id);
        }
    }
    Ok(released)
}

/// Takes a task from an owner who left, and ends its claim. Says whether somebody else may begin
/// it now.
fn disown(
    draft: &mut Draft<'_>,
    key: TaskKey,
    name: &MemberName,
    actor: &Actor,
    why: &Arc<str>,
) -> Result<bool, Obstacle> {
    let task = draft.task(key)?;
    if task.end().is_some() || task.owner.as_ref() != Some(name) {
        return Ok(false);
    }
    let gives_back = actor.member() == Some(name);
    let how = match gives_back {
        true => AttemptEnding::HandedBack,
        false => AttemptEnding::Cancelled,
    };
    let claim = holding::drop_claim(draft, key, how, why)?;
    draft.task_mut(key)?.owner = None;
    match claim {
        Some(attempt) => {
            let waiting = Waiting::from(draft.now, why.clone());
            requeue::requeue(draft, key, actor, attempt, waiting)?;
        }
        None => {
            let updated = Happening::TaskUpdated {
                task: key.1,
                fields: Fields::OWNER,
            };
            draft.happened(key.0, actor, None, updated);
        }
    }
    Ok(matches!(draft.task(key)?.state, TaskState::Pending(_)))
}

pub(super) fn hand_over(
    draft: &mut Draft<'_>,
    who: &Who,
    to: &MemberName,
) -> Result<Answer, Obstacle> {
    who.must_lead("hand over the lead")?;
    let mut next = draft.member(who.team, to)?.clone();
    match next.kind {
        MemberKind::Agent => {}
        MemberKind::Lead => {
            let member = to.clone();
            return Err(Refusal::MemberLeads { member }.into());
        }
        MemberKind::Hosted | MemberKind::Worker => {
            return Err(Refusal::BadValue {
                field: "to",
                why: "is not an agent".into(),
            }
            .into());
        }
    }
    let lead = draft.team(who.team).lead.clone();
    let mut last = draft.member(who.team, &lead)?.clone();
    last.kind = MemberKind::Agent;
    draft.put_member(who.team, last);
    next.kind = MemberKind::Lead;
    // A lead answers to nobody: there is none who could ask it to leave, or approve its plan.
    next.plan = Plan::NotRequired;
    next.shutdown = None;
    draft.put_member(who.team, next);
    draft.team_mut(who.team).lead = to.clone();
    let handed_over = Happening::LeadHandedOver { to: to.clone() };
    draft.happened(who.team, &who.actor, None, handed_over);
    Ok(Answer::Team(who.team))
}

/// Takes a worker off a roster that has not been heard of for long (W1). One that has attempts
/// stays, and one that is no worker is somebody else of that name.
pub(super) fn leave_worker(
    mut draft: Draft<'_>,
    team: TeamUid,
    worker: &WorkerName,
    reason: &Arc<str>,
) -> Result<Decision, Obstacle> {
    roster::check_team(&draft, team)?;
    let key = (team, MemberName::from(worker));
    if draft.member(team, &key.1)?.kind != MemberKind::Worker {
        return Err(Refusal::Stale {
            why: Staleness::Instance,
        }
        .into());
    }
    leave(&mut draft, &key, &Actor::Coordinator, reason, false)?;
    Ok(draft.finish(Answer::Done, None))
}
