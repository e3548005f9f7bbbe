//! The store on a disk, in sled 0.34.
//!
//! Its caller is the one thread that writes; nothing else here does, but for sled's own clean-up.
//! Every commit is one atomic batch and one blocking flush.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use board::{
    event::Event,
    id::{Digest, Epoch, MemberName, MessageId, Revision, TaskId, TeamUid},
    mail::Letter,
    record::{Outcome, Record, RequestKey},
    task::Task,
    time::Time,
};
use sled::IVec;

use crate::attempt_secret::AttemptKey;

use super::{
    BackupSink, Batch, Horizon, Opened, OutcomesKept, Retention, Store, StoreError, TaskPlace,
    artifacts_of,
    backup::{self, Backup},
    codec::{
        CodecError, Commit, Names, check_mark, decode_attempt_key, decode_letter, decode_member,
        decode_meta, decode_offered, decode_outcomes, decode_stub, decode_task, decode_team,
        encode_attempt_key, encode_commit, encode_event_pages,
    },
    database::{self, Database},
    durable,
    handed::{Counters, Handed},
    key,
    lock::DirLock,
    mark::{Mark, Marker},
    outcomes::Outcomes,
    records::put_record,
    shelves::Shelves,
    stage::{self, Stage, Writes},
    sweep,
    tally::{self, Tallies, Tally},
    watchdog::Watchdog,
};

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Memory for pages of the database.
    pub cache_bytes: u64,
    /// How long outcomes are remembered.
    pub horizon: Horizon,
    /// How long events are kept.
    pub retention: Retention,
    /// A commit that takes longer ends the process. None turns that off.
    pub commit_limit: Option<Duration>,
    /// A board of which something is missing is opened without it, and gets this epoch. None
    /// refuses one.
    pub accept_loss: Option<Epoch>,
    /// How far a database may grow beyond four times what lives in it before a start compacts it.
    pub slack_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 16 * 1024 * 1024,
            horizon: Horizon::default(),
            retention: Retention::default(),
            commit_limit: Some(Duration::from_secs(10)),
            accept_loss: None,
            slack_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A store in a directory. See the [module](self).
pub struct SledStore {
    pub(super) db: Database,
    /// The directory of the generation in force.
    pub(super) at: PathBuf,
    pub(super) options: Options,
    pub(super) opened: Opened,
    pub(super) live_bytes: u64,
    /// What a start must find, as the last commit left it.
    pub(super) tallies: Tallies,
    /// The last commit's record has tallies: it is not from before there were any.
    pub(super) is_counted: bool,
    /// What was handed out.
    pub(super) counters: Counters,
    /// What was handed out as the last commit's record says: more than there is, where some is
    /// missing.
    pub(super) expected: Handed,
    /// The board's; 0 before its first commit.
    pub(super) epoch: Epoch,
    /// What is not as the last commit left it, as far as it was looked at when it was opened.
    pub(super) missing: Vec<String>,
    /// Teams that are gone, and of which something still lies here.
    pub(super) gone: BTreeSet<TeamUid>,
    pub(super) shelves: Shelves,
    pub(super) outcomes: Outcomes,
    pub(super) watchdog: Option<Watchdog>,
    pub(super) backup: Option<Backup>,
    /// A commit failed: what is on the disk isn't known any more.
    pub(super) has_failed: bool,
    /// After the database, so that it is written when that is closed.
    pub(super) marker: Option<Marker>,
    /// Last, so that it is given up when all else is closed.
    pub(super) _lock: DirLock,
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

    /// Hands over the values of a range, put together, in the order of their keys. Fails at its end
    /// where it is not as the last commit left it, so that nobody builds upon half of it.
    fn scan(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), CodecError>,
    ) -> Result<(), StoreError> {
        let found = self.each_of(prefix, |key, value| {
            each(key, value).map_err(|error| self.explain(key, error))
        })?;
        let missing = found.differs(self.tallies.get(prefix), tally::name(prefix));
        missing.map_or(Ok(()), |missing| Err(self.lost(missing)))
    }

    /// Hands over the values under a prefix, put together, and counts them.
    pub(super) fn each_of(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<Tally, StoreError> {
        let mut found = Tally::default();
        let mut pairs = self.db.scan_prefix(prefix);
        while let Some((key, value)) =
            database::guard(&self.at, "reading", || pairs.next().transpose())?
        {
            found.add(&key, &value);
            if let Some(value) = self.put_together(&key, Some(value))? {
                each(&key, &value)?;
            }
        }
        Ok(found)
    }

    /// What was durable is not there any more.
    pub(super) fn lost(&self, missing: impl Into<String>) -> StoreError {
        StoreError::Lost {
            at: self.at.clone(),
            missing: missing.into(),
        }
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

    /// When a finished task ended. Of one that can't be read, no earlier than now: so it is kept
    /// the longer.
    fn ended_at(&self, team: TeamUid, task: TaskId) -> Time {
        let read = self.task(team, task).ok().flatten();
        let end = read.as_ref().and_then(Task::end);
        end.map_or(self.opened.time, |end| end.at)
    }

    /// A stub says that a task is there, which is not.
    fn without_body(&self, task: TaskId) -> StoreError {
        database::corrupt(&self.at, format!("the finished task {task} is missing"))
    }

    fn stage(&mut self, batch: &Batch) -> Result<Writes, StoreError> {
        let gone = batch.records.iter().filter_map(|record| match record {
            Record::TeamGone(team) => Some(*team),
            _ => None,
        });
        self.gone.extend(gone);
        let mut stage = Stage::new(&self.db, &self.at, self.live_bytes, self.tallies);
        for record in &batch.records {
            put_record(record, &self.gone, &mut stage)?;
            match record {
                Record::TeamGone(team) => self.shelves.forget(*team),
                Record::Team(team) if self.gone.contains(&team.uid) => continue,
                _ => {}
            }
            self.counters.note(record);
            if let Record::Meta(meta) = record {
                self.epoch = meta.epoch;
            }
        }
        let mut by_team: BTreeMap<TeamUid, Vec<&Event>> = BTreeMap::new();
        for event in &batch.events {
            if !self.gone.contains(&event.team) {
                by_team.entry(event.team).or_default().push(event);
            }
        }
        for (team, events) in by_team {
            self.shelves.note(team, &events);
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
        self.tallies = stage.tallies();
        Ok(stage.into_writes())
    }

    fn stage_sweep(&mut self, now: Time) -> Result<Writes, StoreError> {
        let mut stage = Stage::new(&self.db, &self.at, self.live_bytes, self.tallies);
        let at = &self.at;
        let explain = |key: &[u8], error| explain(at, key, error);
        match self.gone.first().copied() {
            Some(team) => {
                if sweep::remove_team(team, &self.db, at, &mut stage)? {
                    self.gone.remove(&team);
                }
            }
            None => self
                .shelves
                .sweep(now, &self.db, at, &mut stage, &explain)?,
        }
        self.live_bytes = stage.live_bytes();
        self.tallies = stage.tallies();
        Ok(stage.into_writes())
    }

    /// Whether a sweep has something to do.
    fn is_sweep_due(&self, now: Time) -> bool {
        !self.gone.is_empty() || self.shelves.is_due(now)
    }

    /// Fails where a commit has failed: what is on the disk isn't known any more.
    fn check_sound(&self) -> Result<(), StoreError> {
        if self.has_failed {
            let source = io::Error::other("an earlier commit failed");
            return Err(StoreError::io("committing to", &self.at, source));
        }
        Ok(())
    }

    /// Stages a write and makes it durable. When it fails, nothing is written any more.
    pub(super) fn write(
        &mut self,
        stage: impl FnOnce(&mut Self) -> Result<Writes, StoreError>,
    ) -> Result<(), StoreError> {
        self.check_sound()?;
        // Until it is written: what is staged is ahead of the disk.
        self.has_failed = true;
        if let Some(marker) = &mut self.marker {
            marker.doubt();
        }
        let mut writes = stage(self)?;
        let commit = encode_commit(&self.commit_record());
        writes.insert(key::commit(), Some(commit));
        self.flush(writes)?;
        self.is_counted = true;
        self.has_failed = false;
        let mark = self.mark();
        if let Some(marker) = &mut self.marker {
            marker.note(mark);
        }
        Ok(())
    }

    /// What is durable.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            commit: self.opened.commit,
            at: self.opened.time,
            epoch: self.epoch,
            handed: self.counters.all(),
            is_clean: false,
        }
    }

    fn commit_record(&self) -> Commit {
        let (events, all, gone) = (
            self.shelves.ends(),
            self.counters.all(),
            self.counters.gone(),
        );
        let (records, sums) = self.tallies.numbers();
        Commit {
            number: self.opened.commit,
            at: self.opened.time.0,
            live_bytes: self.live_bytes,
            records,
            sums,
            events: events.records,
            events_sum: events.sum,
            ids: all.ids,
            revisions: all.revisions,
            ids_gone: gone.ids,
            revisions_gone: gone.revisions,
        }
    }

    /// A backup that can't be made is no reason to end.
    fn give_up_backup(&mut self, error: StoreError) {
        if let Some(backup) = self.backup.take() {
            backup.fail(error);
        }
    }

    pub(super) fn flush(&mut self, writes: Writes) -> Result<(), StoreError> {
        if let Some(backup) = &mut self.backup
            && let Err(error) = backup.note(&writes)
        {
            self.give_up_backup(backup::not_taken(error));
        }
        let _watch = self.watchdog.as_ref().map(Watchdog::watch);
        let before = durable::syncs();
        database::guard(&self.at, "committing to", || {
            self.db.apply_batch(stage::batch(writes))?;
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
        self.check_whole()?;
        let names = &mut Names::default();
        self.scan(key::META, |_, value| {
            each(Record::Meta(decode_meta(value)?));
            Ok(())
        })?;
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
            let id = TaskId(number_of(key)?);
            let stub = decode_stub(id, value, names, || self.ended_at(team, id))?;
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
        self.write(|store| store.stage(batch))
    }

    fn sweep(&mut self, now: Time) -> Result<bool, StoreError> {
        if !self.is_sweep_due(now) {
            return Ok(false);
        }
        self.check_sound()?;
        // What can't be read stays, and is no failed commit: nothing was written.
        let writes = self.stage_sweep(now)?;
        self.write(|_| Ok(writes))?;
        Ok(self.is_sweep_due(now))
    }

    fn attempt_key(&mut self, fresh: AttemptKey) -> Result<AttemptKey, StoreError> {
        let key = key::attempt_key();
        if let Some(value) = self.value(&key)? {
            return decode_attempt_key(&value).map_err(|error| self.explain(&key, error));
        }
        let value = encode_attempt_key(&fresh);
        // Not staged: what is in no backup doesn't count as living, so that the count is right on
        // a board that is restored.
        self.write(|store| {
            store.tallies.add(&key, &value);
            Ok(Writes::from([(key, Some(value))]))
        })?;
        Ok(fresh)
    }

    fn begin_backup(&mut self, sink: Box<dyn BackupSink>) {
        let source = io::Error::other("another one was begun");
        self.give_up_backup(backup::not_taken(source));
        self.backup = Backup::begin(sink);
    }

    fn back_up(&mut self) -> bool {
        let Some(mut backup) = self.backup.take_if(|backup| backup.is_ready()) else {
            return self.backup.is_some();
        };
        match backup.step(&self.db, &self.at) {
            Ok(false) => self.backup = Some(backup),
            Ok(true) => backup.finish(self.opened.commit),
            Err(error) => backup.fail(error),
        }
        self.backup.is_some()
    }

    fn task(&self, team: TeamUid, task: TaskId) -> Result<Option<Task>, StoreError> {
        if self.gone.contains(&team) {
            return Ok(None);
        }
        let names = &mut Names::default();
        let key = key::open_task(team, task);
        if let Some(value) = self.value(&key)? {
            let decoded = decode_task(task, &value, names);
            return decoded.map(Some).map_err(|error| self.explain(&key, error));
        }
        let stub_key = key::stub(team, task);
        let Some(stub) = self.value(&stub_key)? else {
            return Ok(None);
        };
        let key = key::finished_task(team, task);
        let value = self.value(&key)?.ok_or_else(|| self.without_body(task))?;
        let whole = decode_task(task, &value, names).map_err(|error| self.explain(&key, error))?;
        // A start has read the stub, and not the task.
        let ended_at = || whole.end().map_or(self.opened.time, |end| end.at);
        let stub = decode_stub(task, &stub, names, ended_at);
        let stub = stub.map_err(|error| self.explain(&stub_key, error))?;
        let is_same =
            |now: board::task::Stub| (now.status, now.revision) == (stub.status, stub.revision);
        if !whole.stub().is_some_and(is_same) {
            let what = format!("the finished task {task} is not as it was when it ended");
            return Err(database::corrupt(&self.at, what));
        }
        Ok(Some(whole))
    }

    fn artifacts_named(
        &self,
        from: TaskPlace,
        limit: usize,
        each: &mut dyn FnMut(Digest),
    ) -> Result<Option<TaskPlace>, StoreError> {
        let mut left = limit;
        let names = &mut Names::default();
        for is_finished in [false, true] {
            // That no finished task is passed over its stub sees to, which a start has counted.
            let (prefix, first): (_, fn(_, _) -> _) = match is_finished {
                false => (key::OPEN_TASKS, key::open_task),
                true => (key::STUBS, key::stub),
            };
            let start = match is_finished.cmp(&from.is_finished) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => first(from.team, from.task),
                std::cmp::Ordering::Greater => first(TeamUid(0), TaskId(0)),
            };
            let mut pairs = self.db.range(start..);
            while let Some((key, value)) =
                database::guard(&self.at, "reading", || pairs.next().transpose())?
            {
                if !key.starts_with(prefix) {
                    break;
                }
                let explain = |error| self.explain(&key, error);
                let team = key::team_of(&key).ok_or(CodecError::Bad("key"));
                let team = team.map_err(explain)?;
                let id = TaskId(number_of(&key).map_err(explain)?);
                if left == 0 {
                    return Ok(Some(TaskPlace {
                        is_finished,
                        team,
                        task: id,
                    }));
                }
                left -= 1;
                if self.gone.contains(&team) {
                    continue;
                }
                let value = match is_finished {
                    false => self.put_together(&key, Some(value))?,
                    true => self.value(&key::finished_task(team, id))?,
                };
                let value = value.ok_or_else(|| self.without_body(id))?;
                let task = decode_task(id, &value, names).map_err(explain)?;
                artifacts_of(&task).for_each(&mut *each);
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
        let value = self.value(&path)?;
        let value = value.ok_or_else(|| self.explain(&path, CodecError::Empty))?;
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
        Ok(self.shelves.ends_of(team).map(|(first, _)| first))
    }

    fn outcomes_kept(&self) -> OutcomesKept {
        self.outcomes.kept()
    }
}

fn number_of(key: &[u8]) -> Result<u64, CodecError> {
    key::last_number(key).ok_or(CodecError::Bad("key"))
}

pub(super) fn explain(at: &Path, key: &[u8], error: CodecError) -> StoreError {
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
