//! `ganger mcp`: the tools of lead agents for any MCP client, over stdin and stdout.
//!
//! The tools, their schemas and their answers are the coordinator's (`ToolService`); what is added
//! here is what a session needs: which team it speaks in since it made one, which mail it has read,
//! progress while a call waits, patience when the coordinator restarts meanwhile, and the tools as
//! this program knows them where no coordinator tells its own. Nothing but the protocol goes to
//! stdout.

mod bridge;
mod json;
mod progress;
mod server;
mod session;
mod transport;

use rmcp::{ServiceExt as _, service::ServerInitializeError};

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
that it makes. A member that isn't on the team's roster is refused at once. An answer has up to
64 KiB and says how to read on; a line from the client may have 8 MiB. GANGER_LOG=info logs to
stderr.")]
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
    let serving = match server.clone().serve(transport::Stdio::open()).await {
        Ok(serving) => serving,
        // A client that went away before it said anything.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(Exit::Done),
        // The client has been told why.
        Err(ServerInitializeError::InitializeFailed(error)) => {
            return Err(server
                .refused()
                .unwrap_or_else(|| Failure::local(error.to_string())));
        }
        Err(error) => return Err(Failure::local(format!("no MCP client: {error}"))),
    };
    let peer = serving.peer().clone();
    let ended = tokio::select! {
        ended = serving.waiting() => ended,
        never = server.tell_changes(peer) => match never {},
    };
    match ended {
        Ok(_) => Ok(Exit::Done),
        Err(error) => Err(Failure::local(format!("the server broke: {error}"))),
    }
}
