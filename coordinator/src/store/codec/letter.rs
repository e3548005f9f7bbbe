//! Messages, and the marks that have nothing to say beside their keys.

use board::{
    id::{Incarnation, MessageId, Revision, TaskId},
    mail::{Letter, MailKind, Recipients, Sender},
    time::Time,
};

use super::{CodecError, Kind, Names, Numbered, numbers, open, seal};

const LETTER: Kind = Kind {
    name: "message",
    version: 1,
};
const MARK: Kind = Kind {
    name: "mark",
    version: 1,
};

numbers!(
    MailKind, "kind of message",
    1 => Text, 2 => TaskAssignment, 3 => TaskUnassigned, 4 => TaskUnblocked, 5 => TaskFinished,
    6 => Idle, 7 => MemberFailed, 8 => ShutdownRequest, 9 => ShutdownResponse,
    10 => PlanApprovalRequest, 11 => PlanApprovalResponse, 12 => Question, 13 => Answer,
    14 => Digest,
);

#[derive(Clone, PartialEq, prost::Message)]
struct LetterMessage {
    #[prost(uint32, tag = "1")]
    kind: u32,
    /// The member that sent it, with its incarnation. Without one and without a task the
    /// coordinator did.
    #[prost(string, tag = "2")]
    from: String,
    #[prost(uint32, tag = "3")]
    incarnation: u32,
    #[prost(uint64, optional, tag = "4")]
    from_task: Option<u64>,
    /// The one recipient; empty for several.
    #[prost(string, tag = "5")]
    to: String,
    #[prost(bool, tag = "6")]
    is_broadcast: bool,
    #[prost(string, tag = "7")]
    text: String,
    #[prost(string, tag = "8")]
    summary: String,
    #[prost(string, tag = "9")]
    payload: String,
    #[prost(string, tag = "10")]
    correlation: String,
    #[prost(int64, tag = "11")]
    at: i64,
    #[prost(uint64, optional, tag = "12")]
    task: Option<u64>,
    #[prost(bool, optional, tag = "13")]
    approve: Option<bool>,
    #[prost(int64, optional, tag = "14")]
    deadline: Option<i64>,
    #[prost(uint64, optional, tag = "15")]
    revision: Option<u64>,
}

pub(in crate::store) fn encode_letter(letter: &Letter) -> Vec<u8> {
    let (from, incarnation, from_task) = match &letter.from {
        Sender::Member(name, incarnation) => (name.to_string(), incarnation.0, None),
        Sender::Task(task) => (String::new(), 0, Some(task.0)),
        Sender::Coordinator => (String::new(), 0, None),
    };
    let (to, is_broadcast) = match &letter.to {
        Recipients::One(member) => (member.to_string(), false),
        Recipients::Many { is_broadcast } => (String::new(), *is_broadcast),
    };
    let message = LetterMessage {
        kind: letter.kind.number(),
        from,
        incarnation,
        from_task,
        to,
        is_broadcast,
        text: letter.text.to_string(),
        summary: letter.summary.to_string(),
        payload: letter.payload.to_string(),
        correlation: letter.correlation.to_string(),
        at: letter.at.0,
        task: letter.task.map(|task| task.0),
        approve: letter.approve,
        deadline: letter.deadline.map(|at| at.0),
        revision: letter.revision.map(|revision| revision.0),
    };
    seal(LETTER, &message)
}

pub(in crate::store) fn decode_letter(
    id: MessageId,
    bytes: &[u8],
    names: &mut Names,
) -> Result<Letter, CodecError> {
    let message: LetterMessage = open(LETTER, bytes)?;
    let from = match message.from_task {
        Some(task) => Sender::Task(TaskId(task)),
        None if message.from.is_empty() => Sender::Coordinator,
        None => Sender::Member(
            names.member(message.from)?,
            Incarnation(message.incarnation),
        ),
    };
    let to = if message.to.is_empty() {
        Recipients::Many {
            is_broadcast: message.is_broadcast,
        }
    } else {
        Recipients::One(names.member(message.to)?)
    };
    Ok(Letter {
        id,
        from,
        to,
        kind: MailKind::of(message.kind)?,
        text: message.text.into(),
        summary: message.summary.into(),
        payload: message.payload.into(),
        correlation: message.correlation.into(),
        at: Time(message.at),
        task: message.task.map(TaskId),
        approve: message.approve,
        deadline: message.deadline.map(Time),
        revision: message.revision.map(Revision),
    })
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct MarkMessage {}

/// A value that says no more than that its key is there.
pub(in crate::store) fn encode_mark() -> Vec<u8> {
    seal(MARK, &MarkMessage {})
}

/// Looks whether a mark is of a version that is known.
pub(in crate::store) fn check_mark(bytes: &[u8]) -> Result<(), CodecError> {
    open::<MarkMessage>(MARK, bytes).map(drop)
}
