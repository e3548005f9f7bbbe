//! The kinds of values that tools take. Lenient where the meaning is certain (an id as a number, a
//! list as text, one thing for a list of one), strict otherwise.

use std::time::Duration;

use ganger_proto::v1;
use serde_json::{Value, json};

use super::{
    args::{Argument, Object, Shape, Wrong, object},
    json,
};

/// From here on a number of a Struct may stand for another, whose last digits were lost.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

impl Argument for String {
    const SHAPE: Shape = Shape::Text;

    fn schema() -> Value {
        json!({"type": "string"})
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        match value {
            Value::String(text) => Ok(text),
            Value::Bool(truth) => Ok(truth.to_string()),
            // Some clients make a number of every text that looks like one.
            Value::Number(number) if number.as_f64().is_some_and(|n| n.abs() < EXACT_MAX) => {
                Ok(number.to_string())
            }
            other => Err(Wrong::value(&other, "a text")),
        }
    }
}

impl Argument for bool {
    fn schema() -> Value {
        json!({"type": "boolean"})
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        match &value {
            Value::Bool(truth) => Ok(*truth),
            Value::String(word) if word.trim().eq_ignore_ascii_case("true") => Ok(true),
            Value::String(word) if word.trim().eq_ignore_ascii_case("false") => Ok(false),
            other => Err(Wrong::value(other, "true or false")),
        }
    }
}

/// A list, be it that it comes as text: as JSON, or where its things are numbers, ids or words,
/// with commas between. One thing stands for a list of one.
impl<T: Argument> Argument for Vec<T> {
    const SHAPE: Shape = Shape::List;

    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        let items = match value {
            Value::Array(items) => items,
            Value::String(text) => match listed::<T>(&text) {
                Some(items) => items,
                None => return Ok(vec![T::read(Value::String(text))?]),
            },
            one => return Ok(vec![T::read(one)?]),
        };
        let read = items.into_iter().enumerate().map(|(at, item)| {
            let read = match item {
                Value::Null => Err(Wrong::value(&item, "something")),
                item => T::read(item),
            };
            read.map_err(|wrong| wrong.within(&format!("[{at}]")))
        });
        read.collect()
    }
}

/// The things of a list that comes as text; none where it is one thing.
fn listed<T: Argument>(text: &str) -> Option<Vec<Value>> {
    match (serde_json::from_str(text), T::SHAPE) {
        // Of texts only a list of texts is certain: `[0-9]` may be a pattern.
        (Ok(Value::Array(items)), Shape::Text) => {
            items.iter().all(Value::is_string).then_some(items)
        }
        (Ok(Value::Array(items)), _) => Some(items),
        (_, Shape::Scalar) => {
            let parts = text.split(|letter: char| letter == ',' || letter.is_whitespace());
            let parts = parts.filter(|part| !part.is_empty());
            Some(parts.map(Value::from).collect())
        }
        _ => None,
    }
}

/// A number, be it that it comes as text.
fn plain_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The id of a task or a message: `"3"`, `"#3"` or `3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Id(pub u64);

impl Argument for Id {
    fn schema() -> Value {
        json!({"type": "string"})
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        let id = match &value {
            Value::String(text) => {
                let digits = text.trim();
                digits.strip_prefix('#').unwrap_or(digits).parse().ok()
            }
            Value::Number(number) => number.as_u64(),
            _ => None,
        };
        let id = id.filter(|id| *id > 0);
        id.map(Self)
            .ok_or_else(|| Wrong::value(&value, "an id such as \"3\""))
    }
}

/// The numbers of ids.
pub fn numbers(ids: Option<Vec<Id>>) -> Vec<u64> {
    ids.unwrap_or_default().into_iter().map(|id| id.0).collect()
}

/// Any JSON object.
#[derive(Debug, Clone, PartialEq)]
pub struct AnyObject(pub Object);

impl Argument for AnyObject {
    const SHAPE: Shape = Shape::Object;

    fn schema() -> Value {
        json!({"type": "object"})
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        object(value).map(Self)
    }
}

impl From<AnyObject> for pbjson_types::Struct {
    fn from(object: AnyObject) -> Self {
        json::to_struct(object.0)
    }
}

/// A span of time, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Argument for Seconds {
    fn schema() -> Value {
        json!({"type": "number", "minimum": 0})
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        let seconds = plain_number(&value);
        // More than anybody waits, and less than a timestamp overflows by.
        let is_sound = |span: &Duration| span.as_secs() < 1 << 32;
        let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let span = span.filter(is_sound).map(Self);
        span.ok_or_else(|| Wrong::value(&value, "a number of seconds"))
    }
}

impl From<Seconds> for pbjson_types::Duration {
    fn from(Seconds(span): Seconds) -> Self {
        super::super::to_wire::span(span)
    }
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub i32);

impl Argument for Count {
    fn schema() -> Value {
        json!({"type": "integer", "minimum": 0})
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        let number = plain_number(&value);
        let is_count =
            |number: &f64| number.fract() == 0.0 && (0.0..=f64::from(i32::MAX)).contains(number);
        // Within the bound the cast loses nothing.
        #[allow(clippy::cast_possible_truncation)]
        let count = number.filter(is_count).map(|number| Self(number as i32));
        count.ok_or_else(|| Wrong::value(&value, "a whole number, 0 or more"))
    }
}

/// A value that is one of a few words.
pub trait Words: Copy + 'static {
    /// The words.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of a few words, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<T>(pub T);

impl<T: Words> Argument for Word<T> {
    fn schema() -> Value {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        json!({"type": "string", "enum": words})
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        let said = value.as_str().unwrap_or_default().trim();
        let found = T::WORDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(said));
        found.map(|(_, value)| Self(*value)).ok_or_else(|| {
            let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
            Wrong::value(&value, &format!("one of {}", words.join(", ")))
        })
    }
}

impl Words for v1::TaskStatus {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("pending", Self::Pending),
        ("in_progress", Self::InProgress),
        ("completed", Self::Completed),
        ("failed", Self::Failed),
        ("cancelled", Self::Cancelled),
    ];
}

impl Words for v1::TaskPriority {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("low", Self::Low),
        ("normal", Self::Normal),
        ("high", Self::High),
        ("critical", Self::Critical),
    ];
}

impl Words for v1::TaskKind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("work", Self::Work), ("verification", Self::Verification)];
}

impl Words for v1::TaskOrder {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("id", Self::Id),
        ("priority", Self::Priority),
        ("tree", Self::Tree),
    ];
}

impl Words for v1::WaitUntil {
    const WORDS: &'static [(&'static str, Self)] = &[("all", Self::All), ("any", Self::Any)];
}

impl Words for v1::MessageType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("text", Self::Text),
        ("task_assignment", Self::TaskAssignment),
        ("task_unassigned", Self::TaskUnassigned),
        ("task_unblocked", Self::TaskUnblocked),
        ("task_finished", Self::TaskFinished),
        ("idle", Self::Idle),
        ("member_failed", Self::MemberFailed),
        ("shutdown_request", Self::ShutdownRequest),
        ("shutdown_response", Self::ShutdownResponse),
        ("plan_approval_request", Self::PlanApprovalRequest),
        ("plan_approval_response", Self::PlanApprovalResponse),
        ("question", Self::Question),
        ("answer", Self::Answer),
        ("digest", Self::Digest),
    ];
}

/// An enum's number for the wire; unspecified where nothing is said.
pub fn number<T: Words + Into<i32>>(word: Option<Word<T>>) -> i32 {
    word.map_or(0, |word| word.0.into())
}
