//! What somebody was told, and what therefore must be so for ever after: over every restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use board::{
    Board,
    id::{Fence, InstanceId, MemberName, MessageId, TaskKey, TeamUid},
    task::{AfterStop, AttemptEnding, Runner, Status, Task},
};
use ganger_coordinator::store::Store as _;

use super::{disk::Disk, history::History};

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// The task was made.
    Made(TaskKey, Arc<str>),
    /// The task's metadata says so, or something later.
    Noted(TaskKey, u64),
    /// The task is cancelled, or will be.
    Cancelled(TaskKey),
    /// The member completed it.
    Closed(TaskKey, Arc<str>),
    /// The message is in these mailboxes, unless it was read there.
    Sent(TeamUid, MessageId, Arc<str>, Vec<MemberName>),
    /// The messages are not in the mailbox any more.
    Acked(TeamUid, MemberName, Vec<MessageId>),
}

impl Fact {
    /// The task that it is about.
    fn task(&self) -> Option<&TaskKey> {
        match self {
            Self::Made(key, _)
            | Self::Noted(key, _)
            | Self::Cancelled(key)
            | Self::Closed(key, _) => Some(key),
            Self::Sent(..) | Self::Acked(..) => None,
        }
    }
}

/// What a worker reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) fence: Fence,
    pub(super) instance: InstanceId,
    /// None for the beginning.
    pub(super) ending: Option<AttemptEnding>,
    pub(super) result: Arc<str>,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) facts: Vec<Fact>,
    begun: BTreeMap<Fence, Report>,
    endings: BTreeMap<Fence, Report>,
    /// The results of sub-agents that truly came to an end, by who ran them.
    pub(super) truth: BTreeMap<(InstanceId, Fence), Arc<str>>,
    /// Marks of the mail that was in their prompts.
    pub(super) prompts: BTreeMap<(InstanceId, Fence), Vec<Arc<str>>>,
    /// Marks of the mail that attempts had which came to an end of their own.
    pub(super) read: BTreeSet<Arc<str>>,
    /// Mail that somebody ever asked to be removed.
    pub(super) acks: BTreeSet<(MemberName, MessageId)>,
}

/// What clients write into the metadata of tasks.
pub(super) const NOTED: &str = "noted";

impl Memory {
    /// A report was accepted: no other end of that attempt ever may be.
    pub(super) fn report_accepted(&mut self, report: &Report) -> Result<(), String> {
        let known = match report.ending {
            None => &mut self.begun,
            Some(_) => &mut self.endings,
        };
        let first = known.entry(report.fence).or_insert_with(|| report.clone());
        if first == report {
            return Ok(());
        }
        Err(format!(
            "two reports of one attempt were accepted: {first:?} and {report:?}"
        ))
    }

    /// What was told, checked against a board that was just loaded. Of tasks whose time was over
    /// nothing must be left.
    pub(super) fn check(
        &self,
        board: &Board,
        disk: &Disk,
        history: &History,
    ) -> Result<(), String> {
        if let Some(key) = history
            .expired
            .keys()
            .find(|key| stored(**key, disk).is_some())
        {
            return Err(format!("#{} left, and is on the disk", key.1));
        }
        for fact in &self.facts {
            let is_there = |key: &TaskKey| !history.expired.contains_key(key);
            if fact.task().is_none_or(is_there) {
                self.check_fact(fact, board, disk)?;
            }
        }
        let reports = self.begun.values().chain(self.endings.values());
        for report in reports {
            self.check_report(report, disk, history)?;
        }
        Ok(())
    }

    /// An accepted report is on the disk, unless the time of its task is over.
    pub(super) fn check_report(
        &self,
        report: &Report,
        disk: &Disk,
        history: &History,
    ) -> Result<(), String> {
        let Fence {
            team,
            task,
            attempt,
            ..
        } = report.fence;
        if history.expired.contains_key(&(team, task)) {
            return Ok(());
        }
        let lost = |task: &dyn std::fmt::Debug| {
            Err(format!("{report:?} was accepted, and is lost: {task:?}"))
        };
        let Some(task) = stored((team, task), disk) else {
            return lost(&"the task is gone");
        };
        let placed = task.placement().filter(|placed| placed.attempt == attempt);
        let is_kept = match (report.ending, placed) {
            (None, Some(placed)) => {
                placed.instance == report.instance && placed.started_at.is_some()
            }
            (Some(_), Some(_)) => false,
            (ending, None) => {
                let is_dropped = task
                    .attempts
                    .first()
                    .is_some_and(|first| attempt < first.number);
                let ended = task.attempts.iter().find(|ended| ended.number == attempt);
                is_dropped
                    || ended.is_some_and(|ended| {
                        let is_own = matches!(&ended.runner, Runner::Worker(_, instance) if *instance == report.instance);
                        let is_same = ending.is_none_or(|ending| ending == ended.ending);
                        let has_begun = ending.is_some() || ended.started_at.is_some();
                        is_own && is_same && has_begun
                    })
            }
        };
        if is_kept { Ok(()) } else { lost(&task) }
    }

    fn check_fact(&self, fact: &Fact, board: &Board, disk: &Disk) -> Result<(), String> {
        let is_so = match fact {
            Fact::Made(key, subject) => {
                stored(*key, disk).is_some_and(|task| task.subject == *subject)
            }
            Fact::Noted(key, value) => stored(*key, disk).is_some_and(|task| {
                let noted = task.metadata.get(NOTED);
                noted.and_then(|text| text.parse().ok()).unwrap_or(0) >= *value
            }),
            Fact::Cancelled(key) => stored(*key, disk).is_some_and(|task| match task.placement() {
                Some(placed) => {
                    let stop = placed.stop.as_ref();
                    stop.is_some_and(|stop| stop.then == AfterStop::Cancel)
                }
                None => task.status() == Status::Cancelled,
            }),
            Fact::Closed(key, result) => stored(*key, disk)
                .is_some_and(|task| task.status() == Status::Completed && task.result == *result),
            Fact::Sent(team, message, token, to) => to.iter().all(|member| {
                let mut waiting = mail(board, *team, member);
                waiting.any(|id| id == *message)
                    || self.acks.contains(&(member.clone(), *message))
                    || self.read.contains(token)
            }),
            Fact::Acked(team, member, messages) => {
                !mail(board, *team, member).any(|id| messages.contains(&id))
            }
        };
        if is_so {
            return Ok(());
        }
        Err(format!("somebody was told {fact:?}, and it is not so"))
    }
}

fn mail(board: &Board, team: TeamUid, member: &MemberName) -> impl Iterator<Item = MessageId> {
    let mailbox = board.mailbox(team, member).into_iter();
    mailbox.flat_map(|mailbox| mailbox.after(MessageId(0)).map(|(id, _)| id))
}

fn stored(key: TaskKey, disk: &Disk) -> Option<Task> {
    disk.task(key.0, key.1).expect("nothing breaks this store")
}
