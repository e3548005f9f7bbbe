//! The two handshakes: asking a member to stop and leave, and asking for a plan to be approved
//! (M8).

use std::sync::Arc;

use super::{
    caller::Who,
    members,
    notices::{self, Notice},
};
use crate::{
    command::NewLetter,
    draft::Draft,
    event::{Actor, Happening, line},
    id::{MemberKey, MemberName, MessageId, TeamUid},
    mail::MailKind,
    refusal::{Obstacle, Refusal},
    team::{MemberKind, Plan, Shutdown},
    time::Time,
};

/// A request that was just sent.
pub(super) struct Asked {
    pub(super) request: MessageId,
    pub(super) correlation: Arc<str>,
    pub(super) deadline: Time,
}

fn not_asked<T>(member: &MemberName) -> Result<T, Refusal> {
    let member = member.clone();
    Err(Refusal::NotAsked { member })
}

/// The request to stop that the caller has not answered.
pub(super) fn shutdown_of(draft: &Draft<'_>, who: &Who) -> Result<Shutdown, Refusal> {
    let name = who.must_be_member()?;
    match &draft.member(who.team, name)?.shutdown {
        Some(shutdown) => Ok(shutdown.clone()),
        None => not_asked(name),
    }
}

/// Refuses a response that carries the id of another request.
pub(super) fn check_tie(who: &Who, given: &str, wanted: &str) -> Result<(), Refusal> {
    if given.is_empty() || given == wanted {
        return Ok(());
    }
    not_asked(who.must_be_member()?)
}

/// What ties a response to the plan that a member has before the lead.
pub(super) fn submitted(
    draft: &Draft<'_>,
    who: &Who,
    name: &MemberName,
    given: &str,
) -> Result<Arc<str>, Refusal> {
    match &draft.member(who.team, name)?.plan {
        Plan::Submitted { correlation, .. } if given.is_empty() || *given == **correlation => {
            Ok(correlation.clone())
        }
        _ => not_asked(who.must_be_member()?),
    }
}

/// Asks a member to stop and leave. A hosted one that nothing is run for has nobody who could
/// answer, and leaves at once; one that is run for leaves when its attempt ends, if not before.
pub(super) fn ask_to_stop(
    draft: &mut Draft<'_>,
    who: &Who,
    name: &MemberName,
    asked: &Asked,
) -> Result<(), Obstacle> {
    let mut member = draft.member(who.team, name)?.clone();
    if member.kind == MemberKind::Worker {
        return Err(Refusal::BadValue {
            field: "to",
            why: format!("names {name}, who is a worker: it is drained, not asked"),
        }
        .into());
    }
    let shutdown = Shutdown {
        request: asked.request,
        correlation: asked.correlation.clone(),
        by: who.must_be_member()?.clone(),
        deadline: asked.deadline,
    };
    let is_at_rest = member.kind == MemberKind::Hosted
        && !draft.board.teams[&who.team]
            .index
            .queues
            .is_member_busy(name);
    member.shutdown = Some(shutdown.clone());
    draft.put_member(who.team, member);
    if is_at_rest {
        leave_at_rest(draft, &(who.team, name.clone()), &shutdown)?;
    }
    Ok(())
}

/// A hosted member's attempt is over: nobody is there any more who would wait for an answer, or
/// give one.
pub(super) fn at_rest(
    draft: &mut Draft<'_>,
    team: TeamUid,
    name: &MemberName,
) -> Result<(), Obstacle> {
    let Ok(member) = draft.member(team, name) else {
        return Ok(());
    };
    let mut member = member.clone();
    if !member.questions.is_empty() {
        member.questions.clear();
        draft.put_member(team, member.clone());
    }
    if let Some(shutdown) = member.shutdown.filter(|_| draft.team(team).is_open()) {
        because_of(draft, shutdown.request, |draft| {
            leave_at_rest(draft, &(team, name.clone()), &shutdown)
        })?;
    }
    Ok(())
}

/// The coordinator answers for a hosted member that nothing is run for.
fn leave_at_rest(
    draft: &mut Draft<'_>,
    key: &MemberKey,
    shutdown: &Shutdown,
) -> Result<(), Obstacle> {
    let (team, name) = key;
    let revision = draft.team(*team).revision.next();
    let reason = format!("asked to stop by {}", shutdown.by).into();
    members::leave(draft, key, &Actor::Coordinator, &reason, true)?;
    let lead = draft.team(*team).lead.clone();
    let response = Notice {
        approve: Some(true),
        correlation: shutdown.correlation.clone(),
        ..Notice::new(
            MailKind::ShutdownResponse,
            revision,
            format!("{name} left"),
            format!("{name} had nothing to run, and left."),
        )
    };
    let response = response.with(&[("member", name.as_str())]);
    notices::tell(draft, *team, &lead, response);
    Ok(())
}

/// A member answers that it leaves, or that it stays.
pub(super) fn stop_or_stay(
    draft: &mut Draft<'_>,
    who: &Who,
    response: &NewLetter,
) -> Result<(), Obstacle> {
    let name = who.must_be_member()?;
    if response.approve == Some(true) {
        let reason: Arc<str> = match response.text.trim() {
            "" => "agreed to stop".into(),
            text => text.into(),
        };
        let key = (who.team, name.clone());
        members::leave(draft, &key, &who.actor, &reason, true)?;
        return Ok(());
    }
    let mut member = draft.member(who.team, name)?.clone();
    member.shutdown = None;
    draft.put_member(who.team, member);
    Ok(())
}

/// Puts a member's plan before the lead.
pub(super) fn submit_plan(
    draft: &mut Draft<'_>,
    who: &Who,
    to: &MemberName,
    asked: Asked,
) -> Result<(), Obstacle> {
    let name = who.must_be_member()?;
    let mut member = draft.member(who.team, name)?.clone();
    if member.plan.is_free() {
        return not_asked(name).map_err(Obstacle::Refused);
    }
    if *to != draft.team(who.team).lead {
        return Err(Refusal::BadValue {
            field: "to",
            why: format!("names {to}, who doesn't lead"),
        }
        .into());
    }
    member.plan = Plan::Submitted {
        request: asked.request,
        correlation: asked.correlation,
        deadline: asked.deadline,
    };
    draft.put_member(who.team, member);
    Ok(())
}

/// The lead approves a member's plan, or does not.
pub(super) fn judge_plan(
    draft: &mut Draft<'_>,
    who: &Who,
    name: &MemberName,
    response: &NewLetter,
) -> Result<(), Obstacle> {
    if response.approve == Some(true) {
        let mut member = draft.member(who.team, name)?.clone();
        member.plan = Plan::Approved;
        draft.put_member(who.team, member);
        let member = name.clone();
        let approved = Happening::PlanApproved { member };
        draft.happened(who.team, &who.actor, None, approved);
        return Ok(());
    }
    reject_plan(draft, who.team, name, &who.actor, &response.text)
}

fn reject_plan(
    draft: &mut Draft<'_>,
    team: TeamUid,
    name: &MemberName,
    actor: &Actor,
    reason: &Arc<str>,
) -> Result<(), Obstacle> {
    let mut member = draft.member(team, name)?.clone();
    member.plan = Plan::Required;
    draft.put_member(team, member);
    let rejected = Happening::PlanRejected {
        member: name.clone(),
        reason: line(reason),
    };
    draft.happened(team, actor, None, rejected);
    Ok(())
}

/// What a member was asked, or asked, was not answered in time.
pub(super) fn unanswered(draft: &mut Draft<'_>, key: &MemberKey) -> Result<(), Obstacle> {
    let (team, name) = key;
    let now = draft.now;
    let Ok(member) = draft.member(*team, name).cloned() else {
        return Ok(());
    };
    if let Some(shutdown) = member.shutdown.filter(|asked| asked.deadline <= now) {
        return because_of(draft, shutdown.request, |draft| {
            remove(draft, key, &shutdown)
        });
    }
    match member.plan {
        Plan::Submitted {
            request,
            correlation,
            deadline,
        } if deadline <= now => because_of(draft, request, |draft| {
            give_plan_back(draft, key, &correlation)
        }),
        _ => Ok(()),
    }
}

/// Does something, and tells it as the doing of a message.
fn because_of(
    draft: &mut Draft<'_>,
    message: MessageId,
    what: impl FnOnce(&mut Draft<'_>) -> Result<(), Obstacle>,
) -> Result<(), Obstacle> {
    let before = draft.cause_message.replace(message);
    what(draft)?;
    draft.cause_message = before;
    Ok(())
}

/// Takes a member off the roster that did not answer; the stop ladder ends what is run for it.
fn remove(draft: &mut Draft<'_>, key: &MemberKey, shutdown: &Shutdown) -> Result<(), Obstacle> {
    let (team, name) = key;
    let revision = draft.team(*team).revision.next();
    let reason: Arc<str> = "it was asked to stop, and did not answer in time".into();
    members::leave(draft, key, &Actor::Coordinator, &reason, true)?;
    let lead = draft.team(*team).lead.clone();
    let failed = Notice {
        correlation: shutdown.correlation.clone(),
        ..Notice::new(
            MailKind::MemberFailed,
            revision,
            format!("{name} was removed"),
            format!("{name} was removed: {reason}."),
        )
    };
    let failed = failed.with(&[("member", name.as_str())]);
    notices::tell(draft, *team, &lead, failed);
    Ok(())
}

/// A plan that nobody judged in time counts as rejected.
fn give_plan_back(
    draft: &mut Draft<'_>,
    (team, name): &MemberKey,
    correlation: &Arc<str>,
) -> Result<(), Obstacle> {
    let reason: Arc<str> = "nobody approved it in time".into();
    reject_plan(draft, *team, name, &Actor::Coordinator, &reason)?;
    let response = Notice {
        approve: Some(false),
        correlation: correlation.clone(),
        ..Notice::new(
            MailKind::PlanApprovalResponse,
            draft.team(*team).revision,
            "the plan is rejected".into(),
            format!("The plan is rejected: {reason}."),
        )
    };
    notices::tell(draft, *team, name, response);
    Ok(())
}
