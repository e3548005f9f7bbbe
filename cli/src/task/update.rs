//! `ganger task update`.

use std::{path::PathBuf, time::Duration};

use ganger_proto::v1;

use crate::{
    artifact,
    context::Context,
    failure::Failure,
    flags::{Attempt, Expected, RequestId, Retry, text_or_file},
    input,
    output::{safe_line, words},
    values::{self, BlockerFailed, Kind, OnFailure, Priority, Status, number},
};

/// What changes. What isn't said stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A task that a worker runs is ended by that worker alone: use `ganger task cancel`.

Examples:
  ganger task update 3 --status in-progress
  ganger task update 3 --status completed --result 'migrated 12 tables' --add-output report.md
  ganger task update 3 --metadata '{\"ticket\": \"A-7\", \"draft\": null}'")]
pub struct Args {
    /// The task
    id: u64,
    /// The new status; it only moves forward
    #[arg(long)]
    status: Option<Status>,
    /// The new owner
    #[arg(long, value_name = "MEMBER", conflicts_with = "no_owner")]
    owner: Option<String>,
    /// Nobody's any more
    #[arg(long)]
    no_owner: bool,
    /// The new subject
    #[arg(long)]
    subject: Option<String>,
    /// The new description
    #[arg(short, long)]
    description: Option<String>,
    /// The new active form
    #[arg(long, value_name = "TEXT")]
    active_form: Option<String>,
    /// Tasks that are to wait for this one
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    add_blocks: Vec<u64>,
    /// Tasks that this one is to wait for
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    add_blocked_by: Vec<u64>,
    /// Tasks that are not to wait for this one any more
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    remove_blocks: Vec<u64>,
    /// Tasks that this one is not to wait for any more
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    remove_blocked_by: Vec<u64>,
    /// A JSON object, merged key by key; a null deletes its key
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    metadata: Option<pbjson_types::Struct>,
    /// The new priority
    #[arg(long)]
    priority: Option<Priority>,
    /// A label to add; may be repeated
    #[arg(long = "add-label", value_name = "WORD")]
    add_labels: Vec<String>,
    /// A label to remove; may be repeated
    #[arg(long = "remove-label", value_name = "WORD")]
    remove_labels: Vec<String>,
    /// The new agent type
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "no_type")]
    agent_type: Option<String>,
    /// No agent type any more
    #[arg(long)]
    no_type: bool,
    /// The new prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// A file with the new prompt; - for stdin
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// The new kind
    #[arg(long)]
    kind: Option<Kind>,
    /// The new deadline: a time, or a span from now
    #[arg(long, value_name = "TIME", value_parser = values::time, conflicts_with = "no_deadline")]
    deadline: Option<pbjson_types::Timestamp>,
    /// No deadline any more
    #[arg(long)]
    no_deadline: bool,
    /// How long one attempt may run
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    time_limit: Option<Duration>,
    /// What becomes of it when a blocker fails
    #[arg(long, value_name = "POLICY")]
    on_blocker_failed: Option<BlockerFailed>,
    /// How many of its children workers run at once at the most; 0 for no bound
    #[arg(long, value_name = "N")]
    window: Option<i32>,
    #[command(flatten)]
    retry: Retry,
    /// What becomes of it when its tries are used up
    #[arg(long, value_name = "POLICY")]
    on_failure: Option<OnFailure>,
    /// The result when completing, the error when failing; - for stdin
    #[arg(long)]
    result: Option<String>,
    /// A file that your work left, to be uploaded and kept; may be repeated
    #[arg(long = "add-output", value_name = "FILE[=PATH]")]
    add_outputs: Vec<String>,
    /// Why it is cancelled, or failed
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Stop a running attempt where the change would take its ground away
    #[arg(long)]
    stop_running: bool,
    #[command(flatten)]
    attempt: Attempt,
    #[command(flatten)]
    expected: Expected,
    #[command(flatten)]
    request_id: RequestId,
}

/// Changes it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(mut args: Args, context: &Context) -> Result<(), Failure> {
    let id = args.id;
    args.prompt = text_or_file(args.prompt, args.prompt_file.as_deref())?;
    args.result = args.result.map(input::text_or_stdin).transpose()?;
    let client = context.connect().await?;
    let outputs = artifact::put_all(&client, &args.add_outputs, context).await?;
    let answer = client
        .ask(request(args, outputs), |client, request| async move {
            client.tasks().update_task(request).await
        })
        .await?;
    context.out.answer(&answer, || said(id, &answer))?;
    Ok(())
}

fn request(args: Args, add_outputs: Vec<v1::Artifact>) -> v1::UpdateTaskRequest {
    v1::UpdateTaskRequest {
        // The team is who calls.
        team: String::new(),
        task_id: args.id,
        status: number::<_, v1::TaskStatus>(args.status),
        owner: args.owner.or(args.no_owner.then(String::new)),
        subject: args.subject,
        description: args.description,
        active_form: args.active_form,
        add_blocks: args.add_blocks,
        add_blocked_by: args.add_blocked_by,
        remove_blocks: args.remove_blocks,
        remove_blocked_by: args.remove_blocked_by,
        metadata: args.metadata,
        priority: number::<_, v1::TaskPriority>(args.priority),
        result: args.result,
        stop_running: args.stop_running,
        expected_revision: args.expected.expected_revision,
        request_id: args.request_id.or_new(),
        attempt: args.attempt.attempt,
        add_labels: args.add_labels,
        remove_labels: args.remove_labels,
        agent_type: args.agent_type.or(args.no_type.then(String::new)),
        prompt: args.prompt,
        kind: number::<_, v1::TaskKind>(args.kind),
        deadline: args.deadline,
        clear_deadline: args.no_deadline,
        timeout: args.time_limit.map(values::wire_span),
        blocker_failed_policy: number::<_, v1::BlockerFailedPolicy>(args.on_blocker_failed),
        failure_policy: number::<_, v1::FailurePolicy>(args.on_failure),
        retry: args.retry.policy(),
        add_outputs,
        reason: args.reason,
        window: args.window,
    }
}

fn said(id: u64, answer: &v1::UpdateTaskResponse) -> String {
    let mut lines = Vec::new();
    match &answer.status_change {
        Some(change) => lines.push(format!(
            "task #{id}: {} → {}",
            words::status(change.from()),
            words::status(change.to())
        )),
        None if answer.updated_fields.is_empty() => {
            lines.push(format!("task #{id} stays as it was"))
        }
        None => {}
    }
    let fields: Vec<&str> = answer.updated_fields.iter().map(String::as_str).collect();
    if !fields.is_empty() {
        lines.push(format!(
            "task #{id}: changed {}",
            safe_line(&fields.join(", "))
        ));
    }
    if !answer.unblocked.is_empty() {
        lines.push(format!("freed {}", words::ids(&answer.unblocked)));
    }
    if answer.verification_nudge_needed {
        lines.push(safe_line(&answer.verification_nudge));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn asked(line: &str) -> serde_json::Value {
        let line = Line::try_parse_from(line.split(' ')).unwrap();
        let mut request = serde_json::to_value(request(line.args, Vec::new())).unwrap();
        assert_eq!(request["requestId"].as_str().unwrap().len(), 36);
        request.as_object_mut().unwrap().remove("requestId");
        request
    }

    #[test]
    fn everything_that_can_change_goes_on_the_wire() {
        assert_eq!(
            asked(
                "update 3 --status failed --owner ann --subject s --description d \
                 --active-form a --add-blocks 4,5 --add-blocked-by 6 --remove-blocks 7 \
                 --remove-blocked-by 8 --metadata {\"n\":null} --priority low --add-label x \
                 --remove-label y --type shell --prompt p --kind verification \
                 --deadline 2030-01-01T00:00:00Z --time-limit 90s --on-blocker-failed proceed \
                 --max-attempts 3 --on-failure release --result r --reason why --stop-running \
                 --attempt 2 --expected-revision 9 --window 5"
            ),
            serde_json::json!({
                "taskId": "3", "status": "TASK_STATUS_FAILED", "owner": "ann", "subject": "s",
                "description": "d", "activeForm": "a", "addBlocks": ["4", "5"],
                "addBlockedBy": ["6"], "removeBlocks": ["7"], "removeBlockedBy": ["8"],
                "metadata": {"n": null}, "priority": "TASK_PRIORITY_LOW", "addLabels": ["x"],
                "removeLabels": ["y"], "agentType": "shell", "prompt": "p",
                "kind": "TASK_KIND_VERIFICATION", "deadline": "2030-01-01T00:00:00Z",
                "timeout": "90s", "blockerFailedPolicy": "BLOCKER_FAILED_POLICY_PROCEED",
                "retry": {"maxAttempts": 3}, "failurePolicy": "FAILURE_POLICY_RELEASE",
                "result": "r", "reason": "why", "stopRunning": true, "attempt": 2,
                "expectedRevision": "9", "window": 5,
            })
        );
    }

    #[test]
    fn what_can_be_taken_away_is_said_as_empty() {
        assert_eq!(
            asked("update 3 --no-owner --no-type --no-deadline"),
            serde_json::json!({
                "taskId": "3", "owner": "", "agentType": "", "clearDeadline": true
            })
        );
        for line in [
            "update 3 --owner a --no-owner",
            "update 3 --type a --no-type",
            "update 3 --deadline 1h --no-deadline",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn answer_says_what_changed_what_it_freed_and_the_nudge() {
        let answer = v1::UpdateTaskResponse {
            updated_fields: vec!["status".into(), "result".into()],
            status_change: Some(v1::StatusChange {
                from: v1::TaskStatus::InProgress.into(),
                to: v1::TaskStatus::Completed.into(),
            }),
            unblocked: vec![4, 5],
            verification_nudge_needed: true,
            verification_nudge: "have somebody verify".into(),
            ..v1::UpdateTaskResponse::default()
        };

        assert_eq!(
            said(3, &answer),
            "task #3: in_progress → completed\ntask #3: changed status, result\nfreed #4, #5\n\
             have somebody verify"
        );
        assert_eq!(
            said(3, &v1::UpdateTaskResponse::default()),
            "task #3 stays as it was"
        );
    }
}
