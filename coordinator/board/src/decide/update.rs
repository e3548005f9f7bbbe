//! Changing a task: all of what is asked, or nothing (K6); claiming it.

use std::sync::Arc;

use super::{
    caller, caller::Who, check, claims, create, edges, ending, ending::Ending, fields, holding,
    notices, stopping,
};
use crate::{
    command::{Answer, Lease, Update, Updated},
    draft::Draft,
    event::{Actor, Fields, Happening},
    id::{MemberName, TaskId, TaskKey},
    index, limits, nudge,
    refusal::{Obstacle, Refusal},
    task::{AttemptEnding, EndStatus, Status, StopReason, TaskState},
};

/// Changes tasks in order; each change sees what the earlier ones did.
pub(super) fn update_all(
    draft: &mut Draft<'_>,
    who: &Who,
    all: &[(TaskId, Update)],
) -> Result<Answer, Obstacle> {
    if all.is_empty() {
        return Err(Refusal::Blank { field: "updates" }.into());
    }
    check::count("updates", all.len(), limits::BATCH_MAX)?;
    let mut updated = Vec::with_capacity(all.len());
    for (task, changes) in all {
        updated.push(update(draft, who, *task, changes)?);
        check::records(draft)?;
        check::bytes(draft)?;
    }
    Ok(Answer::Batch(who.team, updated))
}

pub(super) fn update(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    changes: &Update,
) -> Result<Updated, Obstacle> {
    let key = (who.team, task);
    caller::in_sight(draft, who, key)?;
    check::update(changes)?;
    caller::expect_revision(draft, key, changes.expected_revision)?;
    caller::expect_attempt(draft, key, changes.attempt)?;
    if !takes_for_itself(draft, who, key, changes)? {
        caller::may_change(draft, who, key)?;
    }
    keep_payload(draft, key, changes)?;

    let actor = &who.actor;
    let card = draft.task(key)?;
    let (before, owner_before) = (card.status(), card.owner.clone());
    let held_by = draft.open_blockers(key.0, card);
    let was_for_worker = is_for_worker(draft, key)?;
    let mut fields = fields::set_fields(draft, key, changes)?;
    run_otherwise(draft, key, fields, actor, changes.stop_running)?;
    fields.add(owner(draft, who, key, changes)?);
    let mut rewired = edges::rewire(draft, who, key, changes)?;
    fields.add(rewired.fields);
    if fields.has(Fields::BLOCKER_FAILED_POLICY) {
        rewired.follow_policy(draft, key, &held_by, actor, changes.stop_running)?;
    }
    if !fields.is_empty() {
        // A change of status is an event of its own.
        let updated = Happening::TaskUpdated { task, fields };
        draft.happened(key.0, actor, None, updated);
    }
    if !changes.status.is_some_and(Status::is_terminal) {
        notices::owners(draft, key, owner_before.as_ref(), actor)?;
    }
    let mut unblocked = rewired.settle(draft, key.0, actor)?;
    if let Some(to) = changes.status {
        unblocked.extend(status(draft, who, key, to, &said(changes))?);
    }
    if let Some(at) = who.at
        && !was_for_worker
        && is_for_worker(draft, key)?
    {
        // That is hiring by another way (D7).
        draft.board.check_hiring((key.0, at.task))?;
    }
    let card = draft.task(key)?;
    let after = card.status();
    if before != after {
        fields.add(Fields::STATUS);
    }
    if card.owner != owner_before {
        // Who starts a task takes it.
        fields.add(Fields::OWNER);
    }
    let nudge = (before != after && after == Status::Completed)
        .then(|| nudge::due(draft.team(key.0)))
        .flatten();
    Ok(Updated {
        task: key,
        fields,
        status: (before != after).then_some((before, after)),
        unblocked,
        verification_nudge: nudge,
    })
}

/// Whether a worker is to run a task now, or when it is given back.
fn is_for_worker(draft: &Draft<'_>, key: TaskKey) -> Result<bool, Obstacle> {
    let members = &draft.board.teams[&key.0].members;
    let task = draft.task(key)?;
    Ok(match task.state {
        TaskState::Pending(_) => index::is_for_worker(task, members),
        _ => task.agent_type.is_some(),
    })
}

/// Refuses to change what came of a task that is over (D3).
fn keep_payload(draft: &Draft<'_>, key: TaskKey, changes: &Update) -> Result<(), Obstacle> {
    let status = draft.task(key)?.status();
    let has_payload = changes.result.is_some() || !changes.add_outputs.is_empty();
    if has_payload && status.is_terminal() {
        return Err(Refusal::LateEnding {
            task: key.1,
            status,
        }
        .into());
    }
    Ok(())
}

/// What an update says of why a task comes to another status.
fn said(changes: &Update) -> Arc<str> {
    let (result, reason) = (changes.result.as_ref(), changes.reason.as_ref());
    let said = match changes.status {
        Some(Status::Cancelled) => reason.or(result),
        _ => result.or(reason),
    };
    said.cloned().unwrap_or_default()
}

/// Whether somebody takes a task that is nobody's, and so may change it in the same breath.
fn takes_for_itself(
    draft: &Draft<'_>,
    who: &Who,
    key: TaskKey,
    changes: &Update,
) -> Result<bool, Obstacle> {
    let task = draft.task(key)?;
    let to_self = matches!(&changes.owner, Some(Some(owner)) if who.is(owner));
    let begins = changes.owner.is_none() && changes.status == Some(Status::InProgress);
    Ok(task.owner.is_none() && task.status() == Status::Pending && (to_self || begins))
}

/// Refuses another way to run a task that doesn't work, as when the task is made; and one for a
/// running attempt, unless that is stopped.
fn run_otherwise(
    draft: &mut Draft<'_>,
    key: TaskKey,
    fields: Fields,
    actor: &Actor,
    stop_running: bool,
) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    let is_new = fields.has(Fields::AGENT_TYPE) || fields.has(Fields::PROMPT);
    if !is_new || task.end().is_some() {
        return Ok(());
    }
    check_runner(draft, key, task.owner.as_ref())?;
    if fields.has(Fields::AGENT_TYPE) && task.placement().is_some() {
        let reason: Arc<str> = match &task.agent_type {
            Some(agent_type) => format!("is to be run as {agent_type}").into(),
            None => "is to be run by no type of its own".into(),
        };
        stopping::take_from_runner(draft, key, actor, &reason, stop_running)?;
    }
    Ok(())
}

fn check_runner(
    draft: &Draft<'_>,
    key: TaskKey,
    owner: Option<&MemberName>,
) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    let agent_type = task.agent_type.as_ref();
    create::check_runner(draft, key.0, owner, agent_type, &task.prompt)?;
    Ok(())
}

/// A new owner (K8).
fn owner(
    draft: &mut Draft<'_>,
    who: &Who,
    key: TaskKey,
    changes: &Update,
) -> Result<Fields, Obstacle> {
    let Some(new) = &changes.owner else {
        return Ok(Fields::default());
    };
    if draft.task(key)?.owner == *new {
        return Ok(Fields::default());
    }
    caller::may_assign(who, new.as_ref())?;
    check_runner(draft, key, new.as_ref())?;
    let reason = notices::handed_over(new.as_ref());
    stopping::take_from_runner(draft, key, &who.actor, &reason, changes.stop_running)?;
    draft.task_mut(key)?.owner = new.clone();
    Ok(Fields::OWNER)
}

/// A new status, which only moves forward (K3). Answers the tasks that this freed.
fn status(
    draft: &mut Draft<'_>,
    who: &Who,
    key: TaskKey,
    to: Status,
    message: &Arc<str>,
) -> Result<Vec<TaskId>, Obstacle> {
    let actor = &who.actor;
    let task = draft.task(key)?;
    let from = task.status();
    if from.is_terminal() {
        return Err(Refusal::LateEnding {
            task: key.1,
            status: from,
        }
        .into());
    }
    let end = match to {
        _ if from == to => return Ok(Vec::new()),
        Status::Pending => {
            return Err(Refusal::StatusBackward {
                task: key.1,
                from,
                to,
            }
            .into());
        }
        Status::InProgress => {
            let holder = match &task.owner {
                Some(owner) => Actor::Member(owner.clone()),
                None => who.actor.clone(),
            };
            claims::claim(draft, &holder, key, actor, Lease::default())?;
            return Ok(Vec::new());
        }
        Status::Completed => EndStatus::Completed,
        Status::Failed => EndStatus::Failed,
        Status::Cancelled => EndStatus::Cancelled,
    };
    if let Some(placement) = task.placement() {
        return Err(holding::running(key, placement).into());
    }
    let blockers = draft.open_blockers(key.0, task);
    if from == Status::Pending && end == EndStatus::Completed && !blockers.is_empty() {
        return Err(Refusal::TaskBlocked {
            task: key.1,
            blockers,
        }
        .into());
    }
    let (how, stop_reason) = match end {
        EndStatus::Completed => (AttemptEnding::Completed, None),
        EndStatus::Failed => (AttemptEnding::Failed, None),
        EndStatus::Cancelled => (AttemptEnding::Cancelled, Some(StopReason::Cancelled)),
    };
    let attempt = holding::drop_claim(draft, key, how, message)?;
    let ending = Ending {
        status: end,
        attempt,
        stop_reason,
        message: match end {
            EndStatus::Completed => Arc::default(),
            EndStatus::Failed | EndStatus::Cancelled => message.clone(),
        },
    };
    ending::end_task(draft, key, actor, ending)
}
