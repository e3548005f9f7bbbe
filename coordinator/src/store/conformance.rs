//! What every store must do, asked of each of them.
//!
//! The store in memory is simple enough to be right by looking at it, so the heart of the suite
//! is one property: whatever is committed, the store on the disk answers as the one in memory.

use std::{sync::Arc, time::Duration};

use board::{
    event::{Actor, Event, Happening},
    id::{Digest, Revision, TaskId, TeamUid},
    record::{Outcome, Record},
    task::{Artifact, End, EndStatus, Task, TaskState},
    time::Time,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use tempfile::TempDir;

use self::gone::{
    a_deleted_task_is_not_there_be_it_open_or_finished,
    a_gone_team_is_swept_and_the_others_are_left_alone, a_message_is_there_until_it_is_gone,
    of_a_team_that_is_gone_nothing_is_answered, what_comes_and_goes_in_one_batch_is_not_there,
};
use super::{
    AttemptKey, Batch, Horizon, MemoryStore, Opened, Options, OutcomesKept, Retention, SledStore,
    Store, TaskPlace,
    arbitrary::{self, request_key},
};

mod gone;
mod property;

/// Small, so that outcomes are forgotten.
const HORIZON: Horizon = Horizon {
    count: 7,
    span: Duration::from_secs(60),
};

/// Small, so that events are forgotten.
const RETENTION: Retention = Retention {
    count: 9,
    span: Duration::from_secs(60),
};

/// A place where a store is kept, to be opened again and again.
trait Place {
    type Store: Store;
    fn open(&self) -> Self::Store;
}

struct Memory(MemoryStore);

impl Place for Memory {
    type Store = MemoryStore;

    fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Place for Disk {
    type Store = SledStore;

    fn open(&self) -> SledStore {
        let options = Options {
            horizon: HORIZON,
            retention: RETENTION,
            ..Options::default()
        };
        SledStore::open(self.0.path(), options).unwrap()
    }
}

/// Writes a test for each kind of store.
macro_rules! for_each_store {
    ($($test:ident),+ $(,)?) => {
        mod in_memory {
            $(#[test]
            fn $test() {
                super::$test(&super::Memory(super::MemoryStore::that_forgets(
                    super::HORIZON,
                    super::RETENTION,
                )));
            })+
        }
        mod on_disk {
            $(#[test]
            fn $test() {
                super::$test(&super::Disk::new());
            })+
        }
    };
}

for_each_store!(
    a_new_store_is_empty,
    the_last_commit_and_its_time_are_told,
    of_a_finished_task_a_start_gets_the_stub_and_the_rest_on_demand,
    a_reopened_task_is_whole_at_the_start_again,
    events_are_found_from_any_revision_on,
    outcomes_past_the_horizon_are_forgotten,
    an_outcome_that_came_again_is_not_forgotten_with_the_first,
    the_last_record_of_an_identity_counts,
    the_artifacts_that_tasks_name_are_told_step_by_step,
    a_message_is_there_until_it_is_gone,
    what_comes_and_goes_in_one_batch_is_not_there,
    a_deleted_task_is_not_there_be_it_open_or_finished,
    of_a_team_that_is_gone_nothing_is_answered,
    an_event_is_found_by_its_revision,
    the_newest_events_outlive_sweeps,
    old_events_do_not_outlive_sweeps,
    a_gone_team_is_swept_and_the_others_are_left_alone,
    the_key_of_attempts_secrets_is_made_once,
);

fn the_key_of_attempts_secrets_is_made_once(place: &impl Place) {
    let [first, second] = [1, 2].map(|byte| AttemptKey::from_bytes([byte; 32]));
    let mut store = place.open();
    assert_eq!(store.attempt_key(first.clone()).unwrap(), first);
    assert_eq!(load(&mut store), (Opened::default(), Vec::new()));
    store.commit(&Batch::default()).unwrap();
    assert_eq!(store.attempt_key(second.clone()).unwrap(), first);
    drop(store);

    assert_eq!(place.open().attempt_key(second).unwrap(), first);
}

/// Sweeps until there is no more.
fn sweep(store: &mut impl Store, now: i64) {
    while store.sweep(Time(now)).unwrap() {}
}

fn load(store: &mut impl Store) -> (Opened, Vec<Record>) {
    let mut records = Vec::new();
    let opened = store.load(&mut |record| records.push(record)).unwrap();
    (opened, records)
}

/// One task, the same at each call.
fn some_task() -> Task {
    let mut runner = TestRunner::deterministic();
    let tree = arbitrary::task().new_tree(&mut runner).unwrap();
    tree.current()
}

fn open_task() -> Task {
    let mut task = some_task();
    task.state = TaskState::Pending(board::task::Waiting {
        since: Time(1),
        not_before: None,
        refusals: 0,
        reason: "".into(),
        paused: None,
    });
    task
}

pub(super) fn finished_task() -> Task {
    let mut task = some_task();
    task.state = TaskState::Ended(End {
        status: EndStatus::Failed,
        at: Time(5),
        by: Actor::Coordinator,
        stop_reason: None,
        cascade_due: true,
    });
    task
}

fn batch_of(records: Vec<Record>) -> Batch {
    Batch {
        at: Time(1),
        records,
        ..Batch::default()
    }
}

fn a_new_store_is_empty(place: &impl Place) {
    let mut store = place.open();

    assert_eq!(load(&mut store), (Opened::default(), Vec::new()));
    assert_eq!(store.outcomes_kept(), OutcomesKept::default());
}

fn the_last_commit_and_its_time_are_told(place: &impl Place) {
    let mut store = place.open();
    for at in [700, 800] {
        let batch = Batch {
            at: Time(at),
            ..Batch::default()
        };
        store.commit(&batch).unwrap();
    }
    drop(store);

    let (opened, _) = load(&mut place.open());

    let expected = Opened {
        commit: 2,
        time: Time(800),
    };
    assert_eq!(opened, expected);
}

fn of_a_finished_task_a_start_gets_the_stub_and_the_rest_on_demand(place: &impl Place) {
    let team = TeamUid(2);
    let (open, finished) = (open_task(), finished_task());
    let mut store = place.open();
    let record = |task: &Task| Record::Task(team, Arc::new(task.clone()));
    store.commit(&batch_of(vec![record(&open)])).unwrap();
    store.commit(&batch_of(vec![record(&finished)])).unwrap();
    drop(store);

    let mut store = place.open();
    let (_, records) = load(&mut store);

    let stub = finished.stub().unwrap();
    assert_eq!(records, [Record::Stub(team, stub)]);
    assert_eq!(store.task(team, finished.id).unwrap(), Some(finished));
}

fn a_reopened_task_is_whole_at_the_start_again(place: &impl Place) {
    let team = TeamUid(2);
    let (open, finished) = (open_task(), finished_task());
    let mut store = place.open();
    let record = |task: &Task| Record::Task(team, Arc::new(task.clone()));
    store.commit(&batch_of(vec![record(&finished)])).unwrap();
    store.commit(&batch_of(vec![record(&open)])).unwrap();
    drop(store);

    let mut store = place.open();
    let (_, records) = load(&mut store);

    assert_eq!(records, [record(&open)]);
    assert_eq!(store.task(team, open.id).unwrap(), Some(open));
}

fn the_artifacts_that_tasks_name_are_told_step_by_step(place: &impl Place) {
    let artifact = |n: u8| Artifact {
        digest: Digest([n; 32]),
        path: "a".into(),
        size: 1,
    };
    let (mut open, mut finished) = (open_task(), finished_task());
    let mut records = Vec::new();
    for n in 1..=6 {
        let task = if n % 2 == 0 { &mut open } else { &mut finished };
        task.id = TaskId(n.into());
        (task.inputs, task.outputs) = (vec![artifact(n)], vec![artifact(100 + n)]);
        let team = TeamUid(2 + u64::from(n) / 4);
        records.push(Record::Task(team, Arc::new(task.clone())));
    }
    let mut store = place.open();
    store.commit(&batch_of(records)).unwrap();
    store
        .commit(&batch_of(vec![Record::TaskGone(TeamUid(2), TaskId(1))]))
        .unwrap();

    for limit in 1..=6 {
        let (mut told, mut steps) = (Vec::new(), 0);
        let mut from = Some(TaskPlace::default());
        while let Some(place) = from {
            from = store
                .artifacts_named(place, limit, &mut |digest| told.push(digest.0[0]))
                .unwrap();
            steps += 1;
        }
        assert_eq!(told, [2, 102, 4, 104, 6, 106, 3, 103, 5, 105]);
        assert_eq!(steps, 5_usize.div_ceil(limit));
    }
    let gone = vec![Record::TeamGone(TeamUid(3))];
    store.commit(&batch_of(gone)).unwrap();
    let mut told = Vec::new();
    store
        .artifacts_named(TaskPlace::default(), 99, &mut |digest| {
            told.push(digest.0[0])
        })
        .unwrap();
    assert_eq!(told, [2, 102, 3, 103]);
}

pub(super) fn joined(team: u64, revision: u64, note: &str) -> Event {
    Event {
        team: TeamUid(team),
        revision: Revision(revision),
        at: Time(9),
        actor: Actor::Coordinator,
        on_behalf_of: None,
        cause: None,
        cause_message: None,
        previous: Revision(0),
        what: Happening::TaskCreated {
            task: TaskId(1),
            subject: note.into(),
        },
    }
}

fn events_are_found_from_any_revision_on(place: &impl Place) {
    let mut store = place.open();
    // Commits of several sizes: pages that are cut, and an event longer than a page.
    let long = "long ".repeat(4_000);
    let mut all = Vec::new();
    for (len, note) in [(1, "a"), (500, "b"), (1, &*long), (3, "c"), (700, "d")] {
        let first = all.len() as u64 + 1;
        let events: Vec<_> = (first..first + len).map(|at| joined(1, at, note)).collect();
        all.extend(events.iter().cloned());
        let mut batch = batch_of(Vec::new());
        batch.events = events;
        batch.events.push(joined(2, first, "of another team"));
        store.commit(&batch).unwrap();
    }
    drop(store);

    let store = place.open();

    for after in 0..=all.len() {
        let after_revision = Revision(after as u64);
        let events = store.events(TeamUid(1), after_revision, 5).unwrap();
        let expected = &all[after..(after + 5).min(all.len())];
        assert_eq!(events, expected, "after {after}");
    }
    let events = store.events(TeamUid(1), Revision(0), usize::MAX).unwrap();
    assert_eq!(events, all);
}

fn an_event_is_found_by_its_revision(place: &impl Place) {
    let mut store = place.open();
    for first in [1, 101] {
        let mut batch = batch_of(Vec::new());
        batch.events = (first..first + 100).map(|at| joined(1, at, "a")).collect();
        store.commit(&batch).unwrap();
    }

    for at in [1, 2, 100, 101, 200] {
        let found = store.event(TeamUid(1), Revision(at)).unwrap();
        assert_eq!(found, Some(joined(1, at, "a")));
    }
    for at in [0, 201, u64::MAX] {
        assert_eq!(store.event(TeamUid(1), Revision(at)).unwrap(), None);
    }
    let oldest = |team| store.oldest_event(TeamUid(team)).unwrap();
    assert_eq!((oldest(1), oldest(2)), (Some(Revision(1)), None));
}

fn the_newest_events_outlive_sweeps(place: &impl Place) {
    let mut store = place.open();
    let mut batch = batch_of(Vec::new());
    batch.events = (1..=1_000).map(|at| joined(1, at, "a")).collect();
    batch.events.push(joined(2, 1, "of another team"));
    store.commit(&batch).unwrap();
    let opened = load(&mut store).0;

    sweep(&mut store, 10);

    // Those that share a page with one that is kept go, too.
    let all = |store: &dyn Store, team| store.events(TeamUid(team), Revision(0), 2_000).unwrap();
    let newest: Vec<Event> = (992..=1_000).map(|at| joined(1, at, "a")).collect();
    assert_eq!(all(&store, 1), newest);
    assert_eq!(all(&store, 2), [joined(2, 1, "of another team")]);
    assert_eq!(load(&mut store).0, opened, "it is no commit");

    // It goes on after the last one, and is found again.
    batch.events = vec![joined(1, 1_001, "b")];
    store.commit(&batch).unwrap();
    drop(store);
    let mut store = place.open();
    sweep(&mut store, 10);
    let oldest = store.oldest_event(TeamUid(1)).unwrap();
    assert_eq!(oldest, Some(Revision(993)));
    assert_eq!(store.event(TeamUid(1), Revision(992)).unwrap(), None);
    let last = store.event(TeamUid(1), Revision(1_001)).unwrap();
    assert_eq!(last, Some(joined(1, 1_001, "b")));
}

fn old_events_do_not_outlive_sweeps(place: &impl Place) {
    let mut store = place.open();
    for (team, revision, at) in [(1, 1, 100), (2, 1, 100), (2, 2, 200), (3, 1, 201)] {
        let mut batch = batch_of(Vec::new());
        batch.events = vec![joined(team, revision, "a")];
        batch.events[0].at = Time(at);
        store.commit(&batch).unwrap();
    }
    let oldest = |store: &dyn Store| {
        [1, 2, 3].map(|team| store.oldest_event(TeamUid(team)).unwrap().map(|at| at.0))
    };

    sweep(&mut store, 60_100);
    assert_eq!(oldest(&store), [Some(1), Some(1), Some(1)]);
    sweep(&mut store, 60_101);
    assert_eq!(oldest(&store), [None, Some(2), Some(1)]);
    drop(store);
    let mut store = place.open();
    sweep(&mut store, 60_201);
    assert_eq!(oldest(&store), [None, None, Some(1)]);
}

pub(super) fn outcomes(keys: impl IntoIterator<Item = u128>) -> Vec<Outcome> {
    let outcome = |key| Outcome {
        request: board::record::Request {
            key: request_key(key),
            body: key,
        },
        at: Time(0),
        team: TeamUid(1),
        came_to: board::record::CameTo::Team,
    };
    keys.into_iter().map(outcome).collect()
}

fn commit_outcomes(store: &mut impl Store, at: i64, keys: impl IntoIterator<Item = u128>) {
    let mut batch = batch_of(Vec::new());
    batch.at = Time(at);
    batch.outcomes = outcomes(keys);
    store.commit(&batch).unwrap();
}

fn known(store: &impl Store, keys: impl IntoIterator<Item = u128>) -> Vec<u128> {
    let is_known = |key: &u128| store.outcome(request_key(*key)).unwrap().is_some();
    keys.into_iter().filter(is_known).collect()
}

fn outcomes_past_the_horizon_are_forgotten(place: &impl Place) {
    let mut store = place.open();

    // By number: the newest 7, and what shares a page with them.
    let kept = |count, oldest| OutcomesKept {
        count,
        oldest: Some(Time(oldest)),
    };
    commit_outcomes(&mut store, 1, 0..70);
    assert_eq!(store.outcomes_kept(), kept(70, 1));
    commit_outcomes(&mut store, 2, [70]);
    assert_eq!(known(&store, 0..80), Vec::from_iter(64..71));
    for key in 71..80 {
        commit_outcomes(&mut store, 2, [key]);
    }
    assert_eq!(known(&store, 0..80), Vec::from_iter(73..80));
    assert_eq!(store.outcomes_kept(), kept(7, 2));

    // By age, and only when there are new ones: two for each, and one more.
    drop(store);
    let mut store = place.open();
    assert_eq!(store.outcomes_kept(), kept(7, 2));
    commit_outcomes(&mut store, 60_003, []);
    assert_eq!(known(&store, 0..90), Vec::from_iter(73..80));
    commit_outcomes(&mut store, 60_003, [80]);
    assert_eq!(known(&store, 0..90), Vec::from_iter(76..81));
    commit_outcomes(&mut store, 60_003, [81]);
    commit_outcomes(&mut store, 60_003, [82]);
    assert_eq!(known(&store, 0..90), [80, 81, 82]);
    assert_eq!(store.outcomes_kept(), kept(3, 60_003));
}

fn an_outcome_that_came_again_is_not_forgotten_with_the_first(place: &impl Place) {
    let mut store = place.open();
    commit_outcomes(&mut store, 1, [1, 2]);
    commit_outcomes(&mut store, 50_000, [1]);
    drop(store);

    let mut store = place.open();
    commit_outcomes(&mut store, 60_002, [3]);

    assert_eq!(known(&store, 0..10), [1, 3]);
    assert_eq!(store.outcomes_kept().count, 2);
}

fn the_last_record_of_an_identity_counts(place: &impl Place) {
    let team = TeamUid(1);
    let record = |task: &Task| Record::Task(team, Arc::new(task.clone()));
    let mut store = place.open();
    let (open, finished) = (open_task(), finished_task());

    let batch = batch_of(vec![record(&open), record(&finished)]);
    store.commit(&batch).unwrap();
    let (_, records) = load(&mut store);
    assert_eq!(records, [Record::Stub(team, finished.stub().unwrap())]);

    let batch = batch_of(vec![record(&finished), record(&open)]);
    store.commit(&batch).unwrap();
    let (_, records) = load(&mut store);
    assert_eq!(records, [record(&open)]);
}

/// A clone of the memory store is what a crash leaves.
#[test]
fn memory_outlives_its_handles_until_its_disk_breaks() {
    let mut store = MemoryStore::default();
    commit_outcomes(&mut store, 1, [1]);
    let mut other = store.clone();
    drop(store);
    assert_eq!(known(&other, 0..3), [1]);

    other.break_disk();

    assert!(other.commit(&Batch::default()).is_err());
    assert_eq!(known(&other, 0..3), [1]);
}
