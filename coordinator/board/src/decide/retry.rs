//! What becomes of a task whose attempt failed: it is tried again, or held, or it failed (D8).

use std::{sync::Arc, time::Duration};

use super::{ending, ending::Ending, notices, pause, requeue};
use crate::{
    draft::Draft,
    event::{Actor, line},
    id::{AttemptNumber, Epoch, MemberName, TaskKey},
    refusal::Obstacle,
    task::{FailurePolicy, Retry, Waiting},
};

/// An attempt failed by the agent's own doing: that uses up a try, and the lead is told where the
/// agent was a hosted member.
pub(super) fn fail(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    member: Option<&MemberName>,
    ending: Ending,
) -> Result<(), Obstacle> {
    draft.task_mut(key)?.failures += 1;
    let error = ending.message.clone();
    try_again(draft, key, actor, ending)?;
    match member {
        Some(member) => notices::member_failed(draft, key, member, &error),
        None => Ok(()),
    }
}

/// Lets the task wait for its next try, if its policy has one left.
fn try_again(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    ending: Ending,
) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    let left = task.retry.clone();
    let left = left.filter(|retry| task.failures < retry.max_attempts);
    let (Some(retry), Some(attempt)) = (left, ending.attempt) else {
        return give_up(draft, key, actor, ending);
    };
    let chance = chance(draft.board.meta.epoch, key, attempt);
    let wait = wait(&retry, task.failures, chance);
    let waiting = Waiting {
        not_before: Some(draft.now + wait),
        ..Waiting::from(draft.now, ending.message)
    };
    requeue::requeue(draft, key, actor, attempt, waiting)
}

/// The tries are used up: the task's failure policy says what now.
pub(super) fn give_up(
    draft: &mut Draft<'_>,
    key: TaskKey,
    actor: &Actor,
    ending: Ending,
) -> Result<(), Obstacle> {
    let policy = draft.task(key)?.failure_policy;
    let Some(attempt) = ending.attempt.filter(|_| policy != FailurePolicy::Fail) else {
        ending::end_task(draft, key, actor, ending)?;
        return Ok(());
    };
    let message = ending.message;
    let waiting = Waiting::from(draft.now, message.clone());
    let mut owner = None;
    if policy == FailurePolicy::Release {
        owner = draft.task_mut(key)?.owner.take();
    }
    requeue::requeue(draft, key, actor, attempt, waiting)?;
    if draft.task(key)?.end().is_some() {
        return Ok(());
    }
    let reason: Arc<str> = format!("its tries are used up: {}", line(&message)).into();
    pause::hold(draft, key, &Actor::Coordinator, &reason)?;
    if let Some(owner) = owner {
        notices::unassigned(draft, key, &owner, &Actor::Coordinator, &reason)?;
    }
    Ok(())
}

/// How long to wait after so many failures: anything up to a span that doubles each time ("full
/// jitter"), so that tasks that failed together don't come back together.
fn wait(retry: &Retry, failures: u32, chance: u64) -> Duration {
    let doubled = retry
        .initial_backoff
        .saturating_mul(1 << failures.saturating_sub(1).min(30));
    let span = doubled.min(retry.max_backoff);
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(chance % millis.saturating_add(1))
}

/// A number that looks like chance and isn't: the board has none of its own. It differs from
/// attempt to attempt, and is the same when a decision is made again. (SplitMix64.)
fn chance(epoch: Epoch, (team, task): TaskKey, attempt: AttemptNumber) -> u64 {
    let mut mixed = (epoch.0 as u64) ^ (epoch.0 >> 64) as u64;
    for part in [team.0, task.0, u64::from(attempt.0)] {
        mixed = mixed.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{TaskId, TeamUid};

    const RETRY: Retry = Retry {
        max_attempts: 100,
        initial_backoff: Duration::from_secs(1),
        max_backoff: Duration::from_secs(60),
    };

    #[test]
    fn waits_are_drawn_from_a_span_that_doubles_up_to_its_bound() {
        for (failures, seconds) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (100, 60)] {
            let longest = wait(&RETRY, failures, seconds * 1_000);
            assert_eq!(longest, Duration::from_secs(seconds), "{failures}");
            let over = wait(&RETRY, failures, seconds * 1_000 + 1);
            assert_eq!(over, Duration::ZERO, "{failures}");
        }
    }

    #[test]
    fn chance_differs_between_attempts_and_is_the_same_again() {
        let of = |attempt| chance(Epoch(7), (TeamUid(1), TaskId(2)), AttemptNumber(attempt));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
