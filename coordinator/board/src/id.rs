//! Names and numbers: a type for each, so that none is taken for another.

use std::{fmt, sync::Arc};

use crate::{event::COORDINATOR, limits};

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// Longer than [`limits::NAME_LEN_MAX`].
    #[error("has {len} characters, at most {} are allowed", limits::NAME_LEN_MAX)]
    TooLong {
        /// How many characters it has.
        len: usize,
    },
    /// Has a character that isn't allowed, or not at that place.
    #[error("may only have letters, digits, '.', '_' and '-', and starts with a letter or a digit")]
    BadCharacter,
    /// An event by who has it would read as another actor's: see [`check_new`].
    #[error("is reserved: it is what somebody else is called in events")]
    Reserved,
}

/// What actors are called that are no members, in lower case. The others' names have a colon, which
/// no name of a member or a worker has.
const RESERVED: [&str; 3] = ["admin", "administrator", COORDINATOR];

/// Refuses a name that no member and no worker may be given from now on, in whatever case it is
/// written. Those that have one already keep it.
pub fn check_new(name: &str) -> Result<(), NameError> {
    let mut reserved = RESERVED.iter();
    match reserved.any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        true => Err(NameError::Reserved),
        false => Ok(()),
    }
}

fn check_name(text: &str) -> Result<(), NameError> {
    let Some(first) = text.bytes().next() else {
        return Err(NameError::Empty);
    };
    let len = text.chars().count();
    if len > limits::NAME_LEN_MAX {
        return Err(NameError::TooLong { len });
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !first.is_ascii_alphanumeric() || !text.bytes().all(fits) {
        return Err(NameError::BadCharacter);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes a text that is 1 to 64 of `A-Z a-z 0-9 . _ -` and starts with a letter or
            /// a digit.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check_name(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// A team's name: a label that may come again; [`TeamUid`] is the identity.
    TeamName
}
name! {
    /// A member's name on a team's roster.
    MemberName
}
name! {
    /// A worker's name, unique in the fleet.
    WorkerName
}
name! {
    /// An agent type's name.
    AgentTypeName
}

impl From<&WorkerName> for MemberName {
    /// A worker registers as a member in its own name.
    fn from(worker: &WorkerName) -> Self {
        Self(worker.0.clone())
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $type(pub $inner);

        impl $type {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A team's number on the board: never reused.
    TeamUid(u64)
}
number! {
    /// A task's number in its team: from 1, never reused.
    TaskId(u64)
}
number! {
    /// An execution's number in its task: from 1.
    AttemptNumber(u32)
}
number! {
    /// A team's count of events.
    Revision(u64)
}
number! {
    /// A message's number in its team: from 1, never reused. All copies of a message have it.
    MessageId(u64)
}
number! {
    /// How often a name has joined a roster: from 1.
    Incarnation(u32)
}

/// The board's epoch: new when a board is made or restored, so that no fence outlives either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u128);

/// One process of a worker: new at each of its starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InstanceId(pub u128);

/// A task, named across teams.
pub type TaskKey = (TeamUid, TaskId);

/// A member, named across teams.
pub type MemberKey = (TeamUid, MemberName);

/// What every report of an attempt carries; any mismatch means that it is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// The board's.
    pub epoch: Epoch,
    /// The team's.
    pub team: TeamUid,
    /// The task's.
    pub task: TaskId,
    /// The attempt's.
    pub attempt: AttemptNumber,
}

/// The SHA-256 of a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_64_characters_pass_and_of_65_do_not() {
        assert!(TeamName::parse(&"a".repeat(64)).is_ok());
        assert_eq!(
            TeamName::parse(&"a".repeat(65)),
            Err(NameError::TooLong { len: 65 })
        );
    }

    #[test]
    fn names_start_with_a_letter_or_digit_and_hold_no_other_signs() {
        for good in ["a", "7", "data.base_re-factor", "Z9"] {
            assert_eq!(TeamName::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(TeamName::parse(""), Err(NameError::Empty));
        for bad in [".a", "-a", "_a", "a b", "a/b", "ä", "a\n", "a\0"] {
            assert_eq!(
                TeamName::parse(bad),
                Err(NameError::BadCharacter),
                "{bad:?}"
            );
        }
    }
}
