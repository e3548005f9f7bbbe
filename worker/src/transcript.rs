//! The part of an attempt's transcript that the coordinator may still want: numbered records from
//! what was last acknowledged on. Pure and synchronous.
//!
//! Invariants:
//! 1. Indices start at 1 and have no gap.
//! 2. Records that are not acknowledged never exceed the credit of DESIGN's W10.
//! 3. What doesn't fit is cut from the oldest on, and a record of the worker says how much.

use std::{collections::VecDeque, time::SystemTime};

use ganger_proto::v1::{TranscriptKind, TranscriptRecord};
use prost::Message;

use crate::{
    clock,
    limits::{PROGRESS_CREDIT, PROGRESS_LEN_MAX, PROGRESS_TAIL, RECORD_TEXT_LEN_MAX},
};

/// What a record costs beside its text, at most.
const ENVELOPE_LEN: usize = 64;

/// A piece of what an attempt says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) kind: TranscriptKind,
    pub(crate) text: String,
    pub(crate) at: SystemTime,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// Not acknowledged, oldest first.
    records: VecDeque<TranscriptRecord>,
    records_len: usize,
    /// The index of the last record ever made.
    last: i64,
    /// The last record that was given to the present stream.
    sent: i64,
    /// Waits for credit, oldest first.
    waiting: VecDeque<Piece>,
    waiting_len: usize,
    /// Bytes that found no place since the last word about it.
    cut: usize,
    is_closed: bool,
}

impl Transcript {
    /// Takes a piece of at most [`RECORD_TEXT_LEN_MAX`] bytes.
    pub(crate) fn push(&mut self, piece: Piece) {
        debug_assert!(piece.text.len() <= RECORD_TEXT_LEN_MAX);
        self.waiting_len += cost(&piece.text);
        self.waiting.push_back(piece);
        self.admit();
        while self.waiting_len > PROGRESS_TAIL - 2 * ENVELOPE_LEN {
            let Some(oldest) = self.waiting.pop_front() else {
                break;
            };
            self.waiting_len -= cost(&oldest.text);
            self.cut += oldest.text.len();
        }
    }

    /// No piece comes any more: the part of the credit that was kept back is used.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.admit();
    }

    /// Forgets what is kept through an index.
    pub(crate) fn acknowledged(&mut self, through: i64) {
        while self
            .records
            .front()
            .is_some_and(|record| record.index <= through)
        {
            if let Some(record) = self.records.pop_front() {
                self.records_len -= cost(&record.text);
            }
        }
        self.admit();
    }

    /// A new stream: it goes on after what is kept there.
    pub(crate) fn resume(&mut self, kept_through: i64) {
        self.acknowledged(kept_through);
        self.sent = self
            .records
            .front()
            .map_or(self.last, |record| record.index - 1);
    }

    /// The next records for the present stream, as many as one frame holds; empty if there are none.
    pub(crate) fn next_batch(&mut self) -> Vec<TranscriptRecord> {
        let first = self
            .records
            .front()
            .map_or(self.last + 1, |record| record.index);
        let skip = usize::try_from(self.sent + 1 - first).unwrap_or(0);
        let mut len = 0;
        let batch: Vec<_> = self
            .records
            .iter()
            .skip(skip)
            .take_while(|record| {
                len += record.encoded_len() + ENVELOPE_LEN;
                len <= PROGRESS_LEN_MAX
            })
            .cloned()
            .collect();
        self.sent = batch.last().map_or(self.sent, |record| record.index);
        batch
    }

    /// Whether the present stream has all there is.
    pub(crate) fn is_sent(&self) -> bool {
        self.waiting.is_empty() && self.sent == self.last
    }

    fn admit(&mut self) {
        let credit = if self.is_closed {
            PROGRESS_CREDIT
        } else {
            PROGRESS_CREDIT - PROGRESS_TAIL
        };
        while let Some(next) = self.waiting.front() {
            let notice = if self.cut > 0 { 2 * ENVELOPE_LEN } else { 0 };
            if self.records_len + notice + cost(&next.text) > credit {
                return;
            }
            if self.cut > 0 {
                let text = format!(
                    "{} bytes of output were cut here: the coordinator was behind",
                    self.cut
                );
                self.record(Piece {
                    kind: TranscriptKind::Worker,
                    text,
                    at: next.at,
                });
                self.cut = 0;
            } else if let Some(next) = self.waiting.pop_front() {
                self.waiting_len -= cost(&next.text);
                self.record(next);
            }
        }
    }

    fn record(&mut self, piece: Piece) {
        self.last += 1;
        self.records_len += cost(&piece.text);
        self.records.push_back(TranscriptRecord {
            index: self.last,
            at: Some(clock::timestamp(piece.at)),
            kind: piece.kind.into(),
            text: piece.text,
        });
    }
}

fn cost(text: &str) -> usize {
    text.len() + ENVELOPE_LEN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(len: usize) -> Piece {
        Piece {
            kind: TranscriptKind::Stdout,
            text: "x".repeat(len),
            at: SystemTime::UNIX_EPOCH,
        }
    }

    fn sent(transcript: &mut Transcript) -> Vec<TranscriptRecord> {
        let mut records = Vec::new();
        loop {
            let batch = transcript.next_batch();
            if batch.is_empty() {
                return records;
            }
            records.extend(batch);
        }
    }

    #[test]
    fn a_new_stream_goes_on_after_what_is_kept() {
        let mut transcript = Transcript::default();
        for _ in 0..4 {
            transcript.push(piece(10));
        }
        assert_eq!(sent(&mut transcript).len(), 4);

        transcript.resume(2);

        let again: Vec<_> = sent(&mut transcript)
            .iter()
            .map(|record| record.index)
            .collect();
        assert_eq!(again, [3, 4]);
        assert!(transcript.is_sent());
    }

    #[test]
    fn what_exceeds_the_credit_is_cut_and_said() {
        let mut transcript = Transcript::default();
        for _ in 0..100 {
            transcript.push(piece(RECORD_TEXT_LEN_MAX));
        }
        let before = sent(&mut transcript);
        let kept: usize = before.iter().map(|record| record.text.len()).sum();
        assert!(kept <= PROGRESS_CREDIT - PROGRESS_TAIL);

        transcript.close();

        let after = sent(&mut transcript);
        let tail: usize = after.iter().skip(1).map(|record| record.text.len()).sum();
        let cut = 100 * RECORD_TEXT_LEN_MAX - kept - tail;
        assert_eq!(after[0].kind(), TranscriptKind::Worker);
        assert_eq!(
            after[0].text,
            format!("{cut} bytes of output were cut here: the coordinator was behind")
        );
        assert!(tail > 0 && transcript.is_sent());
    }

    proptest! {
        #[test]
        fn indices_have_no_gap_and_the_credit_holds(
            steps in prop::collection::vec((0..4u8, 0..RECORD_TEXT_LEN_MAX), 1..200),
        ) {
            let mut transcript = Transcript::default();
            let mut pushed = 0;
            let mut expected = 1;
            let mut received = Vec::new();
            for (step, size) in steps {
                match step {
                    0 | 1 => {
                        pushed += size;
                        transcript.push(piece(size));
                    }
                    2 => transcript.acknowledged(expected - 1),
                    _ => {
                        for record in sent(&mut transcript) {
                            prop_assert_eq!(record.index, expected);
                            expected += 1;
                            received.push(record);
                        }
                    }
                }
                prop_assert!(transcript.records_len <= PROGRESS_CREDIT - PROGRESS_TAIL);
            }
            transcript.close();
            received.extend(sent(&mut transcript));

            prop_assert!(transcript.is_sent());
            prop_assert!(transcript.records_len <= PROGRESS_CREDIT);
            let told: usize = received
                .iter()
                .map(|record| match record.kind() {
                    TranscriptKind::Worker => record.text.split(' ').next().unwrap().parse().unwrap(),
                    _ => record.text.len(),
                })
                .sum();
            prop_assert_eq!(told, pushed);
        }
    }
}
