//! The coordinator's disk: the store in memory, with a hand on its plug.
//!
//! It survives the coordinator's processes. It notes every batch that became durable, so that the
//! history of the board can be judged without asking the board.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use board::{
    event::Event,
    id::{Digest, MessageId, Revision, TaskId, TeamUid},
    mail::Letter,
    record::{Outcome, Record, RequestKey},
    task::Task,
    time::Time,
};
use ganger_coordinator::{
    attempt_secret::AttemptKey,
    store::{Batch, MemoryStore, Opened, OutcomesKept, Store, StoreError, TaskPlace},
};

/// What happens at the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The plug is pulled before anything is durable.
    LostBefore,
    /// The plug is pulled when all is durable, and before anybody hears of it.
    LostAfter,
}

/// A handle; all of them are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    store: MemoryStore,
    fate: Option<Fate>,
    /// Batches that nobody has judged yet.
    fresh: Vec<Batch>,
    /// Without a flush: what is safe nevertheless, and what isn't.
    unsafely: Option<Unsafely>,
}

/// How a disk keeps what is never flushed: until the plug is pulled.
#[derive(Debug, Default)]
struct Unsafely {
    flushed: Vec<Batch>,
    cached: Vec<Batch>,
}

/// The system writes its caches back now and then, whether it is asked to or not.
const WRITTEN_BACK_EVERY: usize = 12;

impl Disk {
    pub(super) fn new(is_flushed: bool) -> Self {
        let disk = Self::default();
        disk.state().unsafely = (!is_flushed).then(Unsafely::default);
        disk
    }

    pub(super) fn decide(&self, fate: Option<Fate>) {
        self.state().fate = fate;
    }

    /// The batches since the last time.
    pub(super) fn take_fresh(&self) -> Vec<Batch> {
        std::mem::take(&mut self.state().fresh)
    }

    /// The machine goes down, and what was not written with it.
    pub(super) fn pull_plug(&self) {
        let mut state = self.state();
        state.fate = None;
        let Some(unsafely) = &mut state.unsafely else {
            return;
        };
        unsafely.cached.clear();
        let mut store = MemoryStore::default();
        for batch in &unsafely.flushed {
            store.commit(batch).expect("nothing breaks this store");
        }
        state.store = store;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        ask: impl FnOnce(&MemoryStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        ask(&self.state().store)
    }
}

fn unplugged() -> StoreError {
    StoreError::Io {
        doing: "committing to",
        at: "the simulated disk".into(),
        source: std::io::Error::other("the plug was pulled"),
    }
}

impl Store for Disk {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<Opened, StoreError> {
        self.state().store.load(each)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut state = self.state();
        let fate = state.fate.take();
        if fate == Some(Fate::LostBefore) {
            return Err(unplugged());
        }
        state.store.commit(batch)?;
        state.fresh.push(batch.clone());
        if let Some(unsafely) = &mut state.unsafely {
            unsafely.cached.push(batch.clone());
            if unsafely.cached.len() == WRITTEN_BACK_EVERY {
                unsafely.flushed.append(&mut unsafely.cached);
            }
        }
        match fate {
            Some(_) => Err(unplugged()),
            None => Ok(()),
        }
    }

    fn attempt_key(&mut self, fresh: AttemptKey) -> Result<AttemptKey, StoreError> {
        self.state().store.attempt_key(fresh)
    }

    fn sweep(&mut self, now: Time) -> Result<bool, StoreError> {
        self.state().store.sweep(now)
    }

    fn task(&self, team: TeamUid, task: TaskId) -> Result<Option<Task>, StoreError> {
        self.read(|store| store.task(team, task))
    }

    fn artifacts_named(
        &self,
        from: TaskPlace,
        limit: usize,
        each: &mut dyn FnMut(Digest),
    ) -> Result<Option<TaskPlace>, StoreError> {
        self.read(|store| store.artifacts_named(from, limit, each))
    }

    fn letter(&self, team: TeamUid, letter: MessageId) -> Result<Option<Letter>, StoreError> {
        self.read(|store| store.letter(team, letter))
    }

    fn outcome(&self, key: RequestKey) -> Result<Option<Outcome>, StoreError> {
        self.read(|store| store.outcome(key))
    }

    fn events(
        &self,
        team: TeamUid,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(|store| store.events(team, after, limit))
    }

    fn event(&self, team: TeamUid, revision: Revision) -> Result<Option<Event>, StoreError> {
        self.read(|store| store.event(team, revision))
    }

    fn oldest_event(&self, team: TeamUid) -> Result<Option<Revision>, StoreError> {
        self.read(|store| store.oldest_event(team))
    }

    fn outcomes_kept(&self) -> OutcomesKept {
        self.state().store.outcomes_kept()
    }
}
