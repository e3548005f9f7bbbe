//! A task: one card on the board, with what became of it.

mod attempt;
mod outline;
mod policy;
mod terms;
mod word;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use self::{
    attempt::{AttemptEnding, EndedAttempt, Runner, Usage},
    policy::{BlockerFailedPolicy, FailurePolicy, Priority, Retry, TaskKind},
    terms::{Hirer, Terms},
    word::{Asked, Word, WordKind},
};
use crate::{
    event::Actor,
    id::{
        AgentTypeName, AttemptNumber, Digest, InstanceId, MemberName, MessageId, Revision, TaskId,
        WorkerName,
    },
    time::Time,
};

/// A task, whole. Texts are shared, so that a copy is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its number in its team.
    pub id: TaskId,
    /// What is to be done, in a line.
    pub subject: Arc<str>,
    /// What is to be done, at length.
    pub description: Arc<str>,
    /// What a board shows while it is being done.
    pub active_form: Arc<str>,
    /// What the sub-agent is told; empty for subject and description.
    pub prompt: Arc<str>,
    /// Whose it is.
    pub owner: Option<MemberName>,
    /// What it waits for, in the order given. The other direction is derived.
    pub blocked_by: Vec<TaskId>,
    /// JSON values by key.
    pub metadata: Metadata,
    /// How soon it should run.
    pub priority: Priority,
    /// Words to filter by.
    pub labels: Vec<Arc<str>>,
    /// The type that is to run it.
    pub agent_type: Option<AgentTypeName>,
    /// The task that it is part of.
    pub parent: Option<TaskId>,
    /// What kind of work it is.
    pub kind: TaskKind,
    /// When it must be over.
    pub deadline: Option<Time>,
    /// How long one attempt may run.
    pub timeout: Option<Duration>,
    /// How many attempts may be lost.
    pub crash_limit: u32,
    /// How many were.
    pub crashes: u32,
    /// When and how often the agent's own failure is tried again; none for never.
    pub retry: Option<Box<Retry>>,
    /// How many attempts ended by the agent's own failure since it was made, reopened or resumed.
    pub failures: u32,
    /// What becomes of it when its tries are used up.
    pub failure_policy: FailurePolicy,
    /// What becomes of it when a blocker fails.
    pub blocker_failed_policy: BlockerFailedPolicy,
    /// Whether its sub-agent sees the board of whoever hired it.
    pub share_todos: bool,
    /// What is put into the sandbox.
    pub inputs: Vec<Artifact>,
    /// Which files of the workspace are kept.
    pub output_globs: Vec<Arc<str>>,
    /// Which files were kept.
    pub outputs: Vec<Artifact>,
    /// What came out, as far as anything did.
    pub result: Arc<str>,
    /// Why it failed.
    pub error: Arc<str>,
    /// What all attempts together used.
    pub usage: Usage,
    /// When it was put on the board.
    pub created_at: Time,
    /// By whom.
    pub created_by: Actor,
    /// When its present or last attempt or claim began.
    pub started_at: Option<Time>,
    /// Where it stands.
    pub state: TaskState,
    /// The last number given to an attempt; 0 before the first.
    pub last_attempt: AttemptNumber,
    /// Its latest ended attempts, oldest first.
    pub attempts: Vec<EndedAttempt>,
    /// The team's revision at its last change.
    pub revision: Revision,
    /// The id that its maker gave it.
    pub client_task_id: Arc<str>,
    /// What few tasks say of how they are run; none where it is all as usual.
    pub terms: Option<Box<Terms>>,
}

/// JSON texts by key: canonical, never looked into by the board.
pub type Metadata = BTreeMap<Arc<str>, Arc<str>>;

/// Where a task stands, with what is known just there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// Not begun, or to be begun again.
    Pending(Waiting),
    /// A member holds it.
    Claimed(Claim),
    /// A worker has it.
    Placed(Box<Placement>),
    /// It is over.
    Ended(End),
}

/// A task that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Since when nothing but a free hand was missing: its making, its unblocking, its requeuing.
    pub since: Time,
    /// Not to be placed before this.
    pub not_before: Option<Time>,
    /// How many workers in a row refused it.
    pub refusals: u32,
    /// Why it waits again, for a person; empty the first time.
    pub reason: Arc<str>,
    /// That it is held until somebody resumes it.
    pub paused: Option<Box<Paused>>,
}

impl Waiting {
    /// Waits from a moment on, for a reason.
    pub(crate) fn from(since: Time, reason: Arc<str>) -> Self {
        Self {
            since,
            not_before: None,
            refusals: 0,
            reason,
            paused: None,
        }
    }

    /// Whether nothing but other tasks may be in its way.
    pub fn is_free(&self) -> bool {
        self.not_before.is_none() && self.paused.is_none()
    }
}

/// That a task is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// Since when.
    pub at: Time,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: Arc<str>,
}

/// A hold by who calls the API itself: a member, or a sub-agent at a task of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The attempt that it began.
    pub attempt: AttemptNumber,
    /// Who holds.
    pub by: Actor,
    /// Since when.
    pub since: Time,
    /// How long it lasts after the holder was heard of; none for as long as it takes.
    pub lease: Option<Duration>,
    /// When the holder was heard of, as far as that was written down: at the latest a lease ago.
    pub renewed_at: Time,
}

impl Claim {
    /// When it ends, unless the holder was heard of since.
    pub fn lease_until(&self) -> Option<Time> {
        Some(self.renewed_at + self.lease?)
    }
}

/// A worker's hold: always a lease, whose time the fleet keeps in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The attempt.
    pub attempt: AttemptNumber,
    /// The worker.
    pub worker: WorkerName,
    /// Its process.
    pub instance: InstanceId,
    /// The hosted member that it acts as: the owner when it was given out, whoever owns the task
    /// by now. Without one it acts for the task alone.
    pub member: Option<MemberName>,
    /// That member's mail up to this one goes with it; 0 for none.
    pub mail: MessageId,
    /// When it was given out.
    pub dispatched_at: Time,
    /// When its sub-agent began.
    pub started_at: Option<Time>,
    /// How long it may run: what the worker said when it began, or the task before, if that is
    /// less.
    pub run_limit: Option<Duration>,
    /// A request to stop it.
    pub stop: Option<Stop>,
    /// The question that waits for an answer.
    pub question: Option<Asked>,
    /// How many questions it has asked.
    pub questions: u32,
    /// What its sub-agent is to be told and, for all that is known, was not; oldest first.
    pub words: Vec<Word>,
    /// The last number given to a word to it; 0 before the first.
    pub last_word: u32,
    /// How many tasks its sub-agent has made.
    pub tasks_made: u32,
}

/// A request to stop an attempt. It is durable: it outlives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// When it was asked for.
    pub at: Time,
    /// By whom.
    pub by: Actor,
    /// Why, for a person.
    pub reason: Arc<str>,
    /// What becomes of the task when the stop is confirmed.
    pub then: AfterStop,
}

/// What becomes of a task when the stop of its attempt is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterStop {
    /// It is cancelled.
    Cancel,
    /// It waits again.
    Requeue,
    /// It failed, for this reason.
    Fail(StopReason),
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How.
    pub status: EndStatus,
    /// When.
    pub at: Time,
    /// By whom.
    pub by: Actor,
    /// Why earlier than it might have.
    pub stop_reason: Option<StopReason>,
    /// Its dependants are still to be freed or cancelled; until then it holds them back.
    pub cascade_due: bool,
}

/// The three ways in which a task is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndStatus {
    /// Done.
    Completed,
    /// Not what was wanted.
    Failed,
    /// Called off.
    Cancelled,
}

/// The five words that the world knows for where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Not begun.
    Pending,
    /// Claimed or placed.
    InProgress,
    /// Done.
    Completed,
    /// Not what was wanted.
    Failed,
    /// Called off.
    Cancelled,
}

impl Status {
    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The word, as on the board line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl From<EndStatus> for Status {
    fn from(end: EndStatus) -> Self {
        match end {
            EndStatus::Completed => Self::Completed,
            EndStatus::Failed => Self::Failed,
            EndStatus::Cancelled => Self::Cancelled,
        }
    }
}

impl TaskState {
    /// The word for it.
    pub fn status(&self) -> Status {
        match self {
            Self::Pending(_) => Status::Pending,
            Self::Claimed(_) | Self::Placed(_) => Status::InProgress,
            Self::Ended(end) => end.status.into(),
        }
    }
}

impl Task {
    /// How it is run, as far as that is said; as usual where it isn't.
    pub fn terms(&self) -> &Terms {
        static USUAL: Terms = Terms::USUAL;
        self.terms.as_deref().unwrap_or(&USUAL)
    }

    /// Changes how it is run.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = (terms != Terms::USUAL).then(|| Box::new(terms));
    }

    /// The claim, where there is one.
    pub fn claim(&self) -> Option<&Claim> {
        match &self.state {
            TaskState::Claimed(claim) => Some(claim),
            _ => None,
        }
    }

    /// How it waits, where it does.
    pub fn waiting(&self) -> Option<&Waiting> {
        match &self.state {
            TaskState::Pending(waiting) => Some(waiting),
            _ => None,
        }
    }

    /// The word for where it stands.
    pub fn status(&self) -> Status {
        self.state.status()
    }

    /// The worker's hold, where there is one.
    pub fn placement(&self) -> Option<&Placement> {
        match &self.state {
            TaskState::Placed(placement) => Some(placement),
            _ => None,
        }
    }

    /// How it ended, where it did.
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            TaskState::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// Whether it is over, and its dependants are still to be looked after.
    pub(crate) fn is_cascade_due(&self) -> bool {
        self.end().is_some_and(|end| end.cascade_due)
    }

    /// What stays in memory of it when it has been over for a while.
    pub fn stub(&self) -> Option<Stub> {
        let end = self.end()?;
        Some(Stub {
            id: self.id,
            status: end.status,
            blocked_by: self.blocked_by.as_slice().into(),
            owner: self.owner.clone(),
            parent: self.parent,
            revision: self.revision,
            cascade_due: end.cascade_due,
            share_todos: self.share_todos,
            ended_at: end.at,
        })
    }
}

/// What stays in memory of a task that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stub {
    /// Its number.
    pub id: TaskId,
    /// How it ended.
    pub status: EndStatus,
    /// What it waited for.
    pub blocked_by: Arc<[TaskId]>,
    /// Whose it was.
    pub owner: Option<MemberName>,
    /// The task that it was part of.
    pub parent: Option<TaskId>,
    /// The team's revision at its last change.
    pub revision: Revision,
    /// See [`End::cascade_due`].
    pub cascade_due: bool,
    /// See [`Task::share_todos`].
    pub share_todos: bool,
    /// When it ended.
    pub ended_at: Time,
}

/// Why a task ended earlier than it might have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopReason {
    /// Its deadline passed.
    Deadline,
    /// An attempt ran longer than it may.
    Timeout,
    /// Somebody cancelled it.
    Cancelled,
    /// A blocker failed.
    BlockerFailed,
    /// Too many attempts were lost.
    CrashLimit,
    /// A bound of the sandbox was hit.
    ResourceLimit,
}

/// A blob, with the path under which it is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its content's name.
    pub digest: Digest,
    /// Its path: relative, without `..`.
    pub path: Arc<str>,
    /// Bytes.
    pub size: u64,
}
