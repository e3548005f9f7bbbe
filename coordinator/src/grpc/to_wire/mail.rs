//! Messages.

use board::mail::MailKind;
use ganger_proto::v1;

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
