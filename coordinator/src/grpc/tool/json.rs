//! From messages of the wire to the JSON of tools, and back.

use ganger_proto::v1;
use pbjson_types::{ListValue, Struct, value::Kind};
use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::args::Object;

/// Below this every whole number is itself as an f64, which is what a Struct holds.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What users put in, which is told as they wrote it.
const USERS_OWN: &[&str] = &["metadata", "payload"];

/// The fields that hold enums, and how the names of their values begin.
const ENUMS: &[(&str, &str)] = &[
    ("status", "TASK_STATUS_"),
    ("priority", "TASK_PRIORITY_"),
    ("kind", "TASK_KIND_"),
    ("kind", "MEMBER_KIND_"),
    ("kind", "TRANSCRIPT_KIND_"),
    ("phase", "TASK_PHASE_"),
    ("stopReason", "STOP_REASON_"),
    ("ending", "ATTEMPT_ENDING_"),
    ("blockerFailedPolicy", "BLOCKER_FAILED_POLICY_"),
    ("failurePolicy", "FAILURE_POLICY_"),
    ("liveness", "MEMBER_LIVENESS_"),
    ("plan", "PLAN_STATE_"),
    ("type", "MESSAGE_TYPE_"),
];

/// How keys are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `activeForm`, as in proto3's own JSON.
    Camel,
    /// `active_form`.
    Snake,
}

/// A message as an object: as proto3's JSON, but enums are words (`in_progress`).
pub fn told(message: &impl Serialize, case: Case) -> Object {
    // A message holds nothing that JSON can't: numbers that are none are refused when they come.
    let value = serde_json::to_value(message).unwrap_or_default();
    match worded(value, case) {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

fn worded(value: Value, case: Case) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| {
                let value = match value {
                    own if USERS_OWN.contains(&key.as_str()) => whole(own),
                    Value::String(text) => Value::String(word(&key, text)),
                    other => worded(other, case),
                };
                match case {
                    Case::Camel => (key, value),
                    Case::Snake => (snake(&key), value),
                }
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.into_iter().map(|item| worded(item, case)).collect(),
        other => whole(other),
    }
}

fn word(key: &str, text: String) -> String {
    let of_enum = ENUMS.iter().filter(|(field, _)| *field == key);
    let mut words = of_enum.filter_map(|(_, prefix)| text.strip_prefix(prefix));
    words.next().map(str::to_lowercase).unwrap_or(text)
}

/// `activeForm` as `active_form`.
fn snake(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// `active_form` as `activeForm`.
pub fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    camel
}

/// The same with whole numbers as such: 1, and not 1.0.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => number
            .as_f64()
            .and_then(number_of)
            .map_or(Value::Null, Value::Number),
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, whole(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

/// A number as JSON writes it; none where JSON has no such number.
fn number_of(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() < WHOLE_MAX {
        // Within the bound the cast loses nothing.
        #[allow(clippy::cast_possible_truncation)]
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

/// A Struct as an object; none where it holds a number that JSON can't.
pub fn of_struct(object: Struct) -> Option<Object> {
    let fields = object.fields.into_iter();
    fields
        .map(|(key, value)| Some((key, of_value(value)?)))
        .collect()
}

fn of_value(value: pbjson_types::Value) -> Option<Value> {
    Some(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(truth)) => Value::Bool(truth),
        Some(Kind::NumberValue(number)) => Value::Number(number_of(number)?),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => {
            let items = list.values.into_iter().map(of_value);
            Value::Array(items.collect::<Option<_>>()?)
        }
        Some(Kind::StructValue(object)) => Value::Object(of_struct(object)?),
    })
}

/// An object as a Struct.
pub fn to_struct(object: Object) -> Struct {
    let fields = object.into_iter();
    Struct {
        fields: fields.map(|(key, value)| (key, to_value(value))).collect(),
    }
}

/// Any value. A null is said as one: a value of no kind is none that JSON could write.
pub fn to_value(value: Value) -> pbjson_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(truth),
        // Every number of serde_json is an f64, or near one.
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(ListValue {
            values: items.into_iter().map(to_value).collect(),
        }),
        Value::Object(object) => Kind::StructValue(to_struct(object)),
    };
    kind.into()
}

/// Ids are strings in the JSON of tools.
pub fn ids(ids: &[u64]) -> Value {
    ids.iter().map(ToString::to_string).collect()
}

/// A task's status in a word.
pub fn status(status: v1::TaskStatus) -> String {
    let name = status.as_str_name();
    name.trim_start_matches("TASK_STATUS_").to_lowercase()
}

/// The fields of an object that aren't there, as they are when nothing is said.
pub fn with_defaults(object: &mut Object, defaults: Value) {
    let Value::Object(defaults) = defaults else {
        return;
    };
    for (key, value) in defaults {
        object.entry(key).or_insert(value);
    }
}

/// Some fields of an object, where they are there.
pub fn some(mut object: Object, keys: &[&str]) -> Object {
    let picked = keys.iter().filter_map(|key| object.remove_entry(*key));
    picked.collect::<Map<_, _>>()
}
