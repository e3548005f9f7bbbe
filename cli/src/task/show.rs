//! `ganger task show`.

use std::time::SystemTime;

use ganger_proto::{json::to_line, v1};

use crate::{
    context::Context,
    failure::Failure,
    output::{Facts, Table, safe_block, safe_line, stdout_width, words},
};

/// Shows one task, whole.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(id: u64, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let task = super::get(&client, id).await?;
    let answer = v1::GetTaskResponse {
        task: Some(task.clone()),
    };
    context.out.answer(&answer, || {
        let mut text = task_facts(&task, SystemTime::now()).text();
        if !task.attempts.is_empty() {
            text.push('\n');
            text.push_str(&attempts(&task.attempts).text(stdout_width()));
        }
        text
    })?;
    Ok(())
}

fn task_facts(task: &v1::Task, now: SystemTime) -> Facts {
    let mut facts = Facts::new();
    let reason = match task.phase_reason.as_str() {
        // What is asked is told on a line of its own.
        _ if task.question.is_some() => String::new(),
        "" => String::new(),
        reason => format!(" ({})", safe_line(reason)),
    };
    facts
        .add("task", format!("#{} {}", task.id, safe_line(&task.subject)))
        .add("team", task.team.clone())
        .add("status", words::status(task.status()))
        .add("stands", format!("{}{reason}", words::standing(task)))
        .add("asks", asks(task))
        .add("owner", safe_line(&task.owner))
        .add("runs on", safe_line(&task.runner))
        .add("type", safe_line(&task.agent_type))
        .add(
            "kind",
            match task.kind() {
                v1::TaskKind::Verification => "verification",
                _ => "",
            },
        )
        .add(
            "priority",
            words::tail(task.priority().as_str_name(), "TASK_PRIORITY_"),
        )
        .add("labels", safe_line(&task.labels.join(", ")))
        .add("part of", optional_id(task.parent_task_id))
        .add("blocked by", words::ids(&task.blocked_by))
        .add("still open", words::ids(&task.open_blockers))
        .add("blocks", words::ids(&task.blocks))
        .add("made", happened(task.created_at.as_ref(), &task.created_by))
        .add(
            "started",
            happened(task.started_at.as_ref(), &task.started_by),
        )
        .add(
            "finished",
            happened(task.finished_at.as_ref(), &task.finished_by),
        )
        .add(
            "took",
            words::run_time(task, now)
                .map(words::span)
                .unwrap_or_default(),
        )
        .add("claimed until", words::time(task.lease_until.as_ref()))
        .add("deadline", words::time(task.deadline.as_ref()))
        .add("time limit", words::wire_span(task.timeout.as_ref()))
        .add("worker labels", worker_labels(task))
        .add(
            "window",
            match task.window {
                0 => String::new(),
                window => format!("{window} of its children at once"),
            },
        )
        .add("tries", tries(task))
        .add(
            "if it fails",
            match task.failure_policy() {
                v1::FailurePolicy::Pause => "it is held",
                v1::FailurePolicy::Release => "it is held, and nobody's",
                v1::FailurePolicy::Fail | v1::FailurePolicy::Unspecified => "",
            },
        )
        .add(
            "shares",
            if task.share_todos {
                "the board of whoever hired it"
            } else {
                ""
            },
        )
        .add(
            "stopped by",
            words::tail(task.stop_reason().as_str_name(), "STOP_REASON_"),
        )
        .add("error", safe_block(&task.error))
        .add("metadata", metadata(task))
        .add("inputs", files(&task.inputs))
        .add("outputs", files(&task.outputs))
        .add("client id", safe_line(&task.client_task_id))
        .add("revision", task.revision.to_string())
        .add("description", safe_block(&task.description))
        .add("prompt", safe_block(&task.prompt))
        .add("result", safe_block(&task.result));
    facts
}

fn optional_id(id: u64) -> String {
    match id {
        0 => String::new(),
        id => format!("#{id}"),
    }
}

/// What its sub-agent asks: number, text, and until when.
fn asks(task: &v1::Task) -> String {
    let Some(asked) = &task.question else {
        return String::new();
    };
    let until = words::time(asked.deadline.as_ref());
    let text = safe_line(&asked.text);
    format!("question {}, until {until}: {text}", asked.number)
}

/// What it wants of a worker, as in `gpu=yes, zone=east`.
fn worker_labels(task: &v1::Task) -> String {
    let labels = task.worker_labels.iter();
    let mut labels: Vec<_> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.sort();
    safe_line(&labels.join(", "))
}

/// How many attempts may fail, and did, as in `1 failed of 3, up to 5m between`.
fn tries(task: &v1::Task) -> String {
    let Some(retry) = &task.retry else {
        return String::new();
    };
    let between = match words::wire_span(retry.max_backoff.as_ref()) {
        span if span.is_empty() => span,
        span => format!(", up to {span} between"),
    };
    format!(
        "{} failed of {}{between}",
        task.failure_count, retry.max_attempts
    )
}

fn happened(at: Option<&pbjson_types::Timestamp>, by: &str) -> String {
    match (words::time(at), by) {
        (at, _) if at.is_empty() => at,
        (at, "") => at,
        (at, by) => format!("{at} by {}", safe_line(by)),
    }
}

fn metadata(task: &v1::Task) -> String {
    match &task.metadata {
        Some(metadata) if !metadata.fields.is_empty() => {
            safe_line(&to_line(metadata).unwrap_or_default())
        }
        _ => String::new(),
    }
}

/// Files one under the other: path, size, SHA-256.
fn files(files: &[v1::Artifact]) -> String {
    let lines: Vec<String> = files
        .iter()
        .map(|file| {
            let size = words::bytes(file.size);
            format!("{}  {size}  {}", safe_line(&file.path), file.sha256)
        })
        .collect();
    lines.join("\n")
}

fn attempts(attempts: &[v1::Attempt]) -> Table {
    let mut table = Table::new(&[
        "ATTEMPT", "RUNNER", "STARTED", "TOOK", "CPU", "ENDING", "MESSAGE",
    ]);
    for attempt in attempts {
        let usage = attempt.usage.unwrap_or_default();
        table.row(vec![
            attempt.number.to_string(),
            safe_line(&attempt.runner),
            words::time(attempt.started_at.as_ref()),
            words::wire_span(usage.wall_time.as_ref()),
            words::wire_span(usage.cpu_time.as_ref()),
            words::tail(attempt.ending().as_str_name(), "ATTEMPT_ENDING_"),
            safe_line(&attempt.message),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_of_a_sub_agent_is_told_with_its_number_and_its_time() {
        let at = |seconds| Some(pbjson_types::Timestamp { seconds, nanos: 0 });
        let task = v1::Task {
            id: 3,
            subject: "Report".into(),
            status: v1::TaskStatus::InProgress.into(),
            phase: v1::TaskPhase::WaitingForAnswer.into(),
            phase_reason: "which".into(),
            question: Some(v1::TaskQuestion {
                number: 2,
                text: "which\none?".into(),
                asked_at: at(1_795_269_300),
                deadline: at(1_795_269_600),
                message_id: 7,
            }),
            ..v1::Task::default()
        };

        let text = task_facts(&task, SystemTime::UNIX_EPOCH).text();

        let text = console::strip_ansi_codes(&text);
        assert!(text.contains("stands    asks\n"), "{text}");
        let asks = "asks      question 2, until 2026-11-21T14:00:00Z: which one?\n";
        assert!(text.contains(asks), "{text}");
    }

    #[test]
    fn one_task_is_told_whole_and_only_what_is_there() {
        let task = v1::Task {
            id: 3,
            team: "red".into(),
            subject: "Report".into(),
            status: v1::TaskStatus::Pending.into(),
            phase: v1::TaskPhase::Queued.into(),
            phase_reason: "NO_WORKER_FOR_TYPE: coder".into(),
            priority: v1::TaskPriority::High.into(),
            blocked_by: vec![1, 2],
            inputs: vec![v1::Artifact {
                sha256: "ab".into(),
                path: "in.txt".into(),
                size: 2048,
            }],
            result: "a\nb".into(),
            revision: 9,
            retry: Some(v1::RetryPolicy {
                max_attempts: 3,
                initial_backoff: None,
                max_backoff: Some(crate::values::wire_span(std::time::Duration::from_secs(90))),
            }),
            failure_count: 1,
            failure_policy: v1::FailurePolicy::Pause.into(),
            share_todos: true,
            client_task_id: "a-7".into(),
            worker_labels: [("zone", "a"), ("gpu", "yes")]
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
            window: 5,
            lease_until: Some(pbjson_types::Timestamp {
                seconds: 1_795_269_600,
                nanos: 0,
            }),
            ..v1::Task::default()
        };

        let text = task_facts(&task, SystemTime::UNIX_EPOCH).text();

        assert_eq!(
            console::strip_ansi_codes(&text),
            "task           #3 Report\nteam           red\nstatus         pending\n\
             stands         queued (NO_WORKER_FOR_TYPE: coder)\npriority       high\n\
             blocked by     #1, #2\nclaimed until  2026-11-21T14:00:00Z\n\
             worker labels  gpu=yes, zone=a\nwindow         5 of its children at once\n\
             tries          1 failed of 3, up to 1m30s between\nif it fails    it is held\n\
             shares         the board of whoever hired it\n\
             inputs         in.txt  2.00 KiB  ab\nclient id      a-7\nrevision       9\n\
             result\n  a\n  b\n"
        );
    }
}
