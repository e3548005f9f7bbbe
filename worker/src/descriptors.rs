//! Open files: how many this process may have, and how many attempts that is enough for.
//!
//! The soft limit is often 1,024, for programs that use `select`. This one doesn't, so it is raised
//! to the hard one. Sub-agents don't inherit that: their limit is their agent type's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sandbox::CollectLimits;

/// Kept for the worker itself: its connections, its runtime, the artifacts that are carried, and what
/// starting a program takes for a moment.
const OWN: u64 = 64;

/// What a running attempt has open: its control socket, two handles of its processes, standard input,
/// output and error, the program's status, and a file for long output.
pub(crate) const PER_ATTEMPT: u64 = 8;

/// Attempts whose outputs are collected at once, at the most.
const COLLECTIONS_MAX: u64 = 16;

/// How a worker's descriptors are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// How many the process may have.
    pub limit: u64,
    /// Attempts that they are enough for, those in lent slots included.
    pub attempts: usize,
    /// Attempts whose outputs are collected at once.
    pub collections: usize,
    /// Files of one collection, each of which is open until it is uploaded.
    pub collected_files: usize,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, and shares out what there is then.
    pub(crate) fn raise() -> Self {
        let limits = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limits.maximum,
            maximum: limits.maximum,
        };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limits.maximum,
            Err(error) => {
                tracing::warn!(%error, "the limit of open files can't be raised");
                limits.current
            }
        };
        Self::shared_out(limit.unwrap_or(u64::MAX))
    }

    /// How so many descriptors are shared out.
    pub fn shared_out(limit: u64) -> Self {
        let files = (CollectLimits::default().files as u64).min(limit / 4);
        let collections = (limit / 8 / files.max(1)).clamp(1, COLLECTIONS_MAX);
        let left = limit.saturating_sub(OWN + collections * files);
        let whole = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            limit,
            attempts: whole(left / PER_ATTEMPT),
            collections: whole(collections),
            collected_files: whole(files),
        }
    }

    /// Slots that they are enough for, where each may be lent on to so many borrowers, one below the
    /// other.
    pub(crate) fn slots(&self, borrowers: u32) -> usize {
        self.attempts / (borrowers as usize + 1)
    }

    /// The least limit that is enough for one slot.
    pub(crate) fn least(borrowers: u32) -> u64 {
        let is_enough = |limit: &u64| Self::shared_out(*limit).slots(borrowers) > 0;
        (0..=u64::MAX).find(is_enough).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_for_the_worker_and_for_outputs() {
        let of = |limit| {
            let shared = Descriptors::shared_out(limit);
            (shared.attempts, shared.collections, shared.collected_files)
        };

        assert_eq!(of(0), (0, 1, 0));
        assert_eq!(of(90), (0, 1, 22));
        assert_eq!(of(256), (16, 1, 64));
        assert_eq!(of(1_024), (88, 1, 256));
        assert_eq!(of(20_000), (2_204, 9, 256));
        assert_eq!(of(1 << 20), (130_552, 16, 256));
        for limit in 0..5_000 {
            let of = Descriptors::shared_out(limit);
            let used = of.attempts as u64 * PER_ATTEMPT
                + (of.collections * of.collected_files) as u64
                + OWN;
            assert!(of.attempts == 0 || used <= limit, "{of:?}");
        }
    }

    #[test]
    fn lent_slots_take_their_part() {
        let of = Descriptors::shared_out(256);

        assert_eq!([0, 1, 3].map(|borrowers| of.slots(borrowers)), [16, 8, 4]);
        let least = Descriptors::least(3);
        assert_eq!(Descriptors::shared_out(least).slots(3), 1);
        assert_eq!(Descriptors::shared_out(least - 1).slots(3), 0);
    }
}
