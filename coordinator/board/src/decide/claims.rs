//! Claims: holds of those who call the API themselves, and their leases (K12).

use std::sync::Arc;

use super::{attempts, calls::Who, check, notices, stopping, update};
use crate::{
    command::{Answer, ClaimNext, Lease, Soft},
    draft::Draft,
    event::{Actor, Happening},
    id::{AttemptNumber, Revision, TaskId, TaskKey},
    index::Place,
    limits,
    refusal::{Obstacle, Refusal},
    task::{AttemptEnding, Claim, TaskState},
};

pub(super) fn claim_task(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    expected: Option<Revision>,
    lease: Lease,
) -> Result<Answer, Obstacle> {
    let key = (who.team, task);
    update::in_sight(draft, who, key)?;
    update::expect_revision(draft, key, expected)?;
    claim(draft, &who.actor, key, &who.actor, lease)?;
    Ok(Answer::Task(key))
}

/// Takes the best ready task that waits for a claim: the caller's own, or nobody's (K12). Places
/// don't change while tasks wait, so whoever asks next gets the next.
pub(super) fn claim_next(
    draft: &mut Draft<'_>,
    who: &Who,
    wanted: &ClaimNext,
) -> Result<Answer, Obstacle> {
    who.must_be_member()?;
    check::count("labels", wanted.labels.len(), limits::WANTED_LABELS_MAX)?;
    let Some(task) = best(draft, who, wanted) else {
        return Ok(Answer::NothingReady);
    };
    let key = (who.team, task);
    claim(draft, &who.actor, key, &who.actor, wanted.lease)?;
    Ok(Answer::Task(key))
}

fn best(draft: &Draft<'_>, who: &Who, wanted: &ClaimNext) -> Option<TaskId> {
    let board = draft.board;
    let index = &board.teams[&who.team].index;
    let fits = |place: &&Place| {
        let Some(task) = board.whole((who.team, place.1)) else {
            return false;
        };
        let is_urgent = wanted
            .priority_min
            .is_none_or(|least| task.priority >= least);
        is_urgent
            && wanted
                .labels
                .iter()
                .all(|label| task.labels.contains(label))
    };
    // Of several labels the rarest leads to the fewest tasks that don't have the others.
    let labelled = wanted.labels.iter().map(|label| index.labelled.get(label));
    let nobodys = match labelled.min_by_key(|places| places.map_or(0, |places| places.len())) {
        Some(rarest) => rarest,
        None => index.claimable.get(&None),
    };
    let own = index.claimable.get(&who.member);
    let first = |places: Option<&std::collections::BTreeSet<Place>>| {
        places.and_then(|places| places.iter().find(fits).copied())
    };
    let (own, nobodys) = (first(own), first(nobodys));
    match (own, nobodys) {
        (Some(own), Some(other)) => Some(if own.0 <= other.0 { own.1 } else { other.1 }),
        (own, other) => own.or(other).map(|place| place.1),
    }
}

/// Lets somebody take a pending, unblocked task that is nobody else's.
pub(super) fn claim(
    draft: &mut Draft<'_>,
    by: &Actor,
    key: TaskKey,
    actor: &Actor,
    lease: Lease,
) -> Result<(), Obstacle> {
    if draft.status(key).is_none() {
        return Err(draft.task_unknown(key).into());
    }
    check_lease(lease)?;
    attempts::free_to_take(draft, key)?;
    if let Some(owner) = &draft.task(key)?.owner
        && by.member() != Some(owner)
    {
        return Err(Refusal::TaskHeld {
            task: key.1,
            holder: owner.to_string(),
        }
        .into());
    }
    let since = draft.now;
    let task = draft.task_mut(key)?;
    task.last_attempt = task.last_attempt.next();
    task.owner = by.member().cloned();
    task.started_at = Some(since);
    let attempt = task.last_attempt;
    task.state = TaskState::Claimed(Claim {
        attempt,
        by: by.clone(),
        since,
        // The sub-agent of an attempt is heard of by its worker.
        lease: lease.0.filter(|_| by.member().is_some()),
        renewed_at: since,
    });
    let claimed = Happening::TaskClaimed {
        task: key.1,
        by: by.clone(),
        attempt,
    };
    draft.happened(key.0, actor, None, claimed);
    Ok(())
}

fn check_lease(lease: Lease) -> Result<(), Refusal> {
    let fits = |span| (limits::CLAIM_LEASE_MIN..=limits::CLAIM_LEASE_MAX).contains(&span);
    if lease.0.is_none_or(fits) {
        return Ok(());
    }
    Err(Refusal::BadValue {
        field: "lease",
        why: format!(
            "is not between {} and {} seconds",
            limits::CLAIM_LEASE_MIN.as_secs(),
            limits::CLAIM_LEASE_MAX.as_secs()
        ),
    })
}

/// Says that a claim is still meant. That its holder was heard of is noted where all calls are.
pub(super) fn renew(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    attempt: Option<AttemptNumber>,
) -> Result<Answer, Obstacle> {
    let key = (who.team, task);
    held(draft, who, key, attempt)?;
    Ok(Answer::Task(key))
}

/// Gives a claimed task back: it is pending and nobody's again.
pub(super) fn release(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    attempt: Option<AttemptNumber>,
    reason: &Arc<str>,
) -> Result<Answer, Obstacle> {
    check::len("reason", reason, limits::NOTE_LEN_MAX)?;
    let key = (who.team, task);
    held(draft, who, key, attempt)?;
    let reason: Arc<str> = match reason.trim() {
        "" => format!("released by {}", who.actor).into(),
        _ => reason.clone(),
    };
    give_up(draft, key, &who.actor, AttemptEnding::HandedBack, &reason)?;
    Ok(Answer::Task(key))
}

/// Refuses what is not claimed, or by somebody else than the caller, unless it leads.
fn held(
    draft: &Draft<'_>,
    who: &Who,
    key: TaskKey,
    attempt: Option<AttemptNumber>,
) -> Result<(), Obstacle> {
    update::in_sight(draft, who, key)?;
    update::expect_attempt(draft, key, attempt)?;
    let task = draft.task(key)?;
    match &task.state {
        TaskState::Claimed(claim) if claim.by == who.actor || who.is_lead => Ok(()),
        TaskState::Claimed(claim) => Err(Refusal::TaskHeld {
            task: key.1,
            holder: claim.by.to_string(),
        }
        .into()),
        TaskState::Placed(placement) => Err(attempts::running(key, placement).into()),
        TaskState::Pending(_) => Err(Refusal::TaskNotHeld { task: key.1 }.into()),
        TaskState::Ended(end) => Err(Refusal::TaskOver {
            task: key.1,
            status: end.status.into(),
        }
        .into()),
    }
}

/// Ends a claim without ending its task, which is pending and nobody's then.
pub(super) fn give_up(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    how: AttemptEnding,
    reason: &Arc<str>,
) -> Result<(), Obstacle> {
    let Some(attempt) = stopping::drop_claim(draft, key, how, reason)? else {
        return Ok(());
    };
    let task = draft.task_mut(key)?;
    let owner = task.owner.take();
    let waiting = attempts::waiting_again(draft, reason.clone());
    attempts::requeue(draft, key, actor, attempt, waiting)?;
    if let Some(owner) = owner {
        notices::unassigned(draft, key, &owner, actor, reason)?;
        notices::maybe_idle(draft, key, &owner, reason)?;
    }
    Ok(())
}

/// The lease of a claim may be over: then its task is free again. A holder who was heard of since
/// the lease was last written down keeps it, and that is written down now.
pub(super) fn expire(
    draft: &mut Draft<'_>,
    key: TaskKey,
    claim: &Claim,
    soft: &Soft<'_>,
) -> Result<(), Obstacle> {
    let (Some(lease), Some(member)) = (claim.lease, claim.by.member()) else {
        return Ok(());
    };
    let heard = (soft.seen)(key.0, member).filter(|heard| *heard > claim.renewed_at);
    if claim.renewed_at + lease > draft.now {
        return Ok(());
    }
    if let Some(heard) = heard
        && heard + lease > draft.now
    {
        if let TaskState::Claimed(claim) = &mut draft.task_mut(key)?.state {
            claim.renewed_at = heard;
        }
        return Ok(());
    }
    let reason: Arc<str> = format!(
        "the lease of {member} is over: it was not heard of for {} seconds",
        lease.as_secs()
    )
    .into();
    give_up(
        draft,
        key,
        &Actor::Coordinator,
        AttemptEnding::Lost,
        &reason,
    )
}
