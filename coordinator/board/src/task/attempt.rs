//! Executions of a task.

use std::sync::Arc;

use super::Placement;
use crate::{
    event::Actor,
    id::{AttemptNumber, InstanceId, WorkerName},
    limits,
    time::Time,
};

/// What attempts used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Wall time, milliseconds.
    pub wall_ms: u64,
    /// Processor time, milliseconds.
    pub cpu_ms: u64,
    /// Bytes written to stdout and stderr.
    pub output_bytes: u64,
    /// Tokens that a model read, as far as the sub-agent said.
    pub input_tokens: u64,
    /// Tokens that a model wrote, as far as the sub-agent said.
    pub output_tokens: u64,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            wall_ms: self.wall_ms.saturating_add(other.wall_ms),
            cpu_ms: self.cpu_ms.saturating_add(other.cpu_ms),
            output_bytes: self.output_bytes.saturating_add(other.output_bytes),
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
    }
}

/// An execution that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedAttempt {
    /// Its number.
    pub number: AttemptNumber,
    /// Who ran it.
    pub runner: Runner,
    /// When it was given out.
    pub dispatched_at: Time,
    /// When its sub-agent began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Time,
    /// How.
    pub ending: AttemptEnding,
    /// More about the end.
    pub message: Arc<str>,
    /// What it used.
    pub usage: Usage,
}

/// Who runs an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runner {
    /// Who claimed the task.
    Claimant(Actor),
    /// A worker's process.
    Worker(WorkerName, InstanceId),
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptEnding {
    /// With a result.
    Completed,
    /// By the agent's own failure.
    Failed,
    /// Stopped on request.
    Cancelled,
    /// It ran longer than it may.
    TimedOut,
    /// Lost with its worker.
    Lost,
    /// Refused before its start, or given back: at no cost.
    HandedBack,
}

impl Placement {
    /// When it has run longer than it may, for one that began at this moment.
    pub(crate) fn runs_out_at(&self, started: Time) -> Option<Time> {
        Some(started + self.run_limit? + limits::RUN_LIMIT_BACKSTOP)
    }
}
