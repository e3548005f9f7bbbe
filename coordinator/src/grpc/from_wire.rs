//! From what the wire says to what the board understands. Every word of a peer is checked here or
//! by the board; nothing in it is believed to be well formed.

mod fleet;
mod mail;
mod task;
mod team;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use board::{
    id::{AgentTypeName, Digest, MemberName, TaskId, TeamName},
    task::{Artifact, Priority},
    time::Time,
};
use ganger_proto::v1;
use tonic::Status as WireStatus;

pub use self::{
    fleet::{end_report, fence, hello, question},
    mail::{ack, letter, received, watched},
    task::{
        attempt, claim_next, delegated, item, lease, new_task, place_text, revision, sweep, update,
        wait_until, wanted,
    },
    team::{
        add_member, create_team, hand_over_lead, member_place, removal, removed, team_changes,
        team_place, team_place_text,
    },
};
use super::{address::member_of, caller::bad_name, status};

type Parsed<T> = Result<T, WireStatus>;

/// The last second of the year 9999: what a timestamp of protobuf can say.
const SECONDS_MAX: i64 = 253_402_300_799;

pub fn time(field: &'static str, time: &pbjson_types::Timestamp) -> Parsed<Time> {
    let is_sound =
        (0..=SECONDS_MAX).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    if !is_sound {
        return Err(status::invalid(field, "is no moment between 1970 and 9999"));
    }
    Ok(Time(
        time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000,
    ))
}

pub fn span(field: &'static str, span: &pbjson_types::Duration) -> Parsed<Duration> {
    let seconds = u64::try_from(span.seconds).ok();
    let nanos = u32::try_from(span.nanos)
        .ok()
        .filter(|n| *n < 1_000_000_000);
    match (seconds, nanos) {
        (Some(seconds), Some(nanos)) => Ok(Duration::new(seconds, nanos)),
        _ => Err(status::invalid(field, "is no span of time")),
    }
}

fn name<T>(
    field: &'static str,
    text: &str,
    parse: fn(&str) -> Result<T, board::id::NameError>,
) -> Parsed<T> {
    parse(text).map_err(|why| bad_name(field, text, why))
}

/// A member of the team, where the empty text stands for none.
fn optional_member(field: &'static str, text: &str, team: &TeamName) -> Parsed<Option<MemberName>> {
    if text.is_empty() {
        return Ok(None);
    }
    member_of(field, text, team).map(Some)
}

/// A name where the empty text stands for none.
fn optional_name<T>(
    field: &'static str,
    text: &str,
    parse: fn(&str) -> Result<T, board::id::NameError>,
) -> Parsed<Option<T>> {
    if text.is_empty() {
        return Ok(None);
    }
    name(field, text, parse).map(Some)
}

/// An enum's value, where an unknown number is refused by its field's name.
fn known<T: TryFrom<i32>>(field: &'static str, value: i32) -> Parsed<T> {
    T::try_from(value).map_err(|_| status::invalid(field, format!("has no value {value}")))
}

fn arcs(texts: Vec<String>) -> Vec<Arc<str>> {
    texts.into_iter().map(Into::into).collect()
}

pub fn task_id(field: &'static str, id: u64) -> Parsed<TaskId> {
    if id == 0 {
        return Err(status::invalid(field, "names no task: ids begin with 1"));
    }
    Ok(TaskId(id))
}

fn task_ids(field: &'static str, ids: &[u64]) -> Parsed<Vec<TaskId>> {
    ids.iter().map(|id| task_id(field, *id)).collect()
}

fn optional_id(id: u64) -> Option<TaskId> {
    (id != 0).then_some(TaskId(id))
}

/// A value of a metadata object as the JSON text that the board keeps.
fn json(value: &pbjson_types::Value) -> Parsed<Arc<str>> {
    // Not a number of JSON: NaN, infinities.
    serde_json::to_value(value)
        .map(|value| value.to_string().into())
        .map_err(|error| status::invalid("metadata", format!("is no JSON: {error}")))
}

fn metadata(object: Option<&pbjson_types::Struct>) -> Parsed<BTreeMap<Arc<str>, Arc<str>>> {
    let fields = object.into_iter().flat_map(|object| &object.fields);
    fields
        .filter(|(_, value)| !is_null(value))
        .map(|(key, value)| Ok((key.as_str().into(), json(value)?)))
        .collect()
}

fn is_null(value: &pbjson_types::Value) -> bool {
    matches!(
        value.kind,
        None | Some(pbjson_types::value::Kind::NullValue(_))
    )
}

fn metadata_changes(
    object: Option<&pbjson_types::Struct>,
) -> Parsed<BTreeMap<Arc<str>, Option<Arc<str>>>> {
    let fields = object.into_iter().flat_map(|object| &object.fields);
    fields
        .map(|(key, value)| {
            let value = if is_null(value) {
                None
            } else {
                Some(json(value)?)
            };
            Ok((key.as_str().into(), value))
        })
        .collect()
}

/// `agent_type`, which may also be spelled `subagent_type`.
fn agent_type(agent_type: &str, subagent_type: &str) -> Parsed<Option<AgentTypeName>> {
    let text = match (agent_type, subagent_type) {
        (text, "") | ("", text) => text,
        (one, other) if one == other => one,
        _ => return Err(status::invalid("subagent_type", "differs from agent_type")),
    };
    optional_name("agent_type", text, AgentTypeName::parse)
}

pub fn artifact(field: &'static str, artifact: &v1::Artifact) -> Parsed<Artifact> {
    let digest: crate::artifacts::Digest = artifact
        .sha256
        .parse()
        .map_err(|_| status::invalid(field, "have a sha256 that is none"))?;
    Ok(Artifact {
        digest: Digest(*digest.as_bytes()),
        path: artifact.path.as_str().into(),
        size: u64::try_from(artifact.size)
            .map_err(|_| status::invalid(field, "have a size below zero"))?,
    })
}

fn artifacts(field: &'static str, artifacts: &[v1::Artifact]) -> Parsed<Vec<Artifact>> {
    artifacts.iter().map(|a| artifact(field, a)).collect()
}

fn priority(field: &'static str, value: i32) -> Parsed<Option<Priority>> {
    Ok(match known(field, value)? {
        v1::TaskPriority::Unspecified => None,
        v1::TaskPriority::Low => Some(Priority::Low),
        v1::TaskPriority::Normal => Some(Priority::Normal),
        v1::TaskPriority::High => Some(Priority::High),
        v1::TaskPriority::Critical => Some(Priority::Critical),
    })
}

/// How many entries a page is to have: 50 when not said, 1,000 at the most.
pub fn page_size(size: i32) -> Parsed<usize> {
    match usize::try_from(size) {
        Ok(0) => Ok(50),
        Ok(size) => Ok(size.min(1_000)),
        Err(_) => Err(status::invalid("page_size", "is below zero")),
    }
}
