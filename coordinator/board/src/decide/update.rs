//! Changing a task: all of what is asked, or nothing (K6); claiming it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    attempts, calls, calls::Who, check, claims, create, ending, ending::Ending, notices, stopping,
};
use crate::{
    command::{Answer, Lease, Update, Updated},
    draft::Draft,
    event::{Actor, Fields, Happening},
    graph::{self, End},
    id::{AttemptNumber, MemberName, Revision, TaskId, TaskKey, TeamUid},
    limits, nudge,
    refusal::{Obstacle, Refusal},
    task::{AfterStop, AttemptEnding, EndStatus, Status, Task, TaskState, Waiting},
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

    let actor = who.actor.clone();
    let before = draft.task(key)?.status();
    if changes.result.is_some() && before.is_terminal() {
        return Err(Refusal::LateEnding {
            task,
            status: before,
        }
        .into());
    }
    let mut fields = texts(draft, key, changes)?;
    let owner_before = draft.task(key)?.owner.clone();
    fields.add(owner(draft, who, key, changes, &actor)?);
    let rewired = edges(draft, who, key, changes, &actor)?;
    fields.add(rewired.fields);
    if !fields.is_empty() {
        // A change of status is an event of its own.
        let updated = Happening::TaskUpdated { task, fields };
        draft.happened(key.0, &actor, None, updated);
    }
    if !changes.status.is_some_and(Status::is_terminal) {
        notices::owners(draft, key, owner_before.as_ref(), &actor)?;
    }
    let mut unblocked = rewired.settle(draft, key.0, &actor)?;
    if let Some(to) = changes.status {
        unblocked.extend(status(
            draft,
            who,
            key,
            to,
            changes.result.as_ref().or(changes.reason.as_ref()),
            &actor,
        )?);
    }
    let after = draft.task(key)?.status();
    if before != after {
        fields.add(Fields::STATUS);
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

pub(super) fn expect_revision(
    draft: &Draft<'_>,
    key: TaskKey,
    expected: Option<Revision>,
) -> Result<(), Obstacle> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let actual = draft.task(key)?.revision;
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

/// Sets a text, and says whether that changed it.
fn set(text: &mut Arc<str>, new: Option<&Arc<str>>) -> bool {
    match new {
        Some(new) if new != text => {
            *text = new.clone();
            true
        }
        _ => false,
    }
}

fn texts(draft: &mut Draft<'_>, key: TaskKey, changes: &Update) -> Result<Fields, Obstacle> {
    let task = draft.task_mut(key)?;
    let mut fields = Fields::default();
    if set(&mut task.subject, changes.subject.as_ref()) {
        fields.add(Fields::SUBJECT);
    }
    if set(&mut task.description, changes.description.as_ref()) {
        fields.add(Fields::DESCRIPTION);
    }
    if set(&mut task.active_form, changes.active_form.as_ref()) {
        fields.add(Fields::ACTIVE_FORM);
    }
    if changes.status == Some(Status::Failed) {
        if set(&mut task.error, changes.result.as_ref()) {
            fields.add(Fields::ERROR);
        }
    } else if set(&mut task.result, changes.result.as_ref()) {
        fields.add(Fields::RESULT);
    }
    fields.add(plan(task, changes));
    if let Some(priority) = changes.priority
        && priority != task.priority
    {
        task.priority = priority;
        fields.add(Fields::PRIORITY);
    }
    let mut metadata = task.metadata.clone();
    for (name, value) in &changes.metadata {
        match value {
            Some(value) => metadata.insert(name.clone(), value.clone()),
            None => metadata.remove(name),
        };
    }
    if metadata != task.metadata {
        check::metadata(&metadata)?;
        task.metadata = metadata;
        fields.add(Fields::METADATA);
    }
    Ok(fields)
}

/// What says how and by when a task is to be done.
fn plan(task: &mut Task, changes: &Update) -> Fields {
    let mut fields = Fields::default();
    let mut note = |has_changed, field| {
        if has_changed {
            fields.add(field);
        }
    };
    note(
        set(&mut task.prompt, changes.prompt.as_ref()),
        Fields::PROMPT,
    );
    note(
        put(&mut task.agent_type, &changes.agent_type),
        Fields::AGENT_TYPE,
    );
    note(put(&mut task.kind, &changes.kind), Fields::KIND);
    note(put(&mut task.deadline, &changes.deadline), Fields::DEADLINE);
    note(
        put(&mut task.timeout, &changes.timeout.map(Some)),
        Fields::TIMEOUT,
    );
    note(
        put(&mut task.retry, &changes.retry.map(Some)),
        Fields::RETRY,
    );
    let policy = put(&mut task.failure_policy, &changes.failure_policy);
    note(policy, Fields::FAILURE_POLICY);
    let policy = put(
        &mut task.blocker_failed_policy,
        &changes.blocker_failed_policy,
    );
    note(policy, Fields::BLOCKER_FAILED_POLICY);
    let mut labels = task.labels.clone();
    labels.retain(|label| !changes.remove_labels.contains(label));
    for label in &changes.add_labels {
        if !labels.contains(label) {
            labels.push(label.clone());
        }
    }
    note(put(&mut task.labels, &Some(labels)), Fields::LABELS);
    let mut outputs = task.outputs.clone();
    outputs.retain(|old| changes.add_outputs.iter().all(|new| new.path != old.path));
    outputs.extend(changes.add_outputs.iter().cloned());
    note(put(&mut task.outputs, &Some(outputs)), Fields::OUTPUTS);
    fields
}

/// Sets a field, and says whether that changed it.
fn put<T: PartialEq + Clone>(field: &mut T, new: &Option<T>) -> bool {
    match new {
        Some(new) if new != field => {
            *field = new.clone();
            true
        }
        _ => false,
    }
}

/// A new owner (K8).
fn owner(
    draft: &mut Draft<'_>,
    who: &Who,
    key: TaskKey,
    changes: &Update,
    actor: &Actor,
) -> Result<Fields, Obstacle> {
    let Some(new) = &changes.owner else {
        return Ok(Fields::default());
    };
    let task = draft.task(key)?;
    if task.owner == *new {
        return Ok(Fields::default());
    }
    may_assign(who, new.as_ref())?;
    create::check_runner(
        draft,
        key.0,
        new.as_ref(),
        task.agent_type.as_ref(),
        &task.prompt,
    )?;
    let reason = notices::handed_over(new.as_ref());
    take_from_runner(draft, key, actor, &reason, changes.stop_running)?;
    draft.task_mut(key)?.owner = new.clone();
    Ok(Fields::OWNER)
}

/// Takes a task away from whoever is at it, if that may be; it waits again then.
fn take_from_runner(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    reason: &Arc<str>,
    stop_running: bool,
) -> Result<(), Obstacle> {
    match draft.task(key)?.state.clone() {
        TaskState::Pending(_) | TaskState::Ended(_) => Ok(()),
        TaskState::Placed(placement) if !stop_running => {
            Err(attempts::running(key, &placement).into())
        }
        TaskState::Claimed(claim) if !stop_running => Err(Refusal::TaskHeld {
            task: key.1,
            holder: claim.by.to_string(),
        }
        .into()),
        TaskState::Placed(_) => {
            stopping::request_stop(draft, key, actor, reason, AfterStop::Requeue)
        }
        TaskState::Claimed(claim) => {
            stopping::drop_claim(draft, key, AttemptEnding::Cancelled, reason)?;
            let waiting = Waiting::from(draft.now, reason.clone());
            attempts::requeue(draft, key, actor, claim.attempt, waiting)
        }
    }
}

/// Changes edges: first those that go, then those that come.
fn edges(
    draft: &mut Draft<'_>,
    who: &Who,
    key: TaskKey,
    changes: &Update,
    actor: &Actor,
) -> Result<Rewired, Obstacle> {
    let (team, task) = key;
    let mut rewired = Rewired::default();
    for blocker in &changes.remove_blocked_by {
        if rewired.loosen(draft, key, *blocker)? {
            rewired.fields.add(Fields::BLOCKED_BY);
        }
    }
    for dependant in &changes.remove_blocks {
        let waits = (team, *dependant);
        if rewired.loosen(draft, waits, task)? {
            rewired.fields.add(Fields::BLOCKS);
            note_edges_changed(draft, waits, actor, task);
        }
    }
    let mut end = End::waiting(task);
    for blocker in &changes.add_blocked_by {
        graph::add_edge(draft, team, &mut end, *blocker, "add_blocked_by")?;
        guard_new_blocker(draft, key, *blocker, actor, changes.stop_running)?;
        rewired.fields.add(Fields::BLOCKED_BY);
        rewired.bound.insert(task);
    }
    let mut end = End::waited_for(task);
    for dependant in &changes.add_blocks {
        let waits = (team, *dependant);
        graph::add_edge(draft, team, &mut end, *dependant, "add_blocks")?;
        if changes.stop_running && draft.status(waits) == Some(Status::InProgress) {
            may_change(draft, who, waits)?;
        }
        guard_new_blocker(draft, waits, task, actor, changes.stop_running)?;
        note_edges_changed(draft, waits, actor, task);
        rewired.fields.add(Fields::BLOCKS);
        rewired.bound.insert(*dependant);
    }
    Ok(rewired)
}

/// What a change of edges has done, whose consequences come after all edges are in place.
#[derive(Default)]
struct Rewired {
    fields: Fields,
    /// The tasks that were held back by an edge that went, and by which blocker.
    loosened: BTreeMap<TaskId, TaskId>,
    /// The tasks that have a new blocker.
    bound: BTreeSet<TaskId>,
}

impl Rewired {
    /// Takes an edge away. Says whether it was there.
    fn loosen(
        &mut self,
        draft: &mut Draft<'_>,
        key: TaskKey,
        blocker: TaskId,
    ) -> Result<bool, Obstacle> {
        let is_held_back = draft.status(key) == Some(Status::Pending)
            && draft
                .open_blockers(key.0, draft.task(key)?)
                .contains(&blocker);
        if is_held_back {
            self.loosened.insert(key.1, blocker);
        }
        graph::remove_edge(draft, key.0, key.1, blocker)
    }

    /// Frees, or cancels, what the new edges free or cancel. Answers the freed.
    fn settle(
        self,
        draft: &mut Draft<'_>,
        team: TeamUid,
        actor: &Actor,
    ) -> Result<Vec<TaskId>, Obstacle> {
        let mut unblocked = Vec::new();
        for (task, blocker) in self.loosened {
            if ending::free_if_unblocked(draft, (team, task), actor, blocker)? {
                unblocked.push(task);
            }
        }
        for task in self.bound {
            unblocked.extend(ending::heed_blockers(draft, (team, task))?);
        }
        Ok(unblocked)
    }
}

/// Says that a task's edges changed because somebody changed another's.
pub(super) fn note_edges_changed(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    cause: TaskId,
) {
    let updated = Happening::TaskUpdated {
        task: key.1,
        fields: Fields::BLOCKED_BY,
    };
    draft.happened(key.0, actor, Some(cause), updated);
}

/// A task in progress can't come to wait for an open blocker, unless it is stopped for that (K4);
/// one that is over can't come to wait at all.
pub(super) fn guard_new_blocker(
    draft: &mut Draft<'_>,
    key: TaskKey,
    blocker: TaskId,
    actor: &Actor,
    stop_running: bool,
) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    if let Some(end) = task.end() {
        return Err(Refusal::TaskOver {
            task: key.1,
            status: end.status.into(),
        }
        .into());
    }
    let is_open = draft.open_blockers(key.0, task).contains(&blocker);
    if is_open && draft.status(key) == Some(Status::InProgress) {
        let reason: Arc<str> = format!("has to wait for #{blocker}").into();
        take_from_runner(draft, key, actor, &reason, stop_running)?;
    }
    Ok(())
}

/// A new status, which only moves forward (K3). Answers the tasks that this freed.
fn status(
    draft: &mut Draft<'_>,
    who: &Who,
    key: TaskKey,
    to: Status,
    message: Option<&Arc<str>>,
    actor: &Actor,
) -> Result<Vec<TaskId>, Obstacle> {
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
    let how = match end {
        EndStatus::Completed => AttemptEnding::Completed,
        EndStatus::Failed => AttemptEnding::Failed,
        EndStatus::Cancelled => AttemptEnding::Cancelled,
    };
    let message = message.cloned().unwrap_or_default();
    let attempt = stopping::drop_claim(draft, key, how, &message)?;
    let ending = Ending {
        status: end,
        attempt,
        stop_reason: None,
        message: if end == EndStatus::Completed {
            Arc::default()
        } else {
            message
        },
    };
    ending::end_task(draft, key, actor, ending)
}
