//! What is owed to the coordinator, given to the lanes as they have room.

use ganger_proto::v1::{self, ReportKind, connect_request::Message};

use super::{Connection, Engine};
use crate::{
    agenda::{Agenda, Report},
    attempt::Handle,
    fence::Fence,
    session::Lane,
    transcript::Transcript,
};

/// Control that waits for room.
pub(super) enum Control {
    /// A sub-agent began.
    Started(Fence),
    /// An attempt that isn't held is turned away.
    Refuse(Fence, String),
    /// No new work.
    Draining,
    /// A sub-agent asks.
    Asked(Fence),
    /// A sub-agent was told.
    Heeded(Fence),
}

/// What the engine itself keeps of an attempt.
pub(super) struct Attempt {
    pub(super) ear: Handle,
    pub(super) transcript: Transcript,
    pub(super) doing: Doing,
    /// Its last report, to be said after the transcript.
    pub(super) last: Option<ReportKind>,
    /// It stands in the queue of those that have something to say.
    pub(super) is_queued: bool,
}

/// What a sub-agent says that it is doing. Only the latest counts.
#[derive(Default)]
pub(super) struct Doing {
    now: Option<String>,
    is_sent: bool,
}

impl Doing {
    pub(super) fn is_now(&mut self, doing: String) {
        (self.now, self.is_sent) = (Some(doing), false);
    }

    /// The stream is gone, and whoever knew.
    pub(super) fn forget_sent(&mut self) {
        self.is_sent = false;
    }

    fn take_news(&mut self) -> Option<String> {
        let is_news = !std::mem::replace(&mut self.is_sent, true);
        self.now.clone().filter(|_| is_news)
    }
}

impl Engine {
    pub(super) fn has_something_to_say(&mut self, fence: &Fence) {
        if let Some(attempt) = self
            .attempts
            .get_mut(fence)
            .filter(|attempt| !attempt.is_queued)
        {
            attempt.is_queued = true;
            self.talkers.push_back(fence.clone());
        }
    }

    /// Gives the lanes what they take.
    pub(super) fn say(&mut self) {
        let Self {
            connection: Connection::Up { link, .. },
            control,
            talkers,
            attempts,
            agenda,
            drain_reason,
            ..
        } = self
        else {
            // Said on the next stream by the agenda; what isn't held is known from the next Hello.
            self.control.clear();
            return;
        };
        while let Some(next) = control.front() {
            if !link.try_say(Lane::Control, || next.message(agenda, drain_reason)) {
                break;
            }
            control.pop_front();
        }
        while let Some(fence) = talkers.front() {
            let Some(attempt) = attempts.get_mut(fence) else {
                talkers.pop_front();
                continue;
            };
            let mut is_done = false;
            let has_room = link.try_say(Lane::Progress, || {
                let message = attempt.next_message(fence, agenda);
                is_done = message.is_none();
                message
            });
            if !has_room {
                break;
            }
            // Each in its turn, so that one that says much doesn't keep the others waiting.
            match talkers.pop_front() {
                Some(fence) if !is_done => talkers.push_back(fence),
                _ => attempt.is_queued = false,
            }
        }
    }
}

impl Control {
    fn message(&self, agenda: &Agenda, drain_reason: &str) -> Option<Message> {
        match self {
            Self::Started(fence) => {
                let Report::Started(limit) = agenda.report(fence, ReportKind::Started)? else {
                    return None;
                };
                Some(Message::Started(v1::Started {
                    fence: Some(fence.into()),
                    run_limit: Some(limit.into()),
                }))
            }
            Self::Refuse(fence, reason) => Some(Message::Refused(v1::Refused {
                fence: Some(fence.into()),
                reason: reason.clone(),
            })),
            Self::Draining => Some(Message::Draining(v1::Draining {
                reason: drain_reason.to_owned(),
            })),
            Self::Asked(fence) => {
                let question = agenda.question(fence)?;
                Some(Message::Asked(v1::Asked {
                    fence: Some(fence.into()),
                    number: question.number,
                    text: question.text.clone(),
                    timeout: question.timeout.map(Into::into),
                }))
            }
            Self::Heeded(fence) => Some(Message::Heeded(v1::Heeded {
                fence: Some(fence.into()),
                through: agenda.heeded(fence)?,
            })),
        }
    }
}

impl Attempt {
    pub(super) fn new(ear: Handle) -> Self {
        Self {
            ear,
            transcript: Transcript::default(),
            doing: Doing::default(),
            last: None,
            is_queued: false,
        }
    }

    /// The next frame of the progress lane: records, and after all of them the last report.
    fn next_message(&mut self, fence: &Fence, agenda: &Agenda) -> Option<Message> {
        let records = self.transcript.next_batch();
        let doing = self.doing.take_news();
        if !records.is_empty() || doing.is_some() {
            return Some(Message::Progress(v1::Progress {
                doing,
                fence: Some(fence.into()),
                records,
            }));
        }
        let kind = self.last.take_if(|_| self.transcript.is_sent())?;
        match agenda.report(fence, kind)? {
            Report::Started(_) => None,
            Report::Ended(ended) => Some(Message::Ended(v1::Ended {
                fence: Some(fence.into()),
                ..*ended
            })),
            Report::Refused(reason) => Some(Message::Refused(v1::Refused {
                fence: Some(fence.into()),
                reason,
            })),
        }
    }
}
