//! The frame: one record as it lies in a segment.
//!
//! ```text
//! length u32 · crc32 u32 · team u64 · task u64 · attempt u32 · previous u32 · seq u64
//! · start u64 · at_ms i64 · body
//! ```
//!
//! Little-endian. `length` counts what follows the checksum, and the checksum covers exactly
//! that. A length of zero is never valid, so the zeros a crash may leave are no frame.

use super::AttemptKey;

/// What a frame takes beside its body.
pub(super) const HEADER_BYTES: usize = 56;
/// Length and checksum.
pub(super) const PREFIX_BYTES: usize = 8;
const FIXED_BYTES: usize = HEADER_BYTES - PREFIX_BYTES;

#[derive(Debug, PartialEq)]
pub(super) struct Frame<'a> {
    pub key: AttemptKey,
    /// Offset of the attempt's previous frame in this segment; 0 where there is none. Reading
    /// walks back along it, so that an index entry per some 64 KiB is enough however many
    /// attempts lie interleaved.
    pub previous: u32,
    pub seq: u64,
    /// How many bytes of this attempt were stored before this frame, in all segments.
    pub start: u64,
    pub at_ms: i64,
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&[0; PREFIX_BYTES]);
        out.extend_from_slice(&self.key.to_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.start.to_le_bytes());
        out.extend_from_slice(&self.at_ms.to_le_bytes());
        out.extend_from_slice(self.body);
        let checked = &out[from + PREFIX_BYTES..];
        let (length, crc) = (checked.len() as u32, crc32fast::hash(checked));
        out[from..from + 4].copy_from_slice(&length.to_le_bytes());
        out[from + 4..from + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the frame at the start of `bytes`; `None` where there is no whole, unharmed one.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let stored = stored_bytes(bytes)?;
        let checked = bytes.get(PREFIX_BYTES..stored)?;
        if crc32fast::hash(checked) != u32_at(bytes, 4) {
            return None;
        }
        Some(Self {
            key: AttemptKey::from_bytes(checked),
            previous: u32_at(checked, 20),
            seq: u64_at(checked, 24),
            start: u64_at(checked, 32),
            at_ms: u64_at(checked, 40) as i64,
            body: &checked[FIXED_BYTES..],
        })
    }
}

/// How long the frame is whose first bytes these are; `None` where no frame can begin so.
pub(super) fn stored_bytes(prefix: &[u8]) -> Option<usize> {
    let length = prefix
        .get(..PREFIX_BYTES)
        .map(|it| u32_at(it, 0) as usize)?;
    let lengths = FIXED_BYTES..=FIXED_BYTES + super::RECORD_BODY_BYTES_MAX;
    lengths.contains(&length).then_some(PREFIX_BYTES + length)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were cut"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were cut"))
}

impl AttemptKey {
    pub(super) const BYTES: usize = 20;

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.team.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.task.to_le_bytes());
        bytes[16..].copy_from_slice(&self.attempt.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            team: u64_at(bytes, 0),
            task: u64_at(bytes, 8),
            attempt: u32_at(bytes, 16),
        }
    }
}
