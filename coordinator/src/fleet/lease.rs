//! How long a worker's attempts are its own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use board::{id::Fence, time::Time};

/// The spans by which workers are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leases {
    /// How often a worker says that it lives.
    pub heartbeat: Duration,
    /// How long a worker may be silent before it counts as unreachable.
    pub silence: Duration,
    /// How long after its last sign of life its attempts are its own.
    pub lease: Duration,
    /// The same for a worker that is played by hand, from the end of its stream.
    pub manual_lease: Duration,
    /// How long after a start of the coordinator, or of a stream, the attempts that a worker may
    /// still report on are left alone.
    pub grace: Duration,
    /// How long after its Hello a worker has to repeat its reports before its attempts' own
    /// clocks count again.
    pub settling: Duration,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            silence: Duration::from_secs(10),
            lease: Duration::from_secs(15),
            manual_lease: Duration::from_secs(600),
            grace: Duration::from_secs(60),
            settling: Duration::from_secs(10),
        }
    }
}

/// Attempts of one process whose progress is remembered: more than it can have at once.
const ATTEMPTS_HEARD_MAX: usize = 2 * board::limits::SLOTS_MAX as usize;

/// When a worker was last heard of, and when its attempts made progress. Its session writes it on
/// receipt, whatever the driver is busy with: so a slow disk never looks like a silent worker, nor
/// like an idle sub-agent.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    last: Arc<AtomicI64>,
    progress: Arc<Mutex<BTreeMap<Fence, Time>>>,
}

impl Heard {
    /// Heard at this moment.
    pub fn at(now: Time) -> Self {
        Self {
            last: Arc::new(AtomicI64::new(now.0)),
            progress: Arc::default(),
        }
    }

    /// The same process is heard again, by another stream: what it said before still counts.
    #[must_use]
    pub fn again(&self, now: Time) -> Self {
        let progress = self.attempts().clone();
        Self {
            progress: Arc::new(Mutex::new(progress)),
            ..Self::at(now)
        }
    }

    /// Notes a sign of life.
    pub fn note(&self, now: Time) {
        self.last.fetch_max(now.0, Ordering::Relaxed);
    }

    /// The last one.
    pub fn last(&self) -> Time {
        Time(self.last.load(Ordering::Relaxed))
    }

    /// Notes that an attempt made progress.
    pub fn note_progress(&self, fence: &Fence, now: Time) {
        let mut attempts = self.attempts();
        if attempts.len() == ATTEMPTS_HEARD_MAX && !attempts.contains_key(fence) {
            attempts.pop_first();
        }
        attempts.insert(*fence, now);
    }

    /// An attempt is over.
    pub fn forget(&self, fence: &Fence) {
        self.attempts().remove(fence);
    }

    /// When an attempt last made progress, as far as this process of the coordinator saw any.
    pub fn progress(&self, fence: &Fence) -> Option<Time> {
        self.attempts().get(fence).copied()
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<Fence, Time>> {
        // Nothing that holds this lock can panic half way through a change.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
