//! How a worker leaves: told by a signal or by the coordinator, or at once.

use std::time::Duration;

use tokio::time::timeout;

use super::{Engine, saying::Control};
use crate::{attempt::Order, clock, limits::ABORT_SPAN, shutdown};

impl Engine {
    pub(super) fn shut_down(&mut self, stage: shutdown::Stage) {
        if stage == shutdown::Stage::Draining {
            self.drain("asked to end".to_owned(), None);
        }
    }

    /// No new work from now on. Said once: of later ones only an earlier end counts.
    pub(super) fn drain(&mut self, reason: String, span: Option<Duration>) {
        let now = clock::now();
        let was_draining = self.agenda.is_draining();
        match span {
            Some(span) => self.agenda.drain_within(span, now),
            None => self.agenda.drain(now),
        }
        tracing::info!(held = self.agenda.len(), reason, ?span, "draining");
        if !was_draining {
            self.drain_reason = reason;
            self.control.push_back(Control::Draining);
        }
    }

    /// Kills what still runs and waits shortly for its end.
    pub(super) async fn abort(&mut self) {
        for attempt in self.attempts.values() {
            let reason = "the worker ends".into();
            attempt.ear.orders.send_replace((Order::Kill, reason));
        }
        // Nobody listens any more: attempts must not wait to be heard.
        self.notices.1.close();
        let ending = async { while self.running.join_next().await.is_some() {} };
        if timeout(ABORT_SPAN, ending).await.is_err() {
            tracing::warn!(left = self.running.len(), "attempts didn't end in time");
        }
    }
}
