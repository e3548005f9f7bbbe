//! How long a worker's attempts are its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use board::time::Time;

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

/// When a worker was last heard of. Its session writes it on receipt, whatever the driver is busy
/// with: so a slow disk never looks like a silent worker.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<AtomicI64>);

impl Heard {
    /// Heard at this moment.
    pub fn at(now: Time) -> Self {
        Self(Arc::new(AtomicI64::new(now.0)))
    }

    /// Notes a sign of life.
    pub fn note(&self, now: Time) {
        self.0.fetch_max(now.0, Ordering::Relaxed);
    }

    /// The last one.
    pub fn last(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}
