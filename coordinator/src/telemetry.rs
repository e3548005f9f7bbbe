//! Log lines of a daemon: to stderr, for people or as JSON, filtered by `GANGER_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

/// Begins to log. What was not said otherwise is told from `info` on.
pub fn init(as_json: bool) {
    let filter =
        EnvFilter::try_from_env("GANGER_LOG").unwrap_or_else(|_| EnvFilter::new("info,sled=warn"));
    let lines = fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A subscriber that is set already, by an embedding program, stays.
    let set = if as_json {
        tracing::subscriber::set_global_default(lines.json().finish())
    } else {
        tracing::subscriber::set_global_default(lines.finish())
    };
    if set.is_err() {
        tracing::debug!("logging was set up before");
    }
}
