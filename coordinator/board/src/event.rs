//! What happened, for those who watch and for those who ask later.

use std::{fmt, sync::Arc};

use crate::{
    id::{AttemptNumber, MemberName, MessageId, Revision, TaskId, TeamUid, WorkerName},
    mail::MailKind,
    task::Status,
    time::Time,
};

/// How the coordinator is told where members are told by their names: none of them has this one.
pub const COORDINATOR: &str = "coordinator";

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// A member of the team.
    Member(MemberName),
    /// The sub-agent of a task, which is on no roster.
    Task(TaskId),
    /// A worker, reporting on an attempt.
    Worker(WorkerName),
    /// The coordinator itself: a deadline, a lease, a cascade.
    Coordinator,
}

impl fmt::Display for Actor {
    /// The member's name, `task:<id>`, `worker:<name>` or `coordinator`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(name) => name.fmt(f),
            Self::Task(id) => write!(f, "task:{id}"),
            Self::Worker(name) => write!(f, "worker:{name}"),
            Self::Coordinator => f.write_str(COORDINATOR),
        }
    }
}

impl Actor {
    /// The member, where it is one.
    pub fn member(&self) -> Option<&MemberName> {
        match self {
            Self::Member(name) => Some(name),
            _ => None,
        }
    }
}

/// One thing that happened to a team, at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The team.
    pub team: TeamUid,
    /// The team's count of events, from 1, without gap but before [`Happening::LossAccepted`].
    pub revision: Revision,
    /// When it was decided.
    pub at: Time,
    /// Who did it.
    pub actor: Actor,
    /// On whose behalf, where that is somebody else.
    pub on_behalf_of: Option<MemberName>,
    /// Because of which other task.
    pub cause: Option<TaskId>,
    /// Because of which message.
    pub cause_message: Option<MessageId>,
    /// The last event before this one that happened to the same task; 0 for none.
    pub previous: Revision,
    /// What happened.
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The team was made.
    TeamCreated,
    /// A member joined.
    MemberJoined {
        /// Who.
        member: MemberName,
    },
    /// A member left.
    MemberLeft {
        /// Who.
        member: MemberName,
        /// Why.
        reason: Arc<str>,
    },
    /// The team is over.
    TeamDissolved {
        /// Why.
        reason: Arc<str>,
    },
    /// Another member leads.
    LeadHandedOver {
        /// Who does now.
        to: MemberName,
    },
    /// A member's plan was approved.
    PlanApproved {
        /// Whose.
        member: MemberName,
    },
    /// A member's plan was rejected.
    PlanRejected {
        /// Whose.
        member: MemberName,
        /// Why.
        reason: Arc<str>,
    },
    /// A member sent a message.
    MessageSent {
        /// Which.
        message: MessageId,
        /// What it is.
        kind: MailKind,
        /// To whom; none where it went to several.
        to: Option<MemberName>,
    },
    /// A task was put on the board.
    TaskCreated {
        /// Which.
        task: TaskId,
        /// Its subject.
        subject: Arc<str>,
    },
    /// Fields of a task changed.
    TaskUpdated {
        /// Which.
        task: TaskId,
        /// Which fields.
        fields: Fields,
    },
    /// A member took a task.
    TaskClaimed {
        /// Which.
        task: TaskId,
        /// By whom.
        by: Actor,
        /// As which attempt.
        attempt: AttemptNumber,
    },
    /// A task was given to a worker.
    TaskDispatched {
        /// Which.
        task: TaskId,
        /// As which attempt.
        attempt: AttemptNumber,
        /// To whom.
        worker: WorkerName,
    },
    /// A sub-agent began.
    TaskStarted {
        /// Which.
        task: TaskId,
        /// In which attempt.
        attempt: AttemptNumber,
    },
    /// An attempt is to be stopped.
    TaskStopRequested {
        /// Which.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptNumber,
        /// Why.
        reason: Arc<str>,
    },
    /// An attempt ended without ending its task.
    TaskRequeued {
        /// Which.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptNumber,
        /// Why.
        reason: Arc<str>,
    },
    /// The last open blocker is out of the way.
    TaskUnblocked {
        /// Which.
        task: TaskId,
    },
    /// A task that was over is pending again.
    TaskReopened {
        /// Which.
        task: TaskId,
        /// The status before.
        from: Status,
        /// Why.
        reason: Arc<str>,
    },
    /// A task is there no more.
    TaskDeleted {
        /// Which.
        task: TaskId,
        /// Its subject.
        subject: Arc<str>,
    },
    /// A finished task left the board, because its time was over.
    TaskExpired {
        /// Which.
        task: TaskId,
    },
    /// A task is held.
    TaskPaused {
        /// Which.
        task: TaskId,
        /// Why.
        reason: Arc<str>,
    },
    /// A task is held no more.
    TaskResumed {
        /// Which.
        task: TaskId,
    },
    /// The team's own settings were changed.
    TeamUpdated,
    /// The board goes on without something that was lost. The revisions before this one, since the
    /// last event that is there, are skipped.
    LossAccepted {
        /// What is missing of the whole board.
        missing: Arc<str>,
    },
    /// A running sub-agent asked its lead something.
    TaskAsked {
        /// Which.
        task: TaskId,
        /// In which attempt.
        attempt: AttemptNumber,
        /// What; cut to a line.
        text: Arc<str>,
    },
    /// A sub-agent's question was answered, or was given up.
    TaskAnswered {
        /// Which.
        task: TaskId,
        /// In which attempt.
        attempt: AttemptNumber,
        /// The answer, or why there is none; cut to a line.
        text: Arc<str>,
    },
    /// A running sub-agent was told something that it had not asked.
    TaskSteered {
        /// Which.
        task: TaskId,
        /// In which attempt.
        attempt: AttemptNumber,
        /// What; cut to a line.
        text: Arc<str>,
    },
    /// A task is over.
    TaskEnded {
        /// Which.
        task: TaskId,
        /// In which attempt; none where it ended without one.
        attempt: Option<AttemptNumber>,
        /// The status before.
        from: Status,
        /// The status now: a terminal one.
        to: Status,
        /// The error or reason; cut to a line.
        message: Arc<str>,
    },
}

impl Happening {
    /// The task that it happened to.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::TeamCreated
            | Self::TeamUpdated
            | Self::LossAccepted { .. }
            | Self::MemberJoined { .. }
            | Self::MemberLeft { .. }
            | Self::TeamDissolved { .. }
            | Self::LeadHandedOver { .. }
            | Self::PlanApproved { .. }
            | Self::PlanRejected { .. }
            | Self::MessageSent { .. } => None,
            Self::TaskCreated { task, .. }
            | Self::TaskUpdated { task, .. }
            | Self::TaskClaimed { task, .. }
            | Self::TaskDispatched { task, .. }
            | Self::TaskStarted { task, .. }
            | Self::TaskStopRequested { task, .. }
            | Self::TaskRequeued { task, .. }
            | Self::TaskUnblocked { task }
            | Self::TaskReopened { task, .. }
            | Self::TaskDeleted { task, .. }
            | Self::TaskExpired { task }
            | Self::TaskPaused { task, .. }
            | Self::TaskResumed { task }
            | Self::TaskAsked { task, .. }
            | Self::TaskAnswered { task, .. }
            | Self::TaskSteered { task, .. }
            | Self::TaskEnded { task, .. } => Some(*task),
        }
    }
}

/// A set of a task's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Fields(pub u32);

impl Fields {
    /// The status.
    pub const STATUS: Self = Self(1);
    /// The owner.
    pub const OWNER: Self = Self(1 << 1);
    /// The subject.
    pub const SUBJECT: Self = Self(1 << 2);
    /// The description.
    pub const DESCRIPTION: Self = Self(1 << 3);
    /// The active form.
    pub const ACTIVE_FORM: Self = Self(1 << 4);
    /// Tasks that wait for it.
    pub const BLOCKS: Self = Self(1 << 5);
    /// Tasks that it waits for.
    pub const BLOCKED_BY: Self = Self(1 << 6);
    /// The metadata.
    pub const METADATA: Self = Self(1 << 7);
    /// The priority.
    pub const PRIORITY: Self = Self(1 << 8);
    /// The result.
    pub const RESULT: Self = Self(1 << 9);
    /// The error.
    pub const ERROR: Self = Self(1 << 10);

    /// The labels.
    pub const LABELS: Self = Self(1 << 11);
    /// The agent type.
    pub const AGENT_TYPE: Self = Self(1 << 12);
    /// The prompt.
    pub const PROMPT: Self = Self(1 << 13);
    /// The kind.
    pub const KIND: Self = Self(1 << 14);
    /// The deadline.
    pub const DEADLINE: Self = Self(1 << 15);
    /// The run limit.
    pub const TIMEOUT: Self = Self(1 << 16);
    /// What becomes of it when a blocker fails.
    pub const BLOCKER_FAILED_POLICY: Self = Self(1 << 17);
    /// What becomes of it when its tries are used up.
    pub const FAILURE_POLICY: Self = Self(1 << 18);
    /// When it is tried again.
    pub const RETRY: Self = Self(1 << 19);
    /// The outputs.
    pub const OUTPUTS: Self = Self(1 << 20);
    /// How many children are run at once.
    pub const WINDOW: Self = Self(1 << 21);

    const NAMES: [(Self, &'static str); 22] = [
        (Self::STATUS, "status"),
        (Self::OWNER, "owner"),
        (Self::SUBJECT, "subject"),
        (Self::DESCRIPTION, "description"),
        (Self::ACTIVE_FORM, "active_form"),
        (Self::BLOCKS, "blocks"),
        (Self::BLOCKED_BY, "blocked_by"),
        (Self::METADATA, "metadata"),
        (Self::PRIORITY, "priority"),
        (Self::RESULT, "result"),
        (Self::ERROR, "error"),
        (Self::LABELS, "labels"),
        (Self::AGENT_TYPE, "agent_type"),
        (Self::PROMPT, "prompt"),
        (Self::KIND, "kind"),
        (Self::DEADLINE, "deadline"),
        (Self::TIMEOUT, "timeout"),
        (Self::BLOCKER_FAILED_POLICY, "blocker_failed_policy"),
        (Self::FAILURE_POLICY, "failure_policy"),
        (Self::RETRY, "retry"),
        (Self::OUTPUTS, "outputs"),
        (Self::WINDOW, "window"),
    ];

    /// Adds fields.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether any of these is in it.
    pub fn has(self, fields: Self) -> bool {
        self.0 & fields.0 != 0
    }

    /// Whether none is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of those in it.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(field, _)| self.0 & field.0 != 0)
            .map(|(_, name)| name)
    }
}

/// The first line of a text, 500 bytes at the most: what an event says. The whole is in the task.
pub(crate) fn line(text: &Arc<str>) -> Arc<str> {
    const MAX: usize = 500;
    let whole = text.trim();
    let first = whole.lines().next().unwrap_or_default();
    if first.len() == whole.len() && whole.len() <= MAX {
        return match whole.len() == text.len() {
            true => text.clone(),
            false => whole.into(),
        };
    }
    let mut end = first.len().min(MAX);
    while !first.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &first[..end]).into()
}
