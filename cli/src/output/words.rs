//! The contract's enums, times and spans in words.

use std::time::{Duration, SystemTime};

use ganger_proto::v1;
use owo_colors::Style;

use super::paint;

/// A task's status as on the board line.
pub fn status(status: v1::TaskStatus) -> &'static str {
    match status {
        v1::TaskStatus::Unspecified => "",
        v1::TaskStatus::Pending => "pending",
        v1::TaskStatus::InProgress => "in_progress",
        v1::TaskStatus::Completed => "completed",
        v1::TaskStatus::Failed => "failed",
        v1::TaskStatus::Cancelled => "cancelled",
    }
}

/// Where a task stands, in one coloured word: its phase where that says more than the status.
pub fn standing(task: &v1::Task) -> String {
    let status = task.status();
    let phase = match task.phase() {
        v1::TaskPhase::Unspecified | v1::TaskPhase::Claimed => self::status(status),
        v1::TaskPhase::Blocked => "blocked",
        v1::TaskPhase::Queued => "queued",
        v1::TaskPhase::Dispatched => "dispatched",
        v1::TaskPhase::Running => "running",
        v1::TaskPhase::Stopping => "stopping",
        v1::TaskPhase::BackingOff => "backing_off",
        v1::TaskPhase::Paused => "paused",
        v1::TaskPhase::WaitingForAnswer => "asks",
    };
    let word = if status == v1::TaskStatus::Pending && !task.open_blockers.is_empty() {
        "blocked"
    } else {
        phase
    };
    let style = Style::new();
    paint(
        word,
        match status {
            v1::TaskStatus::Completed => style.green(),
            v1::TaskStatus::Failed => style.red(),
            v1::TaskStatus::Cancelled => style.yellow(),
            v1::TaskStatus::InProgress => style.cyan(),
            v1::TaskStatus::Pending | v1::TaskStatus::Unspecified => style.dimmed(),
        },
    )
}

/// The last word of an enum's name in lower case: `TASK_KIND_WORK` after `TASK_KIND_` is `work`;
/// nothing where it isn't said.
pub fn tail(name: &str, prefix: &str) -> String {
    match name.strip_prefix(prefix) {
        Some("UNSPECIFIED") | None => String::new(),
        Some(word) => word.to_lowercase(),
    }
}

/// What happened, as in `dispatched`.
pub fn event(kind: v1::EventType) -> String {
    tail(kind.as_str_name(), "EVENT_TYPE_").replace('_', " ")
}

/// What a member is doing, as in `waiting for answer`.
pub fn liveness(liveness: v1::MemberLiveness) -> String {
    tail(liveness.as_str_name(), "MEMBER_LIVENESS_").replace('_', " ")
}

/// What a message is, as in `shutdown request`.
pub fn message_type(kind: v1::MessageType) -> String {
    tail(kind.as_str_name(), "MESSAGE_TYPE_").replace('_', " ")
}

/// Task ids as in `#1, #2`.
pub fn ids(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("#{id}")).collect();
    ids.join(", ")
}

/// A time in UTC to the second, as in `2026-11-21T14:00:00Z`; nothing where there is none.
pub fn time(at: Option<&pbjson_types::Timestamp>) -> String {
    match at.and_then(instant) {
        Some(at) => humantime::format_rfc3339_seconds(at).to_string(),
        None => String::new(),
    }
}

/// The time of day in UTC, as in `14:00:00`.
pub fn time_of_day(at: Option<&pbjson_types::Timestamp>) -> String {
    let time = time(at);
    time.get(11..19).unwrap_or_default().to_owned()
}

/// How long ago that was, as in `3m`; nothing where there is none.
pub fn age(at: Option<&pbjson_types::Timestamp>, now: SystemTime) -> String {
    match at.and_then(instant) {
        Some(at) => span(now.duration_since(at).unwrap_or_default()),
        None => String::new(),
    }
}

/// How long a task has run, or did.
pub fn run_time(task: &v1::Task, now: SystemTime) -> Option<Duration> {
    let start = instant(task.started_at.as_ref()?)?;
    let end = task.finished_at.as_ref().and_then(instant).unwrap_or(now);
    Some(end.duration_since(start).unwrap_or_default())
}

/// A span in its largest useful unit: `0.4s`, `12s`, `3m20s`, `5h`, `2d`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..=9 => format!("{}.{}s", seconds, span.subsec_millis() / 100),
        10..=59 => format!("{seconds}s"),
        60..=599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        600..=3_599 => format!("{}m", seconds / 60),
        3_600..=86_399 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A duration of the wire in words; nothing where there is none.
pub fn wire_span(duration: Option<&pbjson_types::Duration>) -> String {
    let Some(duration) = duration else {
        return String::new();
    };
    let seconds = u64::try_from(duration.seconds).unwrap_or(0);
    let nanos = u32::try_from(duration.nanos).unwrap_or(0);
    exact_span(Duration::new(seconds, nanos.min(999_999_999)))
}

/// A span in which milliseconds count.
pub fn exact_span(exact: Duration) -> String {
    match exact < Duration::from_secs(1) {
        true => format!("{}ms", exact.as_millis()),
        false => span(exact),
    }
}

/// A number of bytes, as in `1.5 MiB`.
pub fn bytes(count: i64) -> String {
    indicatif::BinaryBytes(u64::try_from(count).unwrap_or(0)).to_string()
}

/// A time of the wire, where it is one.
pub fn instant(at: &pbjson_types::Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(at.seconds).ok()?;
    let nanos = u32::try_from(at.nanos).ok()?;
    // Far enough for everybody, and no overflow when it is printed.
    let year_9999 = 253_402_300_799;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(
        seconds.min(year_9999),
        nanos.min(999_999_999),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_their_largest_useful_unit() {
        let said = |millis| span(Duration::from_millis(millis));

        assert_eq!(said(0), "0.0s");
        assert_eq!(said(450), "0.4s");
        assert_eq!(said(12_000), "12s");
        assert_eq!(said(200_000), "3m20s");
        assert_eq!(said(3_000_000), "50m");
        assert_eq!(said(18_060_000), "5h01m");
        assert_eq!(said(180_000_000), "2d");
    }

    #[test]
    fn times_are_utc_and_hostile_ones_do_not_panic() {
        let at = pbjson_types::Timestamp {
            seconds: 1_795_269_600,
            nanos: 5,
        };
        assert_eq!(time(Some(&at)), "2026-11-21T14:00:00Z");
        assert_eq!(time_of_day(Some(&at)), "14:00:00");

        for (seconds, nanos) in [(i64::MAX, i32::MAX), (i64::MIN, -1)] {
            let at = pbjson_types::Timestamp { seconds, nanos };
            time(Some(&at));
            age(Some(&at), SystemTime::UNIX_EPOCH);
        }
    }

    #[test]
    fn standing_says_blocked_queued_or_the_status() {
        let plain = |task| console::strip_ansi_codes(&standing(&task)).into_owned();
        let mut task = v1::Task::default();
        task.set_status(v1::TaskStatus::Pending);
        assert_eq!(plain(task.clone()), "pending");

        task.set_phase(v1::TaskPhase::Queued);
        assert_eq!(plain(task.clone()), "queued");

        task.open_blockers = vec![1];
        assert_eq!(plain(task.clone()), "blocked");

        task.set_status(v1::TaskStatus::Completed);
        task.set_phase(v1::TaskPhase::Unspecified);
        assert_eq!(plain(task), "completed");
    }
}
