//! Changing a task: all of what is asked, or nothing (K6); claiming it.

use std::sync::Arc;

use super::{
    attempts, calls, calls::Who, check, claims, create, edges, ending, ending::Ending, fields,
    notices, stopping,
};
use crate::{
    board::Card,
    command::{Answer, Lease, Update, Updated},
    draft::Draft,
    event::{Actor, Fields, Happening},
    id::{AttemptNumber, MemberName, Revision, TaskId, TaskKey},
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
    in_sight(draft, who, key)?;
    check::update(changes)?;
    expect_revision(draft, key, changes.expected_revision)?;
    expect_attempt(draft, key, changes.attempt)?;
    if !takes_for_itself(draft, who, key, changes)? {
        may_change(draft, who, key)?;
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

/// Refuses a task that was changed since the caller looked. What an earlier item of the same call
/// did to it is the caller's own doing, and doesn't count.
pub(super) fn expect_revision(
    draft: &Draft<'_>,
    key: TaskKey,
    expected: Option<Revision>,
) -> Result<(), Obstacle> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let actual = match draft.board.card(key) {
        Some(Card::Whole(task)) => task.revision,
        Some(Card::Outline(stub)) => stub.revision,
        None => draft.task(key)?.revision,
    };
    if actual != expected {
        return Err(Refusal::RevisionMismatch {
            task: key.1,
            expected,
            actual,
        }
        .into());
    }
    Ok(())
}

/// Refuses an attempt that is not the last one.
pub(super) fn expect_attempt(
    draft: &Draft<'_>,
    key: TaskKey,
    expected: Option<AttemptNumber>,
) -> Result<(), Obstacle> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let task = draft.task(key)?;
    let is_held = matches!(task.state, TaskState::Claimed(_) | TaskState::Placed(_));
    if task.last_attempt == expected && is_held {
        return Ok(());
    }
    Err(Refusal::AttemptOver {
        task: key.1,
        expected,
        actual: task.last_attempt,
    }
    .into())
}

/// Refuses a task that isn't there, or not for this caller to know.
pub(super) fn in_sight(draft: &Draft<'_>, who: &Who, key: TaskKey) -> Result<(), Refusal> {
    if draft.status(key).is_some() && calls::is_in_sight(draft, who, key.1) {
        return Ok(());
    }
    if who.list_of.is_some() {
        // Who sees a list only isn't told what was ever beside it.
        let team = draft.team(key.0).name.clone();
        return Err(Refusal::never_was(key.1, team));
    }
    Err(draft.task_unknown(key))
}

/// Refuses who has no say in a task (T6): that have the lead and its owner, and as long as it is
/// nobody's, who made it.
pub(super) fn may_change(draft: &Draft<'_>, who: &Who, key: TaskKey) -> Result<(), Obstacle> {
    in_sight(draft, who, key)?;
    let task = draft.task(key)?;
    let has_say = match &task.owner {
        Some(owner) => who.is(owner),
        None => task.created_by == who.actor,
    };
    // A sub-agent's list is its own, but for the task that it is at.
    let is_on_list = who.list_of.is_some_and(|root| root != key.1);
    if who.is_lead || has_say || is_on_list {
        return Ok(());
    }
    Err(Refusal::NotOwner {
        task: key.1,
        owner: task.owner.clone(),
        member: who.actor.clone(),
    }
    .into())
}

/// Refuses who would make a task somebody else's without being the lead (T6).
pub(super) fn may_assign(who: &Who, owner: Option<&MemberName>) -> Result<(), Refusal> {
    match owner {
        Some(owner) if !who.is_lead && !who.is(owner) => Err(Refusal::LeadOnly {
            action: "assign tasks to others",
            member: who.actor.clone(),
        }),
        _ => Ok(()),
    }
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
    may_assign(who, new.as_ref())?;
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
        return Err(attempts::running(key, placement).into());
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
    let attempt = stopping::drop_claim(draft, key, how, message)?;
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
