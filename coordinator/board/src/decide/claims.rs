//! Claims: holds of those who call the API themselves, and their leases (K12).

use std::{collections::BTreeSet, sync::Arc};

use super::{caller, caller::Who, check, holding, notices, requeue};
use crate::{
    command::{Answer, ClaimNext, Lease, Soft},
    draft::Draft,
    event::{Actor, Happening},
    id::{AttemptNumber, Revision, TaskId, TaskKey},
    index::Place,
    limits,
    refusal::{Obstacle, Refusal},
    task::{AttemptEnding, Claim, Hirer, Priority, Status, TaskState, Waiting},
};

/// Takes a task. Who holds it already has its claim renewed (K12): then `lease` is the new one, if
/// any is said.
pub(super) fn claim_task(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    expected: Option<Revision>,
    lease: Option<Lease>,
) -> Result<Answer, Obstacle> {
    let key = (who.team, task);
    caller::in_sight(draft, who, key)?;
    caller::expect_revision(draft, key, expected)?;
    if renews_own(draft, who, key, lease)? {
        return Ok(Answer::Renewed(key));
    }
    claim(
        draft,
        &who.actor,
        key,
        &who.actor,
        lease.unwrap_or_default(),
    )?;
    Ok(Answer::Task(key))
}

/// Renews a claim whose holder claims its task again. Says whether it is the caller's. A sub-agent
/// holds the task that it runs, too; its worker renews that lease.
fn renews_own(
    draft: &mut Draft<'_>,
    who: &Who,
    key: TaskKey,
    lease: Option<Lease>,
) -> Result<bool, Obstacle> {
    if draft.status(key) != Some(Status::InProgress) {
        return Ok(false);
    }
    check_lease(lease.unwrap_or_default())?;
    let now = draft.now;
    match &draft.task(key)?.state {
        TaskState::Claimed(claim) if claim.by == who.actor => {}
        TaskState::Placed(placement) => {
            let own = Hirer {
                task: key.1,
                attempt: placement.attempt,
            };
            return Ok(who.at == Some(own));
        }
        _ => return Ok(false),
    }
    if let TaskState::Claimed(claim) = &mut draft.task_mut(key)?.state {
        claim.renewed_at = now;
        if let Some(lease) = lease {
            claim.lease = lease_of(&claim.by, lease);
        }
    }
    Ok(true)
}

/// How long a claim lasts without a word of its holder. The sub-agent of an attempt is heard of by
/// its worker.
fn lease_of(by: &Actor, lease: Lease) -> Option<std::time::Duration> {
    lease.0.filter(|_| by.member().is_some())
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
    check_lease(wanted.lease)?;
    let Some(task) = best(draft, who, wanted) else {
        return Ok(Answer::NothingReady);
    };
    let key = (who.team, task);
    claim(draft, &who.actor, key, &who.actor, wanted.lease)?;
    Ok(Answer::Task(key))
}

fn best(draft: &Draft<'_>, who: &Who, wanted: &ClaimNext) -> Option<TaskId> {
    let index = &draft.board.teams[&who.team].index;
    let least = wanted.priority_min.unwrap_or(Priority::Low);
    let fits = |place: &&Place| {
        let task = draft.board.whole((who.team, place.1));
        let has = |label| task.is_some_and(|task| task.labels.contains(label));
        wanted.labels.iter().all(has)
    };
    let first = |lines: &mut dyn Iterator<Item = &BTreeSet<Place>>| {
        let firsts = lines.filter_map(|places| places.iter().find(fits).copied());
        firsts.min()
    };
    let own = first(&mut index.claimable_by(&who.member, least));
    // Of several labels the rarest leads to the fewest tasks that don't have the others.
    let count = |label: &&Arc<str>| -> usize {
        let lines = index.labelled_with(label, least);
        lines.map(BTreeSet::len).sum()
    };
    let nobodys = match wanted.labels.iter().min_by_key(count) {
        Some(rarest) => first(&mut index.labelled_with(rarest, least)),
        None => first(&mut index.claimable_by(&None, least)),
    };
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
    holding::free_to_take(draft, key)?;
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
        lease: lease_of(by, lease),
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

/// Says that a claim is still meant, which its holder alone can say. That it was heard of is noted
/// where all calls are.
pub(super) fn renew(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    attempt: Option<AttemptNumber>,
) -> Result<Answer, Obstacle> {
    let key = (who.team, task);
    held(draft, who, key, attempt)?;
    match draft.task(key)?.claim() {
        Some(claim) if claim.by != who.actor => Err(holding::held_by(key, claim).into()),
        _ => Ok(Answer::Task(key)),
    }
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
    caller::in_sight(draft, who, key)?;
    caller::expect_attempt(draft, key, attempt)?;
    let task = draft.task(key)?;
    match &task.state {
        TaskState::Claimed(claim) if claim.by == who.actor || who.is_lead => Ok(()),
        TaskState::Claimed(claim) => Err(holding::held_by(key, claim).into()),
        TaskState::Placed(placement) => Err(holding::running(key, placement).into()),
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
    let Some(attempt) = holding::drop_claim(draft, key, how, reason)? else {
        return Ok(());
    };
    let task = draft.task_mut(key)?;
    let owner = task.owner.take();
    let waiting = Waiting::from(draft.now, reason.clone());
    requeue::requeue(draft, key, actor, attempt, waiting)?;
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

/// Takes a step of what they hold from the sub-agents of a task that is over.
pub(super) fn reclaim_step(draft: &mut Draft<'_>, (team, holder): TaskKey) -> Result<(), Obstacle> {
    let lent = draft.board.teams[&team].index.lent.get(&holder);
    let reason: Arc<str> = format!("its holder, #{holder}, is over").into();
    for task in lent.into_iter().flatten() {
        if draft.is_full() {
            break;
        }
        let (key, how) = ((team, *task), AttemptEnding::Lost);
        give_up(draft, key, &Actor::Coordinator, how, &reason)?;
    }
    Ok(())
}
