//! Every field of every call with what nobody should say: a refusal at the worst, never a fault.
//!
//! The calls are those of the contract, as reflection tells them, and begin as the example in each
//! one's comment: so a new field is tried without a word here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ganger_proto::v1::{self, connect_request::Message as Says};
use ganger_tests::{Cluster, HandWorker, error_info, hello, programs};
use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    MethodDescriptor, ReflectMessage, Value,
};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::{
    fences::by_hand,
    grpcurl::{CommandLine, Grpcurl},
};

/// How deep messages in messages are looked into.
const DEPTH: usize = 3;

/// Calls that are under way at once.
const ABREAST: usize = 16;

/// A message with one thing wrong in it.
struct Bad {
    /// The field, and what it says.
    what: String,
    message: DynamicMessage,
    /// The name of an enum's field that has a number which nobody knows.
    unknown: Option<String>,
}

/// What a single value of a field may be made to say.
fn hostile(field: &FieldDescriptor) -> Vec<Value> {
    let text = |text: &str| Value::String(text.into());
    match field.kind() {
        Kind::String => {
            let long = "x".repeat(70_000);
            let texts = [
                "",
                " ",
                "\0",
                "../..",
                "-1",
                "\u{1f4a5}",
                "\u{202e}a/9",
                &long,
            ];
            texts.map(text).into()
        }
        Kind::Bytes => vec![Value::Bytes(vec![0xff; 70_000].into())],
        Kind::Bool => vec![Value::Bool(true), Value::Bool(false)],
        Kind::Int32 => [i32::MIN, -1, 0, i32::MAX].map(Value::I32).into(),
        Kind::Int64 => [i64::MIN, -1, 0, i64::MAX].map(Value::I64).into(),
        Kind::Uint32 => [0, u32::MAX].map(Value::U32).into(),
        Kind::Uint64 => [0, 4_711, i64::MAX as u64, u64::MAX].map(Value::U64).into(),
        Kind::Enum(_) => [i32::MIN, -1, 99, i32::MAX].map(Value::EnumNumber).into(),
        Kind::Message(message) => messages(&message).into_iter().map(Value::Message).collect(),
        other => panic!(
            "{}: no bad values of {other:?} are known",
            field.full_name()
        ),
    }
}

/// Messages that say nothing, or what can't be.
fn messages(kind: &MessageDescriptor) -> Vec<DynamicMessage> {
    let empty = DynamicMessage::new(kind.clone());
    let of_time = |(seconds, nanos): (i64, i32)| {
        let mut message = empty.clone();
        message.set_field_by_name("seconds", Value::I64(seconds));
        message.set_field_by_name("nanos", Value::I32(nanos));
        message
    };
    let bad = match kind.full_name() {
        "google.protobuf.Duration" | "google.protobuf.Timestamp" => [
            (-1, 0),
            (0, -1),
            (1, 2_000_000_000),
            (i64::MAX, 999_999_999),
            (i64::MIN, i32::MIN),
        ]
        .map(of_time)
        .into(),
        "google.protobuf.Struct" => {
            let deep = (0..30).fold("1".to_owned(), |inner, _| format!("[{inner}]"));
            let texts = [
                r#"{"": null, "a": [null, {"b": {}}]}"#.into(),
                format!(r#"{{"deep": {deep}}}"#),
            ];
            let mut bad: Vec<_> = texts.iter().map(|text| read(kind, text)).collect();
            bad.push(not_a_number(kind));
            bad
        }
        _ => Vec::new(),
    };
    [vec![empty], bad].concat()
}

fn read(kind: &MessageDescriptor, json: &str) -> DynamicMessage {
    let mut json = serde_json::Deserializer::from_str(json);
    DynamicMessage::deserialize(kind.clone(), &mut json).unwrap()
}

/// A Struct with a number that JSON doesn't have, and a value of no kind at all.
fn not_a_number(kind: &MessageDescriptor) -> DynamicMessage {
    let mut object = DynamicMessage::new(kind.clone());
    let fields = kind.get_field_by_name("fields").unwrap();
    let Kind::Message(entry) = fields.kind() else {
        unreachable!("an entry of a map is a message");
    };
    let Kind::Message(value) = entry.map_entry_value_field().kind() else {
        unreachable!("a Struct's values are messages");
    };
    let nothing = DynamicMessage::new(value.clone());
    let mut number = nothing.clone();
    number.set_field_by_name("number_value", Value::F64(f64::NAN));
    let entries = [("nothing", nothing), ("number", number)];
    let entries = entries.map(|(key, value)| (MapKey::String(key.into()), Value::Message(value)));
    object.set_field(&fields, Value::Map(HashMap::from(entries)));
    object
}

/// What a field as a whole may be made to say: one of each, or too many.
fn values(field: &FieldDescriptor) -> Vec<Value> {
    if field.is_map() {
        let texts = ["", " ", "x\0"];
        let entry = |text: &str| {
            let (key, value) = (MapKey::String(text.into()), Value::String(text.into()));
            Value::Map(HashMap::from([(key, value)]))
        };
        return texts.map(entry).into();
    }
    let single = hostile(field);
    if field.cardinality() != Cardinality::Repeated {
        return single;
    }
    let many = single.last().map(|value| vec![value.clone(); 1_001]);
    // Of long texts, a thousand would only tell that a message has a limit.
    let many = many.filter(|_| !matches!(field.kind(), Kind::String | Kind::Bytes));
    single
        .into_iter()
        .map(|value| vec![value])
        .chain(many)
        .map(Value::List)
        .collect()
}

/// A message, each time with another thing wrong.
fn bad_ones(base: &DynamicMessage, depth: usize) -> Vec<Bad> {
    let mut found = Vec::new();
    for field in base.descriptor().fields() {
        for value in values(&field) {
            let mut message = base.clone();
            let what = format!("{}: {}", field.name(), short(&value));
            let is_unknown = matches!(field.kind(), Kind::Enum(_));
            let unknown = is_unknown.then(|| field.name().to_owned());
            message.set_field(&field, value);
            found.push(Bad {
                what,
                message,
                unknown,
            });
        }
        let Kind::Message(inner) = field.kind() else {
            continue;
        };
        if depth == 0 || field.is_map() || inner.package_name() == "google.protobuf" {
            continue;
        }
        let given = base.get_field(&field);
        let inside = match given.as_ref() {
            Value::Message(message) => message.clone(),
            Value::List(list) => match list.first() {
                Some(Value::Message(message)) => message.clone(),
                _ => DynamicMessage::new(inner),
            },
            other => panic!("{}: {other:?}", field.full_name()),
        };
        for bad in bad_ones(&inside, depth - 1) {
            let mut message = base.clone();
            let value = Value::Message(bad.message);
            let value = if field.is_list() {
                Value::List(vec![value])
            } else {
                value
            };
            message.set_field(&field, value);
            found.push(Bad {
                what: format!("{}.{}", field.name(), bad.what),
                message,
                unknown: bad.unknown,
            });
        }
    }
    found
}

fn short(value: &Value) -> String {
    format!("{value:?}").chars().take(100).collect()
}

/// That this is how to refuse: a code for a user, one stable reason, and where a field is wrong,
/// which.
fn check(call: &str, bad: &Bad, answer: Result<(), Status>) {
    let what = format!("{call} with {}", bad.what);
    let Err(status) = answer else {
        assert_eq!(bad.unknown, None, "{what} was taken");
        return;
    };
    println!("{what}: {:?} {}", status.code(), status.message());
    // A call that is taken may wait, or stream, for as long as it is let.
    let waited = matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled);
    if waited {
        assert_eq!(bad.unknown, None, "{what} was taken");
        return;
    }
    let is_fault = matches!(
        status.code(),
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable | Code::Unimplemented
    );
    assert!(!is_fault, "{what}: {status:?}");
    let info = error_info(&status);
    let of_field = [
        "FIELD_BLANK",
        "FIELD_TOO_LONG",
        "TOO_MANY",
        "NAME_INVALID",
        "VALUE_INVALID",
    ];
    if of_field.contains(&&*info.reason) {
        let field = info.metadata.get("field");
        assert!(
            field.is_some_and(|field| !field.is_empty()),
            "{what}: {info:?}"
        );
    }
    if let Some(unknown) = &bad.unknown {
        assert_eq!(
            (status.code(), &*info.reason),
            (Code::InvalidArgument, "VALUE_INVALID"),
            "{what}"
        );
        let field = &info.metadata["field"];
        assert!(
            field.rsplit('.').next() == Some(unknown),
            "{what}: {info:?}"
        );
    }
}

/// What the calls begin as. Those whose streams are a worker's, or an upload's, are tried elsewhere.
fn bases(grpcurl: &Grpcurl) -> Vec<(MethodDescriptor, DynamicMessage)> {
    let calls = grpcurl.calls().into_iter();
    let calls = calls.filter(|(method, _)| !method.is_client_streaming());
    calls
        .map(|(method, comment)| {
            let line = CommandLine::of(&comment).unwrap();
            let said = line.messages(&method).pop();
            let base = said.unwrap_or_else(|| DynamicMessage::new(method.input()));
            (method, base)
        })
        .collect()
}

/// TestErrorWrapping (P10): no fault of a user is one of the coordinator's.
/// test_subagent_status_contract (X14): what is a closed set has no other member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_field_says_is_taken_or_refused_by_its_name_and_never_a_fault() {
    let cluster = Cluster::with(programs!(), &["--expect-type", "shell"]).await;
    let client = cluster.client();
    client
        .plan(
            (0..20)
                .map(|n| ganger_tests::new_task(&n.to_string()))
                .collect(),
        )
        .await;
    let grpcurl = Arc::new(Grpcurl::by_v1(&client).await);
    let bases = bases(&grpcurl);
    assert!(bases.len() > 35, "{}", bases.len());

    let mut trying = JoinSet::new();
    let mut tried = 0;
    let mut faults = Vec::new();
    for (method, base) in bases {
        for bad in bad_ones(&base, DEPTH) {
            let (grpcurl, method) = (grpcurl.clone(), method.clone());
            tried += 1;
            while trying.len() >= ABREAST {
                faults.extend(trying.join_next().await.unwrap().err());
            }
            trying.spawn(async move {
                // What is refused, is at once; what is taken may take as long as it is let.
                let patience = if bad.unknown.is_some() { 20_000 } else { 300 };
                let message = bad.message.clone();
                let answer = grpcurl
                    .say(&method, message, Duration::from_millis(patience))
                    .await;
                check(method.name(), &bad, answer);
            });
        }
    }
    while let Some(done) = trying.join_next().await {
        faults.extend(done.err());
    }

    println!("{tried} messages");
    assert!(
        faults.is_empty(),
        "{} are answered badly: {faults:#?}",
        faults.len()
    );
    assert!(tried > 1_000, "{tried}");
    // It is well, and has nothing to complain of.
    cluster.status().await;
    let log = cluster.coordinator.log();
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(complaints, [] as [&str; 0]);
}

/// A report of each kind about an attempt, which would be taken.
fn reports(fence: &v1::Fence) -> [Says; 6] {
    let fence = Some(fence.clone());
    let record = v1::TranscriptRecord {
        index: 1,
        text: "words".into(),
        ..v1::TranscriptRecord::default()
    };
    [
        Says::Heartbeat(v1::Heartbeat { sequence: 1 }),
        Says::Started(v1::Started {
            fence: fence.clone(),
            run_limit: None,
        }),
        Says::Progress(v1::Progress {
            doing: None,
            fence: fence.clone(),
            records: vec![record],
        }),
        Says::Ended(v1::Ended {
            fence: fence.clone(),
            ending: v1::AttemptEnding::Completed.into(),
            ..v1::Ended::default()
        }),
        Says::Refused(v1::Refused {
            fence,
            reason: "no".into(),
        }),
        Says::Draining(v1::Draining::default()),
    ]
}

/// A message of a worker with another thing wrong each time.
fn bad_words(kind: &MessageDescriptor, message: Says) -> Vec<(String, v1::ConnectRequest)> {
    let sound = v1::ConnectRequest {
        session: 0,
        message: Some(message),
    };
    let mut base = DynamicMessage::new(kind.clone());
    base.transcode_from(&sound).unwrap();
    // What is not said by it is another message altogether.
    let said = base
        .fields()
        .next()
        .map(|(field, _)| field.name().to_owned());
    let said = said.unwrap();
    bad_ones(&base, DEPTH)
        .into_iter()
        .filter(|bad| bad.what.starts_with(&said))
        .map(|bad| (bad.what, bad.message.transcode_to().unwrap()))
        .collect()
}

fn is_sound(what: &str, answer: Result<(), Status>) {
    let Err(status) = answer else {
        return;
    };
    println!("{what}: {:?} {}", status.code(), status.message());
    let is_fault = matches!(
        status.code(),
        Code::Internal | Code::Unknown | Code::DataLoss
    );
    assert!(!is_fault, "{what}: {status:?}");
    error_info(&status);
}

#[tokio::test]
async fn whatever_a_field_of_a_worker_says_is_taken_or_ends_its_stream_and_never_a_fault() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let grpcurl = Grpcurl::by_v1(&client).await;
    let connect = grpcurl
        .calls()
        .into_iter()
        .find(|(method, _)| method.name() == "Connect");
    let kind = connect.unwrap().0.input();
    let mut tried = 0;

    for (what, bad) in bad_words(&kind, Says::Hello(hello("me"))) {
        let Some(Says::Hello(bad)) = bad.message else {
            panic!("{what} is no Hello");
        };
        tried += 1;
        let answer = HandWorker::connect(&client, bad).await;
        is_sound(&what, answer.map(drop));
    }
    let mut own = hello("reporter");
    own.held.push(v1::Held::default());
    for at in 0..reports(&v1::Fence::default()).len() {
        let (mut fence, mut bad) = (v1::Fence::default(), Vec::new());
        let mut next = 0;
        while next == 0 || next < bad.len() {
            // The process that dials in again keeps its attempt, until that has ended.
            own.held[0].fence = Some(fence.clone()).filter(|fence| fence.attempt > 0);
            let hello = v1::Hello {
                held: own
                    .held
                    .iter()
                    .filter(|held| held.fence.is_some())
                    .cloned()
                    .collect(),
                ..own.clone()
            };
            let mut worker = HandWorker::connect(&client, hello).await.unwrap();
            if !worker.welcome.verdicts.iter().any(|verdict| verdict.keep) {
                client.start_task(by_hand()).await;
                fence = worker.assignment().await.fence.unwrap();
                let report = reports(&fence).into_iter().nth(at).unwrap();
                bad = bad_words(&kind, report);
            }
            let (what, message) = &bad[next];
            (next, tried) = (next + 1, tried + 1);
            if let Some(message) = message.message.clone() {
                worker.say(message);
            }
            is_sound(what, worker.close().await);
        }
        client.cancel(fence.task_id).await;
    }

    println!("{tried} messages");
    assert!(tried > 200, "{tried}");
    cluster.status().await;
    let log = cluster.coordinator.log();
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(complaints, [] as [&str; 0]);
}
