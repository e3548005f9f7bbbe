//! Cancelling orphans (D12), one by one, with the tick.

use super::stopping;
use crate::{
    draft::Draft, event::Actor, id::TaskKey, orphans::is_being_cancelled, refusal::Obstacle,
};

/// Cancels a task because what it depends on is over: at once, or by the stop ladder where a
/// worker runs it. What is part of it is an orphan from then on.
pub(super) fn step(draft: &mut Draft<'_>, key: TaskKey) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    let Some(loss) = draft
        .loss(key.0, task)
        .filter(|_| !is_being_cancelled(task))
    else {
        // What the same tick did before has seen to it.
        return Ok(());
    };
    draft.cause_task = Some(loss.of());
    let called_off = stopping::call_off(draft, key, &Actor::Coordinator, &loss.reason());
    draft.cause_task = None;
    called_off
}
