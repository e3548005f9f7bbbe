//! `ganger run`: have a sub-agent do something, and wait for it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ganger_proto::v1;

use crate::{
    artifact,
    client::{Client, request_id},
    context::Context,
    failure::{Exit, Failure},
    flags::Placing,
    input,
    output::{paint, safe_line, words},
    values::{self, Priority, number},
};

mod course;
pub mod transcript;
mod wait;

/// What is to be done.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The sub-agent's stdout goes to stdout, its stderr to stderr; where it writes nothing to stdout,
its result does. Ctrl-C cancels the task and waits for its end, a second one leaves it to itself
and prints its id. The exit code is the ending's: 0 done, 3 failed, 124 timed out, 130 cancelled
by Ctrl-C.

Examples:
  ganger run --type shell 'uname -a'
  ganger run --type shell --file analyse.sh --input data.csv --output-glob 'out/**' --save results")]
pub struct Args {
    /// The agent type that is to do it
    #[arg(long = "type", value_name = "TYPE")]
    agent_type: String,
    /// What the sub-agent is told; - reads it from stdin
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    prompt: Option<String>,
    /// A file with what the sub-agent is told
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A short label [default: the first line of the prompt]
    #[arg(short, long, value_name = "TEXT")]
    subject: Option<String>,
    /// How soon it should run
    #[arg(long)]
    priority: Option<Priority>,
    /// A word to filter by; may be repeated
    #[arg(long = "label", value_name = "WORD")]
    labels: Vec<String>,
    /// Tasks that it waits for; their results lie below /inputs
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    blocked_by: Vec<u64>,
    /// The task that it is part of
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "ID"
    )]
    parent: u64,
    /// When it must be over: a time, or a span from now
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    deadline: Option<pbjson_types::Timestamp>,
    /// How long one attempt may run
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    time_limit: Option<Duration>,
    /// A file to put into the sandbox below /inputs; may be repeated
    #[arg(long = "input", value_name = "FILE[=PATH]")]
    inputs: Vec<String>,
    /// Files of the workspace to keep; may be repeated
    #[arg(long = "output-glob", value_name = "GLOB")]
    output_globs: Vec<String>,
    #[command(flatten)]
    placing: Placing,
    /// Download the kept files into this directory
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Any JSON object
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    metadata: Option<pbjson_types::Struct>,
    /// Let the sub-agent see the board of whoever hired it, rather than only tasks of its own
    #[arg(long)]
    share_todos: bool,
    /// Don't wait: print the task and end
    #[arg(long, conflicts_with = "save")]
    detach: bool,
    /// Cancel the task when this wait is cut off
    #[arg(long, conflicts_with = "detach")]
    cancel_on_disconnect: bool,
    /// A UUID; the same call again joins the same task
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Has it done.
///
/// # Errors
/// What the coordinator refused, or where it is away for too long.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let prompt = match (&args.file, args.prompt.as_deref()) {
        (Some(file), _) => input::read_text(file)?,
        (None, Some("-")) => input::read_text(Path::new("-"))?,
        (None, prompt) => prompt.unwrap_or_default().to_owned(),
    };
    let client = context.connect().await?;
    let inputs = artifact::put_all(&client, &args.inputs, context).await?;
    let (save, is_detached) = (args.save.clone(), args.detach);
    let request = request(args, prompt, inputs);
    if is_detached {
        return start(&client, request, context).await;
    }

    let waited = wait::wait(&client, request, context).await?;
    if let (Some(dir), Some(task)) = (save, &waited.task) {
        save_outputs(&client, task, &dir, context).await?;
    }
    Ok(waited.exit)
}

fn request(args: Args, prompt: String, inputs: Vec<v1::Artifact>) -> v1::StreamTaskRequest {
    v1::StreamTaskRequest {
        description: args.subject.unwrap_or_else(|| subject_of(&prompt)),
        prompt,
        agent_type: args.agent_type,
        request_id: args.request_id.unwrap_or_else(request_id),
        priority: number::<_, v1::TaskPriority>(args.priority),
        labels: args.labels,
        blocked_by: args.blocked_by,
        parent_task_id: args.parent,
        deadline: args.deadline,
        timeout: args.time_limit.map(values::wire_span),
        inputs,
        output_globs: args.output_globs,
        metadata: args.metadata,
        cancel_on_disconnect: args.cancel_on_disconnect,
        share_todos: args.share_todos,
        worker_labels: args.placing.worker_labels(),
        window: args.placing.window,
        outlive_parent: args.placing.outlive_parent,
        joins_task_id: args.placing.joins,
        ..v1::StreamTaskRequest::default()
    }
}

/// The first line that says something, cut to what a board can show.
fn subject_of(prompt: &str) -> String {
    let mut lines = prompt.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with("#!"));
    let line = safe_line(line.unwrap_or("run"));
    match line.char_indices().nth(79) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

async fn start(
    client: &Client,
    request: v1::StreamTaskRequest,
    context: &Context,
) -> Result<Exit, Failure> {
    let request = v1::StartTaskRequest {
        description: request.description,
        prompt: request.prompt,
        agent_type: request.agent_type,
        request_id: request.request_id,
        priority: request.priority,
        labels: request.labels,
        blocked_by: request.blocked_by,
        parent_task_id: request.parent_task_id,
        deadline: request.deadline,
        timeout: request.timeout,
        inputs: request.inputs,
        output_globs: request.output_globs,
        metadata: request.metadata,
        share_todos: request.share_todos,
        worker_labels: request.worker_labels,
        window: request.window,
        outlive_parent: request.outlive_parent,
        joins_task_id: request.joins_task_id,
        ..v1::StartTaskRequest::default()
    };
    let call = client.ask(request, |client, request| async move {
        client.delegation().start_task(request).await
    });
    let answer = context.within(call).await?;
    let task = answer.task.clone().unwrap_or_default();
    context.out.answer(&answer, || safe_line(&task.line))?;
    context
        .out
        .note(&format!("follow it with `ganger logs {}`", task.id));
    Ok(Exit::Done)
}

/// Downloads what the task left.
async fn save_outputs(
    client: &Client,
    task: &v1::Task,
    dir: &Path,
    context: &Context,
) -> Result<(), Failure> {
    for output in &task.outputs {
        let to = artifact::save_below(client, output, dir).await?;
        context.out.note(&format!(
            "saved {} ({})",
            to.display(),
            words::bytes(output.size)
        ));
    }
    Ok(())
}

/// How a task ended, in a line.
fn ending_line(task_id: u64, ended: &v1::StreamTaskResponse) -> String {
    let style = owo_colors::Style::new();
    let (word, style) = match ended.r#type.as_str() {
        "task_completed" => ("completed", style.green()),
        "task_cancelled" => ("cancelled", style.yellow()),
        "task_timed_out" => ("timed out", style.red()),
        _ => ("failed", style.red()),
    };
    let mut line = format!("task #{task_id} {}", paint(word, style));
    if let Some(span) = ended
        .usage
        .as_ref()
        .and_then(|usage| usage.wall_time.as_ref())
    {
        line.push_str(&format!(" after {}", words::wire_span(Some(span))));
    }
    let reason = words::tail(ended.stop_reason().as_str_name(), "STOP_REASON_");
    match (ended.error.as_str(), reason.as_str()) {
        ("", "") => {}
        ("", reason) => line.push_str(&format!(": {reason}")),
        (error, _) => line.push_str(&format!(": {}", safe_line(error))),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_is_the_first_line_that_says_something() {
        assert_eq!(subject_of("#!/bin/sh\n\n  make all\nls"), "make all");
        assert_eq!(subject_of(" \n"), "run");
        assert_eq!(subject_of(&"ä".repeat(200)).chars().count(), 80);
    }

    #[test]
    fn ending_says_how_long_and_why() {
        let ended = v1::StreamTaskResponse {
            r#type: "task_failed".into(),
            error: "exit code 3".into(),
            usage: Some(v1::Usage {
                wall_time: Some(values::wire_span(Duration::from_millis(1_500))),
                ..v1::Usage::default()
            }),
            ..v1::StreamTaskResponse::default()
        };

        assert_eq!(
            console::strip_ansi_codes(&ending_line(7, &ended)),
            "task #7 failed after 1.5s: exit code 3"
        );
    }
}
