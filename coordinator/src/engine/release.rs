//! What is let out when a group is durable.

use board::{id::InstanceId, refusal::Refusal, time::Time, view::TaskView};
use tokio::sync::oneshot;

use super::{Answered, CallReply, HelloReply, MailReply, ReportReply};
use crate::fleet::{Fleet, Order};

/// One thing that waits for the flush.
pub(super) enum Release {
    Call(oneshot::Sender<CallReply>, CallReply),
    Read(Answered),
    Mail(oneshot::Sender<MailReply>, MailReply),
    Over(
        oneshot::Sender<Result<TaskView, Refusal>>,
        Result<TaskView, Refusal>,
    ),
    Hello(oneshot::Sender<HelloReply>, HelloReply),
    Report(oneshot::Sender<ReportReply>, ReportReply),
    Order(InstanceId, Order),
}

impl Release {
    /// Tells it. Who asked may be gone by now, and then nobody is told.
    pub(super) fn let_out(self, fleet: &mut Fleet, now: Time) {
        match self {
            Self::Call(to, reply) => drop(to.send(reply)),
            Self::Read(answered) => answered(),
            Self::Mail(to, page) => drop(to.send(page)),
            Self::Over(to, view) => drop(to.send(view)),
            Self::Hello(to, reply) => drop(to.send(reply)),
            Self::Report(to, reply) => drop(to.send(reply)),
            Self::Order(instance, order) => fleet.send(instance, order, now),
        }
    }
}
