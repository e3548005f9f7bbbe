//! What the writer commits: each batch follows from its number alone.

use std::sync::Arc;

use board::{
    event::{Actor, Event, Happening},
    id::{
        AgentTypeName, AttemptNumber, Epoch, MemberName, MessageId, Revision, TaskId, TeamName,
        TeamUid,
    },
    mail::{Letter, MailKind, Recipients, Sender},
    record::{CameTo, Meta, Outcome, Record, Request, RequestKey},
    task::{
        BlockerFailedPolicy, End, EndStatus, FailurePolicy, Metadata, Priority, Task, TaskKind,
        TaskState, Usage, Waiting,
    },
    team::Team,
    time::Time,
};
use ganger_coordinator::store::Batch;

/// The one team.
pub const TEAM: TeamUid = TeamUid(7);
/// How many of its events are kept.
pub const EVENTS_KEPT: u64 = 10_000;
/// Ids of tasks go up to this, so that later batches replace, finish and reopen earlier tasks.
pub const TASKS: u64 = 6_000;

/// Mostly few tasks, at times many, now and then as much as one command may write: 4,096 records
/// and 4 MiB.
fn len_of(number: u64) -> u64 {
    match number % 40 {
        20 => 4_092,
        9 | 19 | 29 | 39 => 200,
        n => n % 8 + 1,
    }
}

/// The team's revision after a batch.
pub fn revision_after(number: u64) -> u64 {
    (1..=number).map(len_of).sum()
}

/// The time of a batch.
pub fn time(number: u64) -> Time {
    Time(1_000_000 + i64::try_from(number).expect("few commits are made"))
}

/// The batch of a number.
pub fn batch(number: u64) -> Batch {
    let before = revision_after(number - 1);
    let len = len_of(number);
    let at = time(number);
    let tasks: Vec<Task> = (1..=len).map(|nth| task(number, nth, before)).collect();
    let events = tasks.iter().map(|task| Event {
        team: TEAM,
        revision: task.revision,
        at,
        actor: Actor::Member(lead()),
        on_behalf_of: None,
        cause: None,
        cause_message: None,
        previous: Revision(0),
        what: Happening::TaskCreated {
            task: task.id,
            subject: task.subject.clone(),
        },
    });
    let mut records = vec![
        Record::Meta(Meta {
            epoch: Epoch(9),
            last_team: TEAM,
        }),
        Record::Team(team(before + len)),
    ];
    let mut events: Vec<Event> = events.collect();
    let tasks = tasks.into_iter().map(Arc::new);
    records.extend(tasks.map(|task| Record::Task(TEAM, task)));
    records.push(Record::Letter(TEAM, Arc::new(letter(number))));
    if let Some(read) = number.checked_sub(5).filter(|read| *read > 0) {
        records.push(Record::LetterGone(TEAM, MessageId(read)));
    }
    match number % 10 {
        3 => {
            let uid = TeamUid(1_000 + number);
            records.extend(short_lived(uid, number));
            events.push(made(uid, at));
        }
        8 => records.push(Record::TeamGone(TeamUid(1_000 + number - 5))),
        _ => {}
    }
    Batch {
        at,
        records,
        events,
        outcomes: vec![outcome(number, at)],
    }
}

/// The key of the outcome in a batch.
pub fn request_key(number: u64) -> RequestKey {
    RequestKey(u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64)
}

fn outcome(number: u64, at: Time) -> Outcome {
    Outcome {
        request: Request {
            key: request_key(number),
            body: u128::from(number),
        },
        at,
        team: TEAM,
        came_to: CameTo::Task {
            task: TaskId(number),
        },
    }
}

fn team(revision: u64) -> Team {
    Team {
        weight: 1,
        max_running: 0,
        uid: TEAM,
        name: TeamName::parse("crash").expect("is a name"),
        description: "".into(),
        lead: lead(),
        created_at: Time(1),
        revision: Revision(revision),
        last_task: TaskId(TASKS),
        expired_through: TaskId(0),
        closed_since_verification: 0,
        last_message: MessageId(0),
        verification_threshold: 3,
        idle_notices: false,
        dissolved: None,
    }
}

fn letter(number: u64) -> Letter {
    Letter {
        id: MessageId(number),
        from: Sender::Coordinator,
        to: Recipients::One(lead()),
        kind: MailKind::Text,
        text: "t"
            .repeat(usize::try_from(number % 9_000).expect("is small"))
            .into(),
        summary: "".into(),
        payload: "".into(),
        correlation: "".into(),
        at: Time(2),
        task: None,
        approve: None,
        deadline: None,
        revision: None,
    }
}

/// A team that will be gone five commits later, and has more than one sweep removes.
fn short_lived(uid: TeamUid, number: u64) -> impl Iterator<Item = Record> {
    let head = Record::Team(Team {
        uid,
        ..team(number)
    });
    let posts = (1..=300).map(move |id| Record::Post(uid, lead(), MessageId(id)));
    [head].into_iter().chain(posts)
}

fn made(team: TeamUid, at: Time) -> Event {
    Event {
        team,
        revision: Revision(1),
        at,
        actor: Actor::Coordinator,
        on_behalf_of: None,
        cause: None,
        cause_message: None,
        previous: Revision(0),
        what: Happening::TeamCreated,
    }
}

fn task(number: u64, nth: u64, revision_before: u64) -> Task {
    // Neighbours, at a place that wanders.
    let id = (number * 2_477 + nth) % TASKS + 1;
    let text_len = match (len_of(number), nth) {
        (4_092, _) => 900,
        (200, 7) => 100_000 + id * 50,
        _ => id % 300,
    };
    let text_len = usize::try_from(text_len).expect("is small");
    Task {
        terms: None,
        id: TaskId(id),
        subject: format!("commit {number}").into(),
        description: "d".repeat(text_len).into(),
        active_form: "".into(),
        prompt: "".into(),
        owner: None,
        blocked_by: Vec::new(),
        metadata: Metadata::new(),
        priority: Priority::Normal,
        labels: Vec::new(),
        agent_type: AgentTypeName::parse("shell").ok(),
        parent: None,
        kind: TaskKind::Work,
        deadline: None,
        timeout: None,
        crash_limit: 3,
        crashes: 0,
        retry: None,
        failures: 0,
        failure_policy: FailurePolicy::Fail,
        share_todos: false,
        blocker_failed_policy: BlockerFailedPolicy::Wait,
        inputs: Vec::new(),
        output_globs: Vec::new(),
        outputs: Vec::new(),
        result: "".into(),
        error: "".into(),
        usage: Usage::default(),
        created_at: Time(2),
        created_by: Actor::Member(lead()),
        started_at: None,
        state: state(number + id),
        last_attempt: AttemptNumber(0),
        attempts: Vec::new(),
        revision: Revision(revision_before + nth),
        client_task_id: "".into(),
    }
}

fn state(chance: u64) -> TaskState {
    if chance.is_multiple_of(3) {
        TaskState::Ended(End {
            status: EndStatus::Completed,
            at: Time(3),
            by: Actor::Member(lead()),
            stop_reason: None,
            cascade_due: false,
        })
    } else {
        TaskState::Pending(Waiting {
            since: Time(2),
            not_before: None,
            refusals: 0,
            reason: "".into(),
            paused: None,
        })
    }
}

fn lead() -> MemberName {
    MemberName::parse("team-lead").expect("is a name")
}
