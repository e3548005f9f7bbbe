//! The frame of format 2: one record as it lies in a segment.
//!
//! ```text
//! segment  head (32 bytes) · head again · frames
//! head     magic "GNGRSEG2" · marker 8 bytes · crc32 of both u32 · zeros
//! frame    marker 8 bytes · header crc32 u32 · body crc32 u32 · body length u32 · previous u32
//!          · team u64 · task u64 · attempt u32 · seq u64 · start u64 · at_ms i64
//!          · before: team u64 · task u64 · attempt u32 · seq u64 · body
//! ```
//!
//! Little-endian. The header's checksum covers the marker and all that follows the checksum up to
//! the body. The marker is random and each segment has its own: a reader that looks for the next
//! frame behind damage finds none that an agent wrote into its output.
//!
//! `before` names the record of the frame that lies before this one, so that a frame that can't be
//! read at all is still known to have been there. A frame of the team 0 is no record: it ends what
//! one run of the coordinator wrote.

use super::AttemptKey;
use super::record::BODY_BYTES_MAX;

pub(super) const MAGIC: &[u8; 8] = b"GNGRSEG2";
/// What a frame takes beside its body.
pub(super) const HEADER_BYTES: usize = 96;
/// Both heads of a segment: where its first frame begins.
pub(super) const HEADS_BYTES: usize = 2 * HEAD_BYTES;
const HEAD_BYTES: usize = 32;

/// What each frame of a segment begins with.
pub(super) type Marker = [u8; 8];

/// Which record of which attempt.
pub(super) type Place = (AttemptKey, u64);

/// The place of a frame that ends a run, and what is before the first frame.
pub(super) const NO_PLACE: Place = (
    AttemptKey {
        team: 0,
        task: 0,
        attempt: 0,
    },
    0,
);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Header {
    pub key: AttemptKey,
    /// Offset of the attempt's previous frame in this segment; 0 where there is none. Reading
    /// walks back along it, so that an index entry per some 64 KiB is enough however many
    /// attempts lie interleaved.
    pub previous: u32,
    pub seq: u64,
    /// How many bytes of this attempt were counted before this frame, in all segments.
    pub start: u64,
    pub at_ms: i64,
    /// The record of the frame that lies before this one; format 1 didn't say.
    pub before: Option<Place>,
    /// How long the body is.
    pub body_bytes: u32,
    pub body_crc: u32,
}

impl Header {
    pub fn is_end_of_run(&self) -> bool {
        self.key == NO_PLACE.0
    }

    /// Writes a frame. Length and checksum of the body are taken from `body`.
    pub fn encode(&self, marker: &Marker, body: &[u8], out: &mut Vec<u8>) {
        let (before_key, before_seq) = self.before.unwrap_or(NO_PLACE);
        let from = out.len();
        out.extend_from_slice(marker);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.key.to_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.start.to_le_bytes());
        out.extend_from_slice(&self.at_ms.to_le_bytes());
        out.extend_from_slice(&before_key.to_bytes());
        out.extend_from_slice(&before_seq.to_le_bytes());
        let crc = header_crc(&out[from..]);
        out[from + 8..from + 12].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(body);
    }

    /// Reads the header at the start of `bytes`; `None` where there is no unharmed one.
    pub fn decode(marker: &Marker, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let body_bytes = u32_at(bytes, 16);
        let is_header = &bytes[..8] == marker
            && u32_at(bytes, 8) == header_crc(bytes)
            && body_bytes as usize <= BODY_BYTES_MAX;
        is_header.then(|| Self {
            body_crc: u32_at(bytes, 12),
            body_bytes,
            previous: u32_at(bytes, 20),
            key: AttemptKey::from_bytes(&bytes[24..]),
            seq: u64_at(bytes, 44),
            start: u64_at(bytes, 52),
            at_ms: u64_at(bytes, 60) as i64,
            before: Some((AttemptKey::from_bytes(&bytes[68..]), u64_at(bytes, 88))),
        })
    }
}

fn header_crc(header: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..8]);
    crc.update(&header[12..]);
    crc.finalize()
}

/// What a segment begins with.
pub(super) fn heads(marker: &Marker) -> [u8; HEADS_BYTES] {
    let mut heads = [0; HEADS_BYTES];
    for head in heads.chunks_exact_mut(HEAD_BYTES) {
        head[..8].copy_from_slice(MAGIC);
        head[8..16].copy_from_slice(marker);
        let crc = crc32fast::hash(&head[..16]);
        head[16..20].copy_from_slice(&crc.to_le_bytes());
    }
    heads
}

/// The marker that a segment's first bytes tell of, by either of its heads.
pub(super) fn marker_of(bytes: &[u8]) -> Option<Marker> {
    let mut heads = bytes.chunks_exact(HEAD_BYTES).take(2);
    let head = heads
        .find(|head| &head[..8] == MAGIC && crc32fast::hash(&head[..16]) == u32_at(head, 16))?;
    head[8..16].try_into().ok()
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
