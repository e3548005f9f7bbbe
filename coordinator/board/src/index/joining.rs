//! Joins: tasks that wait for all that is part of another, as if each of these were a blocker.
//!
//! What may hold a join back is counted by the parent, so that the end of one child of many looks
//! at no other. A join that is a child of that parent itself never waits for itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    board::Card,
    id::TaskId,
    ids::IdSet,
    task::{BlockerFailedPolicy, EndStatus, Status, Task},
};

/// What the children of a task are to those that join them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Not over; or over, and those that wait for it still to be looked after.
    Open,
    /// Over, and not completed.
    Undone,
    /// Completed.
    Done,
}

fn kind(card: &Card) -> Kind {
    match card.status() {
        _ if card.is_cascade_due() => Kind::Open,
        Status::Pending | Status::InProgress => Kind::Open,
        Status::Completed => Kind::Done,
        Status::Failed | Status::Cancelled => Kind::Undone,
    }
}

/// The children of a task that did not complete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Brood {
    open: IdSet,
    undone: IdSet,
}

/// What may hold joins back, and the joins that are not over, by the tasks whose children they wait
/// for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Joining {
    broods: BTreeMap<TaskId, Brood>,
    joins: BTreeMap<TaskId, BTreeSet<TaskId>>,
}

impl Joining {
    /// Enters what a card says of its part in joins.
    pub(crate) fn enter(&mut self, id: TaskId, card: &Card) {
        if let Some(parent) = card.parent() {
            match kind(card) {
                Kind::Open => self.broods.entry(parent).or_default().open.insert(id),
                Kind::Undone => self.broods.entry(parent).or_default().undone.insert(id),
                Kind::Done => {}
            }
        }
        if let Some(joined) = joined(card) {
            self.joins.entry(joined).or_default().insert(id);
        }
    }

    /// Takes out what [`Self::enter`] entered.
    pub(crate) fn leave(&mut self, id: TaskId, card: &Card) {
        if let Some(parent) = card.parent()
            && let Some(brood) = self.broods.get_mut(&parent)
        {
            brood.open.remove(&id);
            brood.undone.remove(&id);
            if brood.open.is_empty() && brood.undone.is_empty() {
                self.broods.remove(&parent);
            }
        }
        if let Some(joined) = joined(card)
            && let Some(joins) = self.joins.get_mut(&joined)
        {
            joins.remove(&id);
            if joins.is_empty() {
                self.joins.remove(&joined);
            }
        }
    }

    /// The joins that wait for the children of a task.
    pub(crate) fn joins(&self, parent: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        self.joins.get(&parent).into_iter().flatten().copied()
    }

    /// How much may hold joins back among the children of a task: what changes nothing of this
    /// frees none, and holds none back. Two of a kind are as good as more, for a join doesn't
    /// count itself.
    pub(crate) fn weight(&self, parent: TaskId) -> (usize, usize) {
        let brood = self.broods.get(&parent);
        brood.map_or((0, 0), |brood| {
            (brood.open.len().min(2), brood.undone.len().min(2))
        })
    }

    /// How many children hold a join back.
    pub(crate) fn held_by(&self, join: &Task) -> usize {
        let Some(brood) = join.terms().joins.and_then(|id| self.broods.get(&id)) else {
            return 0;
        };
        let counted = |set: &IdSet| set.len() - usize::from(set.contains(&join.id));
        let undone = match join.blocker_failed_policy {
            BlockerFailedPolicy::Proceed => 0,
            BlockerFailedPolicy::Wait | BlockerFailedPolicy::Cancel => counted(&brood.undone),
        };
        counted(&brood.open) + undone
    }

    /// The children that hold a join back: those that are open first.
    pub(crate) fn holders(&self, join: &Task) -> impl Iterator<Item = TaskId> + '_ {
        let brood = join.terms().joins.and_then(|id| self.broods.get(&id));
        let (own, policy) = (join.id, join.blocker_failed_policy);
        let undone = brood.filter(|_| policy != BlockerFailedPolicy::Proceed);
        let open = brood.into_iter().flat_map(|brood| brood.open.iter());
        let undone = undone.into_iter().flat_map(|brood| brood.undone.iter());
        open.chain(undone).filter(move |id| *id != own)
    }

    /// The children of a task that are over, and did not complete.
    pub(crate) fn undone(&self, parent: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        let brood = self.broods.get(&parent).into_iter();
        brood.flat_map(|brood| brood.undone.iter())
    }

    /// Whether a child of a task completed, and all that waited for it was looked after.
    pub(crate) fn is_done(&self, parent: TaskId, child: TaskId) -> bool {
        self.broods
            .get(&parent)
            .is_none_or(|brood| !brood.open.contains(&child) && !brood.undone.contains(&child))
    }
}

/// The task whose children an open task waits for.
fn joined(card: &Card) -> Option<TaskId> {
    match card {
        Card::Whole(task) if task.end().is_none() => task.terms().joins,
        Card::Whole(_) | Card::Outline(_) => None,
    }
}

/// Whether a task is over, and did not complete.
pub(crate) fn is_undone(task: &Task) -> bool {
    task.end()
        .is_some_and(|end| end.status != EndStatus::Completed)
}
