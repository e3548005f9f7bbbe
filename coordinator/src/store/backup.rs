//! Backups: everything that lives, copied while commits go on.
//!
//! A backup is made in bounded steps between commits, in the order of the keys. What a commit
//! changes behind the place that was reached is written down again; what it changes ahead of it
//! is met later. So the whole is consistent at the commit before its end, and nothing is kept in
//! memory for it.
//!
//! ```text
//! "GANGERBK" version:u8
//! frame*      'e' len:u32 (key_len:u16 key value_len:u32 value)*  crc:u32
//! last frame  'z' len:u32 commit:u64 entries:u64                  crc:u32
//! ```
//!
//! Numbers are big-endian. A length of `u32::MAX` stands for a key that is removed again. Each sum
//! is over all bytes from the first on, so that no frame can be missing, doubled or misplaced. A
//! later entry of a key replaces an earlier one.

use std::{
    io,
    ops::Bound,
    path::{Path, PathBuf},
};

use crc32fast::Hasher;
use sled::{Db, IVec};

use super::{BackupSink, StoreError, database, key, stage::Writes};

pub(super) const MAGIC: &[u8; 8] = b"GANGERBK";
pub(super) const VERSION: u8 = 1;
pub(super) const ENTRIES: u8 = b'e';
pub(super) const END: u8 = b'z';
pub(super) const REMOVED: u32 = u32::MAX;

/// Records, and about the bytes, of a step: so few that the commit after it hardly waits, on a
/// board that lies on the disk alone too. In tests fewer, so that backups take many steps.
const STEP_RECORDS_MAX: usize = if cfg!(test) { 3 } else { 128 };
const STEP_BYTES_MAX: usize = 64 * 1_024;

/// From this on a frame is handed over. One entry more may come in, so none is much longer.
const FRAME_LEN: usize = 64 * 1_024;

/// A backup under way.
pub(super) struct Backup {
    sink: Box<dyn BackupSink>,
    /// The last key that was copied; none before the first.
    reached: Option<IVec>,
    /// Entries that are not handed over yet.
    frame: Vec<u8>,
    entries: u64,
    sum: Hasher,
}

impl Backup {
    /// Begins one; none where nothing can be handed over.
    pub(super) fn begin(mut sink: Box<dyn BackupSink>) -> Option<Self> {
        let head = [&MAGIC[..], &[VERSION]].concat();
        if let Err(error) = sink.take(&head) {
            sink.end(Err(not_taken(error)));
            return None;
        }
        let mut sum = Hasher::new();
        sum.update(&head);
        Some(Self {
            sink,
            reached: None,
            frame: Vec::new(),
            entries: 0,
            sum,
        })
    }

    /// Writes down what a commit changed behind the place that was reached.
    pub(super) fn note(&mut self, writes: &Writes) -> io::Result<()> {
        let Some(reached) = self.reached.clone() else {
            return Ok(());
        };
        let behind = (Bound::Unbounded, Bound::Included(&*reached));
        for (key, value) in writes.range::<[u8], _>(behind) {
            self.add(key, value.as_deref())?;
        }
        Ok(())
    }

    /// Whether a step may be made.
    pub(super) fn is_ready(&self) -> bool {
        self.sink.is_ready()
    }

    /// Goes on by a step. Says whether that was the last.
    pub(super) fn step(&mut self, db: &Db, at: &Path) -> Result<bool, StoreError> {
        let from = match &self.reached {
            Some(reached) => Bound::Excluded(reached.clone()),
            None => Bound::Unbounded,
        };
        let mut pairs = db.range((from, Bound::Unbounded));
        let mut bytes = 0;
        for _ in 0..STEP_RECORDS_MAX {
            let pair = database::guard(at, "reading", || pairs.next().transpose())?;
            let Some((key, value)) = pair else {
                return Ok(true);
            };
            self.add(&key, Some(&value)).map_err(not_taken)?;
            bytes += key.len() + value.len();
            self.reached = Some(key);
            if bytes >= STEP_BYTES_MAX {
                break;
            }
        }
        Ok(false)
    }

    /// Hands over the rest, and that it is whole at a commit.
    pub(super) fn finish(mut self, commit: u64) {
        let rest = self.hand_over();
        let end = [commit.to_be_bytes(), self.entries.to_be_bytes()].concat();
        match rest.and_then(|()| self.put_frame(END, &end)) {
            Ok(()) => self.sink.end(Ok(commit)),
            Err(error) => self.fail(not_taken(error)),
        }
    }

    /// Gives it up.
    pub(super) fn fail(self, error: StoreError) {
        self.sink.end(Err(error));
    }

    fn add(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        if key::is_left_out(key) {
            return Ok(());
        }
        let key_len = u16::try_from(key.len()).expect("keys have some hundred bytes at most");
        let value_len = value.map_or(REMOVED, |value| {
            u32::try_from(value.len()).expect("values are cut into pieces of a few KiB")
        });
        self.frame.extend_from_slice(&key_len.to_be_bytes());
        self.frame.extend_from_slice(key);
        self.frame.extend_from_slice(&value_len.to_be_bytes());
        self.frame.extend_from_slice(value.unwrap_or_default());
        self.entries += 1;
        if self.frame.len() >= FRAME_LEN {
            self.hand_over()?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let frame = std::mem::take(&mut self.frame);
        self.put_frame(ENTRIES, &frame)
    }

    fn put_frame(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let len = u32::try_from(body.len()).expect("a frame is not much longer than FRAME_LEN");
        let mut frame = Vec::with_capacity(body.len() + 9);
        frame.push(kind);
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(body);
        self.sum.update(&frame);
        let sum = self.sum.clone().finalize();
        frame.extend_from_slice(&sum.to_be_bytes());
        self.sum.update(&sum.to_be_bytes());
        self.sink.take(&frame)
    }
}

pub(super) fn not_taken(source: io::Error) -> StoreError {
    StoreError::io("writing", PathBuf::from("the backup"), source)
}
