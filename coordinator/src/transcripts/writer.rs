//! The writer: the one thread that owns the files.
//!
//! It takes what waits, does it in order, and syncs once for all that asked for it. Waiting is
//! async, for the sake of the timer; everything else is synchronous and may block.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::chunk::Chunk;
use super::disk::Disk;
use super::reader::Plan;
use super::segments::Segments;
use super::{AttemptKey, Extent, Limits, Record, TranscriptError, TranscriptRefusal, WriterThread};

/// How many calls make up a group at most, so that a sync is never put off for long.
const GROUP_MAX: usize = 256;

type Reply<T> = oneshot::Sender<Result<T, TranscriptError>>;

#[derive(Debug)]
pub(super) enum Command {
    Append {
        key: AttemptKey,
        records: Vec<Record>,
        reply: Reply<Extent>,
    },
    Sync {
        key: AttemptKey,
        reply: Reply<u64>,
    },
    Extent {
        key: AttemptKey,
        reply: Reply<Extent>,
    },
    Plan {
        key: AttemptKey,
        from_seq: u64,
        bytes: usize,
        reply: Reply<Plan>,
    },
    Watch {
        key: AttemptKey,
        reply: Reply<watch::Receiver<Extent>>,
    },
    Close {
        key: AttemptKey,
        reply: oneshot::Sender<()>,
    },
    Remove {
        keys: Vec<AttemptKey>,
        reply: Reply<()>,
    },
    Shutdown {
        reply: Reply<()>,
    },
}

/// Opens the files and starts the thread.
pub(super) fn spawn(
    folder: &Path,
    limits: Limits,
    commands: mpsc::Receiver<Command>,
) -> Result<(Arc<Disk>, WriterThread), TranscriptError> {
    let sync_after = limits.sync_after;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(TranscriptError::io("start the writer of", folder))?;
    let mut writer = Writer::open(folder, limits)?;
    let disk = Arc::clone(writer.segments.disk());
    let thread = std::thread::Builder::new()
        .name("transcripts".into())
        .spawn(move || runtime.block_on(writer.run(commands, sync_after)))
        .map_err(TranscriptError::io("start the writer of", folder))?;
    Ok((disk, thread))
}

/// An attempt that is being written.
#[derive(Debug, Default)]
struct Attempt {
    chunks: Vec<Chunk>,
    synced_through: u64,
    is_closing: bool,
}

impl Attempt {
    fn extent(&self) -> Extent {
        Extent {
            kept_through: self.chunks.last().map_or(0, |it| it.last_seq),
            synced_through: self.synced_through,
        }
    }
}

struct Writer {
    segments: Segments,
    attempts: HashMap<AttemptKey, Attempt>,
    watchers: HashMap<AttemptKey, watch::Sender<Extent>>,
    /// The attempts with records that no sync has covered yet.
    unsynced: BTreeSet<AttemptKey>,
    barriers: Vec<(u64, Reply<u64>)>,
    shutdown: Option<Reply<()>>,
}

impl Writer {
    fn open(folder: &Path, limits: Limits) -> Result<Self, TranscriptError> {
        Ok(Self {
            segments: Segments::open(folder, limits)?,
            attempts: HashMap::new(),
            watchers: HashMap::new(),
            unsynced: BTreeSet::new(),
            barriers: Vec::new(),
            shutdown: None,
        })
    }

    async fn run(
        &mut self,
        mut commands: mpsc::Receiver<Command>,
        sync_after: std::time::Duration,
    ) -> Result<(), TranscriptError> {
        let mut timer = pin!(sleep(sync_after));
        let mut is_armed = false;
        loop {
            let command = tokio::select! {
                biased;
                () = timer.as_mut(), if is_armed => None,
                command = commands.recv() => match command {
                    Some(command) => Some(command),
                    None => break,
                },
            };
            let must_sync = match command {
                None => true,
                Some(command) => {
                    self.handle_group(command, &mut commands)?;
                    !self.barriers.is_empty() || self.shutdown.is_some()
                }
            };
            if must_sync {
                if self.shutdown.is_some() {
                    self.end_run();
                }
                self.sync()?;
            }
            if self.shutdown.is_some() {
                break;
            }
            if !is_armed && !self.unsynced.is_empty() {
                timer.set(sleep(sync_after));
            }
            is_armed = !self.unsynced.is_empty();
        }
        self.end_run();
        self.sync()?;
        self.seal();
        // Before the reply: whoever hears of the end must find the door closed.
        drop(commands);
        if let Some(reply) = self.shutdown.take() {
            let _ = reply.send(Ok(()));
        }
        Ok(())
    }

    /// Without it, the next start takes this for a stop without notice: that is all.
    fn end_run(&mut self) {
        if let Err(err) = self.segments.end_run() {
            tracing::warn!(error = %err, "could not note the end of the transcripts");
        }
    }

    /// Gives what was written its index, so that the next start knows what there must be, whatever
    /// becomes of the segment meanwhile. Without it, that believes what is there.
    fn seal(&mut self) {
        if let Err(err) = self.segments.seal() {
            tracing::warn!(error = %err, "could not write the index of the last transcripts");
        }
    }

    /// Does what waits. Fails only where the disk is broken for good.
    fn handle_group(
        &mut self,
        first: Command,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<(), TranscriptError> {
        let mut next = Some(first);
        for _ in 0..GROUP_MAX {
            let Some(command) = next.take().or_else(|| commands.try_recv().ok()) else {
                break;
            };
            self.handle(command);
            if let Some(broken) = self.segments.disk().broken() {
                return Err(broken);
            }
            if self.shutdown.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Does one command. That nobody waits for the answer any more is no reason not to.
    fn handle(&mut self, command: Command) {
        match command {
            Command::Append {
                key,
                records,
                reply,
            } => {
                let _ = reply.send(self.append(key, &records));
            }
            Command::Sync { key, reply } => match self.extent(&key) {
                Ok(extent) if self.unsynced.contains(&key) => {
                    self.barriers.push((extent.kept_through, reply));
                }
                other => {
                    let _ = reply.send(other.map(|it| it.kept_through));
                }
            },
            Command::Extent { key, reply } => {
                let _ = reply.send(self.extent(&key));
            }
            Command::Plan {
                key,
                from_seq,
                bytes,
                reply,
            } => {
                let _ = reply.send(self.plan(&key, from_seq, bytes));
            }
            Command::Watch { key, reply } => {
                let _ = reply.send(self.watch(key));
            }
            Command::Close { key, reply } => {
                self.close(key);
                let _ = reply.send(());
            }
            Command::Remove { keys, reply } => {
                let _ = reply.send(self.remove(keys));
            }
            Command::Shutdown { reply } => self.shutdown = Some(reply),
        }
    }

    fn append(&mut self, key: AttemptKey, records: &[Record]) -> Result<Extent, TranscriptError> {
        // An attempt enters memory only with something to write: replays for one that ended
        // must not bring it back.
        let known = self.attempts.remove(&key);
        let is_known = known.is_some();
        let mut attempt = match known {
            Some(attempt) => attempt,
            None => self.load(&key)?,
        };
        let kept_through = attempt.extent().kept_through;
        let written = match unkept(records, kept_through, self.segments.is_end_missing()) {
            Ok(records) if !records.is_empty() => self
                .segments
                .append(key, records, &mut attempt.chunks)
                .map(|()| true),
            Ok(_) => Ok(false),
            Err(refusal) => Err(refusal.into()),
        };
        let extent = attempt.extent();
        if is_known || matches!(written, Ok(true)) {
            self.attempts.insert(key, attempt);
        }
        if written? {
            self.unsynced.insert(key);
            self.notify(&key, extent);
        }
        Ok(extent)
    }

    fn load(&mut self, key: &AttemptKey) -> Result<Attempt, TranscriptError> {
        let chunks = self.segments.load(key)?;
        let synced_through = chunks.last().map_or(0, |it| it.last_seq);
        Ok(Attempt {
            chunks,
            synced_through,
            is_closing: false,
        })
    }

    fn extent(&mut self, key: &AttemptKey) -> Result<Extent, TranscriptError> {
        match self.attempts.get(key) {
            Some(attempt) => Ok(attempt.extent()),
            None => Ok(self.load(key)?.extent()),
        }
    }

    fn plan(
        &mut self,
        key: &AttemptKey,
        from_seq: u64,
        bytes: usize,
    ) -> Result<Plan, TranscriptError> {
        let loaded;
        let attempt = match self.attempts.get(key) {
            Some(attempt) => attempt,
            None => {
                loaded = self.load(key)?;
                &loaded
            }
        };
        Plan::make(
            &self.segments,
            &attempt.chunks,
            attempt.extent(),
            from_seq,
            bytes,
        )
    }

    fn watch(&mut self, key: AttemptKey) -> Result<watch::Receiver<Extent>, TranscriptError> {
        self.watchers.retain(|_, it| it.receiver_count() > 0);
        if let Some(watcher) = self.watchers.get(&key) {
            return Ok(watcher.subscribe());
        }
        let (sender, receiver) = watch::channel(self.extent(&key)?);
        self.watchers.insert(key, sender);
        Ok(receiver)
    }

    fn notify(&self, key: &AttemptKey, extent: Extent) {
        if let Some(watcher) = self.watchers.get(key) {
            watcher.send_replace(extent);
        }
    }

    fn close(&mut self, key: AttemptKey) {
        if !self.unsynced.contains(&key) {
            self.attempts.remove(&key);
            self.watchers.remove(&key);
        } else if let Some(attempt) = self.attempts.get_mut(&key) {
            attempt.is_closing = true;
        }
    }

    fn remove(&mut self, mut keys: Vec<AttemptKey>) -> Result<(), TranscriptError> {
        keys.sort_unstable();
        for key in &keys {
            self.attempts.remove(key);
            self.watchers.remove(key);
            self.unsynced.remove(key);
        }
        self.segments.remove(&keys)
    }

    /// Syncs the group, and only then tells of it.
    fn sync(&mut self) -> Result<(), TranscriptError> {
        self.segments.sync()?;
        for key in std::mem::take(&mut self.unsynced) {
            let Some(attempt) = self.attempts.get_mut(&key) else {
                continue;
            };
            let kept_through = attempt.extent().kept_through;
            attempt.synced_through = kept_through;
            let is_closing = attempt.is_closing;
            self.notify(
                &key,
                Extent {
                    kept_through,
                    synced_through: kept_through,
                },
            );
            if is_closing {
                self.attempts.remove(&key);
                self.watchers.remove(&key);
            }
        }
        for (kept_through, reply) in self.barriers.drain(..) {
            let _ = reply.send(Ok(kept_through));
        }
        Ok(())
    }
}

/// The part of `records` that is not kept yet, once it is clear that it fits without a gap. Where
/// records `may_be_lost` that were told to be kept, the first may lie behind a gap: nobody has
/// them any more, and the reader is told.
fn unkept(
    records: &[Record],
    kept_through: u64,
    may_be_lost: bool,
) -> Result<&[Record], TranscriptRefusal> {
    let known = records.partition_point(|it| it.seq <= kept_through);
    let unkept = &records[known..];
    let first = unkept.first().map(|it| it.seq);
    let expected = first.filter(|_| may_be_lost).unwrap_or(kept_through + 1)..;
    for (record, expected) in unkept.iter().zip(expected) {
        if record.seq != expected {
            return Err(TranscriptRefusal::Gap {
                expected,
                found: record.seq,
            });
        }
    }
    Ok(unkept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: AttemptKey = AttemptKey {
        team: 1,
        task: 1,
        attempt: 1,
    };

    fn records(seqs: std::ops::RangeInclusive<u64>) -> Vec<Record> {
        let record = |seq| Record {
            seq,
            text: "0123456789".into(),
            ..Record::default()
        };
        seqs.map(record).collect()
    }

    #[test]
    fn closed_attempt_leaves_memory_once_synced_and_replays_do_not_bring_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), Limits::default()).unwrap();
        writer.append(KEY, &records(1..=3)).unwrap();
        drop(writer.watch(KEY).unwrap());

        writer.close(KEY);
        assert_eq!(writer.attempts.len(), 1);
        writer.sync().unwrap();
        let replayed = writer.append(KEY, &records(1..=3)).unwrap();
        let ahead = writer.append(KEY, &records(5..=5));

        assert_eq!(replayed.synced_through, 3);
        assert!(matches!(ahead, Err(TranscriptError::Refused(_))));
        assert!(writer.attempts.is_empty());
        assert!(writer.watchers.is_empty());
        assert!(writer.unsynced.is_empty());
    }

    #[test]
    fn followers_that_left_leave_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), Limits::default()).unwrap();
        for task in 1..=100 {
            drop(writer.watch(AttemptKey { task, ..KEY }).unwrap());
        }

        assert_eq!(writer.watchers.len(), 1);
        assert!(writer.attempts.is_empty());
    }
}
