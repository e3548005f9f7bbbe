//! Times, and how they are told.

use std::time::{Duration, Instant};

/// Times of single runs.
#[derive(Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn extend(&mut self, other: Times) {
        self.0.extend(other.0);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that this part of the runs did not exceed.
    fn at(&self, part: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0
            .get((last as f64 * part) as usize)
            .copied()
            .unwrap_or_default()
    }

    /// `p50 0.52 ms  p99 1.10 ms  p99.9 3.20 ms  longest 9.00 ms  1000 calls`.
    pub fn tails(&mut self) -> String {
        let told = self.told();
        format!(
            "{told}  p99.9 {}  longest {}  {} calls",
            millis(self.at(0.999)),
            millis(self.at(1.0)),
            self.count()
        )
    }

    /// `p50 0.52 ms  p99 1.10 ms`.
    pub fn told(&mut self) -> String {
        self.0.sort();
        format!(
            "p50 {}  p99 {}",
            millis(self.at(0.5)),
            millis(self.at(0.99))
        )
    }
}

pub fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1_000.0)
}

/// How often something happened, by the second.
pub fn rate(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

pub fn line(name: &str, figure: impl AsRef<str>, goal: &str) {
    println!("{name:<44} {:<38} {goal}", figure.as_ref());
}
