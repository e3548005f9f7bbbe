//! Events, in pages: those of one team in one commit share a value.

use board::{
    event::{Event, Fields, Happening},
    id::{AttemptNumber, Revision, TaskId, TeamUid},
    task::Status,
    time::Time,
};
use prost::Message;

use super::{ActorMessage, CodecError, Kind, Names, Numbered, open, seal};

const EVENTS: Kind = Kind {
    name: "events",
    version: 1,
};

/// Bytes of a page: one record, never in pieces unless a single event is longer.
const PAGE_LEN_MAX: usize = 4 * 1_024;

/// What an event may take beside its own message: tag and length, a time, an actor.
const EVENT_EXTRA_LEN: usize = 3 + 11 + 6;

/// Events without a gap in their revisions; the key has the first one's.
#[derive(Clone, PartialEq, prost::Message)]
struct Page {
    /// The time of the first.
    #[prost(int64, tag = "1")]
    at: i64,
    /// Who did them: mostly the same few.
    #[prost(message, repeated, tag = "2")]
    actors: Vec<ActorMessage>,
    #[prost(message, repeated, tag = "3")]
    events: Vec<EventMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EventMessage {
    /// Later than the page by so many milliseconds.
    #[prost(sint64, tag = "1")]
    later: i64,
    /// Which of the page's actors.
    #[prost(uint32, tag = "2")]
    actor: u32,
    #[prost(uint64, optional, tag = "3")]
    cause: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    task: Option<u64>,
    #[prost(uint32, optional, tag = "5")]
    attempt: Option<u32>,
    /// A subject, a member, a worker, a reason or a message, as the happening wants it.
    #[prost(string, tag = "6")]
    text: String,
    #[prost(uint32, tag = "7")]
    fields: u32,
    /// The status before and after.
    #[prost(uint32, repeated, tag = "8")]
    status: Vec<u32>,
    /// What happened, see `happening`.
    #[prost(uint32, tag = "9")]
    what: u32,
}

impl EventMessage {
    fn new(event: &Event) -> Self {
        let mut message = Self {
            cause: event.cause.map(|task| task.0),
            task: event.what.task().map(|task| task.0),
            ..Self::default()
        };
        let (what, attempt, text) = match &event.what {
            Happening::TeamCreated => (1, None, ""),
            Happening::MemberJoined { member } => (2, None, member.as_str()),
            Happening::MemberLeft { member } => (3, None, member.as_str()),
            Happening::TaskCreated { subject, .. } => (4, None, &**subject),
            Happening::TaskUpdated { fields, .. } => {
                message.fields = fields.0;
                (5, None, "")
            }
            Happening::TaskClaimed { by, attempt, .. } => (6, Some(*attempt), by.as_str()),
            Happening::TaskDispatched {
                attempt, worker, ..
            } => (7, Some(*attempt), worker.as_str()),
            Happening::TaskStarted { attempt, .. } => (8, Some(*attempt), ""),
            Happening::TaskStopRequested {
                attempt, reason, ..
            } => (9, Some(*attempt), &**reason),
            Happening::TaskRequeued {
                attempt, reason, ..
            } => (10, Some(*attempt), &**reason),
            Happening::TaskUnblocked { .. } => (11, None, ""),
            Happening::TaskEnded {
                attempt,
                from,
                to,
                message: text,
                ..
            } => {
                message.status = vec![from.number(), to.number()];
                (12, *attempt, &**text)
            }
        };
        message.what = what;
        message.attempt = attempt.map(|attempt| attempt.0);
        message.text = text.to_owned();
        message
    }

    /// The status before and after.
    fn status(&self) -> Result<(Status, Status), CodecError> {
        match *self.status {
            [from, to] => Ok((Status::of(from)?, Status::of(to)?)),
            _ => Err(CodecError::Bad("change of status")),
        }
    }

    fn task_id(&self) -> Result<TaskId, CodecError> {
        self.task.map(TaskId).ok_or(CodecError::Bad("task"))
    }

    fn attempt_number(&self) -> Result<AttemptNumber, CodecError> {
        self.attempt
            .map(AttemptNumber)
            .ok_or(CodecError::Bad("attempt"))
    }

    fn happening(self, names: &mut Names) -> Result<Happening, CodecError> {
        Ok(match self.what {
            1 => Happening::TeamCreated,
            2 => Happening::MemberJoined {
                member: names.member(self.text)?,
            },
            3 => Happening::MemberLeft {
                member: names.member(self.text)?,
            },
            4 => Happening::TaskCreated {
                task: self.task_id()?,
                subject: self.text.into(),
            },
            5 => Happening::TaskUpdated {
                task: self.task_id()?,
                fields: Fields(self.fields),
            },
            6 => Happening::TaskClaimed {
                task: self.task_id()?,
                attempt: self.attempt_number()?,
                by: names.member(self.text)?,
            },
            7 => Happening::TaskDispatched {
                task: self.task_id()?,
                attempt: self.attempt_number()?,
                worker: names.worker(self.text)?,
            },
            8 => Happening::TaskStarted {
                task: self.task_id()?,
                attempt: self.attempt_number()?,
            },
            9 => Happening::TaskStopRequested {
                task: self.task_id()?,
                attempt: self.attempt_number()?,
                reason: self.text.into(),
            },
            10 => Happening::TaskRequeued {
                task: self.task_id()?,
                attempt: self.attempt_number()?,
                reason: self.text.into(),
            },
            11 => Happening::TaskUnblocked {
                task: self.task_id()?,
            },
            12 => {
                let (from, to) = self.status()?;
                Happening::TaskEnded {
                    task: self.task_id()?,
                    attempt: self.attempt.map(AttemptNumber),
                    from,
                    to,
                    message: self.text.into(),
                }
            }
            _ => return Err(CodecError::Bad("kind of event")),
        })
    }
}

/// Encodes events of one team, in order, as pages: each with the revision of its first event. A
/// page ends at [`PAGE_LEN_MAX`], and at a gap in the revisions.
pub(in crate::store) fn encode_event_pages(events: &[&Event]) -> Vec<(Revision, Vec<u8>)> {
    let mut pages: Vec<(Revision, Page)> = Vec::new();
    let mut len = 0;
    let mut next = None;
    for event in events {
        let message = EventMessage::new(event);
        // Besides: what the page adds to each event, and an actor that is new to it.
        let message_len = message.encoded_len() + EVENT_EXTRA_LEN;
        let goes_on = next == Some(event.revision) && len + message_len <= PAGE_LEN_MAX;
        if !goes_on {
            pages.push((event.revision, Page::at(event.at)));
            len = 0;
        }
        if let Some((_, page)) = pages.last_mut() {
            page.push(event, message);
        }
        len += message_len;
        next = Some(event.revision.next());
    }
    let seal_page = |(first, page): (_, Page)| (first, seal(EVENTS, &page));
    pages.into_iter().map(seal_page).collect()
}

impl Page {
    fn at(time: Time) -> Self {
        Self {
            at: time.0,
            ..Self::default()
        }
    }

    fn push(&mut self, event: &Event, mut message: EventMessage) {
        message.later = event.at.0.wrapping_sub(self.at);
        let actor = ActorMessage::from(&event.actor);
        let known = self.actors.iter().position(|known| *known == actor);
        let index = known.unwrap_or_else(|| {
            self.actors.push(actor);
            self.actors.len() - 1
        });
        message.actor = u32::try_from(index).expect("a page has fewer actors than bytes");
        self.events.push(message);
    }
}

/// Decodes a page, from which on `first` is the first revision.
pub(in crate::store) fn decode_events(
    team: TeamUid,
    first: Revision,
    bytes: &[u8],
    names: &mut Names,
) -> Result<Vec<Event>, CodecError> {
    let page: Page = open(EVENTS, bytes)?;
    let actors = page.actors.into_iter();
    let actors = actors.map(|actor| names.actor(Some(actor)));
    let actors = actors.collect::<Result<Vec<_>, _>>()?;
    let mut events = Vec::with_capacity(page.events.len());
    for (message, revision) in page.events.into_iter().zip(first.0..) {
        let actor = actors.get(message.actor as usize);
        events.push(Event {
            team,
            revision: Revision(revision),
            at: Time(page.at.wrapping_add(message.later)),
            actor: actor.ok_or(CodecError::Bad("actor"))?.clone(),
            cause: message.cause.map(TaskId),
            what: message.happening(names)?,
        });
    }
    Ok(events)
}
