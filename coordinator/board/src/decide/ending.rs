//! The end of a task, and what it does to those that wait for it (K5).

use std::{collections::VecDeque, sync::Arc};

use super::notices;
use crate::{
    command::Effect,
    draft::Draft,
    event::{Actor, Happening, line},
    id::{AttemptNumber, TaskId, TaskKey, TeamUid},
    nudge,
    refusal::Obstacle,
    task::{BlockerFailedPolicy, End, EndStatus, Status, StopReason, TaskState},
};

/// How a task is to end.
pub(super) struct Ending {
    pub(super) status: EndStatus,
    pub(super) attempt: Option<AttemptNumber>,
    pub(super) stop_reason: Option<StopReason>,
    pub(super) message: Arc<str>,
}

/// Ends a task and sees to its dependants. Answers those that were freed.
pub(super) fn end_task(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    ending: Ending,
) -> Result<Vec<TaskId>, Obstacle> {
    let is_completed = ending.status == EndStatus::Completed;
    if is_completed {
        nudge::count_completion(draft, key)?;
    }
    let task = draft.task(key)?;
    let held_by = match &task.state {
        TaskState::Claimed(_) => task.owner.clone(),
        TaskState::Placed(placement) => placement.member.clone(),
        _ => None,
    };
    let message = ending.message.clone();
    close(draft, key, actor, None, ending)?;
    let unblocked = settle(draft, key.0, key.1, actor)?;
    if let Some(member) = held_by {
        // After all is freed: it may have something to do again.
        notices::maybe_idle(draft, key, &member, &message)?;
    }
    Ok(unblocked)
}

fn close(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    cause: Option<TaskId>,
    ending: Ending,
) -> Result<(), Obstacle> {
    let at = draft.now;
    let is_open = draft.team(key.0).is_open();
    let task = draft.task_mut(key)?;
    let from = task.status();
    task.state = TaskState::Ended(End {
        status: ending.status,
        at,
        by: actor.clone(),
        stop_reason: ending.stop_reason,
        cascade_due: is_open,
    });
    let ended = Happening::TaskEnded {
        task: key.1,
        attempt: ending.attempt,
        from,
        to: ending.status.into(),
        message: line(&ending.message),
    };
    draft.happened(key.0, actor, cause, ended);
    draft.effect(Effect::TaskOver(key));
    if !is_open {
        return Ok(());
    }
    notices::finished(draft, key, actor)
}

/// Frees, or cancels, what waited for a task that is over, and what waited for the cancelled, and
/// so on. What is more than one step is left due, and a tick goes on with it: until
/// then an ended task holds back all that waited for it, so that none of them can start.
pub(super) fn settle(
    draft: &mut Draft<'_>,
    team: TeamUid,
    ended: TaskId,
    actor: &Actor,
) -> Result<Vec<TaskId>, Obstacle> {
    let mut unblocked = Vec::new();
    if !draft.team(team).is_open() {
        // All of it is being cancelled: nothing is freed any more.
        return Ok(unblocked);
    }
    let mut due = VecDeque::from([ended]);
    while let Some(id) = due.pop_front() {
        if id != ended && draft.is_full() {
            break;
        }
        if let TaskState::Ended(end) = &mut draft.task_mut((team, id))?.state {
            end.cascade_due = false;
        }
        let is_completed = draft.status((team, id)) == Some(Status::Completed);
        for dependant in waiting_for(draft, (team, id)) {
            let key = (team, dependant);
            if draft.status(key) != Some(Status::Pending) {
                continue;
            }
            let policy = draft.task(key)?.blocker_failed_policy;
            if !is_completed && policy == BlockerFailedPolicy::Cancel {
                cancel_dependant(draft, key, id)?;
                due.push_back(dependant);
            } else if free_if_unblocked(draft, key, actor, id)? {
                unblocked.push(dependant);
            }
        }
    }
    Ok(unblocked)
}

/// What waits for a task: its dependants, and those that wait for all that is part of its parent.
fn waiting_for(draft: &Draft<'_>, (team, task): TaskKey) -> Vec<TaskId> {
    let mut waiting = draft.dependants((team, task)).to_vec();
    if let Some(parent) = draft.parent((team, task)) {
        let joins = draft.joins_on((team, parent));
        let is_new = |id: &TaskId| *id != task && !waiting.contains(id);
        let joins: Vec<TaskId> = joins.into_iter().filter(is_new).collect();
        waiting.extend(joins);
    }
    waiting
}

fn cancel_dependant(draft: &mut Draft<'_>, key: TaskKey, blocker: TaskId) -> Result<(), Obstacle> {
    let ending = Ending {
        status: EndStatus::Cancelled,
        attempt: None,
        stop_reason: Some(StopReason::BlockerFailed),
        message: format!("blocker #{blocker} did not complete").into(),
    };
    draft.task_mut(key)?.error = ending.message.clone();
    close(draft, key, &Actor::Coordinator, Some(blocker), ending)
}

/// Looks after a task that has just come to wait for others: where one of them didn't complete
/// long ago, that acts on it as if it happened now. Answers the tasks that this freed.
pub(super) fn heed_blockers(draft: &mut Draft<'_>, key: TaskKey) -> Result<Vec<TaskId>, Obstacle> {
    let task = draft.task(key)?;
    let is_to_cancel = task.status() == Status::Pending
        && task.blocker_failed_policy == BlockerFailedPolicy::Cancel;
    let did_not_complete = |id: &&TaskId| {
        let status = draft.status((key.0, **id));
        matches!(status, Some(Status::Failed | Status::Cancelled))
    };
    let blocker = task.blocked_by.iter().find(did_not_complete).copied();
    let blocker = blocker.or_else(|| draft.undone_child(key.0, task));
    match blocker {
        Some(blocker) if is_to_cancel => {
            cancel_dependant(draft, key, blocker)?;
            settle(draft, key.0, key.1, &Actor::Coordinator)
        }
        _ => Ok(Vec::new()),
    }
}

/// Says that a pending task is free now, if it is.
pub(super) fn free_if_unblocked(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    cause: TaskId,
) -> Result<bool, Obstacle> {
    let task = draft.task(key)?;
    if task.status() != Status::Pending || draft.is_blocked(key.0, task) {
        return Ok(false);
    }
    if draft.loss(key.0, task).is_some() {
        // It is about to be cancelled: nobody needs to hear that it might have begun.
        return Ok(false);
    }
    let now = draft.now;
    if let TaskState::Pending(waiting) = &mut draft.task_mut(key)?.state {
        waiting.since = now;
    }
    let unblocked = Happening::TaskUnblocked { task: key.1 };
    draft.happened(key.0, actor, Some(cause), unblocked);
    notices::unblocked(draft, key, cause)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn an_event_says_the_first_line_and_whether_there_is_more() {
        for (text, said) in [
            ("", ""),
            ("one", "one"),
            ("one\n", "one"),
            ("\n one\r\n", "one"),
            ("one\ntwo", "one…"),
            ("\none\ntwo", "one…"),
        ] {
            assert_eq!(&*line(&text.into()), said, "{text:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let fits = "x".repeat(500);
        assert_eq!(*line(&fits.as_str().into()), fits);
        let odd = format!("{}ä", "x".repeat(499));
        let cut = format!("{}…", "x".repeat(499));
        assert_eq!(*line(&odd.into()), cut);
    }
}
