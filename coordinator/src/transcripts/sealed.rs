//! A sealed segment: no more is written to it, and an index file says what lies in it.
//!
//! ```text
//! magic · attempts u32 · chunks u32 · crc32 u32
//! fingerprints  u32 each, sorted: the CRC of an attempt's key
//! entries       32 bytes each, in the order of the fingerprints
//! chunks        32 bytes each, those of an entry together
//! ```
//!
//! In memory only the fingerprints stay, four bytes for each attempt in each segment: enough to
//! know which segments to ask. The first checksum covers the counts and the fingerprints, which
//! are all that is read at start; each entry has one of its own over itself and its chunks. What
//! is damaged is made anew from the segment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::chunk::Chunk;
use super::disk::{Disk, INDEX};
use super::frame::{u32_at, u64_at};
use super::{AttemptKey, TranscriptError};

const MAGIC: &[u8; 8] = b"GNGRIDX1";
const HEAD_BYTES: usize = 20;
const ENTRY_BYTES: usize = 32;
const CHUNK_BYTES: usize = 32;

/// The chunks of each attempt in one segment.
pub(super) type Entries = BTreeMap<AttemptKey, Vec<Chunk>>;

#[derive(Debug)]
pub(super) struct Sealed {
    fingerprints: Box<[u32]>,
    /// Attempts of which nothing in this segment is kept any more. Not persisted: after a
    /// restart the space waits for the attempts' removal.
    dead: BTreeSet<AttemptKey>,
}

impl Sealed {
    /// Writes the index file of segment `number`. Lasting once the folder is synced.
    pub fn write(disk: &Disk, number: u32, entries: &Entries) -> Result<Self, TranscriptError> {
        let mut sorted: Vec<_> = entries.iter().map(|it| (fingerprint(it.0), it)).collect();
        sorted.sort_by_key(|(fingerprint, _)| *fingerprint);
        let mut prints = Vec::with_capacity(sorted.len() * 4);
        let mut table = Vec::with_capacity(sorted.len() * ENTRY_BYTES);
        let mut tail = Vec::new();
        for (print, (key, chunks)) in &sorted {
            prints.extend_from_slice(&print.to_le_bytes());
            encode_entry(key, chunks, &mut table, &mut tail);
        }
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&(sorted.len() as u32).to_le_bytes());
        head[12..16].copy_from_slice(&((tail.len() / CHUNK_BYTES) as u32).to_le_bytes());
        let crc = head_crc(&head, &prints);
        head[16..].copy_from_slice(&crc.to_le_bytes());
        let bytes = [&head[..], &prints, &table, &tail].concat();
        disk.replace(&disk.path(number, INDEX), &bytes)?;
        Ok(Self {
            fingerprints: sorted.iter().map(|it| it.0).collect(),
            dead: BTreeSet::new(),
        })
    }

    /// Opens the index file of segment `number`; `None` where there is none, or a damaged one:
    /// then the segment must be scanned.
    pub fn open(disk: &Disk, number: u32) -> Result<Option<Self>, TranscriptError> {
        let path = disk.path(number, INDEX);
        match read_fingerprints(&path) {
            Ok(fingerprints) => Ok(Some(Self {
                fingerprints,
                dead: BTreeSet::new(),
            })),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) if is_damage(&err) => {
                tracing::warn!(path = %path.display(), "damaged transcript index is made anew");
                Ok(None)
            }
            Err(err) => Err(TranscriptError::io("read", &path)(err)),
        }
    }

    pub fn attempts(&self) -> usize {
        self.fingerprints.len()
    }

    /// Whether anything of `key` may lie here; a false yes is as rare as equal CRCs.
    pub fn may_hold(&self, key: &AttemptKey) -> bool {
        self.fingerprints.binary_search(&fingerprint(key)).is_ok()
    }

    /// Notes that nothing of `key` here is kept; answers whether that goes for all attempts.
    pub fn note_dead(&mut self, key: AttemptKey) -> bool {
        self.dead.insert(key);
        self.dead.len() == self.attempts()
    }

    pub fn is_dead(&self, key: &AttemptKey) -> bool {
        self.dead.contains(key)
    }

    /// The chunks of `key` in segment `number`.
    pub fn read_chunks(
        &self,
        disk: &Disk,
        number: u32,
        key: &AttemptKey,
    ) -> Result<Vec<Chunk>, TranscriptError> {
        let mut chunks = Vec::new();
        let print = fingerprint(key);
        let first = self.fingerprints.partition_point(|it| *it < print);
        let alike = self.fingerprints[first..]
            .iter()
            .take_while(|it| **it == print);
        let places = first..first + alike.count();
        if places.is_empty() {
            return Ok(chunks);
        }
        let path = disk.path(number, INDEX);
        let file = File::open(&path).map_err(TranscriptError::io("open", &path))?;
        for place in places {
            let (found, its) = read_entry(&file, self.attempts(), place, number)
                .map_err(TranscriptError::io("read", &path))?;
            if found == *key {
                chunks.extend(its);
            }
        }
        Ok(chunks)
    }

    /// All that lies in segment `number`.
    pub fn read_all(&self, disk: &Disk, number: u32) -> Result<Entries, TranscriptError> {
        let path = disk.path(number, INDEX);
        let file = File::open(&path).map_err(TranscriptError::io("open", &path))?;
        (0..self.attempts())
            .map(|place| read_entry(&file, self.attempts(), place, number))
            .collect::<io::Result<_>>()
            .map_err(TranscriptError::io("read", &path))
    }
}

fn fingerprint(key: &AttemptKey) -> u32 {
    crc32fast::hash(&key.to_bytes())
}

fn head_crc(head: &[u8], prints: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..16]);
    crc.update(prints);
    crc.finalize()
}

fn damage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "transcript index is damaged")
}

/// Whether an index file is not what was written, so that the segment must be scanned.
pub(super) fn is_damaged_index(err: &TranscriptError) -> bool {
    let TranscriptError::Io { source, .. } = err else {
        return false;
    };
    is_damage(source) || source.kind() == io::ErrorKind::NotFound
}

fn is_damage(err: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(err.kind(), InvalidData | UnexpectedEof)
}

fn read_fingerprints(path: &Path) -> io::Result<Box<[u32]>> {
    let mut file = File::open(path)?;
    let mut head = [0; HEAD_BYTES];
    file.read_exact(&mut head)?;
    let attempts = u64::from(u32_at(&head, 8));
    let chunks = u64::from(u32_at(&head, 12));
    let expected =
        HEAD_BYTES as u64 + attempts * (4 + ENTRY_BYTES as u64) + chunks * CHUNK_BYTES as u64;
    // The length first: a damaged count must not make us ask for memory.
    if &head[..8] != MAGIC || file.metadata()?.len() != expected {
        return Err(damage());
    }
    let mut prints = vec![0; attempts as usize * 4];
    file.read_exact(&mut prints)?;
    if head_crc(&head, &prints) != u32_at(&head, 16) {
        return Err(damage());
    }
    Ok(prints.chunks_exact(4).map(|it| u32_at(it, 0)).collect())
}

fn encode_entry(key: &AttemptKey, chunks: &[Chunk], table: &mut Vec<u8>, tail: &mut Vec<u8>) {
    let chunks_from = (tail.len() / CHUNK_BYTES) as u32;
    let (entry_at, chunks_at) = (table.len(), tail.len());
    for chunk in chunks {
        tail.extend_from_slice(&chunk.first_seq.to_le_bytes());
        tail.extend_from_slice(&chunk.last_seq.to_le_bytes());
        tail.extend_from_slice(&chunk.start.to_le_bytes());
        tail.extend_from_slice(&chunk.bytes.to_le_bytes());
        tail.extend_from_slice(&chunk.last_offset.to_le_bytes());
    }
    table.extend_from_slice(&key.to_bytes());
    table.extend_from_slice(&chunks_from.to_le_bytes());
    table.extend_from_slice(&(chunks.len() as u32).to_le_bytes());
    let crc = entry_crc(&table[entry_at..], &tail[chunks_at..]);
    table.extend_from_slice(&crc.to_le_bytes());
}

fn entry_crc(entry: &[u8], chunks: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&entry[..ENTRY_BYTES - 4]);
    crc.update(chunks);
    crc.finalize()
}

fn read_entry(
    file: &File,
    attempts: usize,
    place: usize,
    segment: u32,
) -> io::Result<(AttemptKey, Vec<Chunk>)> {
    let table_at = HEAD_BYTES + attempts * 4;
    let chunks_at = table_at + attempts * ENTRY_BYTES;
    let mut entry = [0; ENTRY_BYTES];
    file.read_exact_at(&mut entry, (table_at + place * ENTRY_BYTES) as u64)?;
    let from = chunks_at as u64 + u64::from(u32_at(&entry, 20)) * CHUNK_BYTES as u64;
    let length = u64::from(u32_at(&entry, 24)) * CHUNK_BYTES as u64;
    if from + length > file.metadata()?.len() {
        return Err(damage());
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, from)?;
    if entry_crc(&entry, &bytes) != u32_at(&entry, ENTRY_BYTES - 4) {
        return Err(damage());
    }
    let chunks = bytes.chunks_exact(CHUNK_BYTES).map(|it| Chunk {
        segment,
        first_seq: u64_at(it, 0),
        last_seq: u64_at(it, 8),
        start: u64_at(it, 16),
        bytes: u32_at(it, 24),
        last_offset: u32_at(it, 28),
    });
    Ok((AttemptKey::from_bytes(&entry), chunks.collect()))
}
