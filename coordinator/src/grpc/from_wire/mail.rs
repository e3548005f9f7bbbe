//! Messages, and what is wanted of a mailbox.

use std::time::Duration;

use board::{
    command::{Ack, Addressees, Caller, NewLetter},
    id::{MessageId, TeamName},
    mail::MailKind,
};
use ganger_proto::v1;

use super::{Parsed, known, member_of, optional_id, span, status};
use crate::engine::{MailFilter, MailWanted};

#[cfg(test)]
mod tests;

/// What one answer holds. Every message stays under gRPC's 4 MiB.
const RECEIVED_BYTES_MAX: usize = 2 * 1024 * 1024;
const RECEIVED_COUNT: usize = 50;
const RECEIVED_COUNT_MAX: usize = 1_000;
/// What one answer of a stream holds: a slow reader holds no more than a few of them.
const WATCHED_BYTES_MAX: usize = 256 * 1024;
const WATCHED_COUNT_MAX: usize = 64;
/// The longest wait for mail.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A message in this team.
pub fn letter(request: &v1::SendMessageRequest, team: &TeamName) -> Parsed<NewLetter> {
    if request.broadcast && !request.to.is_empty() {
        return Err(status::invalid("to", "is given together with broadcast"));
    }
    let to = if request.broadcast {
        Addressees::Everybody
    } else {
        let names = request.to.iter();
        let names = names.map(|text| member_of("to", text, team));
        Addressees::Named(names.collect::<Parsed<_>>()?)
    };
    let payload = request.payload.as_ref().map(|payload| {
        serde_json::to_string(payload)
            .map_err(|error| status::invalid("payload", format!("is no JSON: {error}")))
    });
    let timeout = request.timeout.as_ref();
    Ok(NewLetter {
        to,
        kind: kind("type", request.r#type)?.unwrap_or(MailKind::Text),
        text: request.text.as_str().into(),
        summary: request.summary.as_str().into(),
        payload: payload.transpose()?.unwrap_or_default().into(),
        correlation: request.correlation_id.as_str().into(),
        approve: request.approve,
        task: optional_id(request.task_id),
        timeout: timeout.map(|time| span("timeout", time)).transpose()?,
    })
}

/// What is wanted, and how long to wait for it.
pub fn received(
    team: TeamName,
    caller: Caller,
    request: &v1::ReceiveMessagesRequest,
) -> Parsed<(MailWanted, Duration)> {
    let count_max = match usize::try_from(request.limit) {
        Ok(0) => RECEIVED_COUNT,
        Ok(limit) => limit.min(RECEIVED_COUNT_MAX),
        Err(_) => return Err(status::invalid("limit", "is below zero")),
    };
    let wait = request.wait.as_ref();
    let wait = wait.map(|wait| span("wait", wait)).transpose()?;
    let wait = wait.unwrap_or_default().min(WAIT_MAX);
    let correlation = Some(&request.correlation_id).filter(|id| !id.is_empty());
    let wanted = MailWanted {
        caller,
        filter: MailFilter {
            correlation: correlation.cloned(),
            ..filter(&team, &request.types, &request.from)?
        },
        team,
        after: MessageId(request.after_message_id),
        count_max,
        bytes_max: RECEIVED_BYTES_MAX,
        acknowledges: request.auto_ack,
        watches: !wait.is_zero(),
    };
    Ok((wanted, wait))
}

pub fn watched(
    team: TeamName,
    caller: Caller,
    request: &v1::WatchMailboxRequest,
) -> Parsed<MailWanted> {
    Ok(MailWanted {
        caller,
        filter: filter(&team, &request.types, &request.from)?,
        team,
        after: MessageId(request.after_message_id),
        count_max: WATCHED_COUNT_MAX,
        bytes_max: WATCHED_BYTES_MAX,
        acknowledges: request.auto_ack,
        watches: true,
    })
}

fn filter(team: &TeamName, types: &[i32], from: &str) -> Parsed<MailFilter> {
    let kinds = types.iter().map(|value| kind("types", *value));
    let kinds: Vec<Option<MailKind>> = kinds.collect::<Parsed<_>>()?;
    // One that is not said stands for any.
    let kinds = kinds.into_iter().collect::<Option<Vec<_>>>();
    // Not every sender is a member: `coordinator` and `task:7` have no address.
    let from = match from.contains('@') {
        true => member_of("from", from, team)?.to_string(),
        false => from.to_owned(),
    };
    Ok(MailFilter {
        kinds: kinds.unwrap_or_default(),
        from: Some(from).filter(|from| !from.is_empty()),
        correlation: None,
    })
}

pub fn ack(request: &v1::AckMessagesRequest) -> Ack {
    let ids = request.message_ids.iter().copied();
    Ack {
        up_to: Some(MessageId(request.up_to_message_id)).filter(|id| *id > MessageId(0)),
        messages: ids.map(MessageId).collect(),
    }
}

fn kind(field: &'static str, value: i32) -> Parsed<Option<MailKind>> {
    Ok(Some(match known(field, value)? {
        v1::MessageType::Unspecified => return Ok(None),
        v1::MessageType::Text => MailKind::Text,
        v1::MessageType::TaskAssignment => MailKind::TaskAssignment,
        v1::MessageType::TaskUnassigned => MailKind::TaskUnassigned,
        v1::MessageType::TaskUnblocked => MailKind::TaskUnblocked,
        v1::MessageType::TaskFinished => MailKind::TaskFinished,
        v1::MessageType::Idle => MailKind::Idle,
        v1::MessageType::MemberFailed => MailKind::MemberFailed,
        v1::MessageType::ShutdownRequest => MailKind::ShutdownRequest,
        v1::MessageType::ShutdownResponse => MailKind::ShutdownResponse,
        v1::MessageType::PlanApprovalRequest => MailKind::PlanApprovalRequest,
        v1::MessageType::PlanApprovalResponse => MailKind::PlanApprovalResponse,
        v1::MessageType::Question => MailKind::Question,
        v1::MessageType::Answer => MailKind::Answer,
        v1::MessageType::Digest => MailKind::Digest,
    }))
}
