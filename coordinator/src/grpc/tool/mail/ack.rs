//! Which messages were read, as a text that a model can say back.

use serde_json::{Value, json};

use crate::grpc::tool::args::{Argument, Wrong};

/// Ids of messages, `3-7,9`: in order, neighbours as a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack(pub String);

/// More than any answer of read_messages told.
const IDS_MAX: usize = 1_000;

impl Ack {
    /// What says that these were read.
    pub fn of(ids: impl Iterator<Item = u64>) -> Self {
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for id in ids {
            match spans.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
                _ => spans.push((id, id)),
            }
        }
        let told = spans.iter().map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        });
        Self(told.collect::<Vec<_>>().join(","))
    }

    /// The ids; none of what is no such text.
    pub fn ids(&self) -> Vec<u64> {
        parse(&self.0).unwrap_or_default()
    }
}

impl Argument for Ack {
    fn schema() -> Value {
        json!({"type": "string"})
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(Wrong::value(&value, MUST_BE)),
        };
        match parse(&text) {
            Some(_) => Ok(Self(text)),
            None => Err(Wrong::value(&value, MUST_BE)),
        }
    }
}

const MUST_BE: &str = "the ack of an answer of read_messages, such as \"3-7,9\"";

/// None where it is no such text, or names more than anybody read.
fn parse(text: &str) -> Option<Vec<u64>> {
    let mut ids = Vec::new();
    for span in text.split(',').filter(|span| !span.trim().is_empty()) {
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let len = usize::try_from(last.checked_sub(first)?).ok()?;
        if first == 0 || ids.len() + len >= IDS_MAX {
            return None;
        }
        ids.extend(first..=last);
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_comes_back_as_the_same_ids() {
        for (ids, text) in [
            (vec![], ""),
            (vec![7], "7"),
            (vec![3, 4, 5, 6, 7, 9], "3-7,9"),
            (vec![1, 3, 4], "1,3-4"),
        ] {
            let ack = Ack::of(ids.iter().copied());

            assert_eq!(ack.0, text);
            assert_eq!(Ack::read(text.into()).unwrap().ids(), ids);
        }
    }

    #[test]
    fn what_nobody_read_is_refused() {
        for text in [
            "x",
            "0",
            "5-3",
            "1-99999999",
            "18446744073709551615-0",
            "1-2-3",
            "-",
        ] {
            assert!(Ack::read(text.into()).is_err(), "{text}");
        }
        assert!(Ack::read(json!(["1"])).is_err());
    }
}
