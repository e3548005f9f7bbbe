//! `ganger mcp`: the tools of lead agents for any MCP client, over stdin and stdout.
//!
//! The tools, their schemas and their answers are the coordinator's (`ToolService`); what is added
//! here is what a session needs: which team it speaks in since it made one, which mail it has read,
//! progress while a call waits, and patience when the coordinator restarts meanwhile. Nothing but
//! the protocol goes to stdout.

mod bridge;
mod json;
mod progress;
mod server;
mod session;

use rmcp::{ServiceExt as _, service::ServerInitializeError, transport::io::stdio_pipes};

use crate::{
    config::wants_log,
    context::Context,
    failure::{Exit, Failure},
};

/// How.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An MCP client starts it as a subprocess. For Claude Code:
  claude mcp add ganger -- ganger mcp
Elsewhere, in the client's configuration:
  {\"mcpServers\": {\"ganger\": {\"command\": \"ganger\", \"args\": [\"mcp\"]}}}
--team and --member say who the agent is; without them it leads the team `default`, or the team
that it makes. GANGER_LOG=info logs to stderr.")]
pub struct Args {}

/// Serves until the client closes stdin.
///
/// # Errors
/// Where what comes is no MCP.
pub async fn run(Args {}: Args, context: &Context) -> Result<Exit, Failure> {
    if wants_log() {
        ganger_coordinator::telemetry::init(false);
    }
    let server = server::Server::new(bridge::Bridge::new(context.settings.clone()));
    let serving = match server.serve(stdio_pipes()).await {
        Ok(serving) => serving,
        // A client that went away before it said anything.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(Exit::Done),
        Err(error) => return Err(Failure::local(format!("no MCP client: {error}"))),
    };
    match serving.waiting().await {
        Ok(_) => Ok(Exit::Done),
        Err(error) => Err(Failure::local(format!("the server broke: {error}"))),
    }
}
