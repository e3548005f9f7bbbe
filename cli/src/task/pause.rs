//! `ganger task pause` and `ganger task resume`.

use ganger_proto::v1;

use super::sweep::{self, Meant, Swept, Which};
use crate::{
    client::Client, context::Context, failure::Failure, flags::RequestId, output::safe_line,
};

/// What is held.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ganger task pause 3 --reason 'wait for the review'
  ganger task pause --parent 1")]
pub struct PauseArgs {
    #[command(flatten)]
    which: Which,
    /// Why, for a person
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    request_id: RequestId,
}

/// What goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ganger task resume 3
  ganger task resume --label nightly")]
pub struct ResumeArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    request_id: RequestId,
}

/// Holds it.
///
/// # Errors
/// What the coordinator refused.
pub async fn pause(args: PauseArgs, context: &Context) -> Result<(), Failure> {
    let id = match args.which.meant() {
        Meant::One(id) => id,
        Meant::All(filter) => {
            return pause_all(filter, args.reason, args.request_id, context).await;
        }
    };
    let request = v1::PauseTaskRequest {
        task_id: id,
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
        format!("task #{id} is held: ganger task resume {id}")
    })?;
    Ok(())
}

/// Lets it go on.
///
/// # Errors
/// What the coordinator refused.
pub async fn resume(args: ResumeArgs, context: &Context) -> Result<(), Failure> {
    let id = match args.which.meant() {
        Meant::One(id) => id,
        Meant::All(filter) => return resume_all(filter, args.request_id, context).await,
    };
    let request = v1::ResumeTaskRequest {
        task_id: id,
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

async fn pause_all(
    filter: v1::TaskFilter,
    reason: String,
    first: RequestId,
    context: &Context,
) -> Result<(), Failure> {
    let call = |client: Client, filter, request_id| {
        let request = v1::PauseTasksRequest {
            filter: Some(filter),
            reason: reason.clone(),
            request_id,
            ..v1::PauseTasksRequest::default()
        };
        async move {
            let answer = client
                .ask(request, |client, request| async move {
                    client.delegation().pause_tasks(request).await
                })
                .await?;
            Ok(Swept {
                changed: answer.changed,
                more: answer.more,
                last: answer.last_task_id,
            })
        }
    };
    sweep::all(filter, first, "held", context, call).await
}

async fn resume_all(
    filter: v1::TaskFilter,
    first: RequestId,
    context: &Context,
) -> Result<(), Failure> {
    let call = |client: Client, filter, request_id| {
        let request = v1::ResumeTasksRequest {
            filter: Some(filter),
            request_id,
            ..v1::ResumeTasksRequest::default()
        };
        async move {
            let answer = client
                .ask(request, |client, request| async move {
                    client.delegation().resume_tasks(request).await
                })
                .await?;
            Ok(Swept {
                changed: answer.changed,
                more: answer.more,
                last: answer.last_task_id,
            })
        }
    };
    sweep::all(filter, first, "resumed", context, call).await
}
