//! What may be asked of the board.

mod answer;
mod fleet;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use self::{
    answer::{Answer, Effect, Receipt, Updated},
    fleet::{EndReport, FleetCommand, Soft, TasksKept},
};
use crate::{
    id::{AgentTypeName, AttemptNumber, Fence, MemberName, MessageId, Revision, TaskId, TeamName},
    mail::MailKind,
    record::Request,
    task::{Artifact, BlockerFailedPolicy, FailurePolicy, Priority, Retry, Status, TaskKind},
    team::MemberKind,
    time::Time,
};

/// A wish of somebody who calls the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who calls.
    pub caller: Caller,
    /// How to recognise the call when it comes again.
    pub request: Option<Request>,
    /// What is wished.
    pub wish: Wish,
}

/// Who calls, as said in the call's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The member; none for the team's lead.
    pub member: Option<MemberName>,
    /// Which incarnation of it; none for the present one.
    pub incarnation: Option<u32>,
    /// The attempt for which it acts: then it is that attempt's sub-agent, and nobody else.
    pub attempt: Option<Fence>,
    /// On whose behalf.
    pub on_behalf_of: Option<MemberName>,
    /// Because of which message.
    pub cause: Option<MessageId>,
}

/// What may be wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Make a team.
    CreateTeam(CreateTeam),
    /// Put tasks on a team's board, all or none.
    CreateTasks(TeamName, Vec<NewTask>),
    /// Change a task.
    UpdateTask(TeamName, TaskId, Box<Update>),
    /// Change tasks in order, all or none.
    UpdateTasks(TeamName, Vec<(TaskId, Update)>),
    /// Take a task, or say again that it is one's own; without a lease for the default one, or for
    /// the one that the claim has.
    ClaimTask(TeamName, TaskId, Option<Revision>, Option<Lease>),
    /// Take the best task that is ready.
    ClaimNext(TeamName, ClaimNext),
    /// Say that a claim is still meant.
    RenewClaim(TeamName, TaskId, Option<AttemptNumber>),
    /// Give a claimed task back.
    ReleaseTask(TeamName, TaskId, Option<AttemptNumber>, Arc<str>),
    /// Open a task again that is over.
    ReopenTask(TeamName, TaskId, Option<Revision>, Arc<str>),
    /// Delete a task.
    DeleteTask(TeamName, TaskId, Option<Revision>),
    /// Hold a task.
    PauseTask(TeamName, TaskId, Arc<str>),
    /// Hold a task no more.
    ResumeTask(TeamName, TaskId),
    /// Cancel a task.
    CancelTask(TeamName, TaskId, Arc<str>),
    /// Cancel, hold or resume what a filter finds.
    SweepTasks(TeamName, Box<Sweep>),
    /// Answer the question of a running sub-agent; of this number, if that is said.
    AnswerQuestion(TeamName, TaskId, Option<u32>, Arc<str>),
    /// Tell a running sub-agent something that it has not asked.
    SteerTask(TeamName, TaskId, Arc<str>),
    /// Change a team's own settings.
    UpdateTeam(TeamName, TeamChanges),
    /// End a team.
    DissolveTeam(TeamName, Removal),
    /// Add a member.
    AddMember(TeamName, NewMember),
    /// Remove a member.
    RemoveMember(TeamName, MemberName, Removal),
    /// Make another member the lead.
    HandOverLead(TeamName, MemberName),
    /// Send a message.
    SendMessage(TeamName, Box<NewLetter>),
    /// Remove messages from the caller's mailbox.
    AckMessages(TeamName, Ack),
}

impl Wish {
    /// The team that it speaks of.
    pub fn team(&self) -> &TeamName {
        match self {
            Self::CreateTeam(new) => &new.name,
            Self::CreateTasks(team, ..)
            | Self::UpdateTask(team, ..)
            | Self::UpdateTasks(team, ..)
            | Self::ClaimTask(team, ..)
            | Self::ClaimNext(team, ..)
            | Self::RenewClaim(team, ..)
            | Self::ReleaseTask(team, ..)
            | Self::ReopenTask(team, ..)
            | Self::DeleteTask(team, ..)
            | Self::PauseTask(team, ..)
            | Self::ResumeTask(team, ..)
            | Self::CancelTask(team, ..)
            | Self::SweepTasks(team, ..)
            | Self::AnswerQuestion(team, ..)
            | Self::SteerTask(team, ..)
            | Self::UpdateTeam(team, ..)
            | Self::DissolveTeam(team, ..)
            | Self::AddMember(team, ..)
            | Self::RemoveMember(team, ..)
            | Self::HandOverLead(team, ..)
            | Self::SendMessage(team, ..)
            | Self::AckMessages(team, ..) => team,
        }
    }

    /// The one task that it speaks of.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::UpdateTask(_, task, ..)
            | Self::ClaimTask(_, task, ..)
            | Self::RenewClaim(_, task, ..)
            | Self::ReleaseTask(_, task, ..)
            | Self::ReopenTask(_, task, ..)
            | Self::DeleteTask(_, task, ..)
            | Self::PauseTask(_, task, ..)
            | Self::ResumeTask(_, task)
            | Self::CancelTask(_, task, ..)
            | Self::AnswerQuestion(_, task, ..)
            | Self::SteerTask(_, task, ..) => Some(*task),
            _ => None,
        }
    }
}

/// How long a claim lasts after its holder was heard of; none for as long as it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease(pub Option<Duration>);

impl Default for Lease {
    fn default() -> Self {
        Self(Some(crate::limits::CLAIM_LEASE))
    }
}

/// Which task is wished for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimNext {
    /// It has all of these labels.
    pub labels: Vec<Arc<str>>,
    /// It is at least so urgent.
    pub priority_min: Option<Priority>,
    /// How long the claim lasts.
    pub lease: Lease,
}

/// What is to become of the tasks that a filter finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// What.
    pub what: SweepWhat,
    /// Why.
    pub reason: Arc<str>,
    /// Only tasks below this one, at any depth.
    pub parent: Option<TaskId>,
    /// Only tasks with this label.
    pub label: Option<Arc<str>>,
    /// Only tasks of this type.
    pub agent_type: Option<AgentTypeName>,
    /// Only tasks of this owner.
    pub owner: Option<MemberName>,
    /// Only these.
    pub tasks: Vec<TaskId>,
    /// Only tasks after this one: where an earlier call stopped.
    pub after: TaskId,
}

/// What is to become of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepWhat {
    /// The open ones are cancelled.
    Cancel,
    /// The pending ones are held.
    Pause,
    /// The held ones go on.
    Resume,
}

/// Changes of a team's settings; what is none stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TeamChanges {
    /// What the team is for.
    pub description: Option<Arc<str>>,
    /// Its share of the fleet.
    pub weight: Option<u32>,
    /// How many of its tasks workers run at once at the most; 0 for no bound.
    pub max_running: Option<u32>,
    /// From how many completed tasks on a nudge is given; 0 for never.
    pub verification_threshold: Option<u32>,
    /// Whether the lead wants idle notices.
    pub idle_notices: Option<bool>,
}

/// That a member, or a team, is to go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// Stop what runs, rather than refuse because of it.
    pub force: bool,
    /// Why.
    pub reason: Arc<str>,
}

/// A message to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLetter {
    /// To whom.
    pub to: Addressees,
    /// What it is.
    pub kind: MailKind,
    /// What it says.
    pub text: Arc<str>,
    /// The same in a few words; empty for the first line of the text.
    pub summary: Arc<str>,
    /// A JSON object; empty for none.
    pub payload: Arc<str>,
    /// What ties an answer to its question.
    pub correlation: Arc<str>,
    /// Yes or no, in a response.
    pub approve: Option<bool>,
    /// The task that it is about.
    pub task: Option<TaskId>,
    /// How long an answer may take, in a request.
    pub timeout: Option<Duration>,
}

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressees {
    /// To these.
    Named(Vec<MemberName>),
    /// To everybody but the sender and the workers.
    Everybody,
}

/// Which messages are done with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    /// All up to this one.
    pub up_to: Option<MessageId>,
    /// These.
    pub messages: Vec<MessageId>,
}

/// A team to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTeam {
    /// Its name.
    pub name: TeamName,
    /// What it is for.
    pub description: Arc<str>,
    /// Its lead.
    pub lead: MemberName,
    /// The lead's role label.
    pub lead_role: Arc<str>,
    /// Who comes with it.
    pub members: Vec<NewMember>,
    /// From how many completed tasks on a nudge is given; none for the default, 0 for never.
    pub verification_threshold: Option<u32>,
    /// Whether the lead wants idle notices.
    pub idle_notices: bool,
    /// Its share of the fleet; none for 1.
    pub weight: Option<u32>,
    /// How many of its tasks workers run at once at the most; 0 for no bound.
    pub max_running: u32,
}

/// A member to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// The name.
    pub name: MemberName,
    /// How it takes part: as an agent or hosted.
    pub kind: MemberKind,
    /// What it is for.
    pub role: Arc<str>,
    /// More about it.
    pub description: Arc<str>,
    /// What is put before its prompts.
    pub instructions: Arc<str>,
    /// The type that runs its tasks.
    pub agent_type: Option<AgentTypeName>,
    /// The model that it wants.
    pub model: Arc<str>,
    /// Whether it may change nothing before its plan is approved.
    pub plan_required: bool,
}

/// A task to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewTask {
    /// What is to be done, in a line.
    pub subject: Arc<str>,
    /// What is to be done, at length.
    pub description: Arc<str>,
    /// What a board shows meanwhile.
    pub active_form: Arc<str>,
    /// Whose it is.
    pub owner: Option<MemberName>,
    /// What waits for it.
    pub blocks: Vec<TaskId>,
    /// What it waits for.
    pub blocked_by: Vec<TaskId>,
    /// The places, from 0, of earlier items of the same batch that it waits for.
    pub blocked_by_items: Vec<usize>,
    /// JSON texts by key.
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
    /// How soon.
    pub priority: Priority,
    /// Words to filter by.
    pub labels: Vec<Arc<str>>,
    /// The type that is to run it.
    pub agent_type: Option<AgentTypeName>,
    /// What the sub-agent is told.
    pub prompt: Arc<str>,
    /// The task that it is part of.
    pub parent: Option<TaskId>,
    /// What kind of work.
    pub kind: TaskKind,
    /// When it must be over.
    pub deadline: Option<Time>,
    /// How long one attempt may run.
    pub timeout: Option<Duration>,
    /// How many attempts may be lost; none for the default.
    pub crash_limit: Option<u32>,
    /// When and how often the agent's own failure is tried again.
    pub retry: Option<Retry>,
    /// What becomes of it when its tries are used up.
    pub failure_policy: FailurePolicy,
    /// What becomes of it when a blocker fails.
    pub blocker_failed_policy: BlockerFailedPolicy,
    /// Whether its sub-agent sees the board of whoever hired it.
    pub share_todos: bool,
    /// What is put into the sandbox.
    pub inputs: Vec<Artifact>,
    /// Which files are kept.
    pub output_globs: Vec<Arc<str>>,
    /// The id that its maker gives it.
    pub client_task_id: Arc<str>,
    /// Labels that a worker must have.
    pub worker_labels: BTreeMap<Arc<str>, Arc<str>>,
    /// How many of its children workers run at once at the most; 0 for no bound.
    pub window: u32,
    /// It goes on when what hired it ends.
    pub outlives_parent: bool,
    /// The task all of whose children it waits for.
    pub joins: Option<TaskId>,
    /// It is to be run at once for who calls: a sub-agent must be allowed to hire.
    pub is_delegated: bool,
}

/// Changes of a task; what is none stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// The new status.
    pub status: Option<Status>,
    /// The new owner, or nobody.
    pub owner: Option<Option<MemberName>>,
    /// The new subject.
    pub subject: Option<Arc<str>>,
    /// The new description.
    pub description: Option<Arc<str>>,
    /// The new active form.
    pub active_form: Option<Arc<str>>,
    /// Tasks that are to wait for it.
    pub add_blocks: Vec<TaskId>,
    /// Tasks that it is to wait for.
    pub add_blocked_by: Vec<TaskId>,
    /// Tasks that are not to wait for it.
    pub remove_blocks: Vec<TaskId>,
    /// Tasks that it is not to wait for.
    pub remove_blocked_by: Vec<TaskId>,
    /// Merged by key; none deletes.
    pub metadata: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// The new priority.
    pub priority: Option<Priority>,
    /// The result, or the error when failing.
    pub result: Option<Arc<str>>,
    /// Stop a running attempt that is in the way.
    pub stop_running: bool,
    /// The revision that the task must have.
    pub expected_revision: Option<Revision>,
    /// The attempt that must be the last one.
    pub attempt: Option<AttemptNumber>,
    /// Labels to add.
    pub add_labels: Vec<Arc<str>>,
    /// Labels to remove.
    pub remove_labels: Vec<Arc<str>>,
    /// The new agent type, or none.
    pub agent_type: Option<Option<AgentTypeName>>,
    /// The new prompt.
    pub prompt: Option<Arc<str>>,
    /// The new kind.
    pub kind: Option<TaskKind>,
    /// The new deadline, or none.
    pub deadline: Option<Option<Time>>,
    /// The new run limit.
    pub timeout: Option<Duration>,
    /// What becomes of it when a blocker fails.
    pub blocker_failed_policy: Option<BlockerFailedPolicy>,
    /// What becomes of it when its tries are used up.
    pub failure_policy: Option<FailurePolicy>,
    /// When it is tried again.
    pub retry: Option<Retry>,
    /// Files to add to the outputs.
    pub add_outputs: Vec<Artifact>,
    /// Why it ends so.
    pub reason: Option<Arc<str>>,
    /// How many of its children workers run at once at the most; 0 for no bound.
    pub window: Option<u32>,
}
