//! Open files: how many this process may have, and who gets them.
//!
//! The soft limit is often 1,024, for programs that use `select`; this one doesn't. So it is raised
//! to the hard one. What is left of it after a reserve for own files is for connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What own files take at the least, and the most that is kept for them.
const RESERVE_MIN: u64 = 64;
const RESERVE_MAX: u64 = 2_048;

/// Connections, however many descriptors there are: three of each of 10,000 workers, and others.
const CONNECTIONS_MAX: u64 = 32_768;

/// Artifacts that are carried at once in each direction, each of which has a file open.
const TRANSFERS_MAX: u64 = 256;

/// How this process' descriptors are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// How many it may have.
    pub limit: u64,
    /// Kept for own files.
    pub reserve: u64,
    /// For connections.
    pub connections: usize,
    /// For uploads, and as many for downloads: out of the reserve.
    pub transfers: usize,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, and shares out what there is then.
    pub fn raise() -> Self {
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
        let reserve = (limit / 2).clamp(RESERVE_MIN, RESERVE_MAX);
        let connections = limit.saturating_sub(reserve).clamp(1, CONNECTIONS_MAX);
        let transfers = (reserve / 4).min(TRANSFERS_MAX);
        let whole = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            limit,
            reserve,
            connections: whole(connections),
            transfers: whole(transfers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_of_any_number_of_descriptors() {
        let of = |limit| {
            let shared = Descriptors::shared_out(limit);
            (shared.reserve, shared.connections, shared.transfers)
        };

        assert_eq!(of(1_024), (512, 512, 128));
        assert_eq!(of(256), (128, 128, 32));
        assert_eq!(of(100), (64, 36, 16));
        assert_eq!(of(10), (64, 1, 16));
        assert_eq!(of(20_000), (2_048, 17_952, 256));
        assert_eq!(of(u64::MAX), (2_048, 32_768, 256));
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let raised = Descriptors::raise();

        let limits = getrlimit(Resource::Nofile);
        assert_eq!(limits.current, limits.maximum);
        assert_eq!(raised.limit, limits.maximum.unwrap_or(u64::MAX));
    }
}
