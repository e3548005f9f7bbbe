//! The one place where the coordinator reads the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use board::time::Time;

/// Runs something, and says how long it took.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let answer = run();
    (answer, began.elapsed())
}

/// Wall time at its start, carried on by the monotonic clock: it never goes back, and never lies
/// below the last committed moment, whatever happens to the machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall_at_start: Time,
    start: Instant,
}

impl Clock {
    /// Starts a clock that never says less than `floor`.
    pub fn start(floor: Time) -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            });
        Self {
            wall_at_start: Time(wall).max(floor),
            start: Instant::now(),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        self.wall_at_start + self.start.elapsed()
    }

    /// The monotonic moment at which [`Clock::now`] will say `time`.
    pub fn instant_of(&self, time: Time) -> Instant {
        self.start + time.since(self.wall_at_start)
    }
}
