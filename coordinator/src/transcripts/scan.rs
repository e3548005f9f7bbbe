//! The scan of a segment that has no index: at start, of the newest one.
//!
//! Damage is walked past. A frame of which the header is unharmed is entered though its body is
//! not: its reader is told. One of which nothing can be read is entered by what the next frame
//! says lies before it.

use std::fs::File;
use std::path::Path;

use super::chunk::{self, Chunk};
use super::frame::{NO_PLACE, Place};
use super::record::COUNTED_BYTES;
use super::sealed::Entries;
use super::walk::{Format, Head, Step, Walk};
use super::{AttemptKey, Limits, TranscriptError};

#[derive(Debug)]
pub(super) struct Scan {
    pub format: Format,
    pub entries: Entries,
    pub file_bytes: u32,
    /// Where an incomplete last frame begins: the file may be cut there.
    pub incomplete_from: Option<u32>,
    /// How many bytes can't be read, those of an incomplete last frame not counted.
    pub damaged_bytes: u64,
    /// Whether the run that wrote it ended by itself, so that nothing is missing at the end.
    pub is_ended: bool,
    /// The record of the last frame that can be read.
    pub last: Place,
    /// Where the bytes before the next frame begin that can't be read.
    gap_from: Option<u32>,
}

/// Reads a segment. `None` where not even its head was written. Of one that `is_newest`, frames
/// that are damaged behind the last good one may be a torn end, and are left out.
pub(super) fn scan(
    file: &File,
    path: &Path,
    number: u32,
    is_newest: bool,
    limits: &Limits,
) -> Result<Option<Scan>, TranscriptError> {
    let io = |err| TranscriptError::io("read", path)(err);
    let format = match Format::read(file).map_err(io)? {
        Head::Format(format) => format,
        Head::NeverBegun => return Ok(None),
        Head::Unknown => return Err(TranscriptError::UnknownFormat { path: path.into() }),
    };
    let file_bytes = file.metadata().map_err(io)?.len();
    let file_bytes = u32::try_from(file_bytes).map_err(|_| TranscriptError::Damaged {
        path: path.into(),
        offset: u64::from(u32::MAX),
    })?;
    let mut scan = Scan {
        format,
        entries: Entries::new(),
        file_bytes,
        incomplete_from: None,
        damaged_bytes: 0,
        is_ended: false,
        last: NO_PLACE,
        gap_from: None,
    };
    let mut walk = Walk::new(file, format, u64::from(file_bytes));
    // What is damaged counts once a good frame follows.
    let mut uncertain: Vec<Step> = Vec::new();
    while let Some(step) = walk.next().map_err(io)? {
        if let Step::Frame { is_whole: true, .. } = step {
            let steps = uncertain.drain(..).chain([step]);
            steps.for_each(|step| scan.note(step, number, limits));
        } else {
            uncertain.push(step);
        }
    }
    if let Some(last) = uncertain.last().filter(|_| is_newest && !scan.is_ended) {
        scan.incomplete_from = scan.incomplete(last);
        if scan.incomplete_from.is_some() {
            uncertain.pop();
            scan.is_ended = false;
        }
    }
    for step in uncertain {
        if is_newest {
            scan.is_ended = false;
            scan.damaged_bytes += scan.length(&step);
        } else {
            scan.note(step, number, limits);
        }
    }
    Ok(Some(scan))
}

impl Scan {
    fn note(&mut self, step: Step, number: u32, limits: &Limits) {
        let (offset, header, is_whole) = match step {
            Step::Frame {
                offset,
                header,
                is_whole,
            } => (offset as u32, header, is_whole),
            Step::Gap { from, .. } => {
                self.damaged_bytes += self.length(&step);
                self.gap_from = Some(from as u32);
                return;
            }
        };
        if !is_whole {
            self.damaged_bytes += self.length(&step);
        }
        let frame = |key, seq, last_offset, start, body_bytes| {
            let chunk = Chunk {
                segment: number,
                last_offset,
                first_seq: seq,
                last_seq: seq,
                start,
                bytes: COUNTED_BYTES as u32 + body_bytes,
            };
            (key, chunk)
        };
        let lost = self.gap_from.take().zip(header.before);
        if let Some((from, (key, seq))) = lost.filter(|it| it.1 != self.last && it.1 != NO_PLACE) {
            let known = self.entries.get(&key).and_then(|it| it.last());
            if known.is_none_or(|it| it.last_seq < seq) {
                let start = known.map_or(0, Chunk::end);
                self.enter(frame(key, seq, from, start, 0), limits);
            }
        }
        self.last = (header.key, header.seq);
        self.is_ended = header.is_end_of_run();
        if !self.is_ended {
            let (start, body_bytes) = (header.start, header.body_bytes);
            self.enter(
                frame(header.key, header.seq, offset, start, body_bytes),
                limits,
            );
        }
    }

    fn enter(&mut self, (key, frame): (AttemptKey, Chunk), limits: &Limits) {
        let chunks = self.entries.entry(key).or_default();
        // A run may write again what an earlier one left torn.
        chunk::forget_from(chunks, frame.first_seq);
        if let [only] = &mut chunks[..]
            && only.has_unknown_start()
        {
            only.start = frame.start.saturating_sub(u64::from(only.bytes));
        }
        chunk::push(chunks, frame, limits);
    }

    fn length(&self, step: &Step) -> u64 {
        match step {
            Step::Gap { from, to } => to - from,
            Step::Frame { offset, header, .. } => {
                let stored = self.format.stored_bytes(header);
                stored.min(u64::from(self.file_bytes) - offset)
            }
        }
    }

    /// Where the last frame begins if the file ends within it.
    fn incomplete(&self, last: &Step) -> Option<u32> {
        let file_bytes = u64::from(self.file_bytes);
        let (from, is_incomplete) = match last {
            Step::Gap { from, to } => (*from, to - from < self.format.header_bytes() as u64),
            Step::Frame { offset, header, .. } => {
                let end = offset + self.format.stored_bytes(header);
                (*offset, end > file_bytes)
            }
        };
        let is_written = matches!(self.format, Format::Two(_));
        (is_written && is_incomplete).then_some(from as u32)
    }
}
