//! Messages.

use board::{
    command::Receipt,
    mail::{Letter, MailKind, Recipients, Sender},
};
use ganger_proto::v1;

use super::{number, team::liveness, time};
use crate::{engine::MemberView, grpc::tool::json::to_struct};

pub fn message_type(kind: MailKind) -> v1::MessageType {
    match kind {
        MailKind::Text => v1::MessageType::Text,
        MailKind::TaskAssignment => v1::MessageType::TaskAssignment,
        MailKind::TaskUnassigned => v1::MessageType::TaskUnassigned,
        MailKind::TaskUnblocked => v1::MessageType::TaskUnblocked,
        MailKind::TaskFinished => v1::MessageType::TaskFinished,
        MailKind::Idle => v1::MessageType::Idle,
        MailKind::MemberFailed => v1::MessageType::MemberFailed,
        MailKind::ShutdownRequest => v1::MessageType::ShutdownRequest,
        MailKind::ShutdownResponse => v1::MessageType::ShutdownResponse,
        MailKind::PlanApprovalRequest => v1::MessageType::PlanApprovalRequest,
        MailKind::PlanApprovalResponse => v1::MessageType::PlanApprovalResponse,
        MailKind::Question => v1::MessageType::Question,
        MailKind::Answer => v1::MessageType::Answer,
        MailKind::Digest => v1::MessageType::Digest,
    }
}

/// A message as it lies in somebody's mailbox.
pub fn message(team: &str, to: &str, letter: &Letter) -> v1::Message {
    let from_incarnation = match &letter.from {
        Sender::Member(_, incarnation) => number(incarnation.0),
        Sender::Task(_) | Sender::Coordinator => 0,
    };
    v1::Message {
        id: letter.id.0,
        team: team.to_owned(),
        from: letter.from.to_string(),
        from_incarnation,
        to: to.to_owned(),
        r#type: message_type(letter.kind).into(),
        text: letter.text.to_string(),
        summary: letter.summary.to_string(),
        // What is on the board was JSON when it came.
        payload: serde_json::from_str(&letter.payload).ok().map(to_struct),
        correlation_id: letter.correlation.to_string(),
        sent_at: Some(time(letter.at)),
        task_id: letter.task.map_or(0, |task| task.0),
        approve: letter.approve,
        deadline: letter.deadline.map(time),
        broadcast: letter.to == Recipients::Many { is_broadcast: true },
        revision: letter.revision.map_or(0, |revision| revision.0),
    }
}

/// What became of one copy of a message.
pub fn receipt(receipt: &Receipt, recipient: &MemberView) -> v1::Receipt {
    v1::Receipt {
        member: receipt.member.to_string(),
        incarnation: number(receipt.incarnation.0),
        stored: receipt.stored,
        liveness: liveness(recipient.living.liveness).into(),
        answers: receipt.answers,
    }
}
