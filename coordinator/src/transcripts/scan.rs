//! The scan of a segment that has no index: at start, of the newest one.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::chunk::{self, Chunk};
use super::frame::{Frame, PREFIX_BYTES, stored_bytes};
use super::sealed::Entries;
use super::{Limits, TranscriptError};

/// The first bytes of a segment; the last one is the version of its format.
pub(super) const MAGIC: &[u8; 8] = b"GNGRSEG1";

#[derive(Debug)]
pub(super) struct Scan {
    pub entries: Entries,
    /// How far the segment is made of whole, unharmed frames.
    pub good_bytes: u32,
    pub file_bytes: u64,
}

/// Reads a segment from its start to the first frame that is torn or damaged. `None` where not
/// even its first bytes were written.
pub(super) fn scan(
    file: &File,
    path: &Path,
    number: u32,
    limits: &Limits,
) -> Result<Option<Scan>, TranscriptError> {
    let metadata = file.metadata();
    let file_bytes = metadata
        .map_err(TranscriptError::io("look up", path))?
        .len();
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut magic = [0; MAGIC.len()];
    let read = read_up_to(&mut reader, &mut magic).map_err(TranscriptError::io("read", path))?;
    if &magic[..read] != MAGIC {
        // A segment's first bytes are synced before any record follows them.
        if file_bytes <= MAGIC.len() as u64 {
            return Ok(None);
        }
        return Err(TranscriptError::UnknownFormat { path: path.into() });
    }
    let mut scan = Scan {
        entries: Entries::new(),
        good_bytes: MAGIC.len() as u32,
        file_bytes,
    };
    let mut buf = Vec::new();
    while read_frame(&mut reader, &mut buf).map_err(TranscriptError::io("read", path))?
        && let Some(frame) = Frame::decode(&buf)
    {
        let place = Chunk {
            segment: number,
            last_offset: scan.good_bytes,
            first_seq: frame.seq,
            last_seq: frame.seq,
            start: frame.start,
            bytes: buf.len() as u32,
        };
        let entry = scan.entries.entry(frame.key).or_default();
        chunk::push(entry, place, limits);
        scan.good_bytes += buf.len() as u32;
    }
    Ok(Some(scan))
}

/// Reads what its length says is a frame; false where there is none or not all of it.
fn read_frame(reader: &mut impl Read, buf: &mut Vec<u8>) -> io::Result<bool> {
    buf.resize(PREFIX_BYTES, 0);
    if read_up_to(reader, buf)? < PREFIX_BYTES {
        return Ok(false);
    }
    let Some(stored) = stored_bytes(buf) else {
        return Ok(false);
    };
    buf.resize(stored, 0);
    Ok(read_up_to(reader, &mut buf[PREFIX_BYTES..])? == stored - PREFIX_BYTES)
}

fn read_up_to(reader: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buf.len() {
        match reader.read(&mut buf[read..]) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(read)
}
