//! Which waiting task goes to which worker: a problem in, assignments out.
//!
//! The team that runs the fewest tasks goes first; within it the task with the least place in its
//! queue; it goes to the worker with the most free slots. It ends: each turn either takes a free
//! slot, or drops a queue or a team that nobody can serve in this round any more (slots only get
//! fewer, members only busier). It starves nobody: places never change while tasks wait, so every
//! task becomes the least of its queue, and every team the one with the fewest running.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_set},
    iter::Peekable,
};

use crate::{
    board::{Board, TeamBoard},
    id::{AgentTypeName, InstanceId, MemberName, TaskId, TaskKey, TeamUid, WorkerName},
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

/// Gives up to `most` waiting tasks to the workers that offer to take them.
pub fn place(board: &Board, offers: Vec<Offer>, most: usize) -> Vec<Assignment> {
    let mut slots = Slots::new(&offers);
    let mut assignments = Vec::new();
    let mut turn: BTreeSet<(u32, TeamUid)> = board
        .queueing
        .iter()
        .map(|uid| (board.teams[uid].index.running(), *uid))
        .collect();
    let mut lines: BTreeMap<TeamUid, Lines<'_>> = BTreeMap::new();
    while assignments.len() < most && !slots.are_taken() {
        let Some((running, uid)) = turn.pop_first() else {
            break;
        };
        let lines = lines
            .entry(uid)
            .or_insert_with(|| Lines::new(&board.teams[&uid]));
        let Some((task, at)) = lines.next(uid, &slots) else {
            continue;
        };
        slots.take(at);
        assignments.push(Assignment {
            task: (uid, task),
            worker: offers[at].worker.clone(),
            instance: offers[at].instance,
        });
        turn.insert((running + 1, uid));
    }
    assignments
}

/// The queues of a team, as far as this round has come in them.
struct Lines<'b> {
    team: &'b TeamBoard,
    queues: Vec<(&'b Queue, Peekable<btree_set::Iter<'b, Place>>)>,
    /// The first of each queue that somebody may still serve.
    heads: BTreeSet<(Place, usize)>,
    /// The hosted members who got a task in this round.
    busy: BTreeSet<&'b MemberName>,
}

impl<'b> Lines<'b> {
    fn new(team: &'b TeamBoard) -> Self {
        let mut queues: Vec<_> = team
            .index
            .queues()
            .map(|(queue, places)| (queue, places.iter().peekable()))
            .collect();
        let heads = queues.iter_mut().enumerate();
        let heads = heads.filter_map(|(line, (_, places))| Some((**places.peek()?, line)));
        Self {
            team,
            heads: heads.collect(),
            queues,
            busy: BTreeSet::new(),
        }
    }

    /// The task whose turn it is, and the offer that takes it. A queue that nobody can serve is
    /// dropped for the round.
    fn next(&mut self, uid: TeamUid, slots: &Slots<'_>) -> Option<(TaskId, usize)> {
        while let Some(((_, task), line)) = self.heads.pop_first() {
            let (queue, places) = &mut self.queues[line];
            let is_busy =
                |member| self.team.index.is_member_busy(member) || self.busy.contains(member);
            if queue.member.as_ref().is_some_and(is_busy) {
                continue;
            }
            let Some(at) = slots.best(uid, queue) else {
                continue;
            };
            places.next();
            if let Some(place) = places.peek() {
                self.heads.insert((**place, line));
            }
            self.busy.extend(&queue.member);
            return Some((task, at));
        }
        None
    }
}

/// Where an offer stands among those of one type: by its free slots, then by its worker's name.
type Standing<'o> = (Reverse<u32>, &'o WorkerName, usize);

/// The free slots, the worker with the most of them first.
struct Slots<'o> {
    offers: &'o [Offer],
    free: Vec<u32>,
    by_worker: BTreeMap<&'o WorkerName, usize>,
    by_type: BTreeMap<&'o AgentTypeName, BTreeSet<Standing<'o>>>,
}

impl<'o> Slots<'o> {
    fn new(offers: &'o [Offer]) -> Self {
        let mut slots = Self {
            offers,
            free: offers.iter().map(|offer| offer.free).collect(),
            by_worker: BTreeMap::new(),
            by_type: BTreeMap::new(),
        };
        for (at, offer) in offers.iter().enumerate() {
            slots.by_worker.insert(&offer.worker, at);
            slots.enter(at);
        }
        slots
    }

    fn are_taken(&self) -> bool {
        self.by_type.is_empty()
    }

    /// The offer that a task of this queue goes to.
    fn best(&self, team: TeamUid, queue: &Queue) -> Option<usize> {
        let of_type = self.by_type.get(&queue.agent_type)?;
        let fits = |at: &usize| {
            let teams = &self.offers[*at].teams;
            teams.as_ref().is_none_or(|teams| teams.contains(&team))
        };
        match &queue.worker {
            Some(only) => {
                let at = *self.by_worker.get(only)?;
                let has_slot = of_type.contains(&(Reverse(self.free[at]), only, at));
                Some(at).filter(|_| has_slot).filter(fits)
            }
            None => of_type.iter().map(|(_, _, at)| *at).find(fits),
        }
    }

    fn take(&mut self, at: usize) {
        self.leave(at);
        self.free[at] -= 1;
        self.enter(at);
    }

    fn enter(&mut self, at: usize) {
        if self.free[at] == 0 {
            return;
        }
        let Offer { worker, types, .. } = &self.offers[at];
        let place = (Reverse(self.free[at]), worker, at);
        for agent_type in types {
            self.by_type.entry(agent_type).or_default().insert(place);
        }
    }

    fn leave(&mut self, at: usize) {
        let Offer { worker, types, .. } = &self.offers[at];
        for agent_type in types {
            if let Some(of_type) = self.by_type.get_mut(agent_type) {
                of_type.remove(&(Reverse(self.free[at]), worker, at));
                if of_type.is_empty() {
                    self.by_type.remove(agent_type);
                }
            }
        }
    }
}
