//! One sled database in a directory: opened, made and copied so that none of sled's traps bites.
//!
//! Where a file is damaged, sled panics as often as it answers an error: when it opens, reads,
//! writes or is dropped, and in threads of its own. All of that happens under [`guard`], and no
//! such panic is printed: who called is told what could not be done.

use std::{
    cell::Cell,
    fs, io,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Once,
    thread,
    time::Duration,
};

use sled::{Db, IVec};

use super::{StoreError, durable};

/// The segment size of sled's log. What is longer than a quarter of it goes into files that sled
/// never syncs, and a node of sled's tree holds up to 20 records: see [`VALUE_LEN_MAX`].
const SEGMENT_LEN: usize = 512 * 1024;
/// The longest value that is written as one record. 20 of them, with keys, stay in the log as one
/// node.
pub(super) const VALUE_LEN_MAX: usize = 6 * 1_024;
const _: () = assert!(20 * (VALUE_LEN_MAX + 128) < SEGMENT_LEN / 4);

/// How often sled's own thread cleans up its file. Commits don't wait for it.
///
/// A pass ends at the first segment that it has emptied, even with time left (sled 0.34.7: there
/// `SegmentCleaner::pop` answers none, which `flusher::run` takes for the end). Commits clean up
/// too, by a page now and then, but too slowly for a busy board: with few passes its file grows
/// without end. Measured by `bench soak`, with the same sweeps: 1.8 MiB a second at 6,000 calls a
/// second and 2 passes a second, 0.8 MiB at 8,000 calls and 20 passes, and next to nothing at
/// 8,000 calls and 50 passes. Each pass costs an `fsync`, on an idle board too.
const CLEAN_EVERY_MS: u64 = 20;

/// Records, and bytes, of a step of a copy: longer unflushed bursts make sled bloat or hang.
const COPY_RECORDS_MAX: usize = 512;
const COPY_BYTES_MAX: usize = 256 * 1_024;

/// Opens a database that is there, or makes one.
pub(super) fn open(at: &Path, cache_bytes: u64) -> Result<Database, StoreError> {
    hush_panics();
    remove_unfinished_snapshots(at)?;
    let config = sled::Config::new()
        .path(at)
        .segment_size(SEGMENT_LEN)
        .cache_capacity(cache_bytes)
        .flush_every_ms(Some(CLEAN_EVERY_MS));
    // A thread of a database that was just closed may hold sled's lock a moment longer. Others
    // can't: the directory's own lock is held.
    for _ in 0..200 {
        match guard(at, "opening", || config.open()) {
            Err(StoreError::Io { source, .. }) if source.to_string().contains("acquire lock") => {
                thread::sleep(Duration::from_millis(10));
            }
            opened => return opened.map(|db| Database::new(db, at)),
        }
    }
    guard(at, "opening", || config.open()).map(|db| Database::new(db, at))
}

/// An open database, which may be dropped however damaged it is.
pub(super) struct Database {
    /// There until it is dropped.
    db: Option<Db>,
    at: PathBuf,
}

impl Database {
    fn new(db: Db, at: &Path) -> Self {
        let at = at.to_owned();
        Self { db: Some(db), at }
    }
}

impl Deref for Database {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.db.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let db = self.db.take();
        let closing = || {
            drop(db);
            Ok(())
        };
        if let Err(error) = guard(&self.at, "closing", closing) {
            tracing::error!(%error, "the database could not be closed in order");
        }
    }
}

thread_local! {
    /// This thread is in sled.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics inside sled from being printed: they are caught, or are in one of its threads, and
/// are told as what they mean.
fn hush_panics() {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = thread::current();
            let is_sleds = thread.name().is_some_and(|name| {
                // Those that write its log, and the one that flushes and cleans it.
                name.starts_with("sled-io") || name == "log flusher"
            });
            if IS_GUARDED.get() {
                tracing::debug!(%panic, "the database gave up");
            } else if is_sleds {
                tracing::error!("a thread of the database found that damaged, and ended");
                tracing::debug!(%panic, "the database gave up");
            } else {
                print(panic);
            }
        }));
    });
}

/// A crash while sled writes a snapshot leaves one half written, which it then takes for a whole
/// one. They only save time, and the half ones nothing.
fn remove_unfinished_snapshots(at: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("looking through", at, source);
    let entries = match fs::read_dir(at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())
                .map_err(|source| StoreError::io("removing", entry.path(), source))?;
        }
    }
    Ok(())
}

/// Runs something in sled. It panics as often as it answers an error when a file is damaged.
pub(super) fn guard<T>(
    at: &Path,
    doing: &'static str,
    run: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    let was_guarded = IS_GUARDED.replace(true);
    let answer = catch_unwind(AssertUnwindSafe(run));
    IS_GUARDED.set(was_guarded);
    match answer {
        Ok(answer) => answer.map_err(|error| failed(at, doing, error)),
        Err(_) => {
            let what = format!("what is needed for {doing} it can't be made out");
            Err(corrupt(at, what))
        }
    }
}

fn failed(at: &Path, doing: &'static str, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => StoreError::io(doing, at, source),
        other => corrupt(at, other.to_string()),
    }
}

/// Says that a database is damaged, and what to do.
pub(super) fn corrupt(at: &Path, what: impl Into<String>) -> StoreError {
    let advice = "move it aside, keep it, and restore the newest backup; \
                  beside it there may be an older generation, board-N, from the last compaction";
    StoreError::Corrupt {
        at: at.to_owned(),
        what: what.into(),
        advice: advice.to_owned(),
    }
}

/// Makes what was just created outlive a power cut. sled never syncs its directory.
pub(super) fn settle(db: &Db, at: &Path) -> Result<(), StoreError> {
    guard(at, "flushing", || db.flush())?;
    durable::sync_tree(at)
}

/// Copies a database into a new one at `to`, then opens the copy again and compares.
pub(super) fn copy(db: &Db, from: &Path, to: &Path, cache_bytes: u64) -> Result<(), StoreError> {
    let copy = open(to, cache_bytes)?;
    let mut seen = Sum::default();
    let mut batch = sled::Batch::default();
    let (mut records, mut bytes) = (0, 0);
    let mut pairs = db.iter();
    while let Some((key, value)) = guard(from, "reading", || pairs.next().transpose())? {
        seen.add(&key, &value);
        records += 1;
        bytes += key.len() + value.len();
        batch.insert(key, value);
        if records == COPY_RECORDS_MAX || bytes >= COPY_BYTES_MAX {
            let full = std::mem::take(&mut batch);
            guard(to, "writing", || copy.apply_batch(full).and(copy.flush()))?;
            (records, bytes) = (0, 0);
        }
    }
    guard(to, "writing", || copy.apply_batch(batch))?;
    settle(&copy, to)?;
    drop(copy);

    let copy = open(to, cache_bytes)?;
    let copied = sum(&copy, to)?;
    if copied != seen {
        return Err(corrupt(to, "a copy differs from what was copied"));
    }
    settle(&copy, to)
}

/// What a database holds, in a few numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sum {
    records: u64,
    pub(super) bytes: u64,
    crc: u32,
}

impl Sum {
    fn add(&mut self, key: &IVec, value: &IVec) {
        self.records += 1;
        self.bytes += (key.len() + value.len()) as u64;
        let mut hasher = crc32fast::Hasher::new_with_initial(self.crc);
        // Its length goes before, so that no byte can wander from a key to its value.
        hasher.update(&(key.len() as u64).to_be_bytes());
        hasher.update(key);
        hasher.update(value);
        self.crc = hasher.finalize();
    }
}

/// Reads everything.
pub(super) fn sum(db: &Db, at: &Path) -> Result<Sum, StoreError> {
    let mut sum = Sum::default();
    let mut pairs = db.iter();
    while let Some((key, value)) = guard(at, "reading", || pairs.next().transpose())? {
        sum.add(&key, &value);
    }
    Ok(sum)
}

/// Bytes of a database's files.
pub(super) fn len_on_disk(at: &Path) -> Result<u64, StoreError> {
    let failed = |source| StoreError::io("measuring", at, source);
    let mut dirs: Vec<PathBuf> = vec![at.to_owned()];
    let mut len = 0;
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let meta = entry.metadata().map_err(failed)?;
            if meta.is_dir() {
                dirs.push(entry.path());
            } else {
                len += meta.len();
            }
        }
    }
    Ok(len)
}
