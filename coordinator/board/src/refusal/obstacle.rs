//! What is in the way of deciding; refusals that are made again and again.

use super::Refusal;
use crate::id::{TaskId, TaskKey, TeamName};

/// What doesn't fit in a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Staleness {
    /// The board was made anew or restored since.
    #[error("the board's epoch is another")]
    Epoch,
    /// There is no such team any more.
    #[error("the team is not there")]
    Team,
    /// There is no such task.
    #[error("the task is not there")]
    Task,
    /// The task is over, or has another attempt.
    #[error("the attempt is over")]
    Attempt,
    /// The attempt runs elsewhere.
    #[error("the attempt belongs to another worker process")]
    Instance,
}

impl Refusal {
    /// There is no such task, for all that the caller may know.
    pub fn never_was(task: TaskId, team: TeamName) -> Self {
        Self::TaskUnknown {
            task,
            team,
            was_deleted: false,
        }
    }
}

/// Why a command can't be decided as things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It is refused.
    Refused(Refusal),
    /// A finished task is in memory as a stub only: [`crate::Board::recall`] it, and decide
    /// again.
    Absent(TaskKey),
}

impl From<Refusal> for Obstacle {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
