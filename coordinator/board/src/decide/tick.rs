//! What time brings, without anybody asking: deadlines, time-outs, cascades.

use std::sync::Arc;

use super::{
    asking, attempts, claims, dissolve, ending, ending::Ending, expiry, handshake, holding,
    members, orphans, stopping,
};
use crate::{
    board::Board,
    command::{Answer, Effect, Soft},
    decision::Decision,
    draft::Draft,
    event::Actor,
    id::{TaskId, TaskKey, TeamUid},
    limits,
    refusal::Obstacle,
    task::{AfterStop, AttemptEnding, EndStatus, StopReason, TaskState},
    time::Time,
};

/// Decides what is due at this moment: up to [`limits::STEP_MAX`] tasks, the rest with the next
/// tick. Attempts of the spared processes are left alone: their workers have not been heard yet
/// since the coordinator started, and may well be done. None when nothing is due; an error is a
/// finished task that has to be [recalled](Board::recall) first, or is [unread](Soft::unread).
pub fn tick(board: &Board, now: Time, soft: &Soft<'_>) -> Result<Option<Decision>, TaskKey> {
    let mut draft = Draft::new(board, now);
    let looked = see_to_tasks(&mut draft, soft).and_then(|is_due| {
        let is_more_due = see_to_members_and_teams(&mut draft, soft)?;
        Ok(is_due | is_more_due)
    });
    match looked {
        Ok(is_due) => Ok(is_due.then(|| draft.finish(Answer::Done, None))),
        Err(Obstacle::Absent(key)) => Err(key),
        Err(Obstacle::Refused(refusal)) => {
            unreachable!("what time brings is nobody's wish, and not refused: {refusal}")
        }
    }
}

/// What time brings to tasks. Says whether anything was due.
fn see_to_tasks(draft: &mut Draft<'_>, soft: &Soft<'_>) -> Result<bool, Obstacle> {
    let board = draft.board;
    let mut is_due = false;
    let cascades = board.cascades.iter();
    for (team, ended) in cascades.filter(|key| !soft.unread.contains(key)) {
        if draft.is_full() {
            return Ok(true);
        }
        is_due = true;
        ending::settle(draft, *team, *ended, &Actor::Coordinator)?;
    }
    let now = draft.now;
    let last = (now, (TeamUid(u64::MAX), TaskId(u64::MAX)));
    for (at, key) in board.deadlines.range(..=last) {
        if board.due_at(*at, *key, soft).is_none_or(|at| at > now) {
            continue;
        }
        if draft.is_full() {
            return Ok(true);
        }
        is_due = true;
        look_at(draft, *key, soft)?;
    }
    for orphan in &board.orphans {
        if draft.is_full() {
            return Ok(true);
        }
        is_due = true;
        orphans::step(draft, *orphan)?;
    }
    for holder in &board.adrift {
        if draft.is_full() {
            return Ok(true);
        }
        is_due = true;
        claims::reclaim_step(draft, *holder)?;
    }
    Ok(is_due)
}

/// What time brings to members and teams. Says whether anything was due.
fn see_to_members_and_teams(draft: &mut Draft<'_>, soft: &Soft<'_>) -> Result<bool, Obstacle> {
    let (board, now) = (draft.board, draft.now);
    let mut is_due = false;
    let late = board
        .member_deadlines
        .iter()
        .take_while(|(at, _)| *at <= now);
    for (_, member) in late {
        if draft.is_full() {
            return Ok(true);
        }
        is_due = true;
        handshake::unanswered(draft, member)?;
    }
    for member in &board.stranded {
        if draft.is_full() {
            return Ok(true);
        }
        is_due = true;
        members::free_step(draft, member)?;
    }
    for team in &board.dissolving {
        if draft.is_full() {
            return Ok(true);
        }
        if board.has_unstopped(*team) {
            is_due = true;
            dissolve::step(draft, *team)?;
        }
    }
    if !draft.is_full() {
        is_due |= expiry::step(draft, soft);
    }
    // One at a time: there is a lot to forget in each.
    if let Some((at, team)) = board.tombstones.first()
        && *at + soft.tombstones_kept <= now
    {
        is_due = true;
        draft.remove_team(*team);
    }
    Ok(is_due)
}

fn look_at(draft: &mut Draft<'_>, key: TaskKey, soft: &Soft<'_>) -> Result<(), Obstacle> {
    let now = draft.now;
    let task = draft.task(key)?;
    let is_late = task.deadline.is_some_and(|deadline| deadline <= now);
    match task.state.clone() {
        TaskState::Ended(_) => Ok(()),
        TaskState::Pending(_) | TaskState::Claimed(_) if is_late => miss_deadline(draft, key),
        TaskState::Claimed(claim) => claims::expire(draft, key, &claim, soft),
        TaskState::Pending(_) => back_off_is_over(draft, key),
        TaskState::Placed(placement) => {
            let coordinator = Actor::Coordinator;
            if let Some(stop) = &placement.stop {
                if stop.at + limits::STOP_CONFIRM_TIMEOUT <= now {
                    draft.effect(Effect::CutOff(placement.instance));
                    let reason = "the stop was not confirmed in time".into();
                    attempts::lose(draft, key, &reason)?;
                }
                return Ok(());
            }
            if is_late {
                let reason: Arc<str> = "its deadline passed".into();
                let then = AfterStop::Fail(StopReason::Deadline);
                return stopping::request_stop(draft, key, &coordinator, &reason, then);
            }
            match placement.started_at {
                None => {
                    let fence = draft.fence(key, placement.attempt);
                    let reason: Arc<str> = "it did not start in time".into();
                    draft.effect(Effect::Stop {
                        instance: placement.instance,
                        fence,
                        reason: reason.clone(),
                    });
                    attempts::lose(draft, key, &reason)
                }
                Some(started) if placement.runs_out_at(started).is_some_and(|at| at <= now) => {
                    let reason: Arc<str> = "it ran longer than it may".into();
                    let then = AfterStop::Fail(StopReason::Timeout);
                    stopping::request_stop(draft, key, &coordinator, &reason, then)
                }
                Some(_) => asking::unanswered(draft, key),
            }
        }
    }
}

fn miss_deadline(draft: &mut Draft<'_>, key: TaskKey) -> Result<(), Obstacle> {
    let message: Arc<str> = "its deadline passed".into();
    draft.task_mut(key)?.error = message.clone();
    let attempt = holding::drop_claim(draft, key, AttemptEnding::TimedOut, &message)?;
    let ending = Ending {
        status: EndStatus::Failed,
        attempt,
        stop_reason: Some(StopReason::Deadline),
        message,
    };
    ending::end_task(draft, key, &Actor::Coordinator, ending)?;
    Ok(())
}

/// The task may be placed again: from now on it stands in its queue. Nothing happened that would
/// be worth an event.
fn back_off_is_over(draft: &mut Draft<'_>, key: TaskKey) -> Result<(), Obstacle> {
    if let TaskState::Pending(waiting) = &mut draft.task_mut(key)?.state {
        waiting.not_before = None;
    }
    Ok(())
}
