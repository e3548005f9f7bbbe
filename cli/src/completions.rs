//! `ganger completions`: the completion script of a shell.

use std::io::Write as _;

use clap::Command;
use clap_complete::Shell;

use crate::{failure::Failure, tree};

/// Which script.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ganger completions bash > /etc/bash_completion.d/ganger
  ganger completions zsh > /usr/local/share/zsh/site-functions/_ganger
  ganger completions fish > ~/.config/fish/completions/ganger.fish")]
pub struct Args {
    /// The shell
    pub shell: Shell,
}

/// Prints the script for the tool's command line.
///
/// # Errors
/// Where stdout is gone.
pub fn run(args: &Args, tool: Command) -> Result<(), Failure> {
    std::io::stdout().write_all(&script(args.shell, tool))?;
    Ok(())
}

fn script(shell: Shell, tool: Command) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(
        shell,
        &mut tree::with_globals_everywhere(tool),
        "ganger",
        &mut script,
    );
    script
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn every_shell_completes_the_daemons_flags_too() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish] {
            let script = String::from_utf8(script(shell, Cli::command())).unwrap();

            for flag in [
                "expect-type",
                "check-config",
                "drain-seconds",
                "blocked-by",
                "on-behalf-of",
            ] {
                assert!(script.contains(flag), "{shell}: no {flag}");
            }
        }
    }
}
