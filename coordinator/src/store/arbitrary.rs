//! Records, events and outcomes as they may come, made by chance.
//!
//! Ids and names come from small ranges, so that later ones replace earlier ones.

use std::sync::Arc;

use board::{
    event::Actor,
    id::{
        AgentTypeName, AttemptNumber, Epoch, InstanceId, MemberName, MessageId, Revision, TaskId,
        TeamUid, WorkerName,
    },
    record::{Meta, OfferedType, Record, RequestKey},
    time::Time,
};
use proptest::{option, prelude::*};

mod event;
mod task;
mod team;

use self::team::{letter, member, team};
pub(super) use self::{
    event::{event, outcome},
    task::task,
};

pub(super) const TEAMS: u64 = 3;
pub(super) const TASKS: u64 = 6;
pub(super) const LETTERS: u64 = 8;
pub(super) const KEYS: u128 = 12;

/// A key as a hash is: told apart by any of its parts.
pub(super) fn request_key(number: u128) -> RequestKey {
    RequestKey(number << 64 | number)
}

/// Mostly short, sometimes too long for one record, now and then as long as a task may be.
fn text() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        8 => "\\PC{0,12}",
        2 => (0..9_000_usize).prop_map(|len| "ä".repeat(len)),
        1 => Just("x".repeat(256 * 1_024)),
    ]
    .prop_map(Into::into)
}

fn short() -> impl Strategy<Value = Arc<str>> {
    "\\PC{0,12}".prop_map(Into::into)
}

fn name<N: std::fmt::Debug>(parse: impl Fn(&str) -> N) -> impl Strategy<Value = N> {
    "[a-d]{1,2}".prop_map(move |text| parse(&text))
}

fn member_name() -> impl Strategy<Value = MemberName> {
    name(|text| MemberName::parse(text).unwrap())
}

fn worker_name() -> impl Strategy<Value = WorkerName> {
    name(|text| WorkerName::parse(text).unwrap())
}

fn agent_type() -> impl Strategy<Value = AgentTypeName> {
    name(|text| AgentTypeName::parse(text).unwrap())
}

fn time() -> impl Strategy<Value = Time> {
    any::<i64>().prop_map(Time)
}

fn task_id() -> impl Strategy<Value = TaskId> {
    (1..=TASKS).prop_map(TaskId)
}

fn team_uid() -> impl Strategy<Value = TeamUid> {
    (1..=TEAMS).prop_map(TeamUid)
}

fn message_id() -> impl Strategy<Value = MessageId> {
    (1..=LETTERS).prop_map(MessageId)
}

fn revision() -> impl Strategy<Value = Revision> {
    any::<u64>().prop_map(Revision)
}

fn attempt_number() -> impl Strategy<Value = AttemptNumber> {
    any::<u32>().prop_map(AttemptNumber)
}

fn instance() -> impl Strategy<Value = InstanceId> {
    any::<u128>().prop_map(InstanceId)
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![
        member_name().prop_map(Actor::Member),
        worker_name().prop_map(Actor::Worker),
        task_id().prop_map(Actor::Task),
        Just(Actor::Coordinator),
    ]
}

/// Any record that is written.
pub(super) fn record() -> impl Strategy<Value = Record> {
    let meta = (any::<u128>(), any::<u64>()).prop_map(|(epoch, last_team)| Meta {
        epoch: Epoch(epoch),
        last_team: TeamUid(last_team),
    });
    let offered = (
        agent_type(),
        [short(), short(), short()],
        option::of(time()),
        any::<bool>(),
        any::<u32>(),
        (any::<u32>(), any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |(name, texts, last_seen, is_interactive, hiring_depth, may)| {
                let [description, runtime, digest] = texts;
                let (tasks_max, may_create_teams, prompt_is_script) = may;
                OfferedType {
                    is_interactive,
                    hiring_depth,
                    tasks_max,
                    may_create_teams,
                    prompt_is_script,
                    name,
                    description,
                    runtime,
                    digest,
                    last_seen,
                }
            },
        );
    prop_oneof![
        1 => meta.prop_map(Record::Meta),
        1 => offered.prop_map(Record::Offered),
        1 => agent_type().prop_map(Record::OfferedGone),
        1 => team().prop_map(Record::Team),
        2 => (team_uid(), member()).prop_map(|(team, member)| Record::Member(team, member)),
        5 => (team_uid(), task()).prop_map(|(team, task)| Record::Task(team, Arc::new(task))),
        1 => (team_uid(), task_id()).prop_map(|(team, task)| Record::TaskGone(team, task)),
        3 => (team_uid(), letter()).prop_map(|(team, letter)| {
            Record::Letter(team, Arc::new(letter))
        }),
        2 => post().prop_map(|(team, member, id)| Record::Post(team, member, id)),
        2 => (team_uid(), message_id()).prop_map(|(team, id)| Record::LetterGone(team, id)),
        2 => post().prop_map(|(team, member, id)| Record::PostGone(team, member, id)),
        1 => team_uid().prop_map(Record::TeamGone),
    ]
}

fn post() -> impl Strategy<Value = (TeamUid, MemberName, MessageId)> {
    (team_uid(), member_name(), message_id())
}
