//! The expected "no", with the facts that the caller needs.

mod known;
mod obstacle;
mod words;

use self::{
    known::known_text,
    words::{ids_text, owner_text, path_text, present_text},
};
pub use self::{
    known::{KnownType, Offering},
    obstacle::{Obstacle, Staleness},
};
use crate::{
    event::Actor,
    id::{AgentTypeName, AttemptNumber, MemberName, NameError, Revision, TaskId, TeamName},
    task::Status,
    time::Time,
};

/// Why a command is not carried out. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field that must say something is blank.
    #[error("{field} is blank")]
    Blank {
        /// Which.
        field: &'static str,
    },
    /// A text is longer than it may be.
    #[error("{field} has {len} {unit}, at most {max} are allowed")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// How long it is.
        len: usize,
        /// How long it may be.
        max: usize,
        /// In what.
        unit: &'static str,
    },
    /// There are more of something than may be.
    #[error("{field} has {count} entries, at most {max} are allowed")]
    TooMany {
        /// Which field.
        field: &'static str,
        /// How many there are.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// A name isn't one.
    #[error("{field} {text:?} {why}")]
    BadName {
        /// Which field.
        field: &'static str,
        /// What was given, cut to 100 characters.
        text: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// A value that makes no sense.
    #[error("{field} {why}")]
    BadValue {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// One command would write more than a batch may hold.
    #[error("this would write {size} {unit} at once, at most {max} are allowed")]
    CommandTooLarge {
        /// How much it would be.
        size: usize,
        /// How much may be.
        max: usize,
        /// In what.
        unit: &'static str,
    },
    /// A task would wait for itself.
    #[error("{field} names task #{task} itself, and no task can wait for itself")]
    SelfEdge {
        /// The field that names it.
        field: &'static str,
        /// Which.
        task: TaskId,
    },
    /// Tasks would wait for each other in a circle.
    #[error("{field} would make tasks wait for each other: {}", path_text(path))]
    Cycle {
        /// The field whose edge closes the circle.
        field: &'static str,
        /// Each waits for the next; the last is the first again.
        path: Vec<TaskId>,
    },

    /// A sub-agent must be at work, and is not.
    #[error("no sub-agent is at work at task #{task}: it is {stands}")]
    NotRunning {
        /// Which.
        task: TaskId,
        /// Where it stands.
        stands: &'static str,
    },
    /// A running sub-agent has no ear.
    #[error("a sub-agent of type {agent_type} can't be told anything while it runs")]
    NotInteractive {
        /// Of which type.
        agent_type: AgentTypeName,
    },
    /// A question is to be answered that does not wait.
    #[error("task #{task} waits for no answer{}", present_text(*present))]
    NoQuestion {
        /// Which task.
        task: TaskId,
        /// The number of the one that waits.
        present: Option<u32>,
    },
    /// A sub-agent may not have others hired, or not so deep.
    #[error(
        "a sub-agent of type {agent_type} may hire {allowed} levels deep, this would be level {depth}"
    )]
    HiringRefused {
        /// Of which type.
        agent_type: AgentTypeName,
        /// How deep it would be.
        depth: u32,
        /// How deep it may be.
        allowed: u32,
    },
    /// An attempt has made as many tasks as its type allows.
    #[error("attempt {attempt} of #{task} made {made} of its {max} tasks: {count} more won't fit")]
    AttemptTasksFull {
        /// The sub-agent's own task.
        task: TaskId,
        /// Its attempt.
        attempt: AttemptNumber,
        /// How it is run.
        agent_type: AgentTypeName,
        /// How many tasks it has made.
        made: u32,
        /// How many more it would make.
        count: usize,
        /// How many it may make.
        max: u32,
    },
    /// A sub-agent makes a team, and its type doesn't allow it.
    #[error("a sub-agent of type {agent_type:?} may not make teams")]
    TeamCreationRefused {
        /// Of which type.
        agent_type: AgentTypeName,
    },
    /// A sub-agent would wait for a task that nobody could ever run while it waits.
    #[error("task #{task} waits for a task that can't run while it does: {why}")]
    WouldDeadlock {
        /// Which task's sub-agent waits.
        task: TaskId,
        /// Why.
        why: String,
    },

    /// No such team.
    #[error("no team {team:?}")]
    TeamUnknown {
        /// The name that was asked for.
        team: String,
    },
    /// No such member on the roster.
    #[error("no member {member:?} in team {team:?}")]
    MemberUnknown {
        /// The name that was asked for.
        member: MemberName,
        /// The team.
        team: TeamName,
    },
    /// The member has left, or joined again since.
    #[error("member {member:?} is not incarnation {wanted} any more, but {present}")]
    IncarnationStale {
        /// Who.
        member: MemberName,
        /// The incarnation that the caller claims.
        wanted: u32,
        /// The one on the roster.
        present: u32,
    },
    /// No such task.
    #[error(
        "{} task #{task} in team {team:?}",
        if *was_deleted { "there is no more" } else { "no" }
    )]
    TaskUnknown {
        /// The id that was asked for.
        task: TaskId,
        /// The team.
        team: TeamName,
        /// There was one, and it was deleted.
        was_deleted: bool,
    },
    /// The task was finished long ago, and is kept no more (K15). One that was deleted before then
    /// is told so, too.
    #[error("task #{task} of team {team:?} is not kept any more")]
    TaskExpired {
        /// The id that was asked for.
        task: TaskId,
        /// The team.
        team: TeamName,
    },
    /// The team is over.
    #[error("team {team:?} was dissolved")]
    TeamOver {
        /// Which.
        team: TeamName,
    },
    /// The team has tasks in progress.
    #[error("team {team:?} has {} tasks in progress: {}", tasks.len(), ids_text(tasks))]
    TeamActive {
        /// Which.
        team: TeamName,
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// The team is there for good.
    #[error("team {team:?} always exists")]
    TeamPermanent {
        /// Which.
        team: TeamName,
    },
    /// The member has running attempts.
    #[error("member {member:?} is being run at {}", ids_text(tasks))]
    MemberActive {
        /// Who.
        member: MemberName,
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// The lead can't go.
    #[error("{member:?} leads the team")]
    MemberLeads {
        /// Who.
        member: MemberName,
    },
    /// The member's plan is not approved.
    #[error("the plan of {member:?} is not approved")]
    PlanNotApproved {
        /// Who.
        member: MemberName,
    },
    /// The mailbox of a member is full.
    #[error("the mailbox of {member:?} is full: {count} messages, {bytes} bytes")]
    MailboxFull {
        /// Whose.
        member: MemberName,
        /// How many messages are in it.
        count: usize,
        /// How many bytes they have.
        bytes: usize,
    },
    /// One sender has as much of a mailbox as it may.
    #[error("{sender:?} has half of {member:?}'s mailbox: {count} messages, {bytes} bytes")]
    MailboxShareFull {
        /// Whose mailbox.
        member: MemberName,
        /// Who sends: a member's name or `task:<id>`.
        sender: String,
        /// How many of its messages are in it.
        count: usize,
        /// How many bytes they have.
        bytes: usize,
    },
    /// A message to its own sender alone.
    #[error("{member:?} would write to itself alone")]
    SelfRecipient {
        /// Who.
        member: MemberName,
    },
    /// A response without a request.
    #[error("{member:?} was not asked, or not by a message with this correlation id")]
    NotAsked {
        /// Who would respond, or be responded to.
        member: MemberName,
    },
    /// The task that an edge or a parent names isn't there.
    #[error("{field} names task #{task}, which isn't in team {team:?}")]
    ReferenceUnknown {
        /// Which field.
        field: &'static str,
        /// The id.
        task: TaskId,
        /// The team.
        team: TeamName,
    },
    /// The task that an edge or a parent names was finished long ago, and is kept no more (K15).
    #[error("{field} names task #{task} of team {team:?}, which is not kept any more")]
    ReferenceExpired {
        /// Which field.
        field: &'static str,
        /// The id.
        task: TaskId,
        /// The team.
        team: TeamName,
    },
    /// No worker has offered this type of late, and nobody expects it.
    #[error("no worker offers agent type {agent_type:?}; {}", known_text(known, *now))]
    AgentTypeUnknown {
        /// What was asked for.
        agent_type: AgentTypeName,
        /// What is known, by name.
        known: Vec<KnownType>,
        /// The moment of the refusal.
        now: Time,
    },
    /// A type whose prompt is a script has nothing to run.
    #[error("agent type {agent_type:?} runs its prompt as a script, and the task has none")]
    PromptMissing {
        /// Which type.
        agent_type: AgentTypeName,
    },
    /// A worker owns the task, and nothing says how it is to run it.
    #[error("a task of worker {owner:?} must name one of its agent types")]
    AgentTypeMissing {
        /// The worker.
        owner: MemberName,
    },

    /// The team's name is taken.
    #[error("team {team:?} is there already")]
    TeamExists {
        /// Which.
        team: TeamName,
    },
    /// A name comes twice in one roster.
    #[error("member {member:?} is there already")]
    MemberExists {
        /// Which.
        member: MemberName,
    },
    /// The request id was used for something else.
    #[error("the request id was used before, with another body")]
    RequestIdReused,

    /// Only the lead may.
    #[error("only the lead may {action}; {:?} is not", member.to_string())]
    LeadOnly {
        /// What.
        action: &'static str,
        /// Who asked.
        member: Actor,
    },
    /// Only the owner, or the lead, may.
    #[error("task #{task} belongs to {}, not to {:?}", owner_text(owner), member.to_string())]
    NotOwner {
        /// Which.
        task: TaskId,
        /// Whose it is.
        owner: Option<MemberName>,
        /// Who asked.
        member: Actor,
    },

    /// Nobody holds it.
    #[error("task #{task} is held by nobody")]
    TaskNotHeld {
        /// Which.
        task: TaskId,
    },
    /// It is not over.
    #[error("task #{task} is {}, not over", status.word())]
    TaskOpen {
        /// Which.
        task: TaskId,
        /// Where it stands.
        status: Status,
    },
    /// It is held until somebody resumes it.
    #[error("task #{task} is paused: {reason}")]
    TaskPaused {
        /// Which.
        task: TaskId,
        /// Why.
        reason: String,
    },
    /// It is not held.
    #[error("task #{task} is not paused")]
    TaskNotPaused {
        /// Which.
        task: TaskId,
    },
    /// Other tasks are part of it.
    #[error("task #{task} has children: {}", ids_text(children))]
    TaskHasChildren {
        /// Which.
        task: TaskId,
        /// The children.
        children: Vec<TaskId>,
    },
    /// Another attempt than the caller's is the present one.
    #[error("attempt {expected} of task #{task} is over; the last one is {actual}")]
    AttemptOver {
        /// Which.
        task: TaskId,
        /// The caller's.
        expected: AttemptNumber,
        /// The last.
        actual: AttemptNumber,
    },

    /// Open blockers hold it back.
    #[error("task #{task} waits for {}", ids_text(blockers))]
    TaskBlocked {
        /// Which.
        task: TaskId,
        /// By which.
        blockers: Vec<TaskId>,
    },
    /// It is being cancelled, because what it was part of, or what hired it, is over.
    #[error("task #{task} is being cancelled: #{parent}, which it depends on, is over")]
    TaskOrphaned {
        /// Which.
        task: TaskId,
        /// What is over.
        parent: TaskId,
    },
    /// Somebody holds it.
    #[error("task #{task} is held by {holder}")]
    TaskHeld {
        /// Which.
        task: TaskId,
        /// By whom.
        holder: String,
    },
    /// A worker runs it: only its own report, or a stop, ends that.
    #[error("task #{task} is being run by worker {worker} (attempt {attempt})")]
    TaskRunning {
        /// Which.
        task: TaskId,
        /// Who.
        worker: String,
        /// Which attempt.
        attempt: AttemptNumber,
    },
    /// It is over.
    #[error("task #{task} is {} already", status.word())]
    TaskOver {
        /// Which.
        task: TaskId,
        /// How it ended.
        status: Status,
    },
    /// It is over, and its end never changes.
    #[error("task #{task} is {} already, and its end never changes", status.word())]
    LateEnding {
        /// Which.
        task: TaskId,
        /// How it ended.
        status: Status,
    },
    /// A status only moves forward.
    #[error("task #{task} can't go from {} to {}", from.word(), to.word())]
    StatusBackward {
        /// Which.
        task: TaskId,
        /// Where it stands.
        from: Status,
        /// Where it was to go.
        to: Status,
    },

    /// The task has changed since the caller looked.
    #[error("task #{task} is at revision {actual}, not {expected}")]
    RevisionMismatch {
        /// Which.
        task: TaskId,
        /// What the caller expected.
        expected: Revision,
        /// What it is.
        actual: Revision,
    },
    /// A report of an attempt that doesn't count any more.
    #[error("the report is stale: {why}")]
    Stale {
        /// What doesn't fit.
        why: Staleness,
    },

    /// The disk is nearly full.
    #[error("the coordinator's disk is nearly full")]
    DiskLow,
    /// Events after this revision are not kept any more.
    #[error("events after revision {after} are not kept any more; the oldest kept is {oldest}")]
    RevisionGone {
        /// What was asked for.
        after: Revision,
        /// What there is.
        oldest: Revision,
    },
    /// No refusal, but what is told in the place of one: what the answer needs could not be read.
    /// The board never says so; who keeps its records does.
    #[error("internal failure, reference {reference}")]
    ReadFailed {
        /// Where the log tells the cause.
        reference: String,
    },
    /// There is no room for more.
    #[error("no more than {max} {what} fit")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many fit.
        max: usize,
    },
}
