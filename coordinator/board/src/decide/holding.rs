//! Who holds a task: a worker that it is placed on, a member that claimed it, or nobody, so that it is
//! free to take. Whatever takes, ends or changes a task asks this; nothing here knows why.

use std::sync::Arc;

use crate::{
    draft::Draft,
    event::line,
    id::{AttemptNumber, TaskKey},
    limits,
    refusal::{Obstacle, Refusal, Staleness},
    task::{AttemptEnding, Claim, EndedAttempt, Placement, Runner, Task, TaskState, Usage},
};

/// Refuses a task that is not pending, or is blocked.
pub(super) fn free_to_take(draft: &Draft<'_>, key: TaskKey) -> Result<(), Obstacle> {
    if let Some(status) = draft.status(key)
        && status.is_terminal()
    {
        return Err(Refusal::TaskOver {
            task: key.1,
            status,
        }
        .into());
    }
    let task = draft.task(key)?;
    match &task.state {
        TaskState::Pending(waiting) => {
            if let Some(paused) = &waiting.paused {
                return Err(Refusal::TaskPaused {
                    task: key.1,
                    reason: paused.reason.to_string(),
                }
                .into());
            }
        }
        TaskState::Claimed(claim) => {
            return Err(held_by(key, claim).into());
        }
        TaskState::Placed(placement) => return Err(running(key, placement).into()),
        TaskState::Ended(_) => unreachable!("terminal tasks were refused above"),
    }
    if let Some(loss) = draft.loss(key.0, task) {
        let parent = loss.of();
        return Err(Refusal::TaskOrphaned {
            task: key.1,
            parent,
        }
        .into());
    }
    let blockers = draft.open_blockers(key.0, task);
    if !blockers.is_empty() {
        return Err(Refusal::TaskBlocked {
            task: key.1,
            blockers,
        }
        .into());
    }
    Ok(())
}

pub(super) fn running(key: TaskKey, placement: &Placement) -> Refusal {
    Refusal::TaskRunning {
        task: key.1,
        worker: placement.worker.to_string(),
        attempt: placement.attempt,
    }
}

pub(super) fn placed<'d>(
    draft: &'d mut Draft<'_>,
    key: TaskKey,
) -> Result<&'d mut Placement, Obstacle> {
    match &mut draft.task_mut(key)?.state {
        TaskState::Placed(placement) => Ok(placement),
        _ => Err(Refusal::Stale {
            why: Staleness::Attempt,
        }
        .into()),
    }
}

pub(super) fn held_by(key: TaskKey, claim: &Claim) -> Refusal {
    Refusal::TaskHeld {
        task: key.1,
        holder: claim.by.to_string(),
    }
}

/// Ends a member's claim, where there is one. The task's state is the caller's to set.
pub(super) fn drop_claim(
    draft: &mut Draft<'_>,
    key: TaskKey,
    how: AttemptEnding,
    message: &Arc<str>,
) -> Result<Option<AttemptNumber>, Obstacle> {
    let ended_at = draft.now;
    let task = draft.task_mut(key)?;
    let TaskState::Claimed(claim) = task.state.clone() else {
        return Ok(None);
    };
    remember(
        task,
        EndedAttempt {
            number: claim.attempt,
            runner: Runner::Claimant(claim.by),
            dispatched_at: claim.since,
            started_at: Some(claim.since),
            ended_at,
            ending: how,
            message: line(message),
            usage: Usage::default(),
        },
    );
    Ok(Some(claim.attempt))
}

pub(super) fn remember(task: &mut Task, attempt: EndedAttempt) {
    task.usage = task.usage.plus(attempt.usage);
    if task.attempts.len() >= limits::ATTEMPTS_KEPT {
        task.attempts.remove(0);
    }
    task.attempts.push(attempt);
}
