//! The tasks of a team that wait for workers, and those that workers run.
//!
//! A queue holds the tasks that differ in nothing that decides who may take them, and when. Its
//! first task is its head. Heads are kept by what they want of a worker, so that a round of
//! placement meets each kind of want once, and meets nothing that must wait anyhow: a queue whose
//! member is busy, or whose window is full, has no head.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Place, insert, release, remove};
use crate::{
    id::{AgentTypeName, InstanceId, MemberName, TaskId, TeamUid, WorkerName},
    limits::{self, RunningLimits},
    task::{AttemptEnding, Priority, Runner, Task},
    team::{Member, MemberKind},
    time::Time,
};

/// Who may run a task and when, and so in which queue it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue {
    /// What it wants of a worker.
    pub want: Arc<Want>,
    /// The hosted member that it belongs to, who runs one task at a time.
    pub member: Option<MemberName>,
    /// The task that it is part of, which may bound how many of its children run at once.
    pub parent: Option<TaskId>,
}

/// What a task wants of a worker, and with what it competes for one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// How it is run.
    pub agent_type: AgentTypeName,
    /// The only worker that may run it: its owner.
    pub worker: Option<WorkerName>,
    /// Labels that the worker must have, with these values.
    pub worker_labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Those of its own labels that bound how much runs at once.
    pub limited: BTreeSet<Arc<str>>,
    /// The workers that it is kept from for a while.
    pub avoids: Option<Avoids>,
}

/// Workers on which a task came to nothing lately, and to which it is not given again while another
/// could take it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Avoids {
    /// On these it was lost, be it with this process of theirs or an earlier one.
    pub workers: BTreeSet<WorkerName>,
    /// These processes refused it.
    pub instances: BTreeSet<InstanceId>,
    /// How urgent it is: the same for all tasks of a queue, so that the first of them is the first
    /// that is kept from nobody any more.
    pub priority: Priority,
}

impl Avoids {
    /// When a task at this place may go to any worker again.
    pub fn until(&self, (at, _): Place) -> Time {
        at + self.priority.bonus() + limits::AVOIDANCE
    }

    /// Whether this is one of them.
    pub fn has(&self, worker: &WorkerName, instance: InstanceId) -> bool {
        self.workers.contains(worker) || self.instances.contains(&instance)
    }
}

/// What is counted of a task that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) instance: InstanceId,
    pub(crate) member: Option<MemberName>,
    pub(crate) agent_type: Option<AgentTypeName>,
    pub(crate) limited: BTreeSet<Arc<str>>,
    pub(crate) parent: Option<TaskId>,
}

/// How many tasks workers have, over all teams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Running {
    pub(crate) all: u32,
    pub(crate) types: BTreeMap<AgentTypeName, u32>,
    /// By those labels that bound how much runs.
    pub(crate) labels: BTreeMap<Arc<str>, u32>,
}

impl Running {
    pub(crate) fn add(&mut self, placed: &Placed) {
        self.all += 1;
        if let Some(agent_type) = &placed.agent_type {
            *self.types.entry(agent_type.clone()).or_default() += 1;
        }
        for label in &placed.limited {
            *self.labels.entry(label.clone()).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, placed: &Placed) {
        self.all -= 1;
        if let Some(agent_type) = &placed.agent_type {
            release(&mut self.types, agent_type);
        }
        for label in &placed.limited {
            release(&mut self.labels, label);
        }
    }

    pub(crate) fn of_type(&self, agent_type: &AgentTypeName) -> u32 {
        self.types.get(agent_type).copied().unwrap_or(0)
    }

    pub(crate) fn of_label(&self, label: &str) -> u32 {
        self.labels.get(label).copied().unwrap_or(0)
    }
}

/// The teams that have a head of a type: those among which a round of placement looks.
pub(crate) type Queueing = BTreeMap<AgentTypeName, BTreeSet<TeamUid>>;

/// Where a team is listed while it has heads.
pub(crate) struct Listing<'l> {
    pub(crate) team: TeamUid,
    /// A team that is over is listed nowhere.
    pub(crate) is_open: bool,
    pub(crate) queueing: &'l mut Queueing,
}

impl Listing<'_> {
    fn enter(&mut self, agent_type: &AgentTypeName) {
        if self.is_open {
            insert(self.queueing, agent_type, self.team);
        }
    }

    fn leave(&mut self, agent_type: &AgentTypeName) {
        remove(self.queueing, agent_type, &self.team);
    }
}

/// The heads of queues by what they want, and by their places.
pub(crate) type Heads = BTreeMap<Arc<Want>, BTreeMap<Place, Arc<Queue>>>;

/// The tasks of a team that wait for workers, and those that workers run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Queues {
    pub(crate) lines: BTreeMap<Arc<Queue>, BTreeSet<Place>>,
    pub(crate) heads: BTreeMap<AgentTypeName, Heads>,
    pub(crate) of_member: BTreeMap<MemberName, BTreeSet<Arc<Queue>>>,
    pub(crate) of_parent: BTreeMap<TaskId, BTreeSet<Arc<Queue>>>,
    /// How many children of an open task may run at once, where that is bounded.
    pub(crate) windows: BTreeMap<TaskId, u32>,
    /// How many tasks workers have.
    pub(crate) running: u32,
    /// The task at which each hosted member is run.
    pub(crate) running_members: BTreeMap<MemberName, BTreeSet<TaskId>>,
    /// How many children of each task workers have.
    pub(crate) running_children: BTreeMap<TaskId, u32>,
}

impl Queues {
    pub(crate) fn is_member_busy(&self, member: &MemberName) -> bool {
        self.running_members.contains_key(member)
    }

    /// Whether so many more children of a task are as many as may run at once.
    pub(crate) fn is_window_full(&self, parent: TaskId, more: u32) -> bool {
        let window = self.windows.get(&parent);
        window.is_some_and(|window| self.children_running(parent) + more >= *window)
    }

    pub(crate) fn children_running(&self, parent: TaskId) -> u32 {
        self.running_children.get(&parent).copied().unwrap_or(0)
    }

    /// The queues of a hosted member's tasks.
    pub(crate) fn of_member(&self, member: &MemberName) -> impl Iterator<Item = &BTreeSet<Place>> {
        let queues = self.of_member.get(member).into_iter().flatten();
        queues.map(|queue| &self.lines[queue])
    }

    /// Puts a task in its queue, and answers the one queue that all who stand in it share.
    pub(crate) fn enqueue(
        &mut self,
        queue: Arc<Queue>,
        place: Place,
        listing: &mut Listing<'_>,
    ) -> Arc<Queue> {
        let queue = match self.lines.get_key_value(&queue) {
            Some((shared, _)) => shared.clone(),
            None => self.open(queue),
        };
        let places = self.lines.entry(queue.clone()).or_default();
        let first = places.first().copied();
        places.insert(place);
        if first.is_none_or(|first| place < first) {
            if let Some(first) = first {
                self.behead(&queue, first, listing);
            }
            self.head(&queue, place, listing);
        }
        queue
    }

    fn open(&mut self, queue: Arc<Queue>) -> Arc<Queue> {
        if let Some(member) = &queue.member {
            insert(&mut self.of_member, member, queue.clone());
        }
        if let Some(parent) = &queue.parent {
            insert(&mut self.of_parent, parent, queue.clone());
        }
        queue
    }

    pub(crate) fn dequeue(&mut self, queue: &Arc<Queue>, place: Place, listing: &mut Listing<'_>) {
        let Some(places) = self.lines.get_mut(queue) else {
            return;
        };
        places.remove(&place);
        let next = places.first().copied();
        self.behead(queue, place, listing);
        if let Some(next) = next {
            // It may have been the first all along.
            self.behead(queue, next, listing);
            return self.head(queue, next, listing);
        }
        self.lines.remove(queue);
        if let Some(member) = &queue.member {
            remove(&mut self.of_member, member, queue);
        }
        if let Some(parent) = &queue.parent {
            remove(&mut self.of_parent, parent, queue);
        }
    }

    /// Whether a queue must wait, whatever workers have to offer.
    pub(crate) fn is_held(&self, queue: &Queue) -> bool {
        let is_busy = |member| self.is_member_busy(member);
        queue.member.as_ref().is_some_and(is_busy)
            || queue
                .parent
                .is_some_and(|parent| self.is_window_full(parent, 0))
    }

    fn head(&mut self, queue: &Arc<Queue>, place: Place, listing: &mut Listing<'_>) {
        if self.is_held(queue) {
            return;
        }
        let agent_type = &queue.want.agent_type;
        if !self.heads.contains_key(agent_type) {
            listing.enter(agent_type);
        }
        let heads = self.heads.entry(agent_type.clone()).or_default();
        let heads = heads.entry(queue.want.clone()).or_default();
        heads.insert(place, queue.clone());
    }

    fn behead(&mut self, queue: &Arc<Queue>, place: Place, listing: &mut Listing<'_>) {
        let agent_type = &queue.want.agent_type;
        let Some(of_type) = self.heads.get_mut(agent_type) else {
            return;
        };
        let Some(heads) = of_type.get_mut(&queue.want) else {
            return;
        };
        heads.remove(&place);
        if heads.is_empty() {
            of_type.remove(&queue.want);
        }
        if of_type.is_empty() {
            self.heads.remove(agent_type);
            listing.leave(agent_type);
        }
    }

    /// Whether these queues are held has changed.
    fn head_again(&mut self, queues: Vec<Arc<Queue>>, listing: &mut Listing<'_>) {
        for queue in queues {
            if let Some(first) = self.lines[&queue].first().copied() {
                self.behead(&queue, first, listing);
                self.head(&queue, first, listing);
            }
        }
    }

    fn member_changed(&mut self, member: &MemberName, listing: &mut Listing<'_>) {
        let queues = self.of_member.get(member).into_iter().flatten();
        self.head_again(queues.cloned().collect(), listing);
    }

    fn parent_changed(&mut self, parent: TaskId, listing: &mut Listing<'_>) {
        let queues = self.of_parent.get(&parent).into_iter().flatten();
        self.head_again(queues.cloned().collect(), listing);
    }

    /// So many children of a task may run at once; 0 for as many as there are.
    pub(crate) fn set_window(&mut self, parent: TaskId, window: u32, listing: &mut Listing<'_>) {
        let before = match window {
            0 => self.windows.remove(&parent),
            window => self.windows.insert(parent, window),
        };
        if before.unwrap_or(0) != window {
            self.parent_changed(parent, listing);
        }
    }

    pub(crate) fn add_running(&mut self, task: TaskId, placed: &Placed, listing: &mut Listing<'_>) {
        self.running += 1;
        if let Some(member) = &placed.member {
            insert(&mut self.running_members, member, task);
            self.member_changed(member, listing);
        }
        if let Some(parent) = placed.parent {
            let was_full = self.is_window_full(parent, 0);
            *self.running_children.entry(parent).or_default() += 1;
            if self.is_window_full(parent, 0) != was_full {
                self.parent_changed(parent, listing);
            }
        }
    }

    pub(crate) fn remove_running(
        &mut self,
        task: TaskId,
        placed: &Placed,
        listing: &mut Listing<'_>,
    ) {
        self.running -= 1;
        if let Some(member) = &placed.member {
            remove(&mut self.running_members, member, &task);
            self.member_changed(member, listing);
        }
        if let Some(parent) = placed.parent {
            let was_full = self.is_window_full(parent, 0);
            release(&mut self.running_children, &parent);
            if self.is_window_full(parent, 0) != was_full {
                self.parent_changed(parent, listing);
            }
        }
    }
}

/// Who may run a task; none when it waits for a claim (K13).
pub(crate) fn queue_of(
    task: &Task,
    members: &BTreeMap<MemberName, Member>,
    limits: &RunningLimits,
) -> Option<Queue> {
    let owner = task
        .owner
        .as_ref()
        .and_then(|name| members.get(name))
        .filter(|member| member.is_present());
    let hosted = owner.filter(|member| member.kind == MemberKind::Hosted);
    let worker = owner.filter(|member| member.kind == MemberKind::Worker);
    let own_type = hosted.and_then(|member| member.agent_type.as_ref());
    let agent_type = task.agent_type.as_ref().or(own_type)?;
    let worker = worker.and_then(|member| WorkerName::parse(member.name.as_str()).ok());
    let want = Want {
        agent_type: agent_type.clone(),
        worker_labels: task.terms().worker_labels.clone(),
        limited: limited(task, limits),
        // Who may go to one worker only has no other to go to.
        avoids: if worker.is_some() { None } else { avoids(task) },
        worker,
    };
    Some(Queue {
        want: Arc::new(want),
        member: hosted.map(|member| member.name.clone()),
        parent: task.parent,
    })
}

/// Whether a worker is to run a task, whatever else it wants.
pub(crate) fn is_for_worker(task: &Task, members: &BTreeMap<MemberName, Member>) -> bool {
    queue_of(task, members, &RunningLimits::default()).is_some()
}

/// What is counted of a task that a worker has.
pub(crate) fn placed_of(
    task: &Task,
    members: &BTreeMap<MemberName, Member>,
    limits: &RunningLimits,
) -> Option<Placed> {
    let placement = task.placement()?;
    let queue = queue_of(task, members, limits);
    Some(Placed {
        instance: placement.instance,
        member: placement.member.clone(),
        agent_type: queue.map(|queue| queue.want.agent_type.clone()),
        limited: limited(task, limits),
        parent: task.parent,
    })
}

fn limited(task: &Task, limits: &RunningLimits) -> BTreeSet<Arc<str>> {
    let labels = task.labels.iter();
    let labels = labels.filter(|label| limits.labels.contains_key(*label));
    labels.cloned().collect()
}

/// The workers on which all of a task's latest attempts were lost, and the processes that refused
/// them. What never arrived says nothing of its worker.
fn avoids(task: &Task) -> Option<Avoids> {
    let was_refused = task.waiting().is_some_and(|waiting| waiting.refusals > 0);
    let (mut workers, mut instances) = (BTreeSet::new(), BTreeSet::new());
    for attempt in task.attempts.iter().rev() {
        let Runner::Worker(worker, instance) = &attempt.runner else {
            break;
        };
        match attempt.ending {
            AttemptEnding::Lost => {
                workers.insert(worker.clone());
            }
            AttemptEnding::HandedBack if was_refused => {
                instances.insert(*instance);
            }
            AttemptEnding::HandedBack => {}
            _ => break,
        }
    }
    let is_none = workers.is_empty() && instances.is_empty();
    (!is_none).then_some(Avoids {
        workers,
        instances,
        priority: task.priority,
    })
}
