//! What waits for workers and what they run, worked out once more in the plainest way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Checked, same};
use crate::{
    board::{Board, TeamBoard},
    id::{AgentTypeName, TeamUid, WorkerName},
    index::{Avoids, Place, Placed, Queue, Queueing, Queues, Running, Want},
    limits::RunningLimits,
    task::{AttemptEnding, Runner, Task},
    team::{Member, MemberKind},
};

/// What is counted over all teams.
#[derive(Default)]
pub(super) struct Waiting {
    queueing: Queueing,
    running: Running,
}

impl Waiting {
    /// Adds a team, whose queues without heads these are.
    pub(super) fn team(&mut self, uid: TeamUid, team: &TeamBoard, mut queues: Queues) -> Checked {
        for (queue, places) in &queues.lines {
            if let Some(member) = &queue.member {
                let of_member = queues.of_member.entry(member.clone()).or_default();
                of_member.insert(queue.clone());
            }
            if let Some(parent) = &queue.parent {
                let of_parent = queues.of_parent.entry(*parent).or_default();
                of_parent.insert(queue.clone());
            }
            let busy = queue.member.iter();
            let mut busy = busy.filter(|member| queues.running_members.contains_key(*member));
            let full = queue.parent.iter().filter(|parent| {
                let running = queues.running_children.get(*parent).copied().unwrap_or(0);
                let window = queues.windows.get(*parent);
                window.is_some_and(|window| running >= *window)
            });
            if busy.next().is_some() || full.count() > 0 {
                continue;
            }
            let heads = queues.heads.entry(queue.want.agent_type.clone());
            let heads = heads.or_default().entry(queue.want.clone()).or_default();
            heads.extend(places.first().map(|first| (*first, queue.clone())));
            if team.head.is_open() {
                let teams = self.queueing.entry(queue.want.agent_type.clone());
                teams.or_default().insert(uid);
            }
        }
        let kept = &team.index.queues;
        same(8, "queues", &kept.lines, &queues.lines)?;
        same(8, "heads", &kept.heads, &queues.heads)?;
        same(8, "queues of members", &kept.of_member, &queues.of_member)?;
        same(8, "queues of parents", &kept.of_parent, &queues.of_parent)?;
        same(9, "windows", &kept.windows, &queues.windows)?;
        same(9, "running", kept.running, queues.running)?;
        let (children, derived) = (&kept.running_children, &queues.running_children);
        same(9, "running children", children, derived)?;
        let (members, derived) = (&kept.running_members, &queues.running_members);
        same(9, "running members", members, derived)
    }

    /// Counts a task that a worker has.
    pub(super) fn placed(&mut self, team: &TeamBoard, task: &Task, limits: &RunningLimits) {
        self.running.add(&Placed {
            instance: task.placement().expect("it is placed").instance,
            member: None,
            agent_type: agent_type(team, task),
            limited: limited(task, limits),
            parent: None,
        });
    }

    pub(super) fn check(&self, board: &Board) -> Checked {
        same(8, "queueing", &board.queueing, &self.queueing)?;
        same(9, "running in all", &board.running, &self.running)
    }
}

/// Puts a ready task in its queue; false when it waits for a claim (K13).
pub(super) fn enqueue(
    team: &TeamBoard,
    task: &Task,
    place: Place,
    limits: &RunningLimits,
    queues: &mut Queues,
) -> bool {
    let Some(agent_type) = agent_type(team, task) else {
        return false;
    };
    let worker = owner(team, task, MemberKind::Worker);
    let worker = worker.map(|member| WorkerName::parse(member.name.as_str()));
    let worker = worker.map(|name| name.expect("a worker's name as a member is its own"));
    let terms = task.terms.as_deref();
    let want = Want {
        agent_type,
        worker_labels: terms.map_or_else(BTreeMap::new, |terms| terms.worker_labels.clone()),
        limited: limited(task, limits),
        avoids: avoids(task).filter(|_| worker.is_none()),
        worker,
    };
    let queue = Queue {
        want: Arc::new(want),
        member: owner(team, task, MemberKind::Hosted).map(|member| member.name.clone()),
        parent: task.parent,
    };
    let line = queues.lines.entry(Arc::new(queue)).or_default();
    line.insert(place)
}

fn owner<'t>(team: &'t TeamBoard, task: &Task, kind: MemberKind) -> Option<&'t Member> {
    let owner = team.members.get(task.owner.as_ref()?)?;
    (owner.is_present() && owner.kind == kind).then_some(owner)
}

fn agent_type(team: &TeamBoard, task: &Task) -> Option<AgentTypeName> {
    let hosted = owner(team, task, MemberKind::Hosted);
    match &task.agent_type {
        Some(agent_type) => Some(agent_type.clone()),
        None => hosted?.agent_type.clone(),
    }
}

fn limited(task: &Task, limits: &RunningLimits) -> BTreeSet<Arc<str>> {
    let bounded = limits.labels.keys();
    let of_task = bounded.filter(|label| task.labels.contains(label));
    of_task.cloned().collect()
}

/// Whom a task is kept from: those who lost it, and those whose refusal it waits after, since
/// anything else came of it.
fn avoids(task: &Task) -> Option<Avoids> {
    let came_to_nothing =
        |ending| matches!(ending, AttemptEnding::Lost | AttemptEnding::HandedBack);
    let attempts = &task.attempts;
    let since = attempts.iter().rposition(|attempt| {
        let is_claim = matches!(attempt.runner, Runner::Claimant(_));
        is_claim || !came_to_nothing(attempt.ending)
    });
    let latest = &attempts[since.map_or(0, |at| at + 1)..];
    let waits_after_refusal = task.waiting()?.refusals > 0;
    let mut avoids = Avoids {
        workers: BTreeSet::new(),
        instances: BTreeSet::new(),
        priority: task.priority,
    };
    for attempt in latest {
        let Runner::Worker(worker, instance) = &attempt.runner else {
            continue;
        };
        if attempt.ending == AttemptEnding::Lost {
            avoids.workers.insert(worker.clone());
        } else if waits_after_refusal {
            avoids.instances.insert(*instance);
        }
    }
    let is_any = !avoids.workers.is_empty() || !avoids.instances.is_empty();
    is_any.then_some(avoids)
}
