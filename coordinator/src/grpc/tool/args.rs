//! Arguments of tools: declared once, and both the JSON schema and the parser come from that.
//!
//! A declaration is a struct whose fields are kinds of values ([`super::kinds`]); what isn't an
//! `Option` must be given. Nothing that isn't declared is accepted.
//!
//! Clients encode arguments in many shapes. What has one certain meaning is taken: a null, and for
//! what may be left out an empty text, list or object, count as not given; a list of one stands for
//! its one thing, one thing for a list of one; numbers, lists and objects may come as text; a name
//! may be spelled `taskId` or `task_id`. What could mean two things is refused by its name.

use serde_json::{Map, Value, json};

use super::refusal::Refusal;

/// The JSON objects that go in and out.
pub type Object = Map<String, Value>;

/// Declares the arguments of a tool, or of an object among them: for each its text for the model,
/// its field, its name in the JSON, and its kind.
macro_rules! arguments {
    (
        $(#[$meta:meta])*
        $name:ident {
            $($(#[doc = $text:literal])+ $field:ident = $key:literal: $kind:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name {
            $($(#[doc = $text])+ $field: $kind,)*
        }

        impl $crate::grpc::tool::args::Arguments for $name {
            const ALL: &'static [$crate::grpc::tool::args::Property] = &[
                $($crate::grpc::tool::args::Property {
                    name: $key,
                    text: concat!($($text),+),
                    schema: <$kind as $crate::grpc::tool::args::Argument>::schema,
                    is_required: <$kind as $crate::grpc::tool::args::Argument>::IS_REQUIRED,
                },)*
            ];

            fn take(
                given: &mut $crate::grpc::tool::args::Given,
            ) -> Result<Self, $crate::grpc::tool::args::Wrong> {
                // Not every tool takes something.
                let _ = &given;
                Ok(Self { $($field: given.take($key)?,)* })
            }
        }
    };
}

pub(super) use arguments;

/// One declared argument.
#[derive(Debug)]
pub struct Property {
    /// Its name in the JSON.
    pub name: &'static str,
    /// What it is, for the model.
    pub text: &'static str,
    /// The schema of its kind.
    pub schema: fn() -> Value,
    /// Whether it must be given.
    pub is_required: bool,
}

/// Declared arguments.
pub trait Arguments: Sized {
    /// All of them.
    const ALL: &'static [Property];

    /// Takes them out of what was given.
    fn take(given: &mut Given) -> Result<Self, Wrong>;
}

/// An argument that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which: `members[1].name`; empty for the value that was read itself.
    pub path: String,
    /// Why.
    pub why: String,
    /// It isn't there.
    pub is_missing: bool,
}

impl Wrong {
    /// A value that is none of what it must be.
    pub fn value(value: &Value, must_be: &str) -> Self {
        Self {
            path: String::new(),
            why: format!("is {}, and must be {must_be}", shown(value)),
            is_missing: false,
        }
    }

    /// The same, as a part of something.
    pub fn within(mut self, whole: &str) -> Self {
        let joint = match self.path.chars().next() {
            None | Some('[') => "",
            Some(_) => ".",
        };
        self.path = format!("{whole}{joint}{}", self.path);
        self
    }
}

/// What kind of JSON a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Any text: also an empty one says something.
    Text,
    /// A number, a truth, an id, a word: never an empty text.
    Scalar,
    /// A list.
    List,
    /// An object.
    Object,
}

impl Shape {
    /// What was meant by a value, as far as that is certain. Null for nothing.
    fn meant(self, value: Value, may_be_left_out: bool) -> Value {
        let value = match value {
            Value::Array(mut items) if self != Self::List && items.len() == 1 => items.remove(0),
            other => other,
        };
        let is_nothing = match &value {
            Value::String(text) if self != Self::Text => {
                let text = text.trim();
                text.is_empty() || text == "null"
            }
            Value::Array(items) => self != Self::List && items.is_empty(),
            Value::Object(fields) => matches!(self, Self::Text | Self::Scalar) && fields.is_empty(),
            _ => false,
        };
        match may_be_left_out && is_nothing {
            true => Value::Null,
            false => value,
        }
    }
}

/// A kind of value.
pub trait Argument: Sized {
    /// Whether it must be given.
    const IS_REQUIRED: bool = true;
    /// What kind of JSON it is.
    const SHAPE: Shape = Shape::Scalar;

    /// The JSON schema.
    fn schema() -> Value;

    /// Reads what was given, which is never null.
    fn read(value: Value) -> Result<Self, Wrong>;

    /// What it is when it isn't given, where it needn't be.
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: Argument> Argument for Option<T> {
    const IS_REQUIRED: bool = false;
    const SHAPE: Shape = T::SHAPE;

    fn schema() -> Value {
        T::schema()
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        T::read(value).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// An object among the arguments.
impl<T: Arguments> Argument for T {
    const SHAPE: Shape = Shape::Object;

    fn schema() -> Value {
        schema(T::ALL.iter())
    }

    fn read(value: Value) -> Result<Self, Wrong> {
        let mut given = Given::spelled(object(value)?, T::ALL.iter());
        if let Some(unknown) = given.unknown(T::ALL.iter()) {
            let why = format!("is not known; known are {}", names(T::ALL.iter()));
            return Err(Wrong {
                path: unknown.to_owned(),
                why,
                is_missing: false,
            });
        }
        T::take(&mut given)
    }
}

/// An object, be it that it comes as text.
pub fn object(value: Value) -> Result<Object, Wrong> {
    match value {
        Value::Object(object) => Ok(object),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(object) => Ok(object),
            Err(_) => Err(Wrong::value(&Value::String(text), "an object")),
        },
        other => Err(Wrong::value(&other, "an object")),
    }
}

/// The schema of an object with these properties and no others.
pub fn schema<'p>(properties: impl Iterator<Item = &'p Property>) -> Value {
    let mut told = Object::new();
    let mut required = Vec::new();
    for property in properties {
        let mut schema = (property.schema)();
        schema["description"] = property.text.trim().into();
        told.insert(property.name.to_owned(), schema);
        if property.is_required {
            required.push(property.name);
        }
    }
    json!({
        "type": "object",
        "properties": told,
        "required": required,
        "additionalProperties": false,
    })
}

/// What a call gives.
#[derive(Debug, Default)]
pub struct Given(Object);

impl Given {
    /// What a call of this tool gives, where the tool takes all of it.
    pub fn new<'p>(
        tool: &'static str,
        object: Object,
        takes: impl Iterator<Item = &'p Property> + Clone,
    ) -> Result<Self, Refusal> {
        let given = Self::spelled(object, takes.clone());
        match given.unknown(takes.clone()) {
            Some(unknown) => Err(Refusal::unknown_argument(tool, unknown, &names(takes))),
            None => Ok(given),
        }
    }

    /// What is given, whatever is declared.
    #[cfg(test)]
    pub fn of(object: Object) -> Self {
        Self(object)
    }

    /// What is given, with names as they are declared: `task_id` for `taskId`, where only one of
    /// the two is there.
    fn spelled<'p>(mut object: Object, takes: impl Iterator<Item = &'p Property> + Clone) -> Self {
        let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
        for property in takes.clone() {
            if object.contains_key(property.name) {
                continue;
            }
            let is_declared = |name: &str| takes.clone().any(|other| other.name == name);
            let mut same = object
                .keys()
                .filter(|name| plain(name) == plain(property.name) && !is_declared(name));
            if let (Some(name), None) = (same.next().cloned(), same.next())
                && let Some(value) = object.remove(&name)
            {
                object.insert(property.name.to_owned(), value);
            }
        }
        Self(object)
    }

    fn unknown<'g, 'p>(
        &'g self,
        takes: impl Iterator<Item = &'p Property> + Clone,
    ) -> Option<&'g str> {
        let is_known = |name: &str| takes.clone().any(|property| property.name == name);
        let mut names = self.0.keys().map(String::as_str);
        names.find(|name| !is_known(name))
    }

    /// Takes one.
    pub fn take<T: Argument>(&mut self, name: &str) -> Result<T, Wrong> {
        let value = self.0.remove(name).unwrap_or_default();
        match T::SHAPE.meant(value, !T::IS_REQUIRED) {
            Value::Null => T::absent().ok_or_else(|| Wrong {
                path: name.to_owned(),
                why: "is missing".to_owned(),
                is_missing: true,
            }),
            value => T::read(value).map_err(|wrong| wrong.within(name)),
        }
    }
}

/// Names, as a list in a sentence.
fn names<'p>(properties: impl Iterator<Item = &'p Property>) -> String {
    let names: Vec<&str> = properties.map(|property| property.name).collect();
    names.join(", ")
}

/// A value for an error: as JSON, and not all of a long one.
fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 60;
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}
