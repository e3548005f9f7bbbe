//! Workers, and what they offer.

use ganger_proto::v1;

use super::{count, fence, instance, number, optional, phase, span, time};
use crate::{
    engine::{HeldView, OfferedView, StatusView, WorkerView},
    fleet::{Offered, SandboxLevel, Standing},
    sweeper::SweptView,
};

/// How long finished tasks are kept, and what was removed.
pub fn retention(view: &StatusView, swept: SweptView) -> v1::Retention {
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let counts = &view.counts;
    v1::Retention {
        finished_tasks: count(counts.completed + counts.failed + counts.cancelled),
        tasks_kept: whole(view.tasks_kept.count as u64),
        tasks_kept_for: Some(span(view.tasks_kept.span)),
        expired_tasks: whole(view.tasks_expired),
        removed_artifacts: whole(swept.artifacts),
        removed_artifact_bytes: whole(swept.artifact_bytes),
        removed_transcript_files: whole(swept.segments),
        removed_transcript_bytes: whole(swept.segment_bytes),
    }
}

fn offered(offered: &Offered) -> v1::AgentType {
    v1::AgentType {
        name: offered.name.to_string(),
        description: offered.description.to_string(),
        runtime: offered.runtime.to_string(),
        digest: offered.digest.to_string(),
        interactive: offered.is_interactive,
        hiring_depth: number(offered.hiring_depth),
        tasks_max: Some(number(offered.tasks_max)),
        may_create_teams: offered.may_create_teams,
        prompt_is_script: Some(offered.prompt_is_script),
        stall_span: offered.stall_span.map(span),
    }
}

pub fn agent_type(view: &OfferedView) -> v1::OfferedAgentType {
    let offered = &view.offered;
    v1::OfferedAgentType {
        agent_type: Some(v1::AgentType {
            name: offered.name.to_string(),
            description: offered.description.to_string(),
            runtime: offered.runtime.to_string(),
            digest: offered.digest.to_string(),
            interactive: offered.is_interactive,
            hiring_depth: number(offered.hiring_depth),
            tasks_max: Some(number(offered.tasks_max)),
            may_create_teams: offered.may_create_teams,
            prompt_is_script: Some(offered.prompt_is_script),
            stall_span: None,
        }),
        workers: view.workers.clone(),
        free_slots: number(view.free),
        last_seen: view.last_seen.map(time),
        expected: view.is_expected,
    }
}

pub fn worker(view: &WorkerView) -> v1::Worker {
    let hello = &view.hello;
    let state = match view.standing {
        Standing::Connected => v1::WorkerState::Connected,
        Standing::Draining => v1::WorkerState::Draining,
        Standing::Unreachable => v1::WorkerState::Unreachable,
    };
    let controls = hello.sandbox_controls.iter().map(|control| {
        let level = match control.level {
            SandboxLevel::Enforced => v1::SandboxLevel::Enforced,
            SandboxLevel::Degraded => v1::SandboxLevel::Degraded,
            SandboxLevel::Missing => v1::SandboxLevel::Missing,
        };
        v1::SandboxControl {
            name: control.name.to_string(),
            level: level.into(),
            reason: control.reason.to_string(),
        }
    });
    let labels = hello.labels.iter();
    v1::Worker {
        name: hello.name.to_string(),
        instance_id: instance(hello.instance),
        version: hello.version.to_string(),
        labels: labels
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        slots: number(hello.slots),
        free_slots: number(view.free),
        agent_types: hello.types.iter().map(offered).collect(),
        teams: hello
            .teams
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect(),
        state: state.into(),
        connected_at: Some(time(view.connected_at)),
        last_heard_at: Some(time(view.heard_at)),
        lease_until: view.lease_until.map(time),
        attempts: view.attempts.iter().map(fence).collect(),
        sandbox: hello.sandbox.to_string(),
        sandbox_controls: controls.collect(),
        protocol: hello.spoken(),
        stream_up: view.is_stream_up,
        heard: view.is_heard,
        lease_valid: view.is_lease_valid,
        last_progress_at: view.progress_at.map(time),
        held: view.held.iter().map(held).collect(),
        drain_reason: view.drain_reason.to_string(),
    }
}

fn held(view: &HeldView) -> v1::HeldAttempt {
    v1::HeldAttempt {
        fence: Some(fence(&view.fence)),
        team: view.team.to_string(),
        subject: view.subject.to_string(),
        agent_type: optional(&view.agent_type),
        member: view.acts_as.clone(),
        phase: view.phase.map_or(v1::TaskPhase::Unspecified, phase).into(),
        started_at: view.started_at.map(time),
        last_progress_at: view.progress_at.map(time),
        stalled: view.is_stalled,
        doing: view.doing.to_string(),
    }
}

/// The bounds on what runs, agent types first.
pub fn running_limits(view: &StatusView) -> Vec<v1::RunningLimit> {
    let types = view.bounded_types.iter();
    let types = types.map(|(agent_type, running, max)| v1::RunningLimit {
        agent_type: agent_type.to_string(),
        label: String::new(),
        max: number(*max),
        running: number(*running),
    });
    let labels = view.bounded_labels.iter();
    let labels = labels.map(|(label, running, max)| v1::RunningLimit {
        agent_type: String::new(),
        label: label.to_string(),
        max: number(*max),
        running: number(*running),
    });
    types.chain(labels).collect()
}
