//! How a worker is told to end: drain first, then now. Signals are read here and nowhere else.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// How far a worker is to go down. It only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving,
    Draining,
    Now,
}

/// A handle on a worker's end. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<Stage>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A handle that hasn't been used.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Stage::Serving)))
    }

    /// No new work; what runs gets the drain time; then the worker ends.
    pub fn drain(&self) {
        self.reach(Stage::Draining);
    }

    /// Kills what runs and ends at once.
    pub fn now(&self) {
        self.reach(Stage::Now);
    }

    /// What was reached already is told as a change too.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Stage> {
        let mut reached = self.0.subscribe();
        reached.mark_changed();
        reached
    }

    fn reach(&self, stage: Stage) {
        self.0.send_if_modified(|reached| {
            let further = stage > *reached;
            *reached = stage.max(*reached);
            further
        });
    }

    /// Drains at the first SIGTERM or SIGINT and ends at once at the second. Never returns; drop it
    /// when the worker has ended.
    pub async fn follow_signals(&self) -> io::Result<std::convert::Infallible> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        for stage in [Stage::Draining, Stage::Now] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, stage = ?stage, "asked to end");
            self.reach(stage);
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_only_grow() {
        let shutdown = Shutdown::new();
        let reached = shutdown.subscribe();

        shutdown.now();
        shutdown.drain();

        assert_eq!(*reached.borrow(), Stage::Now);
    }
}
