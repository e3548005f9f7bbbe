//! Following the transcript of one attempt.

use board::id::{AttemptNumber, TaskKey};
use ganger_proto::v1;
use prost::Message;

use super::{Services, to_wire};
use crate::transcripts::{AttemptKey, Item, PageBounds, Record, Subscription, TranscriptError};

/// What one page brings at the most.
const PAGE: PageBounds = PageBounds {
    items: 256,
    bytes: 256 * 1024,
};

/// A reader of an attempt's transcript.
pub struct Tail {
    services: Services,
    key: AttemptKey,
    next: u64,
    news: Subscription,
}

/// A part of a transcript.
pub struct Page {
    /// The records.
    pub records: Vec<v1::TranscriptRecord>,
    /// How far the transcript is on disk.
    pub synced_through: u64,
}

/// The key under which an attempt's records are kept.
pub fn key((team, task): TaskKey, attempt: AttemptNumber) -> AttemptKey {
    AttemptKey {
        team: team.0,
        task: task.0,
        attempt: attempt.0,
    }
}

/// A record as it is kept: index and time beside, the rest as on the wire.
pub fn kept(record: &v1::TranscriptRecord) -> Record {
    let at = record.at.as_ref();
    let at_ms = at.map_or(0, |at| {
        at.seconds
            .saturating_mul(1_000)
            .saturating_add(i64::from(at.nanos) / 1_000_000)
    });
    let body = v1::TranscriptRecord {
        kind: record.kind,
        text: record.text.clone(),
        ..v1::TranscriptRecord::default()
    };
    Record {
        seq: u64::try_from(record.index).unwrap_or(0),
        at_ms,
        body: body.encode_to_vec(),
    }
}

/// A record without its text, where there is no room for that. Its place is kept: there are no
/// gaps.
pub fn kept_without_text(record: &v1::TranscriptRecord) -> Record {
    kept(&v1::TranscriptRecord {
        kind: v1::TranscriptKind::Cut.into(),
        text: format!(
            "{} bytes were cut: the coordinator's disk was nearly full",
            record.text.len()
        ),
        ..record.clone()
    })
}

fn told(item: Item) -> v1::TranscriptRecord {
    let index = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    match item {
        Item::Record(record) => {
            let body = v1::TranscriptRecord::decode(&record.body[..]).unwrap_or_default();
            v1::TranscriptRecord {
                index: index(record.seq),
                at: Some(to_wire::time(board::time::Time(record.at_ms))),
                ..body
            }
        }
        Item::Cut(cut) => v1::TranscriptRecord {
            index: index(cut.to_seq),
            at: None,
            kind: v1::TranscriptKind::Cut.into(),
            text: format!(
                "records {} to {} ({} bytes) were cut: a transcript is bounded",
                cut.from_seq, cut.to_seq, cut.bytes
            ),
        },
    }
}

impl Tail {
    /// Begins after an index.
    pub async fn new(
        services: &Services,
        key: AttemptKey,
        after: u64,
    ) -> Result<Self, TranscriptError> {
        Ok(Self {
            services: services.clone(),
            key,
            next: after + 1,
            news: services.transcripts.watch(key).await?,
        })
    }

    /// The records that are there and not yet read; an empty page when there are none.
    pub async fn page(&mut self) -> Result<Page, TranscriptError> {
        let page = self
            .services
            .transcripts
            .read(self.key, self.next, PAGE)
            .await?;
        self.next = page.next_seq;
        Ok(Page {
            records: page.items.into_iter().map(told).collect(),
            synced_through: page.extent.synced_through,
        })
    }
}

/// Waits for news of a transcript; for ever where there will be none.
pub async fn news(tail: &mut Option<Tail>) {
    if let Some(open) = tail
        && open.news.changed().await.is_some()
    {
        return;
    }
    std::future::pending().await
}
