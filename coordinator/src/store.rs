//! What the coordinator keeps, and the seam under which it is kept.
//!
//! A [`Store`] takes batches of typed records and hands them back after a start. It owns how they
//! are laid out, encoded and made durable; it knows no rule of the board. Nothing of the database
//! shows in the trait's signatures, and no other module of the coordinator names it.
//!
//! What is promised: a batch is there whole or not at all, and once [`Store::commit`] has
//! returned it is on the disk (`fdatasync` has returned). A commit that fails is final: the
//! memory of the caller has run ahead of the disk, and it must end.
//!
//! Reading order: [`memory`] says in the fewest words what a store does; `sled_store` does it on
//! a disk, with `key` for the layout, `codec` for the values, `stage` for the one atomic write.

use std::{io, path::PathBuf, time::Duration};

use board::{
    event::Event,
    id::{Digest, MessageId, Revision, TaskId, TeamUid},
    mail::Letter,
    record::{Outcome, Record, RequestKey},
    task::Task,
    time::Time,
};

use crate::attempt_secret::AttemptKey;

mod backup;
mod codec;
mod database;
mod durable;
mod events;
mod generation;
mod handed;
mod key;
mod lock;
mod loss;
mod mark;
pub mod memory;
mod opening;
mod outcomes;
mod records;
mod restore;
mod shelves;
mod sled_store;
mod stage;
mod sweep;
mod tally;
mod watchdog;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod sled_tests;

pub use durable::syncs as durable_syncs;
pub use memory::{MemoryStore, Unreadable};
pub use restore::{Restored, restore};
pub use sled_store::{Options, SledStore};

/// Keeps a board.
pub trait Store: Send {
    /// Hands over everything that a start needs: the counters, teams, members, offered types,
    /// open tasks whole, finished ones as stubs, messages and their copies; in this order, agent
    /// types before teams, each kind by its key. Not: events, outcomes, the texts of finished
    /// tasks, and nothing of a team that is gone.
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<Opened, StoreError>;

    /// Writes a batch atomically. It is durable when this returns. An error is final: nothing may
    /// be committed after it.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// Removes a little of what need not be kept any more, in a durable write of its own that is
    /// no commit: events past their retention, and all that was a gone team's. Says whether there
    /// is more. An error is final, as that of a commit.
    fn sweep(&mut self, now: Time) -> Result<bool, StoreError>;

    /// The key of attempts' secrets; where there is none, `fresh` becomes it, durably. It is in no
    /// backup: a board that is restored has none.
    fn attempt_key(&mut self, fresh: AttemptKey) -> Result<AttemptKey, StoreError>;

    /// Begins a backup. It goes on by [`Store::back_up`], while commits go on.
    fn begin_backup(&mut self, sink: Box<dyn BackupSink>) {
        let source = io::Error::from(io::ErrorKind::Unsupported);
        sink.end(Err(StoreError::io("backing up", "the board", source)));
    }

    /// Goes on with a backup by a small step, if its sink is ready for one. Says whether one is
    /// under way. That it fails is told to its sink alone.
    fn back_up(&mut self) -> bool {
        false
    }

    /// A task, whole, be it open or finished.
    fn task(&self, team: TeamUid, task: TaskId) -> Result<Option<Task>, StoreError>;

    /// Tells which artifacts tasks name, of `limit` tasks from a place on. Answers where the rest
    /// begins; none when there is no more. A task that can't be read is an error.
    fn artifacts_named(
        &self,
        from: TaskPlace,
        limit: usize,
        each: &mut dyn FnMut(Digest),
    ) -> Result<Option<TaskPlace>, StoreError>;

    /// A message, whole.
    fn letter(&self, team: TeamUid, letter: MessageId) -> Result<Option<Letter>, StoreError>;

    /// What a request came to, if that is still remembered.
    fn outcome(&self, key: RequestKey) -> Result<Option<Outcome>, StoreError>;

    /// A team's events after `after`, oldest first, at most `limit`.
    fn events(
        &self,
        team: TeamUid,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError>;

    /// A team's event of a revision, if it is still kept.
    fn event(&self, team: TeamUid, revision: Revision) -> Result<Option<Event>, StoreError>;

    /// The revision of a team's oldest event that is kept.
    fn oldest_event(&self, team: TeamUid) -> Result<Option<Revision>, StoreError>;

    /// How many outcomes are remembered, and since when.
    fn outcomes_kept(&self) -> OutcomesKept;
}

/// A place among all tasks that are kept: open ones come before finished ones, those of a team
/// together. The first by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TaskPlace {
    is_finished: bool,
    team: TeamUid,
    task: TaskId,
}

/// The artifacts that a task names.
fn artifacts_of(task: &Task) -> impl Iterator<Item = Digest> {
    let all = task.inputs.iter().chain(&task.outputs);
    all.map(|artifact| artifact.digest)
}

/// Takes a backup in, piece by piece.
pub trait BackupSink: Send {
    /// Whether the backup may go on now. What commits change meanwhile comes all the same.
    fn is_ready(&self) -> bool {
        true
    }

    /// Takes a piece. A commit may wait for it, so it doesn't wait for a disk. An error ends the
    /// backup.
    fn take(&mut self, piece: &[u8]) -> io::Result<()>;

    /// There are no more pieces: those that came are the backup of the board as it was at a
    /// commit, or no backup at all.
    fn end(self: Box<Self>, ended: Result<u64, StoreError>);
}

/// What a store says of itself when it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Opened {
    /// The number of the last commit; 0 where there was none.
    pub commit: u64,
    /// Its time, below which the board's clock never goes.
    pub time: Time,
}

/// What is written at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// When.
    pub at: Time,
    /// Records as they are to be. Of several with the same identity the last one counts; that
    /// something is gone has the identity of what is gone. Of a team that is gone nothing is
    /// written, before or after. A message is never changed, and neither it nor a copy of it comes
    /// again once it is gone.
    pub records: Vec<Record>,
    /// Events: those of a team in the order of their revisions, which go on from the last batch.
    pub events: Vec<Event>,
    /// Outcomes of requests.
    pub outcomes: Vec<Outcome>,
}

/// How many outcomes are remembered, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutcomesKept {
    /// How many.
    pub count: u64,
    /// When the oldest was committed.
    pub oldest: Option<Time>,
}

/// How long outcomes are remembered: as long as they are among the newest `count` and not older
/// than `span`. They are forgotten in pages of up to 64 from one commit, so there may be some more
/// than `count`, and only by commits that add some: two pages for each one, and one more, so that
/// forgetting stalls none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// The newest so many.
    pub count: u64,
    /// Those of so long.
    pub span: Duration,
}

impl Default for Horizon {
    fn default() -> Self {
        Self {
            count: 1_000_000,
            span: Duration::from_secs(24 * 3_600),
        }
    }
}

impl Horizon {
    /// Outcomes in a page: so many that it stays one record.
    const PAGE_LEN_MAX: usize = 64;

    /// How many pages a commit may forget that adds `added`.
    fn forget_max(added: usize) -> usize {
        if added == 0 { 0 } else { 2 * added + 1 }
    }

    /// Whether a page committed at `at` is past it, when there are `newer` outcomes after it.
    fn is_past(&self, newer: u64, at: Time, now: Time) -> bool {
        newer >= self.count || now.since(at) > self.span
    }
}

/// How long events are kept: as long as they are among the newest `count` of their team and not
/// older than `span`, and until a sweep comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many of each team.
    pub count: u64,
    /// Those of so long.
    pub span: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            count: 1_000_000,
            span: Duration::from_secs(30 * 24 * 3_600),
        }
    }
}

impl Retention {
    /// Whether an event is past it, when `last` is its team's newest.
    fn is_past(&self, event: &Event, last: Revision, now: Time) -> bool {
        last.0.saturating_sub(event.revision.0) >= self.count || self.is_old(event.at, now)
    }

    fn is_old(&self, at: Time, now: Time) -> bool {
        now.since(at) > self.span
    }
}

/// The world broke under the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the directory.
    #[error("the data directory {} is in use by {holder}", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The process, as far as it is known.
        holder: String,
    },
    /// What was read can't be right.
    #[error("the database {} is damaged: {what}; {advice}", at.display())]
    Corrupt {
        /// The database's directory.
        at: PathBuf,
        /// What is wrong.
        what: String,
        /// What a person can do.
        advice: String,
    },
    /// What was durable is there no more, or not as it was.
    #[error(
        "the database {} is not what it was: {missing}; restore the newest backup, or go on \
         without what is missing by --accept-loss",
        at.display()
    )]
    Lost {
        /// The database's directory.
        at: PathBuf,
        /// What is missing.
        missing: String,
    },
    /// What is to be restored is no backup, or not a whole one.
    #[error("this is no sound backup: {what}")]
    BadBackup {
        /// What is wrong.
        what: &'static str,
    },
    /// A record of a version that is not known here.
    #[error(
        "made by a newer Ganger: {kind} record of version {version}, this one reads up to {known}"
    )]
    NewerFormat {
        /// What kind of record.
        kind: &'static str,
        /// Its version.
        version: u8,
        /// The newest version that is known here.
        known: u8,
    },
    /// No space is left.
    #[error("the disk under {} is full", at.display())]
    DiskFull {
        /// The data directory.
        at: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("{doing} {} failed", at.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file or directory.
        at: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// An I/O error, told apart from a full disk.
    pub(crate) fn io(doing: &'static str, at: impl Into<PathBuf>, source: io::Error) -> Self {
        let at = at.into();
        if source.kind() == io::ErrorKind::StorageFull {
            Self::DiskFull { at, source }
        } else {
            Self::Io { doing, at, source }
        }
    }
}
