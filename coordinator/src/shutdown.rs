//! The one place where the coordinator hears signals.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that a second signal ended at once.
const INTERRUPTED: i32 = 130;

/// A token that the first SIGTERM or SIGINT cancels. A second one ends the process at once.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    // It lives as long as the process, and ends with it.
    tokio::spawn(async move {
        let mut heard = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let signal = heard().await;
        tracing::info!(signal, "stopping; a second signal ends the process at once");
        stopping.cancel();
        let signal = heard().await;
        tracing::warn!(signal, "ending at once");
        std::process::exit(INTERRUPTED);
    });
    Ok(stop)
}
