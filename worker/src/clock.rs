//! The only place of the worker that reads time.

use std::time::{Duration, Instant, SystemTime};

/// The monotonic clock: leases, limits and delays are measured on it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, for what people and other machines read.
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// A wall time as it goes on the wire.
pub(crate) fn timestamp(at: SystemTime) -> pbjson_types::Timestamp {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    pbjson_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}

/// A wall time from the wire; what lies outside of this machine's times is none.
pub(crate) fn system_time(at: &pbjson_types::Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(at.seconds).ok()?;
    let nanos = u32::try_from(at.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

/// A span from the wire; negative ones are zero.
pub(crate) fn span(span: &pbjson_types::Duration) -> Duration {
    let seconds = u64::try_from(span.seconds).unwrap_or(0);
    let nanos = u32::try_from(span.nanos).unwrap_or(0).min(999_999_999);
    Duration::new(seconds, nanos)
}

/// A span from the wire, or another where none was given.
pub(crate) fn given_or(given: Option<&pbjson_types::Duration>, otherwise: Duration) -> Duration {
    given
        .map(span)
        .filter(|given| !given.is_zero())
        .unwrap_or(otherwise)
}
