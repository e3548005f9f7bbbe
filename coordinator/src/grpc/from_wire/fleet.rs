//! What workers say.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use board::{
    command::EndReport,
    id::{
        AgentTypeName, AttemptNumber, Epoch, Fence, InstanceId, TaskId, TeamName, TeamUid,
        WorkerName,
    },
    task::{AttemptEnding, StopReason, Usage},
};
use ganger_proto::v1;
use tonic::Status as WireStatus;
use uuid::Uuid;

use super::{Parsed, artifacts, known, name, span};
use crate::{
    fleet::{Hello, Offered, SandboxControl, SandboxLevel},
    grpc::status,
};

fn uuid(field: &'static str, text: &str) -> Parsed<u128> {
    Uuid::parse_str(text)
        .map(|uuid| uuid.as_u128())
        .map_err(|_| status::invalid(field, "is no UUID"))
}

pub fn fence(fence: Option<&v1::Fence>) -> Parsed<Fence> {
    let fence = fence.ok_or_else(|| status::protocol("a report has no fence"))?;
    Ok(Fence {
        epoch: Epoch(uuid("fence.epoch", &fence.epoch)?),
        team: TeamUid(fence.team_uid),
        task: TaskId(fence.task_id),
        attempt: AttemptNumber(
            u32::try_from(fence.attempt)
                .map_err(|_| status::invalid("fence.attempt", "is below zero"))?,
        ),
    })
}

pub fn hello(hello: v1::Hello) -> Parsed<Hello> {
    let slots = u32::try_from(hello.slots)
        .ok()
        .filter(|slots| (1..=board::limits::SLOTS_MAX).contains(slots))
        .ok_or_else(|| status::invalid("slots", "are not between 1 and 1,000"))?;
    if hello.labels.len() > 64 || hello.agent_types.len() > 1_000 || hello.teams.len() > 1_000 {
        return Err(status::invalid(
            "hello",
            "has more labels, types or teams than may be",
        ));
    }
    let labels = hello.labels.into_iter();
    let teams = hello
        .teams
        .iter()
        .map(|team| name("teams", team, TeamName::parse));
    let teams = teams.collect::<Parsed<Vec<_>>>()?;
    if hello.ended_instances.len() > 16 {
        return Err(status::invalid("ended_instances", "are more than 16"));
    }
    let ended = hello
        .ended_instances
        .iter()
        .map(|id| Ok(InstanceId(uuid("ended_instances", id)?)));
    let ended = ended.collect::<Parsed<Vec<_>>>()?;
    let held = hello.held.iter().map(|held| fence(held.fence.as_ref()));
    let mut types = BTreeSet::new();
    for offered in &hello.agent_types {
        if !types.insert(&*offered.name) {
            let why = format!("has {:?} twice", offered.name);
            return Err(status::invalid("agent_types.name", why));
        }
    }
    // Unset is what the first version says, which has no such fields.
    let (protocol, protocol_min) = (hello.protocol.max(1), hello.protocol_min.max(1));
    if protocol_min > protocol {
        return Err(status::invalid("protocol_min", "is over protocol"));
    }
    Ok(Hello {
        name: name("name", &hello.name, WorkerName::parse)?,
        instance: InstanceId(uuid("instance_id", &hello.instance_id)?),
        version: hello.version.into(),
        labels: labels
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
        slots,
        types: hello
            .agent_types
            .into_iter()
            .map(offered)
            .collect::<Parsed<_>>()?,
        teams: (!teams.is_empty()).then_some(teams),
        held: held.collect::<Parsed<_>>()?,
        manual: hello.manual,
        sandbox: hello.sandbox.into(),
        ended,
        sandbox_controls: hello.sandbox_controls.into_iter().map(control).collect(),
        protocol,
        protocol_min,
        dials: hello.dials,
    })
}

fn offered(offered: v1::AgentType) -> Parsed<Offered> {
    if offered.description.len() > board::limits::NOTE_LEN_MAX {
        return Err(status::invalid("agent_types.description", "is over 4 KiB"));
    }
    if offered.digest.len() > 128 || offered.runtime.len() > 64 {
        return Err(status::invalid(
            "agent_types",
            "have a digest or runtime that is none",
        ));
    }
    Ok(Offered {
        name: name("agent_types.name", &offered.name, AgentTypeName::parse)?,
        description: offered.description.into(),
        // Who doesn't say it knows no other programs.
        prompt_is_script: offered
            .prompt_is_script
            .unwrap_or(offered.runtime == "command"),
        runtime: offered.runtime.into(),
        digest: offered.digest.into(),
        is_interactive: offered.interactive,
        hiring_depth: u32::try_from(offered.hiring_depth)
            .ok()
            .filter(|depth| *depth <= board::limits::HIRING_DEPTH_MAX)
            .ok_or_else(|| status::invalid("agent_types.hiring_depth", "is not from 0 to 3"))?,
        tasks_max: match offered.tasks_max {
            None => board::limits::ATTEMPT_TASKS,
            Some(max) => u32::try_from(max)
                .ok()
                .filter(|max| *max <= board::limits::ATTEMPT_TASKS_MAX)
                .ok_or_else(|| {
                    status::invalid("agent_types.tasks_max", "is not from 0 to 1,000,000")
                })?,
        },
        may_create_teams: offered.may_create_teams,
        stall_span: offered
            .stall_span
            .as_ref()
            .map(|stall| span("agent_types.stall_span", stall))
            .transpose()?,
    })
}

fn control(control: v1::SandboxControl) -> SandboxControl {
    let level = match control.level() {
        v1::SandboxLevel::Enforced => SandboxLevel::Enforced,
        v1::SandboxLevel::Degraded => SandboxLevel::Degraded,
        v1::SandboxLevel::Missing | v1::SandboxLevel::Unspecified => SandboxLevel::Missing,
    };
    SandboxControl {
        name: control.name.into(),
        level,
        reason: control.reason.into(),
    }
}

/// A report of an attempt's end. Texts that are too long are refused, not cut.
pub fn end_report(ended: v1::Ended) -> Parsed<EndReport> {
    let max = board::limits::RESULT_LEN_MAX;
    if ended.result.len() > max || ended.error.len() > max {
        return Err(status::invalid(
            "ended.result",
            "is over 256 KiB: upload it as an artifact",
        ));
    }
    if ended.outputs.len() > board::limits::ARTIFACTS_MAX {
        return Err(status::invalid("ended.outputs", "are more than 256"));
    }
    let ending = match known("ended.ending", ended.ending)? {
        v1::AttemptEnding::Completed => AttemptEnding::Completed,
        v1::AttemptEnding::Failed => AttemptEnding::Failed,
        v1::AttemptEnding::Cancelled => AttemptEnding::Cancelled,
        v1::AttemptEnding::TimedOut => AttemptEnding::TimedOut,
        v1::AttemptEnding::Unspecified
        | v1::AttemptEnding::Lost
        | v1::AttemptEnding::HandedBack => {
            return Err(status::invalid(
                "ended.ending",
                "is none that a worker reports so",
            ));
        }
    };
    Ok(EndReport {
        ending,
        stop_reason: stop_reason(ended.stop_reason)?,
        outputs: artifacts("ended.outputs", &ended.outputs)?,
        usage: usage(ended.usage.as_ref())?,
        result: ended.result.into(),
        error: ended.error.into(),
    })
}

/// What is asked: number, text and how long it waits. What makes no sense is left to the board to
/// refuse: a stream that broke because of it would bring it again and again.
pub fn question(asked: v1::Asked) -> (u32, Arc<str>, Option<Duration>) {
    let timeout = asked.timeout.as_ref();
    let timeout = timeout.map(|timeout| span("asked.timeout", timeout).unwrap_or_default());
    let number = u32::try_from(asked.number).unwrap_or(0);
    (number, asked.text.into(), timeout)
}

fn stop_reason(value: i32) -> Parsed<Option<StopReason>> {
    Ok(match known("ended.stop_reason", value)? {
        v1::StopReason::Unspecified => None,
        v1::StopReason::Deadline => Some(StopReason::Deadline),
        v1::StopReason::Timeout => Some(StopReason::Timeout),
        v1::StopReason::Cancelled => Some(StopReason::Cancelled),
        v1::StopReason::BlockerFailed => Some(StopReason::BlockerFailed),
        v1::StopReason::CrashLimit => Some(StopReason::CrashLimit),
        v1::StopReason::ResourceLimit => Some(StopReason::ResourceLimit),
    })
}

fn usage(usage: Option<&v1::Usage>) -> Parsed<Usage> {
    let Some(usage) = usage else {
        return Ok(Usage::default());
    };
    let millis = |field, time: Option<&pbjson_types::Duration>| {
        let span = time.map(|time| span(field, time)).transpose()?;
        Ok::<_, WireStatus>(span.map_or(0, |span| {
            u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
        }))
    };
    Ok(Usage {
        wall_ms: millis("usage.wall_time", usage.wall_time.as_ref())?,
        cpu_ms: millis("usage.cpu_time", usage.cpu_time.as_ref())?,
        output_bytes: u64::try_from(usage.output_bytes).unwrap_or(0),
        input_tokens: u64::try_from(usage.input_tokens).unwrap_or(0),
        output_tokens: u64::try_from(usage.output_tokens).unwrap_or(0),
    })
}
