//! Values on the command line, and what they are on the wire.

use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use ganger_proto::v1;

/// A task's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Status {
    /// Not begun
    Pending,
    /// Claimed, or given to a worker
    #[value(alias = "in_progress")]
    InProgress,
    /// Done
    Completed,
    /// Ended without what was wanted
    Failed,
    /// Called off
    Cancelled,
}

/// How soon a task should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Priority {
    /// When nothing else is to do
    Low,
    /// As most
    Normal,
    /// Soon
    High,
    /// First
    Critical,
}

/// What kind of work a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Work
    Work,
    /// Looks at whether other work is right
    Verification,
}

/// What becomes of a task when its tries are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// It failed
    Fail,
    /// It is held until somebody resumes or cancels it
    Pause,
    /// It is held, and nobody's any more
    Release,
}

/// The order of a list of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// By id
    Id,
    /// The most urgent first; what is over comes last
    Priority,
    /// Each task before its children
    Tree,
}

/// What becomes of a task when a blocker fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BlockerFailed {
    /// It stays blocked
    Wait,
    /// It is cancelled
    Cancel,
    /// It goes ahead
    Proceed,
}

impl From<Status> for v1::TaskStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::InProgress => Self::InProgress,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Priority> for v1::TaskPriority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
            Priority::Critical => Self::Critical,
        }
    }
}

impl From<Kind> for v1::TaskKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Work => Self::Work,
            Kind::Verification => Self::Verification,
        }
    }
}

impl From<BlockerFailed> for v1::BlockerFailedPolicy {
    fn from(policy: BlockerFailed) -> Self {
        match policy {
            BlockerFailed::Wait => Self::Wait,
            BlockerFailed::Cancel => Self::Cancel,
            BlockerFailed::Proceed => Self::Proceed,
        }
    }
}

impl From<OnFailure> for v1::FailurePolicy {
    fn from(policy: OnFailure) -> Self {
        match policy {
            OnFailure::Fail => Self::Fail,
            OnFailure::Pause => Self::Pause,
            OnFailure::Release => Self::Release,
        }
    }
}

impl From<Order> for v1::TaskOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Id => Self::Id,
            Order::Priority => Self::Priority,
            Order::Tree => Self::Tree,
        }
    }
}

/// The number of an enum on the wire; 0, "not said", where there is none.
pub fn number<C: Into<W>, W: Into<i32>>(value: Option<C>) -> i32 {
    value.map_or(0, |value| value.into().into())
}

/// A span such as `30s` or `1h 30m`.
///
/// # Errors
/// Where it is none.
pub fn span(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// A time: `2026-11-21T14:00:00Z`, or a span from now.
///
/// # Errors
/// Where it is neither.
pub fn time(text: &str) -> Result<pbjson_types::Timestamp, String> {
    let at = match humantime::parse_duration(text) {
        Ok(span) => SystemTime::now()
            .checked_add(span)
            .ok_or("is too far away")?,
        Err(_) => humantime::parse_rfc3339_weak(text)
            .map_err(|_| "is neither a span (2h) nor a time (2026-11-21T14:00:00Z)")?,
    };
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| "is before 1970")?;
    Ok(pbjson_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).map_err(|_| "is too far away")?,
        nanos: i32::try_from(since.subsec_nanos()).map_err(|_| "is too far away")?,
    })
}

/// A span as the wire has it.
pub fn wire_span(span: Duration) -> pbjson_types::Duration {
    pbjson_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// A JSON object.
///
/// # Errors
/// Where it is none.
pub fn object(text: &str) -> Result<pbjson_types::Struct, String> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(object)) => {
            serde_json::from_value(object.into()).map_err(|error| error.to_string())
        }
        Ok(_) => Err("is JSON, but not an object".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// A name with a value.
///
/// # Errors
/// Where it is none.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("is not KEY=VALUE".into()),
    }
}

/// A SHA-256: 64 hexadecimal digits.
///
/// # Errors
/// Where it is none.
pub fn sha256(text: &str) -> Result<String, &'static str> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("is no SHA-256: 64 hexadecimal digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_an_object_and_keeps_its_nulls() {
        let object = object(r#"{"a": 1, "b": null}"#).unwrap();

        assert_eq!(
            serde_json::to_string(&object).unwrap().len(),
            r#"{"a":1.0,"b":null}"#.len()
        );
        assert!(super::object("[]").is_err());
        assert!(super::object("{").is_err());
    }

    #[test]
    fn deadline_is_a_time_or_a_span_from_now() {
        let at = time("2026-11-21T14:00:00Z").unwrap();
        assert_eq!(at.seconds, 1_795_269_600);

        assert!(time("1h").unwrap().seconds > 1_600_000_000);
        assert!(time("tomorrow").is_err());
        assert!(time("1000000000000000y").is_err());
    }
}
