//! The frame of format 1, which is read and no longer written.
//!
//! ```text
//! segment  magic "GNGRSEG1" · frames
//! frame    length u32 · crc32 u32 · team u64 · task u64 · attempt u32 · previous u32 · seq u64
//!          · start u64 · at_ms i64 · body
//! ```
//!
//! Little-endian. `length` counts what follows the checksum, and the checksum covers exactly
//! that. A length of zero is never valid, so the zeros a crash may leave are no frame.

use super::AttemptKey;
use super::frame::{Header, u32_at, u64_at};

pub(super) const MAGIC: &[u8; 8] = b"GNGRSEG1";
/// What a frame takes beside its body.
pub(super) const HEADER_BYTES: usize = 56;
/// Length and checksum.
pub(super) const PREFIX_BYTES: usize = 8;
const FIXED_BYTES: usize = HEADER_BYTES - PREFIX_BYTES;
const BODY_BYTES_MAX: usize = 64 << 10;

/// Reads the frame at the start of `bytes`; `None` where there is no whole, unharmed one.
pub(super) fn decode(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let stored = stored_bytes(bytes)?;
    let checked = bytes.get(PREFIX_BYTES..stored)?;
    if crc32fast::hash(checked) != u32_at(bytes, 4) {
        return None;
    }
    let body = &checked[FIXED_BYTES..];
    let header = Header {
        key: AttemptKey::from_bytes(checked),
        previous: u32_at(checked, 20),
        seq: u64_at(checked, 24),
        start: u64_at(checked, 32),
        at_ms: u64_at(checked, 40) as i64,
        before: None,
        body_bytes: body.len() as u32,
        body_crc: 0,
    };
    Some((header, body))
}

/// How long the frame is whose first bytes these are; `None` where no frame can begin so.
pub(super) fn stored_bytes(prefix: &[u8]) -> Option<usize> {
    let length = prefix
        .get(..PREFIX_BYTES)
        .map(|it| u32_at(it, 0) as usize)?;
    let lengths = FIXED_BYTES..=FIXED_BYTES + BODY_BYTES_MAX;
    lengths.contains(&length).then_some(PREFIX_BYTES + length)
}

/// Writes a frame as the program did that had format 1.
#[cfg(test)]
pub(super) fn encode(header: &Header, body: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out.extend_from_slice(&header.key.to_bytes());
    out.extend_from_slice(&header.previous.to_le_bytes());
    out.extend_from_slice(&header.seq.to_le_bytes());
    out.extend_from_slice(&header.start.to_le_bytes());
    out.extend_from_slice(&header.at_ms.to_le_bytes());
    out.extend_from_slice(body);
    let checked = &out[from + PREFIX_BYTES..];
    let (length, crc) = (checked.len() as u32, crc32fast::hash(checked));
    out[from..from + 4].copy_from_slice(&length.to_le_bytes());
    out[from + 4..from + 8].copy_from_slice(&crc.to_le_bytes());
}
