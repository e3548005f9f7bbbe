//! What is derived from a team's tasks, kept in step with each change.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{AgentTypeName, InstanceId, MemberName, TaskId, WorkerName},
    limits,
    task::{Status, Task, TaskState},
    team::{Member, MemberKind},
    time::Time,
};

/// Who may run a task, and so in which queue it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue {
    /// How it is run.
    pub agent_type: AgentTypeName,
    /// The only worker that may run it: its owner.
    pub worker: Option<WorkerName>,
    /// The hosted member that it belongs to, who runs one task at a time.
    pub member: Option<MemberName>,
}

/// A task's place in its queue: the moment it became ready less what its priority is worth, then
/// its id. It never changes while the task waits, so that nothing is ever sorted again and
/// nothing starves.
pub type Place = (Time, TaskId);

/// What the indexes hold of one task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    pub(crate) queued: Option<(Queue, Place)>,
    pub(crate) wakes_at: Option<Time>,
    pub(crate) placed: Option<(InstanceId, Option<MemberName>)>,
}

/// What is derived from a team's tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TeamIndex {
    pub(crate) dependants: BTreeMap<TaskId, Vec<TaskId>>,
    pub(crate) queues: BTreeMap<Queue, BTreeSet<Place>>,
    pub(crate) running: u32,
    pub(crate) running_members: BTreeMap<MemberName, u32>,
    pub(crate) claimed: BTreeSet<TaskId>,
    pub(crate) counts: BTreeMap<Status, usize>,
}

impl TeamIndex {
    pub(crate) fn dependants(&self, task: TaskId) -> &[TaskId] {
        self.dependants.get(&task).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn queues(&self) -> impl Iterator<Item = (&Queue, &BTreeSet<Place>)> {
        self.queues.iter()
    }

    pub(crate) fn running(&self) -> u32 {
        self.running
    }

    pub(crate) fn is_member_busy(&self, member: &MemberName) -> bool {
        self.running_members.contains_key(member)
    }

    pub(crate) fn claimed(&self) -> impl Iterator<Item = &TaskId> {
        self.claimed.iter()
    }

    pub(crate) fn set_claimed(&mut self, task: TaskId, is_claimed: bool) {
        if is_claimed {
            self.claimed.insert(task);
        } else {
            self.claimed.remove(&task);
        }
    }

    pub(crate) fn queued(&self) -> usize {
        self.queues.values().map(BTreeSet::len).sum()
    }

    pub(crate) fn in_status(&self, status: Status) -> usize {
        self.counts.get(&status).copied().unwrap_or(0)
    }

    pub(crate) fn is_queue_empty(&self) -> bool {
        self.queues.is_empty()
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

    pub(crate) fn enqueue(&mut self, queue: &Queue, place: Place) {
        if let Some(places) = self.queues.get_mut(queue) {
            places.insert(place);
        } else {
            self.queues.insert(queue.clone(), BTreeSet::from([place]));
        }
    }

    pub(crate) fn dequeue(&mut self, queue: &Queue, place: Place) {
        if let Some(places) = self.queues.get_mut(queue) {
            places.remove(&place);
            if places.is_empty() {
                self.queues.remove(queue);
            }
        }
    }

    pub(crate) fn add_running(&mut self, member: Option<&MemberName>) {
        self.running += 1;
        if let Some(member) = member {
            *self.running_members.entry(member.clone()).or_default() += 1;
        }
    }

    pub(crate) fn remove_running(&mut self, member: Option<&MemberName>) {
        self.running -= 1;
        if let Some(member) = member {
            release(&mut self.running_members, member);
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

/// Who may run a task; none when it waits for a claim (K13).
pub(crate) fn queue_of(task: &Task, members: &BTreeMap<MemberName, Member>) -> Option<Queue> {
    let owner = task
        .owner
        .as_ref()
        .and_then(|name| members.get(name))
        .filter(|member| member.is_present());
    let hosted = owner.filter(|member| member.kind == MemberKind::Hosted);
    let worker = owner.filter(|member| member.kind == MemberKind::Worker);
    let own_type = hosted.and_then(|member| member.agent_type.as_ref());
    let agent_type = task.agent_type.as_ref().or(own_type)?;
    Some(Queue {
        agent_type: agent_type.clone(),
        worker: worker.and_then(|member| WorkerName::parse(member.name.as_str()).ok()),
        member: hosted.map(|member| member.name.clone()),
    })
}

/// What the indexes are to hold of a task.
pub(crate) fn marks(
    task: &Task,
    members: &BTreeMap<MemberName, Member>,
    is_blocked: bool,
) -> Marks {
    let mut marks = Marks {
        wakes_at: wakes_at(task),
        ..Marks::default()
    };
    match &task.state {
        TaskState::Pending(waiting) if !is_blocked && waiting.not_before.is_none() => {
            let place = (waiting.since - task.priority.bonus(), task.id);
            marks.queued = queue_of(task, members).map(|queue| (queue, place));
        }
        TaskState::Placed(placement) => {
            marks.placed = Some((placement.instance, placement.member.clone()));
        }
        _ => {}
    }
    marks
}

/// When a task wants to be looked at although nobody asks.
pub(crate) fn wakes_at(task: &Task) -> Option<Time> {
    let own = match &task.state {
        TaskState::Pending(waiting) => waiting.not_before,
        TaskState::Claimed(_) => None,
        TaskState::Placed(placement) => {
            if let Some(stop) = &placement.stop {
                // The one clock of a stopping attempt; its deadline is in it already.
                return Some(stop.at + limits::STOP_CONFIRM_TIMEOUT);
            }
            match (placement.started_at, placement.run_limit) {
                (None, _) => Some(placement.dispatched_at + limits::START_TIMEOUT),
                (Some(started), Some(limit)) => Some(started + limit + limits::RUN_LIMIT_BACKSTOP),
                (Some(_), None) => None,
            }
        }
        TaskState::Ended(_) => return None,
    };
    [own, task.deadline].into_iter().flatten().min()
}
