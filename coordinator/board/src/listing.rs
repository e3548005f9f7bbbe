//! Walking a team's tasks in an order, from a place on.
//!
//! Each walk begins where the last one ended, in as many steps as it goes on for: no list is ever
//! sorted.

use std::collections::BTreeSet;

use crate::{
    board::{Board, TeamBoard},
    id::{TaskId, TeamUid},
    index::ByPriority,
    task::Priority,
};

/// In which order to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By id.
    #[default]
    Id,
    /// Those that are open by priority, the most urgent first, then by id; then those that are
    /// over, by id.
    Priority,
    /// Each task before its children.
    Tree,
}

/// Among which tasks to walk, so that few are met in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// All.
    All,
    /// Those that are not over.
    Open,
    /// Those that are pending and held back by nothing.
    Ready,
    /// Those that are part of this one; in the order of the tree all below it.
    Children(TaskId),
}

/// Where a walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At a task, by id or in the tree.
    Id(TaskId),
    /// At an open task of a priority.
    Open(Priority, TaskId),
    /// At a task that is over, after all that are open.
    Over(TaskId),
}

impl At {
    /// The task.
    pub fn task(self) -> TaskId {
        match self {
            Self::Id(id) | Self::Open(_, id) | Self::Over(id) => id,
        }
    }
}

impl Board {
    /// The tasks of a team after a place, in an order.
    pub fn walk(
        &self,
        uid: TeamUid,
        among: Among,
        order: Order,
        after: Option<At>,
    ) -> Box<dyn Iterator<Item = At> + '_> {
        let Some(team) = self.teams.get(&uid) else {
            return Box::new(std::iter::empty());
        };
        match order {
            Order::Id => by_id(team, among, after.map_or(TaskId(0), At::task)),
            Order::Priority => by_priority(team, among, after),
            Order::Tree => {
                let root = match among {
                    Among::Children(root) => root,
                    _ => TaskId(0),
                };
                let mut at = after.map_or(root, At::task);
                Box::new(std::iter::from_fn(move || {
                    at = next_in_tree(team, root, at)?;
                    Some(At::Id(at))
                }))
            }
        }
    }

    /// How many tasks a task lies below a root.
    pub fn depth(&self, uid: TeamUid, task: TaskId) -> u32 {
        let above = std::iter::successors(Some(task), |id| self.card((uid, *id))?.parent());
        u32::try_from(above.count() - 1).unwrap_or(u32::MAX)
    }

    /// Whether a task is this one, or lies below it.
    pub fn is_below(&self, uid: TeamUid, task: TaskId, root: TaskId) -> bool {
        let mut above = std::iter::successors(Some(task), |id| self.card((uid, *id))?.parent());
        above.any(|id| id == root)
    }
}

fn children(team: &TeamBoard, parent: TaskId) -> Option<&BTreeSet<TaskId>> {
    team.index.children.get(&parent)
}

fn by_id(team: &TeamBoard, among: Among, after: TaskId) -> Box<dyn Iterator<Item = At> + '_> {
    let rest = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
    match among {
        Among::All => Box::new(team.tasks.after(after).map(|(id, _)| At::Id(id))),
        Among::Open => Box::new(team.index.open.by_id(after).map(At::Id)),
        Among::Ready => Box::new(team.index.ready.by_id(after).map(At::Id)),
        Among::Children(parent) => {
            let children = children(team, parent).into_iter();
            Box::new(
                children
                    .flat_map(move |set| set.range(rest))
                    .map(|id| At::Id(*id)),
            )
        }
    }
}

fn by_priority(
    team: &TeamBoard,
    among: Among,
    after: Option<At>,
) -> Box<dyn Iterator<Item = At> + '_> {
    let open: &ByPriority = match among {
        Among::Ready => &team.index.ready,
        _ => &team.index.open,
    };
    let over_after = match after {
        Some(At::Over(id)) => Some(id),
        _ => None,
    };
    let from = match after {
        Some(At::Open(priority, id)) => Some((priority, id)),
        _ => None,
    };
    let urgent = open.by_priority(from).filter(move |_| over_after.is_none());
    let urgent = urgent.map(|(priority, id)| At::Open(priority, id));
    let is_child = move |id: &TaskId| match among {
        Among::Children(parent) => children(team, parent).is_some_and(|set| set.contains(id)),
        _ => true,
    };
    if !matches!(among, Among::All | Among::Children(_)) {
        return Box::new(urgent);
    }
    let over = team.tasks.after(over_after.unwrap_or_default());
    let over = over.filter(|(_, entry)| entry.card.status().is_terminal());
    let over = over.map(|(id, _)| At::Over(id));
    Box::new(urgent.chain(over).filter(move |at| is_child(&at.task())))
}

/// The task after one in the order of the tree below a root: its first child, else the next
/// sibling of it, or of the nearest above it that has one.
fn next_in_tree(team: &TeamBoard, root: TaskId, at: TaskId) -> Option<TaskId> {
    if let Some(first) = children(team, at).and_then(BTreeSet::first) {
        return Some(*first);
    }
    let mut at = at;
    while at != root {
        let parent = team.tasks.get(&at)?.card.parent().unwrap_or_default();
        let after = (std::ops::Bound::Excluded(at), std::ops::Bound::Unbounded);
        let next = children(team, parent).and_then(|set| set.range(after).next());
        if let Some(next) = next {
            return Some(*next);
        }
        at = parent;
    }
    None
}
