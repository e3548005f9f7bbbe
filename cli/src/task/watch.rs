//! `ganger task watch`: the live board.

use crate::{
    board::{Board, live},
    context::Context,
    failure::{Exit, Failure},
    follow::Events,
};

/// Until when.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On a terminal the board is drawn again as it changes; elsewhere each event is a line, with
-o json an object.")]
pub struct Args {
    /// End when no task is pending or in progress: exit 0, or 3 where a task failed
    #[arg(long)]
    until_done: bool,
}

/// Watches until it is interrupted, or all is done.
///
/// # Errors
/// Where the coordinator refuses, or is away for too long.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let start = Board::load(&client).await?;
    let events = Events::after(&client, Some(start.revision()));
    let done = |board: &Board| args.until_done && board.is_done();
    let end = live(&client, context.out, events, done).await?;
    let failed = end.counts().failed > 0;
    Ok(if failed { Exit::TaskFailed } else { Exit::Done })
}
