//! What a driver really enforces, said control by control.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Diagnosis, DriverKind};

/// One thing that a sandbox is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Control {
    /// Only the workspace is writable, only what the spec names is visible.
    Files,
    /// No network but the sandbox's own loopback.
    Network,
    /// Processes outside are invisible and out of reach.
    Processes,
    /// The whole tree dies, whatever it did.
    Kill,
    /// The worker's environment, descriptors and keys are out of reach.
    Secrets,
    /// Never uid 0, and an identity that no other sandbox shares.
    Identity,
    /// No capabilities, and no way to gain any.
    Privileges,
    /// Open files, process count and file size are bounded.
    Limits,
    /// Memory is bounded.
    Memory,
    /// The share of the processor is bounded.
    Cpu,
    /// The space of the workspace is bounded.
    Disk,
    /// The kernel's surface is narrowed by a system-call filter.
    Syscalls,
}

impl Control {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Files,
        Self::Network,
        Self::Processes,
        Self::Kill,
        Self::Secrets,
        Self::Identity,
        Self::Privileges,
        Self::Limits,
        Self::Memory,
        Self::Cpu,
        Self::Disk,
        Self::Syscalls,
    ];

    /// The name that people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Network => "network",
            Self::Processes => "processes",
            Self::Kill => "kill",
            Self::Secrets => "secrets",
            Self::Identity => "identity",
            Self::Privileges => "privileges",
            Self::Limits => "limits",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::Syscalls => "syscalls",
        }
    }
}

/// How well a control holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// It holds.
    Enforced,
    /// It holds in part.
    Degraded {
        /// What is lacking.
        reason: String,
    },
    /// It does not hold.
    Missing {
        /// What was seen.
        reason: String,
        /// What a person can do about it; empty if nothing.
        hint: String,
    },
}

impl Level {
    /// Partly held, and why.
    pub fn degraded(reason: impl Into<String>) -> Self {
        Self::Degraded {
            reason: reason.into(),
        }
    }

    /// Not held, why, and what to do.
    pub fn missing(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Missing {
            reason: reason.into(),
            hint: hint.into(),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Enforced => 0,
            Self::Degraded { .. } => 1,
            Self::Missing { .. } => 2,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforced => f.write_str("enforced"),
            Self::Degraded { reason } => write!(f, "degraded: {reason}"),
            Self::Missing { reason, .. } => write!(f, "missing: {reason}"),
        }
    }
}

/// The level of every control, in the order of [`Control`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assurance {
    levels: Vec<(Control, Level)>,
}

impl Assurance {
    /// Sets a control; a worse level that is already there stays.
    pub fn set(&mut self, control: Control, level: Level) {
        match self
            .levels
            .binary_search_by_key(&control, |(known, _)| *known)
        {
            Ok(at) if self.levels[at].1.rank() < level.rank() => self.levels[at].1 = level,
            Ok(_) => {}
            Err(at) => self.levels.insert(at, (control, level)),
        }
    }

    /// How well a control holds; one that was never looked at is missing.
    pub fn level(&self, control: Control) -> Level {
        match self
            .levels
            .binary_search_by_key(&control, |(known, _)| *known)
        {
            Ok(at) => self.levels[at].1.clone(),
            Err(_) => Level::missing("not looked at", ""),
        }
    }

    /// All controls that were looked at.
    pub fn iter(&self) -> impl Iterator<Item = (Control, &Level)> {
        self.levels.iter().map(|(control, level)| (*control, level))
    }
}

/// What a driver found out about this machine by trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// The driver that was tried.
    pub driver: DriverKind,
    /// How it works here, in a few words.
    pub mode: String,
    /// Control by control.
    pub assurance: Assurance,
    /// Set when sandboxes cannot be made here at all, or don't hold: the cause and the fix.
    pub refusal: Option<Diagnosis>,
}

impl ProbeReport {
    /// Whether sub-agents may be run by this driver here.
    pub fn is_usable(&self) -> bool {
        self.refusal.is_none()
    }
}

impl fmt::Display for ProbeReport {
    /// Several lines without a trailing newline: the driver, the controls, then the refusal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_usable() {
            "usable"
        } else {
            "not usable"
        };
        write!(f, "sandbox {}: {verdict} ({})", self.driver, self.mode)?;
        for (control, level) in self.assurance.iter() {
            write!(f, "\n  {:<11} {level}", control.as_str())?;
            if let Level::Missing { hint, .. } = level
                && !hint.is_empty()
            {
                write!(f, " ({hint})")?;
            }
        }
        if let Some(refusal) = &self.refusal {
            write!(f, "\n{refusal}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worse_level_is_never_overwritten_by_a_better_one() {
        let mut assurance = Assurance::default();

        assurance.set(Control::Kill, Level::missing("seen alive", ""));
        assurance.set(Control::Kill, Level::Enforced);
        assurance.set(Control::Files, Level::Enforced);
        assurance.set(Control::Files, Level::degraded("a bit"));

        assert_eq!(
            assurance.level(Control::Kill),
            Level::missing("seen alive", "")
        );
        assert_eq!(assurance.level(Control::Files), Level::degraded("a bit"));
        assert_eq!(
            assurance.level(Control::Network),
            Level::missing("not looked at", "")
        );
    }
}
