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

/// Events without a gap in their revisions; the key has the first one's.
#[derive(Clone, PartialEq, prost::Message)]
struct Page {
    /// The time of the first.
    #[prost(int64, tag = "1")]
    at: i64,
    #[prost(message, repeated, tag = "2")]
    events: Vec<EventMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EventMessage {
    /// Later than the page by so many milliseconds.
    #[prost(sint64, tag = "1")]
    later: i64,
    #[prost(message, optional, tag = "2")]
    actor: Option<ActorMessage>,
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
    fn new(event: &Event, page_at: Time) -> Self {
        let mut message = Self {
            later: event.at.0.wrapping_sub(page_at.0),
            actor: Some((&event.actor).into()),
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

    fn event(
        mut self,
        team: TeamUid,
        revision: Revision,
        page_at: i64,
        names: &mut Names,
    ) -> Result<Event, CodecError> {
        Ok(Event {
            team,
            revision,
            at: Time(page_at.wrapping_add(self.later)),
            actor: names.actor(self.actor.take())?,
            cause: self.cause.map(TaskId),
            what: self.happening(names)?,
        })
    }
}

/// Encodes events of one team, in order, as pages: each with the revision of its first event. A
/// page ends at [`PAGE_LEN_MAX`], and at a gap in the revisions.
pub(in crate::store) fn encode_event_pages(events: &[&Event]) -> Vec<(Revision, Vec<u8>)> {
    let mut pages = Vec::new();
    let mut page = Page::default();
    let mut len = 0;
    let mut first = Revision(0);
    let mut next = Revision(0);
    for event in events {
        let mut message = EventMessage::new(event, Time(page.at));
        let is_gap = event.revision != next;
        if page.events.is_empty() || is_gap || len + message.encoded_len() > PAGE_LEN_MAX {
            if !page.events.is_empty() {
                pages.push((first, seal(EVENTS, &page)));
            }
            page = Page {
                at: event.at.0,
                events: Vec::new(),
            };
            message.later = 0;
            first = event.revision;
            len = 0;
        }
        // Tag and length before each event.
        len += message.encoded_len() + 3;
        next = event.revision.next();
        page.events.push(message);
    }
    if !page.events.is_empty() {
        pages.push((first, seal(EVENTS, &page)));
    }
    pages
}

/// Decodes a page, from which on `first` is the first revision.
pub(in crate::store) fn decode_events(
    team: TeamUid,
    first: Revision,
    bytes: &[u8],
    names: &mut Names,
) -> Result<Vec<Event>, CodecError> {
    let page: Page = open(EVENTS, bytes)?;
    let mut events = Vec::with_capacity(page.events.len());
    for (message, revision) in page.events.into_iter().zip(first.0..) {
        events.push(message.event(team, Revision(revision), page.at, names)?);
    }
    Ok(events)
}
