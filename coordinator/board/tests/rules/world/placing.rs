//! Placement, worked out once more in the plainest way.

use std::collections::BTreeSet;

use board::{
    command::FleetCommand,
    id::{AgentTypeName, TaskKey, TeamUid},
    placement::{self, Assignment, Moment, Offer, Slots},
    task::{AttemptEnding, Runner, Task},
    view::{Phase, TaskView},
};

use super::{Came, TYPES, WORKERS, World, zone_name};
use crate::support::*;

/// What weights go into without a rest.
const WHOLE: u32 = 12;

/// A team's share, then its uid, then the place.
type Turn = (u32, TeamUid, board::time::Time, board::id::TaskId);

/// All tasks, and those of them that have been given out.
struct Round<'w> {
    world: &'w World,
    views: Vec<(TaskKey, TaskView)>,
    given: BTreeSet<TaskKey>,
}

impl World {
    pub(super) fn offer(&self, worker: u8, free: u8, bits: u8) -> Offer {
        let worker = WORKERS[usize::from(worker) % WORKERS.len()];
        let has = |bit: &usize| bits & (1 << bit) != 0;
        let types = (0..3).filter(has).map(|i| agent_type(TYPES[i]));
        let types: BTreeSet<AgentTypeName> = types.collect();
        let named = match bits >> 6 {
            0 => Some([TEAM].into()),
            1 => Some([TeamUid(2)].into()),
            _ => None,
        };
        Offer {
            worker: worker_name(worker),
            instance: instance(worker),
            slots: 4,
            free: free.into(),
            types,
            teams: named,
            labels: [("zone".into(), zone_name(bits >> 4))].into(),
        }
    }

    pub(super) fn place(&mut self, offers: Vec<Offer>, most: usize) -> Came {
        let (board, now) = (&self.script.board, self.script.now);
        let moment = Moment {
            now,
            is_heard: &|_| true,
        };
        let mut slots = Slots::of(offers.clone());
        let assignments = placement::place(board, &mut slots, moment, most);
        let mut turned = Slots::of(offers.iter().rev().cloned());
        assert_eq!(
            placement::place(board, &mut turned, moment, most),
            assignments
        );
        let (slowly, left) = self.slowly_placed(offers, most);
        assert_eq!(assignments, slowly);
        assert_eq!(slots, Slots::of(left));
        let dispatch = |a: Assignment| FleetCommand::Dispatch(a.task, a.worker, a.instance);
        let commands = assignments.into_iter().map(dispatch);
        commands
            .map(|command| Ok(self.script.fleet(command)))
            .collect()
    }

    /// The same placement in the plainest way, and the offers that are left: for each free slot,
    /// all tasks are looked at.
    pub(super) fn slowly_placed(
        &self,
        mut offers: Vec<Offer>,
        most: usize,
    ) -> (Vec<Assignment>, Vec<Offer>) {
        let keys = self.script.shelf.tasks.keys();
        let views = keys.filter_map(|key| Some((*key, self.script.board.view(*key)?)));
        let mut round = Round {
            world: self,
            views: views.collect(),
            given: BTreeSet::new(),
        };
        let mut assigned: Vec<Assignment> = vec![];
        while assigned.len() < most {
            let of_view = |(key, view): &(TaskKey, TaskView)| {
                let worker = round.worker_for(*key, view, &offers)?;
                Some((round.turn(*key, view)?, *key, worker))
            };
            let best = round.views.iter().filter_map(of_view).min();
            let Some((_, task, worker)) = best else { break };
            let mut taken = offers.iter_mut().filter(|o| o.worker == worker);
            let offer = taken.next().unwrap();
            offer.free -= 1;
            let instance = offer.instance;
            round.given.insert(task);
            assigned.push(Assignment {
                task,
                worker,
                instance,
            });
        }
        (assigned, offers)
    }
}

impl Round<'_> {
    /// How many are given out by this round, or were before, and are so.
    fn running(&self, is_so: impl Fn(TaskKey, &TaskView) -> bool) -> u32 {
        let is_out = |(key, view): &&(TaskKey, TaskView)| {
            (view.task.placement().is_some() || self.given.contains(key)) && is_so(*key, view)
        };
        self.views.iter().filter(is_out).count() as u32
    }

    /// When its turn is; none when something holds it back, whoever has a free slot.
    fn turn(&self, key: TaskKey, view: &TaskView) -> Option<Turn> {
        let board = &self.world.script.board;
        let queue = view.queue.as_ref()?;
        if view.phase != Some(Phase::Queued) || self.given.contains(&key) {
            return None;
        }
        let is_mine = |other: TaskKey| other.0 == key.0;
        if let Some(member) = &queue.member {
            let acts_as = |view: &TaskView| match &view.task.placement() {
                Some(placement) => placement.member.clone(),
                None => view.queue.as_ref().and_then(|queue| queue.member.clone()),
            };
            let is_at = |k, v: &TaskView| is_mine(k) && acts_as(v).as_ref() == Some(member);
            if self.running(is_at) > 0 {
                return None;
            }
        }
        let agent_type = &queue.want.agent_type;
        if let Some(max) = board.limits().agent_types.get(agent_type) {
            let is_its = |k, v: &TaskView| {
                let queue = v.queue.as_ref().filter(|_| self.given.contains(&k));
                queue.is_some_and(|queue| queue.want.agent_type == *agent_type)
            };
            if board.running_of_type(agent_type) + self.running(is_its) >= *max {
                return None;
            }
        }
        for (label, max) in &board.limits().labels {
            let has = |_, v: &TaskView| v.task.labels.contains(label);
            if view.task.labels.contains(label) && self.running(has) >= *max {
                return None;
            }
        }
        if let Some(parent) = view.task.parent {
            let is_sibling = |k, v: &TaskView| is_mine(k) && v.task.parent == Some(parent);
            let parent = &self.world.script.shelf.tasks[&(key.0, parent)];
            let window = parent.terms().window;
            if parent.end().is_none() && window > 0 && self.running(is_sibling) >= window {
                return None;
            }
        }
        let team = board.team(key.0).unwrap();
        let running = self.running(|k, _| is_mine(k));
        if team.max_running > 0 && running >= team.max_running {
            return None;
        }
        let since = view.phase_since.unwrap() - view.task.priority.bonus();
        Some((running * (WHOLE / team.weight), key.0, since, key.1))
    }

    fn worker_for(
        &self,
        key: TaskKey,
        view: &TaskView,
        offers: &[Offer],
    ) -> Option<board::id::WorkerName> {
        let queue = view.queue.as_ref()?;
        let fits = |offer: &&Offer| {
            let labels = &view.task.terms().worker_labels;
            offer.types.contains(&queue.want.agent_type)
                && queue
                    .want
                    .worker
                    .as_ref()
                    .is_none_or(|w| *w == offer.worker)
                && offer.teams.as_ref().is_none_or(|t| t.contains(&key.0))
                && labels.iter().all(|(k, v)| offer.labels.get(k) == Some(v))
        };
        let fitting: Vec<_> = offers.iter().filter(fits).collect();
        let came_to_nothing = |offer: &Offer| came_to_nothing(&view.task, offer);
        let is_early = self.world.script.now < view.phase_since? + secs(60);
        let has_other = fitting.iter().any(|offer| !came_to_nothing(offer));
        let avoids = |offer: &&Offer| is_early && has_other && came_to_nothing(offer);
        let free = fitting.into_iter().filter(|o| o.free > 0 && !avoids(o));
        let best = free.min_by_key(|o| (u32::MAX - o.free, o.worker.clone()));
        best.map(|offer| offer.worker.clone())
    }
}

/// Whether one of a task's latest attempts came to nothing at this worker.
fn came_to_nothing(task: &Task, offer: &Offer) -> bool {
    let was_refused = task.waiting().is_some_and(|waiting| waiting.refusals > 0);
    let latest = task.attempts.iter().rev().take_while(|attempt| {
        let came_to_nothing = [AttemptEnding::Lost, AttemptEnding::HandedBack];
        let is_workers = matches!(attempt.runner, Runner::Worker(..));
        is_workers && came_to_nothing.contains(&attempt.ending)
    });
    let mut latest = latest;
    latest.any(|attempt| match (&attempt.runner, attempt.ending) {
        (Runner::Worker(worker, _), AttemptEnding::Lost) => *worker == offer.worker,
        (Runner::Worker(_, instance), _) => was_refused && *instance == offer.instance,
        _ => false,
    })
}
