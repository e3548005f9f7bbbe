//! Transcripts: what attempts said and did, in files beside the database.
//!
//! Owns `<data>/transcripts`: segments, to which the records of all attempts are appended as
//! checksummed frames, and an index file for each segment that is full, or was written to last before
//! a stop: so damage to its end can be told from a torn one. One thread writes;
//! [`Transcripts`] is its front. An attempt without records makes no file.
//!
//! Knows nothing of what a record says, which attempts exist, or who may read them.
//!
//! Invariants:
//! 1. The records of an attempt are numbered from 1 without gaps. Those kept already are
//!    ignored when they come again, so a worker may replay.
//! 2. What [`Transcripts::sync`] answered survives a power cut. What was only appended survives
//!    the process, and a power cut as soon as the next group is synced.
//! 3. A transcript beyond its bounds is cut in the middle, and every reader is told what was cut.
//! 4. After a failed sync no call succeeds: nothing about the files can be trusted any more.
//! 5. A damaged frame costs its record alone, and every reader is told that it is missing. A
//!    segment is never made shorter, but for an incomplete last frame after an unclean stop.
//!
//! Reading order: `record`, `frame` (a record on disk; `frame_1` as it was before), `walk` (from
//! frame to frame), `chunk` (the index of an attempt), `segments`, `sealed` and `scan` (the files),
//! `writer` (the thread), `reader`.
//!
//! The surprising thing: reading walks back. A frame names the attempt's frame before it, so an
//! index entry per some 64 KiB finds all records, though thousands of attempts lie interleaved.

mod chunk;
mod disk;
mod frame;
mod frame_1;
mod reader;
mod record;
mod scan;
mod sealed;
mod segments;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use disk::Disk;
pub use reader::{Cut, Damaged, Item, Page, PageBounds};
use record::COUNTED_BYTES;
pub use record::{CallStatus, Kind, RECORD_NAME_BYTES_MAX, RECORD_TEXT_BYTES_MAX, Record};
use writer::Command;

/// The most that one append may carry, each record counted with 56 bytes more: four times an
/// attempt's credit.
pub const APPEND_BYTES_MAX: usize = 1 << 20;

/// How many calls may wait for the thread; more wait in their callers.
const COMMANDS_WAITING_MAX: usize = 64;

/// Which attempt of which task of which team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey {
    /// The team's uid.
    pub team: u64,
    /// The task's number in its team.
    pub task: u64,
    /// The attempt's number in its task.
    pub attempt: u32,
}

/// How far an attempt's records have come. `synced_through` never passes `kept_through`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// The last record that is kept and can be read; 0 where there is none.
    pub kept_through: u64,
    /// The last record that survives a power cut.
    pub synced_through: u64,
}

/// The bounds of a store. The defaults are the product's; tests use smaller ones.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A segment of this size is sealed. At the next start up to this much is scanned.
    pub segment_bytes: u32,
    /// So is one with records of this many attempts: it bounds what is held in memory.
    pub segment_attempts: usize,
    /// How much of an attempt's beginning is kept, each record counted with 56 bytes more.
    pub head_bytes: u64,
    /// How much of its newest records is kept beyond that.
    pub tail_bytes: u64,
    /// How much of an attempt one entry of the index stands for, and is cut at once.
    pub chunk_bytes: u32,
    /// How long an appended record waits at most until the group's sync is begun. Half of the
    /// promised second, so that a slow disk keeps the promise too.
    pub sync_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            segment_attempts: 16_384,
            head_bytes: 8 << 20,
            tail_bytes: 8 << 20,
            chunk_bytes: 64 << 10,
            sync_after: Duration::from_millis(500),
        }
    }
}

/// What lies in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiesThere {
    /// The attempts, in order.
    pub attempts: Vec<AttemptKey>,
    /// The bytes of its file.
    pub bytes: u64,
}

/// The answer "no" to an append; nothing of it is kept, and nothing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptRefusal {
    /// A record is missing before this one.
    #[error("record {found} follows where {expected} was expected")]
    Gap {
        /// The number that would have fitted.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A record's text is over the limit, or its call id or name is.
    #[error(
        "record {seq} has {bytes} bytes: its text may have {RECORD_TEXT_BYTES_MAX}, \
         its call id and name {RECORD_NAME_BYTES_MAX} each"
    )]
    RecordTooLarge {
        /// Which record.
        seq: u64,
        /// How large it is.
        bytes: usize,
    },
    /// The records of one call are over the limit together.
    #[error("append of {bytes} bytes, more than {APPEND_BYTES_MAX}")]
    AppendTooLarge {
        /// How large they are, each counted with 56 bytes more.
        bytes: usize,
    },
}

/// Why a call did not succeed: a refusal, or something failed.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// An expected "no".
    #[error(transparent)]
    Refused(#[from] TranscriptRefusal),
    /// The file system failed; what was asked for did not happen, other calls may succeed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A segment is not what it was.
    #[error("transcript segment {} is damaged at byte {offset}", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A segment was written by another version of this program, or its head can't be read.
    #[error("transcript segment {} has an unknown format", path.display())]
    UnknownFormat {
        /// The segment.
        path: PathBuf,
    },
    /// A sync failed, now or earlier: the store answers no call any more.
    #[error("transcripts cannot be made durable: sync of {} failed", path.display())]
    Poisoned {
        /// What was to be synced.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The store was shut down, or its thread died.
    #[error("transcripts are shut down")]
    Stopped,
}

impl TranscriptError {
    /// Whether there was no room on the disk.
    pub fn is_disk_full(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        };
        source.is_some_and(|source| source.kind() == io::ErrorKind::StorageFull)
    }

    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// What the writer's thread ended with: a failure if the store is poisoned.
pub type WriterThread = JoinHandle<Result<(), TranscriptError>>;

/// The front of the transcripts. Cheap to clone. All calls stand in one line, so each sees what
/// an earlier one did. A call dropped while it waits may still take effect.
#[derive(Debug, Clone)]
pub struct Transcripts {
    commands: mpsc::Sender<Command>,
    disk: Arc<Disk>,
}

impl Transcripts {
    /// Opens the transcripts in `folder`, making it where it is missing, and starts the writer's
    /// thread. **Blocks**: it reads the index files and scans the newest segment, of which an
    /// incomplete last frame is cut. The thread ends with the last clone, after [`shutdown`](Self::shutdown),
    /// and when a sync fails. The caller holds the data directory's lock.
    pub fn open(folder: &Path, limits: Limits) -> Result<(Self, WriterThread), TranscriptError> {
        let (commands, waiting) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (disk, thread) = writer::spawn(folder, limits, waiting)?;
        Ok((Self { commands, disk }, thread))
    }

    /// Keeps the records that are not kept yet, all or none of them, and answers how far the
    /// attempt has come. They can be read at once and are durable with the next group. After an
    /// unclean stop, records may be missing before the first: they are told as damaged.
    pub async fn append(
        &self,
        key: AttemptKey,
        records: Vec<Record>,
    ) -> Result<Extent, TranscriptError> {
        check_sizes(&records)?;
        self.ask(|reply| Command::Append {
            key,
            records,
            reply,
        })
        .await?
    }

    /// Makes all records of the attempt that were appended before durable, and answers the last
    /// of them. Free where they are; else one sync serves all attempts that wait.
    pub async fn sync(&self, key: AttemptKey) -> Result<u64, TranscriptError> {
        self.ask(|reply| Command::Sync { key, reply }).await?
    }

    /// The last record kept of the attempt; 0 where there is none.
    pub async fn kept_through(&self, key: AttemptKey) -> Result<u64, TranscriptError> {
        let extent = self.ask(|reply| Command::Extent { key, reply }).await??;
        Ok(extent.kept_through)
    }

    /// The records of an attempt from number `from_seq` on, as many as the bounds allow but at
    /// least one if there is one; none of an attempt that is not known. The cut of a long
    /// transcript is an item of its own, also when `from_seq` lies within it, and so are records
    /// that can't be read.
    pub async fn read(
        &self,
        key: AttemptKey,
        from_seq: u64,
        bounds: PageBounds,
    ) -> Result<Page, TranscriptError> {
        let from_seq = from_seq.max(1);
        let plan = self.ask(|reply| Command::Plan {
            key,
            from_seq,
            bytes: bounds.bytes,
            reply,
        });
        let plan = plan.await??;
        tokio::task::spawn_blocking(move || reader::read_page(&plan, key, from_seq, &bounds))
            .await
            .map_err(|_| TranscriptError::Stopped)?
    }

    /// Follows how far an attempt has come, from before its first record if need be. Only
    /// positions are sent, and only the newest is held: a slow reader costs nothing, it reads
    /// the records when it gets to them.
    pub async fn watch(&self, key: AttemptKey) -> Result<Subscription, TranscriptError> {
        let extents = self.ask(|reply| Command::Watch { key, reply }).await??;
        Ok(Subscription { extents })
    }

    /// Lets an attempt that ended leave memory, once its records are durable, and ends its
    /// subscriptions. It can still be read.
    pub async fn close(&self, key: AttemptKey) -> Result<(), TranscriptError> {
        self.ask(|reply| Command::Close { key, reply }).await
    }

    /// Forgets attempts for good; doing it twice is safe. Segments of which nothing is left are
    /// deleted, the space of the others waits for that. Costs a new index file for each segment
    /// touched, so it should be given many attempts at once.
    pub async fn remove(&self, keys: Vec<AttemptKey>) -> Result<(), TranscriptError> {
        self.ask(|reply| Command::Remove { keys, reply }).await?
    }

    /// The segments that are full, oldest first. **Blocks** on the disk, on a thread for that.
    pub async fn sealed_segments(&self) -> Result<Vec<u32>, TranscriptError> {
        let disk = Arc::clone(&self.disk);
        let listed = tokio::task::spawn_blocking(move || disk.sealed());
        listed.await.map_err(|_| TranscriptError::Stopped)?
    }

    /// The attempts of which something lies in a full segment, in order; none where it isn't
    /// there, or is just being written anew. Doesn't keep the writer from its work.
    pub async fn attempts_in(&self, segment: u32) -> Result<Option<LiesThere>, TranscriptError> {
        let disk = Arc::clone(&self.disk);
        let looked = tokio::task::spawn_blocking(move || {
            let Some(sealed) = sealed::Sealed::open(&disk, segment)? else {
                return Ok(None);
            };
            // Written anew between the two looks it reads as damaged: the next look will tell.
            let Ok(entries) = sealed.read_all(&disk, segment) else {
                return Ok(None);
            };
            Ok(Some(LiesThere {
                attempts: entries.into_keys().collect(),
                bytes: disk.segment_bytes(segment),
            }))
        });
        looked.await.map_err(|_| TranscriptError::Stopped)?
    }

    /// Makes everything durable and ends the thread. Later calls answer `Stopped`.
    pub async fn shutdown(&self) -> Result<(), TranscriptError> {
        self.ask(|reply| Command::Shutdown { reply }).await?
    }

    /// How often records were synced since the start, for the metrics.
    pub fn data_syncs(&self) -> u64 {
        self.disk.data_syncs()
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, TranscriptError> {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(command(reply)).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return Ok(answer);
        }
        Err(self.disk.broken().unwrap_or(TranscriptError::Stopped))
    }
}

fn check_sizes(records: &[Record]) -> Result<(), TranscriptRefusal> {
    let mut bytes = 0;
    for record in records {
        if !record.fits() {
            return Err(TranscriptRefusal::RecordTooLarge {
                seq: record.seq,
                bytes: record.content_bytes(),
            });
        }
        bytes += COUNTED_BYTES + record.content_bytes();
    }
    if bytes > APPEND_BYTES_MAX {
        return Err(TranscriptRefusal::AppendTooLarge { bytes });
    }
    Ok(())
}

/// A view of how far one attempt has come.
#[derive(Debug)]
pub struct Subscription {
    extents: watch::Receiver<Extent>,
}

impl Subscription {
    /// How far it has come by now.
    pub fn extent(&mut self) -> Extent {
        *self.extents.borrow_and_update()
    }

    /// Waits until it has come further than was last seen here; `None` when the attempt is
    /// closed or the store stopped. Cancel safe.
    pub async fn changed(&mut self) -> Option<Extent> {
        self.extents.changed().await.ok()?;
        Some(self.extent())
    }
}
