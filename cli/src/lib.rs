//! The person's tool: one binary with many faces.
//!
//! Reading order: `args` (what can be asked), `config` (where settings come from), `client` (the
//! way to the coordinator), `output` and `failure` (how answers and failures are said); then one
//! file for each verb. The verbs know messages of the contract and nothing of board or store.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tokio::runtime::Builder;

mod args;
mod artifact;
mod board;
mod client;
mod completions;
mod config;
mod context;
mod daemon;
mod demo;
mod doctor;
mod failure;
mod flags;
mod fleet;
mod follow;
mod globals;
mod healthcheck;
mod input;
mod listing;
mod local;
mod logs;
mod mail;
mod man;
mod mcp;
mod member;
mod output;
mod run;
mod signals;
mod task;
mod team;
mod tool;
mod tree;
mod up;
mod upkeep;
mod values;
mod watch;
mod worker;

use args::{Cli, Verb};
use context::Context;
use failure::{Exit, Failure};

/// The whole program.
pub fn main() -> ExitCode {
    // First of all: a worker starts its sandboxes by executing this program again.
    ganger_worker::sandbox::become_launcher_if_asked();
    if let Some(exit) = daemon::run_if_named(std::env::args_os()) {
        return exit;
    }
    let cli = Cli::parse();
    let context = match Context::new(&cli.globals) {
        Ok(context) => context,
        Err(failure) => return say(&failure, false).into(),
    };
    let mut runtime = match cli.verb {
        Verb::Up(_) | Verb::Demo(_) => {
            // They run sub-agents, whose orphans somebody has to reap.
            ganger_worker::sandbox::become_init_if_pid_1();
            Builder::new_multi_thread()
        }
        _ => Builder::new_current_thread(),
    };
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return say(&Failure::local(format!("can't start: {error}")), false).into(),
    };
    let exit = match runtime.block_on(dispatch(cli.verb, &context)) {
        Ok(exit) => exit,
        Err(failure) => say(&failure, context.out.is_json()),
    };
    // A blocking call that nobody waits for any more must not hold the end up.
    runtime.shutdown_background();
    exit.into()
}

async fn dispatch(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        // These have more to do than to fail when the wait is over.
        Verb::Run(args) => run::run(*args, context).await,
        Verb::Task(task::Verb::Wait(args)) => task::wait::run(args, context).await,
        Verb::Up(args) => up::run(args, context).await,
        Verb::Demo(args) => demo::run(args, context).await,
        Verb::Doctor(args) => doctor::run(args, context).await,
        Verb::Healthcheck(args) => healthcheck::run(args, context).await,
        // Serves until its client goes; --timeout is each call's.
        Verb::Mcp(args) => mcp::run(args, context).await,
        Verb::Coordinator(line) => match line.upkeep {
            Some(verb) => within(context, upkeep::run(verb, context)).await,
            None => Err(daemon::misplaced("coordinator")),
        },
        Verb::Worker(line) => match line.verb {
            Some(verb) => within(context, worker::run(verb, context)).await,
            None => Err(daemon::misplaced("worker")),
        },
        Verb::Team(verb) => within(context, team::run(verb, context)).await,
        Verb::Member(verb) => within(context, member::run(verb, context)).await,
        Verb::Task(verb) => context.within(task::run(verb, context)).await,
        Verb::Mail(verb) => context.within(mail::run(verb, context)).await,
        Verb::Tool(verb) => context.within(tool::run(verb, context)).await,
        Verb::Fleet(verb) => within(context, fleet::run(verb, context)).await,
        Verb::Logs(args) => within(context, logs::run(args, context)).await,
        Verb::Artifact(verb) => within(context, artifact::run(verb, context)).await,
        Verb::Watch(args) => within(context, watch::run(args, context)).await,
        Verb::Completions(args) => completions::run(&args, Cli::command()).map(|()| Exit::Done),
        Verb::Man(args) => man::run(&args, Cli::command(), context).map(|()| Exit::Done),
    }
}

/// A verb that is done, or fails.
async fn within(
    context: &Context,
    verb: impl Future<Output = Result<(), Failure>>,
) -> Result<Exit, Failure> {
    context.within(verb).await.map(|()| Exit::Done)
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
