//! The person's tool: one binary with many faces.
//!
//! Reading order: `args` (what can be asked), `config` (where settings come from), `client` (the
//! way to the coordinator), `output` and `failure` (how answers and failures are said); then one
//! file for each verb. The verbs know messages of the contract and nothing of board or store.

use std::process::ExitCode;

use clap::Parser as _;

mod args;
mod artifact;
mod board;
mod client;
mod completions;
mod config;
mod context;
mod demo;
mod failure;
mod fleet;
mod follow;
mod healthcheck;
mod logs;
mod output;
mod run;
mod signals;
mod task;
mod team;
mod values;
mod watch;

use args::{Cli, Verb};
use context::Context;
use failure::{Exit, Failure};

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = match Context::new(&cli.globals) {
        Ok(context) => context,
        Err(failure) => return say(&failure, false).into(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return say(&Failure::local(format!("can't start: {error}")), false).into(),
    };
    let exit = match runtime.block_on(dispatch(cli.verb, &context)) {
        Ok(exit) => exit,
        Err(failure) => say(&failure, context.out.is_json()),
    };
    // A read of stdin that nobody waits for any more must not hold the end up.
    runtime.shutdown_background();
    exit.into()
}

async fn dispatch(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        // These have more to do than to fail when the wait is over.
        Verb::Run(args) => run::run(*args, context).await,
        Verb::Healthcheck(args) => healthcheck::run(args, context).await,
        verb => context.within(ask(verb, context)).await,
    }
}

async fn ask(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        Verb::Task(verb) => return task::run(verb, context).await,
        Verb::Team(verb) => team::run(verb, context).await?,
        Verb::Fleet(verb) => fleet::run(verb, context).await?,
        Verb::Logs(args) => logs::run(args, context).await?,
        Verb::Artifact(verb) => artifact::run(verb, context).await?,
        Verb::Watch(args) => watch::run(args, context).await?,
        Verb::Completions(args) => completions::run(&args)?,
        Verb::Run(_) | Verb::Healthcheck(_) => unreachable!("dispatched before"),
    }
    Ok(Exit::Done)
}

/// Says a failure on stderr, and answers its exit code.
fn say(failure: &Failure, json: bool) -> Exit {
    let exit = failure.exit();
    if exit != Exit::Done {
        if json {
            eprintln!("{}", failure.json());
        } else {
            anstream::eprintln!("{}", failure.text());
        }
    }
    exit
}
