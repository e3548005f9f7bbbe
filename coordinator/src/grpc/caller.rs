//! Who calls: what the call's metadata says, and how a repeated call is recognised.

use board::{
    command::Caller,
    id::{AttemptNumber, Epoch, Fence, MessageId, NameError, TaskId, TeamName, TeamUid},
    record::{Request, RequestKey},
    refusal::Refusal,
};
use ganger_proto::{ATTEMPT_KEY, BEHALF_KEY, CAUSE_KEY, MEMBER_KEY, TEAM_KEY};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tonic::{Status, metadata::MetadataMap};
use uuid::Uuid;

use super::{address::Address, status};
use crate::engine::DEFAULT_TEAM;

#[cfg(test)]
mod tests;

/// What the metadata of a call says of who calls.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    team: Option<String>,
    /// The members that the metadata names, each with its key.
    named: Vec<(&'static str, Address)>,
    /// The member that calls.
    pub caller: Caller,
}

impl Identity {
    /// Reads the metadata of a call.
    pub fn of(metadata: &MetadataMap) -> Result<Self, Status> {
        let text = |key: &'static str| match metadata.get(key).map(|value| value.to_str()) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(Err(_)) => Err(status::invalid(key, "is no plain text")),
        };
        let mut caller = Caller::default();
        let mut named = Vec::new();
        if let Some(member) = text(MEMBER_KEY)? {
            let (member, incarnation) = pinned(member)?;
            caller.member = Some(member.name.clone());
            caller.incarnation = incarnation;
            named.push((MEMBER_KEY, member));
        }
        if let Some(member) = text(BEHALF_KEY)? {
            let member = Address::parse(BEHALF_KEY, member)?;
            caller.on_behalf_of = Some(member.name.clone());
            named.push((BEHALF_KEY, member));
        }
        caller.attempt = text(ATTEMPT_KEY)?.map(attempt).transpose()?;
        caller.cause = text(CAUSE_KEY)?.map(message).transpose()?;
        Ok(Self {
            team: text(TEAM_KEY)?.map(ToOwned::to_owned),
            named,
            caller,
        })
    }

    /// The team that a request speaks of: its own field, else the metadata's team, else that of
    /// the caller's address, else the default. Whom the metadata names must be its members.
    pub fn team(&self, field: &str) -> Result<TeamName, Status> {
        let said = Some(field).filter(|field| !field.is_empty());
        let team = match said.or(self.team.as_deref()) {
            Some(text) => TeamName::parse(text).map_err(|why| bad_name("team", text, why))?,
            None => match self
                .named
                .iter()
                .find_map(|(_, address)| address.team.clone())
            {
                Some(team) => team,
                None => TeamName::parse(DEFAULT_TEAM).expect("a name by itself"),
            },
        };
        for (key, address) in &self.named {
            address.check_team(key, &team)?;
        }
        Ok(team)
    }

    /// How to recognise this call when it comes again; none without a request id.
    pub fn request(
        &self,
        call: &'static str,
        team: &TeamName,
        request_id: &str,
        body: &impl Serialize,
    ) -> Result<Option<Request>, Status> {
        if request_id.is_empty() {
            return Ok(None);
        }
        let id =
            Uuid::parse_str(request_id).map_err(|_| status::invalid("request_id", "is no UUID"))?;
        // The JSON of a message is canonical here: serde_json keeps the keys of maps in order.
        let mut body = serde_json::to_value(body)
            .map_err(|error| status::invalid("request", error.to_string()))?;
        if let Some(fields) = body.as_object_mut() {
            // Both are in the key, whichever way they were written.
            fields.remove("requestId");
            fields.remove("team");
        }
        let caller = match &self.caller.attempt {
            Some(fence) => format!("task:{}", fence.task),
            None => self
                .caller
                .member
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        };
        let key = [call, team.as_str(), &caller].join("\0");
        Ok(Some(Request {
            key: RequestKey(hash(&[key.as_bytes(), id.as_bytes()])),
            body: hash(&[body.to_string().as_bytes()]),
        }))
    }
}

fn hash(parts: &[&[u8]]) -> u128 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let half: [u8; 16] = digest[..16].try_into().expect("16 of 32 bytes");
    u128::from_be_bytes(half)
}

/// `alice` or `alice@red`, with `/3` behind it to pin an incarnation.
fn pinned(text: &str) -> Result<(Address, Option<u32>), Status> {
    let (member, incarnation) = match text.split_once('/') {
        Some((member, number)) => {
            let number = number
                .parse()
                .map_err(|_| status::invalid(MEMBER_KEY, "has an incarnation that is no number"))?;
            (member, Some(number))
        }
        None => (text, None),
    };
    Ok((Address::parse(MEMBER_KEY, member)?, incarnation))
}

/// `epoch/team uid/task/attempt`, as a fence is written in words.
pub(super) fn attempt(text: &str) -> Result<Fence, Status> {
    let parts: Vec<&str> = text.split('/').collect();
    let fence = || {
        let [epoch, team, task, attempt] = parts[..] else {
            return None;
        };
        Some(Fence {
            epoch: Epoch(Uuid::parse_str(epoch).ok()?.as_u128()),
            team: TeamUid(team.parse().ok()?),
            task: TaskId(task.parse().ok()?),
            attempt: AttemptNumber(attempt.parse().ok()?),
        })
    };
    fence().ok_or_else(|| status::invalid(ATTEMPT_KEY, "is no epoch/team uid/task/attempt"))
}

fn message(text: &str) -> Result<MessageId, Status> {
    match text.parse() {
        Ok(id) if id > 0 => Ok(MessageId(id)),
        _ => Err(status::invalid(CAUSE_KEY, "is the number of no message")),
    }
}

/// The refusal of a name.
pub fn bad_name(field: &'static str, text: &str, why: NameError) -> Status {
    status::refusal(&Refusal::BadName {
        field,
        text: text.chars().take(100).collect(),
        why,
    })
}
