//! The segments: sealed ones, and at most one that is written to.
//!
//! Owned by the writer's thread alone. Segments are numbered in the order they were begun; all
//! but the newest have an index file, and a segment gets its index before the next is begun, and at
//! a stop.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

use super::chunk::{self, Chunk};
use super::disk::{Disk, INDEX, SEGMENT};
use super::frame::{HEADER_BYTES, HEADS_BYTES, Header, Marker, NO_PLACE, Place, heads};
use super::record::COUNTED_BYTES;
use super::scan::{Scan, scan};
use super::sealed::{Entries, Sealed, is_damaged_index};
use super::walk::Format;
use super::{AttemptKey, Limits, Record, TranscriptError};

#[derive(Debug)]
pub(super) struct Segments {
    disk: Arc<Disk>,
    limits: Limits,
    sealed: BTreeMap<u32, Sealed>,
    active: Option<Active>,
    next_number: u32,
    is_end_missing: bool,
}

#[derive(Debug)]
struct Active {
    number: u32,
    file: Arc<File>,
    bytes: u32,
    entries: Entries,
    is_dirty: bool,
    marker: Marker,
    /// The record of the last frame.
    last: Place,
}

impl Segments {
    pub fn open(folder: &Path, limits: Limits) -> Result<Self, TranscriptError> {
        let disk = Arc::new(Disk::open(folder)?);
        let (numbers, indexes) = disk.list()?;
        for orphan in indexes.iter().filter(|it| !numbers.contains(it)) {
            disk.remove(&disk.path(*orphan, INDEX))?;
        }
        let newest = numbers.last().copied();
        let mut segments = Self {
            disk,
            limits,
            sealed: BTreeMap::new(),
            active: None,
            next_number: newest.unwrap_or(0) + 1,
            is_end_missing: false,
        };
        for number in numbers {
            match Sealed::open(&segments.disk, number)? {
                Some(sealed) => {
                    segments.sealed.insert(number, sealed);
                }
                None => segments.recover(number, Some(number) == newest)?,
            }
        }
        segments.disk.sync_folder()?;
        Ok(segments)
    }

    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// Takes up a segment without an index: the newest to write on, another to give it one.
    fn recover(&mut self, number: u32, is_newest: bool) -> Result<(), TranscriptError> {
        let path = self.disk.path(number, SEGMENT);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(TranscriptError::io("open", &path))?;
        let Some(scan) = scan(&file, &path, number, is_newest, &self.limits)? else {
            tracing::warn!(path = %path.display(), "removed a segment that was never begun");
            self.is_end_missing |= is_newest;
            return self.disk.remove(&path);
        };
        if let Some(from) = scan.incomplete_from {
            let cut_bytes = scan.file_bytes - from;
            tracing::warn!(path = %path.display(), cut_bytes, "cut the torn tail of a segment");
            self.disk.truncate(&file, &path, u64::from(from))?;
        }
        if scan.damaged_bytes > 0 {
            let damaged_bytes = scan.damaged_bytes;
            tracing::warn!(path = %path.display(), damaged_bytes, "damaged transcript segment");
        }
        // What a killed process wrote is readable now, but need not be on the disk yet.
        self.disk.sync_data(&file, &path)?;
        let Scan {
            entries,
            format,
            last,
            ..
        } = scan;
        self.is_end_missing |= is_newest && !scan.is_ended;
        match format {
            Format::Two(marker) if is_newest => {
                self.active = Some(Active {
                    number,
                    file: Arc::new(file),
                    bytes: scan.incomplete_from.unwrap_or(scan.file_bytes),
                    entries,
                    is_dirty: false,
                    marker,
                    last,
                });
            }
            _ => {
                let sealed = Sealed::write(&self.disk, number, &entries)?;
                self.sealed.insert(number, sealed);
            }
        }
        Ok(())
    }

    /// Whether the process before ended without saying so: records that it had told of may be
    /// gone.
    pub fn is_end_missing(&self) -> bool {
        self.is_end_missing
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// All kept chunks of an attempt, oldest first.
    pub fn load(&mut self, key: &AttemptKey) -> Result<Vec<Chunk>, TranscriptError> {
        let mut chunks = Vec::new();
        let may_hold = self.sealed.iter().filter(|(_, it)| it.may_hold(key));
        for number in may_hold.map(|it| *it.0).collect::<Vec<_>>() {
            let read = |it: &Self| it.sealed[&number].read_chunks(&it.disk, number, key);
            let its = self.with_index(number, read)?;
            chunks.extend(its);
        }
        let active = self.active.as_ref().and_then(|it| it.entries.get(key));
        chunks.extend(active.into_iter().flatten());
        for at in 1..chunks.len() {
            if chunks[at].has_unknown_start() {
                chunks[at].start = chunks[at - 1].end();
            }
        }
        chunk::trim(&mut chunks, &self.limits);
        Ok(chunks)
    }

    /// Reads of the index of a sealed segment; one that is damaged is made anew.
    fn with_index<T>(
        &mut self,
        number: u32,
        read: impl Fn(&Self) -> Result<T, TranscriptError>,
    ) -> Result<T, TranscriptError> {
        match read(self) {
            Err(err) if is_damaged_index(&err) => {
                let path = self.disk.path(number, INDEX);
                tracing::warn!(path = %path.display(), "damaged transcript index is made anew");
                self.index_anew(number)?;
                read(self)
            }
            other => other,
        }
    }

    fn index_anew(&mut self, number: u32) -> Result<(), TranscriptError> {
        let path = self.disk.path(number, SEGMENT);
        let file = File::open(&path).map_err(TranscriptError::io("open", &path))?;
        let scan = scan(&file, &path, number, false, &self.limits)?;
        let mut entries = scan.map(|it| it.entries).unwrap_or_default();
        let known = &self.sealed[&number];
        // What was removed is still in the segment.
        entries.retain(|key, _| known.may_hold(key) && !known.is_dead(key));
        let sealed = Sealed::write(&self.disk, number, &entries)?;
        self.sealed.insert(number, sealed);
        self.disk.sync_folder()
    }

    /// Writes `records` behind those that `chunks`, the whole index of the attempt, tells of,
    /// and adds them to it. On an error nothing of them is kept.
    pub fn append(
        &mut self,
        key: AttemptKey,
        records: &[Record],
        chunks: &mut Vec<Chunk>,
    ) -> Result<(), TranscriptError> {
        let bodies: Vec<_> = records.iter().map(Record::encode_body).collect();
        let stored = bodies.iter().map(|it| HEADER_BYTES + it.len()).sum();
        self.make_room(stored, &key)?;
        let active = self.active.as_mut().expect("room was made in it");
        let start = chunks.last().map_or(0, Chunk::end);
        let written = active.encode(key, records, &bodies, start);
        let path = self.disk.path(active.number, SEGMENT);
        let offset = u64::from(active.bytes);
        if let Err(err) = self
            .disk
            .write_at(&active.file, &path, &written.bytes, offset)
        {
            self.disk.truncate(&active.file, &path, offset)?;
            return Err(err);
        }
        active.bytes += written.bytes.len() as u32;
        active.is_dirty = true;
        active.last = written.last;
        let entry = active.entries.entry(key).or_default();
        for frame in written.frames {
            chunk::push(entry, frame, &self.limits);
            chunk::push(chunks, frame, &self.limits);
        }
        for dropped in chunk::trim(chunks, &self.limits) {
            if !chunks.iter().any(|it| it.segment == dropped.segment) {
                self.note_dead(dropped.segment, key);
            }
        }
        Ok(())
    }

    /// Sees to a segment that `stored` bytes of `key` can be written to.
    fn make_room(&mut self, stored: usize, key: &AttemptKey) -> Result<(), TranscriptError> {
        let is_full = self.active.as_ref().is_some_and(|it| {
            let is_long = it.bytes as usize + stored > self.limits.segment_bytes as usize;
            let is_broad = it.entries.len() >= self.limits.segment_attempts;
            !it.entries.is_empty() && (is_long || is_broad && !it.entries.contains_key(key))
        });
        if is_full {
            self.seal()?;
        }
        if self.active.is_none() {
            let number = self.next_number;
            self.next_number += 1;
            let marker = new_marker();
            let path = self.disk.path(number, SEGMENT);
            let file = self.disk.create(&path, &heads(&marker))?;
            self.active = Some(Active {
                number,
                file: Arc::new(file),
                bytes: HEADS_BYTES as u32,
                entries: Entries::new(),
                is_dirty: false,
                marker,
                last: NO_PLACE,
            });
        }
        Ok(())
    }

    /// Makes everything appended durable; free where it is.
    pub fn sync(&mut self) -> Result<(), TranscriptError> {
        if let Some(active) = self.active.as_mut().filter(|it| it.is_dirty) {
            let path = self.disk.path(active.number, SEGMENT);
            self.disk.sync_data(&active.file, &path)?;
            active.is_dirty = false;
        }
        Ok(())
    }

    /// Writes down that nothing is missing at the end of what was written, if anything was. Lasting
    /// after [`sync`](Self::sync).
    pub fn end_run(&mut self) -> Result<(), TranscriptError> {
        let written_to = self.active.as_mut().filter(|it| it.last != NO_PLACE);
        let Some(active) = written_to else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        active.end_of_run().encode(&active.marker, &[], &mut bytes);
        let path = self.disk.path(active.number, SEGMENT);
        let offset = u64::from(active.bytes);
        if let Err(err) = self.disk.write_at(&active.file, &path, &bytes, offset) {
            self.disk.truncate(&active.file, &path, offset)?;
            return Err(err);
        }
        active.bytes += bytes.len() as u32;
        active.is_dirty = true;
        active.last = NO_PLACE;
        Ok(())
    }

    /// Gives the segment that was written to its index; the next record begins a new one.
    pub fn seal(&mut self) -> Result<(), TranscriptError> {
        self.end_run()?;
        self.sync()?;
        let Some(active) = self.active.as_mut() else {
            return Ok(());
        };
        for chunks in active.entries.values_mut() {
            chunk::trim(chunks, &self.limits);
        }
        let sealed = Sealed::write(&self.disk, active.number, &active.entries)?;
        self.sealed.insert(active.number, sealed);
        self.active = None;
        self.disk.sync_folder()
    }

    /// Forgets the attempts, given in order, for good. A segment of which nothing is left is deleted.
    pub fn remove(&mut self, keys: &[AttemptKey]) -> Result<(), TranscriptError> {
        let is_removed = |key: &AttemptKey| keys.binary_search(key).is_ok();
        let active = self.active.as_ref();
        if active.is_some_and(|it| it.entries.keys().any(is_removed)) {
            self.seal()?;
        }
        let touched = self.sealed.iter().filter(|(_, sealed)| {
            let may_hold = |key| sealed.may_hold(key);
            keys.iter().any(may_hold)
        });
        for number in touched.map(|it| *it.0).collect::<Vec<_>>() {
            let read = |it: &Self| it.sealed[&number].read_all(&it.disk, number);
            let mut entries = self.with_index(number, read)?;
            let sealed = &self.sealed[&number];
            // The dead go along: the new index starts without any.
            entries.retain(|key, _| !is_removed(key) && !sealed.is_dead(key));
            if entries.is_empty() {
                self.delete(number)?;
            } else if entries.len() < sealed.attempts() {
                let sealed = Sealed::write(&self.disk, number, &entries)?;
                self.sealed.insert(number, sealed);
            }
        }
        self.disk.sync_folder()
    }

    fn note_dead(&mut self, number: u32, key: AttemptKey) {
        let is_dead = |it: &mut Sealed| it.note_dead(key);
        if self.sealed.get_mut(&number).is_some_and(is_dead)
            && let Err(err) = self.delete(number)
        {
            tracing::warn!(number, error = %err, "could not delete a segment of cut records");
        }
    }

    fn delete(&mut self, number: u32) -> Result<(), TranscriptError> {
        // In this order: a segment left without its index would be scanned at the next start,
        // and what was removed from it would be back.
        self.disk.remove(&self.disk.path(number, SEGMENT))?;
        self.disk.remove(&self.disk.path(number, INDEX))?;
        self.sealed.remove(&number);
        Ok(())
    }

    /// The file of a segment, to read from. It stays readable after the segment is deleted.
    pub fn file(&self, number: u32) -> Result<Arc<File>, TranscriptError> {
        match self.active.as_ref().filter(|it| it.number == number) {
            Some(active) => Ok(Arc::clone(&active.file)),
            None => {
                let path = self.disk.path(number, SEGMENT);
                let file = File::open(&path).map_err(TranscriptError::io("open", &path))?;
                Ok(Arc::new(file))
            }
        }
    }
}

/// A marker that nobody can guess who sees only what an agent sees.
fn new_marker() -> Marker {
    uuid::Uuid::new_v4().as_u64_pair().1.to_le_bytes()
}

struct Written {
    bytes: Vec<u8>,
    frames: Vec<Chunk>,
    last: Place,
}

impl Active {
    /// Lays out `records` as frames to be written at the end; `start` is how much of the
    /// attempt was counted before.
    fn encode(
        &self,
        key: AttemptKey,
        records: &[Record],
        bodies: &[Vec<u8>],
        mut start: u64,
    ) -> Written {
        let known = self.entries.get(&key).and_then(|it| it.last());
        let mut previous = known.map_or(0, |it| it.last_offset);
        let mut last = self.last;
        let (mut bytes, mut frames) = (Vec::new(), Vec::with_capacity(records.len()));
        for (record, body) in records.iter().zip(bodies) {
            let offset = self.bytes + bytes.len() as u32;
            Header {
                key,
                previous,
                seq: record.seq,
                start,
                at_ms: record.at_ms,
                before: Some(last),
                body_bytes: 0,
                body_crc: 0,
            }
            .encode(&self.marker, body, &mut bytes);
            previous = offset;
            last = (key, record.seq);
            let counted = (COUNTED_BYTES + body.len()) as u32;
            frames.push(Chunk {
                segment: self.number,
                last_offset: offset,
                first_seq: record.seq,
                last_seq: record.seq,
                start,
                bytes: counted,
            });
            start += u64::from(counted);
        }
        Written {
            bytes,
            frames,
            last,
        }
    }

    fn end_of_run(&self) -> Header {
        Header {
            key: NO_PLACE.0,
            previous: 0,
            seq: NO_PLACE.1,
            start: 0,
            at_ms: 0,
            before: Some(self.last),
            body_bytes: 0,
            body_crc: 0,
        }
    }
}
