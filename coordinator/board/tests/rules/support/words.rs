//! What scripts are made of: short forms of names, tasks and reports.

use std::time::Duration;

use board::{
    command::{
        Ack, Addressees, CreateTeam, EndReport, NewLetter, NewMember, NewTask, Receipt, Update,
        Wish,
    },
    id::{
        AgentTypeName, AttemptNumber, Epoch, Fence, Incarnation, InstanceId, MemberName, MessageId,
        TaskId, TaskKey, TeamName, TeamUid, WorkerName,
    },
    mail::MailKind,
    record::OfferedType,
    refusal::{KnownType, Offering},
    task::{AttemptEnding, Status, Usage},
    team::MemberKind,
    time::Time,
};

pub const TEAM: TeamUid = TeamUid(1);
pub const LEAD: &str = "lead";

pub fn t() -> TeamName {
    TeamName::parse("t").unwrap()
}

pub fn name(name: &str) -> MemberName {
    MemberName::parse(name).unwrap()
}

pub fn worker_name(name: &str) -> WorkerName {
    WorkerName::parse(name).unwrap()
}

/// Each worker has one process: `w1` has the instance 1, and so on.
pub fn instance(worker: &str) -> InstanceId {
    let digits = worker.trim_start_matches(|c: char| !c.is_ascii_digit());
    InstanceId(digits.parse().unwrap())
}

pub fn agent_type(name: &str) -> AgentTypeName {
    AgentTypeName::parse(name).unwrap()
}

pub fn key(task: u64) -> TaskKey {
    (TEAM, TaskId(task))
}

pub fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<TaskId> {
    ids.into_iter().map(TaskId).collect()
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn fence(task: u64, attempt: u32) -> Fence {
    Fence {
        epoch: Epoch(7),
        team: TEAM,
        task: TaskId(task),
        attempt: AttemptNumber(attempt),
    }
}

pub fn offered(name: &str, runtime: &str) -> OfferedType {
    OfferedType {
        is_interactive: runtime == "llm",
        hiring_depth: 0,
        tasks_max: board::limits::ATTEMPT_TASKS,
        may_create_teams: false,
        prompt_is_script: runtime == "command",
        name: agent_type(name),
        description: "".into(),
        runtime: runtime.into(),
        digest: "d1".into(),
        last_seen: Some(Time(0)),
    }
}

/// A type as a refusal tells it: seen at the beginning of time.
pub fn known(name: &str) -> KnownType {
    KnownType {
        name: agent_type(name),
        offering: Offering::Seen(Time(0)),
    }
}

/// A type whose sub-agents may hire.
pub fn hiring(name: &str, hiring_depth: u32) -> OfferedType {
    OfferedType {
        hiring_depth,
        ..offered(name, "llm")
    }
}

pub fn team(name: &str) -> CreateTeam {
    CreateTeam {
        weight: None,
        max_running: 0,
        name: TeamName::parse(name).unwrap(),
        description: "".into(),
        lead: self::name(LEAD),
        lead_role: "".into(),
        members: vec![],
        verification_threshold: None,
        idle_notices: false,
    }
}

/// A member; a hosted one is of type `coder`.
pub fn member(name: &str, kind: MemberKind) -> NewMember {
    NewMember {
        name: self::name(name),
        kind,
        role: "".into(),
        description: "".into(),
        instructions: "".into(),
        agent_type: (kind == MemberKind::Hosted).then(|| agent_type("coder")),
        model: "".into(),
        plan_required: false,
    }
}

/// A member as one who does something.
pub fn by(member: &str) -> board::event::Actor {
    board::event::Actor::Member(name(member))
}

pub fn create(tasks: &[NewTask]) -> Wish {
    Wish::CreateTasks(t(), tasks.to_vec())
}

/// A card that waits for a claim.
pub fn card(subject: &str) -> NewTask {
    NewTask {
        subject: subject.into(),
        ..NewTask::default()
    }
}

/// Work for the type `coder`.
pub fn job(subject: &str) -> NewTask {
    NewTask {
        agent_type: Some(agent_type("coder")),
        ..card(subject)
    }
}

pub fn part_of(parent: u64, task: NewTask) -> NewTask {
    NewTask {
        parent: Some(TaskId(parent)),
        ..task
    }
}

/// What goes on when its parent, or who hired it, ends.
pub fn outliving(task: NewTask) -> NewTask {
    NewTask {
        outlives_parent: true,
        ..task
    }
}

/// What is to be run at once for who calls.
pub fn delegated(task: NewTask) -> NewTask {
    NewTask {
        is_delegated: true,
        ..task
    }
}

pub fn waits_for(blockers: impl IntoIterator<Item = u64>, task: NewTask) -> NewTask {
    NewTask {
        blocked_by: ids(blockers),
        ..task
    }
}

pub fn owned_by(owner: &str, task: NewTask) -> NewTask {
    NewTask {
        owner: Some(name(owner)),
        ..task
    }
}

pub fn to(status: Status) -> Update {
    Update {
        status: Some(status),
        ..Update::default()
    }
}

pub fn report(ending: AttemptEnding, result: &str, error: &str) -> EndReport {
    EndReport {
        ending,
        result: result.into(),
        error: error.into(),
        stop_reason: None,
        outputs: vec![],
        usage: Usage {
            input_tokens: 0,
            output_tokens: 0,
            wall_ms: 5,
            cpu_ms: 3,
            output_bytes: 2,
        },
    }
}

pub fn done(result: &str) -> EndReport {
    report(AttemptEnding::Completed, result, "")
}

/// Words to members.
pub fn words<'n>(to: impl IntoIterator<Item = &'n str>, text: &str) -> NewLetter {
    NewLetter {
        to: Addressees::Named(to.into_iter().map(name).collect()),
        kind: MailKind::Text,
        text: text.into(),
        summary: "".into(),
        payload: "".into(),
        correlation: "".into(),
        approve: None,
        task: None,
        timeout: None,
    }
}

/// Words to everybody.
pub fn to_everybody(text: &str) -> NewLetter {
    NewLetter {
        to: Addressees::Everybody,
        ..words([], text)
    }
}

/// A message of another kind, to members.
pub fn of_kind<'n>(kind: MailKind, to: impl IntoIterator<Item = &'n str>, text: &str) -> NewLetter {
    NewLetter {
        kind,
        ..words(to, text)
    }
}

/// A response.
pub fn response<'n>(
    kind: MailKind,
    to: impl IntoIterator<Item = &'n str>,
    approve: bool,
    text: &str,
) -> NewLetter {
    NewLetter {
        approve: Some(approve),
        ..of_kind(kind, to, text)
    }
}

/// The same with what ties it to its question.
pub fn tied(correlation: &str, letter: NewLetter) -> NewLetter {
    NewLetter {
        correlation: correlation.into(),
        ..letter
    }
}

pub fn send(letter: NewLetter) -> Wish {
    Wish::SendMessage(t(), Box::new(letter))
}

pub fn ack(up_to: Option<u64>, messages: &[u64]) -> Wish {
    Wish::AckMessages(
        t(),
        Ack {
            up_to: up_to.map(MessageId),
            messages: messages.iter().copied().map(MessageId).collect(),
        },
    )
}

/// What became of a copy in the mailbox of a member's first incarnation.
pub fn receipt(member: &str, answers: bool) -> Receipt {
    Receipt {
        member: name(member),
        incarnation: Incarnation(1),
        stored: true,
        answers,
    }
}
