//! From what the wire says to what the board understands. Every word of a peer is checked here or
//! by the board; nothing in it is believed to be well formed.

mod fleet;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use board::{
    command::{CreateTeam, NewMember, NewTask, Update},
    id::{AgentTypeName, Digest, MemberName, Revision, TaskId, TeamName},
    task::{Artifact, BlockerFailedPolicy, Priority, Status, TaskKind},
    team::MemberKind,
    time::Time,
};
use ganger_proto::v1;
use tonic::Status as WireStatus;

pub use self::fleet::{end_report, fence, hello};
use super::{caller::bad_name, status};
use crate::engine::{DEFAULT_LEAD, ListFilter};

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

pub fn create_team(request: &v1::CreateTeamRequest) -> Parsed<CreateTeam> {
    let lead = if request.lead.is_empty() {
        DEFAULT_LEAD
    } else {
        &request.lead
    };
    let members = request.members.iter().map(new_member);
    Ok(CreateTeam {
        name: name("team_name", &request.team_name, TeamName::parse)?,
        description: request.description.as_str().into(),
        lead: name("lead", lead, MemberName::parse)?,
        lead_role: request.agent_type.as_str().into(),
        members: members.collect::<Parsed<_>>()?,
    })
}

fn new_member(member: &v1::NewMember) -> Parsed<NewMember> {
    let agent_type = optional_name(
        "members.agent_type",
        &member.agent_type,
        AgentTypeName::parse,
    )?;
    let kind = match known("members.kind", member.kind)? {
        v1::MemberKind::Unspecified if agent_type.is_some() => MemberKind::Hosted,
        v1::MemberKind::Unspecified | v1::MemberKind::Agent => MemberKind::Agent,
        v1::MemberKind::Hosted => MemberKind::Hosted,
        v1::MemberKind::Lead | v1::MemberKind::Worker => {
            return Err(status::invalid(
                "members.kind",
                "is neither AGENT nor HOSTED",
            ));
        }
    };
    Ok(NewMember {
        name: name("members.name", &member.name, MemberName::parse)?,
        kind,
        role: member.role.as_str().into(),
        description: member.description.as_str().into(),
        instructions: member.instructions.as_str().into(),
        agent_type,
        model: member.model.as_str().into(),
    })
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

fn priority(value: i32) -> Parsed<Option<Priority>> {
    Ok(match known("priority", value)? {
        v1::TaskPriority::Unspecified => None,
        v1::TaskPriority::Low => Some(Priority::Low),
        v1::TaskPriority::Normal => Some(Priority::Normal),
        v1::TaskPriority::High => Some(Priority::High),
        v1::TaskPriority::Critical => Some(Priority::Critical),
    })
}

pub fn new_task(task: v1::NewTask) -> Parsed<NewTask> {
    let items = task.blocked_by_items.iter().map(|item| {
        usize::try_from(*item)
            .map_err(|_| status::invalid("blocked_by_items", format!("names item {item}")))
    });
    let crash_limit = task.crash_limit.map(|limit| {
        u32::try_from(limit).map_err(|_| status::invalid("crash_limit", "is below zero"))
    });
    Ok(NewTask {
        blocked_by_items: items.collect::<Parsed<_>>()?,
        crash_limit: crash_limit.transpose()?,
        owner: optional_name("owner", &task.owner, MemberName::parse)?,
        blocks: task_ids("blocks", &task.blocks)?,
        blocked_by: task_ids("blocked_by", &task.blocked_by)?,
        metadata: metadata(task.metadata.as_ref())?,
        priority: priority(task.priority)?.unwrap_or_default(),
        agent_type: agent_type(&task.agent_type, &task.subagent_type)?,
        parent: optional_id(task.parent_task_id),
        kind: match known("kind", task.kind)? {
            v1::TaskKind::Unspecified | v1::TaskKind::Work => TaskKind::Work,
            v1::TaskKind::Verification => TaskKind::Verification,
        },
        deadline: task
            .deadline
            .as_ref()
            .map(|at| time("deadline", at))
            .transpose()?,
        timeout: task
            .timeout
            .as_ref()
            .map(|for_| span("timeout", for_))
            .transpose()?,
        blocker_failed_policy: match known("blocker_failed_policy", task.blocker_failed_policy)? {
            v1::BlockerFailedPolicy::Unspecified | v1::BlockerFailedPolicy::Wait => {
                BlockerFailedPolicy::Wait
            }
            v1::BlockerFailedPolicy::Cancel => BlockerFailedPolicy::Cancel,
            v1::BlockerFailedPolicy::Proceed => BlockerFailedPolicy::Proceed,
        },
        inputs: artifacts("inputs", &task.inputs)?,
        labels: arcs(task.labels),
        output_globs: arcs(task.output_globs),
        subject: task.subject.into(),
        description: task.description.into(),
        active_form: task.active_form.into(),
        prompt: task.prompt.into(),
        client_task_id: task.client_task_id.into(),
    })
}

/// The task of a CreateTask, as an item of a batch.
pub fn item(request: v1::CreateTaskRequest) -> v1::NewTask {
    v1::NewTask {
        subject: request.subject,
        description: request.description,
        active_form: request.active_form,
        owner: request.owner,
        blocks: request.blocks,
        blocked_by: request.blocked_by,
        blocked_by_items: Vec::new(),
        metadata: request.metadata,
        priority: request.priority,
        labels: request.labels,
        agent_type: request.agent_type,
        subagent_type: request.subagent_type,
        prompt: request.prompt,
        parent_task_id: request.parent_task_id,
        kind: request.kind,
        deadline: request.deadline,
        timeout: request.timeout,
        crash_limit: request.crash_limit,
        blocker_failed_policy: request.blocker_failed_policy,
        inputs: request.inputs,
        output_globs: request.output_globs,
        client_task_id: request.client_task_id,
        share_todos: request.share_todos,
        retry: request.retry,
        failure_policy: request.failure_policy,
    }
}

/// The task of a delegating call, as an item of a batch.
pub fn delegated(request: v1::RunTaskRequest) -> v1::NewTask {
    v1::NewTask {
        subject: request.description,
        prompt: request.prompt,
        agent_type: request.agent_type,
        subagent_type: request.subagent_type,
        client_task_id: request.client_task_id,
        priority: request.priority,
        labels: request.labels,
        blocked_by: request.blocked_by,
        parent_task_id: request.parent_task_id,
        deadline: request.deadline,
        timeout: request.timeout,
        inputs: request.inputs,
        output_globs: request.output_globs,
        metadata: request.metadata,
        ..v1::NewTask::default()
    }
}

fn task_status(value: i32) -> Parsed<Option<Status>> {
    Ok(match known("status", value)? {
        v1::TaskStatus::Unspecified => None,
        v1::TaskStatus::Pending => Some(Status::Pending),
        v1::TaskStatus::InProgress => Some(Status::InProgress),
        v1::TaskStatus::Completed => Some(Status::Completed),
        v1::TaskStatus::Failed => Some(Status::Failed),
        v1::TaskStatus::Cancelled => Some(Status::Cancelled),
    })
}

pub fn revision(revision: u64) -> Option<Revision> {
    (revision != 0).then_some(Revision(revision))
}

pub fn update(request: v1::UpdateTaskRequest) -> Parsed<Update> {
    let owner = request.owner.as_deref();
    let owner = owner.map(|owner| optional_name("owner", owner, MemberName::parse));
    Ok(Update {
        status: task_status(request.status)?,
        owner: owner.transpose()?,
        subject: request.subject.map(Into::into),
        description: request.description.map(Into::into),
        active_form: request.active_form.map(Into::into),
        add_blocks: task_ids("add_blocks", &request.add_blocks)?,
        add_blocked_by: task_ids("add_blocked_by", &request.add_blocked_by)?,
        remove_blocks: task_ids("remove_blocks", &request.remove_blocks)?,
        remove_blocked_by: task_ids("remove_blocked_by", &request.remove_blocked_by)?,
        metadata: metadata_changes(request.metadata.as_ref())?,
        priority: priority(request.priority)?,
        result: request.result.map(Into::into),
        stop_running: request.stop_running,
        expected_revision: revision(request.expected_revision),
    })
}

pub fn filter(request: &v1::ListTasksRequest) -> Parsed<ListFilter> {
    Ok(ListFilter {
        status: task_status(request.status)?,
        owner: optional_name("owner", &request.owner, MemberName::parse)?,
        label: (!request.label.is_empty()).then(|| request.label.as_str().into()),
        agent_type: optional_name("agent_type", &request.agent_type, AgentTypeName::parse)?,
        ready: request.ready,
        blocked: request.blocked,
        parent: optional_id(request.parent_task_id),
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
