//! What is derived from the cards, worked out once more in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Checked, hold, is_orphan, ready_since, same,
    waiting::{self, Waiting},
    wakes_at,
};
use crate::{
    board::{Board, Card, Entry, TeamBoard},
    event::Actor,
    id::{InstanceId, MemberKey, MemberName, TaskKey, TeamUid},
    index::{Place, TeamIndex},
    limits::RunningLimits,
    task::{AfterStop, Task, TaskState},
    team::{MemberKind, Plan},
    time::Time,
};

/// What must be derived from the cards alone.
#[derive(Default)]
pub(super) struct Derived {
    waiting: Waiting,
    deadlines: BTreeSet<(Time, TaskKey)>,
    cascades: BTreeSet<TaskKey>,
    placed: BTreeMap<InstanceId, BTreeSet<TaskKey>>,
    member_deadlines: BTreeSet<(Time, MemberKey)>,
    stranded: BTreeSet<MemberKey>,
    adrift: BTreeSet<TaskKey>,
    orphans: BTreeSet<TaskKey>,
    dissolving: BTreeSet<TeamUid>,
    tombstones: BTreeSet<(Time, TeamUid)>,
    serving: BTreeMap<MemberName, BTreeSet<TeamUid>>,
    oldest: BTreeSet<(Time, TeamUid)>,
    longest: BTreeSet<(usize, TeamUid)>,
}

impl Derived {
    /// Adds a team, and checks its own indexes.
    pub(super) fn team(
        &mut self,
        uid: TeamUid,
        team: &TeamBoard,
        limits: &RunningLimits,
    ) -> Checked {
        let mut index = TeamIndex::default();
        for (id, entry) in team.tasks.iter() {
            *index.counts.entry(entry.card.status()).or_default() += 1;
            let (parent, id) = (entry.card.parent().unwrap_or_default(), id);
            if entry.card.status().is_terminal() {
                index.over.insert(id);
            }
            index.children.entry(parent).or_default().insert(id);
            index.joining.enter(id, &entry.card);
            for blocker in entry.card.blocked_by() {
                index.dependants.entry(*blocker).or_default().push(id);
            }
            match &entry.card {
                Card::Whole(task) => self.task((uid, id), team, task, limits, &mut index),
                Card::Outline(stub) if stub.cascade_due && team.head.is_open() => {
                    self.cascades.insert((uid, id));
                }
                Card::Outline(_) => {}
            }
        }
        self.members(uid, team, &index);
        let kept = &team.index;
        if let Some(oldest) = kept.expiry.oldest().filter(|_| team.head.is_open()) {
            self.oldest.insert((oldest, uid));
            self.longest.insert((kept.expiry.len(), uid));
        }
        same(4, "dependants", &kept.dependants, &index.dependants)?;
        same(9, "counts", &kept.counts, &index.counts)?;
        same(9, "claimed", &kept.claimed, &index.claimed)?;
        same(9, "holding", &kept.holding, &index.holding)?;
        same(9, "lent", &kept.lent, &index.lent)?;
        same(9, "over", &kept.over, &index.over)?;
        same(9, "open", &kept.open, &index.open)?;
        same(9, "ready", &kept.ready, &index.ready)?;
        same(9, "claimable", &kept.claimable, &index.claimable)?;
        same(9, "labelled", &kept.labelled, &index.labelled)?;
        same(9, "owned", &kept.owned, &index.owned)?;
        same(9, "children", &kept.children, &index.children)?;
        same(
            9,
            "open children",
            &kept.open_children,
            &index.open_children,
        )?;
        same(9, "joining", &kept.joining, &index.joining)?;
        same(9, "hired", &kept.hired, &index.hired)?;
        same(9, "stopping", kept.stopping, index.stopping)?;
        for (member, tasks) in &kept.queues.running_members {
            hold(10, tasks.len() <= 1, || format!("{member} runs {tasks:?}"))?;
        }
        self.waiting.team(uid, team, index.queues)
    }

    fn task(
        &mut self,
        key: TaskKey,
        team: &TeamBoard,
        task: &Task,
        limits: &RunningLimits,
        index: &mut TeamIndex,
    ) {
        if let Some(since) = ready_since(team, task) {
            let place = (since - task.priority.bonus(), task.id);
            index.ready.insert(task.priority, task.id);
            if !waiting::enqueue(team, task, place, limits, &mut index.queues) {
                offer(task, place, index);
            }
        }
        if task.end().is_none() {
            index.open.insert(task.priority, task.id);
            if let Some(owner) = &task.owner {
                index
                    .owned
                    .entry(owner.clone())
                    .or_default()
                    .insert(task.id);
            }
            if let Some(parent) = task.parent {
                *index.open_children.entry(parent).or_default() += 1;
            }
            if let Some(hirer) = task.terms().hired_by {
                index.hired.entry(hirer.task).or_default().insert(task.id);
            }
            let is_stopped = task
                .placement()
                .and_then(|placed| placed.stop.as_ref())
                .is_some_and(|stop| stop.then == AfterStop::Cancel);
            if is_orphan(team, task) && !is_stopped && team.head.is_open() {
                self.orphans.insert(key);
            }
            let terms = task.terms.iter().filter(|terms| terms.window > 0);
            let windows = &mut index.queues.windows;
            windows.extend(terms.map(|terms| (task.id, terms.window)));
        }
        if let Some(at) = wakes_at(task) {
            self.deadlines.insert((at, key));
        }
        match &task.state {
            TaskState::Claimed(claim) => {
                index.claimed.insert(task.id);
                if let Some(by) = claim.by.member() {
                    index.holding.entry(by.clone()).or_default().insert(task.id);
                }
                if let Actor::Task(by) = claim.by {
                    index.lent.entry(by).or_default().insert(task.id);
                }
            }
            TaskState::Placed(placement) => {
                let queues = &mut index.queues;
                queues.running += 1;
                index.stopping += usize::from(placement.stop.is_some());
                if let Some(member) = &placement.member {
                    let runs = queues.running_members.entry(member.clone());
                    runs.or_default().insert(task.id);
                }
                if let Some(parent) = task.parent {
                    *queues.running_children.entry(parent).or_default() += 1;
                }
                self.waiting.placed(team, task, limits);
                self.placed
                    .entry(placement.instance)
                    .or_default()
                    .insert(key);
            }
            TaskState::Ended(end) if end.cascade_due && team.head.is_open() => {
                self.cascades.insert(key);
            }
            TaskState::Pending(_) | TaskState::Ended(_) => {}
        }
    }

    /// Adds what members and the team itself want.
    fn members(&mut self, uid: TeamUid, team: &TeamBoard, index: &TeamIndex) {
        for member in team.members.values() {
            if member.is_present() && member.kind == MemberKind::Worker {
                let teams = self.serving.entry(member.name.clone()).or_default();
                teams.insert(uid);
            }
        }
        if let Some(dissolved) = &team.head.dissolved {
            if dissolved.is_settled {
                self.tombstones.insert((dissolved.at, uid));
            } else {
                self.dissolving.insert(uid);
            }
            return;
        }
        for holder in index.lent.keys() {
            let holds_on = |entry: &Entry| !entry.card.status().is_terminal();
            if !team.tasks.get(holder).is_some_and(holds_on) {
                self.adrift.insert((uid, *holder));
            }
        }
        for member in team.members.values() {
            let key = (uid, member.name.clone());
            if !member.is_present() {
                if index.owned.contains_key(&member.name) {
                    self.stranded.insert(key);
                }
                continue;
            }
            let plan = match member.plan {
                Plan::Submitted { deadline, .. } => Some(deadline),
                _ => None,
            };
            let shutdown = member.shutdown.as_ref().map(|shutdown| shutdown.deadline);
            if let Some(at) = plan.into_iter().chain(shutdown).min() {
                self.member_deadlines.insert((at, key));
            }
        }
    }

    pub(super) fn check(&self, board: &Board) -> Checked {
        self.waiting.check(board)?;
        same(9, "placed", &board.placed, &self.placed)?;
        same(11, "deadlines", &board.deadlines, &self.deadlines)?;
        same(12, "cascades", &board.cascades, &self.cascades)?;
        let (kept, derived) = (&board.member_deadlines, &self.member_deadlines);
        same(11, "deadlines of members", kept, derived)?;
        same(14, "stranded", &board.stranded, &self.stranded)?;
        same(14, "adrift", &board.adrift, &self.adrift)?;
        same(14, "orphans", &board.orphans, &self.orphans)?;
        same(14, "dissolving", &board.dissolving, &self.dissolving)?;
        same(14, "tombstones", &board.tombstones, &self.tombstones)?;
        let expiries = &board.expiries;
        same(16, "oldest", expiries.oldest(), &self.oldest)?;
        same(16, "longest", expiries.longest(), &self.longest)?;
        same(14, "serving", &board.serving, &self.serving)
    }
}

fn offer(task: &Task, place: Place, index: &mut TeamIndex) {
    let owner = (task.owner.clone(), task.priority);
    let places = index.claimable.entry(owner).or_default();
    places.insert(place);
    if task.owner.is_none() {
        for label in &task.labels {
            let label = (label.clone(), task.priority);
            let places = index.labelled.entry(label).or_default();
            places.insert(place);
        }
    }
}
