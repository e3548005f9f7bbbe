//! What is to be thought of a task: how soon, what for, and what if not.

use std::time::Duration;

/// How soon a task should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// When nothing else is to do.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Soon.
    High,
    /// First.
    Critical,
}

impl Priority {
    /// How much waiting it is worth: it goes before what became ready up to this much earlier.
    pub fn bonus(self) -> Duration {
        Duration::from_secs(match self {
            Self::Low => 0,
            Self::Normal => 5 * 60,
            Self::High => 15 * 60,
            Self::Critical => 60 * 60,
        })
    }
}

/// What kind of work a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TaskKind {
    /// Work.
    #[default]
    Work,
    /// Looks at whether other work is right.
    Verification,
}

/// What becomes of a task when one of its blockers fails or is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum BlockerFailedPolicy {
    /// It stays blocked.
    #[default]
    Wait,
    /// It is cancelled.
    Cancel,
    /// It goes ahead.
    Proceed,
}

/// When and how often an attempt that failed by the agent's own doing is tried again (D8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts may be made in all.
    pub max_attempts: u32,
    /// The longest wait before the second.
    pub initial_backoff: Duration,
    /// The longest wait of all.
    pub max_backoff: Duration,
}

/// What becomes of a task when its tries are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum FailurePolicy {
    /// It failed.
    #[default]
    Fail,
    /// It is held for a person.
    Pause,
    /// It is held, and nobody's.
    Release,
}
