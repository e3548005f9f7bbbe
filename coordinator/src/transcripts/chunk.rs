//! The index of an attempt: chunks, each some 64 KiB of its records within one segment.
//!
//! What is kept of a long transcript follows from positions alone: a chunk is kept if it lies
//! within the first `head_bytes` ever stored of the attempt, or within the newest
//! `tail_bytes`. So an index file may hold too many chunks or, once space was given back, too
//! few, and the same view comes out. A hole in the numbers is the cut, or damage: see
//! [`is_cut`].

use super::Limits;
use super::record::COUNTED_BYTES;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub segment: u32,
    /// Where its last frame begins; the earlier ones are found by walking back.
    pub last_offset: u32,
    pub first_seq: u64,
    pub last_seq: u64,
    /// How many bytes of the attempt were counted before it.
    pub start: u64,
    pub bytes: u32,
}

impl Chunk {
    pub fn end(&self) -> u64 {
        self.start + u64::from(self.bytes)
    }

    /// Whether its first frame can't be read, so that only the next segment's index, or the one
    /// before, tells where it begins.
    pub fn has_unknown_start(&self) -> bool {
        self.start == 0 && self.first_seq > 1
    }

    fn takes(&self, next: &Chunk, limits: &Limits) -> bool {
        // A chunk is kept or dropped as a whole, so none may lie on both sides of the head's end.
        let leaves_head = self.end() <= limits.head_bytes && next.end() > limits.head_bytes;
        self.segment == next.segment
            && next.end().saturating_sub(self.start) <= u64::from(limits.chunk_bytes)
            && !leaves_head
    }
}

/// Adds a frame, given as a chunk of its own, to the newest chunk or as a new one.
pub(super) fn push(chunks: &mut Vec<Chunk>, frame: Chunk, limits: &Limits) {
    match chunks.last_mut() {
        Some(last) if last.takes(&frame, limits) => {
            last.last_offset = frame.last_offset;
            last.last_seq = frame.last_seq;
            // With what lies between them: a frame there may be damaged.
            last.bytes = (frame.end() - last.start) as u32;
        }
        _ => chunks.push(frame),
    }
}

/// Takes back the records from `seq` on: they are written anew.
pub(super) fn forget_from(chunks: &mut Vec<Chunk>, seq: u64) {
    while chunks.last().is_some_and(|it| it.first_seq >= seq) {
        chunks.pop();
    }
    if let Some(last) = chunks.last_mut() {
        last.last_seq = last.last_seq.min(seq - 1);
    }
}

/// Whether a hole between chunks, given by positions, came about by [`trim`]: not if it lies
/// within what is kept, or if its `records` can't have been there.
pub(super) fn is_cut(hole: std::ops::Range<u64>, records: u64, end: u64, limits: &Limits) -> bool {
    let is_kept = hole.end <= limits.head_bytes || hole.start + limits.tail_bytes >= end;
    !is_kept && hole.end - hole.start >= records * COUNTED_BYTES as u64
}

/// Drops the middle that is beyond the limits, and answers it. The newest chunk stays always:
/// it says how far the attempt is kept.
pub(super) fn trim(chunks: &mut Vec<Chunk>, limits: &Limits) -> Vec<Chunk> {
    let Some(last) = chunks.last() else {
        return Vec::new();
    };
    let end = last.end();
    let head = chunks.partition_point(|it| it.end() <= limits.head_bytes);
    let dropped = chunks[head..]
        .iter()
        .take_while(|it| end - it.start > limits.tail_bytes && it.end() < end)
        .count();
    chunks.drain(head..head + dropped).collect()
}
