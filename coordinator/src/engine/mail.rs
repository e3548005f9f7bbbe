//! Mailboxes: read, waited for, and given to those who are run.
//!
//! The board has what messages are and where they wait; what they say is on the disk, or still in
//! the group that files them.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use board::{
    command::{Ack, Addressees, Answer, Call, Caller, NewLetter, Receipt, Wish},
    decide,
    id::{Incarnation, MemberKey, MemberName, MessageId, TaskKey, TeamName, TeamUid},
    mail::{Head, Letter, MailKind, Recipients, Sender},
    record::Record,
    refusal::Refusal,
    task::Placement,
    team::MemberKind,
    time::Time,
};
use tokio::sync::oneshot;

use super::{Engine, RecordKey, Refused, failure::Unread, release::Release};
use crate::hub::MailWatcher;

/// What somebody wants of their mailbox.
#[derive(Debug, Clone)]
pub struct MailWanted {
    /// The team.
    pub team: TeamName,
    /// Whose mailbox it is.
    pub caller: Caller,
    /// Which messages.
    pub filter: MailFilter,
    /// Only messages after this one.
    pub after: MessageId,
    /// How many at the most.
    pub count_max: usize,
    /// How many bytes at the most, but one message however long it is.
    pub bytes_max: usize,
    /// What is answered is acknowledged in the same commit: nobody else gets it.
    pub acknowledges: bool,
    /// What comes later is wanted as well.
    pub watches: bool,
}

/// Which messages; what is none doesn't filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailFilter {
    /// Of one of these kinds.
    pub kinds: Vec<MailKind>,
    /// From this sender, as it is told: a member's name, `task:<id>` or `coordinator`.
    pub from: Option<String>,
    /// With this correlation id.
    pub correlation: Option<String>,
}

impl MailFilter {
    fn passes(&self, head: &Head) -> bool {
        let is_from = |from: &String| head.from.to_string() == *from;
        (self.kinds.is_empty() || self.kinds.contains(&head.kind))
            && self.from.as_ref().is_none_or(is_from)
            && self
                .correlation
                .as_ref()
                .is_none_or(|correlation| **correlation == *head.correlation)
    }

    /// Whether a message is wanted.
    pub fn wants(&self, letter: &Letter) -> bool {
        // Most want all: then its head needs no making.
        *self == Self::default() || self.passes(&letter.head())
    }
}

/// What is in a mailbox.
#[derive(Debug)]
pub struct MailPage {
    /// Whose it is.
    pub mailbox: MemberKey,
    /// Which incarnation of it.
    pub incarnation: Incarnation,
    /// The messages, oldest first.
    pub letters: Vec<Arc<Letter>>,
    /// How many are in the mailbox, whatever the filter.
    pub unread: usize,
    /// There are more that pass the filter.
    pub has_more: bool,
    /// Every message up to this one was looked at.
    pub at: MessageId,
    /// Tells what comes later, where that is wanted.
    pub watcher: Option<MailWatcher>,
}

/// What is answered to who wants their mail.
pub type MailReply = Result<MailPage, Box<Refused>>;

impl Engine {
    pub(super) fn receive(
        &mut self,
        wanted: &MailWanted,
        reply: oneshot::Sender<MailReply>,
        now: Time,
    ) {
        let team = wanted.team.as_str();
        self.presence.note(&self.board, team, &wanted.caller, now);
        let page = self.page(wanted, now);
        self.group.releases.push(Release::Mail(reply, page));
    }

    fn page(&mut self, wanted: &MailWanted, now: Time) -> MailReply {
        let Some(team) = self.board.team_named(wanted.team.as_str()) else {
            let team = wanted.team.to_string();
            return Err(Refusal::TeamUnknown { team }.into());
        };
        if wanted.watches && !team.is_open() {
            let team = team.name.clone();
            return Err(Refusal::TeamOver { team }.into());
        }
        let (uid, last) = (team.uid, team.last_message);
        let (name, incarnation) = decide::mailbox_of(&self.board, uid, &wanted.caller)?;
        let mailbox = (uid, name);
        let Looked {
            letters,
            readable,
            at,
        } = self.look_through(&mailbox, wanted);
        let has_more = at.is_some();
        if wanted.acknowledges && !readable.is_empty() {
            self.check_writable()?;
            self.acknowledge(wanted, readable, now)?;
        }
        Ok(MailPage {
            letters,
            incarnation,
            unread: self.board.unread(uid, &mailbox.1),
            has_more,
            at: at.unwrap_or(last),
            watcher: wanted.watches.then(|| self.mail.watch(&mailbox, last)),
            mailbox,
        })
    }

    /// The messages that are wanted.
    fn look_through(&self, (team, name): &MemberKey, wanted: &MailWanted) -> Looked {
        let mut letters: Vec<Arc<Letter>> = Vec::new();
        let mut readable = Vec::new();
        let (mut at, mut bytes, mut is_over) = (wanted.after, 0, true);
        for (id, head) in self.board.mail_after(*team, name, wanted.after) {
            if wanted.filter.passes(head) {
                if letters.len() == wanted.count_max {
                    is_over = false;
                    break;
                }
                let letter = match self.letter(*team, id) {
                    Ok(letter) => {
                        readable.push(id);
                        letter
                    }
                    Err(failure) => stand_in(id, head, name, &failure),
                };
                bytes += weight(&letter);
                if bytes > wanted.bytes_max && !letters.is_empty() {
                    readable.retain(|it| *it != id);
                    is_over = false;
                    break;
                }
                letters.push(letter);
            }
            at = id;
        }
        Looked {
            letters,
            readable,
            at: (!is_over).then_some(at),
        }
    }

    fn acknowledge(
        &mut self,
        wanted: &MailWanted,
        messages: Vec<MessageId>,
        now: Time,
    ) -> Result<(), Box<Refused>> {
        let ack = Ack {
            up_to: None,
            messages,
        };
        let call = Call {
            caller: wanted.caller.clone(),
            request: None,
            wish: Wish::AckMessages(wanted.team.clone(), ack),
        };
        self.decide_call(&call, now).map(drop)
    }

    /// A message, whole: one that is filed by this very group is not on the disk yet.
    fn letter(&self, team: TeamUid, id: MessageId) -> Result<Arc<Letter>, Refusal> {
        if let Some(Record::Letter(_, letter)) =
            self.group.records.get(&RecordKey::Letter(team, id))
        {
            return Ok(letter.clone());
        }
        let unread = Unread::Letter(team, id);
        let stored = self.store.letter(team, id);
        let stored = stored.map_err(|failure| unread.because(&failure))?;
        stored.map(Arc::new).ok_or_else(|| unread.as_missing())
    }

    /// What the sending of a message came to, put together from what is left of it.
    pub(super) fn sent_again(
        &self,
        team: TeamUid,
        caller: &Caller,
        letter: &NewLetter,
        message: MessageId,
    ) -> Answer {
        let lead = || self.board.team(team).map(|team| &team.lead);
        let sender = caller.member.as_ref().or_else(lead);
        let named: Vec<&MemberName> = match &letter.to {
            Addressees::Named(named) if named.is_empty() => lead().into_iter().collect(),
            Addressees::Named(named) => named.iter().collect(),
            Addressees::Everybody => {
                let members = self.board.members(team);
                let have_mail = members.filter(|member| member.kind != MemberKind::Worker);
                have_mail.map(|member| &member.name).collect()
            }
        };
        let mut seen = BTreeSet::new();
        let others = named.into_iter();
        let others = others.filter(|name| Some(*name) != sender && seen.insert(*name));
        let receipt = |name: &MemberName| {
            let member = self.board.member(team, name)?;
            Some(Receipt {
                member: member.name.clone(),
                incarnation: member.incarnation,
                stored: true,
                answers: false,
            })
        };
        let is_tied = matches!(
            letter.kind,
            MailKind::Question | MailKind::ShutdownRequest | MailKind::PlanApprovalRequest
        );
        let correlation = match (&*letter.correlation, self.board.head(team, message)) {
            (_, Some(head)) => head.correlation.clone(),
            ("", None) if is_tied => message.to_string().into(),
            _ => letter.correlation.clone(),
        };
        Answer::Sent {
            team,
            message,
            correlation,
            receipts: others.filter_map(receipt).collect(),
        }
    }

    /// Notes which mailboxes get what with a record, and which are nobody's any more.
    pub(super) fn note_mail(&mut self, record: &Record) {
        match record {
            Record::Letter(team, letter) => {
                if let Recipients::One(member) = &letter.to {
                    let copy = ((*team, member.clone()), letter.clone());
                    self.group.mail.push(copy);
                }
            }
            Record::Post(team, member, id) => {
                let filed = self.group.records.get(&RecordKey::Letter(*team, *id));
                if let Some(Record::Letter(_, letter)) = filed {
                    let copy = ((*team, member.clone()), letter.clone());
                    self.group.mail.push(copy);
                }
            }
            Record::Member(team, member) if !member.is_present() => {
                self.group.closed.push((*team, Some(member.name.clone())));
            }
            Record::Team(team) if !team.is_open() => self.group.closed.push((team.uid, None)),
            _ => {}
        }
    }

    /// The mail that goes with an assignment (M6): nothing about the very task, which the
    /// assignment itself tells.
    pub(super) fn mail_for(
        &self,
        (team, task): TaskKey,
        placement: &Placement,
    ) -> Vec<Arc<Letter>> {
        let Some(member) = &placement.member else {
            return Vec::new();
        };
        let mail = self.board.mail_after(team, member, MessageId(0));
        let mail = mail.take_while(|(id, _)| *id <= placement.mail);
        let is_told = |head: &Head| {
            let is_notice = head.from == Sender::Coordinator;
            is_notice && head.task == Some(task)
        };
        mail.filter(|(_, head)| !is_told(head))
            .map(|(id, head)| {
                let letter = self.letter(team, id);
                letter.unwrap_or_else(|failure| stand_in(id, head, member, &failure))
            })
            .collect()
    }
}

/// What a look through a mailbox found.
struct Looked {
    letters: Vec<Arc<Letter>>,
    /// Those of them that could be read. The others are not acknowledged by the way: they may be
    /// readable later, and whoever acknowledges them by name gives them up.
    readable: Vec<MessageId>,
    /// The last one that was looked at, where there are more.
    at: Option<MessageId>,
}

/// What is told in the place of a message that can't be read.
fn stand_in(id: MessageId, head: &Head, to: &MemberName, failure: &Refusal) -> Arc<Letter> {
    Arc::new(Letter {
        id,
        from: head.from.clone(),
        to: Recipients::One(to.clone()),
        kind: head.kind,
        text: format!(
            "(This message is damaged and cannot be read: {failure}. Acknowledge it to be rid of it.)"
        )
        .into(),
        summary: "(unreadable)".into(),
        payload: Arc::default(),
        correlation: head.correlation.clone(),
        at: Time(0),
        task: head.task,
        approve: None,
        deadline: None,
        revision: None,
    })
}

/// About how long a message is when it is told, at the most. A list of small numbers is six times
/// as long in protobuf as in JSON.
fn weight(letter: &Letter) -> usize {
    const FIXED: usize = 256;
    FIXED + letter.size() + 5 * letter.payload.len()
}

/// A prompt with mail before it.
pub(super) fn put_before(mail: &[Arc<Letter>], prompt: &Arc<str>) -> Arc<str> {
    if mail.is_empty() {
        return prompt.clone();
    }
    let mut text = String::from("Messages that came for you, oldest first:\n");
    for letter in mail {
        let _ = write!(text, "\n[message {} from {}", letter.id, letter.from);
        if let Some(task) = letter.task {
            let _ = write!(text, ", about task #{task}");
        }
        if !letter.correlation.is_empty() {
            let _ = write!(text, ", correlation id {}", letter.correlation);
        }
        let _ = writeln!(text, "]\n{}", letter.text);
        if !letter.payload.is_empty() {
            let _ = writeln!(text, "{}", letter.payload);
        }
    }
    let _ = write!(text, "\nYour task:\n\n{prompt}");
    text.into()
}
