//! A team's own record, and its members.

use std::sync::Arc;

use crate::{
    event::Actor,
    id::{AgentTypeName, Incarnation, MemberName, MessageId, Revision, TaskId, TeamName, TeamUid},
    refusal::Refusal,
    time::Time,
};

/// The team that always exists, and is meant where none is named.
pub const DEFAULT_TEAM: &str = "default";

/// A team without its members and tasks. Its counters are in it, so it changes with each commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// The identity.
    pub uid: TeamUid,
    /// The name.
    pub name: TeamName,
    /// What the team is for.
    pub description: Arc<str>,
    /// Who leads.
    pub lead: MemberName,
    /// When it was made.
    pub created_at: Time,
    /// The revision of its last event.
    pub revision: Revision,
    /// The last task id that was given out.
    pub last_task: TaskId,
    /// The greatest id of a task that left because it was finished long ago (K15); 0 while none
    /// did. Of an id up to this one that is not there, nothing tells whether it left so or was
    /// deleted before.
    pub expired_through: TaskId,
    /// The last message id that was given out.
    pub last_message: MessageId,
    /// Tasks that members closed since the last verification task was closed (K9).
    pub closed_since_verification: u32,
    /// From how many of them on a nudge is given; 0 for never.
    pub verification_threshold: u32,
    /// Whether the lead's mailbox gets a notice when a member has nothing to do any more.
    pub idle_notices: bool,
    /// Its share of the fleet, compared with other teams that have work waiting; from 1.
    pub weight: u32,
    /// How many of its tasks workers run at once at the most; 0 for no bound.
    pub max_running: u32,
    /// That it is over, and is only kept to be looked at.
    pub dissolved: Option<Dissolved>,
}

/// The end of a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dissolved {
    /// When.
    pub at: Time,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: Arc<str>,
    /// All its tasks are over. Until then they are being stopped and cancelled, step by step.
    pub is_settled: bool,
}

impl Team {
    /// Why a task that isn't there is not.
    pub fn task_unknown(&self, task: TaskId) -> Refusal {
        let team = self.name.clone();
        if self.is_past(task) {
            return Refusal::TaskExpired { task, team };
        }
        Refusal::TaskUnknown {
            task,
            team,
            was_deleted: task.0 > 0 && task <= self.last_task,
        }
    }

    /// Why a field can't name a task that isn't there.
    pub(crate) fn reference_unknown(&self, field: &'static str, task: TaskId) -> Refusal {
        let team = self.name.clone();
        match self.is_past(task) {
            true => Refusal::ReferenceExpired { field, task, team },
            false => Refusal::ReferenceUnknown { field, task, team },
        }
    }

    /// Whether a task that isn't there is one of those, or older than one, that expired.
    fn is_past(&self, task: TaskId) -> bool {
        task.0 > 0 && task <= self.expired_through
    }

    /// How many completed tasks wait to be verified, where that is too many (K9).
    pub fn verification_due(&self) -> Option<u32> {
        crate::nudge::due(self)
    }

    /// Whether it is there to work in.
    pub fn is_open(&self) -> bool {
        self.dissolved.is_none()
    }
}

/// How a member takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberKind {
    /// Leads the team.
    Lead,
    /// Calls the API itself.
    Agent,
    /// Runs as a sub-agent on whatever worker fits.
    Hosted,
    /// A worker daemon in its own name.
    Worker,
}

/// Someone on a team's roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name.
    pub name: MemberName,
    /// How often the name has joined.
    pub incarnation: Incarnation,
    /// How it takes part.
    pub kind: MemberKind,
    /// What it is for; for a lead its role label.
    pub role: Arc<str>,
    /// More about it.
    pub description: Arc<str>,
    /// What is put before the prompt of a hosted member's tasks.
    pub instructions: Arc<str>,
    /// The type that runs a hosted member's tasks.
    pub agent_type: Option<AgentTypeName>,
    /// The model that a hosted member wants; empty for its type's.
    pub model: Arc<str>,
    /// When this incarnation joined.
    pub joined_at: Time,
    /// When this incarnation left. Who left stays, so that the name's next one counts on.
    pub left_at: Option<Time>,
    /// Where its plan stands.
    pub plan: Plan,
    /// That it was asked to stop and leave, and has not answered.
    pub shutdown: Option<Shutdown>,
    /// What it asked and waits to be answered, oldest first.
    pub questions: Vec<Question>,
    /// Mail up to this one was given to the attempt that runs in a hosted member's name: it counts
    /// as acknowledged, and is given to the next one should that attempt be lost.
    pub handed: MessageId,
}

/// Where the plan of a member stands, who may change nothing before it is approved (M8).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Plan {
    /// None is wanted.
    #[default]
    NotRequired,
    /// One is wanted, and none is before the lead.
    Required,
    /// The lead was asked.
    Submitted {
        /// By which message.
        request: MessageId,
        /// What ties the response to it.
        correlation: Arc<str>,
        /// When it counts as rejected.
        deadline: Time,
    },
    /// The lead said yes.
    Approved,
}

impl Plan {
    /// Whether it lets the member change the board.
    pub fn is_free(&self) -> bool {
        matches!(self, Self::NotRequired | Self::Approved)
    }
}

/// A request to stop and leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// The message that asked.
    pub request: MessageId,
    /// What ties the response to it.
    pub correlation: Arc<str>,
    /// Who asked.
    pub by: MemberName,
    /// When it is enforced.
    pub deadline: Time,
}

/// A question that waits for its answer. The message may have been acknowledged since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The message that asked.
    pub message: MessageId,
    /// What ties the answer to it.
    pub correlation: Arc<str>,
    /// Who was asked: anything that one of them writes to the member is its answer.
    pub asked: Arc<[MemberName]>,
    /// When.
    pub at: Time,
}

impl Member {
    /// Whether it is on the roster now.
    pub fn is_present(&self) -> bool {
        self.left_at.is_none()
    }

    /// When it wants to be looked at although nobody asks.
    pub(crate) fn wakes_at(&self) -> Option<Time> {
        if !self.is_present() {
            return None;
        }
        let plan = match self.plan {
            Plan::Submitted { deadline, .. } => Some(deadline),
            _ => None,
        };
        let shutdown = self.shutdown.as_ref().map(|shutdown| shutdown.deadline);
        [plan, shutdown].into_iter().flatten().min()
    }
}
