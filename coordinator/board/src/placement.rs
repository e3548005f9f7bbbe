//! Which waiting task goes to which worker: a problem in, assignments out.
//!
//! The team that runs the fewest tasks goes first; within it the task with the least place in its
//! queue; it goes to the worker with the most free slots. It ends: each turn either takes a free
//! slot, or drops a queue or a team that nobody can serve in this round any more (slots only get
//! fewer, members only busier). It starves nobody: places never change while tasks wait, so every
//! task becomes the least of its queue, and every team the one with the fewest running.

use std::{
    collections::{BTreeSet, btree_set},
    iter::Peekable,
};

use crate::{
    board::Board,
    id::{AgentTypeName, InstanceId, MemberName, TaskKey, TeamUid, WorkerName},
    index::{Place, Queue},
};

/// A worker with free slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub worker: WorkerName,
    /// Its process.
    pub instance: InstanceId,
    /// How many slots are free.
    pub free: u32,
    /// What it runs.
    pub types: BTreeSet<AgentTypeName>,
    /// For which teams; none for all.
    pub teams: Option<BTreeSet<TeamUid>>,
}

impl Offer {
    fn fits(&self, team: TeamUid, queue: &Queue) -> bool {
        self.free > 0
            && self.types.contains(&queue.agent_type)
            && queue
                .worker
                .as_ref()
                .is_none_or(|only| *only == self.worker)
            && self
                .teams
                .as_ref()
                .is_none_or(|teams| teams.contains(&team))
    }
}

/// A task that goes to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Which task.
    pub task: TaskKey,
    /// To whom.
    pub worker: WorkerName,
    /// To which process.
    pub instance: InstanceId,
}

/// A queue, as far as this round has come in it.
struct Line<'b> {
    queue: &'b Queue,
    waiting: Peekable<btree_set::Iter<'b, Place>>,
}

/// Gives up to `most` waiting tasks to the workers that offer to take them.
pub fn place(board: &Board, mut offers: Vec<Offer>, most: usize) -> Vec<Assignment> {
    let mut assignments = Vec::new();
    let mut busy: BTreeSet<(TeamUid, &MemberName)> = BTreeSet::new();
    let mut lines = Vec::new();
    let mut turn = BTreeSet::new();
    for uid in &board.queueing {
        let index = &board.teams[uid].index;
        let waiting = index.queues().map(|(queue, places)| Line {
            queue,
            waiting: places.iter().peekable(),
        });
        turn.insert((index.running(), *uid, lines.len()));
        lines.push(waiting.collect::<Vec<_>>());
    }

    while assignments.len() < most {
        let Some((running, uid, at)) = turn.pop_first() else {
            break;
        };
        let index = &board.teams[&uid].index;
        lines[at].retain_mut(|line| {
            let is_busy = line
                .queue
                .member
                .as_ref()
                .is_some_and(|m| index.is_member_busy(m) || busy.contains(&(uid, m)));
            !is_busy
                && line.waiting.peek().is_some()
                && offers.iter().any(|offer| offer.fits(uid, line.queue))
        });
        let least = lines[at]
            .iter_mut()
            .filter_map(|line| Some((**line.waiting.peek()?, line)))
            .min_by_key(|(place, _)| *place);
        let Some(((_, task), line)) = least else {
            continue;
        };
        line.waiting.next();
        if let Some(member) = &line.queue.member {
            busy.insert((uid, member));
        }
        let offer = offers
            .iter_mut()
            .filter(|offer| offer.fits(uid, line.queue))
            .max_by(|a, b| a.free.cmp(&b.free).then_with(|| b.worker.cmp(&a.worker)))
            .expect("lines that no offer fits were dropped above");
        offer.free -= 1;
        assignments.push(Assignment {
            task: (uid, task),
            worker: offer.worker.clone(),
            instance: offer.instance,
        });
        turn.insert((running + 1, uid, at));
    }
    assignments
}
