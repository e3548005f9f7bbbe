//! Calls: who calls, what for, and what it came to.

use super::{
    asking, check, claims, create, delete, dissolve, mail, mailbox, members, pause, reopen, roster,
    settings, stopping, sweeps, update,
};
use crate::{
    board::{Board, Card},
    command::{Answer, Call, Caller, Wish},
    decision::Decision,
    draft::Draft,
    event::Actor,
    id::{Fence, MemberName, TaskId, TaskKey, TeamUid},
    limits,
    record::{CameTo, Outcome},
    refusal::{Obstacle, Refusal, Staleness},
    task::{Hirer, Placement},
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

pub(super) fn decide(mut draft: Draft<'_>, call: &Call) -> Result<Decision, Obstacle> {
    draft.cause_message = call.caller.cause;
    draft.on_behalf_of = call.caller.on_behalf_of.clone();
    let answer = match &call.wish {
        Wish::CreateTeam(team) => {
            may_create_team(draft.board, &call.caller)?;
            roster::create_team(&mut draft, team)?
        }
        wish => {
            let who = who(&draft, &call.caller, wish)?;
            grant(&mut draft, &who, wish)?
        }
    };
    check::records(&draft)?;
    let request = call.request.filter(|_| answer != Answer::NothingReady);
    let outcome = request.map(|request| Outcome {
        request,
        at: draft.now,
        team: team_of(&answer),
        came_to: came_to(&answer),
    });
    Ok(draft.finish(answer, outcome))
}

/// A sub-agent makes teams only if its type says so. Anybody else does: nobody is in a team before it
/// is made.
fn may_create_team(board: &Board, caller: &Caller) -> Result<(), Refusal> {
    let Some(fence) = &caller.attempt else {
        return Ok(());
    };
    sub_agent(board, fence.team, fence)?;
    board.check_team_creation((fence.team, fence.task))
}

fn grant(draft: &mut Draft<'_>, who: &Who, wish: &Wish) -> Result<Answer, Obstacle> {
    match wish {
        Wish::CreateTeam(_) => unreachable!("a team is made before anybody is in it"),
        Wish::CreateTasks(_, tasks) => create::create_tasks(draft, who, tasks),
        Wish::UpdateTask(_, task, changes) => {
            update::update(draft, who, *task, changes).map(Answer::Updated)
        }
        Wish::UpdateTasks(_, changes) => update::update_all(draft, who, changes),
        Wish::ClaimTask(_, task, expected, lease) => {
            claims::claim_task(draft, who, *task, *expected, *lease)
        }
        Wish::ClaimNext(_, wanted) => claims::claim_next(draft, who, wanted),
        Wish::RenewClaim(_, task, attempt) => claims::renew(draft, who, *task, *attempt),
        Wish::ReleaseTask(_, task, attempt, reason) => {
            claims::release(draft, who, *task, *attempt, reason)
        }
        Wish::ReopenTask(_, task, expected, reason) => {
            reopen::reopen(draft, who, *task, *expected, reason)
        }
        Wish::DeleteTask(_, task, expected) => delete::delete(draft, who, *task, *expected),
        Wish::PauseTask(_, task, reason) => pause::pause(draft, who, *task, reason),
        Wish::ResumeTask(_, task) => pause::resume(draft, who, *task),
        Wish::CancelTask(_, task, reason) => {
            check::len("reason", reason, limits::NOTE_LEN_MAX)?;
            let key = (who.team, *task);
            update::may_change(draft, who, key)?;
            stopping::cancel(draft, who, key, reason)?;
            Ok(Answer::Task(key))
        }
        Wish::SweepTasks(_, sweep) => sweeps::sweep(draft, who, sweep),
        Wish::AnswerQuestion(_, task, number, text) => {
            asking::answer(draft, who, *task, *number, text)
        }
        Wish::SteerTask(_, task, text) => asking::steer(draft, who, *task, text),
        Wish::UpdateTeam(_, changes) => settings::update_team(draft, who, changes),
        Wish::DissolveTeam(_, removal) => dissolve::dissolve(draft, who, removal),
        Wish::AddMember(_, member) => members::add(draft, who, member),
        Wish::RemoveMember(_, member, removal) => members::remove(draft, who, member, removal),
        Wish::HandOverLead(_, to) => members::hand_over(draft, who, to),
        Wish::SendMessage(_, letter) => mail::send(draft, who, letter),
        Wish::AckMessages(_, ack) => mailbox::ack(draft, who, ack),
    }
}

/// Finds out who makes a call, and whether it may make such a call at all.
fn who(draft: &Draft<'_>, caller: &Caller, wish: &Wish) -> Result<Who, Refusal> {
    let uid = draft.team_uid(wish.team())?;
    let is_of_the_dead = matches!(wish, Wish::DissolveTeam(..) | Wish::AckMessages(..));
    if !draft.team(uid).is_open() && !is_of_the_dead {
        return Err(Refusal::TeamOver {
            team: wish.team().clone(),
        });
    }
    if let Wish::AddMember(_, new) = wish
        && caller.attempt.is_none()
        && caller.member.as_ref() == Some(&new.name)
        && draft.member(uid, &new.name).is_err()
    {
        // Whoever joins by itself is not on the roster yet.
        return Ok(Who {
            team: uid,
            actor: Actor::Member(new.name.clone()),
            member: None,
            is_lead: false,
            list_of: None,
            at: None,
        });
    }
    let who = identify(draft.board, uid, caller)?;
    let needs_no_plan = matches!(
        wish,
        Wish::SendMessage(..)
            | Wish::AckMessages(..)
            | Wish::RenewClaim(..)
            | Wish::ReleaseTask(..)
            | Wish::RemoveMember(..)
    );
    if let Some(name) = &who.member
        && !needs_no_plan
        && !draft.member(uid, name)?.plan.is_free()
    {
        return Err(Refusal::PlanNotApproved {
            member: name.clone(),
        });
    }
    Ok(who)
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

/// A sub-agent acts as the hosted member whose task it runs, and sees the team's board then; else
/// for its task alone, with a list of its own (DESIGN §6).
fn sub_agent(board: &Board, uid: TeamUid, fence: &Fence) -> Result<Who, Refusal> {
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

/// Whether a task is on the list of a sub-agent: its own, or below it.
pub(super) fn is_in_sight(draft: &Draft<'_>, who: &Who, task: TaskId) -> bool {
    let Some(root) = who.list_of else {
        return true;
    };
    draft.is_below((who.team, task), root)
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
    Err(Refusal::ReferenceUnknown {
        field,
        task,
        team: draft.team(who.team).name.clone(),
    })
}

fn team_of(answer: &Answer) -> TeamUid {
    match answer {
        Answer::Team(team)
        | Answer::Tasks { team, .. }
        | Answer::Batch(team, _)
        | Answer::Deleted { team, .. }
        | Answer::Dissolved { team, .. }
        | Answer::Member(team, _)
        | Answer::Removed { team, .. }
        | Answer::Swept { team, .. }
        | Answer::Sent { team, .. } => *team,
        Answer::Updated(updated) => updated.task.0,
        Answer::Task(task) | Answer::Renewed(task) | Answer::Reopened { task, .. } => task.0,
        Answer::Done | Answer::NothingReady | Answer::Acked { .. } => TeamUid(0),
    }
}

fn came_to(answer: &Answer) -> CameTo {
    match answer {
        Answer::Team(_) | Answer::Done | Answer::NothingReady | Answer::Acked { .. } => {
            CameTo::Team
        }
        Answer::Tasks { first, count, .. } => CameTo::Tasks {
            first: *first,
            count: *count,
        },
        Answer::Updated(updated) => CameTo::Updated {
            task: updated.task.1,
            fields: updated.fields,
            status: updated.status,
        },
        Answer::Batch(..) => CameTo::Batch,
        Answer::Task(task) => CameTo::Task { task: task.1 },
        Answer::Renewed(task) => CameTo::Renewed { task: task.1 },
        Answer::Reopened { task, .. } => CameTo::Reopened { task: task.1 },
        Answer::Deleted { .. } => CameTo::Deleted,
        Answer::Dissolved { .. } => CameTo::Dissolved,
        Answer::Member(..) => CameTo::Member,
        Answer::Removed { .. } => CameTo::Removed,
        Answer::Swept {
            count,
            is_more,
            last,
            ..
        } => CameTo::Swept {
            count: *count,
            is_more: *is_more,
            last: *last,
        },
        Answer::Sent { message, .. } => CameTo::Sent { message: *message },
    }
}
