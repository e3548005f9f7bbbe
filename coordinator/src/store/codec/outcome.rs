//! Outcomes of requests, and the pages of their keys by which they are forgotten in order.

use board::{
    event::Fields,
    id::{TaskId, TeamUid},
    record::{CameTo, Outcome, Request, RequestKey},
    task::Status,
    time::Time,
};

use super::{CodecError, Kind, Numbered, Wide, open, seal};

const OUTCOME: Kind = Kind {
    name: "outcome",
    version: 1,
};
const OUTCOME_PAGE: Kind = Kind {
    name: "outcome page",
    version: 1,
};

/// Keys in a page: 16 bytes each, so that a page stays one record.
pub(in crate::store) const PAGE_KEYS_MAX: usize = 256;

#[derive(Clone, PartialEq, prost::Message)]
struct OutcomeMessage {
    #[prost(message, optional, tag = "1")]
    body: Option<Wide>,
    #[prost(int64, tag = "2")]
    at: i64,
    #[prost(uint64, tag = "3")]
    team: u64,
    /// The page that its key is in.
    #[prost(uint64, tag = "4")]
    page: u64,
    /// 1 a team, 2 tasks, 3 an update, 4 a task.
    #[prost(uint32, tag = "5")]
    came_to: u32,
    #[prost(uint64, tag = "6")]
    task: u64,
    #[prost(uint32, tag = "7")]
    count: u32,
    #[prost(uint32, tag = "8")]
    fields: u32,
    /// The status before and after.
    #[prost(uint32, repeated, tag = "9")]
    status: Vec<u32>,
}

/// Encodes an outcome whose key is in a page.
pub(in crate::store) fn encode_outcome(outcome: &Outcome, page: u64) -> Vec<u8> {
    let mut message = OutcomeMessage {
        body: Some(outcome.request.body.into()),
        at: outcome.at.0,
        team: outcome.team.0,
        page,
        ..OutcomeMessage::default()
    };
    match outcome.came_to {
        CameTo::Team => message.came_to = 1,
        CameTo::Tasks { first, count } => {
            message.came_to = 2;
            message.task = first.0;
            message.count = count;
        }
        CameTo::Updated {
            task,
            fields,
            status,
        } => {
            message.came_to = 3;
            message.task = task.0;
            message.fields = fields.0;
            let status = status.map(|(from, to)| [from.number(), to.number()]);
            message.status.extend(status.into_iter().flatten());
        }
        CameTo::Task { task } => {
            message.came_to = 4;
            message.task = task.0;
        }
    }
    seal(OUTCOME, &message)
}

/// Decodes an outcome and the number of the page that its key is in.
pub(in crate::store) fn decode_outcome(
    key: RequestKey,
    bytes: &[u8],
) -> Result<(Outcome, u64), CodecError> {
    let message: OutcomeMessage = open(OUTCOME, bytes)?;
    let task = TaskId(message.task);
    let came_to = match message.came_to {
        1 => CameTo::Team,
        2 => CameTo::Tasks {
            first: task,
            count: message.count,
        },
        3 => CameTo::Updated {
            task,
            fields: Fields(message.fields),
            status: match *message.status {
                [] => None,
                [from, to] => Some((Status::of(from)?, Status::of(to)?)),
                _ => return Err(CodecError::Bad("change of status")),
            },
        },
        4 => CameTo::Task { task },
        _ => return Err(CodecError::Bad("kind of outcome")),
    };
    let outcome = Outcome {
        request: Request {
            key,
            body: message.body.ok_or(CodecError::Bad("body hash"))?.into(),
        },
        at: Time(message.at),
        team: TeamUid(message.team),
        came_to,
    };
    Ok((outcome, message.page))
}

/// Keys of outcomes of one commit, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct OutcomePage {
    pub(in crate::store) at: Time,
    pub(in crate::store) keys: Vec<RequestKey>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PageMessage {
    #[prost(int64, tag = "1")]
    at: i64,
    /// 16 bytes each.
    #[prost(bytes = "vec", tag = "2")]
    keys: Vec<u8>,
}

pub(in crate::store) fn encode_outcome_page(at: Time, keys: &[RequestKey]) -> Vec<u8> {
    let message = PageMessage {
        at: at.0,
        keys: keys.iter().flat_map(|key| key.0.to_be_bytes()).collect(),
    };
    seal(OUTCOME_PAGE, &message)
}

pub(in crate::store) fn decode_outcome_page(bytes: &[u8]) -> Result<OutcomePage, CodecError> {
    let message: PageMessage = open(OUTCOME_PAGE, bytes)?;
    let (keys, rest) = message.keys.as_chunks();
    if !rest.is_empty() || keys.is_empty() {
        return Err(CodecError::Bad("row of keys"));
    }
    Ok(OutcomePage {
        at: Time(message.at),
        keys: keys
            .iter()
            .map(|key| RequestKey(u128::from_be_bytes(*key)))
            .collect(),
    })
}
