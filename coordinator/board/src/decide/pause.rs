//! Holding a task, and letting it go on.

use std::sync::Arc;

use super::{caller, caller::Who, check, holding};
use crate::{
    command::Answer,
    draft::Draft,
    event::{Actor, Happening, line},
    id::{TaskId, TaskKey},
    limits,
    refusal::{Obstacle, Refusal},
    task::{Paused, TaskState, Waiting},
};

pub(super) fn pause(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    reason: &Arc<str>,
) -> Result<Answer, Obstacle> {
    check::len("reason", reason, limits::NOTE_LEN_MAX)?;
    let key = (who.team, task);
    caller::may_change(draft, who, key)?;
    match &draft.task(key)?.state {
        TaskState::Pending(waiting) => {
            if waiting.paused.is_some() {
                return Ok(Answer::Task(key));
            }
        }
        TaskState::Claimed(claim) => {
            return Err(holding::held_by(key, claim).into());
        }
        TaskState::Placed(placement) => return Err(holding::running(key, placement).into()),
        TaskState::Ended(end) => {
            let status = end.status.into();
            return Err(Refusal::TaskOver { task, status }.into());
        }
    }
    let reason: Arc<str> = match reason.trim() {
        "" => format!("paused by {}", who.actor).into(),
        _ => reason.clone(),
    };
    hold(draft, key, &who.actor, &reason)?;
    Ok(Answer::Task(key))
}

/// Holds a pending task until somebody resumes it.
pub(super) fn hold(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    reason: &Arc<str>,
) -> Result<(), Obstacle> {
    let at = draft.now;
    if let TaskState::Pending(waiting) = &mut draft.task_mut(key)?.state {
        waiting.paused = Some(Box::new(Paused {
            at,
            by: actor.clone(),
            reason: reason.clone(),
        }));
    }
    let paused = Happening::TaskPaused {
        task: key.1,
        reason: line(reason),
    };
    draft.happened(key.0, actor, None, paused);
    Ok(())
}

pub(super) fn resume(draft: &mut Draft<'_>, who: &Who, task: TaskId) -> Result<Answer, Obstacle> {
    let key = (who.team, task);
    caller::may_change(draft, who, key)?;
    let is_paused = draft
        .task(key)?
        .waiting()
        .is_some_and(|waiting| waiting.paused.is_some());
    if !is_paused {
        return Err(Refusal::TaskNotPaused { task }.into());
    }
    let_go(draft, key, &who.actor)?;
    Ok(Answer::Task(key))
}

/// Lets a held task go on.
pub(super) fn let_go(draft: &mut Draft<'_>, key: TaskKey, actor: &Actor) -> Result<(), Obstacle> {
    let waiting = Waiting::from(draft.now, Arc::default());
    let task = draft.task_mut(key)?;
    task.failures = 0;
    task.crashes = 0;
    task.state = TaskState::Pending(waiting);
    let resumed = Happening::TaskResumed { task: key.1 };
    draft.happened(key.0, actor, None, resumed);
    Ok(())
}
