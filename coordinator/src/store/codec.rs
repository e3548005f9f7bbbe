//! Values: a version byte, then a protobuf message of the store's own.
//!
//! These messages are no wire types: the wire may change without a record changing, and the other
//! way round. **Any** change of a record's message, a new field too, is a new version: an older
//! Ganger that dropped a field it doesn't know when it rewrote the record would lose data
//! silently, so it must refuse. A version that was ever released stays readable.
//!
//! What the key already says isn't said again in the value.

use std::{collections::HashMap, hash::Hash, time::Duration};

use board::{
    event::Actor,
    id::{AgentTypeName, MemberName, NameError, TaskId, WorkerName},
};

mod event;
#[cfg(test)]
mod every_field;
mod letter;
mod outcome;
mod state;
mod task;
mod team;
#[cfg(test)]
mod version_1;
mod word;

pub(super) use event::{decode_events, encode_event_pages};
pub(super) use letter::{check_mark, decode_letter, encode_letter, encode_mark};
pub(super) use outcome::{OutcomePage, decode_outcomes, encode_outcomes};
pub(super) use task::{decode_stub, decode_task, encode_stub, encode_task};
pub(super) use team::{
    Commit, decode_attempt_key, decode_commit, decode_member, decode_meta, decode_offered,
    decode_team, encode_attempt_key, encode_commit, encode_member, encode_meta, encode_offered,
    encode_team,
};

/// A kind of record, with the newest version of it that is known here and is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) version: u8,
}

/// Why a value can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum CodecError {
    /// Its version isn't known.
    #[error("{} record of version {version}, known is {}", kind.name, kind.version)]
    Newer {
        /// What it is.
        kind: Kind,
        /// Its version.
        version: u8,
    },
    /// It has no version.
    #[error("an empty record")]
    Empty,
    /// It is no protobuf.
    #[error(transparent)]
    Protobuf(#[from] prost::DecodeError),
    /// A name in it is none.
    #[error("a name {0}")]
    Name(#[from] NameError),
    /// Something is missing, or has a value that nothing gives it.
    #[error("a bad {0}")]
    Bad(&'static str),
}

/// Puts a message behind its kind's version.
fn seal(kind: Kind, message: &impl prost::Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(kind.version);
    message.encode_raw(&mut bytes);
    bytes
}

/// Takes a message from behind its version.
fn open<M: prost::Message + Default>(kind: Kind, bytes: &[u8]) -> Result<M, CodecError> {
    let (&version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if version == 0 || version > kind.version {
        return Err(CodecError::Newer { kind, version });
    }
    Ok(M::decode(body)?)
}

/// Names that were read already. A start reads the same few names a million times; shared, each
/// is checked and kept once.
#[derive(Debug, Default)]
pub(super) struct Names {
    members: HashMap<String, MemberName>,
    workers: HashMap<String, WorkerName>,
    agent_types: HashMap<String, AgentTypeName>,
}

impl Names {
    fn member(&mut self, text: String) -> Result<MemberName, NameError> {
        shared(&mut self.members, text, MemberName::parse)
    }

    fn worker(&mut self, text: String) -> Result<WorkerName, NameError> {
        shared(&mut self.workers, text, WorkerName::parse)
    }

    fn agent_type(&mut self, text: String) -> Result<AgentTypeName, NameError> {
        shared(&mut self.agent_types, text, AgentTypeName::parse)
    }

    fn actor(&mut self, actor: Option<ActorMessage>) -> Result<Actor, CodecError> {
        let actor = actor.ok_or(CodecError::Bad("actor"))?;
        match actor.kind {
            1 => Ok(Actor::Member(self.member(actor.name)?)),
            2 => Ok(Actor::Worker(self.worker(actor.name)?)),
            3 => Ok(Actor::Coordinator),
            4 => Ok(Actor::Task(TaskId(actor.task))),
            _ => Err(CodecError::Bad("kind of actor")),
        }
    }
}

fn shared<N: Clone>(
    known: &mut HashMap<String, N>,
    text: String,
    parse: impl FnOnce(&str) -> Result<N, NameError>,
) -> Result<N, NameError> {
    if let Some(name) = known.get(&text) {
        return Ok(name.clone());
    }
    let name = parse(&text)?;
    known.insert(text, name.clone());
    Ok(name)
}

/// The actors, by number: 1 a member, 2 a worker, 3 the coordinator, 4 the sub-agent of a task.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
struct ActorMessage {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    task: u64,
}

impl From<&Actor> for ActorMessage {
    fn from(actor: &Actor) -> Self {
        let (kind, name, task) = match actor {
            Actor::Member(name) => (1, name.to_string(), 0),
            Actor::Worker(name) => (2, name.to_string(), 0),
            Actor::Coordinator => (3, String::new(), 0),
            Actor::Task(task) => (4, String::new(), task.0),
        };
        Self { kind, name, task }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Span {
    #[prost(uint64, tag = "1")]
    seconds: u64,
    #[prost(uint32, tag = "2")]
    nanos: u32,
}

impl From<Duration> for Span {
    fn from(span: Duration) -> Self {
        Self {
            seconds: span.as_secs(),
            nanos: span.subsec_nanos(),
        }
    }
}

impl TryFrom<Span> for Duration {
    type Error = CodecError;

    fn try_from(span: Span) -> Result<Self, CodecError> {
        // `Duration::new` panics when the nanoseconds carry past the largest number of seconds.
        if span.nanos >= 1_000_000_000 {
            return Err(CodecError::Bad("span"));
        }
        Ok(Self::new(span.seconds, span.nanos))
    }
}

/// A number of 128 bits in its two halves.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Wide {
    #[prost(fixed64, tag = "1")]
    high: u64,
    #[prost(fixed64, tag = "2")]
    low: u64,
}

impl From<u128> for Wide {
    fn from(number: u128) -> Self {
        Self {
            high: (number >> 64) as u64,
            low: number as u64,
        }
    }
}

impl From<Wide> for u128 {
    fn from(wide: Wide) -> Self {
        (Self::from(wide.high) << 64) | Self::from(wide.low)
    }
}

/// Numbers for the variants of an enum without contents. A number, once given, stays.
macro_rules! numbers {
    ($type:ident, $what:literal, $($number:literal => $variant:ident),+ $(,)?) => {
        impl super::Numbered for $type {
            fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $number),+
                }
            }

            fn of(number: u32) -> Result<Self, super::CodecError> {
                match number {
                    $($number => Ok(Self::$variant),)+
                    _ => Err(super::CodecError::Bad($what)),
                }
            }
        }
    };
}
use numbers;

/// An enum whose variants have numbers.
trait Numbered: Sized {
    fn number(self) -> u32;
    fn of(number: u32) -> Result<Self, CodecError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        name: "span",
        version: 3,
    };

    #[test]
    fn older_versions_are_read_and_newer_ones_refused_by_name() {
        let mut bytes = seal(KIND, &Span::from(Duration::from_millis(1_500)));

        assert_eq!(open::<Span>(KIND, &bytes).unwrap().seconds, 1);
        bytes[0] = 2;
        assert_eq!(open::<Span>(KIND, &bytes).unwrap().nanos, 500_000_000);
        bytes[0] = 4;
        let refusal = open::<Span>(KIND, &bytes).unwrap_err();
        assert_eq!(refusal.to_string(), "span record of version 4, known is 3");
    }

    #[test]
    fn an_empty_value_and_rubbish_are_errors() {
        assert!(matches!(open::<Span>(KIND, &[]), Err(CodecError::Empty)));
        assert!(matches!(
            open::<Span>(KIND, &[3, 0xff, 0xff]),
            Err(CodecError::Protobuf(_))
        ));
        let carried = Span {
            seconds: u64::MAX,
            nanos: 1_000_000_000,
        };
        assert!(Duration::try_from(carried).is_err());
    }

    #[test]
    fn wide_numbers_keep_both_halves() {
        for number in [0, 1, u128::from(u64::MAX), 1 << 64, u128::MAX] {
            assert_eq!(u128::from(Wide::from(number)), number);
        }
    }
}
