//! A record, and its body as bytes.
//!
//! A body is a version byte and a protobuf message of this module's own: the wire may change
//! without it. A field or a kind more is a new version; a body of a newer version is refused.

use prost::Message;

/// What is counted for a record beside its body, in every bound.
pub(super) const COUNTED_BYTES: usize = 56;

/// The largest text of one record: what a worker may send as one progress message.
pub const RECORD_TEXT_BYTES_MAX: usize = 64 << 10;

/// The longest call id and the longest name of a record.
pub const RECORD_NAME_BYTES_MAX: usize = 256;

/// The largest body: a text, two names, and what encoding takes.
pub(super) const BODY_BYTES_MAX: usize = RECORD_TEXT_BYTES_MAX + 2 * RECORD_NAME_BYTES_MAX + 64;

const VERSION: u8 = 1;

/// What a record is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// The worker did not say.
    #[default]
    Unspecified,
    /// What the sub-agent said.
    Message,
    /// What it thought.
    Thinking,
    /// A tool that it called.
    ToolCall,
    /// What the tool answered.
    ToolResult,
    /// Its plan.
    Plan,
    /// A permission that it asked for, or that was decided.
    Permission,
    /// A question to its lead.
    Question,
    /// The answer to one.
    Answer,
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
    /// The worker's own words about the attempt.
    Worker,
    /// Stands for text that was cut.
    Cut,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::Unspecified,
        Self::Message,
        Self::Thinking,
        Self::ToolCall,
        Self::ToolResult,
        Self::Plan,
        Self::Permission,
        Self::Question,
        Self::Answer,
        Self::Stdout,
        Self::Stderr,
        Self::Worker,
        Self::Cut,
    ];

    /// Its number on disk: its place among all.
    fn number(self) -> u32 {
        self as u32
    }

    fn of_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }
}

/// How far a tool call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStatus {
    /// It waits, for a permission or for its turn.
    Pending,
    /// It runs.
    Running,
    /// It ended well.
    Completed,
    /// It ended with an error.
    Failed,
}

impl CallStatus {
    /// Its number on disk; 0 stands for none.
    fn number(status: Option<Self>) -> u32 {
        match status {
            None => 0,
            Some(Self::Pending) => 1,
            Some(Self::Running) => 2,
            Some(Self::Completed) => 3,
            Some(Self::Failed) => 4,
        }
    }

    fn of_number(number: u32) -> Option<Option<Self>> {
        Some(match number {
            0 => None,
            1 => Some(Self::Pending),
            2 => Some(Self::Running),
            3 => Some(Self::Completed),
            4 => Some(Self::Failed),
            _ => return None,
        })
    }
}

/// One entry of a transcript.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its place in the attempt, from 1 without gaps.
    pub seq: u64,
    /// When it came about, in milliseconds since 1970.
    pub at_ms: i64,
    /// What it is.
    pub kind: Kind,
    /// What it says; at most [`RECORD_TEXT_BYTES_MAX`].
    pub text: String,
    /// Of a tool call and its result: which call; at most [`RECORD_NAME_BYTES_MAX`].
    pub call_id: String,
    /// Of a tool call and its result: which tool; at most [`RECORD_NAME_BYTES_MAX`].
    pub name: String,
    /// Of a tool call and its result: how far it has come.
    pub status: Option<CallStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    text: String,
    #[prost(string, tag = "3")]
    call_id: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(uint32, tag = "5")]
    status: u32,
}

/// The body of format 1: a wire record of its time. Kinds: 1 standard output, 2 standard error,
/// 3 worker, 4 cut.
#[derive(Clone, PartialEq, prost::Message)]
struct OldBody {
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(string, tag = "4")]
    text: String,
}

/// Why a whole body can't be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadBody {
    /// A later version of this program wrote it.
    Newer,
    /// It is no body.
    Damaged,
}

impl Record {
    /// Whether its text and names keep to their limits.
    pub(super) fn fits(&self) -> bool {
        self.text.len() <= RECORD_TEXT_BYTES_MAX
            && self.call_id.len() <= RECORD_NAME_BYTES_MAX
            && self.name.len() <= RECORD_NAME_BYTES_MAX
    }

    /// How large its text and names are together.
    pub(super) fn content_bytes(&self) -> usize {
        self.text.len() + self.call_id.len() + self.name.len()
    }

    pub(super) fn encode_body(&self) -> Vec<u8> {
        let body = Body {
            kind: self.kind.number(),
            text: self.text.clone(),
            call_id: self.call_id.clone(),
            name: self.name.clone(),
            status: CallStatus::number(self.status),
        };
        let mut bytes = Vec::with_capacity(1 + body.encoded_len());
        bytes.push(VERSION);
        body.encode_raw(&mut bytes);
        bytes
    }

    pub(super) fn decode_body(seq: u64, at_ms: i64, bytes: &[u8]) -> Result<Self, BadBody> {
        let (version, body) = bytes.split_first().ok_or(BadBody::Damaged)?;
        if *version > VERSION {
            return Err(BadBody::Newer);
        }
        let body = Body::decode(body).map_err(|_| BadBody::Damaged)?;
        Ok(Self {
            seq,
            at_ms,
            kind: Kind::of_number(body.kind).ok_or(BadBody::Damaged)?,
            text: body.text,
            call_id: body.call_id,
            name: body.name,
            status: CallStatus::of_number(body.status).ok_or(BadBody::Damaged)?,
        })
    }

    pub(super) fn decode_old_body(seq: u64, at_ms: i64, bytes: &[u8]) -> Result<Self, BadBody> {
        let body = OldBody::decode(bytes).map_err(|_| BadBody::Damaged)?;
        Ok(Self {
            seq,
            at_ms,
            kind: match body.kind {
                1 => Kind::Stdout,
                2 => Kind::Stderr,
                3 => Kind::Worker,
                4 => Kind::Cut,
                _ => Kind::Unspecified,
            },
            text: body.text,
            ..Self::default()
        })
    }

    /// The body as format 1 had it.
    #[cfg(test)]
    pub(super) fn encode_old_body(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Stdout => 1,
            Kind::Stderr => 2,
            Kind::Worker => 3,
            Kind::Cut => 4,
            _ => 0,
        };
        let text = self.text.clone();
        OldBody { kind, text }.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_keeps_every_field_of_every_kind_and_status() {
        let statuses = [
            None,
            Some(CallStatus::Pending),
            Some(CallStatus::Running),
            Some(CallStatus::Completed),
            Some(CallStatus::Failed),
        ];
        for kind in Kind::ALL {
            for status in statuses {
                let record = Record {
                    seq: 7,
                    at_ms: -3,
                    kind,
                    text: "ls -l\n".into(),
                    call_id: "toolu_1".into(),
                    name: "bash".into(),
                    status,
                };

                let body = record.encode_body();

                assert_eq!(Record::decode_body(7, -3, &body), Ok(record));
            }
        }
    }

    #[test]
    fn largest_record_is_within_the_largest_body() {
        let record = Record {
            kind: Kind::Cut,
            text: "x".repeat(RECORD_TEXT_BYTES_MAX),
            call_id: "x".repeat(RECORD_NAME_BYTES_MAX),
            name: "x".repeat(RECORD_NAME_BYTES_MAX),
            status: Some(CallStatus::Failed),
            ..Record::default()
        };

        assert!(record.fits() && record.encode_body().len() <= BODY_BYTES_MAX);
    }

    #[test]
    fn body_of_a_newer_version_is_not_guessed_at() {
        let mut body = Record::default().encode_body();
        body[0] = VERSION + 1;

        assert_eq!(Record::decode_body(1, 0, &body), Err(BadBody::Newer));
        assert_eq!(Record::decode_body(1, 0, &[]), Err(BadBody::Damaged));
    }
}
