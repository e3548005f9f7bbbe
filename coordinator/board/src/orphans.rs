//! Orphans (D12): tasks that are open although what they depend on is over.
//!
//! A task is an orphan when the task that it is part of was cancelled, or is being stopped for
//! that; or when an attempt hired it that is there no more, however that ended. One that outlives
//! its parent never is. Being an orphan is derived, not written down: so the cancelling of a
//! parent of 100,000 is one small commit, from which on none of them can start; they are cancelled
//! after it step by step, also over a restart; and opening the parent again in between spares
//! those that are left.

use std::sync::Arc;

use crate::{
    board::{Board, Card, TeamBoard},
    draft::Draft,
    id::{AttemptNumber, TaskId, TaskKey, TeamUid},
    task::{AfterStop, Status, Task},
};

/// What of a task decides on those that depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Support {
    /// It was cancelled, or is being stopped for that.
    is_called_off: bool,
    /// Its attempt that a worker has.
    attempt: Option<AttemptNumber>,
}

impl Support {
    pub(crate) fn of(card: &Card) -> Self {
        match card {
            Card::Whole(task) => Self::of_task(task),
            Card::Outline(stub) => Self {
                is_called_off: Status::from(stub.status) == Status::Cancelled,
                attempt: None,
            },
        }
    }

    pub(crate) fn of_task(task: &Task) -> Self {
        Self {
            is_called_off: task.status() == Status::Cancelled || is_being_cancelled(task),
            attempt: task.placement().map(|placement| placement.attempt),
        }
    }
}

/// Whether a task's attempt is being stopped so that the task is cancelled then.
pub(crate) fn is_being_cancelled(task: &Task) -> bool {
    let stop = task.placement().and_then(|placed| placed.stop.as_ref());
    stop.is_some_and(|stop| stop.then == AfterStop::Cancel)
}

/// Why a task is an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// This one, which it is part of, was cancelled.
    Parent(TaskId),
    /// The attempt of this one that hired it is over.
    Hirer(TaskId),
}

impl Loss {
    /// What is over.
    pub(crate) fn of(self) -> TaskId {
        match self {
            Self::Parent(task) | Self::Hirer(task) => task,
        }
    }

    /// Why an orphan is cancelled, for a person.
    pub(crate) fn reason(self) -> Arc<str> {
        match self {
            Self::Parent(_) => "the task that it was part of was cancelled".into(),
            Self::Hirer(_) => "the attempt that hired it is over".into(),
        }
    }
}

/// What an open task has lost, if it is an orphan. `support` tells of what it depends on; none
/// where that isn't there. A parent may not be there while a board is loaded, and has its children
/// looked at again when it comes; a hirer may have been deleted.
fn loss(task: &Task, support: impl Fn(TaskId) -> Option<Support>) -> Option<Loss> {
    let terms = task.terms();
    if terms.outlives_parent || task.end().is_some() {
        return None;
    }
    if let Some(parent) = task.parent
        && support(parent).is_some_and(|support| support.is_called_off)
    {
        return Some(Loss::Parent(parent));
    }
    let hirer = terms.hired_by?;
    let present = support(hirer.task).and_then(|support| support.attempt);
    (present != Some(hirer.attempt)).then_some(Loss::Hirer(hirer.task))
}

/// What an open task of the board has lost, if it is an orphan.
pub(crate) fn loss_on_board(team: &TeamBoard, task: &Task) -> Option<Loss> {
    loss(task, |id| Some(Support::of(&team.tasks.get(&id)?.card)))
}

/// Whether a task is an orphan on the board.
pub(crate) fn is_orphan(team: &TeamBoard, task: &Task) -> bool {
    loss_on_board(team, task).is_some()
}

/// The tasks whose being orphans may have changed with this one, which was as it says before, if
/// it was there.
pub(crate) fn concerned(team: &TeamBoard, id: TaskId, before: Option<Support>) -> Vec<TaskId> {
    let now = team.tasks.get(&id).map(|entry| Support::of(&entry.card));
    let mut concerned = Vec::new();
    let was_called_off = before.unwrap_or_default().is_called_off;
    if now.unwrap_or_default().is_called_off != was_called_off
        && team.index.open_children.contains_key(&id)
        && let Some(children) = team.index.children.get(&id)
    {
        concerned.extend(children.iter());
    }
    if now != before
        && let Some(hired) = team.index.hired.get(&id)
    {
        concerned.extend(hired.iter().copied());
    }
    concerned
}

impl Draft<'_> {
    /// What an open task has lost, if it is an orphan.
    pub(crate) fn loss(&self, team: TeamUid, task: &Task) -> Option<Loss> {
        loss(task, |id| self.support((team, id)))
    }

    /// What of a task decides on those that depend on it; none where it isn't there.
    fn support(&self, key: TaskKey) -> Option<Support> {
        self.status(key)?;
        match self.drafted(key) {
            Some(task) => Some(Support::of_task(task)),
            None => self.board.card(key).map(Support::of),
        }
    }

    /// Whether a task was cancelled, or is being stopped for that.
    pub(crate) fn is_called_off(&self, key: TaskKey) -> bool {
        self.support(key)
            .is_some_and(|support| support.is_called_off)
    }
}

impl Board {
    /// Lists a task among the orphans that are still to be cancelled, or takes it off.
    pub(crate) fn see_to_orphan(&mut self, key: TaskKey) {
        let team = &self.teams[&key.0];
        let is_due = |card: &Card| match card {
            Card::Whole(task) => is_orphan(team, task) && !is_being_cancelled(task),
            Card::Outline(_) => false,
        };
        let entry = team.tasks.get(&key.1);
        if team.head.is_open() && entry.is_some_and(|entry| is_due(&entry.card)) {
            self.orphans.insert(key);
        } else {
            self.orphans.remove(&key);
        }
    }
}
