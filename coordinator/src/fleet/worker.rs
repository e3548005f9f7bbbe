//! One worker that dialled in, and the facts of it, none of which is derived from another.

use std::time::Duration;

use board::{
    Board,
    id::{AgentTypeName, NameError, TeamName, WorkerName},
    limits,
    time::Time,
};

use super::{Heard, Hello, Leases, Outbox, PROTOCOL, PROTOCOL_MIN, SessionId};

/// A worker that dialled in.
#[derive(Debug)]
pub struct WorkerEntry {
    /// What it said.
    pub hello: Hello,
    /// Its stream.
    pub session: SessionId,
    /// When that began.
    pub connected_at: Time,
    /// Its signs of life.
    pub heard: Heard,
    /// The spans that it was given, and by which it is judged, whatever the fleet's are by now.
    pub spans: Leases,
    /// It takes no new work.
    pub is_draining: bool,
    /// It was given an attempt since this coordinator started.
    pub(super) has_held: bool,
    /// How many of its attempts hold no slot, because they lend it.
    pub(super) lent: u32,
    /// Where its orders go; none since its stream broke.
    pub(super) outbox: Option<Outbox>,
    /// The moment under which it stands in the fleet's checks.
    pub(super) check_at: Time,
}

/// How a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its stream is up, and it is heard of.
    Connected,
    /// Connected, and takes no new work.
    Draining,
    /// Its stream broke, or it is silent.
    Unreachable,
}

/// Why a Hello is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another process has the name, and is well.
    #[error("worker name {name:?} is taken by another process that is connected")]
    NameTaken {
        /// Which name.
        name: WorkerName,
    },
    /// Its name is what another actor is called, and no worker of the board had it before.
    #[error("worker name {name:?} {}", NameError::Reserved)]
    NameReserved {
        /// Which name.
        name: WorkerName,
    },
    /// Somebody else is a member of that name in a team that the worker is to serve.
    #[error("a member of team {:?} has the name {name:?}: the worker can't join that team", team.as_str())]
    NameInTeam {
        /// Which name.
        name: WorkerName,
        /// In which team.
        team: TeamName,
        /// What that member is, in a word.
        kind: &'static str,
    },
    /// It and this coordinator have no version of the stream in common.
    #[error("{}", version_message(*.newest, *.oldest))]
    Version {
        /// The newest version that it speaks.
        newest: i32,
        /// The oldest.
        oldest: i32,
    },
    /// The process has dialled again since, and was taken in by that.
    #[error("worker {name:?} dialled again after this, and was welcomed there")]
    Overtaken {
        /// Which worker.
        name: WorkerName,
    },
    /// There are as many workers as may be.
    #[error("no more than {} workers fit", limits::WORKERS_MAX)]
    Full,
    /// The disk is full, and it brings something that would have to be kept.
    #[error("the coordinator's disk is full: a worker that is new to it waits")]
    DiskFull,
}

fn version_message(newest: i32, oldest: i32) -> String {
    let side = upgrade(oldest);
    format!(
        "the worker speaks {} of the stream, this coordinator {}: upgrade the {side}",
        versions(oldest, newest),
        versions(PROTOCOL_MIN, PROTOCOL)
    )
}

fn versions(oldest: i32, newest: i32) -> String {
    if oldest == newest {
        return format!("version {newest}");
    }
    format!("versions {oldest} to {newest}")
}

/// The side that is too old, when a worker speaks no version older than this and there is none in
/// common.
pub fn upgrade(oldest: i32) -> &'static str {
    match oldest > PROTOCOL {
        true => "coordinator",
        false => "worker",
    }
}

impl WorkerEntry {
    /// How it stands at this moment.
    pub fn standing(&self, now: Time) -> Standing {
        if !self.is_stream_up() || !self.is_heard(now) {
            Standing::Unreachable
        } else if self.is_draining {
            Standing::Draining
        } else {
            Standing::Connected
        }
    }

    /// Whether its stream is up: says nothing of the process at its other end.
    pub fn is_stream_up(&self) -> bool {
        self.outbox.is_some()
    }

    /// Whether its process was heard of within the time that it may be silent, be it that the
    /// stream has broken since. The open stream of one that is played by hand is all that is heard.
    pub fn is_heard(&self, now: Time) -> bool {
        match self.hello.manual {
            true => self.is_stream_up(),
            false => now.since(self.heard.last()) <= self.spans.silence,
        }
    }

    /// Whether its attempts are its own.
    pub fn is_lease_valid(&self, now: Time) -> bool {
        self.lease_until().is_none_or(|until| until > now)
    }

    /// Until when its attempts are its own; none while an open stream is its heartbeat.
    pub fn lease_until(&self) -> Option<Time> {
        match (self.hello.manual, &self.outbox) {
            (true, Some(_)) => None,
            _ => Some(self.heard.last() + self.lease_span()),
        }
    }

    /// How long after it was last heard of its attempts are its own; for one that is played by hand,
    /// after the end of its stream.
    pub fn lease_span(&self) -> Duration {
        match self.hello.manual {
            true => self.spans.manual_lease,
            false => self.spans.lease,
        }
    }

    /// After how long without progress an attempt of a type counts as stalled, if it says so.
    pub fn stall_span(&self, agent_type: &AgentTypeName) -> Option<Duration> {
        let mut types = self.hello.types.iter();
        types.find(|t| t.name == *agent_type)?.stall_span
    }

    /// How many more attempts it may be given.
    pub fn free(&self, board: &Board) -> u32 {
        let held = u32::try_from(board.held_count(self.hello.instance)).unwrap_or(u32::MAX);
        self.hello
            .slots
            .saturating_sub(held.saturating_sub(self.lent))
    }
}
