//! Opening a task again that is over (K3).

use std::sync::Arc;

use super::{caller, caller::Who, check, ending};
use crate::{
    command::Answer,
    draft::Draft,
    event::{Happening, line},
    graph::{self, JoinFields},
    id::{Revision, TaskId, TaskKey},
    limits,
    refusal::{Obstacle, Refusal},
    task::{Status, TaskState, Terms, Waiting},
};

/// What a task waits for was said when it was made: a reopening names the task alone.
const FIELDS: JoinFields = JoinFields {
    blocked_by: "task_id",
    joins: "task_id",
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
    caller::may_change(draft, who, key)?;
    caller::expect_revision(draft, key, expected)?;
    let from = draft.task(key)?.status();
    if !from.is_terminal() {
        return Err(Refusal::TaskOpen { task, status: from }.into());
    }
    check_support(draft, key)?;
    let open = draft.board.teams[&key.0].index.open.len();
    check::open_tasks(open + 1)?;
    // What it waited for and is not kept any more is as good as done.
    let blockers = draft.blocked_by(key).to_vec();
    for blocker in blockers {
        if draft.status((key.0, blocker)).is_none() {
            graph::remove_edge(draft, key.0, task, blocker)?;
        }
    }
    let (now, waiting) = (draft.now, Waiting::from(draft.now, reason.clone()));
    let card = draft.task_mut(key)?;
    // It is opened again by another wish than that of the attempt that hired it.
    let terms = card.terms().clone();
    card.set_terms(Terms {
        hired_by: None,
        ..terms
    });
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
        reason: line(reason),
    };
    draft.happened(key.0, &who.actor, None, reopened);
    graph::check_new(draft, key, FIELDS)?;
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

/// Refuses to open what would be cancelled again at once, because it is part of a task that is
/// cancelled. Children of a task that is opened again while they are being cancelled are spared as
/// far as they are open still; those that are over stay so.
fn check_support(draft: &Draft<'_>, key: TaskKey) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    let called_off = task
        .parent
        .filter(|parent| draft.is_called_off((key.0, *parent)));
    match called_off {
        Some(parent) if !task.terms().outlives_parent => Err(Refusal::TaskOrphaned {
            task: key.1,
            parent,
        }
        .into()),
        _ => Ok(()),
    }
}
