//! `ganger task`: the task board.

use clap::Subcommand;
use ganger_proto::v1;

use crate::{
    client::{Client, request_id},
    context::Context,
    failure::{Exit, Failure},
};

mod create;
pub mod list;
mod show;
mod update;
mod watch;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Put a task on the board
    Create(Box<create::Args>),
    /// List tasks
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show one task, whole
    Show {
        /// The task
        id: u64,
    },
    /// Change a task: all of what is asked, or nothing
    Update(Box<update::Args>),
    /// Take a pending task that nobody holds
    Claim {
        /// The task
        id: u64,
        /// The revision that it must have
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
        expected_revision: u64,
    },
    /// Cancel a task; one that runs is stopped
    Cancel {
        /// The task
        id: u64,
        /// Why
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// The live board
    Watch(watch::Args),
}

/// Does it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        Verb::Create(args) => create::run(*args, context).await?,
        Verb::List(args) => list::run(args, context).await?,
        Verb::Show { id } => show::run(id, context).await?,
        Verb::Update(args) => update::run(*args, context).await?,
        Verb::Claim {
            id,
            expected_revision,
        } => claim(id, expected_revision, context).await?,
        Verb::Cancel { id, reason } => {
            let client = context.connect().await?;
            let answer = cancel(&client, id, &reason).await?;
            let task = answer.task.clone().unwrap_or_default();
            context.out.answer(&answer, || match task.status() {
                v1::TaskStatus::InProgress => format!("task #{id} is being stopped"),
                _ => format!("task #{id} is cancelled"),
            })?;
        }
        Verb::Watch(args) => return watch::run(args, context).await,
    }
    Ok(Exit::Done)
}

/// Tells one task, whole.
///
/// # Errors
/// What the coordinator refused.
pub async fn get(client: &Client, id: u64) -> Result<v1::Task, Failure> {
    let request = v1::GetTaskRequest {
        task_id: id,
        ..v1::GetTaskRequest::default()
    };
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().get_task(request).await
        })
        .await?;
    Ok(answer.task.unwrap_or_default())
}

/// Asks for a task to be cancelled.
///
/// # Errors
/// What the coordinator refused.
pub async fn cancel(
    client: &Client,
    id: u64,
    reason: &str,
) -> Result<v1::CancelTaskResponse, Failure> {
    let request = v1::CancelTaskRequest {
        task_id: id,
        reason: reason.into(),
        request_id: request_id(),
        ..v1::CancelTaskRequest::default()
    };
    client
        .ask(request, |client, request| async move {
            client.delegation().cancel_task(request).await
        })
        .await
}

async fn claim(id: u64, expected_revision: u64, context: &Context) -> Result<(), Failure> {
    let request = v1::ClaimTaskRequest {
        task_id: id,
        expected_revision,
        request_id: request_id(),
        ..v1::ClaimTaskRequest::default()
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.tasks().claim_task(request).await
        })
        .await?;
    context.out.answer(&answer, || {
        let owner = answer.task.as_ref().map(|task| task.owner.as_str());
        format!(
            "task #{id} is now {}'s (attempt {})",
            owner.unwrap_or_default(),
            answer.attempt
        )
    })?;
    Ok(())
}
