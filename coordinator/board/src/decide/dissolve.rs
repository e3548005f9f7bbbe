//! The end of a team (T3): first it is written down, then its tasks are stopped and cancelled
//! step by step, then it is kept for a while, then it is gone.

use std::{collections::BTreeSet, sync::Arc};

use super::{caller::Who, check, stopping};
use crate::{
    command::{Answer, Removal},
    draft::Draft,
    event::{Happening, line},
    id::{TaskId, TaskKey, TeamUid},
    limits,
    refusal::{Obstacle, Refusal},
    task::{AfterStop, TaskState},
    team::{DEFAULT_TEAM, Dissolved},
};

pub(super) fn dissolve(
    draft: &mut Draft<'_>,
    who: &Who,
    removal: &Removal,
) -> Result<Answer, Obstacle> {
    let team = who.team;
    who.must_lead("dissolve the team")?;
    check::len("reason", &removal.reason, limits::NOTE_LEN_MAX)?;
    let (head, name) = (draft.team(team), draft.team(team).name.clone());
    if name.as_str() == DEFAULT_TEAM {
        return Err(Refusal::TeamPermanent { team: name }.into());
    }
    if !head.is_open() {
        return Ok(Answer::Dissolved {
            team,
            already: true,
            stopping: being_stopped(draft, team),
        });
    }
    let tasks = draft.board.in_progress(team).map(|task| task.id);
    let tasks: BTreeSet<TaskId> = tasks.collect();
    if !tasks.is_empty() && !removal.force {
        let tasks = tasks.into_iter().collect();
        return Err(Refusal::TeamActive { team: name, tasks }.into());
    }
    let at = draft.now;
    draft.team_mut(team).dissolved = Some(Dissolved {
        at,
        by: who.actor.clone(),
        reason: removal.reason.clone(),
        is_settled: false,
    });
    let reason = line(&removal.reason);
    draft.happened(team, &who.actor, None, Happening::TeamDissolved { reason });
    step(draft, team)?;
    Ok(Answer::Dissolved {
        team,
        already: false,
        stopping: being_stopped(draft, team),
    })
}

/// Stops and cancels a step of a dissolved team's tasks: what runs is stopped first. When none is
/// open any more, the team is a tombstone.
pub(super) fn step(draft: &mut Draft<'_>, team: TeamUid) -> Result<(), Obstacle> {
    let board = draft.board;
    let open = &board.teams[&team].index.open;
    let running = board.in_progress(team).map(|task| task.id);
    for id in running.chain(open.by_id(TaskId(0))) {
        if draft.is_full() {
            return Ok(());
        }
        call_off(draft, (team, id))?;
    }
    let is_over = |id| {
        draft
            .status((team, id))
            .is_none_or(|status| status.is_terminal())
    };
    if open.by_id(TaskId(0)).all(is_over)
        && let Some(dissolved) = &mut draft.team_mut(team).dissolved
    {
        dissolved.is_settled = true;
    }
    Ok(())
}

/// Cancels a task of a dissolved team: at once, or by the stop ladder where a worker runs it.
fn call_off(draft: &mut Draft<'_>, key: TaskKey) -> Result<(), Obstacle> {
    let Some(dissolved) = draft.team(key.0).dissolved.clone() else {
        return Ok(());
    };
    let is_being_cancelled = match &draft.task(key)?.state {
        TaskState::Ended(_) => true,
        TaskState::Placed(placement) => {
            let then = placement.stop.as_ref().map(|stop| stop.then);
            then == Some(AfterStop::Cancel)
        }
        TaskState::Pending(_) | TaskState::Claimed(_) => false,
    };
    if is_being_cancelled {
        return Ok(());
    }
    let reason: Arc<str> = match dissolved.reason.trim() {
        "" => "the team was dissolved".into(),
        reason => format!("the team was dissolved: {reason}").into(),
    };
    stopping::call_off(draft, key, &dissolved.by, &reason)
}

/// The tasks whose attempts are being stopped; the first step of them.
fn being_stopped(draft: &Draft<'_>, team: TeamUid) -> Vec<TaskId> {
    let is_stopping = |id: &TaskId| {
        let task = draft.task((team, *id));
        let placement = task.ok().and_then(|task| task.placement());
        placement.is_some_and(|placement| placement.stop.is_some())
    };
    let placed = draft.board.in_progress(team).map(|task| task.id);
    let placed: BTreeSet<TaskId> = placed.collect();
    let stopping = placed.into_iter().filter(is_stopping);
    stopping.take(limits::STEP_MAX).collect()
}
