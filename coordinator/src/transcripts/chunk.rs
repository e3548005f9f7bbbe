//! The index of an attempt: chunks, each some 64 KiB of its records within one segment.
//!
//! What is kept of a long transcript follows from positions alone: a chunk is kept if it lies
//! within the first `head_bytes` ever stored of the attempt, or within the newest
//! `tail_bytes`. So an index file may hold too many chunks or, once space was given back, too
//! few, and the same view comes out; a hole in the numbers is the cut.

use super::Limits;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub segment: u32,
    /// Where its last frame begins; the earlier ones are found by walking back.
    pub last_offset: u32,
    pub first_seq: u64,
    pub last_seq: u64,
    /// How many bytes of the attempt were stored before it.
    pub start: u64,
    pub bytes: u32,
}

impl Chunk {
    pub fn end(&self) -> u64 {
        self.start + u64::from(self.bytes)
    }

    fn takes(&self, next: &Chunk, limits: &Limits) -> bool {
        // A chunk is kept or dropped as a whole, so none may lie on both sides of the head's end.
        let leaves_head = self.end() <= limits.head_bytes && next.end() > limits.head_bytes;
        self.segment == next.segment
            && self.bytes + next.bytes <= limits.chunk_bytes
            && !leaves_head
    }
}

/// Adds a frame, given as a chunk of its own, to the newest chunk or as a new one.
pub(super) fn push(chunks: &mut Vec<Chunk>, frame: Chunk, limits: &Limits) {
    match chunks.last_mut() {
        Some(last) if last.takes(&frame, limits) => {
            last.last_offset = frame.last_offset;
            last.last_seq = frame.last_seq;
            last.bytes += frame.bytes;
        }
        _ => chunks.push(frame),
    }
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
