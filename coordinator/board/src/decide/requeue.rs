//! Letting a task wait again.

use super::ending;
use crate::{
    draft::Draft,
    event::{Actor, Happening, line},
    id::{AttemptNumber, TaskKey},
    refusal::Obstacle,
    task::{TaskState, Waiting},
};

/// Lets a task wait again. A blocker of it may have been opened again while it was at work, and
/// have failed since: that acts on it now, and may end it.
pub(super) fn requeue(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    attempt: AttemptNumber,
    waiting: Waiting,
) -> Result<(), Obstacle> {
    let reason = line(&waiting.reason);
    let task = draft.task_mut(key)?;
    task.started_at = None;
    task.state = TaskState::Pending(waiting);
    let requeued = Happening::TaskRequeued {
        task: key.1,
        attempt,
        reason,
    };
    draft.happened(key.0, actor, None, requeued);
    ending::heed_blockers(draft, key)?;
    Ok(())
}
