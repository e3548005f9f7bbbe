//! Taking a task off the board.

use super::{caller, caller::Who, edges, edges::Rewired, ending, holding, notices};
use crate::{
    command::{Answer, Effect},
    draft::Draft,
    event::Happening,
    id::{Revision, TaskId},
    refusal::{Obstacle, Refusal},
};

pub(super) fn delete(
    draft: &mut Draft<'_>,
    who: &Who,
    task: TaskId,
    expected: Option<Revision>,
) -> Result<Answer, Obstacle> {
    let key = (who.team, task);
    caller::may_change(draft, who, key)?;
    caller::expect_revision(draft, key, expected)?;
    if let Some(placement) = draft.task(key)?.placement() {
        return Err(holding::running(key, placement).into());
    }
    let children = draft.children(key);
    if !children.is_empty() {
        return Err(Refusal::TaskHasChildren { task, children }.into());
    }
    let card = draft.task(key)?.clone();
    let deleted = Happening::TaskDeleted {
        task,
        subject: card.subject.clone(),
    };
    draft.happened(key.0, &who.actor, None, deleted);
    if card.end().is_none() {
        draft.effect(Effect::TaskOver(key));
        if let Some(owner) = card.owner.as_ref().filter(|owner| !who.is(owner)) {
            notices::withdrawn(draft, key.0, &card, owner, &who.actor)?;
        }
    }
    for blocker in &card.blocked_by {
        draft.note_edge(key.0, *blocker, task, false);
    }
    let mut rewired = Rewired::default();
    for dependant in draft.dependants(key).to_vec() {
        let waits = (key.0, dependant);
        rewired.loosen(draft, waits, task)?;
        edges::note_edges_changed(draft, waits, &who.actor, task);
    }
    let joins = card
        .parent
        .map(|parent| draft.joins_on((key.0, parent)))
        .unwrap_or_default();
    let held = |draft: &Draft<'_>, id: &TaskId| {
        let join = draft.task((key.0, *id)).ok();
        join.is_some_and(|join| draft.is_held_by_children(key.0, join))
    };
    let held: Vec<TaskId> = joins.into_iter().filter(|id| held(draft, id)).collect();
    draft.remove_task(key);
    let mut unblocked = rewired.settle(draft, key.0, &who.actor)?;
    for join in held.into_iter().filter(|id| *id != task) {
        if !unblocked.contains(&join)
            && ending::free_if_unblocked(draft, (key.0, join), &who.actor, task)?
        {
            unblocked.push(join);
        }
    }
    Ok(Answer::Deleted {
        team: key.0,
        unblocked,
    })
}
