//! A read that failed: told as what it is, and never as an answer (§11). The process goes on.

use board::{
    id::{MessageId, TaskKey, TeamUid},
    refusal::Refusal,
};

use crate::store::StoreError;

/// A record that must be there is not.
#[derive(Debug, thiserror::Error)]
#[error("it is not in the database")]
struct Missing;

/// What could not be read.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Unread {
    /// A task.
    #[error("task {} of team {}", .0.1, .0.0)]
    Task(TaskKey),
    /// A message.
    #[error("message {1} of team {0}")]
    Letter(TeamUid, MessageId),
    /// A team's events.
    #[error("the events of team {0}")]
    Events(TeamUid),
    /// What a request came to.
    #[error("what a request came to")]
    Outcome,
}

impl Unread {
    /// The store failed. The cause goes to the log, and the caller gets its reference.
    pub(super) fn because(self, failure: &StoreError) -> Refusal {
        self.log(failure)
    }

    /// The store has nothing where the board knows that there is something.
    pub(super) fn as_missing(self) -> Refusal {
        self.log(&Missing)
    }

    fn log(self, failure: &(dyn std::error::Error + 'static)) -> Refusal {
        let reference = uuid::Uuid::now_v7().to_string();
        let causes: Vec<String> = std::iter::successors(failure.source(), |cause| cause.source())
            .map(ToString::to_string)
            .collect();
        tracing::error!(%reference, what = %self, %failure, ?causes, "a record can't be read");
        Refusal::ReadFailed { reference }
    }
}
