//! Walking a team's tasks in an order, from a place on.
//!
//! Each walk begins where the last one ended, in as many steps as it goes on for: no list is ever
//! sorted.

use crate::{
    board::{Board, Card, TeamBoard},
    id::{TaskId, TeamUid},
    ids::IdSet,
    refusal::Refusal,
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
    /// The tasks of a team after a place, in an order. In that of the tree a place that was
    /// deleted since, or never was, is refused: nothing tells where it would be.
    pub fn walk(
        &self,
        uid: TeamUid,
        among: Among,
        order: Order,
        after: Option<At>,
    ) -> Result<Box<dyn Iterator<Item = At> + '_>, Refusal> {
        let Some(team) = self.teams.get(&uid) else {
            return Ok(Box::new(std::iter::empty()));
        };
        match order {
            Order::Id => Ok(by_id(team, among, after.map_or(TaskId(0), At::task))),
            Order::Priority => Ok(by_priority(team, among, after)),
            Order::Tree => {
                let root = match among {
                    Among::Children(root) => root,
                    _ => TaskId(0),
                };
                let at = after.map_or(root, At::task);
                let is_there = root == TaskId(0) || self.is_below(uid, at, root);
                if at != root && !(is_there && team.tasks.contains_key(&at)) {
                    return Err(Refusal::BadValue {
                        field: "page_token",
                        why: format!("names #{at}, which is in this tree no more: begin again"),
                    });
                }
                Ok(Box::new(in_tree(team, root, at)))
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

fn children(team: &TeamBoard, parent: TaskId) -> Option<&IdSet> {
    team.index.children.get(&parent)
}

fn by_id(team: &TeamBoard, among: Among, after: TaskId) -> Box<dyn Iterator<Item = At> + '_> {
    match among {
        Among::All => Box::new(team.tasks.after(after).map(|(id, _)| At::Id(id))),
        Among::Open => Box::new(team.index.open.by_id(after).map(At::Id)),
        Among::Ready => Box::new(team.index.ready.by_id(after).map(At::Id)),
        Among::Children(parent) => {
            let children = children(team, parent).into_iter();
            Box::new(children.flat_map(move |set| set.after(after)).map(At::Id))
        }
    }
}

/// The lines of a list by priority: the open ones of each priority, and at last those that are
/// over.
const LINES: [Option<Priority>; 5] = [
    Some(Priority::Critical),
    Some(Priority::High),
    Some(Priority::Normal),
    Some(Priority::Low),
    None,
];

fn by_priority(
    team: &TeamBoard,
    among: Among,
    after: Option<At>,
) -> Box<dyn Iterator<Item = At> + '_> {
    let (first, from) = match after {
        Some(At::Open(priority, id)) => (Some(priority), id),
        Some(At::Over(id)) => (None, id),
        Some(At::Id(_)) | None => (LINES[0], TaskId(0)),
    };
    let lines = LINES.into_iter().skip_while(move |line| *line != first);
    Box::new(lines.flat_map(move |line| {
        let after = if line == first { from } else { TaskId(0) };
        line_of(team, among, line, after).map(move |id| match line {
            Some(priority) => At::Open(priority, id),
            None => At::Over(id),
        })
    }))
}

/// One line of a list by priority, by id. Each step goes to the next of it, but for the children
/// of a task, of which all are passed in each line.
fn line_of(
    team: &TeamBoard,
    among: Among,
    line: Option<Priority>,
    after: TaskId,
) -> Box<dyn Iterator<Item = TaskId> + '_> {
    match (among, line) {
        (Among::All | Among::Open, Some(priority)) => {
            Box::new(team.index.open.of_priority(priority, after))
        }
        (Among::Ready, Some(priority)) => Box::new(team.index.ready.of_priority(priority, after)),
        (Among::All, None) => Box::new(team.index.over.after(after)),
        (Among::Open | Among::Ready, None) => Box::new(std::iter::empty()),
        (Among::Children(parent), line) => {
            let children = children(team, parent).into_iter();
            let children = children.flat_map(move |set| set.after(after));
            Box::new(children.filter(move |id| line_in(team, *id) == line))
        }
    }
}

/// The line in which a task stands.
fn line_in(team: &TeamBoard, id: TaskId) -> Option<Priority> {
    match &team.tasks[&id].card {
        Card::Whole(task) if task.end().is_none() => Some(task.priority),
        Card::Whole(_) | Card::Outline(_) => None,
    }
}

fn in_tree(team: &TeamBoard, root: TaskId, mut at: TaskId) -> impl Iterator<Item = At> + '_ {
    std::iter::from_fn(move || {
        at = next_in_tree(team, root, at)?;
        Some(At::Id(at))
    })
}

/// The task after one in the order of the tree below a root: its first child, else the next
/// sibling of it, or of the nearest above it that has one.
fn next_in_tree(team: &TeamBoard, root: TaskId, at: TaskId) -> Option<TaskId> {
    if let Some(first) = children(team, at).and_then(|set| set.iter().next()) {
        return Some(first);
    }
    let mut at = at;
    while at != root {
        let parent = team.tasks.get(&at)?.card.parent().unwrap_or_default();
        let next = children(team, parent).and_then(|set| set.after(at).next());
        if next.is_some() {
            return next;
        }
        at = parent;
    }
    None
}
