//! Outcomes of requests, in pages: those of one commit share values.

use board::{
    event::Fields,
    id::{MessageId, TaskId, TeamUid},
    record::{CameTo, Outcome, Request, RequestKey},
    task::Status,
    time::Time,
};

use super::{CodecError, Kind, Numbered, Wide, open, seal};

const OUTCOMES: Kind = Kind {
    name: "outcomes",
    version: 2,
};

/// Outcomes of one commit, or a part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct OutcomePage {
    /// When they were committed.
    pub(in crate::store) at: Time,
    pub(in crate::store) outcomes: Vec<Outcome>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PageMessage {
    #[prost(int64, tag = "1")]
    at: i64,
    #[prost(message, repeated, tag = "2")]
    outcomes: Vec<OutcomeMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OutcomeMessage {
    #[prost(message, optional, tag = "1")]
    key: Option<Wide>,
    #[prost(message, optional, tag = "2")]
    body: Option<Wide>,
    /// Later than the commit by so many milliseconds.
    #[prost(sint64, tag = "3")]
    later: i64,
    #[prost(uint64, tag = "4")]
    team: u64,
    /// 1 a team, 2 tasks, 3 an update, 4 a task, 5 a batch, 6 a task reopened, 7 one deleted, 8 a
    /// team dissolved, 9 a member, 10 one removed, 11 a message, 12 tasks that a filter found, 13 a
    /// claim renewed.
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
    #[prost(uint64, tag = "10")]
    message: u64,
    #[prost(bool, tag = "11")]
    is_more: bool,
}

pub(in crate::store) fn encode_outcomes(at: Time, outcomes: &[Outcome]) -> Vec<u8> {
    let message = PageMessage {
        at: at.0,
        outcomes: outcomes
            .iter()
            .map(|outcome| message_of(outcome, at))
            .collect(),
    };
    seal(OUTCOMES, &message)
}

pub(in crate::store) fn decode_outcomes(bytes: &[u8]) -> Result<OutcomePage, CodecError> {
    let message: PageMessage = open(OUTCOMES, bytes)?;
    let at = Time(message.at);
    let outcomes = message.outcomes.into_iter();
    Ok(OutcomePage {
        at,
        outcomes: outcomes
            .map(|message| decode_outcome(message, at))
            .collect::<Result<_, _>>()?,
    })
}

fn message_of(outcome: &Outcome, page_at: Time) -> OutcomeMessage {
    let mut message = OutcomeMessage {
        key: Some(outcome.request.key.0.into()),
        body: Some(outcome.request.body.into()),
        later: outcome.at.0.wrapping_sub(page_at.0),
        team: outcome.team.0,
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
        CameTo::Renewed { task } => {
            message.came_to = 13;
            message.task = task.0;
        }
        CameTo::Batch => message.came_to = 5,
        CameTo::Reopened { task } => {
            message.came_to = 6;
            message.task = task.0;
        }
        CameTo::Deleted => message.came_to = 7,
        CameTo::Dissolved => message.came_to = 8,
        CameTo::Member => message.came_to = 9,
        CameTo::Removed => message.came_to = 10,
        CameTo::Sent { message: sent } => {
            message.came_to = 11;
            message.message = sent.0;
        }
        CameTo::Swept {
            count,
            is_more,
            last,
        } => {
            message.task = last.0;
            message.came_to = 12;
            message.count = count;
            message.is_more = is_more;
        }
    }
    message
}

fn decode_outcome(message: OutcomeMessage, page_at: Time) -> Result<Outcome, CodecError> {
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
        5 => CameTo::Batch,
        6 => CameTo::Reopened { task },
        7 => CameTo::Deleted,
        8 => CameTo::Dissolved,
        9 => CameTo::Member,
        10 => CameTo::Removed,
        11 => CameTo::Sent {
            message: MessageId(message.message),
        },
        12 => CameTo::Swept {
            count: message.count,
            is_more: message.is_more,
            last: TaskId(message.task),
        },
        13 => CameTo::Renewed { task },
        _ => return Err(CodecError::Bad("kind of outcome")),
    };
    Ok(Outcome {
        request: Request {
            key: RequestKey(message.key.ok_or(CodecError::Bad("request"))?.into()),
            body: message.body.ok_or(CodecError::Bad("body hash"))?.into(),
        },
        at: Time(page_at.0.wrapping_add(message.later)),
        team: TeamUid(message.team),
        came_to,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Horizon, database::VALUE_LEN_MAX};

    #[test]
    fn a_page_of_the_longest_outcomes_is_one_record() {
        let longest = Outcome {
            request: Request {
                key: RequestKey(u128::MAX),
                body: u128::MAX,
            },
            at: Time(i64::MIN),
            team: TeamUid(u64::MAX),
            came_to: CameTo::Updated {
                task: TaskId(u64::MAX),
                fields: Fields(u32::MAX),
                status: Some((Status::Cancelled, Status::Cancelled)),
            },
        };

        let page = encode_outcomes(Time(-1), &[longest; Horizon::PAGE_LEN_MAX]);

        assert!(page.len() <= VALUE_LEN_MAX, "{} bytes", page.len());
    }
}
