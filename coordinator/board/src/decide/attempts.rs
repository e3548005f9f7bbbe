//! Attempts: given out, begun, ended, refused, lost.

use std::{sync::Arc, time::Duration};

use super::{
    ending,
    ending::Ending,
    fencing::{fenced, is_repeat},
    handshake, holding, mailbox, requeue, retry, roster, stopping,
};
use crate::{
    command::{Answer, Effect, EndReport},
    decision::Decision,
    draft::Draft,
    event::{Actor, Happening, line},
    id::{AttemptNumber, Fence, InstanceId, MemberName, TaskKey, WorkerName},
    limits,
    refusal::{Obstacle, Refusal, Staleness},
    task::{
        AttemptEnding, EndStatus, EndedAttempt, Placement, Runner, StopReason, Task, TaskState,
        Usage, Waiting,
    },
};

pub(super) fn dispatch(
    mut draft: Draft<'_>,
    key: TaskKey,
    worker: &WorkerName,
    instance: InstanceId,
) -> Result<Decision, Obstacle> {
    roster::check_team(&draft, key.0)?;
    holding::free_to_take(&draft, key)?;
    let member = runs_as(&draft, key, worker)?;
    roster::admit_worker(&mut draft, key.0, worker)?;
    let dispatched_at = draft.now;
    let mail = member
        .as_ref()
        .map(|name| draft.board.mail_to_hand(key.0, name));
    let task = draft.task_mut(key)?;
    task.last_attempt = task.last_attempt.next();
    task.started_at = None;
    let attempt = task.last_attempt;
    task.state = TaskState::Placed(Box::new(Placement {
        attempt,
        worker: worker.clone(),
        instance,
        member,
        mail: mail.unwrap_or_default(),
        dispatched_at,
        started_at: None,
        run_limit: None,
        stop: None,
        question: None,
        questions: 0,
        words: Vec::new(),
        last_word: 0,
        tasks_made: 0,
    }));
    let dispatched = Happening::TaskDispatched {
        task: key.1,
        attempt,
        worker: worker.clone(),
    };
    draft.happened(key.0, &Actor::Coordinator, None, dispatched);
    let fence = draft.fence(key, attempt);
    draft.effect(Effect::Assign(fence, worker.clone(), instance));
    Ok(draft.finish(Answer::Done, None))
}

/// The hosted member as whom this worker may run a free task, if it may run it now (K13).
fn runs_as(
    draft: &Draft<'_>,
    key: TaskKey,
    worker: &WorkerName,
) -> Result<Option<MemberName>, Refusal> {
    let refuse = |why: &str| {
        Err(Refusal::BadValue {
            field: "task",
            why: why.into(),
        })
    };
    let team = &draft.board.teams[&key.0];
    // Nothing was drafted yet: the board's own marks are right.
    let Some((queue, _)) = team.tasks[&key.1].marks.queued.as_deref() else {
        return refuse("does not wait for a worker");
    };
    if queue
        .want
        .worker
        .as_ref()
        .is_some_and(|only| only != worker)
    {
        return refuse("belongs to another worker");
    }
    match &queue.member {
        Some(member) if team.index.queues.is_member_busy(member) => {
            refuse("belongs to a member who runs another")
        }
        member => Ok(member.clone()),
    }
}

pub(super) fn started(
    mut draft: Draft<'_>,
    fence: &Fence,
    instance: InstanceId,
    run_limit: Option<Duration>,
) -> Result<Decision, Obstacle> {
    let key = fenced(&draft, fence, instance)?;
    let now = draft.now;
    let of_task = draft.task(key)?.timeout;
    if holding::placed(&mut draft, key)?.started_at.is_none() {
        let placement = holding::placed(&mut draft, key)?;
        placement.started_at = Some(now);
        // A worker may run a task for less than the task allows, never for more.
        let limit = run_limit.into_iter().chain(of_task).min();
        placement.run_limit = limit.map(|limit| limit.min(limits::TIMEOUT_MAX));
        let actor = Actor::Worker(placement.worker.clone());
        let (member, mail) = (placement.member.clone(), placement.mail);
        draft.on_behalf_of = member.clone();
        draft.task_mut(key)?.started_at = Some(now);
        if let Some(member) = member {
            mailbox::hand_over(&mut draft, key.0, &member, mail)?;
        }
        let started = Happening::TaskStarted {
            task: key.1,
            attempt: fence.attempt,
        };
        draft.happened(key.0, &actor, None, started);
    }
    Ok(draft.finish(Answer::Done, None))
}

pub(super) fn ended(
    mut draft: Draft<'_>,
    fence: &Fence,
    instance: InstanceId,
    report: &EndReport,
) -> Result<Decision, Obstacle> {
    let key = match fenced(&draft, fence, instance) {
        Ok(key) => key,
        Err(obstacle) => {
            return if is_repeat(&draft, fence, instance, report.ending)? {
                Ok(draft.finish(Answer::Done, None))
            } else {
                Err(obstacle)
            };
        }
    };
    let message = report.error.clone();
    let placement = end_attempt(&mut draft, key, report.ending, message, report.usage)?;
    let actor = Actor::Worker(placement.worker.clone());
    draft.on_behalf_of = placement.member.clone();
    let task = draft.task_mut(key)?;
    task.result = report.result.clone();
    task.error = report.error.clone();
    task.outputs = report.outputs.clone();
    match &placement.stop {
        Some(stop) => stopping::after_stop(&mut draft, key, &actor, &placement, stop)?,
        None => {
            let (status, stop_reason) = verdict(report);
            let ending = Ending {
                status,
                attempt: Some(placement.attempt),
                stop_reason,
                message: report.error.clone(),
            };
            if status == EndStatus::Failed {
                retry::fail(&mut draft, key, &actor, placement.member.as_ref(), ending)?;
            } else {
                ending::end_task(&mut draft, key, &actor, ending)?;
            }
        }
    }
    rest(&mut draft, key, placement.member.as_ref(), true)?;
    Ok(draft.finish(Answer::Done, None))
}

/// How the task ends when its attempt ended so, unasked (D3).
fn verdict(report: &EndReport) -> (EndStatus, Option<StopReason>) {
    match report.ending {
        AttemptEnding::Completed => (EndStatus::Completed, report.stop_reason),
        AttemptEnding::TimedOut => (
            EndStatus::Failed,
            Some(report.stop_reason.unwrap_or(StopReason::Timeout)),
        ),
        _ => (EndStatus::Failed, report.stop_reason),
    }
}

pub(super) fn refused(
    mut draft: Draft<'_>,
    fence: &Fence,
    instance: InstanceId,
    reason: &Arc<str>,
) -> Result<Decision, Obstacle> {
    let key = match fenced(&draft, fence, instance) {
        Ok(key) => key,
        Err(obstacle) => {
            return if is_repeat(&draft, fence, instance, AttemptEnding::HandedBack)? {
                Ok(draft.finish(Answer::Done, None))
            } else {
                Err(obstacle)
            };
        }
    };
    let refusals = refusals_before(draft.task(key)?);
    let handed_back = AttemptEnding::HandedBack;
    let placement = end_attempt(
        &mut draft,
        key,
        handed_back,
        reason.clone(),
        Usage::default(),
    )?;
    let actor = Actor::Worker(placement.worker.clone());
    draft.on_behalf_of = placement.member.clone();
    match &placement.stop {
        Some(stop) => stopping::after_stop(&mut draft, key, &actor, &placement, stop)?,
        None => {
            let wait = limits::REFUSAL_BACKOFF
                .saturating_mul(1 << refusals.min(16))
                .min(limits::REFUSAL_BACKOFF_MAX);
            let waiting = Waiting {
                not_before: Some(draft.now + wait),
                refusals: refusals + 1,
                ..Waiting::from(draft.now, reason.clone())
            };
            requeue::requeue(&mut draft, key, &actor, placement.attempt, waiting)?;
        }
    }
    rest(&mut draft, key, placement.member.as_ref(), false)?;
    Ok(draft.finish(Answer::Done, None))
}

/// How many workers in a row, up to now, refused the task.
fn refusals_before(task: &Task) -> u32 {
    let refused = task
        .attempts
        .iter()
        .rev()
        .take_while(|attempt| attempt.ending == AttemptEnding::HandedBack);
    u32::try_from(refused.count()).unwrap_or(u32::MAX)
}

pub(super) fn lost(
    mut draft: Draft<'_>,
    key: TaskKey,
    attempt: AttemptNumber,
    reason: &Arc<str>,
) -> Result<Decision, Obstacle> {
    check_present(&draft, key, attempt)?;
    lose(&mut draft, key, reason)?;
    Ok(draft.finish(Answer::Done, None))
}

/// Takes a task's attempt as lost: not the task's fault, so it is tried again, up to its crash
/// limit (D8).
pub(super) fn lose(draft: &mut Draft<'_>, key: TaskKey, reason: &Arc<str>) -> Result<(), Obstacle> {
    let lost = AttemptEnding::Lost;
    let placement = end_attempt(draft, key, lost, reason.clone(), Usage::default())?;
    after_loss(draft, key, &placement, reason)?;
    rest(draft, key, placement.member.as_ref(), false)
}

fn after_loss(
    draft: &mut Draft<'_>,
    key: TaskKey,
    placement: &Placement,
    reason: &Arc<str>,
) -> Result<(), Obstacle> {
    let actor = Actor::Coordinator;
    if let Some(stop) = &placement.stop {
        return stopping::after_stop(draft, key, &actor, placement, stop);
    }
    let task = draft.task_mut(key)?;
    task.crashes += 1;
    if task.crashes > task.crash_limit {
        let message: Arc<str> = format!(
            "{} attempts were lost, {} may be; the last one: {reason}",
            task.crashes, task.crash_limit
        )
        .into();
        task.error = message.clone();
        let ending = Ending {
            status: EndStatus::Failed,
            attempt: Some(placement.attempt),
            stop_reason: Some(StopReason::CrashLimit),
            message,
        };
        return retry::give_up(draft, key, &actor, ending);
    }
    let waiting = Waiting::from(draft.now, reason.clone());
    requeue::requeue(draft, key, &actor, placement.attempt, waiting)
}

/// The hosted member that was run is at rest, and has read its mail, if its attempt came to an end
/// of its own.
fn rest(
    draft: &mut Draft<'_>,
    key: TaskKey,
    member: Option<&MemberName>,
    has_read: bool,
) -> Result<(), Obstacle> {
    let Some(member) = member else {
        return Ok(());
    };
    mailbox::take_back(draft, key.0, member, has_read)?;
    handshake::at_rest(draft, key.0, member)
}

pub(super) fn never_arrived(
    mut draft: Draft<'_>,
    key: TaskKey,
    attempt: AttemptNumber,
) -> Result<Decision, Obstacle> {
    check_present(&draft, key, attempt)?;
    let reason: Arc<str> = "the assignment never reached the worker".into();
    let handed_back = AttemptEnding::HandedBack;
    let placement = end_attempt(
        &mut draft,
        key,
        handed_back,
        reason.clone(),
        Usage::default(),
    )?;
    let actor = Actor::Coordinator;
    match &placement.stop {
        Some(stop) => stopping::after_stop(&mut draft, key, &actor, &placement, stop)?,
        None => {
            let waiting = Waiting::from(draft.now, reason);
            requeue::requeue(&mut draft, key, &actor, attempt, waiting)?;
        }
    }
    rest(&mut draft, key, placement.member.as_ref(), false)?;
    Ok(draft.finish(Answer::Done, None))
}

fn check_present(draft: &Draft<'_>, key: TaskKey, attempt: AttemptNumber) -> Result<(), Obstacle> {
    let present = draft.board.whole(key).and_then(|task| task.placement());
    if present.is_some_and(|placement| placement.attempt == attempt) {
        return Ok(());
    }
    Err(Refusal::Stale {
        why: Staleness::Attempt,
    }
    .into())
}

/// Puts a placed task's attempt among the ended ones. The task's state is the caller's to set.
fn end_attempt(
    draft: &mut Draft<'_>,
    key: TaskKey,
    how: AttemptEnding,
    message: Arc<str>,
    usage: Usage,
) -> Result<Placement, Obstacle> {
    let ended_at = draft.now;
    let placement = holding::placed(draft, key)?.clone();
    let task = draft.task_mut(key)?;
    holding::remember(
        task,
        EndedAttempt {
            number: placement.attempt,
            runner: Runner::Worker(placement.worker.clone(), placement.instance),
            dispatched_at: placement.dispatched_at,
            started_at: placement.started_at,
            ended_at,
            ending: how,
            message: line(&message),
            usage,
        },
    );
    Ok(placement)
}
