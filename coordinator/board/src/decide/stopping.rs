//! The coordinator's part of the stop ladder: a stop is asked for, and what it is for comes of it
//! when the worker confirms it, or is lost (W7). What no worker runs is stopped at once.

use std::sync::Arc;

use super::{caller::Who, ending, ending::Ending, holding, requeue, retry};
use crate::{
    command::Effect,
    draft::Draft,
    event::{Actor, Happening, line},
    id::TaskKey,
    refusal::{Obstacle, Refusal},
    task::{AfterStop, AttemptEnding, EndStatus, Placement, Stop, StopReason, TaskState, Waiting},
};

/// What the one who asked for the stop wanted to come of it. A time-out is the agent's own failure
/// whoever saw to it (D3).
pub(super) fn after_stop(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    placement: &Placement,
    stop: &Stop,
) -> Result<(), Obstacle> {
    let (status, stop_reason) = match stop.then {
        AfterStop::Cancel => (EndStatus::Cancelled, StopReason::Cancelled),
        AfterStop::Fail(reason) => (EndStatus::Failed, reason),
        AfterStop::Requeue => {
            let waiting = Waiting::from(draft.now, stop.reason.clone());
            return requeue::requeue(draft, key, actor, placement.attempt, waiting);
        }
    };
    draft.task_mut(key)?.error = stop.reason.clone();
    let ending = Ending {
        status,
        attempt: Some(placement.attempt),
        stop_reason: Some(stop_reason),
        message: stop.reason.clone(),
    };
    // The end is the doing of the one who asked, not of the worker that confirms it, nor of the
    // member for whom that worker ran it.
    draft.on_behalf_of = None;
    if stop_reason == StopReason::Timeout {
        return retry::fail(draft, key, &stop.by, placement.member.as_ref(), ending);
    }
    ending::end_task(draft, key, &stop.by, ending)?;
    Ok(())
}

/// Cancels a task: at once, or by the stop ladder where a worker runs it.
pub(super) fn cancel(
    draft: &mut Draft<'_>,
    who: &Who,
    key: TaskKey,
    reason: &Arc<str>,
) -> Result<(), Obstacle> {
    let reason: Arc<str> = if reason.trim().is_empty() {
        format!("cancelled by {}", who.actor).into()
    } else {
        reason.clone()
    };
    let status = draft.status(key).ok_or_else(|| draft.task_unknown(key))?;
    if status.is_terminal() {
        return Err(Refusal::TaskOver {
            task: key.1,
            status,
        }
        .into());
    }
    call_off(draft, key, &who.actor, &reason)
}

/// Cancels a task that is not over: at once, or by the stop ladder where a worker runs it.
pub(super) fn call_off(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    reason: &Arc<str>,
) -> Result<(), Obstacle> {
    if draft.task(key)?.placement().is_some() {
        return request_stop(draft, key, actor, reason, AfterStop::Cancel);
    }
    draft.task_mut(key)?.error = reason.clone();
    let attempt = holding::drop_claim(draft, key, AttemptEnding::Cancelled, reason)?;
    let ending = Ending {
        status: EndStatus::Cancelled,
        attempt,
        stop_reason: Some(StopReason::Cancelled),
        message: reason.clone(),
    };
    ending::end_task(draft, key, actor, ending)?;
    Ok(())
}

/// Asks for a placed task's attempt to be stopped. A cancel outranks what was asked for before;
/// anything else changes nothing.
pub(super) fn request_stop(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    reason: &Arc<str>,
    then: AfterStop,
) -> Result<(), Obstacle> {
    let at = draft.now;
    let placement = holding::placed(draft, key)?;
    match &mut placement.stop {
        Some(stop) if then == AfterStop::Cancel && stop.then != AfterStop::Cancel => {
            stop.by = actor.clone();
            stop.reason = reason.clone();
            stop.then = then;
        }
        Some(_) => return Ok(()),
        None => {
            // Who is to stop waits for no answer any more.
            placement.question = None;
            placement.stop = Some(Stop {
                at,
                by: actor.clone(),
                reason: reason.clone(),
                then,
            });
        }
    }
    let (attempt, instance) = (placement.attempt, placement.instance);
    let requested = Happening::TaskStopRequested {
        task: key.1,
        attempt,
        reason: line(reason),
    };
    draft.happened(key.0, actor, None, requested);
    let fence = draft.fence(key, attempt);
    draft.effect(Effect::Stop {
        instance,
        fence,
        reason: reason.clone(),
    });
    Ok(())
}

/// Takes a task away from whoever is at it, if that may be; it waits again then.
pub(super) fn take_from_runner(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    reason: &Arc<str>,
    stop_running: bool,
) -> Result<(), Obstacle> {
    match draft.task(key)?.state.clone() {
        TaskState::Pending(_) | TaskState::Ended(_) => Ok(()),
        TaskState::Placed(placement) if !stop_running => {
            Err(holding::running(key, &placement).into())
        }
        TaskState::Claimed(claim) if !stop_running => Err(holding::held_by(key, &claim).into()),
        TaskState::Placed(_) => request_stop(draft, key, actor, reason, AfterStop::Requeue),
        TaskState::Claimed(claim) => {
            holding::drop_claim(draft, key, AttemptEnding::Cancelled, reason)?;
            let waiting = Waiting::from(draft.now, reason.clone());
            requeue::requeue(draft, key, actor, claim.attempt, waiting)
        }
    }
}
