//! `ganger completions`: the completion script of a shell.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{args::Cli, failure::Failure};

/// Which script.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ganger completions bash > /etc/bash_completion.d/ganger")]
pub struct Args {
    /// The shell
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// Where stdout is gone.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ganger", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}
