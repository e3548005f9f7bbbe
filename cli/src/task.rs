//! `ganger task`: the task board.

use clap::Subcommand;
use ganger_proto::v1;

use crate::{
    client::Client,
    context::Context,
    failure::{Exit, Failure},
};

mod batch;
mod cancelling;
mod claim;
mod claim_next;
mod create;
mod delete;
mod explain;
pub mod list;
mod pause;
mod release;
mod renew;
mod reopen;
mod show;
mod sweep;
pub mod talk;
mod update;
pub mod wait;
mod watch;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Put a task on the board
    Create(Box<create::Args>),
    /// Many tasks in one commit, all or none
    #[command(subcommand)]
    Batch(batch::Verb),
    /// List tasks
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show one task, whole
    #[command(visible_alias = "get")]
    Show {
        /// The task
        id: u64,
    },
    /// Say why a task is where it is, and what happened to it lately
    Explain(explain::Args),
    /// Say all that happened to a task: who did it, on whose behalf, because of what
    History {
        /// The task
        id: u64,
    },
    /// Change a task: all of what is asked, or nothing
    Update(Box<update::Args>),
    /// Take a pending task that nobody holds
    Claim(claim::Args),
    /// Take the best task that is ready for you
    #[command(visible_alias = "next")]
    ClaimNext(claim_next::Args),
    /// Renew the lease of your claim
    Renew(renew::Args),
    /// Give a claimed task back
    Release(release::Args),
    /// Hold a pending task, or all that a filter finds: neither dispatched nor claimed until resumed
    Pause(pause::PauseArgs),
    /// Let a held task go on, or all that a filter finds
    Resume(pause::ResumeArgs),
    /// Answer the question that a running task's sub-agent asks
    Answer(talk::AnswerArgs),
    /// Tell a running task's sub-agent something that it has not asked
    Steer(talk::SteerArgs),
    /// Cancel a task, or all that a filter finds; what runs is stopped
    Cancel(cancelling::Args),
    /// Open a task again that is over
    Reopen(reopen::Args),
    /// Delete a task; what waited for it is freed
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
    /// Wait until tasks are over, or want something of you
    Wait(wait::Args),
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
        Verb::Batch(verb) => batch::run(verb, context).await?,
        Verb::List(args) => list::run(args, context).await?,
        Verb::Show { id } => show::run(id, context).await?,
        Verb::Explain(args) => explain::run(args, context).await?,
        Verb::History { id } => explain::history(id, context).await?,
        Verb::Update(args) => update::run(*args, context).await?,
        Verb::Claim(args) => claim::run(args, context).await?,
        Verb::ClaimNext(args) => return claim_next::run(args, context).await,
        Verb::Renew(args) => renew::run(args, context).await?,
        Verb::Release(args) => release::run(args, context).await?,
        Verb::Pause(args) => pause::pause(args, context).await?,
        Verb::Resume(args) => pause::resume(args, context).await?,
        Verb::Answer(args) => talk::answer(args, context).await?,
        Verb::Steer(args) => talk::steer(args, context).await?,
        Verb::Cancel(args) => cancelling::run(args, context).await?,
        Verb::Reopen(args) => reopen::run(args, context).await?,
        Verb::Delete(args) => delete::run(args, context).await?,
        Verb::Wait(args) => return wait::run(args, context).await,
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
    request_id: String,
) -> Result<v1::CancelTaskResponse, Failure> {
    let request = v1::CancelTaskRequest {
        task_id: id,
        reason: reason.into(),
        request_id,
        ..v1::CancelTaskRequest::default()
    };
    client
        .ask(request, |client, request| async move {
            client.delegation().cancel_task(request).await
        })
        .await
}
