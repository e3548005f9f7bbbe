//! A store without a disk, for tests and simulation.
//!
//! It keeps typed records in ordered maps and shares no code with the store on the disk: that
//! makes it the yardstick for that one. A clone is another handle on the same memory, so that a
//! simulation can drop a board, store and all, and open what was committed again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use board::{
    event::Event,
    id::{AgentTypeName, Digest, MemberName, MessageId, Revision, TaskId, TaskKey, TeamUid},
    mail::Letter,
    record::{Meta, OfferedType, Outcome, Record, RequestKey},
    task::Task,
    team::{Member, Team},
    time::Time,
};

use crate::attempt_secret::AttemptKey;

use super::{
    Batch, Horizon, Opened, OutcomesKept, Retention, Store, StoreError, TaskPlace, artifacts_of,
};

/// A store in memory. See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    opened: Opened,
    meta: Option<Meta>,
    attempt_key: Option<AttemptKey>,
    teams: BTreeMap<TeamUid, Team>,
    members: BTreeMap<(TeamUid, MemberName), Member>,
    tasks: BTreeMap<TaskKey, Arc<Task>>,
    letters: BTreeMap<(TeamUid, MessageId), Arc<Letter>>,
    posts: BTreeSet<(TeamUid, MemberName, MessageId)>,
    /// Nothing more is kept of them.
    gone: BTreeSet<TeamUid>,
    offered: BTreeMap<AgentTypeName, OfferedType>,
    events: BTreeMap<(TeamUid, Revision), Event>,
    /// With the number of the page that it is in.
    outcomes: BTreeMap<RequestKey, (u64, Outcome)>,
    /// The oldest first.
    pages: VecDeque<Page>,
    last_page: u64,
    horizon: Horizon,
    retention: Retention,
    is_broken: bool,
    unreadable: BTreeSet<Unreadable>,
}

/// What a store can be made to fail to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unreadable {
    /// One task.
    Task(TeamUid, TaskId),
    /// One message.
    Letter(TeamUid, MessageId),
    /// All events.
    Events,
    /// All outcomes.
    Outcomes,
}

/// Outcomes that are forgotten together.
#[derive(Debug)]
struct Page {
    number: u64,
    at: Time,
    keys: Vec<RequestKey>,
}

impl MemoryStore {
    /// Makes an empty one that forgets outcomes past `horizon` and events past `retention`.
    pub fn that_forgets(horizon: Horizon, retention: Retention) -> Self {
        let store = Self::default();
        store.kept().horizon = horizon;
        store.kept().retention = retention;
        store
    }

    /// Lets every commit from now on fail, as a disk does that went away.
    pub fn break_disk(&self) {
        self.kept().is_broken = true;
    }

    /// Lets every read of this fail from now on, as of damaged records.
    pub fn damage(&self, what: Unreadable) {
        self.kept().unreadable.insert(what);
    }

    /// Makes everything readable again.
    pub fn mend(&self) {
        self.kept().unreadable.clear();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn put(&mut self, record: &Record) {
        match record {
            Record::Meta(meta) => self.meta = Some(*meta),
            Record::Team(team) => {
                self.teams.insert(team.uid, team.clone());
            }
            Record::Member(team, member) => {
                let key = (*team, member.name.clone());
                self.members.insert(key, member.clone());
            }
            Record::Task(team, task) => {
                self.tasks.insert((*team, task.id), task.clone());
            }
            Record::Stub(..) => {}
            Record::Offered(offered) => {
                self.offered.insert(offered.name.clone(), offered.clone());
            }
            Record::OfferedGone(name) => {
                self.offered.remove(name);
            }
            Record::Letter(team, letter) => {
                self.letters.insert((*team, letter.id), letter.clone());
            }
            Record::Post(team, member, id) => {
                self.posts.insert((*team, member.clone(), *id));
            }
            Record::TaskGone(team, task) => {
                self.tasks.remove(&(*team, *task));
            }
            Record::LetterGone(team, id) => {
                self.letters.remove(&(*team, *id));
            }
            Record::PostGone(team, member, id) => {
                self.posts.remove(&(*team, member.clone(), *id));
            }
            Record::TeamGone(team) => {
                self.gone.insert(*team);
            }
        }
    }

    /// Takes away what was put of teams that are gone.
    fn clear_gone(&mut self) {
        let gone = &self.gone;
        self.teams.retain(|team, _| !gone.contains(team));
        self.members.retain(|(team, _), _| !gone.contains(team));
        self.tasks.retain(|(team, _), _| !gone.contains(team));
        self.letters.retain(|(team, _), _| !gone.contains(team));
        self.posts.retain(|(team, ..)| !gone.contains(team));
        self.events.retain(|(team, _), _| !gone.contains(team));
    }

    /// Forgets, of each team, events from the oldest on, up to the first that is to be kept.
    fn forget_events(&mut self, now: Time) {
        let newest = |team| {
            let all = (team, Revision(0))..=(team, Revision(u64::MAX));
            let last = self.events.range(all).next_back();
            last.map_or(Revision(0), |((_, revision), _)| *revision)
        };
        let mut past = Vec::new();
        let mut kept = BTreeSet::new();
        for ((team, revision), event) in &self.events {
            if !kept.contains(team) && self.retention.is_past(event, newest(*team), now) {
                past.push((*team, *revision));
            } else {
                kept.insert(*team);
            }
        }
        for key in past {
            self.events.remove(&key);
        }
    }

    fn check_read(&self, what: Unreadable) -> Result<(), StoreError> {
        if self.unreadable.contains(&what) {
            return Err(StoreError::Corrupt {
                at: "memory".into(),
                what: format!("{what:?}"),
                advice: "mend it".to_owned(),
            });
        }
        Ok(())
    }

    fn check_disk(&self) -> Result<(), StoreError> {
        if self.is_broken {
            let source = io::Error::other("the disk went away");
            return Err(StoreError::io("committing to", "memory", source));
        }
        Ok(())
    }

    fn remember(&mut self, outcomes: &[Outcome], now: Time) {
        let pages = outcomes.chunks(Horizon::PAGE_LEN_MAX);
        let forget_max = Horizon::forget_max(pages.len());
        for page in pages {
            self.last_page += 1;
            let number = self.last_page;
            for outcome in page {
                let key = outcome.request.key;
                self.outcomes.insert(key, (number, *outcome));
            }
            self.pages.push_back(Page {
                number,
                at: now,
                keys: page.iter().map(|outcome| outcome.request.key).collect(),
            });
        }
        for _ in 0..forget_max {
            let Some(page) = self.pages.front() else {
                break;
            };
            let newer = self.count() - page.keys.len() as u64;
            if !self.horizon.is_past(newer, page.at, now) {
                break;
            }
            for key in &page.keys {
                // A later outcome of the same request stays.
                let made = self.outcomes.get(key).map(|(number, _)| *number);
                if made == Some(page.number) {
                    self.outcomes.remove(key);
                }
            }
            self.pages.pop_front();
        }
    }

    fn count(&self) -> u64 {
        self.pages.iter().map(|page| page.keys.len() as u64).sum()
    }
}

impl Store for MemoryStore {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<Opened, StoreError> {
        let kept = self.kept();
        kept.meta.iter().for_each(|meta| each(Record::Meta(*meta)));
        for offered in kept.offered.values() {
            each(Record::Offered(offered.clone()));
        }
        for team in kept.teams.values() {
            each(Record::Team(team.clone()));
        }
        for ((team, _), member) in &kept.members {
            each(Record::Member(*team, member.clone()));
        }
        let open = kept.tasks.iter().filter(|(_, task)| task.end().is_none());
        for ((team, _), task) in open {
            each(Record::Task(*team, task.clone()));
        }
        for ((team, _), task) in &kept.tasks {
            if let Some(stub) = task.stub() {
                each(Record::Stub(*team, stub));
            }
        }
        for ((team, _), letter) in &kept.letters {
            each(Record::Letter(*team, letter.clone()));
        }
        for (team, member, id) in &kept.posts {
            each(Record::Post(*team, member.clone(), *id));
        }
        Ok(kept.opened)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.check_disk()?;
        let number = kept.opened.commit + 1;
        kept.opened = Opened {
            commit: number,
            time: batch.at,
        };
        let gone = kept.gone.len();
        batch.records.iter().for_each(|record| kept.put(record));
        for event in &batch.events {
            let key = (event.team, event.revision);
            kept.events.insert(key, event.clone());
        }
        if kept.gone.len() > gone {
            kept.clear_gone();
        }
        kept.remember(&batch.outcomes, batch.at);
        Ok(())
    }

    fn attempt_key(&mut self, fresh: AttemptKey) -> Result<AttemptKey, StoreError> {
        let mut kept = self.kept();
        kept.check_disk()?;
        Ok(kept.attempt_key.get_or_insert(fresh).clone())
    }

    fn sweep(&mut self, now: Time) -> Result<bool, StoreError> {
        let mut kept = self.kept();
        kept.check_disk()?;
        kept.check_read(Unreadable::Events)?;
        kept.forget_events(now);
        Ok(false)
    }

    fn task(&self, team: TeamUid, task: TaskId) -> Result<Option<Task>, StoreError> {
        let kept = self.kept();
        kept.check_read(Unreadable::Task(team, task))?;
        let task = kept.tasks.get(&(team, task));
        Ok(task.map(|task| (**task).clone()))
    }

    fn artifacts_named(
        &self,
        from: TaskPlace,
        limit: usize,
        each: &mut dyn FnMut(Digest),
    ) -> Result<Option<TaskPlace>, StoreError> {
        let kept = self.kept();
        let tasks = kept.tasks.iter();
        let mut tasks: Vec<_> = tasks
            .map(|((team, id), task)| {
                let place = TaskPlace {
                    is_finished: task.end().is_some(),
                    team: *team,
                    task: *id,
                };
                (place, task)
            })
            .filter(|(place, _)| *place >= from)
            .collect();
        tasks.sort_by_key(|(place, _)| *place);
        for (_, task) in tasks.iter().take(limit) {
            artifacts_of(task).for_each(&mut *each);
        }
        Ok(tasks.get(limit).map(|(place, _)| *place))
    }

    fn letter(&self, team: TeamUid, letter: MessageId) -> Result<Option<Letter>, StoreError> {
        let kept = self.kept();
        kept.check_read(Unreadable::Letter(team, letter))?;
        let letter = kept.letters.get(&(team, letter));
        Ok(letter.map(|letter| (**letter).clone()))
    }

    fn outcome(&self, key: RequestKey) -> Result<Option<Outcome>, StoreError> {
        let kept = self.kept();
        kept.check_read(Unreadable::Outcomes)?;
        Ok(kept.outcomes.get(&key).map(|(_, outcome)| *outcome))
    }

    fn events(
        &self,
        team: TeamUid,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let Some(first) = after.0.checked_add(1) else {
            return Ok(Vec::new());
        };
        let all = (team, Revision(first))..=(team, Revision(u64::MAX));
        let kept = self.kept();
        kept.check_read(Unreadable::Events)?;
        Ok(kept
            .events
            .range(all)
            .take(limit)
            .map(|(_, event)| event.clone())
            .collect())
    }

    fn event(&self, team: TeamUid, revision: Revision) -> Result<Option<Event>, StoreError> {
        let kept = self.kept();
        kept.check_read(Unreadable::Events)?;
        Ok(kept.events.get(&(team, revision)).cloned())
    }

    fn oldest_event(&self, team: TeamUid) -> Result<Option<Revision>, StoreError> {
        let all = (team, Revision(0))..=(team, Revision(u64::MAX));
        let kept = self.kept();
        kept.check_read(Unreadable::Events)?;
        Ok(kept.events.range(all).next().map(|((_, first), _)| *first))
    }

    fn outcomes_kept(&self) -> OutcomesKept {
        let kept = self.kept();
        OutcomesKept {
            count: kept.count(),
            oldest: kept.pages.front().map(|page| page.at),
        }
    }
}
