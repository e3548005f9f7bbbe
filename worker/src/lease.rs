//! The worker's own view of its lease: it runs from the *sending* of the last heartbeat that was
//! acknowledged, so it is over here no later than at the coordinator.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::limits::BEATS_MAX;

/// A lease that hasn't begun is not valid, and not over either.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lease {
    span: Duration,
    until: Option<Instant>,
    /// Heartbeats of this stream that may still be acknowledged.
    beats: VecDeque<(u64, Instant)>,
}

impl Lease {
    /// A stream is up: its Hello counts as a heartbeat.
    pub fn begin(&mut self, hello_sent_at: Instant, span: Duration) {
        self.span = span;
        self.until = Some(hello_sent_at + span);
    }

    /// Notes a heartbeat before it is sent.
    pub fn sent(&mut self, sequence: u64, at: Instant) {
        if self.beats.len() == BEATS_MAX {
            self.beats.pop_front();
        }
        self.beats.push_back((sequence, at));
    }

    /// Renews by a heartbeat that was noted.
    pub fn acknowledged(&mut self, sequence: u64) {
        while let Some((sent, at)) = self
            .beats
            .front()
            .copied()
            .filter(|(sent, _)| *sent <= sequence)
        {
            self.beats.pop_front();
            if sent == sequence {
                self.renew(at);
            }
        }
    }

    /// The stream is gone, and its sequence with it.
    pub fn forget_beats(&mut self) {
        self.beats.clear();
    }

    /// When it is or was over.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether something may begin under it.
    pub fn is_valid(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn renew(&mut self, from: Instant) {
        let until = from + self.span;
        self.until = Some(self.until.map_or(until, |old| old.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(15);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_lease_runs_from_the_sending_of_what_was_acknowledged() {
        let t0 = Instant::now();
        let mut lease = Lease::default();
        assert!(!lease.is_valid(t0));

        lease.begin(t0, SPAN);
        lease.sent(1, t0 + 5 * SECOND);
        lease.sent(2, t0 + 10 * SECOND);
        assert_eq!(lease.until(), Some(t0 + 15 * SECOND));

        lease.acknowledged(1);
        assert_eq!(lease.until(), Some(t0 + 20 * SECOND));

        lease.acknowledged(2);
        lease.acknowledged(1);
        lease.acknowledged(7);
        assert_eq!(lease.until(), Some(t0 + 25 * SECOND));
        assert!(lease.is_valid(t0 + 24 * SECOND) && !lease.is_valid(t0 + 25 * SECOND));
    }

    #[test]
    fn an_acknowledgement_of_an_earlier_stream_renews_nothing() {
        let t0 = Instant::now();
        let mut lease = Lease::default();
        lease.begin(t0, SPAN);
        lease.sent(1, t0 + SECOND);

        lease.forget_beats();
        lease.acknowledged(1);

        assert_eq!(lease.until(), Some(t0 + SPAN));
    }
}
