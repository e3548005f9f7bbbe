//! What the fleet brings before the board, and what is known beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    id::{
        AgentTypeName, AttemptNumber, Fence, InstanceId, MemberName, TaskKey, TeamUid, WorkerName,
    },
    record::OfferedType,
    task::{Artifact, AttemptEnding, StopReason, Usage},
    time::Time,
};

/// Something that the fleet brings before the board: trusted to be well formed, but not to be
/// timely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetCommand {
    /// A worker offers these types.
    OfferTypes(Vec<OfferedType>),
    /// Forget the agent types that nobody has offered for long, but for these: they are expected.
    ForgetTypes(BTreeSet<AgentTypeName>),
    /// A worker serves this team, and becomes a member of it.
    JoinWorker(TeamUid, WorkerName),
    /// A worker is gone for good, for all that is known, and leaves this team.
    LeaveWorker(TeamUid, WorkerName, Arc<str>),
    /// Give a task to a worker.
    Dispatch(TaskKey, WorkerName, InstanceId),
    /// The sub-agent began.
    Started {
        /// The attempt.
        fence: Fence,
        /// The process that reports.
        instance: InstanceId,
        /// How long it may run.
        run_limit: Option<Duration>,
    },
    /// The sub-agent ended.
    Ended {
        /// The attempt.
        fence: Fence,
        /// The process that reports.
        instance: InstanceId,
        /// What it reports.
        report: EndReport,
    },
    /// The worker didn't take the assignment, or gives it back.
    Refused {
        /// The attempt.
        fence: Fence,
        /// The process that reports.
        instance: InstanceId,
        /// Why.
        reason: Arc<str>,
    },
    /// The sub-agent asks its lead.
    Asked {
        /// The attempt.
        fence: Fence,
        /// The process that reports.
        instance: InstanceId,
        /// The question's number in the attempt.
        number: u32,
        /// What is asked.
        text: Arc<str>,
        /// How long it waits.
        timeout: Option<Duration>,
    },
    /// The sub-agent has what it was to be told.
    Heeded {
        /// The attempt.
        fence: Fence,
        /// The process that reports.
        instance: InstanceId,
        /// Up to this word.
        through: u32,
    },
    /// The attempt was lost with its worker.
    Lost(TaskKey, AttemptNumber, Arc<str>),
    /// The worker's process never got the assignment.
    NeverArrived(TaskKey, AttemptNumber),
}

/// What a worker reports at the end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndReport {
    /// How it ended.
    pub ending: AttemptEnding,
    /// What came out.
    pub result: Arc<str>,
    /// Why it failed.
    pub error: Arc<str>,
    /// Why earlier than it might have.
    pub stop_reason: Option<StopReason>,
    /// The files that were kept.
    pub outputs: Vec<Artifact>,
    /// What it used.
    pub usage: Usage,
}

/// What is known beside the board when time passes: what lives in memory alone.
#[derive(Clone, Copy)]
pub struct Soft<'s> {
    /// Worker processes that have not been heard yet since the coordinator started, and may well
    /// be done with what they hold.
    pub spared: &'s BTreeSet<InstanceId>,
    /// When worker processes that held something as the coordinator started were heard again. What
    /// the coordinator itself measures of their attempts counts from there at the earliest: what was
    /// before is told by a wall clock that may have jumped.
    pub came_back: &'s BTreeMap<InstanceId, Time>,
    /// When a member was last heard of; none for never since the start.
    pub seen: &'s dyn Fn(TeamUid, &MemberName) -> Option<Time>,
    /// How long a dissolved team is kept.
    pub tombstones_kept: Duration,
    /// How long finished tasks are kept.
    pub tasks_kept: TasksKept,
    /// Finished tasks that can't be read right now: what their ends bring about waits until they
    /// can.
    pub unread: &'s BTreeSet<TaskKey>,
}

/// How long a finished task is kept (K15): as long as it is among the newest `count` of its team
/// and ended less than `span` ago, and as long as another task needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TasksKept {
    /// The newest so many of each team, by when they ended.
    pub count: usize,
    /// Those of so long.
    pub span: Duration,
}

impl Default for TasksKept {
    fn default() -> Self {
        Self {
            count: 1_000_000,
            span: Duration::from_secs(90 * 24 * 3_600),
        }
    }
}
