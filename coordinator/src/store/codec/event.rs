//! Events, in pages: those of one team in one commit share a value.

use board::{
    event::{Actor, Event, Fields, Happening},
    id::{AttemptNumber, MessageId, Revision, TaskId, TeamUid},
    mail::MailKind,
    task::Status,
    time::Time,
};
use prost::Message;

use super::{ActorMessage, CodecError, Kind, Names, Numbered, open, seal};

const EVENTS: Kind = Kind {
    name: "events",
    version: 4,
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
    /// Version 1 has nothing of what follows.
    #[prost(uint64, tag = "10")]
    previous: u64,
    #[prost(string, optional, tag = "11")]
    on_behalf_of: Option<String>,
    #[prost(uint64, optional, tag = "12")]
    cause_message: Option<u64>,
    #[prost(uint64, tag = "13")]
    message: u64,
    #[prost(uint32, tag = "14")]
    mail: u32,
    /// The reason, where `text` is a name.
    #[prost(string, tag = "15")]
    reason: String,
    /// Who claimed, where it was no member.
    #[prost(message, optional, tag = "16")]
    by: Option<ActorMessage>,
}

impl EventMessage {
    fn new(event: &Event) -> Self {
        let mut message = Self {
            cause: event.cause.map(|task| task.0),
            task: event.what.task().map(|task| task.0),
            previous: event.previous.0,
            on_behalf_of: event.on_behalf_of.as_ref().map(ToString::to_string),
            cause_message: event.cause_message.map(|message| message.0),
            ..Self::default()
        };
        message.what = match &event.what {
            Happening::TeamCreated => 1,
            Happening::MemberJoined { member } => message.with_text(2, member.as_str()),
            Happening::MemberLeft { member, reason } => {
                message.reason = reason.to_string();
                message.with_text(3, member.as_str())
            }
            Happening::TaskCreated { subject, .. } => message.with_text(4, subject),
            Happening::TaskUpdated { fields, .. } => {
                message.fields = fields.0;
                5
            }
            Happening::TaskClaimed { by, attempt, .. } => {
                message.attempt = Some(attempt.0);
                match by {
                    Actor::Member(member) => message.text = member.to_string(),
                    by => message.by = Some(by.into()),
                }
                6
            }
            Happening::TaskDispatched {
                attempt, worker, ..
            } => message.of_attempt(7, *attempt, worker.as_str()),
            Happening::TaskStarted { attempt, .. } => message.of_attempt(8, *attempt, ""),
            Happening::TaskStopRequested {
                attempt, reason, ..
            } => message.of_attempt(9, *attempt, reason),
            Happening::TaskRequeued {
                attempt, reason, ..
            } => message.of_attempt(10, *attempt, reason),
            Happening::TaskUnblocked { .. } => 11,
            Happening::TaskEnded {
                attempt,
                from,
                to,
                message: text,
                ..
            } => {
                message.status = vec![from.number(), to.number()];
                message.attempt = attempt.map(|attempt| attempt.0);
                message.with_text(12, text)
            }
            Happening::TeamDissolved { reason } => message.with_text(13, reason),
            Happening::LeadHandedOver { to } => message.with_text(14, to.as_str()),
            Happening::PlanApproved { member } => message.with_text(15, member.as_str()),
            Happening::PlanRejected { member, reason } => {
                message.reason = reason.to_string();
                message.with_text(16, member.as_str())
            }
            Happening::MessageSent {
                message: sent,
                kind,
                to,
            } => {
                message.message = sent.0;
                message.mail = kind.number();
                message.with_text(17, to.as_ref().map_or("", |to| to.as_str()))
            }
            Happening::TaskReopened { from, reason, .. } => {
                message.status = vec![from.number()];
                message.with_text(18, reason)
            }
            Happening::TaskDeleted { subject, .. } => message.with_text(19, subject),
            Happening::TaskPaused { reason, .. } => message.with_text(20, reason),
            Happening::TaskResumed { .. } => 21,
            Happening::TaskAsked { attempt, text, .. } => message.of_attempt(22, *attempt, text),
            Happening::TaskAnswered { attempt, text, .. } => message.of_attempt(23, *attempt, text),
            Happening::TaskSteered { attempt, text, .. } => message.of_attempt(24, *attempt, text),
            Happening::TeamUpdated => 25,
            Happening::TaskExpired { .. } => 26,
            Happening::LossAccepted { missing } => message.with_text(27, missing),
        };
        message
    }

    fn with_text(&mut self, what: u32, text: &str) -> u32 {
        text.clone_into(&mut self.text);
        what
    }

    fn of_attempt(&mut self, what: u32, attempt: AttemptNumber, text: &str) -> u32 {
        self.attempt = Some(attempt.0);
        self.with_text(what, text)
    }

    /// The status before and after.
    fn status(&self) -> Result<(Status, Status), CodecError> {
        match *self.status {
            [from, to] => Ok((Status::of(from)?, Status::of(to)?)),
            _ => Err(CodecError::Bad("change of status")),
        }
    }

    /// The status before, where the one after goes without saying.
    fn status_before(&self) -> Result<Status, CodecError> {
        match *self.status {
            [from] => Status::of(from),
            _ => Err(CodecError::Bad("status before")),
        }
    }

    fn attempt_number(&self) -> Result<AttemptNumber, CodecError> {
        self.attempt
            .map(AttemptNumber)
            .ok_or(CodecError::Bad("attempt"))
    }

    fn happening(self, names: &mut Names) -> Result<Happening, CodecError> {
        match self.task.map(TaskId) {
            Some(task) => self.happening_to_task(task, names),
            None => self.happening_to_team(names),
        }
    }

    fn happening_to_team(self, names: &mut Names) -> Result<Happening, CodecError> {
        let reason = self.reason.into();
        Ok(match self.what {
            1 => Happening::TeamCreated,
            25 => Happening::TeamUpdated,
            2 => Happening::MemberJoined {
                member: names.member(self.text)?,
            },
            3 => Happening::MemberLeft {
                member: names.member(self.text)?,
                reason,
            },
            13 => Happening::TeamDissolved {
                reason: self.text.into(),
            },
            14 => Happening::LeadHandedOver {
                to: names.member(self.text)?,
            },
            15 => Happening::PlanApproved {
                member: names.member(self.text)?,
            },
            16 => Happening::PlanRejected {
                member: names.member(self.text)?,
                reason,
            },
            17 => Happening::MessageSent {
                message: MessageId(self.message),
                kind: MailKind::of(self.mail)?,
                to: if self.text.is_empty() {
                    None
                } else {
                    Some(names.member(self.text)?)
                },
            },
            27 => Happening::LossAccepted {
                missing: self.text.into(),
            },
            _ => return Err(CodecError::Bad("kind of event")),
        })
    }

    fn happening_to_task(self, task: TaskId, names: &mut Names) -> Result<Happening, CodecError> {
        Ok(match self.what {
            4 => Happening::TaskCreated {
                task,
                subject: self.text.into(),
            },
            5 => Happening::TaskUpdated {
                task,
                fields: Fields(self.fields),
            },
            6 => Happening::TaskClaimed {
                task,
                attempt: self.attempt_number()?,
                by: match self.by {
                    Some(by) => names.actor(Some(by))?,
                    None => Actor::Member(names.member(self.text)?),
                },
            },
            7 => Happening::TaskDispatched {
                task,
                attempt: self.attempt_number()?,
                worker: names.worker(self.text)?,
            },
            8 => Happening::TaskStarted {
                task,
                attempt: self.attempt_number()?,
            },
            9 => Happening::TaskStopRequested {
                task,
                attempt: self.attempt_number()?,
                reason: self.text.into(),
            },
            10 => Happening::TaskRequeued {
                task,
                attempt: self.attempt_number()?,
                reason: self.text.into(),
            },
            11 => Happening::TaskUnblocked { task },
            12 => {
                let (from, to) = self.status()?;
                Happening::TaskEnded {
                    task,
                    attempt: self.attempt.map(AttemptNumber),
                    from,
                    to,
                    message: self.text.into(),
                }
            }
            18 => Happening::TaskReopened {
                task,
                from: self.status_before()?,
                reason: self.text.into(),
            },
            19 => Happening::TaskDeleted {
                task,
                subject: self.text.into(),
            },
            20 => Happening::TaskPaused {
                task,
                reason: self.text.into(),
            },
            21 => Happening::TaskResumed { task },
            22 => Happening::TaskAsked {
                task,
                attempt: self.attempt_number()?,
                text: self.text.into(),
            },
            23 => Happening::TaskAnswered {
                task,
                attempt: self.attempt_number()?,
                text: self.text.into(),
            },
            24 => Happening::TaskSteered {
                task,
                attempt: self.attempt_number()?,
                text: self.text.into(),
            },
            26 => Happening::TaskExpired { task },
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
    for (mut message, revision) in page.events.into_iter().zip(first.0..) {
        let actor = actors.get(message.actor as usize);
        events.push(Event {
            team,
            revision: Revision(revision),
            at: Time(page.at.wrapping_add(message.later)),
            actor: actor.ok_or(CodecError::Bad("actor"))?.clone(),
            on_behalf_of: message
                .on_behalf_of
                .take()
                .map(|name| names.member(name))
                .transpose()?,
            cause: message.cause.map(TaskId),
            cause_message: message.cause_message.map(MessageId),
            previous: Revision(message.previous),
            what: message.happening(names)?,
        });
    }
    Ok(events)
}
