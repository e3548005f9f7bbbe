//! Between the JSON of sub-agents and the Structs of the wire.

use pbjson_types::{ListValue, Struct, value::Kind};
use serde_json::{Map, Number, Value};

/// Below this every whole number is itself as an f64, which is what a Struct holds.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// An object as a Struct.
pub(super) fn to_struct(object: Map<String, Value>) -> Struct {
    let fields = object.into_iter();
    Struct {
        fields: fields.map(|(key, value)| (key, to_value(value))).collect(),
    }
}

fn to_value(value: Value) -> pbjson_types::Value {
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

/// A Struct as an object: whole numbers as such, 1 and not 1.0.
pub(super) fn of_struct(object: Struct) -> Map<String, Value> {
    let fields = object.fields.into_iter();
    fields.map(|(key, value)| (key, of_value(value))).collect()
}

fn of_value(value: pbjson_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(truth)) => Value::Bool(truth),
        Some(Kind::NumberValue(number)) => of_number(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(of_value).collect(),
        Some(Kind::StructValue(object)) => Value::Object(of_struct(object)),
    }
}

fn of_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < WHOLE_MAX {
        // Within the bound the cast loses nothing.
        #[allow(clippy::cast_possible_truncation)]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_goes_out_comes_back_as_it_was() {
        let said = json!({"a": [1, -2.5, true, null, "x"], "b": {"c": 9_007_199_254_740_991_i64}});
        let Value::Object(object) = said.clone() else {
            panic!("no object");
        };

        let back = Value::Object(of_struct(to_struct(object)));

        assert_eq!(back.to_string(), said.to_string());
    }
}
