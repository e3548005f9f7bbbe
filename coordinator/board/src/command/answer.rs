//! What commands come to: what is told, and what is done outside.

use std::sync::Arc;

use crate::{
    event::Fields,
    id::{
        Fence, Incarnation, InstanceId, MemberName, MessageId, TaskId, TaskKey, TeamUid, WorkerName,
    },
    task::{Status, Word},
};

/// What a command came to, for the one who gave it. Views of it are taken from the board after it
/// has evolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A team was made.
    Team(TeamUid),
    /// Tasks were made: `count` of them from `first` on.
    Tasks {
        /// Where.
        team: TeamUid,
        /// The first.
        first: TaskId,
        /// How many.
        count: u32,
    },
    /// A task was changed.
    Updated(Updated),
    /// Tasks were changed, in this order.
    Batch(TeamUid, Vec<Updated>),
    /// A task was claimed, given back, held, resumed, or is being cancelled.
    Task(TaskKey),
    /// The caller held the task already, and its claim was renewed.
    Renewed(TaskKey),
    /// No task is ready.
    NothingReady,
    /// A task was opened again.
    Reopened {
        /// Which.
        task: TaskKey,
        /// Tasks that are blocked by it again.
        blocked: Vec<TaskId>,
        /// Tasks that had begun.
        started: Vec<TaskId>,
    },
    /// A task was deleted.
    Deleted {
        /// Where.
        team: TeamUid,
        /// The tasks that were freed.
        unblocked: Vec<TaskId>,
    },
    /// A team was dissolved.
    Dissolved {
        /// Which.
        team: TeamUid,
        /// It had been before.
        already: bool,
        /// Tasks that are being stopped.
        stopping: Vec<TaskId>,
    },
    /// A member joined.
    Member(TeamUid, MemberName),
    /// A member left.
    Removed {
        /// Where.
        team: TeamUid,
        /// Who.
        member: MemberName,
        /// The tasks that are free again.
        released: Vec<TaskId>,
        /// Those that are being stopped first.
        stopping: Vec<TaskId>,
    },
    /// A message was sent.
    Sent {
        /// Where.
        team: TeamUid,
        /// Which.
        message: MessageId,
        /// What ties answers to it.
        correlation: Arc<str>,
        /// To whom, by name.
        receipts: Vec<Receipt>,
    },
    /// Messages were acknowledged.
    Acked {
        /// How many.
        count: usize,
        /// How many are left.
        left: usize,
    },
    /// Tasks that a filter found were changed.
    Swept {
        /// Where.
        team: TeamUid,
        /// How many.
        count: u32,
        /// There are more.
        is_more: bool,
        /// The last that was looked at.
        last: TaskId,
    },
    /// There is nothing to say.
    Done,
}

/// What a change of a task came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updated {
    /// Which task.
    pub task: TaskKey,
    /// Which fields changed.
    pub fields: Fields,
    /// The change of status.
    pub status: Option<(Status, Status)>,
    /// The tasks that were freed.
    pub unblocked: Vec<TaskId>,
    /// How many tasks were closed since the last verification, where that is too many.
    pub verification_nudge: Option<u32>,
}

/// What became of one copy of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The recipient.
    pub member: MemberName,
    /// Which incarnation of it.
    pub incarnation: Incarnation,
    /// It is in its mailbox; not so for who left at once because of it.
    pub stored: bool,
    /// It waited for an answer, and takes this as it.
    pub answers: bool,
}

/// What is to happen outside when a decision is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send the assignment.
    Assign(Fence, WorkerName, InstanceId),
    /// Send a stop.
    Stop {
        /// To whom.
        instance: InstanceId,
        /// Which attempt.
        fence: Fence,
        /// Why.
        reason: Arc<str>,
    },
    /// Tell a sub-agent something.
    Tell {
        /// To whom.
        instance: InstanceId,
        /// Which attempt.
        fence: Fence,
        /// What.
        word: Word,
    },
    /// The worker did not confirm a stop in time: cut it off.
    CutOff(InstanceId),
    /// The task is over.
    TaskOver(TaskKey),
}
