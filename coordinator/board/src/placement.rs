//! Which waiting task goes to which worker: a problem in, assignments out.
//!
//! The team that runs the least for its weight goes first; within it the task with the least place
//! of those that nothing holds back; it goes to the worker with the most free slots.
//!
//! A round ends: each turn takes a free slot, or lays aside, for the round, a team or a kind of
//! want that nobody can serve any more, or a queue whose member or window got busy in this round.
//! Slots only get fewer in a round, members only busier, and bounds are only reached: what was laid
//! aside need not be looked at again. It looks at heads of queues only, and only at those of types
//! that somebody has a free slot for: what waits behind them, or for others, costs nothing.
//!
//! It starves nobody: places never change while tasks wait, so that every task comes to be the
//! least of its team; and a team that is given nothing keeps its share while those of the others
//! grow, so that its turn comes. A task that is kept from a worker stands in a queue of its like, so
//! that it holds up nobody, and only for a time.

mod slots;
mod why;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, btree_map},
    iter::Peekable,
    sync::Arc,
};

pub use self::{
    slots::{Offer, Slots, Supply},
    why::{Why, why},
};
use crate::{
    board::{Board, TeamBoard},
    id::{AgentTypeName, InstanceId, MemberName, TaskId, TaskKey, TeamUid, WorkerName},
    index::{Avoids, Place, Queue, Want},
    time::Time,
};

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

/// What is known of workers at a moment.
#[derive(Clone, Copy)]
pub struct Moment<'m> {
    /// When it is.
    pub now: Time,
    /// Whether a worker that takes work is well right now. Who is not is given nothing.
    pub is_heard: &'m dyn Fn(&WorkerName) -> bool,
}

/// Gives up to `most` waiting tasks to the workers that have free slots, and takes those slots.
pub fn place(board: &Board, slots: &mut Slots, moment: Moment<'_>, most: usize) -> Vec<Assignment> {
    let mut round = Round::new(board, moment);
    let mut turns = round.turns(slots);
    let mut lines: BTreeMap<TeamUid, Lines<'_>> = BTreeMap::new();
    let mut assignments = Vec::new();
    while assignments.len() < most {
        let Some((share, uid)) = turns.pop_first() else {
            break;
        };
        let team = &board.teams[&uid];
        let lines = lines
            .entry(uid)
            .or_insert_with(|| Lines::new(uid, team, &round, slots));
        let Some((task, want, offer)) = lines.next(&round, slots) else {
            continue;
        };
        let (worker, instance) = (offer.worker.clone(), offer.instance);
        slots.take(&worker);
        round.count(want);
        assignments.push(Assignment {
            task: (uid, task),
            worker,
            instance,
        });
        let share = share.and_one();
        if !is_at_limit(team, share.running) {
            turns.insert((share, uid));
        }
    }
    assignments
}

/// How much a team runs for its weight.
#[derive(Debug, Clone, Copy)]
struct Share {
    running: u32,
    weight: u32,
}

impl Share {
    fn of(team: &TeamBoard) -> Self {
        Self {
            running: team.index.queues.running,
            weight: team.head.weight.max(1),
        }
    }

    fn and_one(self) -> Self {
        Self {
            running: self.running + 1,
            ..self
        }
    }
}

impl Ord for Share {
    /// One fraction against the other, without a division.
    fn cmp(&self, other: &Self) -> Ordering {
        let one = u64::from(self.running) * u64::from(other.weight);
        one.cmp(&(u64::from(other.running) * u64::from(self.weight)))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Share {}

/// Whether a team that runs so many tasks may run no more.
fn is_at_limit(team: &TeamBoard, running: u32) -> bool {
    let max = team.head.max_running;
    max > 0 && running >= max
}

/// What a round has given out, as far as bounds over all teams go.
struct Round<'b> {
    board: &'b Board,
    moment: Moment<'b>,
    types: BTreeMap<&'b AgentTypeName, u32>,
    labels: BTreeMap<&'b str, u32>,
}

impl<'b> Round<'b> {
    fn new(board: &'b Board, moment: Moment<'b>) -> Self {
        Self {
            board,
            moment,
            types: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    /// The teams that have something for which there is a free slot, each where its share puts it.
    fn turns(&self, slots: &Slots) -> BTreeSet<(Share, TeamUid)> {
        let served = self.board.queueing.iter();
        let served = served.filter(|(agent_type, _)| self.is_served(agent_type, slots));
        let teams = served.flat_map(|(_, teams)| teams);
        let turn = |uid: &TeamUid| {
            let team = &self.board.teams[uid];
            let share = Share::of(team);
            (!is_at_limit(team, share.running)).then_some((share, *uid))
        };
        teams.filter_map(turn).collect()
    }

    /// Whether anything of a type can be given out.
    fn is_served(&self, agent_type: &AgentTypeName, slots: &Slots) -> bool {
        slots.supply(agent_type).free > 0 && !self.is_type_full(agent_type)
    }

    fn is_type_full(&self, agent_type: &AgentTypeName) -> bool {
        let Some(max) = self.board.limits.agent_types.get(agent_type) else {
            return false;
        };
        let given = self.types.get(agent_type).copied().unwrap_or(0);
        self.board.running.of_type(agent_type) + given >= *max
    }

    fn is_label_full(&self, label: &str) -> bool {
        let Some(max) = self.board.limits.labels.get(label) else {
            return false;
        };
        let given = self.labels.get(label).copied().unwrap_or(0);
        self.board.running.of_label(label) + given >= *max
    }

    fn is_full_for(&self, want: &Want) -> bool {
        self.is_type_full(&want.agent_type)
            || want.limited.iter().any(|label| self.is_label_full(label))
    }

    fn count(&mut self, want: &'b Want) {
        *self.types.entry(&want.agent_type).or_default() += 1;
        for label in &want.limited {
            *self.labels.entry(label).or_default() += 1;
        }
    }
}

/// The worker for the first task of those that want the same. One that is kept from a worker is
/// kept from it while another could take it, and for a time.
fn worker_for<'s>(
    uid: TeamUid,
    want: &Want,
    place: Place,
    slots: &'s Slots,
    moment: Moment<'_>,
) -> Option<&'s Offer> {
    let avoided = avoided(uid, want, place, slots, moment);
    slots.best(uid, want, avoided, moment.is_heard)
}

fn avoided<'w>(
    uid: TeamUid,
    want: &'w Want,
    place: Place,
    slots: &Slots,
    moment: Moment<'_>,
) -> Option<&'w Avoids> {
    let avoids = want.avoids.as_ref();
    avoids.filter(|avoids| {
        moment.now < avoids.until(place)
            && slots.is_any_fitting(uid, want, Some(avoids), moment.is_heard)
    })
}

/// The tasks of a team that wait, as far as this round has come with them.
struct Lines<'b> {
    uid: TeamUid,
    team: &'b TeamBoard,
    wants: Vec<Line<'b>>,
    /// The first of each kind of want that somebody may still serve.
    heads: BTreeSet<(Place, usize)>,
    /// The hosted members who got a task in this round.
    busy: BTreeSet<&'b MemberName>,
    /// How many children of each task were given out in this round.
    children: BTreeMap<TaskId, u32>,
}

/// The heads of the queues whose tasks want the same.
struct Line<'b> {
    want: &'b Want,
    heads: Peekable<btree_map::Iter<'b, Place, Arc<Queue>>>,
    /// The heads of queues from which this round has taken.
    next: BTreeMap<Place, &'b Arc<Queue>>,
}

impl<'b> Line<'b> {
    fn first(&mut self) -> Option<Place> {
        let head = self.heads.peek().map(|(place, _)| **place);
        let next = self.next.first_key_value().map(|(place, _)| *place);
        head.into_iter().chain(next).min()
    }

    fn pop(&mut self, place: Place) -> Option<&'b Arc<Queue>> {
        if let Some(queue) = self.next.remove(&place) {
            return Some(queue);
        }
        self.heads.next().map(|(_, queue)| queue)
    }
}

impl<'b> Lines<'b> {
    fn new(uid: TeamUid, team: &'b TeamBoard, round: &Round<'_>, slots: &Slots) -> Self {
        let types = team.index.queues.heads.iter();
        let types = types.filter(|(agent_type, _)| round.is_served(agent_type, slots));
        let wants = types
            .flat_map(|(_, heads)| heads)
            .map(|(want, heads)| Line {
                want,
                heads: heads.iter().peekable(),
                next: BTreeMap::new(),
            });
        let mut wants: Vec<_> = wants.collect();
        let heads = wants.iter_mut().enumerate();
        let heads = heads.filter_map(|(at, line)| Some((line.first()?, at)));
        Self {
            uid,
            team,
            heads: heads.collect(),
            wants,
            busy: BTreeSet::new(),
            children: BTreeMap::new(),
        }
    }

    /// The task whose turn it is, and the offer that takes it. What wants something that nobody
    /// has is dropped for the round.
    fn next<'s>(
        &mut self,
        round: &Round<'_>,
        slots: &'s Slots,
    ) -> Option<(TaskId, &'b Want, &'s Offer)> {
        while let Some((place, at)) = self.heads.pop_first() {
            let line = &mut self.wants[at];
            if round.is_full_for(line.want) {
                continue;
            }
            let worker = worker_for(self.uid, line.want, place, slots, round.moment);
            let Some(offer) = worker else {
                continue;
            };
            let want = line.want;
            let queue = line.pop(place);
            let taken = queue.filter(|queue| !self.is_held(queue));
            if let Some(queue) = taken {
                self.take(at, place, queue);
            }
            if let Some(first) = self.wants[at].first() {
                self.heads.insert((first, at));
            }
            if taken.is_some() {
                return Some((place.1, want, offer));
            }
        }
        None
    }

    /// Whether a queue must wait because of what this round has given out.
    fn is_held(&self, queue: &Queue) -> bool {
        let is_busy = |member| self.busy.contains(member);
        let is_full = |parent: TaskId| {
            let given = self.children.get(&parent).copied().unwrap_or(0);
            self.team.index.queues.is_window_full(parent, given)
        };
        queue.member.as_ref().is_some_and(is_busy) || queue.parent.is_some_and(is_full)
    }

    fn take(&mut self, at: usize, place: Place, queue: &'b Arc<Queue>) {
        self.busy.extend(&queue.member);
        if let Some(parent) = queue.parent {
            *self.children.entry(parent).or_default() += 1;
        }
        let places = &self.team.index.queues.lines[queue];
        let after = (std::ops::Bound::Excluded(place), std::ops::Bound::Unbounded);
        if !self.is_held(queue)
            && let Some(next) = places.range(after).next()
        {
            self.wants[at].next.insert(*next, queue);
        }
    }
}
