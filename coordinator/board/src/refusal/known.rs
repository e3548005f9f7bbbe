//! The agent types that there are, as the refusal of another one tells them.

use std::time::Duration;

use crate::{id::AgentTypeName, record::OfferedType, time::Time};

/// An agent type that is known, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownType {
    /// Its name.
    pub name: AgentTypeName,
    /// How it can be had.
    pub offering: Offering,
}

/// How an agent type can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offering {
    /// A connected worker offers it. The board doesn't know which are connected: who does says so.
    Now,
    /// The coordinator was told to expect it.
    Expected,
    /// A worker offered it last at this time.
    Seen(Time),
}

impl KnownType {
    /// As far as the board knows.
    pub(crate) fn of(offered: &OfferedType) -> Self {
        Self {
            name: offered.name.clone(),
            offering: offered.last_seen.map_or(Offering::Expected, Offering::Seen),
        }
    }
}

/// What is offered now, what is expected, and what was seen last when.
pub(super) fn known_text(known: &[KnownType], now: Time) -> String {
    let list = |is_it: fn(Offering) -> bool| -> String {
        let those = known.iter().filter(|known| is_it(known.offering));
        let texts: Vec<String> = those
            .map(|known| match known.offering {
                Offering::Now | Offering::Expected => known.name.to_string(),
                Offering::Seen(at) => format!("{} ({})", known.name, ago_text(now.since(at))),
            })
            .collect();
        texts.join(", ")
    };
    let now = list(|offering| offering == Offering::Now);
    let expected = list(|offering| offering == Offering::Expected);
    let seen = list(|offering| matches!(offering, Offering::Seen(_)));
    let mut text = match now.as_str() {
        "" => "on offer: none".to_owned(),
        now => format!("on offer: {now}"),
    };
    for (what, names) in [("expected", expected), ("last seen", seen)] {
        if !names.is_empty() {
            text.push_str(&format!("; {what}: {names}"));
        }
    }
    text
}

/// How long ago, as exactly as it is known.
fn ago_text(ago: Duration) -> String {
    let hours = ago.as_secs() / 3_600;
    match hours {
        0 => "within the hour".to_owned(),
        1..48 => format!("{hours} h ago"),
        _ => format!("{} days ago", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_by_whether_they_are_offered_expected_or_were_seen() {
        let hour = |hours: i64| Time(hours * 3_600_000);
        let known = |name: &str, offering| KnownType {
            name: AgentTypeName::parse(name).unwrap(),
            offering,
        };
        let all = [
            known("coder", Offering::Now),
            known("gpu", Offering::Expected),
            known("old", Offering::Seen(hour(0))),
            known("shell", Offering::Now),
            known("young", Offering::Seen(hour(71))),
            known("younger", Offering::Seen(hour(72))),
        ];

        assert_eq!(
            known_text(&all, hour(72)),
            "on offer: coder, shell; expected: gpu; \
             last seen: old (3 days ago), young (1 h ago), younger (within the hour)"
        );
        assert_eq!(known_text(&[], hour(72)), "on offer: none");
    }
}
