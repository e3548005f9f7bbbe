//! Making a board of a backup.
//!
//! It is read and checked to its end before anything of it is in force; a kill leaves nothing but
//! what the next try removes. The board gets a new epoch: whatever worked for the one that was
//! backed up, or still does, is stale.

use std::{
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use board::{
    id::Epoch,
    record::{Meta, Record},
    time::Time,
};
use crc32fast::Hasher;
use sled::Db;

use super::{
    Options, Store, StoreError,
    backup::{END, ENTRIES, MAGIC, REMOVED, VERSION},
    codec::{Commit, decode_commit, decode_meta, encode_commit, encode_meta},
    database, generation, key,
    lock::DirLock,
    mark,
    opening::create_dir,
    sled_store::{SledStore, explain},
    stage::{self, Stage, Writes},
    tally::Tallies,
};

/// No frame is longer: they are handed over at 64 KiB, and an entry is a key and a piece of a
/// value.
const FRAME_LEN_MAX: u32 = 256 * 1_024;

/// Records, and bytes, that are flushed at once: longer bursts make sled bloat or hang.
const BURST_RECORDS_MAX: usize = 512;
const BURST_BYTES_MAX: usize = 256 * 1_024;

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// The commit at which the backup is consistent.
    pub commit: u64,
    /// When that was made.
    pub at: Time,
    /// How many teams there are.
    pub teams: u64,
    /// How many tasks they have.
    pub tasks: u64,
}

/// Makes a board in `dir`, which is not there yet or empty, of the backup that `from` reads. Its
/// epoch will be `epoch`.
pub fn restore(dir: &Path, from: impl Read, epoch: Epoch) -> Result<Restored, StoreError> {
    let options = Options::default();
    create_dir(dir)?;
    let lock = DirLock::take(dir)?;
    if generation::current(dir)?.is_some() {
        return Err(not_empty(dir));
    }
    let mut restored = Restored::default();
    generation::make(dir, 1, |at| {
        let db = database::open(at, options.cache_bytes)?;
        restored.commit = Frames::begin(from)?.fill(&db, at)?;
        renew(&db, at, epoch)?;
        // As a start will read it, before it is in force.
        let mut store = SledStore::from_db(db, at.to_owned(), options, lock)?;
        let opened = store.load(&mut |record| match record {
            Record::Team(_) => restored.teams += 1,
            Record::Task(..) | Record::Stub(..) => restored.tasks += 1,
            _ => {}
        })?;
        restored.at = opened.time;
        if !store.is_counted {
            store.write(|_| Ok(Writes::new()))?;
        }
        mark::write_both(dir, &store.mark().clean())?;
        database::settle(&store.db, at)
    })?;
    Ok(restored)
}

/// Gives the board its new epoch.
fn renew(db: &Db, at: &Path, epoch: Epoch) -> Result<(), StoreError> {
    let value = |key: &[u8]| {
        let value = database::guard(at, "reading", || db.get(key))?;
        value.ok_or_else(|| bad("there is no board in it"))
    };
    let (meta_key, commit_key) = (key::meta(), key::commit());
    let meta = decode_meta(&value(&meta_key)?).map_err(|error| explain(at, &meta_key, error))?;
    let commit = decode_commit(&value(&commit_key)?);
    let commit = commit.map_err(|error| explain(at, &commit_key, error))?;
    let tallies = Tallies::of_numbers(&commit.records, &commit.sums);
    let mut stage = Stage::new(db, at, commit.live_bytes, tallies.unwrap_or_default());
    stage.put(meta_key, encode_meta(&Meta { epoch, ..meta }))?;
    let mut commit = Commit {
        live_bytes: stage.live_bytes(),
        ..commit
    };
    if tallies.is_some() {
        let mut tallies = stage.tallies();
        // It is in no backup.
        tallies.forget(key::ATTEMPT_KEY);
        (commit.records, commit.sums) = tallies.numbers();
    }
    let mut writes = stage.into_writes();
    writes.insert(commit_key, Some(encode_commit(&commit)));
    write(db, at, stage::batch(writes))
}

fn write(db: &Db, at: &Path, batch: sled::Batch) -> Result<(), StoreError> {
    database::guard(at, "writing", || {
        db.apply_batch(batch).and_then(|()| db.flush())
    })?;
    Ok(())
}

/// A backup that is being read.
struct Frames<R> {
    from: BufReader<R>,
    sum: Hasher,
}

impl<R: Read> Frames<R> {
    fn begin(from: R) -> Result<Self, StoreError> {
        let mut frames = Self {
            from: BufReader::new(from),
            sum: Hasher::new(),
        };
        let [head @ .., version] = frames.take::<9>()?;
        if head != *MAGIC {
            return Err(bad("it does not begin as one"));
        }
        if version != VERSION {
            return Err(StoreError::NewerFormat {
                kind: "backup",
                version,
                known: VERSION,
            });
        }
        Ok(frames)
    }

    /// Puts all entries into a database. Answers the commit at which they are consistent.
    fn fill(mut self, db: &Db, at: &Path) -> Result<u64, StoreError> {
        let mut burst = Burst::default();
        loop {
            let (kind, body) = self.next()?;
            match kind {
                ENTRIES => burst.add(&body, db, at)?,
                END => {
                    burst.flush(db, at)?;
                    return self.end(&body, burst.entries);
                }
                _ => return Err(bad("a part of it is of no known kind")),
            }
        }
    }

    fn next(&mut self) -> Result<(u8, Vec<u8>), StoreError> {
        let [kind, len @ ..] = self.take::<5>()?;
        let len = u32::from_be_bytes(len);
        if len > FRAME_LEN_MAX {
            return Err(bad("a part of it is too long"));
        }
        let mut body = vec![0; len as usize];
        self.from.read_exact(&mut body).map_err(unreadable)?;
        self.sum.update(&body);
        let sum = self.sum.clone().finalize();
        if u32::from_be_bytes(self.take()?) != sum {
            return Err(bad("it does not have its sum"));
        }
        Ok((kind, body))
    }

    fn end(mut self, body: &[u8], entries: u64) -> Result<u64, StoreError> {
        let (commit, counted) = body.split_first_chunk().unwrap_or((&[0; 8], &[]));
        if counted != entries.to_be_bytes() {
            return Err(bad("it does not have as many entries as it says"));
        }
        match self.from.read(&mut [0]).map_err(unreadable)? {
            0 => Ok(u64::from_be_bytes(*commit)),
            _ => Err(bad("something follows its end")),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(unreadable)?;
        self.sum.update(&bytes);
        Ok(bytes)
    }
}

/// Entries that are flushed together.
#[derive(Default)]
struct Burst {
    batch: sled::Batch,
    records: usize,
    bytes: usize,
    /// Of all bursts.
    entries: u64,
}

impl Burst {
    fn add(&mut self, mut frame: &[u8], db: &Db, at: &Path) -> Result<(), StoreError> {
        let cut = || bad("an entry is cut short");
        while !frame.is_empty() {
            let key_len = u16::from_be_bytes(*split(&mut frame).ok_or_else(cut)?);
            let key = split_at(&mut frame, usize::from(key_len)).ok_or_else(cut)?;
            match u32::from_be_bytes(*split(&mut frame).ok_or_else(cut)?) {
                REMOVED => self.batch.remove(key),
                len => {
                    let value = split_at(&mut frame, len as usize).ok_or_else(cut)?;
                    self.batch.insert(key, value);
                    self.bytes += value.len();
                }
            }
            self.entries += 1;
            self.records += 1;
            self.bytes += key.len();
            if self.records >= BURST_RECORDS_MAX || self.bytes >= BURST_BYTES_MAX {
                self.flush(db, at)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, db: &Db, at: &Path) -> Result<(), StoreError> {
        (self.records, self.bytes) = (0, 0);
        write(db, at, std::mem::take(&mut self.batch))
    }
}

fn split<'b, const N: usize>(bytes: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

fn split_at<'b>(bytes: &mut &'b [u8], at: usize) -> Option<&'b [u8]> {
    let (first, rest) = bytes.split_at_checked(at)?;
    *bytes = rest;
    Some(first)
}

fn bad(what: &'static str) -> StoreError {
    StoreError::BadBackup { what }
}

fn unreadable(source: io::Error) -> StoreError {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return bad("it is cut short");
    }
    StoreError::io("reading", PathBuf::from("the backup"), source)
}

fn not_empty(dir: &Path) -> StoreError {
    let source = io::Error::from(io::ErrorKind::DirectoryNotEmpty);
    StoreError::io("restoring into", dir, source)
}
