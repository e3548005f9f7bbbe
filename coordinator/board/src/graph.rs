//! Edges between tasks: one waits for another, and never, over any detour, for itself.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    draft::Draft,
    id::{TaskId, TaskKey, TeamUid},
    limits,
    refusal::{Obstacle, Refusal},
};

/// Whether one more may wait for this task.
pub(crate) fn check_room(draft: &Draft<'_>, blocker: TaskKey) -> Result<(), Refusal> {
    let count = draft.dependants(blocker).len() + 1;
    if count > limits::EDGES_MAX {
        return Err(Refusal::TooMany {
            field: "blocks",
            count,
            max: limits::EDGES_MAX,
        });
    }
    Ok(())
}

/// Lets `task` wait for `blocker`. `field` is what named the other of the two.
pub(crate) fn add_edge(
    draft: &mut Draft<'_>,
    team: TeamUid,
    task: TaskId,
    blocker: TaskId,
    field: &'static str,
) -> Result<(), Obstacle> {
    if task == blocker {
        return Err(Refusal::SelfEdge { task }.into());
    }
    for id in [task, blocker] {
        if draft.status((team, id)).is_none() {
            return Err(Refusal::ReferenceUnknown {
                field,
                task: id,
                team: draft.team(team).name.clone(),
            }
            .into());
        }
    }
    let present = draft.blocked_by((team, task));
    if present.contains(&blocker) {
        return Err(Refusal::DuplicateEdge { task, blocker }.into());
    }
    if present.len() >= limits::EDGES_MAX {
        return Err(Refusal::TooMany {
            field: "blocked_by",
            count: present.len() + 1,
            max: limits::EDGES_MAX,
        }
        .into());
    }
    check_room(draft, (team, blocker))?;
    if let Some(path) = path(draft, team, blocker, task) {
        // `path` leads from the blocker to the task; the new edge closes it.
        let path = std::iter::once(task).chain(path).collect();
        return Err(Refusal::Cycle { path }.into());
    }
    draft.task_mut((team, task))?.blocked_by.push(blocker);
    draft.note_edge(team, blocker, task, true);
    Ok(())
}

/// Lets `task` not wait for `blocker` any more. Says whether it did.
pub(crate) fn remove_edge(
    draft: &mut Draft<'_>,
    team: TeamUid,
    task: TaskId,
    blocker: TaskId,
) -> Result<bool, Obstacle> {
    if !draft.blocked_by((team, task)).contains(&blocker) {
        return Ok(false);
    }
    draft
        .task_mut((team, task))?
        .blocked_by
        .retain(|id| *id != blocker);
    draft.note_edge(team, blocker, task, false);
    Ok(true)
}

/// The shortest way from a task, over what it waits for, to another.
fn path(draft: &Draft<'_>, team: TeamUid, from: TaskId, to: TaskId) -> Option<Vec<TaskId>> {
    // Nothing waits for a task that nobody depends on: no way can lead to it.
    if draft.dependants((team, to)).is_empty() {
        return None;
    }
    let mut came_from: BTreeMap<TaskId, TaskId> = BTreeMap::from([(from, from)]);
    let mut open = VecDeque::from([from]);
    while let Some(at) = open.pop_front() {
        if at == to {
            let mut path = vec![at];
            let mut step = at;
            while step != from {
                step = came_from[&step];
                path.push(step);
            }
            path.reverse();
            return Some(path);
        }
        for blocker in draft.blocked_by((team, at)) {
            came_from.entry(*blocker).or_insert_with(|| {
                open.push_back(*blocker);
                at
            });
        }
    }
    None
}
