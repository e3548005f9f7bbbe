//! Which reports of attempts still count (W5).

use crate::{
    draft::Draft,
    id::{Fence, InstanceId, TaskKey},
    refusal::{Obstacle, Refusal, Staleness},
    task::{AttemptEnding, Runner},
};

/// Finds the attempt that a report speaks of, if it still counts (W5).
pub(super) fn fenced(
    draft: &Draft<'_>,
    fence: &Fence,
    instance: InstanceId,
) -> Result<TaskKey, Obstacle> {
    let stale = |why| Err(Refusal::Stale { why }.into());
    if fence.epoch != draft.board.meta.epoch {
        return stale(Staleness::Epoch);
    }
    if draft.board.team(fence.team).is_none() {
        return stale(Staleness::Team);
    }
    let key = (fence.team, fence.task);
    match draft.status(key) {
        None => return stale(Staleness::Task),
        Some(status) if status.is_terminal() => return stale(Staleness::Attempt),
        Some(_) => {}
    }
    match draft.task(key)?.placement() {
        Some(placement) if placement.attempt != fence.attempt => stale(Staleness::Attempt),
        Some(placement) if placement.instance != instance => stale(Staleness::Instance),
        Some(_) => Ok(key),
        None => stale(Staleness::Attempt),
    }
}

/// Whether the very same ending was reported, and taken, before: its acknowledgement was lost.
pub(super) fn is_repeat(
    draft: &Draft<'_>,
    fence: &Fence,
    instance: InstanceId,
    ending: AttemptEnding,
) -> Result<bool, Obstacle> {
    let key = (fence.team, fence.task);
    if fence.epoch != draft.board.meta.epoch || draft.status(key).is_none() {
        return Ok(false);
    }
    Ok(draft.task(key)?.attempts.iter().any(|attempt| {
        attempt.number == fence.attempt
            && attempt.ending == ending
            && matches!(&attempt.runner, Runner::Worker(_, i) if *i == instance)
    }))
}
