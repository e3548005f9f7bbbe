//! A board of which something is missing: refused with what that is, or gone on with when a person
//! says so, so that nothing is handed out again.

use std::{fs, path::Path, sync::Arc};

use board::{
    event::Happening,
    id::{Epoch, MemberName, MessageId, Revision, TaskId, TeamName, TeamUid},
    record::{Meta, Record},
    team::Team,
    time::Time,
};
use tempfile::TempDir;

use super::{
    Batch, Options, Store, StoreError,
    backup_tests::Shelf,
    conformance, generation, key,
    mark::{self, Marks},
    restore,
    sled_store::SledStore,
};

const TEAM: TeamUid = TeamUid(1);
const NEW: Epoch = Epoch(99);

fn options(accept_loss: Option<Epoch>) -> Options {
    Options {
        accept_loss,
        ..Options::default()
    }
}

fn open(dir: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(dir, options(None))
}

fn load(store: &mut SledStore) -> Vec<Record> {
    let mut records = Vec::new();
    store.load(&mut |record| records.push(record)).unwrap();
    records
}

/// The commit of this number: each hands out two ids, of a task and a message, and a revision.
fn batch(number: u64) -> Batch {
    let team = Team {
        uid: TEAM,
        name: TeamName::parse("crew").unwrap(),
        description: "".into(),
        lead: MemberName::parse("lead").unwrap(),
        created_at: Time(0),
        revision: Revision(number),
        last_task: TaskId(number),
        expired_through: TaskId(0),
        last_message: MessageId(number),
        closed_since_verification: 0,
        verification_threshold: 0,
        idle_notices: false,
        weight: 1,
        max_running: 0,
        dissolved: None,
    };
    let meta = Meta {
        epoch: Epoch(7),
        last_team: TEAM,
    };
    let bob = MemberName::parse("bob").unwrap();
    Batch {
        at: Time(i64::try_from(number).unwrap() * 1_000),
        records: vec![
            Record::Meta(meta),
            Record::Team(team),
            Record::Post(TeamUid(2), bob, MessageId(number)),
        ],
        events: vec![conformance::joined(1, number, "a")],
        ..Batch::default()
    }
}

fn commit(dir: &Path, numbers: std::ops::RangeInclusive<u64>) {
    let mut store = open(dir).unwrap();
    numbers.for_each(|number| store.commit(&batch(number)).unwrap());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// A board of nine commits whose database is that of five: its end is gone.
fn cut_short() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let older = tempfile::tempdir().unwrap();
    commit(dir.path(), 1..=5);
    let database = generation::path(dir.path(), 1);
    copy(&database, older.path());
    commit(dir.path(), 6..=9);
    fs::remove_dir_all(&database).unwrap();
    copy(older.path(), &database);
    dir
}

fn team_of(records: &[Record]) -> &Team {
    let mut teams = records.iter().filter_map(|record| match record {
        Record::Team(team) => Some(team),
        _ => None,
    });
    teams.next().unwrap()
}

#[test]
fn a_board_whose_end_is_gone_is_refused_with_what_is_missing() {
    let dir = cut_short();

    let refusal = open(dir.path()).unwrap_err();

    assert!(matches!(refusal, StoreError::Lost { .. }), "{refusal}");
    let missing = "commits 6 to 9 of 1970-01-01T00:00:09Z are missing, which handed out 8 ids and \
                   4 revisions";
    let refusal = refusal.to_string();
    assert!(refusal.contains(missing), "{refusal}");
    assert!(refusal.contains("--accept-loss"), "{refusal}");
    // It stays so.
    open(dir.path()).unwrap_err();
}

#[test]
fn a_board_that_goes_on_without_its_end_hands_nothing_out_again() {
    let dir = cut_short();

    let mut store = SledStore::open(dir.path(), options(Some(NEW))).unwrap();

    let records = load(&mut store);
    let meta = Meta {
        epoch: NEW,
        last_team: TeamUid(1 + 8),
    };
    assert!(records.contains(&Record::Meta(meta)));
    let team = team_of(&records);
    // Raised by the 8 ids and 4 revisions, and the event that says so.
    assert_eq!(
        (team.last_task, team.last_message),
        (TaskId(13), MessageId(13))
    );
    assert_eq!(team.revision, Revision(10));
    let events = store.events(TEAM, Revision(0), 99).unwrap();
    let revisions: Vec<_> = events.iter().map(|event| event.revision.0).collect();
    assert_eq!(revisions, [1, 2, 3, 4, 5, 10]);
    let Happening::LossAccepted { missing } = &events[5].what else {
        panic!("{events:?}");
    };
    assert!(missing.contains("commits 6 to 9"), "{missing}");
    assert_eq!(store.event(TEAM, Revision(7)).unwrap(), None);
    store.check_counts();
    drop(store);
    // From then on it is a board like others, also one that is told so again.
    let mut again = SledStore::open(dir.path(), options(Some(Epoch(1)))).unwrap();
    assert_eq!(load(&mut again), records);
    drop(again);
    let mut again = open(dir.path()).unwrap();
    assert_eq!(load(&mut again), records);
}

#[test]
fn after_an_unclean_stop_counters_are_raised_by_more_than_the_last_second_can_have_handed_out() {
    let dir = cut_short();
    let marks = Marks::read(dir.path());
    let mut newest = marks.newest.unwrap();
    assert!(newest.is_clean);
    newest.is_clean = false;
    mark::write_both(dir.path(), &newest).unwrap();

    let mut store = SledStore::open(dir.path(), options(Some(NEW))).unwrap();

    let records = load(&mut store);
    let team = team_of(&records);
    assert_eq!(team.last_task, TaskId(13 + 65_536));
    assert_eq!(team.last_message, MessageId(13 + 65_536));
    assert_eq!(team.revision, Revision(10 + 65_536));
}

#[test]
fn a_team_that_is_older_than_the_last_commit_goes_on_beyond_what_it_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    commit(dir.path(), 1..=5);
    let mut store = open(dir.path()).unwrap();
    let older = store.db.get(key::team(TEAM)).unwrap().unwrap();
    store.commit(&batch(6)).unwrap();
    store.db.insert(key::team(TEAM), older).unwrap();
    store.db.flush().unwrap();
    drop(store);

    let refusal = open(dir.path()).unwrap_err().to_string();

    let missing = "of 1 teams some are not as they were";
    assert!(refusal.contains(missing), "{refusal}");
    let mut store = SledStore::open(dir.path(), options(Some(NEW))).unwrap();
    let records = load(&mut store);
    let team = team_of(&records);
    assert_eq!(
        (team.last_task, team.last_message),
        (TaskId(7), MessageId(7))
    );
    assert!(team.revision > Revision(6));
}

#[test]
fn what_belongs_to_nothing_any_more_is_dropped_when_a_board_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (other, task) = (TeamUid(2), conformance::finished_task());
    let mut store = open(dir.path()).unwrap();
    store.commit(&batch(1)).unwrap();
    let batch = Batch {
        records: vec![
            Record::Task(TEAM, Arc::new(task.clone())),
            Record::Task(other, Arc::new(task)),
        ],
        ..batch(2)
    };
    store.commit(&batch).unwrap();
    store.db.remove(key::team(TEAM)).unwrap();
    store.db.flush().unwrap();
    drop(store);

    let mut store = SledStore::open(dir.path(), options(Some(NEW))).unwrap();

    // Both teams are gone, and all that was theirs.
    let [Record::Meta(meta)] = load(&mut store)[..] else {
        panic!("{:?}", load(&mut store));
    };
    assert!(meta.last_team > TeamUid(1));
    store.check_counts();
}

#[test]
fn a_board_whose_mark_can_not_be_read_is_refused_and_one_file_of_it_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    commit(dir.path(), 1..=3);
    let marks = ["mark-1", "mark-2"].map(|name| dir.path().join(name));
    let [first, second] = &marks;
    let whole = fs::read(first).unwrap();

    fs::write(first, &whole[..9]).unwrap();
    drop(open(dir.path()).unwrap());
    fs::write(first, "").unwrap();
    fs::write(second, "").unwrap();
    let refusal = open(dir.path()).unwrap_err().to_string();

    assert!(
        refusal.contains("its mark (mark-1 and mark-2) can't be read"),
        "{refusal}"
    );
    drop(SledStore::open(dir.path(), options(Some(NEW))).unwrap());
    open(dir.path()).unwrap();
}

#[test]
fn a_database_that_is_empty_or_gone_is_no_new_board_where_there_is_a_mark() {
    let dir = tempfile::tempdir().unwrap();
    commit(dir.path(), 1..=3);
    let log = generation::path(dir.path(), 1).join("db");
    fs::write(log, "").unwrap();

    let refusal = open(dir.path()).unwrap_err();

    let is_refused = |error| matches!(error, StoreError::Lost { .. } | StoreError::Corrupt { .. });
    assert!(is_refused(refusal));
    fs::remove_dir_all(generation::path(dir.path(), 1)).unwrap();
    assert!(is_refused(open(dir.path()).unwrap_err()));
}

#[test]
fn a_board_from_before_there_were_marks_gets_one_at_its_first_start() {
    let dir = tempfile::tempdir().unwrap();
    commit(dir.path(), 1..=3);
    let store = open(dir.path()).unwrap();
    // Version 1 of the record: commit 3 at 3,000.
    let record = [1, 8, 3, 16, 184, 23];
    store.db.insert(key::commit(), &record).unwrap();
    store.db.flush().unwrap();
    drop(store);
    for name in ["mark-1", "mark-2"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }

    drop(open(dir.path()).unwrap());

    let mark = Marks::read(dir.path()).newest.unwrap();
    assert_eq!((mark.commit, mark.epoch), (3, Epoch(7)));
    assert_eq!((mark.handed.ids, mark.handed.revisions), (7, 3));
    commit(dir.path(), 4..=4);
}

#[test]
fn compaction_restore_and_export_renew_the_mark() {
    let dir = tempfile::tempdir().unwrap();
    commit(dir.path(), 1..=3);
    SledStore::compact(dir.path()).unwrap();
    let mut store = open(dir.path()).unwrap();
    store.commit(&batch(4)).unwrap();
    let shelf = Shelf::default();
    store.begin_backup(Box::new(shelf.clone()));
    while store.back_up() {}
    shelf.ended().unwrap().unwrap();
    let (restored, exported) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());

    restore(restored.path(), &*shelf.bytes(), Epoch(8)).unwrap();
    store.export(exported.path()).unwrap();

    let marks = |dir: &TempDir| Marks::read(dir.path()).newest.unwrap();
    for (dir, epoch) in [(&restored, Epoch(8)), (&exported, Epoch(7))] {
        let mark = marks(dir);
        assert_eq!((mark.commit, mark.epoch, mark.is_clean), (4, epoch, true));
        open(dir.path()).unwrap().commit(&batch(5)).unwrap();
        assert_eq!(marks(dir).commit, 5);
    }
}

#[test]
fn what_gone_teams_handed_out_still_counts() {
    let dir = tempfile::tempdir().unwrap();
    commit(dir.path(), 1..=5);
    let mut store = open(dir.path()).unwrap();
    let mut gone = batch(6);
    gone.records = vec![Record::TeamGone(TEAM)];
    gone.events.clear();
    store.commit(&gone).unwrap();
    while store.sweep(Time(9_000)).unwrap() {}
    drop(store);

    let mark = Marks::read(dir.path()).newest.unwrap();
    assert_eq!((mark.handed.ids, mark.handed.revisions), (11, 5));
    drop(open(dir.path()).unwrap());
    assert_eq!(Marks::read(dir.path()).newest, Some(mark));
}
