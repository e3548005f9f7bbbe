//! `ganger coordinator` and `ganger worker`: the daemons, with command lines of their own.
//!
//! They share no flag with the rest of the tool by accident: `--team` of a worker says whom it
//! serves, not in whom it speaks. So the first argument alone decides, before the tool's own
//! command line is read.

use std::{ffi::OsString, process::ExitCode};

use clap::{Command, CommandFactory as _, Parser, Subcommand as _};

use crate::{failure::Failure, upkeep, worker};

/// The coordinator daemon.
#[derive(Debug, Parser)]
#[command(
    name = "ganger coordinator",
    version,
    args_conflicts_with_subcommands = true
)]
struct Coordinator {
    #[command(flatten)]
    args: ganger_coordinator::Args,
    /// Named first, they are verbs of the tool: see [`run_if_named`].
    #[command(subcommand)]
    upkeep: Option<upkeep::Verb>,
}

/// The worker daemon.
#[derive(Debug, Parser)]
#[command(
    name = "ganger worker",
    version,
    args_conflicts_with_subcommands = true
)]
struct Worker {
    #[command(flatten)]
    args: ganger_worker::Args,
    /// Named first, they are verbs of the tool: see [`run_if_named`].
    #[command(subcommand)]
    verb: Option<worker::Verb>,
}

/// What comes after `coordinator`: a verb of the tool, or what is the daemon's own.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct OrUpkeep {
    /// The verb of the tool.
    #[command(subcommand)]
    pub upkeep: Option<upkeep::Verb>,
    #[arg(hide = true, allow_hyphen_values = true, trailing_var_arg = true)]
    rest: Vec<OsString>,
}

/// The same after `worker`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct OrWorker {
    /// The verb of the tool.
    #[command(subcommand)]
    pub verb: Option<worker::Verb>,
    #[arg(hide = true, allow_hyphen_values = true, trailing_var_arg = true)]
    rest: Vec<OsString>,
}

/// Runs the daemon that the command line names first; none where it names none, or only what is
/// done with its board or to another worker.
pub fn run_if_named(mut line: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let (program, name) = (line.next()?, line.next()?);
    match name.to_str()? {
        "help" => {
            let name = line.next()?;
            let is_daemon = name == "coordinator" || name == "worker";
            is_daemon.then(|| run_if_named([program, name, "--help".into()].into_iter()))?
        }
        "coordinator" => {
            let mut line = line.peekable();
            let next = line.peek().and_then(|next| next.to_str());
            if next.is_some_and(upkeep::Verb::has_subcommand) {
                return None;
            }
            let line = [OsString::from("ganger coordinator")]
                .into_iter()
                .chain(line);
            Some(ganger_coordinator::main_with(
                Coordinator::parse_from(line).args,
            ))
        }
        "worker" => {
            let mut line = line.peekable();
            let next = line.peek().and_then(|next| next.to_str());
            if next.is_some_and(worker::Verb::has_subcommand) {
                return None;
            }
            let line = [OsString::from("ganger worker")].into_iter().chain(line);
            Some(ganger_worker::daemon(Worker::parse_from(line).args))
        }
        _ => None,
    }
}

/// The daemons' own command lines, as subcommands of the tool.
pub fn command_lines() -> [Command; 2] {
    [
        Coordinator::command().name("coordinator"),
        Worker::command().name("worker"),
    ]
}

/// A daemon that isn't named first.
pub fn misplaced(name: &str) -> Failure {
    Failure::Usage(format!(
        "`{name}` has flags of its own and comes first: ganger {name} --help"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_sound() {
        Coordinator::command().debug_assert();
        Worker::command().debug_assert();
    }

    #[test]
    fn only_the_first_argument_names_a_daemon() {
        let line = |words: &'static str| words.split(' ').map(OsString::from);

        assert!(run_if_named(line("ganger")).is_none());
        assert!(run_if_named(line("ganger task show")).is_none());
        assert!(run_if_named(line("ganger help task")).is_none());
        assert!(run_if_named(line("ganger --team coordinator")).is_none());
        assert!(run_if_named(line("ganger coordinator backup --to a")).is_none());
        assert!(run_if_named(line("ganger worker drain w1")).is_none());
    }
}
