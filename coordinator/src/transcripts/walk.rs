//! Walking through a segment: frame after frame, and past what is damaged.

use std::fs::File;
use std::io;

use super::disk::read_up_to;
use super::frame::{self, Header, Marker};
use super::frame_1;
use super::record::{BadBody, Record};

/// How much of a file is searched at once for the next frame.
const SEARCH_BYTES: usize = 64 << 10;

/// How much is checksummed at most while the next frame of format 1 is looked for behind one
/// damage: without a marker, nearly every byte may look like the beginning of one.
const GUESSES_BYTES_MAX: usize = 64 << 20;

/// How the frames of a segment are laid out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Format {
    One,
    Two(Marker),
}

/// What the first bytes of a segment say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head {
    Format(Format),
    /// Nothing was written yet but a part of the head.
    NeverBegun,
    /// Another version of this program wrote it, or its head can't be read.
    Unknown,
}

/// What there is at an offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Found {
    /// A frame, whole and unharmed.
    Frame(Header),
    /// A frame of which the body is damaged, or not all there.
    DamagedBody(Header),
    /// No frame that can be read.
    Nothing,
}

impl Format {
    /// Where the first frame begins.
    pub fn first_offset(&self) -> u64 {
        match self {
            Self::One => frame_1::MAGIC.len() as u64,
            Self::Two(_) => frame::HEADS_BYTES as u64,
        }
    }

    pub fn header_bytes(&self) -> usize {
        match self {
            Self::One => frame_1::HEADER_BYTES,
            Self::Two(_) => frame::HEADER_BYTES,
        }
    }

    /// How long a whole frame is.
    pub fn stored_bytes(&self, header: &Header) -> u64 {
        self.header_bytes() as u64 + u64::from(header.body_bytes)
    }

    pub fn decode_body(&self, header: &Header, body: &[u8]) -> Result<Record, BadBody> {
        match self {
            Self::One => Record::decode_old_body(header.seq, header.at_ms, body),
            Self::Two(_) => Record::decode_body(header.seq, header.at_ms, body),
        }
    }

    /// Finds out how the segment in `file` is laid out.
    pub fn read(file: &File) -> io::Result<Head> {
        let mut bytes = [0; frame::HEADS_BYTES];
        let read = read_up_to(file, &mut bytes, 0)?;
        let bytes = &bytes[..read];
        let format = match frame::marker_of(bytes) {
            Some(marker) => Some(Self::Two(marker)),
            None => Self::is_old(file, bytes)?.then_some(Self::One),
        };
        let file_bytes = file.metadata()?.len();
        // A segment's heads are synced before any record follows them.
        let is_short = file_bytes <= frame::HEADS_BYTES as u64;
        let is_named = bytes.len() >= 8 && bytes.starts_with(b"GNGRSEG");
        Ok(match format {
            Some(format) if file_bytes <= format.first_offset() => Head::NeverBegun,
            Some(format) => Head::Format(format),
            None if is_short && (!is_named || bytes.starts_with(frame::MAGIC)) => Head::NeverBegun,
            None => Head::Unknown,
        })
    }

    /// The head of format 1 has no checksum, but what follows it has.
    fn is_old(file: &File, bytes: &[u8]) -> io::Result<bool> {
        let mut window = Window::new(file, SEARCH_BYTES);
        let first = window.found(Self::One, Self::One.first_offset())?;
        Ok(bytes.starts_with(frame_1::MAGIC) || first != Found::Nothing)
    }
}

/// The part of a file that was read last.
pub(super) struct Window<'f> {
    file: &'f File,
    size: usize,
    /// How much of what is read lies before what is wanted: for one who walks back.
    behind: usize,
    start: u64,
    bytes: Vec<u8>,
}

impl<'f> Window<'f> {
    pub fn new(file: &'f File, size: usize) -> Self {
        Self {
            file,
            size,
            behind: 0,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// For one who mostly wants next what lies before.
    pub fn backwards(file: &'f File, size: usize) -> Self {
        Self {
            behind: size - size / 4,
            ..Self::new(file, size)
        }
    }

    /// What there is at `offset`.
    pub fn found(&mut self, format: Format, offset: u64) -> io::Result<Found> {
        let Format::Two(marker) = format else {
            let found = self.old_frame(offset)?;
            return Ok(found.map_or(Found::Nothing, Found::Frame));
        };
        let header = self.get(offset, frame::HEADER_BYTES)?;
        let Some(header) = header.and_then(|it| Header::decode(&marker, it)) else {
            return Ok(Found::Nothing);
        };
        let body = self.body(format, &header, offset)?;
        Ok(match body.map(crc32fast::hash) {
            Some(crc) if crc == header.body_crc => Found::Frame(header),
            _ => Found::DamagedBody(header),
        })
    }

    /// The body of the frame at `offset`, unchecked; `None` where the file ends before.
    pub fn body(
        &mut self,
        format: Format,
        header: &Header,
        offset: u64,
    ) -> io::Result<Option<&[u8]>> {
        let at = offset + format.header_bytes() as u64;
        self.get(at, header.body_bytes as usize)
    }

    fn old_frame(&mut self, offset: u64) -> io::Result<Option<Header>> {
        let prefix = self.get(offset, frame_1::PREFIX_BYTES)?;
        let Some(stored) = prefix.and_then(frame_1::stored_bytes) else {
            return Ok(None);
        };
        let frame = self.get(offset, stored)?.and_then(frame_1::decode);
        Ok(frame.map(|(header, _)| header))
    }

    /// Where the next frame of format 1 begins by the damaged one's own length, if one does.
    fn next_by_length(&mut self, at: u64) -> io::Result<Option<u64>> {
        let prefix = self.get(at, frame_1::PREFIX_BYTES)?;
        let Some(stored) = prefix.and_then(frame_1::stored_bytes) else {
            return Ok(None);
        };
        let next = at + stored as u64;
        Ok(self.old_frame(next)?.map(|_| next))
    }

    /// The first place from `from` on where a frame can be read, if only its header; `None` where
    /// there is none up to the file's end.
    fn next_frame(&mut self, format: Format, from: u64) -> io::Result<Option<u64>> {
        let Format::Two(marker) = format else {
            // From here on a frame is looked for whose beginning is not known.
            return self.next_old_frame(from);
        };
        let mut at = from;
        loop {
            let Some(bytes) = self.up_to(at, SEARCH_BYTES)? else {
                return Ok(None);
            };
            let length = bytes.len();
            match bytes.windows(marker.len()).position(|it| *it == marker) {
                Some(skip) => {
                    at += skip as u64;
                    if self.found(format, at)? != Found::Nothing {
                        return Ok(Some(at));
                    }
                    at += 1;
                }
                // A marker may lie across the end of what was read.
                None if length >= SEARCH_BYTES => at += (length + 1 - marker.len()) as u64,
                None => return Ok(None),
            }
        }
    }

    fn next_old_frame(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut guessed = 0;
        let mut at = from;
        while let Some(prefix) = self.get(at, frame_1::PREFIX_BYTES)? {
            if let Some(stored) = frame_1::stored_bytes(prefix) {
                if self.old_frame(at)?.is_some() {
                    return Ok(Some(at));
                }
                guessed += stored;
                if guessed > GUESSES_BYTES_MAX {
                    return Ok(None);
                }
            }
            at += 1;
        }
        Ok(None)
    }

    /// `length` bytes from `offset` on; `None` where the file ends before.
    fn get(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        self.want(offset, length)?;
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(from
            .checked_add(length)
            .and_then(|end| self.bytes.get(from..end)))
    }

    /// At most `length` bytes from `offset` on, fewer at the file's end; `None` behind it.
    fn up_to(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        self.want(offset, length)?;
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(from..).filter(|it| !it.is_empty());
        Ok(bytes.map(|it| &it[..it.len().min(length)]))
    }

    fn want(&mut self, offset: u64, length: usize) -> io::Result<()> {
        let end = offset.saturating_add(length as u64);
        if offset >= self.start && end <= self.start + self.bytes.len() as u64 {
            return Ok(());
        }
        self.start = offset.saturating_sub(self.behind as u64);
        let ahead = length.max(self.size - self.behind);
        let wanted = (offset - self.start) as usize + ahead;
        self.bytes.resize(wanted, 0);
        let read = read_up_to(self.file, &mut self.bytes, self.start)?;
        self.bytes.truncate(read);
        Ok(())
    }
}

/// A step of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A frame.
    Frame {
        offset: u64,
        header: Header,
        /// Whether its body is unharmed, too.
        is_whole: bool,
    },
    /// Bytes of which nothing can be read.
    Gap { from: u64, to: u64 },
}

/// A walk through all frames of a segment, in the order in which they were written.
pub(super) struct Walk<'f> {
    window: Window<'f>,
    format: Format,
    at: u64,
    end: u64,
}

impl<'f> Walk<'f> {
    /// From the first frame to `end`, which is the file's end or the beginning of a frame.
    pub fn new(file: &'f File, format: Format, end: u64) -> Self {
        Self {
            window: Window::new(file, 256 << 10),
            format,
            at: format.first_offset(),
            end,
        }
    }

    pub fn next(&mut self) -> io::Result<Option<Step>> {
        let (offset, format) = (self.at, self.format);
        if offset >= self.end {
            return Ok(None);
        }
        let (next, step) = match self.window.found(format, offset)? {
            Found::Frame(header) => {
                let next = offset + format.stored_bytes(&header);
                (Some(next), Some((header, true)))
            }
            Found::DamagedBody(header) => {
                // Not by its length: what was torn here may be shorter, and others lie behind it.
                let behind = offset + format.header_bytes() as u64;
                let next = self.window.next_frame(format, behind)?;
                (next, Some((header, false)))
            }
            Found::Nothing => {
                let by_length = match format {
                    Format::One => self.window.next_by_length(offset)?,
                    Format::Two(_) => None,
                };
                let next = match by_length {
                    Some(next) => Some(next),
                    None => self.window.next_frame(format, offset + 1)?,
                };
                (next, None)
            }
        };
        self.at = next.unwrap_or(self.end).min(self.end);
        Ok(Some(match step {
            Some((header, is_whole)) => Step::Frame {
                offset,
                header,
                is_whole,
            },
            None => Step::Gap {
                from: offset,
                to: self.at,
            },
        }))
    }

    /// The body of a frame that was just stepped on.
    pub fn body(&mut self, header: &Header, offset: u64) -> io::Result<Option<&[u8]>> {
        self.window.body(self.format, header, offset)
    }
}
