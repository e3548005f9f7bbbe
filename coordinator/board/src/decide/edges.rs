//! Changing what waits for what (K4), and what that does to those concerned.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{caller, caller::Who, ending, stopping};
use crate::{
    command::Update,
    draft::Draft,
    event::{Actor, Fields, Happening},
    graph::{self, End},
    id::{TaskId, TaskKey, TeamUid},
    refusal::{Obstacle, Refusal},
    task::Status,
};

/// Changes edges: first those that go, then those that come.
pub(super) fn rewire(
    draft: &mut Draft<'_>,
    who: &Who,
    key: TaskKey,
    changes: &Update,
) -> Result<Rewired, Obstacle> {
    let (team, task) = key;
    let actor = &who.actor;
    let mut rewired = Rewired::default();
    // An edge to what the caller doesn't see is not there for it.
    let in_sight = |draft: &Draft<'_>, id: TaskId| caller::is_in_sight(draft, who, id);
    for blocker in &changes.remove_blocked_by {
        if in_sight(draft, *blocker) && rewired.loosen(draft, key, *blocker)? {
            rewired.fields.add(Fields::BLOCKED_BY);
        }
    }
    for dependant in &changes.remove_blocks {
        let waits = (team, *dependant);
        if in_sight(draft, *dependant) && rewired.loosen(draft, waits, task)? {
            rewired.fields.add(Fields::BLOCKS);
            note_edges_changed(draft, waits, actor, task);
        }
    }
    let mut end = End::waiting(task);
    for blocker in &changes.add_blocked_by {
        caller::refer(draft, who, "add_blocked_by", *blocker)?;
        if !graph::add_edge(draft, team, &mut end, *blocker, "add_blocked_by")? {
            continue;
        }
        guard_new_blocker(draft, key, *blocker, actor, changes.stop_running)?;
        rewired.fields.add(Fields::BLOCKED_BY);
        rewired.bound.insert(task);
    }
    let mut end = End::waited_for(task);
    for dependant in &changes.add_blocks {
        let waits = (team, *dependant);
        caller::refer(draft, who, "add_blocks", *dependant)?;
        if !graph::add_edge(draft, team, &mut end, *dependant, "add_blocks")? {
            continue;
        }
        if changes.stop_running && draft.status(waits) == Some(Status::InProgress) {
            caller::may_change(draft, who, waits)?;
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
pub(super) struct Rewired {
    pub(super) fields: Fields,
    /// The tasks that were held back by what is no blocker of theirs any more, and by which.
    loosened: BTreeMap<TaskId, TaskId>,
    /// The tasks that have a new blocker, or another policy towards those that did not complete.
    bound: BTreeSet<TaskId>,
}

impl Rewired {
    /// Takes an edge away. Says whether it was there.
    pub(super) fn loosen(
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

    /// Notes that a task takes it in another way now when a blocker does not complete, after
    /// `held_by` had held it back: that acts at once where one failed long ago. Work in progress
    /// comes by it to wait for a blocker no more easily than by a new edge.
    pub(super) fn follow_policy(
        &mut self,
        draft: &mut Draft<'_>,
        key: TaskKey,
        held_by: &[TaskId],
        actor: &Actor,
        stop_running: bool,
    ) -> Result<(), Obstacle> {
        let task = draft.task(key)?;
        let is_at_work = task.status() == Status::InProgress;
        let open = draft.open_blockers(key.0, task);
        let new = open.iter().find(|id| !held_by.contains(id));
        if let Some(blocker) = new.filter(|_| is_at_work) {
            let reason: Arc<str> = format!("has to wait for #{blocker}").into();
            stopping::take_from_runner(draft, key, actor, &reason, stop_running)?;
        }
        if let Some(blocker) = held_by.iter().find(|id| !open.contains(id)) {
            self.loosened.entry(key.1).or_insert(*blocker);
        }
        self.bound.insert(key.1);
        Ok(())
    }

    /// Frees, or cancels, what the changes free or cancel. Answers the freed.
    pub(super) fn settle(
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
        stopping::take_from_runner(draft, key, actor, &reason, stop_running)?;
    }
    Ok(())
}
