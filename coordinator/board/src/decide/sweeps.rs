//! Cancelling, holding and resuming what a filter finds: a step of it with each call.
//!
//! A call looks at tasks by their ids, from the least or from where the last call stopped, up to
//! [`limits::LIST_EXAMINED_MAX`] of them, and changes up to [`limits::STEP_MAX`]. So a sweep over
//! any board is many small commits, and its caller sees how far it has come.

use std::sync::Arc;

use super::{caller, caller::Who, check, pause, stopping};
use crate::{
    board::TeamBoard,
    command::{Answer, Sweep, SweepWhat},
    draft::Draft,
    id::{AgentTypeName, TaskId, TaskKey},
    ids::IdSet,
    limits,
    refusal::{Obstacle, Refusal},
    task::{AfterStop, Task, TaskState},
    team::MemberKind,
};

/// Changes a step of the tasks that are meant. A task that isn't in a state to be changed so is
/// passed over; one that the caller has no say in is passed over too, unless it is named.
pub(super) fn sweep(draft: &mut Draft<'_>, who: &Who, sweep: &Sweep) -> Result<Answer, Obstacle> {
    check_filter(draft, who, sweep)?;
    let reason = said(who, sweep);
    let (mut count, mut is_more, mut last) = (0, false, sweep.after);
    for (at, id) in candidates(draft, who, sweep).enumerate() {
        if draft.is_full() || at >= limits::LIST_EXAMINED_MAX {
            is_more = true;
            break;
        }
        last = id;
        let key = (who.team, id);
        if !is_meant(draft, who, sweep, key)? {
            continue;
        }
        match sweep.what {
            SweepWhat::Cancel => stopping::call_off(draft, key, &who.actor, &reason)?,
            SweepWhat::Pause => pause::hold(draft, key, &who.actor, &reason)?,
            SweepWhat::Resume => pause::let_go(draft, key, &who.actor)?,
        }
        count += 1;
    }
    Ok(Answer::Swept {
        team: who.team,
        count,
        is_more,
        last,
    })
}

fn check_filter(draft: &Draft<'_>, who: &Who, sweep: &Sweep) -> Result<(), Obstacle> {
    let says_nothing = sweep.parent.is_none()
        && sweep.label.is_none()
        && sweep.agent_type.is_none()
        && sweep.owner.is_none()
        && sweep.tasks.is_empty();
    if says_nothing {
        return Err(Refusal::Blank { field: "filter" }.into());
    }
    check::len("reason", &sweep.reason, limits::NOTE_LEN_MAX)?;
    check::count("filter.task_ids", sweep.tasks.len(), limits::BATCH_MAX)?;
    if let Some(parent) = sweep.parent {
        caller::refer(draft, who, "filter.parent_task_id", parent)?;
    }
    for id in &sweep.tasks {
        caller::may_change(draft, who, (who.team, *id))?;
    }
    Ok(())
}

fn said(who: &Who, sweep: &Sweep) -> Arc<str> {
    let done = match sweep.what {
        SweepWhat::Cancel => "cancelled",
        SweepWhat::Pause => "paused",
        SweepWhat::Resume => "resumed",
    };
    match sweep.reason.trim() {
        "" => format!("{done} by {}", who.actor).into(),
        _ => sweep.reason.clone(),
    }
}

/// The tasks among which those that are meant are: as few as the indexes tell, by id.
fn candidates<'b>(
    draft: &Draft<'b>,
    who: &Who,
    sweep: &Sweep,
) -> Box<dyn Iterator<Item = TaskId> + 'b> {
    let team = &draft.board.teams[&who.team];
    let after = sweep.after;
    if !sweep.tasks.is_empty() {
        let mut ids = sweep.tasks.clone();
        ids.sort_unstable();
        ids.dedup();
        return Box::new(ids.into_iter().filter(move |id| *id > after));
    }
    if let Some(few) = sweep.parent.and_then(|root| all_below(team, root)) {
        return Box::new(few.into_iter().filter(move |id| *id > after));
    }
    if let Some(owner) = &sweep.owner {
        let owned = team.index.owned.get(owner).into_iter().flatten();
        return Box::new(owned.copied().filter(move |id| *id > after));
    }
    // What is part of a task came after it.
    let from = sweep.parent.map_or(after, |parent| parent.max(after));
    Box::new(team.index.open.by_id(from))
}

/// All tasks below one, by id, unless they are more than one call may look at.
fn all_below(team: &TeamBoard, root: TaskId) -> Option<Vec<TaskId>> {
    let mut below = Vec::new();
    let mut open = vec![root];
    while let Some(at) = open.pop() {
        let Some(children) = team.index.children.get(&at) else {
            continue;
        };
        if below.len() + IdSet::len(children) > limits::LIST_EXAMINED_MAX {
            return None;
        }
        below.extend(children.iter());
        open.extend(children.iter());
    }
    below.sort_unstable();
    Some(below)
}

/// Whether a task is one of those that are meant, and can be changed so by this caller.
fn is_meant(draft: &Draft<'_>, who: &Who, sweep: &Sweep, key: TaskKey) -> Result<bool, Obstacle> {
    if draft.status(key).is_none_or(|status| status.is_terminal()) {
        return Ok(false);
    }
    let task = draft.task(key)?;
    let fits = sweep
        .label
        .as_ref()
        .is_none_or(|label| task.labels.contains(label))
        && (sweep.owner.is_none() || sweep.owner == task.owner)
        && (sweep.agent_type.is_none() || sweep.agent_type.as_ref() == runs_by(draft, key, task))
        && sweep
            .parent
            .is_none_or(|root| key.1 != root && draft.is_below(key, root))
        && can_be(sweep.what, task);
    Ok(fits && may_change(draft, who, key)?)
}

/// The type that is to run a task: its own, else that of its hosted owner.
fn runs_by<'d>(draft: &'d Draft<'_>, key: TaskKey, task: &'d Task) -> Option<&'d AgentTypeName> {
    task.agent_type.as_ref().or_else(|| {
        let owner = draft.member(key.0, task.owner.as_ref()?).ok()?;
        let hosted = Some(owner).filter(|owner| owner.kind == MemberKind::Hosted);
        hosted?.agent_type.as_ref()
    })
}

fn can_be(what: SweepWhat, task: &Task) -> bool {
    match (what, &task.state) {
        (_, TaskState::Ended(_)) => false,
        (SweepWhat::Cancel, TaskState::Placed(placement)) => {
            // What is being cancelled already is not cancelled again.
            let stop = placement.stop.as_ref();
            stop.is_none_or(|stop| stop.then != AfterStop::Cancel)
        }
        (SweepWhat::Cancel, _) => true,
        (SweepWhat::Pause, TaskState::Pending(waiting)) => waiting.paused.is_none(),
        (SweepWhat::Resume, TaskState::Pending(waiting)) => waiting.paused.is_some(),
        (SweepWhat::Pause | SweepWhat::Resume, _) => false,
    }
}

fn may_change(draft: &Draft<'_>, who: &Who, key: TaskKey) -> Result<bool, Obstacle> {
    match caller::may_change(draft, who, key) {
        Ok(()) => Ok(true),
        Err(Obstacle::Refused(_)) => Ok(false),
        Err(absent @ Obstacle::Absent(_)) => Err(absent),
    }
}
