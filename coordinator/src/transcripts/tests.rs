//! Transcripts, claim by claim.

mod bounds;
mod damage;
mod durability;
mod old_format;
mod records;
mod recovery;
mod removal;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::frame::{HEADER_BYTES, HEADS_BYTES};
use super::*;

/// A text with which a record is counted with 100 bytes.
const TEXT_OF_100: usize = 100 - COUNTED_BYTES - BODY_OVERHEAD;
/// What the body of a record takes beside a text of less than 128 bytes.
const BODY_OVERHEAD: usize = 5;

const ALL: PageBounds = PageBounds {
    items: usize::MAX,
    bytes: usize::MAX,
};

/// Bounds at which a few records make segments, chunks and cuts; no timer goes off.
fn small() -> Limits {
    Limits {
        segment_bytes: 4096,
        segment_attempts: 8,
        head_bytes: 2048,
        tail_bytes: 2048,
        chunk_bytes: 512,
        sync_after: Duration::from_secs(3600),
    }
}

fn key(task: u64) -> AttemptKey {
    AttemptKey {
        team: 7,
        task,
        attempt: 1,
    }
}

fn record(seq: u64, bytes: usize) -> Record {
    let letter = |at: usize| char::from(b'a' + ((seq as usize + at) % 26) as u8);
    Record {
        seq,
        at_ms: 1_700_000_000_000 + seq as i64,
        kind: Kind::Stdout,
        text: (0..bytes).map(letter).collect(),
        ..Record::default()
    }
}

fn records(seqs: std::ops::RangeInclusive<u64>, bytes: usize) -> Vec<Record> {
    seqs.map(|seq| record(seq, bytes)).collect()
}

fn kept(records: Vec<Record>) -> Vec<Item> {
    records.into_iter().map(Item::Record).collect()
}

struct Opened {
    transcripts: Transcripts,
    thread: WriterThread,
}

impl std::ops::Deref for Opened {
    type Target = Transcripts;

    fn deref(&self) -> &Transcripts {
        &self.transcripts
    }
}

impl Opened {
    async fn stop(self) {
        self.transcripts.shutdown().await.unwrap();
        self.thread.join().unwrap().unwrap();
    }
}

fn open(folder: &Path, limits: Limits) -> Opened {
    let (transcripts, thread) = Transcripts::open(folder, limits).unwrap();
    Opened {
        transcripts,
        thread,
    }
}

async fn read_all(transcripts: &Transcripts, key: AttemptKey) -> Vec<Item> {
    read_by(transcripts, key, ALL).await
}

async fn read_by(transcripts: &Transcripts, key: AttemptKey, bounds: PageBounds) -> Vec<Item> {
    let (mut items, mut from_seq) = (Vec::new(), 1);
    loop {
        let page = transcripts.read(key, from_seq, bounds).await.unwrap();
        assert!(page.items.len() <= bounds.items.max(1));
        assert!(!page.has_more || page.next_seq > from_seq, "no way on");
        items.extend(page.items);
        from_seq = page.next_seq;
        if !page.has_more {
            return items;
        }
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, TranscriptError>) -> TranscriptRefusal {
    match result.unwrap_err() {
        TranscriptError::Refused(refusal) => refusal,
        failure => panic!("a failure, not a refusal: {failure}"),
    }
}

/// How much the file of a segment takes for a record of [`record`].
fn stored(record: &Record) -> usize {
    HEADER_BYTES + record.encode_body().len()
}

fn damaged(from_seq: u64, to_seq: u64) -> Item {
    Item::Damaged(Damaged { from_seq, to_seq })
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|it| it.extension().is_some_and(|it| it == extension))
        .collect();
    files.sort();
    files
}

/// A folder in memory where the machine has that: nothing waits for a disk.
fn quick_folder() -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

/// What a crash would leave: the files as they are while the store is open.
fn crashed(folder: &Path) -> tempfile::TempDir {
    let copy = quick_folder();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}
