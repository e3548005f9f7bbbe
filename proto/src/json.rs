//! The JSON of messages: byte for byte what `grpcurl … | jq --compact-output .` prints.
//!
//! Every message of the contract serializes through [`serialize`], so there is one JSON form of a
//! message wherever it is printed or taken apart: fields in the order of their numbers, keys of
//! maps and Structs sorted, times in UTC with a `Z`, 64-bit integers as strings, and what has its
//! default value left out. [`to_line`] adds jq's way to write numbers and text.

use std::{io, sync::LazyLock};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value,
};
use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeMap},
};
use serde_json::ser::{CompactFormatter, Formatter};

use crate::DESCRIPTORS;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTORS).expect("the build has written a whole descriptor set")
});

/// A value as one line of JSON, without a line break at its end.
///
/// # Errors
/// Where the value has no JSON form: a Struct with a number that is not finite.
pub fn to_line<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    let mut line = Vec::with_capacity(256);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut line, Jq))?;
    // serde_json writes nothing else.
    String::from_utf8(line).map_err(serde_json::Error::custom)
}

/// A message of which only the descriptor is known, to be serialized like those of the contract.
pub fn of_dynamic(message: &DynamicMessage) -> impl Serialize + '_ {
    Object(message)
}

/// Serializes a message of the contract. Its generated `Serialize` calls this.
pub(crate) fn serialize<M, S>(message: &M, serializer: S) -> Result<S::Ok, S::Error>
where
    M: Message + Name,
    S: Serializer,
{
    let descriptor = POOL
        .get_message_by_name(&M::full_name())
        .ok_or_else(|| S::Error::custom(format!("no descriptor of {}", M::full_name())))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(S::Error::custom)?;
    Object(&message).serialize(serializer)
}

/// A message, with its fields in the order of their numbers.
struct Object<'a>(&'a DynamicMessage);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(message) = self;
        let descriptor = message.descriptor();
        if descriptor.package_name() == "google.protobuf" {
            // Times, spans and Structs have JSON forms of their own, which are sorted.
            return message.serialize(serializer);
        }
        let mut object = serializer.serialize_map(None)?;
        // `fields` goes by number, whatever the order in the file.
        for field in descriptor.fields().filter(|field| message.has_field(field)) {
            let value = message.get_field(&field);
            object.serialize_entry(field.json_name(), &Field(&value, &field))?;
        }
        object.end()
    }
}

/// What a field holds: one value, a list, or a map.
struct Field<'a>(&'a Value, &'a FieldDescriptor);

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, field) = *self;
        let kind = field.kind();
        match value {
            Value::List(items) => serializer.collect_seq(items.iter().map(|item| One(item, &kind))),
            Value::Map(entries) => {
                let Kind::Message(entry) = kind else {
                    return Err(S::Error::custom("a map without entries"));
                };
                let kind = entry.map_entry_value_field().kind();
                let mut entries: Vec<(&MapKey, &Value)> = entries.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                let entries = entries.into_iter();
                serializer.collect_map(entries.map(|(key, value)| (Key(key), One(value, &kind))))
            }
            one => One(one, &kind).serialize(serializer),
        }
    }
}

/// A key of a map. JSON has only text for it.
struct Key<'a>(&'a MapKey);

impl Serialize for Key<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            MapKey::Bool(key) => serializer.collect_str(key),
            MapKey::I32(key) => serializer.collect_str(key),
            MapKey::I64(key) => serializer.collect_str(key),
            MapKey::U32(key) => serializer.collect_str(key),
            MapKey::U64(key) => serializer.collect_str(key),
            MapKey::String(key) => serializer.serialize_str(key),
        }
    }
}

/// One value of a kind.
struct One<'a>(&'a Value, &'a Kind);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, kind) = *self;
        match value {
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::I32(number) => serializer.serialize_i32(*number),
            Value::U32(number) => serializer.serialize_u32(*number),
            // A program that reads JSON numbers as doubles would change these.
            Value::I64(number) => serializer.collect_str(number),
            Value::U64(number) => serializer.collect_str(number),
            Value::F32(number) => double(f64::from(*number), *number, serializer),
            Value::F64(number) => double(*number, *number, serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_str(&BASE64_STANDARD.encode(bytes)),
            Value::EnumNumber(number) => {
                let Kind::Enum(of) = kind else {
                    return Err(S::Error::custom("an enum of another kind"));
                };
                // A newer peer may know more of them.
                match of.get_value(*number) {
                    Some(known) => serializer.serialize_str(known.name()),
                    None => serializer.serialize_i32(*number),
                }
            }
            Value::Message(message) => Object(message).serialize(serializer),
            Value::List(_) | Value::Map(_) => Err(S::Error::custom("a list in a list")),
        }
    }
}

/// A number; as its name where JSON has no such number.
fn double<N: Serialize, S: Serializer>(
    number: f64,
    same: N,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match number {
        f64::INFINITY => serializer.serialize_str("Infinity"),
        f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
        number if number.is_nan() => serializer.serialize_str("NaN"),
        _ => same.serialize(serializer),
    }
}

/// Compact JSON as jq 1.6 writes it.
struct Jq;

impl Formatter for Jq {
    fn write_f32<W: io::Write + ?Sized>(&mut self, to: &mut W, number: f32) -> io::Result<()> {
        to.write_all(number_text(&format!("{number:e}")).as_bytes())
    }

    fn write_f64<W: io::Write + ?Sized>(&mut self, to: &mut W, number: f64) -> io::Result<()> {
        to.write_all(number_text(&format!("{number:e}")).as_bytes())
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut parts = fragment.split('\u{7f}');
        CompactFormatter.write_string_fragment(to, parts.next().unwrap_or_default())?;
        for part in parts {
            to.write_all(b"\\u007f")?;
            CompactFormatter.write_string_fragment(to, part)?;
        }
        Ok(())
    }
}

/// A number from its shortest digits with an exponent (`-1.25e-7`): with an exponent of two digits
/// or more below 0.0001 and where it would end in more than 15 zeros, without one otherwise.
fn number_text(scientific: &str) -> String {
    const ZEROS_MAX: i32 = 15;
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    let len = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= len + ZEROS_MAX {
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{exponent_sign}{:02}", exponent.abs());
    }
    // How many digits go before the point; none or less where zeros do.
    let whole = exponent + 1;
    match usize::try_from(whole) {
        Ok(whole) if whole >= digits.len() => format!("{sign}{digits:0<whole$}"),
        Ok(whole) if whole > 0 => format!("{sign}{}.{}", &digits[..whole], &digits[whole..]),
        _ => format!(
            "{sign}0.{}{digits}",
            "0".repeat(whole.unsigned_abs() as usize)
        ),
    }
}

#[cfg(test)]
mod tests;
