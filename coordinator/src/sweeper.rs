//! Removing files that no task needs any more (K15).
//!
//! A transcript goes when its task is not on the board any more: because the task expired, was
//! deleted, or its team is gone. Transcripts lie in segments, and a segment is removed when that
//! holds for all of it. An artifact goes when no task names it and nobody has named it, uploaded
//! it or looked it up for a new task for a day.
//!
//! Nothing is noted down for a sweep. Each looks at what lies there and asks the board, so it
//! doesn't matter where a process was killed: the next sweep finds what is left. Everything is
//! asked in small questions that stand in line with all others, so no commit waits long.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use board::id::{TaskId, TaskKey, TeamUid};
use tokio_util::sync::CancellationToken;

use crate::{
    artifacts::{ArtifactError, ArtifactStore, Digest},
    clock::Clock,
    handle::{Handle, Unavailable},
    store::{StoreError, TaskPlace},
    transcripts::{AttemptKey, TranscriptError, Transcripts},
};

#[cfg(test)]
mod tests;

/// How long after a start files are looked at first, and how often transcripts are.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Artifacts are looked at with each so-and-so-many-th sweep: that reads all tasks.
const ARTIFACTS_EVERY: u32 = 60;
/// How long an artifact is kept that no task names.
pub const ARTIFACTS_KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Artifacts that one sweep looks at. The rest is looked at by the next ones.
const ARTIFACTS_PER_SWEEP: usize = 100_000;
/// Tasks that one question reads from the store: a millisecond's work.
const TASKS_PER_STEP: usize = 64;
/// How long the next such question waits, so that they never take more than a small part of the
/// driver's time.
const STEP_PAUSE: Duration = Duration::from_millis(5);
/// Tasks that one question looks up in memory.
const LOOKED_UP_PER_STEP: usize = 1_000;

/// What was removed since the start.
#[derive(Debug, Default)]
pub struct Swept {
    artifacts: AtomicU64,
    artifact_bytes: AtomicU64,
    segments: AtomicU64,
    segment_bytes: AtomicU64,
}

/// [`Swept`], at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweptView {
    /// Artifacts.
    pub artifacts: u64,
    /// Their bytes.
    pub artifact_bytes: u64,
    /// Segments of transcripts.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
}

impl Swept {
    /// What was removed by now.
    pub fn view(&self) -> SweptView {
        SweptView {
            artifacts: self.artifacts.load(Relaxed),
            artifact_bytes: self.artifact_bytes.load(Relaxed),
            segments: self.segments.load(Relaxed),
            segment_bytes: self.segment_bytes.load(Relaxed),
        }
    }
}

/// Why a sweep ended early. The next one begins anew.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The driver can't be asked.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A task can't be read: which artifacts it names isn't known, so none may go.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The artifacts can't be looked at, or removed.
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    /// The transcripts can't be.
    #[error(transparent)]
    Transcripts(#[from] TranscriptError),
    /// A thread can't be had for it.
    #[error("the file system could not be asked: {0}")]
    Blocking(#[from] tokio::task::JoinError),
}

/// Removes files that no task needs.
pub struct Sweeper {
    /// The front of the driver.
    pub handle: Handle,
    /// What is swept.
    pub artifacts: ArtifactStore,
    /// What is swept.
    pub transcripts: Transcripts,
    /// The present moment.
    pub clock: Clock,
    /// What was removed.
    pub swept: Arc<Swept>,
    /// A task in each segment that was on the board when it was looked for: as long as it is, the
    /// segment stays.
    witnesses: BTreeMap<u32, TaskKey>,
    /// The last artifact that was looked at, where there are more than one sweep looks at.
    artifacts_after: Option<Digest>,
}

impl Sweeper {
    /// One that has not looked at anything yet.
    pub fn new(
        handle: Handle,
        artifacts: ArtifactStore,
        transcripts: Transcripts,
        clock: Clock,
        swept: Arc<Swept>,
    ) -> Self {
        Self {
            handle,
            artifacts,
            transcripts,
            clock,
            swept,
            witnesses: BTreeMap::new(),
            artifacts_after: None,
        }
    }

    /// Sweeps again and again, until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut sweeps: u32 = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
            let with_artifacts = sweeps.is_multiple_of(ARTIFACTS_EVERY);
            sweeps = sweeps.wrapping_add(1);
            let swept = tokio::select! {
                () = stop.cancelled() => return,
                swept = self.sweep(with_artifacts) => swept,
            };
            if let Err(error) = swept {
                tracing::warn!(%error, "a sweep of files ended early");
            }
        }
    }

    async fn sweep(&mut self, with_artifacts: bool) -> Result<(), SweepError> {
        self.sweep_transcripts().await?;
        if with_artifacts {
            self.sweep_artifacts(ARTIFACTS_KEPT_FOR).await?;
        }
        Ok(())
    }

    /// Removes the segments of transcripts all of whose tasks are gone.
    pub async fn sweep_transcripts(&mut self) -> Result<(), SweepError> {
        let segments = self.transcripts.sealed_segments().await?;
        self.witnesses
            .retain(|segment, _| segments.contains(segment));
        let witnesses: Vec<(u32, TaskKey)> = self.witnesses.clone().into_iter().collect();
        for some in witnesses.chunks(LOOKED_UP_PER_STEP) {
            let keys = some.iter().map(|(_, key)| *key).collect();
            let there = self.there(keys).await?;
            let gone = some.iter().filter(|(_, key)| !there.contains(key));
            for (segment, _) in gone {
                self.witnesses.remove(segment);
            }
        }
        for segment in segments {
            if !self.witnesses.contains_key(&segment) {
                self.sweep_segment(segment).await?;
            }
        }
        Ok(())
    }

    async fn sweep_segment(&mut self, segment: u32) -> Result<(), SweepError> {
        let Some(lies_there) = self.transcripts.attempts_in(segment).await? else {
            return Ok(());
        };
        // The newest task mostly stays the longest.
        for some in lies_there.attempts.rchunks(LOOKED_UP_PER_STEP) {
            let there = self.there(some.iter().map(task_of).collect()).await?;
            if let Some(witness) = there.last() {
                self.witnesses.insert(segment, *witness);
                return Ok(());
            }
        }
        let attempts = lies_there.attempts.len();
        self.transcripts.remove(lies_there.attempts).await?;
        self.swept.segments.fetch_add(1, Relaxed);
        self.swept
            .segment_bytes
            .fetch_add(lies_there.bytes, Relaxed);
        tracing::info!(
            segment,
            attempts,
            bytes = lies_there.bytes,
            "removed transcripts of tasks that are gone"
        );
        Ok(())
    }

    /// Those of some tasks that are on the board.
    async fn there(&self, keys: Vec<TaskKey>) -> Result<BTreeSet<TaskKey>, Unavailable> {
        let look = move |reader: &mut crate::engine::Reader<'_>| reader.those_there(keys);
        self.handle.read(look).await
    }

    /// Removes the artifacts that no task names and that nobody has used for so long.
    pub async fn sweep_artifacts(&mut self, kept_for: Duration) -> Result<(), SweepError> {
        let before = self.moment(kept_for);
        let (store, after) = (self.artifacts.clone(), self.artifacts_after.take());
        let listing = move || store.unused_since(before, after, ARTIFACTS_PER_SWEEP);
        let mut unused = tokio::task::spawn_blocking(listing).await??;
        if unused.len() >= ARTIFACTS_PER_SWEEP {
            self.artifacts_after = unused.last().copied();
        }
        let mut unnamed: BTreeSet<Digest> = unused.drain(..).collect();
        if unnamed.is_empty() {
            return Ok(());
        }
        // What is named from now on is noted by the engine; what was before is in the store.
        self.handle.read(|reader| reader.note_artifacts()).await?;
        let mut place = Some(TaskPlace::default());
        while let Some(from) = place.filter(|_| !unnamed.is_empty()) {
            let look = move |reader: &mut crate::engine::Reader<'_>| {
                reader.artifacts_named(from, TASKS_PER_STEP)
            };
            let (named, next) = self.handle.read(look).await??;
            for digest in named {
                unnamed.remove(&Digest::from(digest.0));
            }
            place = next;
            tokio::time::sleep(STEP_PAUSE).await;
        }
        let noted = self.handle.read(|reader| reader.noted_artifacts()).await?;
        for digest in noted {
            unnamed.remove(&Digest::from(digest.0));
        }
        if unnamed.is_empty() {
            return Ok(());
        }
        let store = self.artifacts.clone();
        let removing = move || store.remove_unused(&unnamed, before);
        let (count, bytes) = tokio::task::spawn_blocking(removing).await??;
        self.swept.artifacts.fetch_add(count, Relaxed);
        self.swept.artifact_bytes.fetch_add(bytes, Relaxed);
        tracing::info!(count, bytes, "removed artifacts that no task names");
        Ok(())
    }

    /// The moment so long ago.
    fn moment(&self, ago: Duration) -> SystemTime {
        let at = self.clock.now() - ago;
        SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
    }
}

fn task_of(key: &AttemptKey) -> TaskKey {
    (TeamUid(key.team), TaskId(key.task))
}
