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

/// The end that several new edges have in common.
///
/// What can be reached from it is worked out once, when it is first needed, and stays right while
/// edges are added at this end: they lead away from what was reached, or are refused. A search for
/// each edge would visit a large board a thousand times in one command.
pub(crate) struct End {
    task: TaskId,
    is_blocker: bool,
    /// The tasks that the end waits for, or that wait for it, over any detour: each with the one
    /// over which it is reached.
    reached: Option<BTreeMap<TaskId, TaskId>>,
}

impl End {
    /// The end that waits.
    pub(crate) fn waiting(task: TaskId) -> Self {
        Self {
            task,
            is_blocker: false,
            reached: None,
        }
    }

    /// The end that is waited for.
    pub(crate) fn waited_for(task: TaskId) -> Self {
        Self {
            task,
            is_blocker: true,
            reached: None,
        }
    }

    /// The circle that an edge between this end and another task would close.
    fn circle(&mut self, draft: &Draft<'_>, team: TeamUid, other: TaskId) -> Option<Vec<TaskId>> {
        let leads_on = |task| match self.is_blocker {
            true => waits_for(draft, (team, task)),
            false => waited_for_by(draft, (team, task)),
        };
        let is_rim = match self.is_blocker {
            true => waited_for_by(draft, (team, other)).is_empty(),
            false => waits_for_nothing(draft, (team, other)),
        };
        if is_rim {
            // Most new edges are to the rim of the graph, where no way ends.
            return None;
        }
        let reached = self
            .reached
            .get_or_insert_with(|| reach(self.task, leads_on));
        let mut step = other;
        let mut path = vec![other];
        while step != self.task {
            step = *reached.get(&step)?;
            path.push(step);
        }
        // The path leads from the other task to this end: what waits comes first.
        if self.is_blocker {
            path.reverse();
            path.insert(0, other);
        } else {
            path.insert(0, self.task);
        }
        Some(path)
    }
}

/// All that can be reached from a task, each with the one before it on the shortest way.
fn reach(from: TaskId, leads_on: impl Fn(TaskId) -> Vec<TaskId>) -> BTreeMap<TaskId, TaskId> {
    let mut reached = BTreeMap::from([(from, from)]);
    let mut open = VecDeque::from([from]);
    while let Some(at) = open.pop_front() {
        for next in leads_on(at) {
            reached.entry(next).or_insert_with(|| {
                open.push_back(next);
                at
            });
        }
    }
    reached
}

/// What a task waits for: its blockers, and the children of what it joins.
fn waits_for(draft: &Draft<'_>, (team, task): TaskKey) -> Vec<TaskId> {
    let mut all = draft.blocked_by((team, task)).to_vec();
    if let Some(joined) = draft.joined((team, task)) {
        let children = draft.all_children((team, joined));
        all.extend(children.filter(|id| *id != task));
    }
    all
}

fn waits_for_nothing(draft: &Draft<'_>, key: TaskKey) -> bool {
    draft.blocked_by(key).is_empty() && draft.joined(key).is_none()
}

/// What waits for a task: its dependants, and what joins its siblings and itself.
fn waited_for_by(draft: &Draft<'_>, (team, task): TaskKey) -> Vec<TaskId> {
    let mut all = draft.dependants((team, task)).to_vec();
    if let Some(parent) = draft.parent((team, task)) {
        let joins = draft.joins_on((team, parent));
        all.extend(joins.into_iter().filter(|id| *id != task));
    }
    all
}

/// Refuses a task that has just come on the board, or has come back, if it waits for itself over a
/// join: because it waits for one that joins it, or joins what waits for it. Only what waits for it
/// is searched: that is little, however many children are joined. `fields` name its blockers and
/// what it joins.
pub(crate) fn check_new(
    draft: &Draft<'_>,
    (team, task): TaskKey,
    fields: JoinFields,
) -> Result<(), Refusal> {
    let key = (team, task);
    if waits_for_nothing(draft, key) || waited_for_by(draft, key).is_empty() {
        return Ok(());
    }
    let joined = draft.joined(key);
    let blockers = draft.blocked_by(key);
    let is_awaited = |id: &TaskId| {
        blockers.contains(id) || joined.is_some() && draft.parent((team, *id)) == joined
    };
    let reached = reach(task, |at| waited_for_by(draft, (team, at)));
    let Some(mut step) = reached
        .keys()
        .copied()
        .find(|id| *id != task && is_awaited(id))
    else {
        return Ok(());
    };
    let field = match blockers.contains(&step) {
        true => fields.blocked_by,
        false => fields.joins,
    };
    let mut path = vec![task, step];
    while step != task {
        step = reached[&step];
        path.push(step);
    }
    Err(Refusal::Cycle { field, path })
}

/// The fields of a call that make a task wait for others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JoinFields {
    /// For single ones.
    pub(crate) blocked_by: &'static str,
    /// For all children of one.
    pub(crate) joins: &'static str,
}

/// Adds an edge between an end and another task. `field` is what named the other. Says whether the
/// edge is new: one that is there changes nothing (K4).
pub(crate) fn add_edge(
    draft: &mut Draft<'_>,
    team: TeamUid,
    end: &mut End,
    other: TaskId,
    field: &'static str,
) -> Result<bool, Obstacle> {
    let (task, blocker) = match end.is_blocker {
        true => (other, end.task),
        false => (end.task, other),
    };
    if task == blocker {
        return Err(Refusal::SelfEdge { field, task }.into());
    }
    if draft.status((team, other)).is_none() {
        return Err(draft.team(team).reference_unknown(field, other).into());
    }
    let present = draft.blocked_by((team, task));
    if present.contains(&blocker) {
        return Ok(false);
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
    if let Some(path) = end.circle(draft, team, other) {
        return Err(Refusal::Cycle { field, path }.into());
    }
    draft.task_mut((team, task))?.blocked_by.push(blocker);
    draft.note_edge(team, blocker, task, true);
    Ok(true)
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
