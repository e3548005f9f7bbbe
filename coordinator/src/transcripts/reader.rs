//! Reading: the writer plans which parts of which files hold a page, any thread reads them.
//!
//! A plan holds open files, so what it names can be read although the writer goes on, cuts the
//! middle or deletes a segment meanwhile.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::chunk::Chunk;
use super::disk::{SEGMENT, read_up_to};
use super::frame::{Frame, HEADER_BYTES, PREFIX_BYTES, stored_bytes};
use super::segments::Segments;
use super::{AttemptKey, Extent, Record, TranscriptError};

/// How many files a plan may hold open.
const PIECES_MAX: usize = 64;
/// What is read of a file at once. Small, since records of an attempt often lie far apart.
const WINDOW_BYTES: u64 = 16 << 10;

/// How much one page may hold.
#[derive(Debug, Clone, Copy)]
pub struct PageBounds {
    /// Items; at least one is read.
    pub items: usize,
    /// Bytes, each record counted with 56 more; the first record is read whatever its size.
    pub bytes: usize,
}

/// What a transcript is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record(Record),
    /// Records that are not kept any more.
    Cut(Cut),
}

/// The gap in a transcript that grew beyond its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The first record that is gone.
    pub from_seq: u64,
    /// The last one.
    pub to_seq: u64,
    /// How large their bodies were together.
    pub bytes: u64,
}

/// A part of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub items: Vec<Item>,
    /// Where to read on.
    pub next_seq: u64,
    /// Whether anything was kept from there on when this page was read.
    pub has_more: bool,
    /// How far the attempt had come then.
    pub extent: Extent,
}

#[derive(Debug)]
enum Piece {
    Cut(Cut),
    Chunk {
        chunk: Chunk,
        file: Arc<File>,
        path: PathBuf,
    },
}

/// Where the records of a page lie.
#[derive(Debug)]
pub(super) struct Plan {
    pieces: Vec<Piece>,
    extent: Extent,
}

impl Plan {
    pub fn make(
        segments: &Segments,
        chunks: &[Chunk],
        extent: Extent,
        from_seq: u64,
        bytes: usize,
    ) -> Result<Self, TranscriptError> {
        let mut pieces = Vec::new();
        let mut planned = 0;
        let (mut next_seq, mut next_start) = (1, 0);
        for chunk in chunks {
            let cut = cut_between(next_seq, next_start, chunk);
            (next_seq, next_start) = (chunk.last_seq + 1, chunk.end());
            if chunk.last_seq < from_seq {
                continue;
            }
            if planned > bytes || pieces.len() >= PIECES_MAX {
                break;
            }
            pieces.extend(cut.filter(|it| it.to_seq >= from_seq).map(Piece::Cut));
            // The first chunk may be read from its last record on, and so doesn't count.
            planned += if chunk.first_seq >= from_seq {
                chunk.bytes as usize
            } else {
                0
            };
            pieces.push(Piece::Chunk {
                chunk: *chunk,
                file: segments.file(chunk.segment)?,
                path: segments.disk().path(chunk.segment, SEGMENT),
            });
        }
        Ok(Self { pieces, extent })
    }
}

fn cut_between(next_seq: u64, next_start: u64, chunk: &Chunk) -> Option<Cut> {
    let records = chunk.first_seq.checked_sub(next_seq).filter(|it| *it > 0)?;
    let stored = chunk.start.saturating_sub(next_start);
    Some(Cut {
        from_seq: next_seq,
        to_seq: chunk.first_seq - 1,
        bytes: stored.saturating_sub(records * HEADER_BYTES as u64),
    })
}

/// Reads what was planned. Blocks.
pub(super) fn read_page(
    plan: &Plan,
    key: AttemptKey,
    from_seq: u64,
    bounds: &PageBounds,
) -> Result<Page, TranscriptError> {
    let (mut items, mut bytes, mut next_seq) = (Vec::new(), 0, from_seq);
    'pieces: for piece in &plan.pieces {
        match piece {
            Piece::Cut(cut) => {
                if !items.is_empty() && items.len() >= bounds.items {
                    break 'pieces;
                }
                next_seq = cut.to_seq + 1;
                items.push(Item::Cut(*cut));
            }
            Piece::Chunk { chunk, file, path } => {
                for record in read_chunk(chunk, file, path, &key, next_seq)? {
                    bytes += HEADER_BYTES + record.body.len();
                    let is_full = items.len() >= bounds.items || bytes > bounds.bytes;
                    if is_full && !items.is_empty() {
                        break 'pieces;
                    }
                    next_seq = record.seq + 1;
                    items.push(Item::Record(record));
                }
            }
        }
    }
    Ok(Page {
        items,
        next_seq,
        has_more: next_seq <= plan.extent.kept_through,
        extent: plan.extent,
    })
}

/// The records of a chunk from `from_seq` on, found by walking back from its last one.
fn read_chunk(
    chunk: &Chunk,
    file: &File,
    path: &std::path::Path,
    key: &AttemptKey,
    from_seq: u64,
) -> Result<Vec<Record>, TranscriptError> {
    let mut window = Window {
        file,
        start: 0,
        bytes: Vec::new(),
    };
    let first_seq = from_seq.max(chunk.first_seq);
    let mut records = Vec::new();
    let mut offset = chunk.last_offset;
    for seq in (first_seq..=chunk.last_seq).rev() {
        let at = u64::from(offset);
        let bytes = window
            .frame(at)
            .map_err(TranscriptError::io("read", path))?;
        let frame = bytes
            .and_then(Frame::decode)
            .filter(|it| it.key == *key && it.seq == seq);
        let Some(frame) = frame else {
            return Err(TranscriptError::Damaged {
                path: path.to_owned(),
                offset: at,
            });
        };
        offset = frame.previous;
        records.push(Record {
            seq,
            at_ms: frame.at_ms,
            body: frame.body.to_vec(),
        });
    }
    records.reverse();
    Ok(records)
}

/// The part of a file that was read last.
struct Window<'a> {
    file: &'a File,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes of the frame at `offset` by its own length; `None` where there can be none.
    fn frame(&mut self, offset: u64) -> std::io::Result<Option<&[u8]>> {
        if self.at(offset, PREFIX_BYTES).is_none() {
            // Mostly what lies before it is wanted next, and some of what follows belongs to it.
            let end = offset + WINDOW_BYTES / 4;
            self.load(end.saturating_sub(WINDOW_BYTES), end)?;
        }
        let Some(stored) = self.at(offset, PREFIX_BYTES).and_then(stored_bytes) else {
            return Ok(None);
        };
        if self.at(offset, stored).is_none() {
            self.load(offset, offset + stored as u64)?;
        }
        Ok(self.at(offset, stored))
    }

    fn at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..from.checked_add(length)?)
    }

    fn load(&mut self, from: u64, to: u64) -> std::io::Result<()> {
        self.start = from;
        self.bytes.resize((to - from) as usize, 0);
        let read = read_up_to(self.file, &mut self.bytes, from)?;
        self.bytes.truncate(read);
        Ok(())
    }
}
