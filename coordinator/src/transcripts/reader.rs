//! Reading: the writer plans which parts of which files hold a page, any thread reads them.
//!
//! A plan holds open files, so what it names can be read although the writer goes on, cuts the
//! middle or deletes a segment meanwhile.
//!
//! Damage costs the frames that it hit: where the way back ends at one, the others are looked for
//! from the segment's beginning on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunk::{Chunk, is_cut};
use super::disk::SEGMENT;
use super::frame::Header;
use super::record::{BadBody, COUNTED_BYTES};
use super::segments::Segments;
use super::walk::{Format, Found, Head, Step, Walk, Window};
use super::{AttemptKey, Extent, Record, TranscriptError};

/// How many files a plan may hold open.
const PIECES_MAX: usize = 64;
/// What is read of a file at once. Small, since records of an attempt often lie far apart.
const WINDOW_BYTES: usize = 16 << 10;

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
    /// Records that are damaged or lost on the disk.
    Damaged(Damaged),
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

/// Records that were kept and can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged {
    /// The first of them.
    pub from_seq: u64,
    /// The last one.
    pub to_seq: u64,
}

impl Item {
    fn last_seq(&self) -> u64 {
        match self {
            Self::Record(record) => record.seq,
            Self::Cut(cut) => cut.to_seq,
            Self::Damaged(damaged) => damaged.to_seq,
        }
    }

    fn counted_bytes(&self) -> usize {
        match self {
            Self::Record(record) => COUNTED_BYTES + record.content_bytes(),
            Self::Cut(_) | Self::Damaged(_) => 0,
        }
    }
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
    Hole(Item),
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
        let end = chunks.last().map_or(0, Chunk::end);
        let (mut next_seq, mut next_start) = (1, 0);
        for chunk in chunks {
            let hole = hole_before(chunk, next_seq, next_start, |hole, records| {
                is_cut(hole, records, end, segments.limits())
            });
            (next_seq, next_start) = (chunk.last_seq + 1, chunk.end());
            if chunk.last_seq < from_seq {
                continue;
            }
            if planned > bytes || pieces.len() >= PIECES_MAX {
                break;
            }
            pieces.extend(hole.filter(|it| it.last_seq() >= from_seq).map(Piece::Hole));
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

/// What is missing between the records up to `next_seq` and a chunk.
fn hole_before(
    chunk: &Chunk,
    next_seq: u64,
    next_start: u64,
    is_cut: impl Fn(std::ops::Range<u64>, u64) -> bool,
) -> Option<Item> {
    let records = chunk.first_seq.checked_sub(next_seq).filter(|it| *it > 0)?;
    let hole = next_start..chunk.start.max(next_start);
    let counted = hole.end - hole.start;
    let (from_seq, to_seq) = (next_seq, chunk.first_seq - 1);
    Some(if is_cut(hole, records) {
        Item::Cut(Cut {
            from_seq,
            to_seq,
            bytes: counted.saturating_sub(records * COUNTED_BYTES as u64),
        })
    } else {
        Item::Damaged(Damaged { from_seq, to_seq })
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
        let read = match piece {
            Piece::Hole(hole) => vec![hole.clone()],
            Piece::Chunk { chunk, file, path } => {
                let span = Span {
                    key,
                    first_seq: next_seq.max(chunk.first_seq),
                    last_seq: chunk.last_seq,
                };
                read_chunk(&span, chunk.last_offset, file, path)?
            }
        };
        for item in read {
            bytes += item.counted_bytes();
            let is_full = items.len() >= bounds.items || bytes > bounds.bytes;
            if is_full && !items.is_empty() {
                break 'pieces;
            }
            next_seq = item.last_seq() + 1;
            items.push(item);
        }
    }
    Ok(Page {
        items,
        next_seq,
        has_more: next_seq <= plan.extent.kept_through,
        extent: plan.extent,
    })
}

/// The records that are wanted of a chunk.
struct Span {
    key: AttemptKey,
    first_seq: u64,
    last_seq: u64,
}

impl Span {
    fn holds(&self, header: &Header) -> bool {
        header.key == self.key && (self.first_seq..=self.last_seq).contains(&header.seq)
    }

    /// All of it in order: what was found, and what is missing.
    fn items(&self, found: BTreeMap<u64, Record>) -> Vec<Item> {
        let mut items = Vec::with_capacity(found.len());
        let mut next_seq = self.first_seq;
        let mut miss = |items: &mut Vec<Item>, seq: u64| {
            if next_seq < seq {
                items.push(Item::Damaged(Damaged {
                    from_seq: next_seq,
                    to_seq: seq - 1,
                }));
            }
            next_seq = seq + 1;
        };
        for (seq, record) in found {
            miss(&mut items, seq);
            items.push(Item::Record(record));
        }
        miss(&mut items, self.last_seq + 1);
        items
    }
}

/// The records of a chunk, found by walking back from its last one.
fn read_chunk(
    span: &Span,
    last_offset: u32,
    file: &File,
    path: &Path,
) -> Result<Vec<Item>, TranscriptError> {
    let io = |err| TranscriptError::io("read", path)(err);
    let unknown = || TranscriptError::UnknownFormat { path: path.into() };
    let format = match Format::read(file).map_err(io)? {
        Head::Format(format) => format,
        Head::NeverBegun => return Ok(span.items(BTreeMap::new())),
        Head::Unknown => return Err(unknown()),
    };
    let mut found = BTreeMap::new();
    let mut window = Window::backwards(file, WINDOW_BYTES);
    let mut offset = u64::from(last_offset);
    loop {
        let (header, is_whole) = match window.found(format, offset).map_err(io)? {
            Found::Frame(header) if header.key == span.key => (header, true),
            Found::DamagedBody(header) if header.key == span.key => (header, false),
            _ => {
                let damaged_at = offset;
                tracing::warn!(path = %path.display(), damaged_at, "damaged transcript frame");
                search(span, format, file, offset, &mut found).map_err(io)?;
                break;
            }
        };
        if is_whole && span.holds(&header) {
            let body = window.body(format, &header, offset).map_err(io)?;
            keep(&mut found, format, &header, body).map_err(|()| unknown())?;
        }
        if header.seq <= span.first_seq || u64::from(header.previous) >= offset {
            break;
        }
        match header.previous {
            0 => break,
            previous => offset = u64::from(previous),
        }
    }
    Ok(span.items(found))
}

/// Looks for what is wanted among all frames before `end`. Of two, the later one stands.
fn search(
    span: &Span,
    format: Format,
    file: &File,
    end: u64,
    found: &mut BTreeMap<u64, Record>,
) -> io::Result<()> {
    let mut walk = Walk::new(file, format, end);
    let mut before = BTreeMap::new();
    while let Some(step) = walk.next()? {
        let Step::Frame {
            offset,
            header,
            is_whole: true,
        } = step
        else {
            continue;
        };
        if span.holds(&header) {
            let body = walk.body(&header, offset)?;
            // A body of a newer version is as good as damaged, here.
            let _ = keep(&mut before, format, &header, body);
        }
    }
    for (seq, record) in before {
        found.entry(seq).or_insert(record);
    }
    Ok(())
}

/// Keeps the record of a whole frame; one whose body says nothing is missing. An error for a body
/// of a newer version.
fn keep(
    found: &mut BTreeMap<u64, Record>,
    format: Format,
    header: &Header,
    body: Option<&[u8]>,
) -> Result<(), ()> {
    match format.decode_body(header, body.unwrap_or_default()) {
        Ok(record) => {
            found.insert(header.seq, record);
            Ok(())
        }
        Err(BadBody::Damaged) => Ok(()),
        Err(BadBody::Newer) => Err(()),
    }
}
