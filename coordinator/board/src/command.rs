//! What may be asked of the board.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    event::Fields,
    id::{
        AgentTypeName, AttemptNumber, Fence, InstanceId, MemberName, Revision, TaskId, TaskKey,
        TeamName, TeamUid, WorkerName,
    },
    record::{OfferedType, Request},
    task::{
        Artifact, AttemptEnding, BlockerFailedPolicy, Priority, Status, StopReason, TaskKind, Usage,
    },
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
    /// Take a task.
    ClaimTask(TeamName, TaskId, Option<Revision>),
    /// Cancel a task.
    CancelTask(TeamName, TaskId, Arc<str>),
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
    /// What becomes of it when a blocker fails.
    pub blocker_failed_policy: BlockerFailedPolicy,
    /// What is put into the sandbox.
    pub inputs: Vec<Artifact>,
    /// Which files are kept.
    pub output_globs: Vec<Arc<str>>,
    /// The id that its maker gives it.
    pub client_task_id: Arc<str>,
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
}

/// Something that the fleet brings before the board: trusted to be well formed, but not to be
/// timely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetCommand {
    /// A worker offers these types.
    OfferTypes(Vec<OfferedType>),
    /// A worker serves this team, and becomes a member of it.
    JoinWorker(TeamUid, WorkerName),
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
    Updated {
        /// Which.
        task: TaskKey,
        /// Which fields changed.
        fields: Fields,
        /// The change of status.
        status: Option<(Status, Status)>,
        /// The tasks that were freed.
        unblocked: Vec<TaskId>,
        /// How many tasks were closed since the last verification, where that is too many.
        verification_nudge: Option<u32>,
    },
    /// A task was claimed, or is being cancelled.
    Task(TaskKey),
    /// There is nothing to say.
    Done,
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
    /// The worker did not confirm a stop in time: cut it off.
    CutOff(InstanceId),
    /// The task is over.
    TaskOver(TaskKey),
}
