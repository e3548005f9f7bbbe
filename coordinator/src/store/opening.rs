//! Opening a store: the generation in force, and a smaller one where the old one has grown.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use board::{
    id::{Epoch, TeamUid},
    time::Time,
};
use sled::Db;

use super::{
    Opened, Options, StoreError,
    codec::{CodecError, Commit, check_mark, decode_commit, decode_meta, decode_team},
    database::{self, Database},
    durable, generation,
    handed::{Counters, Handed},
    key,
    lock::DirLock,
    mark::{self, Mark, Marker, Marks},
    outcomes::{Explain, Outcomes},
    shelves::Shelves,
    sled_store::{SledStore, explain},
    stage::{self, Writes},
    tally::{self, Tallies, Tally},
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
                // A mark without a board is what is left of one.
                let lacks = Marks::read(dir).lacks(&Mark::of_nothing(), false);
                if let Some(missing) = lacks.filter(|_| options.accept_loss.is_none()) {
                    let at = dir.to_owned();
                    return Err(StoreError::Lost { at, missing });
                }
                generation::make_first(dir, options.cache_bytes)?;
                1
            }
        };
        let store = Self::open_generation(dir, current, options, lock)?;
        Ok((store, current))
    }

    /// Opens a generation, if all of it is there.
    fn open_generation(
        dir: &Path,
        number: u64,
        options: Options,
        lock: DirLock,
    ) -> Result<Self, StoreError> {
        let at = generation::path(dir, number);
        let db = database::open(&at, options.cache_bytes)?;
        let mut store = Self::from_db(db, at, options, lock)?;
        let marks = Marks::read(dir);
        for path in &marks.unreadable {
            tracing::warn!(path = %path.display(), "a mark of what was durable can't be read");
        }
        let lacks = marks.lacks(&store.mark(), store.is_counted);
        store.missing.extend(lacks);
        if let Some(epoch) = options.accept_loss {
            store.survey()?;
            if store.missing.is_empty() {
                tracing::warn!("nothing is missing: --accept-loss should be taken away again");
            } else {
                store.accept_loss(dir, marks.newest, epoch)?;
            }
        }
        store.check_whole()?;
        store.begin_marks(dir, &marks)?;
        Ok(store)
    }

    /// Fails where something is not as the last commit left it.
    pub(super) fn check_whole(&self) -> Result<(), StoreError> {
        match &self.missing[..] {
            [] => Ok(()),
            missing => Err(self.lost(missing.join("; "))),
        }
    }

    /// From now on the mark is kept up. What has none yet gets one.
    fn begin_marks(&mut self, dir: &Path, marks: &Marks) -> Result<(), StoreError> {
        let found = self.mark();
        if !self.is_counted {
            // Its record says from now on that there is a mark, and so there must be one.
            mark::write_both(dir, &found)?;
            self.write(|_| Ok(Writes::new()))?;
        }
        let is_written = marks.newest.is_some_and(|mark| mark == found.clean());
        let marker = Marker::start(dir, found, is_written);
        let marker = marker
            .map_err(|source| StoreError::io("starting to mark what is durable in", dir, source))?;
        self.marker = Some(marker);
        Ok(())
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
            database::copy(&self.db, &self.at, copy, cache_bytes)?;
            mark::write_both(to, &self.mark().clean())
        })
    }

    pub(super) fn from_db(
        db: Database,
        at: PathBuf,
        options: Options,
        lock: DirLock,
    ) -> Result<Self, StoreError> {
        let explain = |key: &[u8], error| explain(&at, key, error);
        let value = |key: &[u8]| database::guard(&at, "reading", || db.get(key));
        let key = key::commit();
        let commit = match value(&key)? {
            Some(value) => decode_commit(&value).map_err(|error| explain(&key, error))?,
            None => Commit::default(),
        };
        let expected = Tallies::of_numbers(&commit.records, &commit.sums);
        let mut found = Tallies::default();
        let gone = gone_teams(&db, &at, &mut found, &explain)?;
        let shelves = Shelves::open(&db, &at, options.retention, &gone, &explain)?;
        let outcomes = Outcomes::open(&db, &at, options.horizon, &mut found, &explain)?;
        let (counters, epoch) = count(&db, &at, &gone, &commit, &mut found, &explain)?;
        if let Some(value) = value(key::ATTEMPT_KEY)? {
            found.add(key::ATTEMPT_KEY, &value);
        }
        let watchdog = options.commit_limit.map(Watchdog::aborting_after);
        let watchdog = watchdog
            .transpose()
            .map_err(|source| StoreError::io("starting a watchdog over", &at, source))?;
        let mut store = Self {
            expected: Handed {
                ids: commit.ids,
                revisions: commit.revisions,
            },
            epoch,
            db,
            at,
            options,
            opened: Opened {
                commit: commit.number,
                time: Time(commit.at),
            },
            live_bytes: commit.live_bytes,
            tallies: expected.unwrap_or_default(),
            is_counted: expected.is_some(),
            counters,
            missing: Vec::new(),
            gone,
            shelves,
            outcomes,
            watchdog,
            backup: None,
            has_failed: false,
            marker: None,
            _lock: lock,
        };
        if expected.is_none() {
            store.tallies = store.count_again()?;
            return Ok(store);
        }
        let events = Tally {
            records: commit.events,
            sum: commit.events_sum,
        };
        let events = store.shelves.ends().differs(events, "revisions of events");
        let read = [key::GONE_TEAMS, key::OUTCOMES, key::TEAMS, key::ATTEMPT_KEY];
        let differs = |range| {
            let expected = store.tallies.get(range);
            found.get(range).differs(expected, tally::name(range))
        };
        let missing = read.into_iter().filter_map(differs).chain(events);
        store.missing = missing.collect();
        Ok(store)
    }

    /// Counts what a start reads.
    pub(super) fn count_again(&self) -> Result<Tallies, StoreError> {
        let mut found = Tallies::default();
        for range in tally::RANGES {
            let mut pairs = self.db.scan_prefix(range);
            while let Some((key, value)) =
                database::guard(&self.at, "reading", || pairs.next().transpose())?
            {
                found.add(&key, &value);
            }
        }
        Ok(found)
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
            db,
            options,
            marker,
            _lock,
            ..
        } = self;
        drop(db);
        drop(marker);
        generation::current(dir)?;
        Self::open_generation(dir, current, options, _lock)
    }
}

/// The teams that are gone, and of which something still lies here.
fn gone_teams(
    db: &Db,
    at: &Path,
    found: &mut Tallies,
    explain: Explain<'_>,
) -> Result<BTreeSet<TeamUid>, StoreError> {
    let mut gone = BTreeSet::new();
    let mut marks = db.scan_prefix(key::GONE_TEAMS);
    while let Some((key, value)) = database::guard(at, "reading", || marks.next().transpose())? {
        found.add(&key, &value);
        check_mark(&value).map_err(|error| explain(&key, error))?;
        let team = key::team_of(&key).ok_or(CodecError::Bad("key"));
        gone.insert(team.map_err(|error| explain(&key, error))?);
    }
    Ok(gone)
}

/// Counts what was handed out by the teams that are there, and tells the board's epoch.
fn count(
    db: &Db,
    at: &Path,
    gone: &BTreeSet<TeamUid>,
    commit: &Commit,
    found: &mut Tallies,
    explain: Explain<'_>,
) -> Result<(Counters, Epoch), StoreError> {
    let mut epoch = Epoch(0);
    let mut counters = Counters::new(Handed {
        ids: commit.ids_gone,
        revisions: commit.revisions_gone,
    });
    let key = key::meta();
    if let Some(value) = database::guard(at, "reading", || db.get(&key))? {
        let meta = decode_meta(&value).map_err(|error| explain(&key, error))?;
        epoch = meta.epoch;
        counters.note_meta(&meta);
    }
    let get = |piece: &[u8]| database::guard(at, "reading", || db.get(piece));
    let mut teams = db.scan_prefix(key::TEAMS);
    while let Some((key, value)) = database::guard(at, "reading", || teams.next().transpose())? {
        found.add(&key, &value);
        let uid = key::team_of(&key).ok_or(CodecError::Bad("key"));
        let uid = uid.map_err(|error| explain(&key, error))?;
        let value = stage::whole(Some(value), &key, at, get)?.unwrap_or_default();
        let team = decode_team(uid, &value).map_err(|error| explain(&key, error))?;
        if !gone.contains(&uid) {
            counters.note_team(&team);
        }
    }
    Ok((counters, epoch))
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
