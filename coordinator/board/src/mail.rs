//! Mail: messages, and the mailboxes in which they wait.

use std::{collections::BTreeMap, fmt, ops::Bound, sync::Arc};

use crate::{
    board::Board,
    event::COORDINATOR,
    id::{Incarnation, MemberName, MessageId, Revision, TaskId, TeamUid},
    limits,
    time::Time,
};

/// A message, whole. It is on the disk until its last copy was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its number in its team.
    pub id: MessageId,
    /// Who sent it.
    pub from: Sender,
    /// Who gets it.
    pub to: Recipients,
    /// What it is.
    pub kind: MailKind,
    /// What it says.
    pub text: Arc<str>,
    /// The same in a few words.
    pub summary: Arc<str>,
    /// A JSON object, never looked into by the board; empty for none.
    pub payload: Arc<str>,
    /// What ties an answer to its question.
    pub correlation: Arc<str>,
    /// When it was sent.
    pub at: Time,
    /// The task that it is about.
    pub task: Option<TaskId>,
    /// Yes or no, in a response.
    pub approve: Option<bool>,
    /// When the time for an answer is over, in a request.
    pub deadline: Option<Time>,
    /// The revision of the event that it tells of, in a notice of the coordinator.
    pub revision: Option<Revision>,
}

impl Letter {
    /// What it takes of a mailbox's room.
    pub fn size(&self) -> usize {
        self.text.len() + self.summary.len() + self.payload.len() + self.correlation.len()
    }

    /// What of it is kept in memory.
    pub fn head(&self) -> Head {
        Head {
            kind: self.kind,
            from: self.from.clone(),
            correlation: self.correlation.clone(),
            task: self.task,
            size: u32::try_from(self.size()).unwrap_or(u32::MAX),
        }
    }
}

/// The first line of a text, as a summary.
pub(crate) fn first_line(text: &str) -> Arc<str> {
    let first = text.trim().lines().next().unwrap_or_default().trim();
    match first.char_indices().nth(limits::MESSAGE_SUMMARY_CHARS_MAX) {
        None => first.into(),
        Some(_) => {
            let cut = first.chars().take(limits::MESSAGE_SUMMARY_CHARS_MAX - 1);
            format!("{}…", cut.collect::<String>()).into()
        }
    }
}

/// Who sent a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// A member of the team.
    Member(MemberName, Incarnation),
    /// The sub-agent of a task, which is on no roster.
    Task(TaskId),
    /// The coordinator.
    Coordinator,
}

impl Sender {
    /// Whose share of a mailbox its messages take: none for the coordinator, which has a reserve.
    pub(crate) fn source(&self) -> Option<Source> {
        match self {
            Self::Member(name, _) => Some(Source::Member(name.clone())),
            Self::Task(task) => Some(Source::Task(*task)),
            Self::Coordinator => None,
        }
    }
}

/// Who shares a mailbox with others. Who left and joined again is still the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A member.
    Member(MemberName),
    /// The sub-agent of a task, which is on no roster.
    Task(TaskId),
}

/// What one sender has in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    /// Messages.
    pub(crate) count: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
}

impl Share {
    pub(crate) fn take(&mut self, head: &Head) {
        self.count += 1;
        self.bytes += head.size as usize;
    }

    pub(crate) fn give_back(&mut self, head: &Head) {
        self.count -= 1;
        self.bytes -= head.size as usize;
    }
}

impl fmt::Display for Sender {
    /// The member's name, `task:<id>` or `coordinator`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(name, _) => name.fmt(f),
            Self::Task(id) => write!(f, "task:{id}"),
            Self::Coordinator => f.write_str(COORDINATOR),
        }
    }
}

/// Who gets a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// One member: the message itself is its only copy.
    One(MemberName),
    /// Several: there is a post for each copy.
    Many {
        /// It went to everybody.
        is_broadcast: bool,
    },
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MailKind {
    /// Words.
    Text,
    /// A task is the recipient's now.
    TaskAssignment,
    /// A task is the recipient's no more.
    TaskUnassigned,
    /// A task of the recipient's waits for nothing any more.
    TaskUnblocked,
    /// A task that the recipient made is over.
    TaskFinished,
    /// A member has nothing to do any more.
    Idle,
    /// A hosted member's attempt failed, or a member was removed because it did not answer.
    MemberFailed,
    /// Asks a member to stop and leave.
    ShutdownRequest,
    /// The answer to that.
    ShutdownResponse,
    /// Asks the lead to approve a plan.
    PlanApprovalRequest,
    /// The answer to that.
    PlanApprovalResponse,
    /// The sender waits for an answer.
    Question,
    /// The answer.
    Answer,
    /// Stands for notices of the coordinator that found no room.
    Digest,
}

/// What of a message is kept in memory; the rest is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub kind: MailKind,
    /// Who sent it.
    pub from: Sender,
    /// What ties an answer to its question.
    pub correlation: Arc<str>,
    /// The task that it is about.
    pub task: Option<TaskId>,
    /// What it takes of a mailbox's room, bytes.
    pub size: u32,
}

/// What waits for a member, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    pub(crate) letters: BTreeMap<MessageId, Arc<Head>>,
    pub(crate) bytes: usize,
    /// The message that stands for notices that found no room.
    pub(crate) digest: Option<MessageId>,
    /// What each sender has in it; nobody who has nothing.
    pub(crate) shares: BTreeMap<Source, Share>,
}

impl Mailbox {
    /// How many messages are in it.
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// The messages after one, oldest first.
    pub fn after(&self, after: MessageId) -> impl Iterator<Item = (MessageId, &Head)> {
        let rest = (Bound::Excluded(after), Bound::Unbounded);
        self.letters.range(rest).map(|(id, head)| (*id, &**head))
    }

    pub(crate) fn put(&mut self, id: MessageId, head: Arc<Head>) {
        self.bytes += head.size as usize;
        if head.kind == MailKind::Digest {
            self.digest = Some(id);
        }
        if let Some(source) = head.from.source() {
            self.shares.entry(source).or_default().take(&head);
        }
        self.letters.insert(id, head);
    }

    pub(crate) fn take(&mut self, id: MessageId) {
        if let Some(head) = self.letters.remove(&id) {
            self.bytes -= head.size as usize;
            self.digest = self.digest.filter(|digest| *digest != id);
            if let Some(source) = head.from.source()
                && let Some(share) = self.shares.get_mut(&source)
            {
                share.give_back(&head);
                if share.count == 0 {
                    self.shares.remove(&source);
                }
            }
        }
    }
}

/// A message as the team keeps it: its head, and where its copies are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filed {
    pub(crate) head: Arc<Head>,
    /// The recipient of a message with a single copy.
    pub(crate) only: Option<MemberName>,
    /// How many copies are not acknowledged yet.
    pub(crate) copies: usize,
}

impl Board {
    /// What waits for a member after a message, oldest first: not what the attempt has that runs
    /// in its name.
    pub fn mail_after(
        &self,
        team: TeamUid,
        name: &MemberName,
        after: MessageId,
    ) -> impl Iterator<Item = (MessageId, &Head)> {
        let handed = self.member(team, name).map(|member| member.handed);
        let after = after.max(handed.unwrap_or_default());
        let mailbox = self.mailbox(team, name).into_iter();
        mailbox.flat_map(move |mailbox| mailbox.after(after))
    }

    /// What is kept in memory of a message that is not acknowledged by all.
    pub fn head(&self, team: TeamUid, id: MessageId) -> Option<&Head> {
        Some(&self.teams.get(&team)?.letters.get(&id)?.head)
    }

    /// How many messages wait for a member.
    pub fn unread(&self, team: TeamUid, name: &MemberName) -> usize {
        let handed = self.member(team, name).map(|member| member.handed);
        match (handed, self.mailbox(team, name)) {
            (_, None) => 0,
            (None | Some(MessageId(0)), Some(mailbox)) => mailbox.len(),
            (Some(handed), Some(mailbox)) => mailbox.after(handed).count(),
        }
    }

    /// The mail that goes with an assignment for a hosted member: the first that fits, and at least
    /// one. Answers the last of it.
    pub(crate) fn mail_to_hand(&self, team: TeamUid, name: &MemberName) -> MessageId {
        let mut len = 0;
        let mut last = MessageId(0);
        for (id, head) in self.mail_after(team, name, MessageId(0)) {
            len += head.size as usize;
            if len > limits::ASSIGNMENT_MAIL_LEN_MAX && last != MessageId(0) {
                break;
            }
            last = id;
        }
        last
    }
}
