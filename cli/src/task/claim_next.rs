//! `ganger task claim-next`.

use ganger_proto::v1;

use super::claim;
use crate::{
    context::Context,
    failure::{Exit, Failure},
    flags::{Lease, RequestId},
    output::safe_line,
    values::{Priority, number},
};

/// What may be claimed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Your own tasks come before nobody's of the same rank; the rank is priority and how long a task is
ready. Exit 4 where none is.

Example: ganger --member alice task claim-next --label backend --priority-min high")]
pub struct Args {
    /// Only tasks with this label; given again, only those with all of them
    #[arg(long = "label", value_name = "WORD")]
    labels: Vec<String>,
    /// Only tasks of at least this priority
    #[arg(long, value_name = "PRIORITY")]
    priority_min: Option<Priority>,
    #[command(flatten)]
    lease: Lease,
    #[command(flatten)]
    request_id: RequestId,
}

/// Claims it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let request = v1::ClaimNextTaskRequest {
        labels: args.labels,
        priority_min: number::<_, v1::TaskPriority>(args.priority_min),
        lease: args.lease.span(),
        no_lease: args.lease.no_lease,
        request_id: args.request_id.or_new(),
        ..v1::ClaimNextTaskRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().claim_next_task(request).await
        })
        .await?;
    context.out.answer(&answer, || said(&answer))?;
    if answer.task.is_none() {
        context.out.note("no task is ready");
        return Ok(Exit::NotFound);
    }
    Ok(Exit::Done)
}

fn said(answer: &v1::ClaimNextTaskResponse) -> String {
    let Some(task) = &answer.task else {
        return String::new();
    };
    let claimed = claim::said(task, answer.attempt, answer.lease_until.as_ref());
    format!("{claimed}\n{}", safe_line(&task.line))
}
