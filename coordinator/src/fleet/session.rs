//! What a worker's stream and the fleet say to each other, free of the wire's types.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use board::{
    id::{AgentTypeName, Epoch, Fence, InstanceId, TaskId, TeamName, WorkerName},
    mail::Letter,
    record::OfferedType,
    task::{Artifact, Word},
    time::Time,
};
use tokio::sync::mpsc;

use super::{Heard, Leases};

/// The newest version of the stream that this coordinator speaks. The second brought questions,
/// words to sub-agents and drains; the third attempts' secrets.
pub const PROTOCOL: i32 = 3;

/// The oldest that it still speaks. A worker of an older one shows no secrets: whatever its
/// sub-agents called for would be refused.
pub const PROTOCOL_MIN: i32 = 3;

/// A stream's number: a later stream of the same worker has another, so that a late close of the
/// old one can't hurt the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Where orders for a worker go. Bounded: a worker that doesn't take its orders is cut off.
pub type Outbox = mpsc::Sender<Order>;

/// What a worker says first.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Its name.
    pub name: WorkerName,
    /// Its process.
    pub instance: InstanceId,
    /// Its version.
    pub version: Arc<str>,
    /// What it says of itself.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// How many sub-agents it runs at once.
    pub slots: u32,
    /// What it offers.
    pub types: Vec<Offered>,
    /// The teams that it serves; none for all.
    pub teams: Option<Vec<TeamName>>,
    /// What it still holds.
    pub held: Vec<Fence>,
    /// Whether the open stream is the heartbeat.
    pub manual: bool,
    /// How its sub-agents are kept apart.
    pub sandbox: Arc<str>,
    /// How far each control of the sandbox holds.
    pub sandbox_controls: Vec<SandboxControl>,
    /// Earlier processes of it that are proven dead with all that they ran.
    pub ended: Vec<InstanceId>,
    /// The newest version of the stream that it speaks, and the oldest.
    pub protocol: i32,
    /// See [`Hello::protocol`].
    pub protocol_min: i32,
    /// How often the process has dialled; 0 for not counted.
    pub dials: u64,
}

/// An agent type that a worker offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its name.
    pub name: AgentTypeName,
    /// What it is good for.
    pub description: Arc<str>,
    /// How it runs.
    pub runtime: Arc<str>,
    /// A hash of its definition.
    pub digest: Arc<str>,
    /// Its sub-agents can ask, be answered and be steered.
    pub is_interactive: bool,
    /// How deep its sub-agents may have others hired.
    pub hiring_depth: u32,
    /// How many tasks an attempt of it may make.
    pub tasks_max: u32,
    /// Its sub-agents may make teams.
    pub may_create_teams: bool,
    /// The prompt is a script.
    pub prompt_is_script: bool,
    /// After how long without progress one counts as stalled.
    pub stall_span: Option<Duration>,
}

impl Hello {
    /// The version of the stream that is spoken with it.
    pub fn spoken(&self) -> i32 {
        self.protocol.min(PROTOCOL)
    }
}

impl Offered {
    /// As it is put on the board.
    pub fn record(&self, now: Time) -> OfferedType {
        OfferedType {
            name: self.name.clone(),
            description: self.description.clone(),
            runtime: self.runtime.clone(),
            digest: self.digest.clone(),
            is_interactive: self.is_interactive,
            hiring_depth: self.hiring_depth,
            tasks_max: self.tasks_max,
            may_create_teams: self.may_create_teams,
            prompt_is_script: self.prompt_is_script,
            last_seen: Some(now),
        }
    }
}

/// One control of a worker's sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxControl {
    /// Its name.
    pub name: Arc<str>,
    /// How far it holds.
    pub level: SandboxLevel,
    /// Why not further.
    pub reason: Arc<str>,
}

/// How far a control of a sandbox holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxLevel {
    /// It holds.
    Enforced,
    /// It holds in part.
    Degraded,
    /// It isn't there.
    Missing,
}

/// The answer to a Hello that was taken.
#[derive(Debug, Clone)]
pub struct Welcome {
    /// The stream's number.
    pub session: SessionId,
    /// What to do with what it holds, in the order of the Hello.
    pub verdicts: Vec<Verdict>,
    /// The spans by which it is judged.
    pub leases: Leases,
    /// How long after it was last heard of its attempts are its own.
    pub lease_span: Duration,
    /// How long after this its first heartbeat is due.
    pub first_heartbeat: Duration,
    /// The version of the stream that is spoken from here on.
    pub protocol: i32,
    /// The board's epoch.
    pub epoch: Epoch,
    /// Where its signs of life are noted.
    pub heard: Heard,
}

/// What to do with an attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which.
    pub fence: Fence,
    /// Keep it; else stop it and forget it.
    pub keep: bool,
    /// Why not, where not.
    pub reason: String,
}

/// What the coordinator wants of a worker.
#[derive(Debug, Clone)]
pub enum Order {
    /// Run this.
    Assign(Box<Assignment>),
    /// Stop this.
    Stop {
        /// Which attempt.
        fence: Fence,
        /// Why.
        reason: Arc<str>,
    },
    /// Tell a sub-agent something.
    Tell {
        /// Which attempt.
        fence: Fence,
        /// What.
        word: Word,
    },
    /// Take no new work, let what runs come to its end, and leave.
    Drain {
        /// Why.
        reason: Arc<str>,
        /// How long what runs may take; none for the worker's own drain time.
        timeout: Option<Duration>,
    },
    /// This stream ends; dial again after a while.
    Goodbye {
        /// Why.
        reason: &'static str,
        /// How long to wait.
        retry_after: Duration,
    },
}

/// Work for one slot.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// What every report of it carries.
    pub fence: Fence,
    /// The team's name.
    pub team: TeamName,
    /// The task's subject.
    pub subject: Arc<str>,
    /// What the sub-agent is told.
    pub prompt: Arc<str>,
    /// How it is run.
    pub agent_type: AgentTypeName,
    /// Who it acts as.
    pub acts_as: String,
    /// What is put before the prompt.
    pub instructions: Arc<str>,
    /// The model that the member wants.
    pub model: Arc<str>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// When it must be over.
    pub deadline: Option<Time>,
    /// How long that is from when this was decided.
    pub time_left: Option<Duration>,
    /// What is put into the sandbox.
    pub inputs: Vec<Artifact>,
    /// Which files are kept.
    pub output_globs: Vec<Arc<str>>,
    /// What the finished blockers brought.
    pub blockers: Vec<BlockerResult>,
    /// The unread mail of the member as whom it acts, where it isn't in the prompt.
    pub mail: Vec<Arc<Letter>>,
    /// An attempt of the same worker that lends it its slot.
    pub lender: Option<Fence>,
    /// How deep below it others may be hired.
    pub hiring_depth: u32,
}

/// What a finished blocker brought (D13).
#[derive(Debug, Clone)]
pub struct BlockerResult {
    /// Which.
    pub task: TaskId,
    /// Its subject.
    pub subject: Arc<str>,
    /// Its result, cut where it is long.
    pub result: Arc<str>,
    /// Whether it was cut.
    pub is_cut: bool,
    /// The files that it left.
    pub outputs: Vec<Artifact>,
}
