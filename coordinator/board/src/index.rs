//! What is derived from a team's tasks, kept in step with each change.

mod expiry;
mod joining;
mod queues;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use self::queues::{Avoids, Queue, Want};
pub(crate) use self::{
    expiry::{Expiries, Expiry},
    joining::{Joining, is_undone},
    queues::{Listing, Placed, Queueing, Queues, Running, is_for_worker, queue_of},
};
use crate::{
    event::Actor,
    id::{MemberName, TaskId},
    ids::IdSet,
    limits::{self, RunningLimits},
    task::{Priority, Status, Task, TaskState},
    team::Member,
    time::Time,
};

/// How many of the children that hold a join back are told.
pub(crate) const JOIN_SHOWN: usize = 20;

/// A task's place in its queue: the moment it became ready less what its priority is worth, then
/// its id. It never changes while the task waits, so that nothing is ever sorted again and
/// nothing starves.
pub type Place = (Time, TaskId);

/// What the indexes hold of one task. There is one for each task of the board, so what few have is
/// elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    pub(crate) queued: Option<Box<(Arc<Queue>, Place)>>,
    pub(crate) wakes_at: Option<Time>,
    /// As it was counted: its labels and its type may change while it runs.
    pub(crate) placed: Option<Box<Placed>>,
    /// Pending, and held back by nothing.
    pub(crate) is_ready: bool,
    /// Its place among those that wait for a claim.
    pub(crate) claimable: Option<Time>,
}

/// A board has a million tasks, each with its marks.
const _: () = assert!(size_of::<Marks>() <= 56);

fn at_least(least: Priority) -> impl Iterator<Item = Priority> {
    let all = [
        Priority::Low,
        Priority::Normal,
        Priority::High,
        Priority::Critical,
    ];
    all.into_iter().filter(move |each| *each >= least)
}

/// Tasks by how urgent they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ByPriority([IdSet; 4]);

impl ByPriority {
    fn of(&mut self, priority: Priority) -> &mut IdSet {
        &mut self.0[priority as usize]
    }

    pub(crate) fn insert(&mut self, priority: Priority, task: TaskId) {
        self.of(priority).insert(task);
    }

    pub(crate) fn remove(&mut self, priority: Priority, task: TaskId) {
        self.of(priority).remove(&task);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.iter().map(IdSet::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(IdSet::is_empty)
    }

    /// Those after an id, by id.
    pub fn by_id(&self, after: TaskId) -> impl Iterator<Item = TaskId> {
        let mut lines = self.0.each_ref().map(|set| set.after(after).peekable());
        std::iter::from_fn(move || {
            let heads = lines.iter_mut().enumerate();
            let heads = heads.filter_map(|(at, line)| Some((*line.peek()?, at)));
            let (_, at) = heads.min()?;
            lines[at].next()
        })
    }

    /// Those of a priority after an id, by id.
    pub fn of_priority(
        &self,
        priority: Priority,
        after: TaskId,
    ) -> impl Iterator<Item = TaskId> + '_ {
        self.0[priority as usize].after(after)
    }
}

/// What is derived from a team's tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TeamIndex {
    pub(crate) dependants: BTreeMap<TaskId, Vec<TaskId>>,
    pub(crate) queues: Queues,
    /// How many tasks are being stopped.
    pub(crate) stopping: usize,
    pub(crate) claimed: BTreeSet<TaskId>,
    /// The tasks that each member holds by a claim.
    pub(crate) holding: BTreeMap<MemberName, BTreeSet<TaskId>>,
    /// What the sub-agents of tasks hold by claims, by those tasks.
    pub(crate) lent: BTreeMap<TaskId, BTreeSet<TaskId>>,
    /// Tasks that are not over.
    pub(crate) open: ByPriority,
    /// Tasks that are.
    pub(crate) over: IdSet,
    /// Tasks that are pending and held back by nothing.
    pub(crate) ready: ByPriority,
    /// Ready tasks that wait for a claim, by whose they are and how urgent.
    pub(crate) claimable: BTreeMap<(Option<MemberName>, Priority), BTreeSet<Place>>,
    /// Those of them that are nobody's, by their labels.
    pub(crate) labelled: BTreeMap<(Arc<str>, Priority), BTreeSet<Place>>,
    /// Tasks that are not over, by their owners.
    pub(crate) owned: BTreeMap<MemberName, BTreeSet<TaskId>>,
    /// Tasks by what they are part of; those that are part of nothing under 0.
    pub(crate) children: BTreeMap<TaskId, IdSet>,
    /// How many children of a task are not over.
    pub(crate) open_children: BTreeMap<TaskId, u32>,
    /// Tasks that are not over, by the tasks whose sub-agents hired them.
    pub(crate) hired: BTreeMap<TaskId, BTreeSet<TaskId>>,
    /// What holds joins back, and which there are.
    pub(crate) joining: Joining,
    pub(crate) counts: BTreeMap<Status, usize>,
    /// Those that are over, in the order in which they leave.
    pub(crate) expiry: Expiry,
}

impl TeamIndex {
    pub(crate) fn dependants(&self, task: TaskId) -> &[TaskId] {
        self.dependants.get(&task).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn claimed(&self) -> impl Iterator<Item = &TaskId> {
        self.claimed.iter()
    }

    /// Enters what the card alone says, whatever it waits for.
    pub(crate) fn enter(&mut self, task: &Task) {
        if task.end().is_some() {
            return;
        }
        self.open.insert(task.priority, task.id);
        if let Some(parent) = task.parent {
            *self.open_children.entry(parent).or_default() += 1;
        }
        if let Some(hirer) = task.terms().hired_by {
            insert(&mut self.hired, &hirer.task, task.id);
        }
        if let Some(owner) = &task.owner {
            insert(&mut self.owned, owner, task.id);
        }
        if let Some(claim) = task.claim() {
            self.claimed.insert(task.id);
            match &claim.by {
                Actor::Member(by) => insert(&mut self.holding, by, task.id),
                Actor::Task(by) => insert(&mut self.lent, by, task.id),
                Actor::Worker(_) | Actor::Coordinator => {}
            }
        }
        self.stopping += usize::from(is_stopping(task));
    }

    /// Takes out what [`Self::enter`] entered.
    pub(crate) fn leave(&mut self, task: &Task) {
        if task.end().is_some() {
            return;
        }
        self.open.remove(task.priority, task.id);
        if let Some(parent) = task.parent {
            release(&mut self.open_children, &parent);
        }
        if let Some(hirer) = task.terms().hired_by {
            remove(&mut self.hired, &hirer.task, &task.id);
        }
        if let Some(owner) = &task.owner {
            remove(&mut self.owned, owner, &task.id);
        }
        if let Some(claim) = task.claim() {
            self.claimed.remove(&task.id);
            match &claim.by {
                Actor::Member(by) => remove(&mut self.holding, by, &task.id),
                Actor::Task(by) => remove(&mut self.lent, by, &task.id),
                Actor::Worker(_) | Actor::Coordinator => {}
            }
        }
        self.stopping -= usize::from(is_stopping(task));
    }

    pub(crate) fn adopt(&mut self, parent: Option<TaskId>, task: TaskId) {
        let parent = parent.unwrap_or_default();
        self.children.entry(parent).or_default().insert(task);
    }

    pub(crate) fn disown(&mut self, parent: Option<TaskId>, task: TaskId) {
        let parent = parent.unwrap_or_default();
        if let Some(children) = self.children.get_mut(&parent) {
            children.remove(&task);
            if children.is_empty() {
                self.children.remove(&parent);
            }
        }
    }

    /// Lists a ready task among those that wait for a claim.
    pub(crate) fn offer(&mut self, task: &Task, place: Place) {
        let (owner, priority) = (task.owner.clone(), task.priority);
        insert(&mut self.claimable, &(owner, priority), place);
        for label in unowned_labels(task) {
            insert(&mut self.labelled, &(label.clone(), priority), place);
        }
    }

    pub(crate) fn withdraw(&mut self, task: &Task, place: Place) {
        let (owner, priority) = (task.owner.clone(), task.priority);
        remove(&mut self.claimable, &(owner, priority), &place);
        for label in unowned_labels(task) {
            remove(&mut self.labelled, &(label.clone(), priority), &place);
        }
    }

    /// The places of those that wait for a claim, are this one's and at least so urgent.
    pub(crate) fn claimable_by<'i>(
        &'i self,
        owner: &'i Option<MemberName>,
        least: Priority,
    ) -> impl Iterator<Item = &'i BTreeSet<Place>> {
        let lines = at_least(least);
        lines.filter_map(move |priority| self.claimable.get(&(owner.clone(), priority)))
    }

    /// The places of those that wait for a claim, are nobody's, have this label and are at least
    /// so urgent.
    pub(crate) fn labelled_with<'i>(
        &'i self,
        label: &'i Arc<str>,
        least: Priority,
    ) -> impl Iterator<Item = &'i BTreeSet<Place>> {
        let lines = at_least(least);
        lines.filter_map(move |priority| self.labelled.get(&(label.clone(), priority)))
    }

    pub(crate) fn queued(&self) -> usize {
        self.queues.lines.values().map(BTreeSet::len).sum()
    }

    pub(crate) fn in_status(&self, status: Status) -> usize {
        self.counts.get(&status).copied().unwrap_or(0)
    }

    pub(crate) fn count(&mut self, before: Option<Status>, after: Status) {
        if before == Some(after) {
            return;
        }
        if let Some(before) = before {
            release(&mut self.counts, &before);
        }
        *self.counts.entry(after).or_default() += 1;
    }

    /// Counts one that is there no more.
    pub(crate) fn uncount(&mut self, status: Status) {
        release(&mut self.counts, &status);
    }

    /// Follows a task's edges from what they were to what they are.
    pub(crate) fn rewire(&mut self, task: TaskId, old: &[TaskId], new: &[TaskId]) {
        for blocker in old.iter().filter(|id| !new.contains(id)) {
            if let Some(list) = self.dependants.get_mut(blocker) {
                list.retain(|id| *id != task);
                if list.is_empty() {
                    self.dependants.remove(blocker);
                }
            }
        }
        for blocker in new.iter().filter(|id| !old.contains(id)) {
            let list = self.dependants.entry(*blocker).or_default();
            if let Err(place) = list.binary_search(&task) {
                list.insert(place, task);
            }
        }
    }
}

fn insert<K: Ord + Clone, T: Ord>(sets: &mut BTreeMap<K, BTreeSet<T>>, key: &K, item: T) {
    if let Some(set) = sets.get_mut(key) {
        set.insert(item);
    } else {
        sets.insert(key.clone(), BTreeSet::from([item]));
    }
}

fn remove<K: Ord, T: Ord>(sets: &mut BTreeMap<K, BTreeSet<T>>, key: &K, item: &T) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(item);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

/// Counts one down, and forgets what is at none.
fn release<K: Ord, N: Copy + PartialEq + std::ops::SubAssign + From<u8>>(
    counts: &mut BTreeMap<K, N>,
    key: &K,
) {
    if let Some(count) = counts.get_mut(key) {
        *count -= N::from(1);
        if *count == N::from(0) {
            counts.remove(key);
        }
    }
}

fn unowned_labels(task: &Task) -> &[Arc<str>] {
    match task.owner {
        None => &task.labels,
        Some(_) => &[],
    }
}

fn is_stopping(task: &Task) -> bool {
    let placement = task.placement();
    placement.is_some_and(|placement| placement.stop.is_some())
}

/// A ready task's place.
fn place_of(since: Time, task: &Task) -> Place {
    (since - task.priority.bonus(), task.id)
}

/// What the indexes are to hold of a task. It is held back by what it waits for, or because it is
/// an orphan.
pub(crate) fn marks(
    task: &Task,
    members: &BTreeMap<MemberName, Member>,
    is_held_back: bool,
    limits: &RunningLimits,
) -> Marks {
    let mut marks = Marks {
        wakes_at: wakes_at(task),
        ..Marks::default()
    };
    match &task.state {
        TaskState::Pending(waiting) if !is_held_back && waiting.is_free() => {
            let (at, id) = place_of(waiting.since, task);
            marks.is_ready = true;
            match queue_of(task, members, limits) {
                Some(queue) => marks.queued = Some(Box::new((Arc::new(queue), (at, id)))),
                None => marks.claimable = Some(at),
            }
        }
        TaskState::Placed(_) => {
            marks.placed = queues::placed_of(task, members, limits).map(Box::new);
        }
        _ => {}
    }
    marks
}

/// When a task wants to be looked at although nobody asks.
pub(crate) fn wakes_at(task: &Task) -> Option<Time> {
    wakes_since(task, Time(0))
}

/// The same if what the coordinator itself measures of an attempt counts from this moment at the
/// earliest.
pub(crate) fn wakes_since(task: &Task, since: Time) -> Option<Time> {
    let own = match &task.state {
        TaskState::Pending(waiting) => waiting.not_before,
        TaskState::Claimed(claim) => claim.lease_until(),
        TaskState::Placed(placement) => {
            if let Some(stop) = &placement.stop {
                // The one clock of a stopping attempt; its deadline is in it already.
                return Some(stop.at.max(since) + limits::STOP_CONFIRM_TIMEOUT);
            }
            match placement.started_at {
                None => Some(placement.dispatched_at.max(since) + limits::START_TIMEOUT),
                Some(started) => {
                    let asked = placement.question.as_ref();
                    let answer = asked.map(|asked| asked.deadline);
                    [placement.runs_out_at(started.max(since)), answer]
                        .into_iter()
                        .flatten()
                        .min()
                }
            }
        }
        TaskState::Ended(_) => return None,
    };
    [own, task.deadline].into_iter().flatten().min()
}
