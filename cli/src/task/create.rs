//! `ganger task create`.

use std::{path::PathBuf, time::Duration};

use ganger_proto::v1;

use crate::{
    artifact,
    context::Context,
    failure::Failure,
    flags::{Placing, RequestId, Retry, text_or_file},
    output::safe_line,
    values::{self, BlockerFailed, Kind, OnFailure, Priority, number},
};

/// A task to be.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A worker runs the task if it names an agent type, or belongs to a hosted member; every other
task waits for a claim.

Examples:
  ganger task create 'Write the migration' --owner ann
  ganger task create 'Count lines' --type shell --prompt 'wc -l /inputs/*' --input notes.txt
  ganger task create 'Check the count' --blocked-by 2 --kind verification
  ganger task create 'Train' --type shell --prompt ./train --worker-label gpu=yes")]
pub struct Args {
    /// What is to be done, in a line
    subject: String,
    /// What is to be done, at length
    #[arg(short, long, default_value = "", hide_default_value = true)]
    description: String,
    /// What a board shows while it is being done
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    active_form: String,
    /// The member whose task it is
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "MEMBER"
    )]
    owner: String,
    /// The agent type that is to run it
    #[arg(
        long = "type",
        default_value = "",
        hide_default_value = true,
        value_name = "TYPE"
    )]
    agent_type: String,
    /// What the sub-agent is told
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// A file with what the sub-agent is told; - for stdin
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Tasks that it waits for
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    blocked_by: Vec<u64>,
    /// Tasks that wait for it
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    blocks: Vec<u64>,
    /// The task that it is part of
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "ID"
    )]
    parent: u64,
    /// How soon it should run
    #[arg(long)]
    priority: Option<Priority>,
    /// A word to filter by; may be repeated
    #[arg(long = "label", value_name = "WORD")]
    labels: Vec<String>,
    /// What kind of work it is
    #[arg(long)]
    kind: Option<Kind>,
    /// What becomes of it when a blocker fails
    #[arg(long, value_name = "POLICY")]
    on_blocker_failed: Option<BlockerFailed>,
    /// When it must be over: a time, or a span from now
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    deadline: Option<pbjson_types::Timestamp>,
    /// How long one attempt may run
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    time_limit: Option<Duration>,
    /// How many attempts may be lost with their workers
    #[arg(long, value_name = "N")]
    crash_limit: Option<i32>,
    #[command(flatten)]
    placing: Placing,
    #[command(flatten)]
    retry: Retry,
    /// What becomes of it when its tries are used up [default: fail]
    #[arg(long, value_name = "POLICY")]
    on_failure: Option<OnFailure>,
    /// Let its sub-agent see the board of whoever hired it, rather than only tasks of its own
    #[arg(long)]
    share_todos: bool,
    /// A file to put into the sandbox below /inputs; may be repeated
    #[arg(long = "input", value_name = "FILE[=PATH]")]
    inputs: Vec<String>,
    /// Files of the workspace to keep; may be repeated
    #[arg(long = "output-glob", value_name = "GLOB")]
    output_globs: Vec<String>,
    /// Any JSON object
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    metadata: Option<pbjson_types::Struct>,
    /// An id of your own; Ganger only keeps it
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    client_task_id: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// Puts the task on the board.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let prompt = text_or_file(args.prompt.clone(), args.prompt_file.as_deref())?;
    let prompt = prompt.unwrap_or_default();
    let client = context.connect().await?;
    let inputs = artifact::put_all(&client, &args.inputs, context).await?;
    let request = request(args, prompt, inputs);
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().create_task(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        let task = answer.task.as_ref();
        safe_line(task.map(|task| task.line.as_str()).unwrap_or_default())
    })?;
    Ok(())
}

fn request(args: Args, prompt: String, inputs: Vec<v1::Artifact>) -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        subject: args.subject,
        description: args.description,
        active_form: args.active_form,
        owner: args.owner,
        blocks: args.blocks,
        blocked_by: args.blocked_by,
        metadata: args.metadata,
        priority: number::<_, v1::TaskPriority>(args.priority),
        labels: args.labels,
        agent_type: args.agent_type,
        prompt,
        parent_task_id: args.parent,
        kind: number::<_, v1::TaskKind>(args.kind),
        deadline: args.deadline,
        timeout: args.time_limit.map(values::wire_span),
        crash_limit: args.crash_limit,
        blocker_failed_policy: number::<_, v1::BlockerFailedPolicy>(args.on_blocker_failed),
        inputs,
        output_globs: args.output_globs,
        client_task_id: args.client_task_id,
        request_id: args.request_id.or_new(),
        share_todos: args.share_todos,
        worker_labels: args.placing.worker_labels(),
        window: args.placing.window,
        outlive_parent: args.placing.outlive_parent,
        joins_task_id: args.placing.joins,
        retry: args.retry.policy(),
        failure_policy: number::<_, v1::FailurePolicy>(args.on_failure),
        // The team is who calls; the type has one spelling here.
        ..v1::CreateTaskRequest::default()
    }
}
