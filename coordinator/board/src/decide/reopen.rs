//! Opening a task again that is over (K3).

use std::sync::Arc;

use super::{attempts, calls::Who, check, ending, update};
use crate::{
    command::Answer,
    draft::Draft,
    event::Happening,
    id::{Revision, TaskId},
    limits,
    refusal::{Obstacle, Refusal},
    task::{Status, TaskState},
};

pub(super) fn reopen(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    expected: Option<Revision>,
    reason: &Arc<str>,
) -> Result<Answer, Obstacle> {
    if reason.trim().is_empty() {
        return Err(Refusal::Blank { field: "reason" }.into());
    }
    check::len("reason", reason, limits::NOTE_LEN_MAX)?;
    let key = (who.team, task);
    update::may_change(draft, who, key)?;
    update::expect_revision(draft, key, expected)?;
    let from = draft.task(key)?.status();
    if !from.is_terminal() {
        return Err(Refusal::TaskOpen { task, status: from }.into());
    }
    let (now, waiting) = (draft.now, attempts::waiting_again(draft, reason.clone()));
    let card = draft.task_mut(key)?;
    card.state = TaskState::Pending(waiting);
    card.result = Arc::default();
    card.error = Arc::default();
    card.outputs = Vec::new();
    card.started_at = None;
    card.crashes = 0;
    card.failures = 0;
    // A deadline that has passed would end it again at once.
    card.deadline = card.deadline.filter(|deadline| *deadline > now);
    let reopened = Happening::TaskReopened {
        task,
        from,
        reason: ending::line(reason),
    };
    draft.happened(key.0, &who.actor, None, reopened);
    let dependants = draft.dependants(key).to_vec();
    let is_pending = |id: &TaskId| draft.status((key.0, *id)) == Some(Status::Pending);
    let (blocked, started) = dependants.into_iter().partition(is_pending);
    // It may wait for others that did not complete, and heed that as any new task does.
    ending::heed_blockers(draft, key)?;
    Ok(Answer::Reopened {
        task: key,
        blocked,
        started,
    })
}
