//! `ganger worker drain`: tells a worker to leave.

use std::time::Duration;

use clap::Subcommand;
use ganger_proto::v1;
use tokio::time::sleep;
use tonic::Code;

use crate::{
    client::Client,
    context::Context,
    failure::Failure,
    output::{safe_line, words},
    values,
};

/// How often it is looked whether a worker has left.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// What to do to a worker.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Have a worker take no new work, let what runs come to its end, and leave
    #[command(after_help = "\
What is not over when its time is, is given back unfinished, at no cost. Doing it twice is safe.

Example:
  ganger worker drain worker-1 --reason 'the machine is to be replaced' --wait")]
    Drain {
        /// The worker
        name: String,
        /// Why
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        reason: String,
        /// How long what runs may take [default: the worker's own drain time]
        #[arg(long, value_name = "TIME", value_parser = values::span)]
        within: Option<Duration>,
        /// Wait until it has left; --timeout bounds the wait
        #[arg(long)]
        wait: bool,
    },
}

/// Does it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(verb: Verb, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    match verb {
        Verb::Drain {
            name,
            reason,
            within,
            wait,
        } => {
            let request = v1::DrainWorkerRequest {
                name,
                reason,
                timeout: within.map(values::wire_span),
            };
            drain(&client, request, wait, context).await
        }
    }
}

async fn drain(
    client: &Client,
    request: v1::DrainWorkerRequest,
    is_waiting: bool,
    context: &Context,
) -> Result<(), Failure> {
    let answer = client
        .ask(request, |client, request| async move {
            client.fleet().drain_worker(request).await
        })
        .await?;
    let worker = answer.worker.clone().unwrap_or_default();
    if !is_waiting {
        return Ok(context.out.answer(&answer, || told(&worker))?);
    }
    wait(client, &worker).await?;
    context.out.answer(&answer, || {
        format!("worker {} has left", safe_line(&worker.name))
    })?;
    Ok(())
}

fn told(worker: &v1::Worker) -> String {
    let running: Vec<u64> = worker.attempts.iter().map(|fence| fence.task_id).collect();
    let name = safe_line(&worker.name);
    match running.is_empty() {
        true => format!("worker {name} drains; it runs nothing"),
        false => format!(
            "worker {name} drains; it still runs {}",
            words::ids(&running)
        ),
    }
}

/// Waits until this process of the worker has gone with all that it held.
async fn wait(client: &Client, worker: &v1::Worker) -> Result<(), Failure> {
    loop {
        let request = v1::GetWorkerRequest {
            name: worker.name.clone(),
        };
        match client.fleet().get_worker(request).await {
            Ok(answer) if is_there(answer.get_ref(), worker) => {}
            Ok(_) => return Ok(()),
            Err(status) if status.code() == Code::NotFound => return Ok(()),
            Err(status) => return Err(client.failure(status)),
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// Whether a worker is still that process, and has a stream or something to do.
fn is_there(answer: &v1::GetWorkerResponse, before: &v1::Worker) -> bool {
    let Some(worker) = &answer.worker else {
        return false;
    };
    worker.instance_id == before.instance_id && (worker.stream_up || !worker.attempts.is_empty())
}
