//! What only the store on the disk must do.

use std::{fs, path::Path, sync::Arc};

use board::{
    id::{AgentTypeName, MemberName, MessageId, Revision, TeamUid},
    record::{OfferedType, Record},
    task::{EndStatus, TaskState},
    time::Time,
};
use tempfile::TempDir;

use super::{
    Batch, Opened, Options, Retention, Store, StoreError, TaskPlace, database, durable, key,
    sled_store::SledStore,
};

impl SledStore {
    /// Counts what lives, and compares; looks that nothing lies in files that sled never syncs.
    pub(super) fn check_counts(&self) {
        let (db, at, live_bytes) = (&self.db, &self.at, self.live_bytes);
        let commit = db.get(key::commit()).unwrap();
        let commit_len = commit.map_or(0, |value| 1 + value.len() as u64);
        let sum = database::sum(db, at).unwrap();
        let attempt_key = db.get(key::attempt_key()).unwrap();
        let attempt_key_len = attempt_key.map_or(0, |value| 1 + value.len() as u64);
        assert_eq!(sum.bytes - commit_len - attempt_key_len, live_bytes);
        assert_eq!(self.count_again().unwrap(), self.tallies);
        // Sled removes the directory when it opens a database without any.
        let blobs = fs::read_dir(at.join("blobs")).map_or(0, Iterator::count);
        assert_eq!(blobs, 0, "sled doesn't sync these");
    }
}

fn open(dir: &TempDir) -> Result<SledStore, StoreError> {
    SledStore::open(dir.path(), Options::default())
}

fn batch(at: i64, name: &str) -> Batch {
    Batch {
        at: Time(at),
        records: vec![Record::Offered(OfferedType {
            is_interactive: false,
            hiring_depth: 0,
            tasks_max: board::limits::ATTEMPT_TASKS,
            may_create_teams: false,
            prompt_is_script: false,
            name: AgentTypeName::parse(name).unwrap(),
            description: "".into(),
            runtime: "command".into(),
            digest: "".into(),
            last_seen: None,
        })],
        ..Batch::default()
    }
}

/// One of some 60 KiB.
fn long_batch(at: i64, name: &str) -> Batch {
    let mut batch = batch(at, name);
    if let Record::Offered(offered) = &mut batch.records[0] {
        offered.description = "long".repeat(15_000).into();
    }
    batch
}

fn load(store: &mut SledStore) -> Result<(Opened, Vec<Record>), StoreError> {
    let mut records = Vec::new();
    let opened = store.load(&mut |record| records.push(record))?;
    Ok((opened, records))
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn each_commit_waits_for_fdatasync() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();

    // Other tests of this process sync too, so that only "at least" can be said.
    for at in 0..20 {
        let before = durable::syncs();
        store.commit(&batch(at, "shell")).unwrap();
        assert!(durable::syncs() > before);
    }
}

/// Keys that name a team, but for the mark that it is gone.
fn keys_of(store: &SledStore, team: TeamUid) -> usize {
    let prefixes = key::all_of_team(team);
    prefixes
        .map(|prefix| store.db.scan_prefix(prefix).count())
        .sum()
}

#[test]
fn a_gone_team_is_removed_in_bounded_steps_that_a_crash_may_part() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    let empty = load(&mut store).unwrap();
    let team = TeamUid(4);
    let member = |at: usize| MemberName::parse(&format!("m{at}")).unwrap();
    let posts = (0..1_000).map(|at| Record::Post(team, member(at), MessageId(1)));
    let mut full = batch(1, "shell");
    full.records = posts.collect();
    store.commit(&full).unwrap();
    let mut gone = batch(2, "shell");
    gone.records = vec![Record::TeamGone(team)];
    store.commit(&gone).unwrap();

    let mut left = vec![keys_of(&store, team)];
    while store.sweep(Time(2)).unwrap() {
        left.push(keys_of(&store, team));
        drop(store);
        store = open(&dir).unwrap();
        assert_eq!(load(&mut store).unwrap().1, empty.1);
    }

    assert_eq!(left, [1_000, 744, 488, 232]);
    assert_eq!(keys_of(&store, team), 0);
    assert_eq!(store.db.get(key::gone_team(team)).unwrap(), None);
    store.check_counts();
}

#[test]
fn events_are_forgotten_in_bounded_steps() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        retention: Retention {
            count: 100,
            ..Retention::default()
        },
        ..Options::default()
    };
    let mut store = SledStore::open(dir.path(), options).unwrap();
    for revision in 1..=700 {
        let mut batch = batch(1, "shell");
        batch.events = vec![super::conformance::joined(1, revision, "a")];
        store.commit(&batch).unwrap();
    }

    let mut oldest = Vec::new();
    while store.sweep(Time(9)).unwrap() {
        oldest.push(store.oldest_event(TeamUid(1)).unwrap().unwrap().0);
    }

    assert_eq!(oldest, [257, 513]);
    let last = store.oldest_event(TeamUid(1)).unwrap();
    assert_eq!(last, Some(Revision(601)));
    store.check_counts();
}

#[test]
fn a_sweep_without_anything_to_do_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    store.commit(&batch(1, "shell")).unwrap();
    let db = &store.db;
    // A write would put it there again.
    db.remove(key::commit()).unwrap();

    assert!(!store.sweep(Time(9)).unwrap());

    assert_eq!(store.db.get(key::commit()).unwrap(), None);
}

#[test]
fn a_second_store_in_a_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir).unwrap();

    let refusal = open(&dir).unwrap_err();

    assert!(matches!(refusal, StoreError::Locked { .. }), "{refusal}");
    drop(first);
    open(&dir).unwrap();
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    store.commit(&batch(1, "shell")).unwrap();
    let db = &store.db;
    db.insert(key::team(TeamUid(1)), vec![4, 0, 0]).unwrap();
    db.flush().unwrap();
    drop(store);

    let refusal = open(&dir).unwrap_err();

    assert_eq!(
        refusal.to_string(),
        "made by a newer Ganger: team record of version 4, this one reads up to 3"
    );
}

#[test]
fn a_commit_record_of_a_newer_version_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    store.commit(&batch(1, "shell")).unwrap();
    let db = &store.db;
    db.insert(key::commit(), vec![9]).unwrap();
    db.flush().unwrap();
    drop(store);

    let refusal = open(&dir).unwrap_err();

    assert!(matches!(
        refusal,
        StoreError::NewerFormat {
            kind: "commit",
            version: 9,
            known: 2
        }
    ));
}

#[test]
fn a_record_that_makes_no_sense_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    let db = &store.db;
    db.insert(key::OFFERED, vec![1, 0xff, 0xff]).unwrap();

    let error = load(&mut store).unwrap_err().to_string();

    assert!(
        error.contains("board-1 is damaged: the record t has"),
        "{error}"
    );
    assert!(error.contains("restore the newest backup"), "{error}");
}

#[test]
fn an_unfinished_snapshot_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    store.commit(&batch(1, "shell")).unwrap();
    let expected = load(&mut store).unwrap();
    drop(store);
    let torn = dir.path().join("board-1/snap.FFFFFFFFFFFFFFF0.generating");
    fs::write(&torn, "half a snap").unwrap();

    let found = load(&mut open(&dir).unwrap()).unwrap();

    assert_eq!(found, expected);
    assert!(!torn.exists());
}

#[test]
fn a_database_that_makes_sled_panic_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    for at in 0..60 {
        store
            .commit(&long_batch(at, &format!("type-{at}")))
            .unwrap();
    }
    drop(store);
    // The file's end is gone, as after a power cut without a sync.
    let path = dir.path().join("board-1/db");
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();

    let error = open(&dir).unwrap_err();

    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

#[test]
fn a_bloated_database_is_compacted_at_a_start_and_its_last_generation_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    for at in 0..100 {
        store.commit(&long_batch(at, "shell")).unwrap();
    }
    let expected = load(&mut store).unwrap();
    drop(store);
    let len = database::len_on_disk(&dir.path().join("board-1")).unwrap();

    let without_slack = Options {
        slack_bytes: 0,
        ..Options::default()
    };
    let mut store = SledStore::open(dir.path(), without_slack).unwrap();

    assert_eq!(load(&mut store).unwrap(), expected);
    store.check_counts();
    let kept = ["LOCK", "board-1", "board-2", "mark-1", "mark-2"];
    assert_eq!(names(dir.path()), kept);
    let compacted = database::len_on_disk(&dir.path().join("board-2")).unwrap();
    assert!(compacted < len, "{len} bytes became {compacted}");

    // And it goes on from there.
    store.commit(&batch(200, "new")).unwrap();
    drop(store);
    let mut store = open(&dir).unwrap();
    assert_eq!(load(&mut store).unwrap().0.commit, 101);
}

#[test]
fn an_export_goes_only_where_nothing_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).unwrap();
    let to = tempfile::tempdir().unwrap();
    fs::write(to.path().join("mine"), "").unwrap();

    let refusal = store.export(to.path()).unwrap_err();

    assert!(matches!(refusal, StoreError::Io { .. }), "{refusal}");
    assert_eq!(names(to.path()), ["mine"]);
}

#[test]
fn after_a_failed_commit_none_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    let mut first = batch(0, "shell");
    first.outcomes = super::conformance::outcomes([0]);
    store.commit(&first).unwrap();
    // A page of outcomes that can't be read when it is to be forgotten.
    let db = &store.db;
    db.insert(key::outcomes(0), vec![0xff]).unwrap();
    let mut bad = batch(1, "shell");
    bad.outcomes = super::conformance::outcomes([1]);

    store.commit(&bad).unwrap_err();

    let error = store.commit(&batch(2, "shell")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

/// Stubs did not always say when their tasks ended.
#[test]
fn an_old_stub_takes_the_time_of_its_end_from_its_task() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    let (team, mut task) = (TeamUid(2), super::conformance::finished_task());
    task.revision = Revision(2);
    if let TaskState::Ended(end) = &mut task.state {
        end.status = EndStatus::Completed;
    }
    let stub = task.stub().unwrap();
    let key = key::stub(team, task.id);
    let batch = Batch {
        records: vec![Record::Task(team, Arc::new(task))],
        ..Batch::default()
    };
    store.commit(&batch).unwrap();
    // Version 1: completed, at revision 2.
    store.db.insert(key, &[1, 8, 1, 16, 2]).unwrap();
    store.tallies = store.count_again().unwrap();

    let loaded = load(&mut store).unwrap().1;

    let [Record::Stub(_, old)] = &loaded[..] else {
        panic!("{loaded:?}");
    };
    assert_eq!(old.ended_at, stub.ended_at);
}

/// A board of which sled has skipped a part of its log: the newest commit record stands over what
/// is older, or not there.
fn without<T>(dir: &TempDir, damage: impl FnOnce(&sled::Db) -> T) -> SledStore {
    let store = open(dir).unwrap();
    damage(&store.db);
    store.db.flush().unwrap();
    drop(store);
    open(dir).unwrap()
}

#[test]
fn a_start_refuses_a_board_of_which_a_record_is_missing_or_older_and_says_of_which_kind() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    for (at, name) in [(1, "shell"), (2, "claude"), (3, "codex")] {
        store.commit(&batch(at, name)).unwrap();
    }
    drop(store);
    let key = key::offered(&AgentTypeName::parse("codex").unwrap());
    let mut newest = Vec::new();

    let mut store = without(&dir, |db| {
        newest = db.remove(&key).unwrap().unwrap().to_vec()
    });
    let refusal = load(&mut store).unwrap_err();

    assert!(matches!(refusal, StoreError::Lost { .. }), "{refusal}");
    let missing = "2 agent types are there instead of 3";
    assert!(refusal.to_string().contains(missing), "{refusal}");
    drop(store);
    let older = [&newest[..], &[26, 1, b'x']].concat();
    let mut store = without(&dir, |db| db.insert(&key, older).unwrap());
    let refusal = load(&mut store).unwrap_err();
    let missing = "of 3 agent types some are not as they were";
    assert!(refusal.to_string().contains(missing), "{refusal}");
    drop(store);
    load(&mut without(&dir, |db| db.insert(&key, newest).unwrap())).unwrap();
}

#[test]
fn a_board_of_before_there_were_tallies_is_counted_at_its_first_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).unwrap();
    store.commit(&batch(1, "shell")).unwrap();
    let expected = load(&mut store).unwrap();
    let tallies = store.tallies;
    drop(store);

    // Version 1: commit 1 at 1, of 20 bytes.
    let mut store = without(&dir, |db| {
        db.insert(key::commit(), &[1, 8, 1, 16, 1, 24, 20]).unwrap()
    });

    assert_eq!(load(&mut store).unwrap(), expected);
    assert_eq!(store.tallies, tallies);
    store.commit(&batch(2, "shell")).unwrap();
    drop(store);
    let mut store = without(&dir, |db| db.remove(key::offered(&shell())).unwrap());
    load(&mut store).unwrap_err();
}

fn shell() -> AgentTypeName {
    AgentTypeName::parse("shell").unwrap()
}

/// A board with events of one team, each in a page of its own.
fn with_events(dir: &TempDir, last: u64) {
    let mut store = open(dir).unwrap();
    for revision in 1..=last {
        let mut batch = batch(1, "shell");
        batch.events = vec![super::conformance::joined(1, revision, "a")];
        store.commit(&batch).unwrap();
    }
}

#[test]
fn events_that_are_missing_between_others_are_noticed_when_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    with_events(&dir, 9);
    let team = TeamUid(1);

    let mut store = without(&dir, |db| {
        db.remove(key::events(team, Revision(5))).unwrap()
    });

    load(&mut store).unwrap();
    let error = store.events(team, Revision(0), 9).unwrap_err().to_string();
    let missing = "events of team 1 are missing, from revision 5 on";
    assert!(error.contains(missing), "{error}");
    store.event(team, Revision(5)).unwrap_err();
    // The others are told.
    assert_eq!(store.events(team, Revision(0), 4).unwrap().len(), 4);
    assert_eq!(store.events(team, Revision(5), 9).unwrap().len(), 4);
    assert!(store.event(team, Revision(6)).unwrap().is_some());
}

#[test]
fn a_start_notices_that_the_first_or_the_last_events_are_missing() {
    for revision in [1, 9] {
        let dir = tempfile::tempdir().unwrap();
        with_events(&dir, 9);
        let lost = key::events(TeamUid(1), Revision(revision));

        let store = open(&dir).unwrap();
        store.db.remove(lost).unwrap();
        store.db.flush().unwrap();
        drop(store);
        let refusal = open(&dir).unwrap_err();

        let missing = "8 revisions of events are there instead of 9";
        assert!(refusal.to_string().contains(missing), "{refusal}");
    }
}

#[test]
fn a_finished_task_that_is_missing_or_older_than_its_stub_is_an_error_and_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (team, task) = (TeamUid(2), super::conformance::finished_task());
    let key = key::finished_task(team, task.id);
    let finished = |task: &board::task::Task| Batch {
        records: vec![Record::Task(team, Arc::new(task.clone()))],
        ..Batch::default()
    };
    let mut store = open(&dir).unwrap();
    let mut before = task.clone();
    before.revision = Revision(task.revision.0 - 1);
    store.commit(&finished(&before)).unwrap();
    let pieces = (0..).map(|index| key::piece(&key, index));
    let read = |key: Vec<u8>| Some((key.clone(), store.db.get(&key).unwrap()?));
    let mut older: Vec<_> = pieces.map_while(read).collect();
    older.extend(read(key.clone()));
    store.commit(&finished(&task)).unwrap();
    drop(store);

    let mut store = without(&dir, |db| {
        for (key, value) in older {
            db.insert(key, value).unwrap();
        }
    });

    load(&mut store).unwrap();
    let error = store.task(team, task.id).unwrap_err().to_string();
    assert!(error.contains("is not as it was when it ended"), "{error}");
    drop(store);
    let store = without(&dir, |db| db.remove(&key).unwrap());
    let error = store.task(team, task.id).unwrap_err().to_string();
    assert!(error.contains("is missing"), "{error}");
    let named = store.artifacts_named(TaskPlace::default(), 9, &mut |_| {});
    assert!(named.is_err(), "its artifacts would be taken for unused");
}

#[test]
fn a_sweep_that_can_not_read_leaves_the_store_able_to_commit() {
    let dir = tempfile::tempdir().unwrap();
    with_events(&dir, 9);
    let options = Options {
        retention: Retention {
            count: 2,
            ..Retention::default()
        },
        ..Options::default()
    };
    let mut store = SledStore::open(dir.path(), options).unwrap();
    let damaged = key::events(TeamUid(1), Revision(3));
    store.db.insert(damaged, vec![2, 0xff]).unwrap();

    let error = store.sweep(Time(9)).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");

    store.commit(&batch(9, "shell")).unwrap();
}
