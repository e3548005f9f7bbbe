//! What was acknowledged is there after a crash, and no batch is torn.
//!
//! A process commits planned batches and tells of each one that was acknowledged. It is killed at
//! a random moment; then the store must answer exactly as after some number of whole batches, and
//! none that was acknowledged may be missing.

#![allow(clippy::unwrap_used, reason = "it is a test, its helpers too")]

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use board::{
    id::{MessageId, Revision, TaskId},
    record::Record,
};
use ganger_coordinator::store::{MemoryStore, Options, SledStore, Store};
use ganger_tests::SmallDisk;

#[path = "../src/bin/store-writer/plan.rs"]
mod plan;
mod power;

const ROUNDS: u64 = 24;
/// So much that nothing is compacted.
const SLACK: u64 = 1 << 40;

/// A writer, and what it says.
struct Writer {
    child: Child,
    lines: Receiver<String>,
}

impl Writer {
    fn start(dir: &Path, slack_bytes: u64) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_store-writer"))
            .arg(dir)
            .arg(slack_bytes.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        // It ends with the pipe, that is with the writer.
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for so many lines, or for the writer's end.
    fn let_tell(&self, lines: u64, acknowledged: &mut u64) {
        for line in self.lines.iter().take(usize::try_from(lines).unwrap()) {
            note(&line, acknowledged);
        }
    }

    /// Kills it, and hears what it still told.
    fn kill(mut self, acknowledged: &mut u64) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().for_each(|line| note(&line, acknowledged));
    }
}

fn note(line: &str, acknowledged: &mut u64) {
    if let Ok(number) = line.parse() {
        *acknowledged = number;
    }
}

/// Chance that isn't the same at each run; it says which it was.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = RandomState::new().hash_one(1) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What a store must answer, batch by batch.
#[derive(Default)]
struct Expected {
    store: MemoryStore,
    commits: u64,
}

impl Expected {
    /// Asserts that the store in `dir` is whole and has what was acknowledged.
    fn check(&mut self, dir: &Path, acknowledged: u64) {
        let mut store = SledStore::open(dir, Options::default()).unwrap();
        let mut records = Vec::new();
        let opened = store.load(&mut |record| records.push(record)).unwrap();
        assert!(
            (acknowledged..=acknowledged + 1).contains(&opened.commit),
            "{acknowledged} commits were acknowledged, {} are there",
            opened.commit
        );

        while self.commits < opened.commit {
            self.commits += 1;
            self.store.commit(&plan::batch(self.commits)).unwrap();
        }
        let mut expected: Vec<Record> = Vec::new();
        let expected_opened = self.store.load(&mut |record| expected.push(record));
        assert_eq!(opened, expected_opened.unwrap());
        assert!(records == expected, "records differ after {opened:?}");
        self.check_rest(&store);
    }

    /// What isn't handed over at a start.
    fn check_rest(&self, store: &SledStore) {
        for task in (1..=plan::TASKS).map(TaskId) {
            let answers = [
                store.task(plan::TEAM, task).unwrap(),
                self.store.task(plan::TEAM, task).unwrap(),
            ];
            assert!(answers[0] == answers[1], "task {task} differs");
        }
        self.check_events(store);
        for number in 1..=self.commits {
            let outcome = store.outcome(plan::request_key(number)).unwrap();
            assert_eq!(outcome.unwrap().request.body, u128::from(number));
        }
        for letter in (1..=self.commits).map(MessageId) {
            let found = store.letter(plan::TEAM, letter).unwrap();
            let expected = self.store.letter(plan::TEAM, letter).unwrap();
            assert!(found == expected, "message {letter} differs");
        }
    }

    /// However far the sweeps came: no event is missing from the oldest one that is there, and
    /// none that must be kept.
    fn check_events(&self, store: &SledStore) {
        let revision = plan::revision_after(self.commits);
        let oldest = store.oldest_event(plan::TEAM).unwrap();
        let first_kept = revision.saturating_sub(plan::EVENTS_KEPT) + 1;
        assert!(oldest.is_none_or(|oldest| oldest.0 <= first_kept));
        let after = Revision(oldest.map_or(0, |oldest| oldest.0 - 1));

        let events = store.events(plan::TEAM, after, usize::MAX).unwrap();

        let expected = self.store.events(plan::TEAM, after, usize::MAX).unwrap();
        assert!(events == expected, "events differ");
        let last = events.last().map_or(0, |event| event.revision.0);
        assert_eq!(last, revision);
    }
}

#[test]
fn nothing_acknowledged_is_missing_or_torn_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut chance = Chance::new();
    let mut expected = Expected::default();
    let mut acknowledged = 0;

    for round in 0..ROUNDS {
        let writer = Writer::start(dir.path(), SLACK);
        // Some are killed while they open the store, the others within a commit.
        let told = if round % 4 == 3 {
            0
        } else {
            1 + chance.below(60)
        };
        writer.let_tell(told, &mut acknowledged);
        let moment = Duration::from_micros(chance.below(20_000));
        if let Ok(line) = writer.lines.recv_timeout(moment) {
            note(&line, &mut acknowledged);
        }
        writer.kill(&mut acknowledged);

        expected.check(dir.path(), acknowledged);
    }

    println!("{ROUNDS} kills, {acknowledged} commits acknowledged");
    let store = SledStore::open(dir.path(), Options::default()).unwrap();
    let oldest = store.oldest_event(plan::TEAM).unwrap();
    assert!(oldest > Some(Revision(1)), "nothing was ever swept");
    assert!(acknowledged > ROUNDS, "the writer was hardly ever heard");
}

#[test]
fn a_kill_in_the_middle_of_the_largest_batch_tears_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut chance = Chance::new();
    let mut expected = Expected::default();
    let mut acknowledged = 0;

    for _ in 0..6 {
        // The next batch after these has 4,096 records and 4 MiB.
        let rest = (19 + 40 - acknowledged % 40) % 40;
        let writer = Writer::start(dir.path(), SLACK);
        writer.let_tell(1 + rest, &mut acknowledged);
        let moment = Duration::from_micros(chance.below(400_000));
        if let Ok(line) = writer.lines.recv_timeout(moment) {
            note(&line, &mut acknowledged);
        }
        writer.kill(&mut acknowledged);

        expected.check(dir.path(), acknowledged);
    }
}

#[test]
fn nothing_acknowledged_is_missing_after_the_disk_was_full() {
    let Some(disk) = SmallDisk::new(96) else {
        return;
    };
    let dir = disk.path().join("board");
    let mut expected = Expected::default();
    let mut acknowledged = 0;

    for taken in [70, 40] {
        disk.take(taken);
        let mut writer = Writer::start(&dir, SLACK);
        let told = writer.lines.iter();
        told.for_each(|line| note(&line, &mut acknowledged));
        let ended = writer.child.wait().unwrap();
        assert_eq!(ended.code(), Some(1), "it ends with an error of its own");
        disk.give_back();

        expected.check(&dir, acknowledged);
    }
    println!("2 times full, {acknowledged} commits acknowledged");
}

/// Only a file system that is cut off shows whether `fdatasync` was called: kill -9 leaves what
/// the kernel has in memory.
#[test]
fn nothing_acknowledged_is_missing_after_a_power_cut() {
    let Some(disk) = power::Disk::new() else {
        return;
    };
    let dir = disk.path().join("board");
    let mut chance = Chance::new();
    let mut expected = Expected::default();
    let mut acknowledged = 0;

    for _ in 0..8 {
        let writer = Writer::start(&dir, SLACK);
        writer.let_tell(2 + chance.below(50), &mut acknowledged);
        disk.cut();
        writer.kill(&mut acknowledged);
        disk.restore();

        expected.check(&dir, acknowledged);
    }
    println!("8 power cuts, {acknowledged} commits acknowledged");
}

/// What sled does by itself, a write and `sync_file_range`, is lost: so the test above would tell.
#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let Some(disk) = power::Disk::new() else {
        return;
    };
    let synced = disk.path().join("synced");
    let ranged = disk.path().join("ranged");

    power::write_and_sync(&synced);
    power::write_and_sync_range(&ranged);
    disk.cut();
    disk.restore();

    let len = |path| std::fs::read(path).map_or(0, |bytes| bytes.len());
    assert_eq!(len(synced), 4_096);
    assert_eq!(len(ranged), 0);
}
