//! What is durable, in the units in which it is written.
//!
//! A decision is a set of records as they are to be afterwards. Loading a board and running it
//! both install records, by the same code: that is why a reloaded board equals the live one.

use std::sync::Arc;

use crate::{
    event::Fields,
    id::{AgentTypeName, Epoch, MemberName, MessageId, TaskId, TeamUid},
    mail::Letter,
    task::{Status, Stub, Task},
    team::{Member, Team},
    time::Time,
};

/// A record as it is after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The board's own counters.
    Meta(Meta),
    /// A team, without members and tasks.
    Team(Team),
    /// A member of a team.
    Member(TeamUid, Member),
    /// A task of a team.
    Task(TeamUid, Arc<Task>),
    /// A task of a team that is over, as far as it is kept in memory. Only met when loading: a
    /// store makes it of a [`Record::Task`] that is over.
    Stub(TeamUid, Stub),
    /// An agent type that was offered.
    Offered(OfferedType),
    /// A message. One that has a single copy is in its recipient's mailbox by that.
    Letter(TeamUid, Arc<Letter>),
    /// A copy of a message that has several, in a mailbox.
    Post(TeamUid, MemberName, MessageId),
    /// A task is there no more.
    TaskGone(TeamUid, TaskId),
    /// A message is there no more: its last copy was acknowledged.
    LetterGone(TeamUid, MessageId),
    /// A copy of a message is there no more.
    PostGone(TeamUid, MemberName, MessageId),
    /// An agent type was not offered for long, and is forgotten.
    OfferedGone(AgentTypeName),
    /// A team is there no more, with all that was its own.
    TeamGone(TeamUid),
}

/// The board's own counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The epoch.
    pub epoch: Epoch,
    /// The last uid that was given to a team.
    pub last_team: TeamUid,
}

/// An agent type that a worker once offered, or that is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedType {
    /// Its name.
    pub name: AgentTypeName,
    /// What it is good for.
    pub description: Arc<str>,
    /// How it runs.
    pub runtime: Arc<str>,
    /// A hash of its definition.
    pub digest: Arc<str>,
    /// Its sub-agents can ask, be answered and be steered while they run.
    pub is_interactive: bool,
    /// How deep below its own task a sub-agent of it may have others hired; 0 for not at all.
    pub hiring_depth: u32,
    /// How many tasks an attempt of it may make.
    pub tasks_max: u32,
    /// Its sub-agents may make teams.
    pub may_create_teams: bool,
    /// The prompt is a script, so that no prompt may be made up of what people say of a task.
    pub prompt_is_script: bool,
    /// When it was last offered. Kept to the hour, so that reconnecting workers don't write.
    pub last_seen: Option<Time>,
}

impl OfferedType {
    /// Whether it is a program that gets its mail beside its prompt, and not in it.
    pub fn is_command(&self) -> bool {
        &*self.runtime == "command"
    }
}

/// The hash of who called what with which request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub u128);

/// A request that wants to be recognised when it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Who, what, which id.
    pub key: RequestKey,
    /// The hash of its canonical body.
    pub body: u128,
}

/// What a request with an id came to: enough to answer it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Which request.
    pub request: Request,
    /// When.
    pub at: Time,
    /// The team that it made or changed.
    pub team: TeamUid,
    /// What it came to.
    pub came_to: CameTo,
}

/// What a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameTo {
    /// A team was made.
    Team,
    /// Tasks were made: `count` of them from `first` on.
    Tasks {
        /// The first's id.
        first: TaskId,
        /// How many.
        count: u32,
    },
    /// A task was changed.
    Updated {
        /// Which.
        task: TaskId,
        /// Which fields changed.
        fields: Fields,
        /// The change of status.
        status: Option<(Status, Status)>,
    },
    /// A task was claimed, given back, held, resumed, or is being cancelled.
    Task {
        /// Which.
        task: TaskId,
    },
    /// The claim of a task was renewed, which its claimant held already.
    Renewed {
        /// Which.
        task: TaskId,
    },
    /// Several tasks were changed: those that the request names.
    Batch,
    /// Tasks that a filter found were changed.
    Swept {
        /// How many.
        count: u32,
        /// Whether there were more.
        is_more: bool,
        /// The last that was looked at.
        last: TaskId,
    },
    /// A task was opened again.
    Reopened {
        /// Which.
        task: TaskId,
    },
    /// A task was deleted.
    Deleted,
    /// A team was dissolved.
    Dissolved,
    /// A member joined: the one that the request names.
    Member,
    /// A member left: the one that the request names.
    Removed,
    /// A message was sent.
    Sent {
        /// Which.
        message: MessageId,
    },
}
