//! What can be asked of the tool.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{
    artifact, completions, daemon, demo, doctor, failure::EXIT_CODES, fleet, healthcheck, logs,
    man, output::Format, run, task, team, up, values::span, watch,
};

/// A durable team board for AI agents, and the fleet that works it off.
#[derive(Debug, Parser)]
#[command(name = "ganger", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// What goes for every verb.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What goes for every verb. Flags go before the environment, that before `./ganger.toml`,
/// `$XDG_CONFIG_HOME/ganger/config.toml` and `/etc/ganger/config.toml`.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// The coordinator: host:port, or unix:/path [default: 127.0.0.1:50051]
    #[arg(long, global = true, env = "GANGER_ADDR", hide_env_values = true)]
    pub addr: Option<String>,
    /// The file that holds the fleet token
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "GANGER_TOKEN_FILE",
        hide_env_values = true
    )]
    pub token_file: Option<PathBuf>,
    /// The team to speak in [default: default]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "GANGER_TEAM",
        hide_env_values = true
    )]
    pub team: Option<String>,
    /// The member to speak as: NAME or NAME/INCARNATION [default: the team's lead]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "GANGER_MEMBER",
        hide_env_values = true
    )]
    pub member: Option<String>,
    /// How answers look; json is the proto3 JSON of the answer, one object a line for streams
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// When to colour [default: auto]
    #[arg(long, global = true, value_name = "WHEN")]
    pub color: Option<clap::ColorChoice>,
    /// How long to wait for an answer, such as 30s or 5m [default: for ever]
    #[arg(long, global = true, value_name = "SPAN", value_parser = span)]
    pub timeout: Option<Duration>,
    /// The message because of which this is done; the history names it
    #[arg(long, global = true, value_name = "MESSAGE_ID")]
    pub because_of: Option<u64>,
    /// On whose behalf this is done; the history names them
    #[arg(long, global = true, value_name = "NAME")]
    pub on_behalf_of: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a coordinator and a worker on this machine
    Up(up::Args),
    /// Show the main job: a board over a code base, done by sub-agents in sandboxes
    Demo(demo::Args),
    /// Find out what this machine can hold, and what is wrong
    Doctor(doctor::Args),
    /// Teams and their rosters
    #[command(subcommand)]
    Team(team::Verb),
    /// The task board
    #[command(subcommand)]
    Task(task::Verb),
    /// Have a sub-agent do something, and wait for it
    Run(Box<run::Args>),
    /// The transcript of a task, as it grows
    Logs(logs::Args),
    /// Files of tasks
    #[command(subcommand)]
    Artifact(artifact::Verb),
    /// What happens to a team, as it happens
    Watch(watch::Args),
    /// Workers, what they offer, and the coordinator's state
    #[command(subcommand)]
    Fleet(fleet::Verb),
    /// The coordinator daemon: see `ganger coordinator --help`
    Coordinator(daemon::Passed),
    /// The worker daemon: see `ganger worker --help`
    Worker(daemon::Passed),
    /// Ask a daemon whether it serves: exit 0, or 2 unreachable, 3 no answer, 4 not serving
    Healthcheck(healthcheck::Args),
    /// Print the completion script of a shell
    Completions(completions::Args),
    /// The manual pages, one for each verb
    Man(man::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_may_stand_before_and_after_the_verb() {
        for line in [
            "ganger --team red -o json task list",
            "ganger task list --team red -o json",
            "ganger task --team red list --output json",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();

            assert_eq!(cli.globals.team.as_deref(), Some("red"), "{line}");
            assert_eq!(cli.globals.output, Some(Format::Json), "{line}");
        }
    }

    #[test]
    fn every_line_of_the_help_parses() {
        for line in [
            "ganger team create red --lead ann --hosted bob=shell --with carol",
            "ganger team show red",
            "ganger task create Fix --blocked-by 1,2 --type shell --prompt true --output-glob out/**",
            "ganger task create Fix --time-limit 5m --priority high --label a --label b --metadata {}",
            "ganger task list --status in-progress --ready --limit 3",
            "ganger task update 3 --status completed --result done --expected-revision 7",
            "ganger task claim 3",
            "ganger task cancel 3 --reason why",
            "ganger task watch --until-done",
            "ganger run --type shell true",
            "ganger run --type shell --file script.sh --input a.txt=in/a.txt --detach",
            "ganger logs 3 --attempt 1 --no-follow",
            "ganger artifact get 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
            "ganger artifact put report.md",
            "ganger watch --after 0",
            "ganger fleet workers",
            "ganger fleet status --timeout 3s",
            "ganger fleet types",
            "ganger healthcheck --service readiness --addr 127.0.0.1:1",
            "ganger completions bash",
            "ganger man",
            "ganger man share/man/man1",
            "ganger task list --because-of 12 --on-behalf-of carol",
            "ganger up --data-dir data --sandbox none --slots 3",
            "ganger demo --repo . --keep --sandbox none --out report",
            "ganger doctor --data-dir data",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn senseless_lines_are_wrong_usage() {
        for line in [
            "ganger",
            "ganger task show three",
            "ganger task list --ready --blocked",
            "ganger task update 3 --owner a --no-owner",
            "ganger run true",
            "ganger run --type shell",
            "ganger run --type shell --file a true",
            "ganger task list --timeout soon",
            "ganger artifact get abc",
            "ganger task create x --metadata [1]",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();

            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
