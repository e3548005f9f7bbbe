//! Ends the process when a commit hangs.
//!
//! A deadlock inside the database shows neither an error nor load. Nobody would be told anything
//! any more, and nobody would restart the process; a restart, on the other hand, is safe at any
//! moment.

use std::{
    fmt::Write,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Looks so many times in a limit.
const LOOKS: u32 = 4;

/// Watches over commits from a thread of its own.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// Counts begins and ends: odd while a commit is under way.
    turns: Arc<AtomicU64>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Aborts the process when a commit takes longer than `limit`.
    pub(super) fn aborting_after(limit: Duration) -> std::io::Result<Self> {
        Self::new(limit, move || {
            let threads = threads();
            tracing::error!(?limit, threads, "a commit hangs: ending the process");
            std::process::abort();
        })
    }

    fn new(limit: Duration, mut hangs: impl FnMut() + Send + 'static) -> std::io::Result<Self> {
        let turns = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = mpsc::channel();
        let watched = turns.clone();
        let thread = thread::Builder::new()
            .name("store-watchdog".to_owned())
            .spawn(move || {
                let mut last = 0;
                let mut looks = 0;
                // It ends when the store does, by losing its sender.
                while stopped.recv_timeout(limit / LOOKS) == Err(RecvTimeoutError::Timeout) {
                    let turn = watched.load(Ordering::Acquire);
                    let is_stuck = turn % 2 == 1 && turn == last;
                    looks = if is_stuck { looks + 1 } else { 0 };
                    last = turn;
                    if looks == LOOKS {
                        hangs();
                    }
                }
            })?;
        Ok(Self {
            turns,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Watches until the answer is dropped.
    pub(super) fn watch(&self) -> Watch<'_> {
        self.turns.fetch_add(1, Ordering::Release);
        Watch(&self.turns)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ran nothing but the loop above; how it ended changes nothing any more.
            let _ = thread.join();
        }
    }
}

/// A commit under way.
#[derive(Debug)]
pub(super) struct Watch<'a>(&'a AtomicU64);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// What each thread of this process does, as far as the kernel tells.
fn threads() -> String {
    let mut text = String::new();
    for entry in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |name| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let (name, waits, call) = (read("comm"), read("wchan"), read("syscall"));
        let call = call.split(' ').next().unwrap_or_default();
        // Writing to a string can't fail.
        let _ = write!(text, "{} in {waits} (call {call}); ", name.trim());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(40);

    #[test]
    fn a_commit_that_does_not_end_is_told() {
        let (tell, told) = mpsc::channel();
        let watchdog = Watchdog::new(LIMIT, move || tell.send(()).unwrap()).unwrap();

        let watch = watchdog.watch();

        told.recv_timeout(Duration::from_secs(60)).unwrap();
        drop(watch);
    }

    #[test]
    fn commits_that_end_are_left_alone() {
        let (tell, told) = mpsc::channel();
        let watchdog = Watchdog::new(LIMIT, move || tell.send(()).unwrap()).unwrap();

        for _ in 0..3 {
            drop(watchdog.watch());
        }

        assert!(told.recv_timeout(LIMIT * 3).is_err());
    }

    #[test]
    fn threads_are_named_with_what_they_wait_for() {
        assert!(threads().contains(" in "), "{}", threads());
    }
}
