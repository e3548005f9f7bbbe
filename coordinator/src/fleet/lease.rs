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

use super::SessionId;

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

/// Heartbeats in a second that a fleet of any size is to bring when it dials in as it is. A worker
/// keeps the spans of its stream, so one that has grown brings more until its first ones dial again:
/// about 1,200 where 10,000 came one after another.
const HEARTBEATS_PER_SECOND: u32 = 500;

impl Leases {
    /// The spans of a worker in a fleet of this size: a large one is heard less often, and every
    /// span within which it must be heard is longer in the same ratio.
    #[must_use]
    pub fn stretched(&self, workers: usize) -> Self {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let heartbeat = Duration::from_secs(1) * workers / HEARTBEATS_PER_SECOND;
        if heartbeat <= self.heartbeat {
            return *self;
        }
        let ratio = heartbeat.as_secs_f64() / self.heartbeat.as_secs_f64();
        Self {
            heartbeat,
            silence: self.silence.mul_f64(ratio),
            lease: self.lease.mul_f64(ratio),
            ..*self
        }
    }

    /// How long after its Welcome a worker's first heartbeat is due: another part of the interval
    /// for each stream, so that a fleet that dials in at once doesn't beat at once. Multiples of
    /// the golden ratio fall evenly, however many there are of them.
    pub fn first_heartbeat(&self, session: SessionId) -> Duration {
        /// Its fraction, in parts of 2⁶⁴.
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let part = session.0.wrapping_mul(GOLDEN) >> 32;
        self.heartbeat.mul_f64(part as f64 / 2_f64.powi(32))
    }
}

/// The longest that is kept of what a sub-agent says that it is doing, in bytes.
pub const DOING_LEN_MAX: usize = 500;

/// Attempts of one process whose progress is remembered: more than it can have at once.
const ATTEMPTS_HEARD_MAX: usize = 2 * board::limits::SLOTS_MAX as usize;

/// When a worker was last heard of, and how its attempts get on. Its session writes it on receipt,
/// whatever the driver is busy with: so a slow disk never looks like a silent worker, nor like an
/// idle sub-agent. No commit is made for any of it.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    last: Arc<AtomicI64>,
    attempts: Arc<Mutex<BTreeMap<Fence, Progressed>>>,
}

/// How an attempt gets on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progressed {
    /// When it last made progress.
    pub at: Time,
    /// What its sub-agent says that it is doing, in one line.
    pub doing: Arc<str>,
}

impl Heard {
    /// Heard at this moment.
    pub fn at(now: Time) -> Self {
        Self {
            last: Arc::new(AtomicI64::new(now.0)),
            attempts: Arc::default(),
        }
    }

    /// The same process is heard again, by another stream: what it said before still counts.
    #[must_use]
    pub fn again(&self, now: Time) -> Self {
        let attempts = self.attempts().clone();
        Self {
            attempts: Arc::new(Mutex::new(attempts)),
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

    /// Notes that an attempt made progress, and what its sub-agent says that it is doing, where it
    /// has said something new.
    pub fn note_progress(&self, fence: &Fence, doing: Option<&str>, now: Time) {
        let mut attempts = self.attempts();
        if attempts.len() == ATTEMPTS_HEARD_MAX && !attempts.contains_key(fence) {
            attempts.pop_first();
        }
        let progressed = attempts.entry(*fence).or_insert_with(|| Progressed {
            at: now,
            doing: "".into(),
        });
        progressed.at = now;
        if let Some(doing) = doing {
            progressed.doing = one_line(doing).into();
        }
    }

    /// An attempt is over.
    pub fn forget(&self, fence: &Fence) {
        self.attempts().remove(fence);
    }

    /// How an attempt gets on, as far as this process of the coordinator saw any progress.
    pub fn progress(&self, fence: &Fence) -> Option<Progressed> {
        self.attempts().get(fence).cloned()
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<Fence, Progressed>> {
        // Nothing that holds this lock can panic half way through a change.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A text as one line of a board: without control characters, and cut where it is long.
fn one_line(text: &str) -> String {
    const MARK: char = '…';
    let is_long = text.trim().len() > DOING_LEN_MAX;
    let max = DOING_LEN_MAX - if is_long { MARK.len_utf8() } else { 0 };
    let mut line = String::new();
    for c in text.trim().chars() {
        let c = if c.is_control() { ' ' } else { c };
        if line.len() + c.len_utf8() > max {
            line.push(MARK);
            break;
        }
        line.push(c);
    }
    line
}
