//! What happened.

use board::{
    event::{Actor, Event, Happening},
    task::Status,
};
use ganger_proto::v1;

use super::{actor, mail::message_type, number, status, time};

/// An event, in the team of this name.
pub fn event(team: &str, event: &Event) -> v1::Event {
    let mut told = v1::Event {
        team: team.to_owned(),
        team_uid: event.team.0,
        revision: event.revision.0,
        at: Some(time(event.at)),
        actor: actor(&event.actor),
        task_id: event.what.task().map_or(0, |id| id.0),
        cause_task_id: event.cause.map_or(0, |id| id.0),
        cause_message_id: event.cause_message.map_or(0, |id| id.0),
        previous_revision: event.previous.0,
        on_behalf_of: event
            .on_behalf_of
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        on_behalf_of_task: match event.actor {
            Actor::Task(id) => id.0,
            _ => 0,
        },
        // Nobody has a key of its own yet: who calls is believed.
        unverified: event.actor.member().is_some(),
        ..v1::Event::default()
    };
    let kind = match &event.what {
        Happening::TeamCreated => v1::EventType::TeamCreated,
        Happening::MemberJoined { member } => {
            told.member = member.to_string();
            v1::EventType::MemberJoined
        }
        Happening::MemberLeft { member, reason } => {
            told.member = member.to_string();
            told.message = reason.to_string();
            v1::EventType::MemberLeft
        }
        Happening::TaskCreated { subject, .. } => {
            told.subject = subject.to_string();
            told.to_status = v1::TaskStatus::Pending.into();
            v1::EventType::TaskCreated
        }
        Happening::TaskUpdated { fields, .. } => {
            told.updated_fields = fields.names().map(ToOwned::to_owned).collect();
            v1::EventType::TaskUpdated
        }
        Happening::TaskClaimed { by, attempt, .. } => {
            told.member = by.to_string();
            told.attempt = number(attempt.0);
            told.from_status = v1::TaskStatus::Pending.into();
            told.to_status = v1::TaskStatus::InProgress.into();
            v1::EventType::TaskClaimed
        }
        Happening::TaskDispatched {
            attempt, worker, ..
        } => {
            told.attempt = number(attempt.0);
            told.worker = worker.to_string();
            told.from_status = v1::TaskStatus::Pending.into();
            told.to_status = v1::TaskStatus::InProgress.into();
            v1::EventType::TaskDispatched
        }
        Happening::TaskStarted { attempt, .. } => {
            told.attempt = number(attempt.0);
            v1::EventType::TaskStarted
        }
        Happening::TaskStopRequested {
            attempt, reason, ..
        } => {
            told.attempt = number(attempt.0);
            told.message = reason.to_string();
            v1::EventType::TaskStopRequested
        }
        Happening::TaskRequeued {
            attempt, reason, ..
        } => {
            told.attempt = number(attempt.0);
            told.message = reason.to_string();
            told.from_status = v1::TaskStatus::InProgress.into();
            told.to_status = v1::TaskStatus::Pending.into();
            v1::EventType::TaskRequeued
        }
        Happening::TaskUnblocked { .. } => v1::EventType::TaskUnblocked,
        Happening::TeamDissolved { reason } => {
            told.message = reason.to_string();
            v1::EventType::TeamDissolved
        }
        Happening::LeadHandedOver { to } => {
            told.member = to.to_string();
            v1::EventType::LeadHandedOver
        }
        Happening::PlanApproved { member } => {
            told.member = member.to_string();
            v1::EventType::PlanApproved
        }
        Happening::PlanRejected { member, reason } => {
            told.member = member.to_string();
            told.message = reason.to_string();
            v1::EventType::PlanRejected
        }
        Happening::MessageSent { message, kind, to } => {
            told.message_id = message.0;
            told.message_type = message_type(*kind).into();
            told.member = to.as_ref().map(ToString::to_string).unwrap_or_default();
            v1::EventType::MessageSent
        }
        Happening::TaskReopened { from, reason, .. } => {
            told.message = reason.to_string();
            told.from_status = status(*from).into();
            told.to_status = v1::TaskStatus::Pending.into();
            v1::EventType::TaskReopened
        }
        Happening::TaskDeleted { subject, .. } => {
            told.subject = subject.to_string();
            v1::EventType::TaskDeleted
        }
        Happening::TaskExpired { .. } => v1::EventType::TaskExpired,
        Happening::TaskPaused { reason, .. } => {
            told.message = reason.to_string();
            v1::EventType::TaskPaused
        }
        Happening::TaskResumed { .. } => v1::EventType::TaskResumed,
        Happening::TeamUpdated => v1::EventType::TeamUpdated,
        Happening::LossAccepted { missing } => {
            told.message = missing.to_string();
            v1::EventType::LossAccepted
        }
        Happening::TaskAsked { attempt, text, .. } => {
            told.attempt = number(attempt.0);
            told.message = text.to_string();
            v1::EventType::TaskAsked
        }
        Happening::TaskAnswered { attempt, text, .. } => {
            told.attempt = number(attempt.0);
            told.message = text.to_string();
            v1::EventType::TaskAnswered
        }
        Happening::TaskSteered { attempt, text, .. } => {
            told.attempt = number(attempt.0);
            told.message = text.to_string();
            v1::EventType::TaskSteered
        }
        Happening::TaskEnded {
            attempt,
            from,
            to,
            message,
            ..
        } => {
            told.attempt = attempt.map_or(0, |attempt| number(attempt.0));
            told.from_status = status(*from).into();
            told.to_status = status(*to).into();
            told.message = message.to_string();
            match to {
                Status::Completed => v1::EventType::TaskCompleted,
                Status::Cancelled => v1::EventType::TaskCancelled,
                _ => v1::EventType::TaskFailed,
            }
        }
    };
    told.r#type = kind.into();
    told
}
