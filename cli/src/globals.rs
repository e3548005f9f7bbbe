//! The options that go for every verb.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{output::Format, values::span};

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
    /// The member to speak as: NAME or NAME@TEAM, and /INCARNATION [default: the team's lead]
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
