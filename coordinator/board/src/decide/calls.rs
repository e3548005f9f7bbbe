//! Calls: who calls, what for, and what it came to.

use super::{
    asking, caller, caller::Who, check, claims, create, delete, dissolve, mail, mailbox, members,
    pause, reopen, roster, settings, stopping, sweeps, update,
};
use crate::{
    board::Board,
    command::{Answer, Call, Caller, Wish},
    decision::Decision,
    draft::Draft,
    event::Actor,
    id::TeamUid,
    limits,
    record::{CameTo, Outcome},
    refusal::{Obstacle, Refusal},
};

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
    caller::sub_agent(board, fence.team, fence)?;
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
            caller::may_change(draft, who, key)?;
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
    let who = caller::identify(draft.board, uid, caller)?;
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
