//! Who calls, what of the board is in its sight, what it may do there, and whether it knows it as it is.
//! Every call asks this; nothing here knows what is called.

use crate::{
    board::{Board, Card},
    command::Caller,
    draft::Draft,
    event::Actor,
    id::{AttemptNumber, Fence, MemberName, Revision, TaskId, TaskKey, TeamUid},
    refusal::{Obstacle, Refusal, Staleness},
    task::{Hirer, Placement, TaskState},
    team::Member,
};

/// Who calls, as found on the roster.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) team: TeamUid,
    pub(super) actor: Actor,
    /// Its name on the roster; none for the sub-agent of a task that is nobody's.
    pub(super) member: Option<MemberName>,
    pub(super) is_lead: bool,
    /// It sees and changes only what is below this task.
    pub(super) list_of: Option<TaskId>,
    /// The attempt for which it acts, where it is a sub-agent.
    pub(super) at: Option<Hirer>,
}

impl Who {
    /// Whether this is the one.
    pub(super) fn is(&self, member: &MemberName) -> bool {
        self.member.as_ref() == Some(member)
    }

    /// Refuses who isn't the lead (T6).
    pub(super) fn must_lead(&self, action: &'static str) -> Result<(), Refusal> {
        if self.is_lead {
            return Ok(());
        }
        Err(Refusal::LeadOnly {
            action,
            member: self.actor.clone(),
        })
    }

    /// Refuses who is on no roster.
    pub(super) fn must_be_member(&self) -> Result<&MemberName, Refusal> {
        self.member.as_ref().ok_or_else(|| Refusal::BadValue {
            field: "ganger-member",
            why: format!("is {}, who is on no roster", self.actor),
        })
    }
}

/// Finds the caller: the sub-agent of an attempt, a member on the team's roster, or, without a
/// name, the lead (T6).
pub(super) fn identify(board: &Board, uid: TeamUid, caller: &Caller) -> Result<Who, Refusal> {
    if let Some(fence) = &caller.attempt {
        return sub_agent(board, uid, fence);
    }
    let team = board.team(uid).expect("the uid of a team that was found");
    let name = caller.member.as_ref().unwrap_or(&team.lead);
    let member = board
        .member(uid, name)
        .ok_or_else(|| Refusal::MemberUnknown {
            member: name.clone(),
            team: team.name.clone(),
        })?;
    if let Some(wanted) = caller.incarnation
        && wanted != member.incarnation.0
    {
        return Err(Refusal::IncarnationStale {
            member: name.clone(),
            wanted,
            present: member.incarnation.0,
        });
    }
    Ok(Who {
        team: uid,
        actor: Actor::Member(name.clone()),
        member: Some(name.clone()),
        is_lead: *name == team.lead,
        list_of: None,
        at: None,
    })
}

/// A sub-agent acts as the hosted member whose task it runs, and sees the team's board then; else
/// for its task alone, with a list of its own (DESIGN §6).
pub(super) fn sub_agent(board: &Board, uid: TeamUid, fence: &Fence) -> Result<Who, Refusal> {
    let key = (fence.team, fence.task);
    let is_present = fence.team == uid && board.fence(key) == Some(*fence);
    let placement = board.whole(key).and_then(|task| task.placement());
    let Some(placement) = placement.filter(|_| is_present) else {
        return Err(Refusal::Stale {
            why: Staleness::Attempt,
        });
    };
    let at = Some(Hirer {
        task: fence.task,
        attempt: fence.attempt,
    });
    if let Some(member) = acts_as(board, uid, placement) {
        let name = &member.name;
        return Ok(Who {
            team: uid,
            actor: Actor::Member(name.clone()),
            member: Some(name.clone()),
            is_lead: false,
            list_of: None,
            at,
        });
    }
    Ok(Who {
        team: uid,
        actor: Actor::Task(fence.task),
        member: None,
        is_lead: false,
        list_of: list_root(board, key),
        at,
    })
}

/// The hosted member as whom an attempt's sub-agent acts, as long as it is on the roster.
pub(super) fn acts_as<'b>(
    board: &'b Board,
    uid: TeamUid,
    placement: &Placement,
) -> Option<&'b Member> {
    let member = board.member(uid, placement.member.as_ref()?)?;
    // Who joined since is another of the same name.
    (member.joined_at <= placement.dispatched_at).then_some(member)
}

/// The task whose children are the list that a task's sub-agent sees; none for the whole board.
fn list_root(board: &Board, (uid, task): TaskKey) -> Option<TaskId> {
    let above = std::iter::successors(Some(task), |id| board.card((uid, *id))?.parent());
    let mut above = above.skip_while(|id| board.card((uid, *id)).is_some_and(Card::shares_todos));
    above.next()
}

/// The task whose list is all that a caller sees; none for who sees the whole board. Refuses who
/// says that it is somebody, and isn't on the roster.
pub fn list_of(board: &Board, uid: TeamUid, caller: &Caller) -> Result<Option<TaskId>, Refusal> {
    match (&caller.attempt, &caller.member) {
        (None, None) => Ok(None),
        _ => Ok(identify(board, uid, caller)?.list_of),
    }
}

/// Who a caller is.
pub fn actor_of(board: &Board, uid: TeamUid, caller: &Caller) -> Result<Actor, Refusal> {
    identify(board, uid, caller).map(|who| who.actor)
}

/// Whether a task is on the list of a sub-agent: its own, or below it.
pub(super) fn is_in_sight(draft: &Draft<'_>, who: &Who, task: TaskId) -> bool {
    let Some(root) = who.list_of else {
        return true;
    };
    draft.is_below((who.team, task), root)
}

/// Refuses a task that isn't there, or not for this caller to know.
pub(super) fn in_sight(draft: &Draft<'_>, who: &Who, key: TaskKey) -> Result<(), Refusal> {
    if draft.status(key).is_some() && is_in_sight(draft, who, key.1) {
        return Ok(());
    }
    if who.list_of.is_some() {
        // Who sees a list only isn't told what was ever beside it.
        let team = draft.team(key.0).name.clone();
        return Err(Refusal::never_was(key.1, team));
    }
    Err(draft.task_unknown(key))
}

/// Refuses to speak of a task that isn't there, or not for this caller to know.
pub(super) fn refer(
    draft: &Draft<'_>,
    who: &Who,
    field: &'static str,
    task: TaskId,
) -> Result<(), Refusal> {
    let is_there = draft.status((who.team, task)).is_some();
    if is_there && is_in_sight(draft, who, task) {
        return Ok(());
    }
    let team = draft.team(who.team);
    if who.list_of.is_some() {
        // Who sees a list only isn't told what was ever beside it.
        let team = team.name.clone();
        return Err(Refusal::ReferenceUnknown { field, task, team });
    }
    Err(team.reference_unknown(field, task))
}

/// Refuses who has no say in a task (T6): that have the lead and its owner, and as long as it is
/// nobody's, who made it.
pub(super) fn may_change(draft: &Draft<'_>, who: &Who, key: TaskKey) -> Result<(), Obstacle> {
    in_sight(draft, who, key)?;
    let task = draft.task(key)?;
    let has_say = match &task.owner {
        Some(owner) => who.is(owner),
        None => task.created_by == who.actor,
    };
    // A sub-agent's list is its own, but for the task that it is at.
    let is_on_list = who.list_of.is_some_and(|root| root != key.1);
    if who.is_lead || has_say || is_on_list {
        return Ok(());
    }
    Err(Refusal::NotOwner {
        task: key.1,
        owner: task.owner.clone(),
        member: who.actor.clone(),
    }
    .into())
}

/// Refuses who would make a task somebody else's without being the lead (T6).
pub(super) fn may_assign(who: &Who, owner: Option<&MemberName>) -> Result<(), Refusal> {
    match owner {
        Some(owner) if !who.is_lead && !who.is(owner) => Err(Refusal::LeadOnly {
            action: "assign tasks to others",
            member: who.actor.clone(),
        }),
        _ => Ok(()),
    }
}

/// Refuses a task that was changed since the caller looked. What an earlier item of the same call
/// did to it is the caller's own doing, and doesn't count.
pub(super) fn expect_revision(
    draft: &Draft<'_>,
    key: TaskKey,
    expected: Option<Revision>,
) -> Result<(), Obstacle> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let actual = match draft.board.card(key) {
        Some(Card::Whole(task)) => task.revision,
        Some(Card::Outline(stub)) => stub.revision,
        None => draft.task(key)?.revision,
    };
    if actual != expected {
        return Err(Refusal::RevisionMismatch {
            task: key.1,
            expected,
            actual,
        }
        .into());
    }
    Ok(())
}

/// Refuses an attempt that is not the last one.
pub(super) fn expect_attempt(
    draft: &Draft<'_>,
    key: TaskKey,
    expected: Option<AttemptNumber>,
) -> Result<(), Obstacle> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let task = draft.task(key)?;
    let is_held = matches!(task.state, TaskState::Claimed(_) | TaskState::Placed(_));
    if task.last_attempt == expected && is_held {
        return Ok(());
    }
    Err(Refusal::AttemptOver {
        task: key.1,
        expected,
        actual: task.last_attempt,
    }
    .into())
}
