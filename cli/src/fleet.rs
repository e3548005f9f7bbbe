//! `ganger fleet`: the workers, what they offer, and the coordinator's own state.

use std::time::SystemTime;

use clap::Subcommand;
use ganger_proto::v1;
use owo_colors::Style;

use crate::{
    client::Client,
    context::Context,
    failure::Failure,
    output::{Facts, Table, paint, safe_line, stdout_width, words},
    team,
};

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// The workers, their slots and what they run
    Workers,
    /// One worker, and what each of its sub-agents is at
    Worker {
        /// Its name
        name: String,
    },
    /// The agent types that workers offer
    Types,
    /// The coordinator's own state
    Status,
}

/// Looks.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(verb: Verb, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    match verb {
        Verb::Workers => workers(&client, context).await,
        Verb::Worker { name } => worker(&client, name, context).await,
        Verb::Types => types(&client, context).await,
        Verb::Status => status(&client, context).await,
    }
}

async fn workers(client: &Client, context: &Context) -> Result<(), Failure> {
    let mut all = v1::ListWorkersResponse::default();
    loop {
        let request = v1::ListWorkersRequest {
            page_size: 1_000,
            page_token: all.next_page_token,
        };
        let page = client
            .ask(request, |client, request| async move {
                client.fleet().list_workers(request).await
            })
            .await?;
        all.workers.extend(page.workers);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    context.out.answer(&all, || match all.workers.is_empty() {
        true => "no worker is connected; start one with `ganger worker`".into(),
        false => worker_table(&all.workers, SystemTime::now()).text(stdout_width()),
    })?;
    Ok(())
}

fn worker_table(workers: &[v1::Worker], now: SystemTime) -> Table {
    let mut table = Table::new(&[
        "WORKER", "STATE", "STREAM", "HEARD", "LEASE", "PROGRESS", "BUSY", "SANDBOX", "RUNS",
        "TYPES", "VERSION",
    ]);
    for worker in workers {
        let running: Vec<u64> = worker.attempts.iter().map(|fence| fence.task_id).collect();
        let types: Vec<&str> = worker
            .agent_types
            .iter()
            .map(|kind| kind.name.as_str())
            .collect();
        table.row(vec![
            safe_line(&worker.name),
            worker_state(worker.state()),
            stream(worker),
            heard(worker, now),
            lease(worker, now),
            words::age(worker.last_progress_at.as_ref(), now),
            format!("{}/{}", worker.slots - worker.free_slots, worker.slots),
            sandbox(worker),
            words::ids(&running),
            safe_line(&types.join(", ")),
            safe_line(&worker.version),
        ]);
    }
    table
}

fn worker_state(state: v1::WorkerState) -> String {
    let word = words::tail(state.as_str_name(), "WORKER_STATE_");
    let style = match state {
        v1::WorkerState::Connected => Style::new().green(),
        v1::WorkerState::Draining => Style::new().yellow(),
        v1::WorkerState::Unreachable => Style::new().red(),
        v1::WorkerState::Unspecified => Style::new(),
    };
    paint(&word, style)
}

fn stream(worker: &v1::Worker) -> String {
    match worker.stream_up {
        true => "up".into(),
        false => paint("down", Style::new().red()),
    }
}

/// How long ago it was heard of; red where that is too long.
fn heard(worker: &v1::Worker, now: SystemTime) -> String {
    let age = words::age(worker.last_heard_at.as_ref(), now);
    match worker.heard {
        true => age,
        false => paint(&age, Style::new().red()),
    }
}

/// How much longer its attempts are its own.
fn lease(worker: &v1::Worker, now: SystemTime) -> String {
    if !worker.lease_valid {
        return paint("over", Style::new().red());
    }
    let until = worker.lease_until.as_ref().and_then(words::instant);
    until.map_or("open".into(), |until| {
        words::span(until.duration_since(now).unwrap_or_default())
    })
}

async fn worker(client: &Client, name: String, context: &Context) -> Result<(), Failure> {
    let request = v1::GetWorkerRequest { name };
    let answer = client
        .ask(request, |client, request| async move {
            client.fleet().get_worker(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        let worker = answer.worker.clone().unwrap_or_default();
        let now = SystemTime::now();
        let mut text = worker_facts(&worker, now).text();
        if !worker.held.is_empty() {
            text.push('\n');
            text.push_str(&held_table(&worker.held, now).text(stdout_width()));
        }
        text
    })?;
    Ok(())
}

fn worker_facts(worker: &v1::Worker, now: SystemTime) -> Facts {
    let types = worker.agent_types.iter().map(|kind| kind.name.as_str());
    let labels = worker.labels.iter();
    let mut labels: Vec<String> = labels.map(|(k, v)| format!("{k}={v}")).collect();
    labels.sort();
    let mut facts = Facts::new();
    facts
        .add("worker", safe_line(&worker.name))
        .add("state", worker_state(worker.state()))
        .add("drains because", safe_line(&worker.drain_reason))
        .add("stream", stream(worker))
        .add("heard", heard(worker, now))
        .add("lease", lease(worker, now))
        .add(
            "progress",
            words::age(worker.last_progress_at.as_ref(), now),
        )
        .add(
            "slots",
            format!("{} of {} free", worker.free_slots, worker.slots),
        )
        .add("sandbox", sandbox(worker))
        .add("types", safe_line(&types.collect::<Vec<_>>().join(", ")))
        .add("teams", safe_line(&worker.teams.join(", ")))
        .add("labels", safe_line(&labels.join(", ")))
        .add("version", safe_line(&worker.version))
        .add("protocol", worker.protocol.to_string())
        .add("instance", safe_line(&worker.instance_id));
    facts
}

fn held_table(held: &[v1::HeldAttempt], now: SystemTime) -> Table {
    let mut table = Table::new(&[
        "TASK", "TEAM", "PHASE", "AS", "TYPE", "STARTED", "PROGRESS", "SUBJECT", "DOING",
    ]);
    for held in held {
        let fence = held.fence.clone().unwrap_or_default();
        let progress = words::age(held.last_progress_at.as_ref(), now);
        table.row(vec![
            format!("#{}.{}", fence.task_id, fence.attempt),
            safe_line(&held.team),
            words::tail(held.phase().as_str_name(), "TASK_PHASE_"),
            safe_line(&held.member),
            safe_line(&held.agent_type),
            words::age(held.started_at.as_ref(), now),
            match held.stalled {
                true => paint(
                    format!("{progress} (stalled)").trim(),
                    Style::new().yellow(),
                ),
                false => progress,
            },
            safe_line(&held.subject),
            safe_line(&held.doing),
        ]);
    }
    table
}

/// The sandbox, and how many of its controls don't hold in full.
fn sandbox(worker: &v1::Worker) -> String {
    let name = safe_line(&worker.sandbox);
    let lacking = worker.sandbox_controls.iter();
    let lacking = lacking
        .filter(|control| control.level() != v1::SandboxLevel::Enforced)
        .count();
    match (name.as_str(), lacking) {
        ("none", _) => paint("none", Style::new().red()),
        (_, 0) => name,
        (_, count) => format!("{name} (-{count})"),
    }
}

async fn types(client: &Client, context: &Context) -> Result<(), Failure> {
    let answer = client
        .ask(v1::ListAgentTypesRequest {}, |client, request| async move {
            client.delegation().list_agent_types(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        if answer.agent_types.is_empty() {
            return "no worker offers anything yet; start one with `ganger worker`".into();
        }
        let now = SystemTime::now();
        let mut table = Table::new(&["TYPE", "RUNTIME", "FREE", "WORKERS", "SEEN", "DESCRIPTION"]);
        for offered in &answer.agent_types {
            let kind = offered.agent_type.clone().unwrap_or_default();
            table.row(vec![
                safe_line(&kind.name),
                safe_line(&kind.runtime),
                offered.free_slots.to_string(),
                match offered.workers.as_slice() {
                    [] if offered.expected => "none yet (expected)".into(),
                    [] => "none".into(),
                    workers => safe_line(&workers.join(", ")),
                },
                words::age(offered.last_seen.as_ref(), now),
                safe_line(&kind.description),
            ]);
        }
        table.text(stdout_width())
    })?;
    Ok(())
}

async fn status(client: &Client, context: &Context) -> Result<(), Failure> {
    let answer = client
        .ask(v1::GetStatusRequest {}, |client, request| async move {
            client.fleet().get_status(request).await
        })
        .await?;
    context
        .out
        .answer(&answer, || status_facts(&answer, SystemTime::now()).text())?;
    Ok(())
}

fn status_facts(status: &v1::GetStatusResponse, now: SystemTime) -> Facts {
    let mut facts = Facts::new();
    facts
        .add("version", safe_line(&status.version))
        .add(
            "serving for",
            words::age(status.serving_since.as_ref(), now),
        )
        .add(
            "started in",
            words::wire_span(status.recovery_time.as_ref()),
        )
        .add("teams", status.team_count.to_string())
        .add("tasks", team::counts(status.tasks.as_ref()))
        .add("queued", status.queued.to_string())
        .add("running", status.running.to_string())
        .add("bounds", bounds(&status.running_limits))
        .add("workers", status.worker_count.to_string())
        .add(
            "slots",
            format!("{} of {} free", status.free_slots, status.slots),
        )
        .add("commits", status.commit.to_string())
        .add(
            "request ids",
            format!(
                "{} remembered, each for {} at the least",
                status.remembered_requests,
                words::wire_span(status.request_horizon.as_ref())
            ),
        )
        .add(
            "token",
            if status.token_required {
                "required"
            } else {
                "not asked for"
            },
        )
        .add("disk free", words::bytes(status.disk_free_bytes))
        .add("epoch", safe_line(&status.epoch));
    facts
}

/// How much runs of what is bounded, as in `coder 3 of 4`, one under the other.
fn bounds(limits: &[v1::RunningLimit]) -> String {
    let line = |limit: &v1::RunningLimit| {
        let what = match limit.label.as_str() {
            "" => safe_line(&limit.agent_type),
            label => format!("label {}", safe_line(label)),
        };
        format!("{what} {} of {}", limit.running, limit.max)
    };
    limits.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_show_what_they_run_and_what_their_sandbox_lacks() {
        let control = |level: v1::SandboxLevel| v1::SandboxControl {
            level: level.into(),
            ..v1::SandboxControl::default()
        };
        let worker = v1::Worker {
            name: "w1".into(),
            slots: 4,
            free_slots: 3,
            state: v1::WorkerState::Connected.into(),
            sandbox: "native".into(),
            sandbox_controls: vec![
                control(v1::SandboxLevel::Enforced),
                control(v1::SandboxLevel::Missing),
            ],
            attempts: vec![v1::Fence {
                task_id: 7,
                ..v1::Fence::default()
            }],
            version: "0.1.0".into(),
            stream_up: true,
            heard: true,
            lease_valid: true,
            ..v1::Worker::default()
        };
        let lost = v1::Worker {
            name: "w2".into(),
            state: v1::WorkerState::Unreachable.into(),
            ..v1::Worker::default()
        };

        let text = worker_table(&[worker, lost], SystemTime::UNIX_EPOCH).text(None);

        assert_eq!(
            console::strip_ansi_codes(&text),
            "WORKER  STATE        STREAM  HEARD  LEASE  PROGRESS  BUSY  SANDBOX      RUNS  TYPES  VERSION\n\
             w1      connected    up             open             1/4   native (-1)  #7           0.1.0\n\
             w2      unreachable  down           over             0/0\n"
        );
    }

    #[test]
    fn sub_agents_of_a_worker_show_what_they_are_at_and_which_stalled() {
        let held = v1::HeldAttempt {
            fence: Some(v1::Fence {
                task_id: 7,
                attempt: 2,
                ..v1::Fence::default()
            }),
            team: "red".into(),
            subject: "Create migration script".into(),
            agent_type: "coder".into(),
            member: "bob".into(),
            phase: v1::TaskPhase::Running.into(),
            stalled: true,
            doing: "Writing SQL".into(),
            ..v1::HeldAttempt::default()
        };

        let text = held_table(&[held], SystemTime::UNIX_EPOCH).text(None);

        assert_eq!(
            console::strip_ansi_codes(&text),
            "TASK  TEAM  PHASE    AS   TYPE   STARTED  PROGRESS   SUBJECT                  DOING\n\
             #7.2  red   running  bob  coder           (stalled)  Create migration script  Writing SQL\n"
        );
    }

    #[test]
    fn bounds_say_how_much_of_each_runs() {
        let of_type = v1::RunningLimit {
            agent_type: "coder".into(),
            max: 4,
            running: 3,
            ..v1::RunningLimit::default()
        };
        let of_label = v1::RunningLimit {
            label: "model:opus".into(),
            max: 2,
            ..v1::RunningLimit::default()
        };

        assert_eq!(
            bounds(&[of_type, of_label]),
            "coder 3 of 4\nlabel model:opus 0 of 2"
        );
        assert_eq!(bounds(&[]), "");
    }
}
