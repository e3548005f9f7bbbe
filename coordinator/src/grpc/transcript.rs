//! Following the transcript of one attempt.

use board::id::{AttemptNumber, TaskKey};
use ganger_proto::v1;

use super::{Services, to_wire};
use crate::transcripts::{
    AttemptKey, Item, Kind, PageBounds, Record, Subscription, TranscriptError,
};

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
    Record {
        seq: u64::try_from(record.index).unwrap_or(0),
        at_ms,
        kind: match record.kind() {
            v1::TranscriptKind::Unspecified => Kind::Unspecified,
            v1::TranscriptKind::Stdout => Kind::Stdout,
            v1::TranscriptKind::Stderr => Kind::Stderr,
            v1::TranscriptKind::Worker => Kind::Worker,
            v1::TranscriptKind::Cut => Kind::Cut,
        },
        text: record.text.clone(),
        ..Record::default()
    }
}

fn wire_kind(kind: Kind) -> v1::TranscriptKind {
    match kind {
        Kind::Stdout => v1::TranscriptKind::Stdout,
        Kind::Stderr => v1::TranscriptKind::Stderr,
        Kind::Worker => v1::TranscriptKind::Worker,
        Kind::Cut => v1::TranscriptKind::Cut,
        // Nothing sends them yet, and the wire has no names for them.
        Kind::Unspecified
        | Kind::Message
        | Kind::Thinking
        | Kind::ToolCall
        | Kind::ToolResult
        | Kind::Plan
        | Kind::Permission
        | Kind::Question
        | Kind::Answer => v1::TranscriptKind::Unspecified,
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
    let missing = |to_seq, text| v1::TranscriptRecord {
        index: index(to_seq),
        at: None,
        kind: v1::TranscriptKind::Cut.into(),
        text,
    };
    match item {
        Item::Record(record) => v1::TranscriptRecord {
            index: index(record.seq),
            at: Some(to_wire::time(board::time::Time(record.at_ms))),
            kind: wire_kind(record.kind).into(),
            text: record.text,
        },
        Item::Cut(cut) => missing(
            cut.to_seq,
            format!(
                "records {} to {} ({} bytes) were cut: a transcript is bounded",
                cut.from_seq, cut.to_seq, cut.bytes
            ),
        ),
        Item::Damaged(lost) if lost.from_seq == lost.to_seq => missing(
            lost.to_seq,
            format!("record {} is damaged and cannot be read", lost.to_seq),
        ),
        Item::Damaged(lost) => missing(
            lost.to_seq,
            format!(
                "records {} to {} are damaged and cannot be read",
                lost.from_seq, lost.to_seq
            ),
        ),
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
