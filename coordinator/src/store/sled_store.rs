//! The store on a disk, in sled 0.34.
//!
//! Its caller is the one thread that writes; nothing else here does, but for sled's own clean-up.
//! Every commit is one atomic batch and one blocking flush.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use board::{
    event::Event,
    id::{MemberName, MessageId, Revision, TaskId, TeamUid},
    mail::Letter,
    record::{Outcome, Record, RequestKey},
    task::Task,
    time::Time,
};
use sled::{Db, IVec};

use super::{
    Batch, Horizon, Opened, OutcomesKept, Store, StoreError,
    codec::{
        CodecError, Commit, Names, check_mark, decode_commit, decode_letter, decode_member,
        decode_meta, decode_offered, decode_outcomes, decode_stub, decode_task, decode_team,
        encode_commit, encode_event_pages,
    },
    database, durable, generation, key,
    lock::DirLock,
    outcomes::{Explain, Outcomes},
    records::put_record,
    stage::{self, Stage},
    watchdog::Watchdog,
};

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Memory for pages of the database.
    pub cache_bytes: u64,
    /// How long outcomes are remembered.
    pub horizon: Horizon,
    /// A commit that takes longer ends the process. None turns that off.
    pub commit_limit: Option<Duration>,
    /// How far a database may grow beyond four times what lives in it before a start compacts it.
    pub slack_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 16 * 1024 * 1024,
            horizon: Horizon::default(),
            commit_limit: Some(Duration::from_secs(10)),
            slack_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A store in a directory. See the [module](self).
pub struct SledStore {
    db: Db,
    /// The directory of the generation in force.
    at: PathBuf,
    options: Options,
    opened: Opened,
    live_bytes: u64,
    /// Teams that are gone, and of which something still lies here.
    gone: BTreeSet<TeamUid>,
    outcomes: Outcomes,
    watchdog: Option<Watchdog>,
    /// A commit failed: what is on the disk isn't known any more.
    has_failed: bool,
    /// Last, so that it is given up when all else is closed.
    _lock: DirLock,
}

impl fmt::Debug for SledStore {
    /// Without what is in it: sled would print all of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore")
            .field("at", &self.at)
            .field("opened", &self.opened)
            .field("live_bytes", &self.live_bytes)
            .finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens the store in a directory, or makes one there. A database that has grown far beyond
    /// what lives in it is compacted first.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
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
        let store = Self::from_db(db, at, options, lock)?;
        store.compacted(dir, current)
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

    fn from_db(db: Db, at: PathBuf, options: Options, lock: DirLock) -> Result<Self, StoreError> {
        let explain = |key: &[u8], error| explain(&at, key, error);
        let key = key::commit();
        let commit = match database::guard(&at, "reading", || db.get(&key))? {
            Some(value) => decode_commit(&value).map_err(|error| explain(&key, error))?,
            None => Commit::default(),
        };
        let gone = gone_teams(&db, &at, &explain)?;
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
            outcomes,
            watchdog,
            has_failed: false,
            _lock: lock,
        })
    }

    /// Compacts where that is worth while. That it can't be done is no reason not to start.
    fn compacted(self, dir: &Path, current: u64) -> Result<Self, StoreError> {
        let len = database::len_on_disk(&self.at)?;
        let fair = self.live_bytes.saturating_mul(4);
        if len <= fair.saturating_add(self.options.slack_bytes) {
            return Ok(self);
        }
        let (live, next) = (self.live_bytes, current + 1);
        tracing::info!(len, live, "compacting the database");
        let cache_bytes = self.options.cache_bytes;
        let made = generation::make(dir, next, |copy| {
            database::copy(&self.db, &self.at, copy, cache_bytes)
        });
        if let Err(error) = made {
            tracing::warn!(%error, "the database could not be compacted and stays as it was");
            // What is left of it is looked for again at the next start.
            let _ = generation::remove_unfinished(dir, next);
            return Ok(self);
        }
        let Self {
            db, options, _lock, ..
        } = self;
        drop(db);
        generation::current(dir)?;
        let at = generation::path(dir, next);
        let db = database::open(&at, options.cache_bytes)?;
        Self::from_db(db, at, options, _lock)
    }

    /// The database, where it lies, and the bytes that live in it.
    pub(super) fn parts(&self) -> (&Db, &Path, u64) {
        (&self.db, &self.at, self.live_bytes)
    }

    fn value(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.put_together(key, self.raw(key)?)
    }

    pub(super) fn put_together(
        &self,
        key: &[u8],
        value: Option<IVec>,
    ) -> Result<Option<IVec>, StoreError> {
        stage::whole(value, key, &self.at, |piece| self.raw(piece))
    }

    fn raw(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        database::guard(&self.at, "reading", || self.db.get(key))
    }

    pub(super) fn explain(&self, key: &[u8], error: CodecError) -> StoreError {
        explain(&self.at, key, error)
    }

    /// Hands over the values under a prefix, put together, in the order of their keys.
    fn scan(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), CodecError>,
    ) -> Result<(), StoreError> {
        let mut pairs = self.db.scan_prefix(prefix);
        while let Some((key, value)) =
            database::guard(&self.at, "reading", || pairs.next().transpose())?
        {
            if let Some(value) = self.put_together(&key, Some(value))? {
                each(&key, &value).map_err(|error| self.explain(&key, error))?;
            }
        }
        Ok(())
    }

    /// Hands over, of the teams that are not gone, the values under a prefix.
    fn scan_teams(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(TeamUid, &[u8], &[u8]) -> Result<(), CodecError>,
    ) -> Result<(), StoreError> {
        self.scan(prefix, |key, value| {
            let team = key::team_of(key).ok_or(CodecError::Bad("key"))?;
            if self.gone.contains(&team) {
                return Ok(());
            }
            each(team, key, value)
        })
    }

    fn stage(&mut self, batch: &Batch) -> Result<sled::Batch, StoreError> {
        let gone = batch.records.iter().filter_map(|record| match record {
            Record::TeamGone(team) => Some(*team),
            _ => None,
        });
        self.gone.extend(gone);
        let mut stage = Stage::new(&self.db, &self.at, self.live_bytes);
        for record in &batch.records {
            put_record(record, &self.gone, &mut stage)?;
        }
        let mut by_team: BTreeMap<TeamUid, Vec<&Event>> = BTreeMap::new();
        for event in &batch.events {
            if !self.gone.contains(&event.team) {
                by_team.entry(event.team).or_default().push(event);
            }
        }
        for (team, events) in by_team {
            for (first, page) in encode_event_pages(&events) {
                stage.put_new(key::events(team, first), page)?;
            }
        }
        let at = &self.at;
        let explain = |key: &[u8], error| explain(at, key, error);
        self.outcomes
            .add(&batch.outcomes, batch.at, &mut stage, &explain)?;
        self.opened = Opened {
            commit: self.opened.commit + 1,
            time: batch.at,
        };
        self.live_bytes = stage.live_bytes();
        let commit = Commit {
            number: self.opened.commit,
            at: batch.at.0,
            live_bytes: self.live_bytes,
        };
        let mut writes = stage.into_batch();
        writes.insert(key::commit(), encode_commit(commit));
        Ok(writes)
    }

    fn write(&self, batch: sled::Batch) -> Result<(), StoreError> {
        let _watch = self.watchdog.as_ref().map(Watchdog::watch);
        let before = durable::syncs();
        database::guard(&self.at, "committing to", || {
            self.db.apply_batch(batch)?;
            self.db.flush()
        })?;
        if durable::IS_COUNTED && durable::syncs() == before {
            let source = io::Error::other(
                "the flush did not reach fdatasync: this program was linked so that it can't \
                 keep its promise",
            );
            return Err(StoreError::io("committing to", &self.at, source));
        }
        Ok(())
    }
}

impl Store for SledStore {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<Opened, StoreError> {
        let names = &mut Names::default();
        let key = key::meta();
        if let Some(value) = self.value(&key)? {
            let meta = decode_meta(&value).map_err(|error| self.explain(&key, error))?;
            each(Record::Meta(meta));
        }
        self.scan(key::OFFERED, |_, value| {
            each(Record::Offered(decode_offered(value, names)?));
            Ok(())
        })?;
        self.scan_teams(key::TEAMS, |team, _, value| {
            each(Record::Team(decode_team(team, value)?));
            Ok(())
        })?;
        self.scan_teams(key::MEMBERS, |team, _, value| {
            each(Record::Member(team, decode_member(value, names)?));
            Ok(())
        })?;
        self.scan_teams(key::OPEN_TASKS, |team, key, value| {
            let task = decode_task(TaskId(number_of(key)?), value, names)?;
            each(Record::Task(team, Arc::new(task)));
            Ok(())
        })?;
        self.scan_teams(key::STUBS, |team, key, value| {
            let stub = decode_stub(TaskId(number_of(key)?), value, names)?;
            each(Record::Stub(team, stub));
            Ok(())
        })?;
        self.scan_teams(key::LETTERS, |team, key, value| {
            let letter = decode_letter(MessageId(number_of(key)?), value, names)?;
            each(Record::Letter(team, Arc::new(letter)));
            Ok(())
        })?;
        self.scan_teams(key::POSTS, |team, key, value| {
            check_mark(value)?;
            let member = key::member_of(key).ok_or(CodecError::Bad("key"))?;
            let member = MemberName::parse(member)?;
            each(Record::Post(team, member, MessageId(number_of(key)?)));
            Ok(())
        })?;
        Ok(self.opened)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.has_failed {
            let source = io::Error::other("an earlier commit failed");
            return Err(StoreError::io("committing to", &self.at, source));
        }
        // Until it is written: what is staged is ahead of the disk.
        self.has_failed = true;
        let writes = self.stage(batch)?;
        self.write(writes)?;
        self.has_failed = false;
        Ok(())
    }

    fn task(&self, team: TeamUid, task: TaskId) -> Result<Option<Task>, StoreError> {
        if self.gone.contains(&team) {
            return Ok(None);
        }
        for key in [key::open_task(team, task), key::finished_task(team, task)] {
            if let Some(value) = self.value(&key)? {
                let decoded = decode_task(task, &value, &mut Names::default());
                return decoded.map(Some).map_err(|error| self.explain(&key, error));
            }
        }
        Ok(None)
    }

    fn letter(&self, team: TeamUid, letter: MessageId) -> Result<Option<Letter>, StoreError> {
        let key = key::letter(team, letter);
        let value = self.value(&key)?.filter(|_| !self.gone.contains(&team));
        let decoded = value.map(|value| decode_letter(letter, &value, &mut Names::default()));
        decoded
            .transpose()
            .map_err(|error| self.explain(&key, error))
    }

    fn outcome(&self, key: RequestKey) -> Result<Option<Outcome>, StoreError> {
        let Some(path) = self.outcomes.page_of(key) else {
            return Ok(None);
        };
        let Some(value) = self.value(&path)? else {
            return Ok(None);
        };
        let page = decode_outcomes(&value).map_err(|error| self.explain(&path, error))?;
        let newest_first = page.outcomes.into_iter().rev();
        Ok({ newest_first }.find(|outcome| outcome.request.key == key))
    }

    fn events(
        &self,
        team: TeamUid,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        if self.gone.contains(&team) {
            return Ok(Vec::new());
        }
        self.events_after(team, after, limit)
    }

    fn event(&self, team: TeamUid, revision: Revision) -> Result<Option<Event>, StoreError> {
        if self.gone.contains(&team) {
            return Ok(None);
        }
        self.event_at(team, revision)
    }

    fn oldest_event(&self, team: TeamUid) -> Result<Option<Revision>, StoreError> {
        if self.gone.contains(&team) {
            return Ok(None);
        }
        self.oldest_event_of(team)
    }

    fn outcomes_kept(&self) -> OutcomesKept {
        self.outcomes.kept()
    }
}

fn number_of(key: &[u8]) -> Result<u64, CodecError> {
    key::last_number(key).ok_or(CodecError::Bad("key"))
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

fn explain(at: &Path, key: &[u8], error: CodecError) -> StoreError {
    match error {
        CodecError::Newer { kind, version } if version != 0 => StoreError::NewerFormat {
            kind: kind.name,
            version,
            known: kind.version,
        },
        error => {
            let what = format!("the record {} has {error}", key.escape_ascii());
            database::corrupt(at, what)
        }
    }
}

/// Makes a directory, and makes that durable.
fn create_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|source| StoreError::io("making", dir, source))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => durable::sync(parent),
        _ => Ok(()),
    }
}
