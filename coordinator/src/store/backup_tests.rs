//! Backups: made while commits go on, restored, and refused when they are not whole.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
};

use board::{
    id::{Epoch, MemberName, MessageId, TeamUid},
    record::{Meta, Record},
    time::Time,
};
use tempfile::TempDir;

use super::{
    AttemptKey, BackupSink, Batch, Opened, Options, Store, StoreError,
    restore::{Restored, restore},
    sled_store::SledStore,
};

/// Keeps a backup in memory.
#[derive(Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    ended: Option<Result<u64, String>>,
    /// It takes no more than so many bytes.
    room: Option<usize>,
    is_busy: bool,
}

impl BackupSink for Shelf {
    fn is_ready(&self) -> bool {
        !self.0.lock().unwrap().is_busy
    }

    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap();
        let len = kept.bytes.len() + piece.len();
        if kept.room.is_some_and(|room| len > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        kept.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn end(self: Box<Self>, ended: Result<u64, StoreError>) {
        let ended = ended.map_err(|error| error.to_string());
        self.0.lock().unwrap().ended = Some(ended);
    }
}

impl Shelf {
    pub(super) fn ended(&self) -> Option<Result<u64, String>> {
        self.0.lock().unwrap().ended.clone()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }
}

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir, Options::default()).unwrap()
}

/// Copies of a message, recognised by their numbers.
fn posts(at: i64, ids: impl Iterator<Item = u64>) -> Batch {
    let bob = MemberName::parse("bob").unwrap();
    let post = |id| Record::Post(TeamUid(1), bob.clone(), MessageId(id));
    Batch {
        at: Time(at),
        records: ids.map(post).collect(),
        ..Batch::default()
    }
}

fn meta(epoch: u128) -> Record {
    Record::Meta(Meta {
        epoch: Epoch(epoch),
        last_team: TeamUid(5),
    })
}

fn load(store: &mut SledStore) -> (Opened, Vec<Record>) {
    let mut records = Vec::new();
    let opened = store.load(&mut |record| records.push(record)).unwrap();
    (opened, records)
}

/// A board with twenty posts.
fn board() -> (TempDir, SledStore) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut first = posts(1, 1..=20);
    first.records.push(meta(7));
    store.commit(&first).unwrap();
    (dir, store)
}

fn backed_up(store: &mut SledStore) -> Vec<u8> {
    let shelf = Shelf::default();
    store.begin_backup(Box::new(shelf.clone()));
    while store.back_up() {}
    shelf.ended().unwrap().unwrap();
    shelf.bytes()
}

#[test]
fn what_commits_change_on_both_sides_of_a_backup_is_in_it() {
    let (_dir, mut store) = board();
    let shelf = Shelf::default();
    store.begin_backup(Box::new(shelf.clone()));
    // Past the counters and the first of the posts.
    for _ in 0..3 {
        assert!(store.back_up());
    }
    let mut changed = posts(2, 21..=22);
    let bob = MemberName::parse("bob").unwrap();
    let gone = |id| Record::PostGone(TeamUid(1), bob.clone(), MessageId(id));
    changed.records.extend([gone(1), gone(19), meta(8)]);
    store.commit(&changed).unwrap();
    while store.back_up() {}
    let (opened, records) = load(&mut store);
    store.commit(&posts(3, 30..=31)).unwrap();
    assert_eq!(shelf.ended(), Some(Ok(2)));

    let dir = tempfile::tempdir().unwrap();
    let restored = restore(dir.path(), &*shelf.bytes(), Epoch(9)).unwrap();

    let expected = Restored {
        commit: 2,
        at: Time(2),
        ..Restored::default()
    };
    assert_eq!(restored, expected);
    let mut copy = open(dir.path());
    copy.check_counts();
    let mut expected = records;
    expected[0] = meta(9);
    assert_eq!(load(&mut copy), (opened, expected));
}

#[test]
fn a_backup_that_is_cut_or_changed_anywhere_is_refused_and_leaves_no_board() {
    let (_dir, mut store) = board();
    let whole = backed_up(&mut store);
    let dir = tempfile::tempdir().unwrap();
    let refused = |bytes: &[u8]| {
        let refusal = restore(dir.path(), bytes, Epoch(9)).unwrap_err();
        let is_named = matches!(
            refusal,
            StoreError::BadBackup { .. } | StoreError::NewerFormat { .. }
        );
        assert!(is_named, "{refusal}");
        assert!(!dir.path().join("board-1").exists());
        refusal.to_string()
    };

    for len in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        assert!(refused(&whole[..len]).contains("cut short"), "{len}");
    }
    for at in (0..whole.len()).step_by(11) {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        refused(&changed);
    }
    let longer = [&whole[..], b"more"].concat();
    assert!(refused(&longer).contains("follows its end"));
    let mut newer = whole.clone();
    newer[8] = 2;
    assert!(refused(&newer).contains("newer Ganger: backup record of version 2"));

    // What the refused ones left behind is no obstacle.
    restore(dir.path(), &*whole, Epoch(9)).unwrap();
}

#[test]
fn nothing_is_restored_over_a_board() {
    let (dir, mut store) = board();
    let backup = backed_up(&mut store);
    let refused = restore(dir.path(), &*backup, Epoch(9)).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    let before = load(&mut store);
    drop(store);

    let refused = restore(dir.path(), &*backup, Epoch(9)).unwrap_err();

    assert!(refused.to_string().contains("restoring into"), "{refused}");
    assert_eq!(load(&mut open(dir.path())), before);
}

#[test]
fn a_backup_of_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let backup = backed_up(&mut open(dir.path()));
    let to = tempfile::tempdir().unwrap();

    let refused = restore(to.path(), &*backup, Epoch(9)).unwrap_err();

    assert!(refused.to_string().contains("no board in it"), "{refused}");
    let left: Vec<_> = fs::read_dir(to.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "the lock, and what the next try removes");
}

#[test]
fn a_sink_that_takes_no_more_ends_the_backup_and_not_the_store() {
    let (_dir, mut store) = board();
    let whole = backed_up(&mut store).len();
    // At its head, and at its end: it is short enough to go in one piece.
    for room in [0, 20, whole - 1] {
        let shelf = Shelf::default();
        shelf.0.lock().unwrap().room = Some(room);
        store.begin_backup(Box::new(shelf.clone()));
        while store.back_up() {}

        let ended = shelf.ended().unwrap().unwrap_err();
        assert!(ended.contains("the backup is full"), "{ended}");
    }
    store.commit(&posts(2, 40..=50)).unwrap();
    assert!(!store.back_up());
}

#[test]
fn a_backup_waits_for_its_sink_and_has_what_is_committed_meanwhile() {
    let (_dir, mut store) = board();
    let whole = backed_up(&mut store);
    let shelf = Shelf::default();
    store.begin_backup(Box::new(shelf.clone()));
    assert!(store.back_up());
    shelf.0.lock().unwrap().is_busy = true;

    for _ in 0..100 {
        assert!(store.back_up(), "it is under way all the time");
    }
    assert_eq!(shelf.ended(), None);
    store.commit(&posts(2, 40..=50)).unwrap();
    shelf.0.lock().unwrap().is_busy = false;
    while store.back_up() {}

    assert_eq!(shelf.ended(), Some(Ok(2)));
    assert!(shelf.bytes().len() > whole.len());
}

#[test]
fn a_backup_that_another_one_replaces_is_told() {
    let (_dir, mut store) = board();
    let (first, second) = (Shelf::default(), Shelf::default());
    store.begin_backup(Box::new(first.clone()));
    assert!(store.back_up());

    store.begin_backup(Box::new(second.clone()));
    while store.back_up() {}

    assert!(first.ended().unwrap().is_err());
    assert_eq!(second.ended(), Some(Ok(1)));
}

#[test]
fn the_key_of_attempts_secrets_is_in_no_backup_and_new_on_a_restored_board() {
    let (dir, mut store) = board();
    let [old, new] = [0xaa, 0xbb].map(|byte| AttemptKey::from_bytes([byte; 32]));
    store.attempt_key(old.clone()).unwrap();
    let shelf = Shelf::default();
    store.begin_backup(Box::new(shelf.clone()));
    // Past where it lies: what is written behind the place that was reached is noted, too.
    let mut next = 21;
    while store.back_up() {
        store.commit(&posts(2, next..=next)).unwrap();
        next += 1;
    }
    let bytes = shelf.bytes();
    assert!(!bytes.windows(32).any(|window| window == [0xaa; 32]));

    let copy = tempfile::tempdir().unwrap();
    restore(copy.path(), &*bytes, Epoch(9)).unwrap();
    let mut restored = open(copy.path());
    restored.check_counts();
    assert_eq!(restored.attempt_key(new.clone()).unwrap(), new);
    restored.check_counts();

    drop(store);
    SledStore::compact(dir.path()).unwrap();
    let mut compacted = open(dir.path());
    assert_eq!(compacted.attempt_key(new).unwrap(), old);
    compacted.check_counts();
}

#[test]
fn a_key_that_was_noted_during_a_backup_is_not_in_it() {
    let (_dir, mut store) = board();
    let shelf = Shelf::default();
    store.begin_backup(Box::new(shelf.clone()));
    for _ in 0..3 {
        assert!(store.back_up());
    }
    store
        .attempt_key(AttemptKey::from_bytes([0xaa; 32]))
        .unwrap();
    while store.back_up() {}

    assert!(shelf.ended().unwrap().is_ok());
    assert!(!shelf.bytes().windows(32).any(|window| window == [0xaa; 32]));
}
