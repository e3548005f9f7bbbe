//! What a sub-agent writes: bytes become pieces of text, line by line where they come so, and the
//! end of it is remembered. Pure and synchronous.

use std::{collections::VecDeque, time::Instant};

use crate::limits::{LINES_DELAY, PARTIAL_LINE_DELAY, RECORD_TEXT_LEN_MAX};

/// A byte that isn't UTF-8 becomes three.
const RAW_LEN_MAX: usize = RECORD_TEXT_LEN_MAX / 3;

/// Gathers one stream's bytes into texts for the transcript.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Lines {
    /// Takes bytes, and answers what is complete at once because there is much of it.
    pub(crate) fn push(&mut self, bytes: &[u8], now: Instant) -> Vec<String> {
        if !bytes.is_empty() {
            self.since.get_or_insert(now);
        }
        self.bytes.extend_from_slice(bytes);
        let mut texts = Vec::new();
        while self.bytes.len() >= RAW_LEN_MAX {
            let full = &self.bytes[..RAW_LEN_MAX];
            let end = after_last_line(full).unwrap_or_else(|| whole_characters(full));
            texts.push(self.split(end, now));
        }
        texts
    }

    /// When [`Lines::take_due`] has something.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let delay = if self.bytes.contains(&b'\n') {
            LINES_DELAY
        } else {
            PARTIAL_LINE_DELAY
        };
        self.since.map(|since| since + delay)
    }

    /// What has waited long enough.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<String> {
        if self.due_at().is_none_or(|due| now < due) {
            return None;
        }
        let end = after_last_line(&self.bytes).unwrap_or_else(|| whole_characters(&self.bytes));
        if end == 0 {
            // The beginning of a character: its end decides what it is.
            self.since = Some(now);
            return None;
        }
        Some(self.split(end, now))
    }

    /// All the rest; the stream is over.
    pub(crate) fn finish(mut self, now: Instant) -> Option<String> {
        let end = self.bytes.len();
        (end > 0).then(|| self.split(end, now))
    }

    fn split(&mut self, end: usize, now: Instant) -> String {
        let text = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        self.bytes.drain(..end);
        self.since = (!self.bytes.is_empty()).then_some(now);
        text
    }
}

fn after_last_line(bytes: &[u8]) -> Option<usize> {
    bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map(|at| at + 1)
}

/// How many bytes there are before a character that isn't complete yet.
fn whole_characters(bytes: &[u8]) -> usize {
    // A character has up to four bytes, so only the last three can be the beginning of one.
    let start = bytes.len().saturating_sub(3);
    (start..bytes.len())
        .find(|at| {
            let width = match bytes[*at] {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => 1,
            };
            at + width > bytes.len()
        })
        .unwrap_or(bytes.len())
}

/// The last bytes of a stream.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    len_max: usize,
    /// Bytes that came before those kept.
    cut: u64,
}

impl Tail {
    /// Keeps this many bytes.
    pub(crate) fn new(len_max: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            len_max,
            cut: 0,
        }
    }

    /// Takes bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(self.len_max)..];
        let excess = (self.bytes.len() + kept.len()).saturating_sub(self.len_max);
        self.bytes.drain(..excess);
        self.cut += (excess + bytes.len() - kept.len()) as u64;
        self.bytes.extend(kept);
    }

    /// What is kept, as it came.
    pub(crate) fn bytes(&mut self) -> &[u8] {
        self.bytes.make_contiguous()
    }

    /// What is kept, from the beginning of a line on if something was cut, and how many bytes were.
    pub(crate) fn finish(mut self) -> (String, u64) {
        let bytes = self.bytes.make_contiguous();
        let start = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(line_end) if self.cut > 0 && line_end + 1 < bytes.len() => line_end + 1,
            _ => 0,
        };
        (
            String::from_utf8_lossy(&bytes[start..]).into_owned(),
            self.cut + start as u64,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_wait_shortly_and_beginnings_of_lines_longer() {
        let t0 = Instant::now();
        let mut lines = Lines::default();

        assert_eq!(lines.push(b"one\ntwo\nthr", t0), Vec::<String>::new());
        assert_eq!(lines.take_due(t0), None);
        assert_eq!(
            lines.take_due(t0 + LINES_DELAY).as_deref(),
            Some("one\ntwo\n")
        );
        assert_eq!(lines.take_due(t0 + LINES_DELAY * 2), None);
        assert_eq!(lines.due_at(), Some(t0 + LINES_DELAY + PARTIAL_LINE_DELAY));
        assert_eq!(
            lines
                .take_due(t0 + LINES_DELAY + PARTIAL_LINE_DELAY)
                .as_deref(),
            Some("thr")
        );
        assert_eq!(lines.due_at(), None);
        assert_eq!(lines.finish(t0), None);
    }

    #[test]
    fn a_character_is_never_torn_and_what_is_none_is_replaced() {
        let t0 = Instant::now();
        let late = t0 + Duration::from_secs(60);
        let mut lines = Lines::default();

        lines.push(b"a\xe2\x82", t0);
        assert_eq!(lines.take_due(late).as_deref(), Some("a"));
        assert_eq!(lines.take_due(late + PARTIAL_LINE_DELAY), None);
        lines.push(b"\xac\xff", late);
        assert_eq!(
            lines.take_due(late + Duration::from_secs(9)).as_deref(),
            Some("\u{20ac}\u{fffd}")
        );
        lines.push(b"\xe2", late);
        assert_eq!(lines.finish(late).as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn a_tail_begins_with_a_line_and_says_what_is_cut() {
        let mut tail = Tail::new(8);
        tail.push(b"one\n");
        assert_eq!(
            Tail::finish(Tail {
                bytes: tail.bytes.clone(),
                ..tail
            }),
            ("one\n".to_owned(), 0)
        );

        let mut tail = Tail::new(8);
        tail.push(b"one\ntwo\nthree\n");
        assert_eq!(tail.finish(), ("three\n".to_owned(), 8));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_too_long(
            motifs in prop::collection::vec(
                (prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'x'), any::<u8>()], 0..8), 1..4_000usize),
                0..12,
            ),
        ) {
            let chunks: Vec<_> = motifs.iter().map(|(motif, times)| motif.repeat(*times)).collect();
            let t0 = Instant::now();
            let mut lines = Lines::default();
            let mut texts = Vec::new();
            for chunk in &chunks {
                texts.extend(lines.push(chunk, t0));
            }
            texts.extend(lines.finish(t0));

            prop_assert!(texts.iter().all(|text| !text.is_empty() && text.len() <= RECORD_TEXT_LEN_MAX));
            let whole = String::from_utf8_lossy(&chunks.concat()).into_owned();
            let parts = texts.concat();
            // Only a torn run of invalid bytes may be replaced by more signs than the whole would be.
            let plain = |text: &str| text.replace('\u{fffd}', "");
            prop_assert_eq!(plain(&parts), plain(&whole));
        }
    }
}
