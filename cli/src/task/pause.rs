//! `ganger task pause` and `ganger task resume`.

use ganger_proto::v1;

use crate::{context::Context, failure::Failure, flags::RequestId, output::safe_line};

/// What is held.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ganger task pause 3 --reason 'wait for the review'")]
pub struct PauseArgs {
    /// The task
    id: u64,
    /// Why, for a person
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// What goes on.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// The task
    id: u64,
    #[command(flatten)]
    request_id: RequestId,
}

/// Holds it.
///
/// # Errors
/// What the coordinator refused.
pub async fn pause(args: PauseArgs, context: &Context) -> Result<(), Failure> {
    let request = v1::PauseTaskRequest {
        task_id: args.id,
        reason: args.reason,
        request_id: args.request_id.or_new(),
        ..v1::PauseTaskRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.delegation().pause_task(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        format!("task #{0} is held: ganger task resume {0}", args.id)
    })?;
    Ok(())
}

/// Lets it go on.
///
/// # Errors
/// What the coordinator refused.
pub async fn resume(args: ResumeArgs, context: &Context) -> Result<(), Failure> {
    let request = v1::ResumeTaskRequest {
        task_id: args.id,
        request_id: args.request_id.or_new(),
        ..v1::ResumeTaskRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.delegation().resume_task(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        let task = answer.task.as_ref();
        safe_line(task.map(|task| task.line.as_str()).unwrap_or_default())
    })?;
    Ok(())
}
