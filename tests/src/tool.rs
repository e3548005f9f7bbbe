//! Calls of tools, in their own JSON.

use ganger_proto::v1;
use pbjson_types::{ListValue, Struct, Value as Wire, value::Kind};
use serde_json::{Map, Value};
use tonic::Status;

use crate::{Client, patiently};

/// What a tool told.
#[derive(Clone, Debug)]
pub struct Told {
    /// As JSON.
    pub result: Value,
    /// In words.
    pub text: String,
    /// It refused.
    pub is_error: bool,
}

impl Client {
    /// Calls a tool, be it that it refuses.
    pub async fn try_tool(&self, name: &str, arguments: Value) -> Result<Told, Status> {
        let request = v1::CallToolRequest {
            name: name.into(),
            arguments: Some(struct_of(arguments)),
            ..v1::CallToolRequest::default()
        };
        let answer = patiently(name, self.tools().call_tool(request)).await?;
        let answer = answer.into_inner();
        Ok(Told {
            result: object_of(answer.result.unwrap_or_default()),
            text: answer.text,
            is_error: answer.is_error,
        })
    }

    /// Calls a tool that does what it is asked.
    #[track_caller]
    pub fn tool(&self, name: &str, arguments: Value) -> impl Future<Output = Told> {
        let at = std::panic::Location::caller();
        async move {
            let told = self.try_tool(name, arguments).await.unwrap();
            assert!(!told.is_error, "{at}: {name}: {told:?}");
            told
        }
    }

    /// Calls a tool that refuses, for this reason.
    #[track_caller]
    pub fn no_tool(
        &self,
        name: &str,
        arguments: Value,
        reason: &str,
    ) -> impl Future<Output = Told> {
        let at = std::panic::Location::caller();
        async move {
            let told = self.try_tool(name, arguments).await.unwrap();
            assert!(told.is_error, "{at}: {name}: {told:?}");
            assert_eq!(told.result["reason"], reason, "{at}: {name}: {told:?}");
            for word in ["error", "next"] {
                let said = told.result[word].as_str().unwrap();
                assert!(told.text.contains(said), "{at}: {word} of {told:?}");
            }
            told
        }
    }
}

/// JSON as the wire has it.
pub fn struct_of(value: Value) -> Struct {
    let Value::Object(fields) = value else {
        panic!("{value} is no object");
    };
    let fields = fields.into_iter();
    Struct {
        fields: fields.map(|(key, value)| (key, wire_of(value))).collect(),
    }
}

fn wire_of(value: Value) -> Wire {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(truth),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(ListValue {
            values: items.into_iter().map(wire_of).collect(),
        }),
        object @ Value::Object(_) => Kind::StructValue(struct_of(object)),
    };
    kind.into()
}

/// What the wire has as JSON; a whole number is one again.
pub fn object_of(object: Struct) -> Value {
    let fields = object.fields.into_iter();
    let fields = fields.map(|(key, value)| (key, value_of(value)));
    Value::Object(fields.collect::<Map<_, _>>())
}

#[allow(clippy::cast_possible_truncation)] // numbers of tests are small
fn value_of(value: Wire) -> Value {
    let kind = value
        .kind
        .expect("a value has a kind: no other JSON library would read it");
    match kind {
        Kind::NullValue(_) => Value::Null,
        Kind::NumberValue(number) if number.fract() == 0.0 => Value::from(number as i64),
        Kind::NumberValue(number) => Value::from(number),
        Kind::StringValue(text) => Value::from(text),
        Kind::BoolValue(truth) => Value::from(truth),
        Kind::StructValue(object) => object_of(object),
        Kind::ListValue(list) => list.values.into_iter().map(value_of).collect(),
    }
}
