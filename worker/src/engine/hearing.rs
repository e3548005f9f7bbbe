//! What the coordinator says, told to the agenda.

use std::time::Instant;

use ganger_proto::v1::{self, Assignment, ConnectResponse, ReportKind, connect_response::Message};

use super::{Connection, Engine, saying::Control};
use crate::{
    agenda::{Taken, Terms, Word},
    attempt::Job,
    clock,
    fence::Fence,
    limits::{CONTROL_LANE_LEN, DRAIN_SPAN_MAX, REASON_LEN_MAX, STOP_GRACE_MAX},
    session::Backoff,
    text,
};

impl Engine {
    pub(super) fn hear(&mut self, frames: Vec<ConnectResponse>) {
        let now = clock::now();
        for ConnectResponse { session, message } in frames {
            let Connection::Up { link, heard_at, .. } = &mut self.connection else {
                return;
            };
            *heard_at = now;
            if session != link.session {
                return self.disconnected("a frame of another session came", None);
            }
            match message {
                Some(message) => self.hear_message(message, now),
                None => tracing::debug!("a frame of a kind that this version doesn't know"),
            }
        }
    }

    fn hear_message(&mut self, message: Message, now: Instant) {
        match message {
            Message::HeartbeatAck(ack) => self.heartbeat_acknowledged(ack.sequence),
            Message::Assignment(assignment) => self.take_assignment(assignment, now),
            Message::Stop(stop) => self.stop(stop, now),
            Message::ProgressAck(ack) => {
                let Some(fence) = ack.fence.map(Fence::from) else {
                    return;
                };
                if let Some(attempt) = self.attempts.get_mut(&fence) {
                    attempt.transcript.acknowledged(ack.kept_through);
                }
                self.has_something_to_say(&fence);
            }
            Message::ReportAck(ack) => {
                let kind = ack.kind();
                let Some(fence) = ack.fence.map(Fence::from) else {
                    return;
                };
                if !ack.accepted {
                    tracing::warn!(attempt = %fence, ?kind, reason = ack.reason, "report is stale");
                } else if kind == ReportKind::Asked && !ack.reason.is_empty() {
                    self.agenda.question_refused(&fence, &ack.reason);
                }
                self.agenda.acknowledged(&fence, kind, ack.accepted);
            }
            Message::Goodbye(goodbye) => {
                let retry_after = goodbye.retry_after.as_ref().map(clock::span);
                self.disconnected(&goodbye.reason, retry_after);
            }
            Message::Word(word) => self.word(word),
            Message::Drain(drain) => {
                let span = drain.timeout.as_ref().map(clock::span);
                let reason = text::keep_head(drain.reason, REASON_LEN_MAX);
                self.drain(reason, span.map(|span| span.min(DRAIN_SPAN_MAX)));
            }
            Message::Welcome(_) => self.disconnected("a second Welcome came", None),
        }
    }

    fn heartbeat_acknowledged(&mut self, sequence: u64) {
        if let Connection::Up { link, .. } = &mut self.connection {
            while let Ok((sent, at)) = link.beats.try_recv() {
                self.agenda.heartbeat_sent(sent, at);
            }
        }
        self.agenda.heartbeat_acknowledged(sequence);
        // Only now: a coordinator that breaks off each time it has welcomed is not to be hammered.
        self.backoff = Backoff::default();
    }

    fn take_assignment(&mut self, mut assignment: Assignment, now: Instant) {
        // Taken out first of all: what goes on from here never has it.
        let secret = std::mem::take(&mut assignment.secret);
        let Some(fence) = assignment.fence.clone().map(Fence::from) else {
            return tracing::error!("an assignment without a fence came");
        };
        let Some(agent_type) = self.config.agent_types.get(&assignment.agent_type) else {
            let reason = format!("unknown agent type {:?}", assignment.agent_type);
            return self.refuse(fence, reason);
        };
        let asked = assignment
            .timeout
            .as_ref()
            .map(clock::span)
            .filter(|asked| !asked.is_zero());
        let limit = asked.map_or(agent_type.timeout, |asked| asked.min(agent_type.timeout));
        // By its own clock only where a coordinator doesn't say: the two may differ by days.
        let deadline = assignment.deadline.as_ref().and_then(clock::system_time);
        let by_clock = || Some(deadline?.duration_since(clock::wall()).unwrap_or_default());
        let left = assignment.time_left.as_ref().map(clock::span);
        let deadline = left.or_else(by_clock);
        let deadline = deadline.and_then(|left| now.checked_add(left));
        match self.agenda.assign(Terms {
            fence: fence.clone(),
            limit,
            deadline,
            lender: assignment.lender.clone().map(Fence::from),
            stop_on_lease_end: agent_type.stop_on_lease_end,
            has_ear: agent_type.is_interactive(),
        }) {
            Taken::Yes => {
                tracing::info!(
                    attempt = %fence, team = assignment.team, agent_type = assignment.agent_type, "assigned"
                );
                self.ground.secrets.keep(&fence, secret);
                let agent_type = agent_type.clone();
                self.jobs.insert(
                    fence.clone(),
                    Job {
                        fence,
                        assignment,
                        agent_type,
                    },
                );
            }
            Taken::Already => {}
            Taken::No(reason) => self.refuse(fence, reason.to_owned()),
        }
    }

    fn stop(&mut self, stop: v1::Stop, now: Instant) {
        let Some(fence) = stop.fence.map(Fence::from) else {
            return;
        };
        let grace = stop
            .grace
            .as_ref()
            .map(|grace| clock::span(grace).min(STOP_GRACE_MAX));
        let reason = text::keep_head(stop.reason, REASON_LEN_MAX);
        tracing::info!(attempt = %fence, reason, "asked to stop");
        if !self.agenda.stop(&fence, &reason, grace, now) {
            self.refuse(fence, "not held here".to_owned());
        }
    }

    fn word(&mut self, word: v1::Word) {
        let kind = word.kind();
        let v1::Word {
            fence,
            number,
            question,
            text,
            from,
            ..
        } = word;
        let Some(fence) = fence.map(Fence::from) else {
            return;
        };
        let word = Word {
            number,
            kind,
            question,
            text,
            from,
        };
        if !self.agenda.word(&fence, word) {
            self.refuse(fence, "not held here".to_owned());
        }
    }

    /// Says no for an attempt that isn't held. If it gets lost, the next Hello says the same.
    fn refuse(&mut self, fence: Fence, reason: String) {
        tracing::warn!(attempt = %fence, reason, "refused");
        if self.control.len() < CONTROL_LANE_LEN {
            self.control.push_back(Control::Refuse(fence, reason));
        }
    }
}
