//! Chance shows every field of every record, so that the property of the store can see each.
//!
//! Which fields there are is asked of the decoders themselves: a field that is declared refuses a
//! wire type that it can't have, one that is not is passed over. So a field that is new, or that
//! an encoder forgets, needs no word here to be missed.

use std::collections::{BTreeMap, BTreeSet};

use board::{
    id::{MessageId, Revision, TaskId, TeamUid},
    record::Record,
    time::Time,
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::*;
use crate::store::arbitrary;

const CASES: usize = 256;

/// Tags that are looked for; one beyond would have to be asked for here.
const TAGS: u32 = 64;

/// Field numbers from the record down to a field.
type Path = Vec<u32>;

/// Fields that need not show two values, and why.
const EXCEPTIONS: &[(&str, &[u32], &str)] = &[("task", &[13, 2], "only version 1 wrote it")];

/// A kind of record: its decoder, and values as they are encoded.
struct Sample {
    name: &'static str,
    decode: fn(&[u8]) -> Result<(), CodecError>,
    values: Vec<Vec<u8>>,
}

fn drawn<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let draw = |_| strategy.new_tree(&mut runner).unwrap().current();
    (0..count).map(draw).collect()
}

fn samples() -> Vec<Sample> {
    let mut by_name: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
    let mut add = |name, bytes| {
        let values: &mut Vec<_> = by_name.entry(name).or_default();
        if values.len() < CASES {
            values.push(bytes);
        }
    };
    // So many that there are enough of each kind.
    for record in drawn(arbitrary::record(), 40 * CASES) {
        match record {
            Record::Meta(meta) => add("board", encode_meta(&meta)),
            Record::Team(team) => add("team", encode_team(&team)),
            Record::Member(_, member) => add("member", encode_member(&member)),
            Record::Task(_, task) => {
                if let Some(stub) = task.stub() {
                    add("task stub", encode_stub(&stub));
                }
                add("task", encode_task(&task));
            }
            Record::Offered(offered) => add("agent type", encode_offered(&offered)),
            Record::Letter(_, letter) => add("message", encode_letter(&letter)),
            Record::Stub(..)
            | Record::OfferedGone(..)
            | Record::TaskGone(..)
            | Record::LetterGone(..)
            | Record::Post(..)
            | Record::PostGone(..)
            | Record::TeamGone(_) => {}
        }
    }
    let outcomes = drawn(arbitrary::outcome(), 2 * CASES);
    for (at, page) in outcomes.chunks(2).enumerate() {
        add("outcomes", encode_outcomes(Time(at as i64), page));
    }
    let mut events = drawn(arbitrary::event(), 2 * CASES);
    for (at, page) in events.chunks_mut(2).enumerate() {
        for (event, place) in page.iter_mut().zip(1..) {
            event.team = TeamUid(1);
            event.revision = Revision(2 * at as u64 + place);
        }
        let page: Vec<_> = page.iter().collect();
        for (_, bytes) in encode_event_pages(&page) {
            add("events", bytes);
        }
    }
    let decoder = |name| -> fn(&[u8]) -> Result<(), CodecError> {
        match name {
            "board" => |it| decode_meta(it).map(drop),
            "team" => |it| decode_team(TeamUid(1), it).map(drop),
            "member" => |it| decode_member(it, &mut Names::default()).map(drop),
            "task" => |it| decode_task(TaskId(1), it, &mut Names::default()).map(drop),
            "task stub" => {
                |it| decode_stub(TaskId(1), it, &mut Names::default(), || Time(0)).map(drop)
            }
            "agent type" => |it| decode_offered(it, &mut Names::default()).map(drop),
            "message" => |it| decode_letter(MessageId(1), it, &mut Names::default()).map(drop),
            "outcomes" => |it| decode_outcomes(it).map(drop),
            "events" => {
                |it| decode_events(TeamUid(1), Revision(1), it, &mut Names::default()).map(drop)
            }
            other => panic!("no decoder for {other}"),
        }
    };
    let sample = |(name, values)| Sample {
        name,
        decode: decoder(name),
        values,
    };
    by_name.into_iter().map(sample).collect()
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A message with one field at the end of a path, of a wire type and with a content.
fn wrapped(path: &[u32], wire_type: u64, content: &[u8]) -> Vec<u8> {
    let (tag, outer) = path.split_last().expect("a path has a field");
    let mut bytes = Vec::new();
    varint(u64::from(*tag) << 3 | wire_type, &mut bytes);
    bytes.extend_from_slice(content);
    if outer.is_empty() {
        return bytes;
    }
    let mut content = Vec::new();
    varint(bytes.len() as u64, &mut content);
    content.extend_from_slice(&bytes);
    wrapped(outer, 2, &content)
}

impl Sample {
    /// Whether the decoder refuses this wire type there.
    fn refuses(&self, path: &[u32], wire_type: u64, content: &[u8]) -> bool {
        let mut bytes = vec![self.values[0][0]];
        bytes.extend(wrapped(path, wire_type, content));
        let decoded = (self.decode)(&bytes);
        matches!(decoded, Err(CodecError::Protobuf(err)) if err.to_string().contains("wire type"))
    }

    /// All fields that the decoder knows, those of messages within it too.
    fn declared(&self) -> BTreeSet<Path> {
        let mut found = BTreeSet::new();
        let mut within = vec![Path::new()];
        while let Some(outer) = within.pop() {
            for tag in 1..=TAGS {
                let path: Path = outer.iter().copied().chain([tag]).collect();
                // No field is a fixed number of 32 bits.
                if self.refuses(&path, 5, &[0; 4]) {
                    let is_scalar = self.refuses(&path, 2, &[0]);
                    found.insert(path.clone());
                    if !is_scalar {
                        within.push(path);
                    }
                }
            }
        }
        found
    }

    /// The declared fields that did not show two values.
    fn constants(&self) -> Vec<Path> {
        let declared = self.declared();
        let mut seen: BTreeMap<Path, BTreeSet<Option<Vec<u8>>>> = BTreeMap::new();
        for value in &self.values {
            look(&declared, &Path::new(), &value[1..], &mut seen);
        }
        let is_constant = |path: &Path| seen.get(path).is_none_or(|values| values.len() < 2);
        declared.into_iter().filter(is_constant).collect()
    }
}

/// Notes what each field of a message has; nothing is a value, too.
fn look(
    declared: &BTreeSet<Path>,
    at: &Path,
    message: &[u8],
    seen: &mut BTreeMap<Path, BTreeSet<Option<Vec<u8>>>>,
) {
    let fields = fields_of(message).expect("a message that was encoded here");
    let children = declared
        .iter()
        .filter(|path| path.len() == at.len() + 1 && path.starts_with(at));
    for path in children {
        let tag = *path.last().expect("a path has a field");
        let has_children = declared
            .iter()
            .any(|other| other.len() > path.len() && other.starts_with(path));
        let mut values: Vec<_> = fields.iter().filter(|(it, _)| *it == tag).collect();
        values.truncate(8);
        let told = seen.entry(path.clone()).or_default();
        if values.is_empty() {
            told.insert(None);
        }
        for (_, value) in values {
            let told = seen.entry(path.clone()).or_default();
            if told.len() < 2 {
                told.insert(Some(value.clone()));
            }
            if has_children {
                look(declared, path, value, seen);
            }
        }
    }
}

/// The fields of a message: numbers, and values as they lie there.
fn fields_of(mut message: &[u8]) -> Option<Vec<(u32, Vec<u8>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                let mut rest = message;
                take_varint(&mut rest)?;
                message.len() - rest.len()
            }
            1 => 8,
            2 => usize::try_from(take_varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (value, rest) = message.split_at_checked(length)?;
        fields.push((u32::try_from(key >> 3).ok()?, value.to_vec()));
        message = rest;
    }
    Some(fields)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[test]
fn chance_gives_every_field_of_every_record_two_values() {
    let mut constant = Vec::new();
    for sample in samples() {
        assert_eq!(sample.values.len(), CASES, "{}", sample.name);
        for path in sample.constants() {
            let excepted = |it: &&(&str, &[u32], &str)| it.0 == sample.name && it.1 == path;
            if EXCEPTIONS.iter().find(excepted).is_none() {
                constant.push((sample.name, path));
            }
        }
    }
    assert_eq!(
        constant,
        [],
        "fields that the generators pin, or that no encoder writes"
    );
}

#[derive(Clone, PartialEq, prost::Message)]
struct Inner {
    #[prost(uint32, tag = "1")]
    shown: u32,
    #[prost(string, tag = "17")]
    forgotten: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Outer {
    #[prost(message, optional, tag = "2")]
    inner: Option<Inner>,
    #[prost(uint64, repeated, tag = "3")]
    numbers: Vec<u64>,
    #[prost(string, tag = "20")]
    text: String,
    #[prost(bool, tag = "33")]
    pinned: bool,
}

#[test]
fn field_that_is_pinned_or_that_no_encoder_writes_is_found() {
    const KIND: Kind = Kind {
        name: "test",
        version: 1,
    };
    let outer = |number: u32| Outer {
        inner: Some(Inner {
            shown: number,
            forgotten: String::new(),
        }),
        numbers: vec![u64::from(number), 7],
        text: format!("\u{1}{number}"),
        pinned: true,
    };
    let sample = Sample {
        name: "test",
        decode: |it| open::<Outer>(KIND, it).map(drop),
        values: (0..CASES as u32).map(|it| seal(KIND, &outer(it))).collect(),
    };

    let declared: Vec<Path> = sample.declared().into_iter().collect();

    assert_eq!(
        declared,
        [
            vec![2],
            vec![2, 1],
            vec![2, 17],
            vec![3],
            vec![20],
            vec![33]
        ]
    );
    assert_eq!(sample.constants(), [vec![2, 17], vec![33]]);
}
