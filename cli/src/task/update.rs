//! `ganger task update`.

use ganger_proto::v1;

use crate::{
    client::request_id,
    context::Context,
    failure::Failure,
    output::{safe_line, words},
    values::{self, Priority, Status, number},
};

/// What changes. What isn't said stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A task that a worker runs is ended by that worker alone: use `ganger task cancel`.

Examples:
  ganger task update 3 --status in-progress
  ganger task update 3 --status completed --result 'migrated 12 tables'
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
    /// The result when completing, the error when failing
    #[arg(long)]
    result: Option<String>,
    /// Stop a running attempt where the change would take its ground away
    #[arg(long)]
    stop_running: bool,
    /// The revision that the task must have
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    expected_revision: u64,
    /// The same call again with the same UUID answers the first outcome
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Changes it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let id = args.id;
    let client = context.connect().await?;
    let answer = client
        .ask(request(args), |client, request| async move {
            client.tasks().update_task(request).await
        })
        .await?;
    context.out.answer(&answer, || said(id, &answer))?;
    Ok(())
}

fn request(args: Args) -> v1::UpdateTaskRequest {
    v1::UpdateTaskRequest {
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
        expected_revision: args.expected_revision,
        request_id: args.request_id.unwrap_or_else(request_id),
        ..v1::UpdateTaskRequest::default()
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
    use super::*;

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
