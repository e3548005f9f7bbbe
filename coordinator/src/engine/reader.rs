//! Looking: what the board, the fleet and the store have to say at one moment.

use std::{sync::Arc, time::Duration};

use board::{
    command::TasksKept,
    id::{AgentTypeName, Fence, InstanceId, TeamName, TeamUid},
    record::OfferedType,
    refusal::{Refusal, Staleness},
    time::Time,
    view::Counts,
};

mod files;
mod tasks;
mod teams;
mod workers;

pub use tasks::{Explained, ListFilter, TaskPage, Wanted};
pub(super) use teams::Work;
pub use teams::{MemberView, TeamPlace, TeamView, Watched};
pub use workers::{HeldView, WorkerView};

use super::{Engine, types::is_there};
use crate::{fleet::Standing, store::Horizon};

/// About how many bytes one page tells: with the longest entry that there is after that, an answer
/// stays below the 4 MiB that clients take.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A look at everything, at one moment, in the line of inputs.
pub struct Reader<'e> {
    pub(super) engine: &'e mut Engine,
    now: Time,
}

/// A page of a list, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, P> {
    /// What is on it.
    pub items: Vec<T>,
    /// The last place looked at; none when there is nothing after it.
    pub next: Option<P>,
}

/// An agent type, and who offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedView {
    /// The type.
    pub offered: OfferedType,
    /// The connected workers that offer it.
    pub workers: Vec<String>,
    /// Free slots on them.
    pub free: u32,
    /// The coordinator was told to expect it.
    pub is_expected: bool,
    /// When a worker offered it last: now, where one does.
    pub last_seen: Option<Time>,
}

/// How the coordinator is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusView {
    /// The board's epoch.
    pub epoch: board::id::Epoch,
    /// Commits ever made.
    pub commits: u64,
    /// Teams.
    pub teams: usize,
    /// Tasks of all teams, counted.
    pub counts: Counts,
    /// How many tasks left since the start because they were finished long ago.
    pub tasks_expired: u64,
    /// How long finished tasks are kept.
    pub tasks_kept: TasksKept,
    /// Workers that are connected.
    pub workers: usize,
    /// Slots on them.
    pub slots: u32,
    /// Those that are free.
    pub free: u32,
    /// How many outcomes are remembered.
    pub remembered: u64,
    /// How long outcomes are remembered at the least, as things stand.
    pub request_horizon: Duration,
    /// How many tasks workers have.
    pub running: u32,
    /// Agent types that are bounded: how many tasks workers have of each, and may have.
    pub bounded_types: Vec<(AgentTypeName, u32, u32)>,
    /// Labels that are.
    pub bounded_labels: Vec<(Arc<str>, u32, u32)>,
}

impl<'e> Reader<'e> {
    pub(super) fn new(engine: &'e mut Engine, now: Time) -> Self {
        Self { engine, now }
    }

    pub(super) fn uid(&self, team: &TeamName) -> Result<TeamUid, Refusal> {
        match self.engine.board.team_named(team.as_str()) {
            Some(team) => Ok(team.uid),
            None => Err(Refusal::TeamUnknown {
                team: team.to_string(),
            }),
        }
    }

    /// Whether an attempt still counts.
    pub fn check_fence(&self, fence: &Fence) -> Result<(), Refusal> {
        if self.engine.board.fence((fence.team, fence.task)) == Some(*fence) {
            return Ok(());
        }
        let why = Staleness::Attempt;
        Err(Refusal::Stale { why })
    }

    /// Whether an attempt still counts, and is this process's.
    pub fn check_holder(&self, fence: &Fence, instance: InstanceId) -> Result<(), Refusal> {
        self.check_fence(fence)?;
        let view = self.engine.board.view((fence.team, fence.task));
        let placement = view.as_ref().and_then(|view| view.task.placement());
        if placement.is_some_and(|placement| placement.instance == instance) {
            return Ok(());
        }
        let why = Staleness::Instance;
        Err(Refusal::Stale { why })
    }

    /// All agent types, by name.
    pub fn agent_types(&self) -> Vec<OfferedView> {
        let view = |offered: &OfferedType| {
            let is_there = |worker: &&crate::fleet::WorkerEntry| is_there(worker, self.now);
            let offering = || self.engine.fleet.offering(&offered.name).filter(is_there);
            let workers: Vec<String> = offering().map(|w| w.hello.name.to_string()).collect();
            OfferedView {
                offered: offered.clone(),
                free: offering().map(|w| w.free(&self.engine.board)).sum(),
                is_expected: self.engine.expected_types.contains(&offered.name),
                last_seen: match workers.is_empty() {
                    true => offered.last_seen,
                    false => Some(self.now),
                },
                workers,
            }
        };
        self.engine.board.offered().map(view).collect()
    }

    /// How the coordinator is.
    pub fn status(&self) -> StatusView {
        let board = &self.engine.board;
        let mut counts = Counts::default();
        for team in board.teams() {
            let own = board.counts(team.uid);
            counts.pending += own.pending;
            counts.in_progress += own.in_progress;
            counts.completed += own.completed;
            counts.failed += own.failed;
            counts.cancelled += own.cancelled;
            counts.queued += own.queued;
        }
        let is_there = |worker: &&crate::fleet::WorkerEntry| {
            worker.standing(self.now) != Standing::Unreachable
        };
        let workers = || self.engine.fleet.workers().filter(is_there);
        let outcomes = self.engine.store.outcomes_kept();
        let horizon = Horizon::default();
        let (types, labels) = (&board.limits().agent_types, &board.limits().labels);
        let types = types.iter().map(|(agent_type, max)| {
            let running = board.running_of_type(agent_type);
            (agent_type.clone(), running, *max)
        });
        let labels = labels.iter().map(|(label, max)| {
            let running = board.running_with_label(label);
            (label.clone(), running, *max)
        });
        StatusView {
            running: board.running_in_all(),
            bounded_types: types.collect(),
            bounded_labels: labels.collect(),
            epoch: board.meta().epoch,
            commits: self.engine.commits,
            teams: board.teams().count(),
            counts,
            tasks_expired: self.engine.tasks_expired,
            tasks_kept: self.engine.tasks_kept,
            workers: workers().count(),
            slots: workers().map(|worker| worker.hello.slots).sum(),
            free: workers().map(|worker| worker.free(board)).sum(),
            remembered: outcomes.count,
            // While there is room, time alone makes an outcome forgotten.
            request_horizon: match outcomes.oldest {
                Some(oldest) if outcomes.count >= horizon.count => self.now.since(oldest),
                _ => horizon.span,
            },
        }
    }
}

/// Takes a page off a list.
fn page<T, P>(mut rest: impl Iterator<Item = T>, size: usize, place: fn(&T) -> P) -> Page<T, P> {
    let items: Vec<T> = rest.by_ref().take(size).collect();
    let next = match (rest.next(), items.last()) {
        (Some(_), Some(last)) => Some(place(last)),
        _ => None,
    };
    Page { items, next }
}
