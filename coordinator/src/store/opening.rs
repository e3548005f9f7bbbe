//! Opening a store: the generation in force, and a smaller one where the old one has grown.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use board::{id::TeamUid, time::Time};
use sled::Db;

use super::{
    Opened, Options, StoreError,
    codec::{CodecError, Commit, check_mark, decode_commit},
    database, durable, generation, key,
    lock::DirLock,
    outcomes::{Explain, Outcomes},
    shelves::Shelves,
    sled_store::{SledStore, explain},
    watchdog::Watchdog,
};

impl SledStore {
    /// Opens the store in a directory, or makes one there. A database that has grown far beyond
    /// what lives in it is compacted first.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        let (store, current) = Self::open_as_it_is(dir, options)?;
        let len = database::len_on_disk(&store.at)?;
        let fair = store.live_bytes.saturating_mul(4);
        if len <= fair.saturating_add(options.slack_bytes) {
            return Ok(store);
        }
        let made = store.make_compact(dir, current + 1);
        if let Err(error) = made {
            // That it can't be done is no reason not to start.
            tracing::warn!(%error, "the database could not be compacted and stays as it was");
            // What is left of it is looked for again at the next start.
            let _ = generation::remove_unfinished(dir, current + 1);
            return Ok(store);
        }
        store.moved(dir, current + 1)
    }

    /// Compacts the store in a directory, however large it is. Answers the bytes of its files
    /// before and after.
    pub fn compact(dir: &Path) -> Result<(u64, u64), StoreError> {
        let (store, current) = Self::open_as_it_is(dir, Options::default())?;
        let before = database::len_on_disk(&store.at)?;
        store.make_compact(dir, current + 1)?;
        let store = store.moved(dir, current + 1)?;
        Ok((before, database::len_on_disk(&store.at)?))
    }

    fn open_as_it_is(dir: &Path, options: Options) -> Result<(Self, u64), StoreError> {
        create_dir(dir)?;
        let lock = DirLock::take(dir)?;
        let current = match generation::current(dir)? {
            Some(number) => number,
            None => {
                generation::make_first(dir, options.cache_bytes)?;
                1
            }
        };
        let at = generation::path(dir, current);
        let db = database::open(&at, options.cache_bytes)?;
        Ok((Self::from_db(db, at, options, lock)?, current))
    }

    /// Copies everything into a directory that is not there yet or empty, and compares the copy.
    /// A store can be opened there. It is consistent: nothing is committed meanwhile.
    pub fn export(&self, to: &Path) -> Result<(), StoreError> {
        create_dir(to)?;
        let is_empty = fs::read_dir(to).map(|mut entries| entries.next().is_none());
        if !is_empty.map_err(|source| StoreError::io("looking through", to, source))? {
            let source = io::Error::from(io::ErrorKind::DirectoryNotEmpty);
            return Err(StoreError::io("copying to", to, source));
        }
        let cache_bytes = self.options.cache_bytes;
        generation::make(to, 1, |copy| {
            database::copy(&self.db, &self.at, copy, cache_bytes)
        })
    }

    pub(super) fn from_db(
        db: Db,
        at: PathBuf,
        options: Options,
        lock: DirLock,
    ) -> Result<Self, StoreError> {
        let explain = |key: &[u8], error| explain(&at, key, error);
        let key = key::commit();
        let commit = match database::guard(&at, "reading", || db.get(&key))? {
            Some(value) => decode_commit(&value).map_err(|error| explain(&key, error))?,
            None => Commit::default(),
        };
        let gone = gone_teams(&db, &at, &explain)?;
        let shelves = Shelves::open(&db, &at, options.retention, &explain)?;
        let outcomes = Outcomes::open(&db, &at, options.horizon, &explain)?;
        let watchdog = options.commit_limit.map(Watchdog::aborting_after);
        let watchdog = watchdog
            .transpose()
            .map_err(|source| StoreError::io("starting a watchdog over", &at, source))?;
        Ok(Self {
            db,
            at,
            options,
            opened: Opened {
                commit: commit.number,
                time: Time(commit.at),
            },
            live_bytes: commit.live_bytes,
            gone,
            shelves,
            outcomes,
            watchdog,
            backup: None,
            has_failed: false,
            _lock: lock,
        })
    }

    /// Copies what lives into a generation of its own.
    fn make_compact(&self, dir: &Path, next: u64) -> Result<(), StoreError> {
        tracing::info!(live = self.live_bytes, "compacting the database");
        let cache_bytes = self.options.cache_bytes;
        generation::make(dir, next, |copy| {
            database::copy(&self.db, &self.at, copy, cache_bytes)
        })
    }

    /// Goes on in the generation that is in force now.
    fn moved(self, dir: &Path, current: u64) -> Result<Self, StoreError> {
        let Self {
            db, options, _lock, ..
        } = self;
        drop(db);
        generation::current(dir)?;
        let at = generation::path(dir, current);
        let db = database::open(&at, options.cache_bytes)?;
        Self::from_db(db, at, options, _lock)
    }
}

/// The teams that are gone, and of which something still lies here.
fn gone_teams(db: &Db, at: &Path, explain: Explain<'_>) -> Result<BTreeSet<TeamUid>, StoreError> {
    let mut gone = BTreeSet::new();
    let mut marks = db.scan_prefix(key::GONE_TEAMS);
    while let Some((key, value)) = database::guard(at, "reading", || marks.next().transpose())? {
        check_mark(&value).map_err(|error| explain(&key, error))?;
        let team = key::team_of(&key).ok_or(CodecError::Bad("key"));
        gone.insert(team.map_err(|error| explain(&key, error))?);
    }
    Ok(gone)
}

/// Makes a directory, and makes that durable.
pub(super) fn create_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|source| StoreError::io("making", dir, source))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => durable::sync(parent),
        _ => Ok(()),
    }
}
