//! Nothing that a peer says is believed to be well formed, and nothing of it panics.

use board::command::NewTask;
use pbjson_types::{Duration as Span, ListValue, Struct, Timestamp, Value, value::Kind};
use proptest::prelude::*;
use prost::Message;
use tonic::{Code, metadata::MetadataMap};

use super::*;
use crate::grpc::{caller::Identity, to_wire};

const UUID: &str = "0191b7e0-0000-7000-8000-000000000001";

fn refused<T: std::fmt::Debug>(parsed: Parsed<T>) {
    let status = parsed.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
}

fn team() -> TeamName {
    TeamName::parse("red").unwrap()
}

fn new_task(task: v1::NewTask) -> Parsed<NewTask> {
    super::new_task(task, &team())
}

fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Struct {
    Struct {
        fields: fields
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    }
}

#[test]
fn moments_of_protobuf_pass_and_others_are_refused() {
    let moment = |seconds, nanos| time("at", &Timestamp { seconds, nanos });

    assert_eq!(moment(0, 0).unwrap(), Time(0));
    assert_eq!(moment(1, 999_999_999).unwrap(), Time(1_999));
    assert_eq!(moment(SECONDS_MAX, 0).unwrap(), Time(SECONDS_MAX * 1_000));
    for (seconds, nanos) in [
        (-1, 0),
        (SECONDS_MAX + 1, 0),
        (i64::MAX, 0),
        (i64::MIN, i32::MIN),
        (0, -1),
        (0, 1_000_000_000),
    ] {
        refused(moment(seconds, nanos));
    }
}

#[test]
fn spans_below_zero_are_refused() {
    let for_ = |seconds, nanos| span("for", &Span { seconds, nanos });

    assert_eq!(for_(1, 5).unwrap(), Duration::new(1, 5));
    assert_eq!(
        for_(i64::MAX, 0).unwrap(),
        Duration::from_secs(u64::try_from(i64::MAX).unwrap())
    );
    for (seconds, nanos) in [(-1, 0), (0, -1), (1, 1_000_000_000), (i64::MIN, i32::MIN)] {
        refused(for_(seconds, nanos));
    }
}

#[test]
fn unknown_numbers_of_enums_are_refused() {
    let task = v1::NewTask::default;
    refused(new_task(v1::NewTask {
        priority: 99,
        ..task()
    }));
    refused(new_task(v1::NewTask { kind: -1, ..task() }));
    refused(new_task(v1::NewTask {
        blocker_failed_policy: i32::MAX,
        ..task()
    }));
    let unknown = v1::UpdateTaskRequest {
        status: 99,
        ..v1::UpdateTaskRequest::default()
    };
    refused(update(unknown, &team()));
    for ending in [
        0,
        99,
        v1::AttemptEnding::Lost as i32,
        v1::AttemptEnding::HandedBack as i32,
    ] {
        refused(end_report(v1::Ended {
            ending,
            ..v1::Ended::default()
        }));
    }
}

#[test]
fn agent_type_may_be_spelled_in_two_ways_but_means_one() {
    let named = |one: &str, other: &str| {
        let parsed = agent_type(one, other)?;
        Ok(parsed.map(|name| name.to_string()))
    };

    assert_eq!(named("", "").unwrap(), None);
    for (one, other) in [("shell", ""), ("", "shell"), ("shell", "shell")] {
        assert_eq!(named(one, other).unwrap().as_deref(), Some("shell"));
    }
    refused(named("shell", "llm"));
    refused(named("no type", ""));
}

#[test]
fn task_zero_is_no_task_but_no_parent_either() {
    refused(new_task(v1::NewTask {
        blocked_by: vec![0],
        ..v1::NewTask::default()
    }));
    refused(new_task(v1::NewTask {
        blocked_by_items: vec![-1],
        ..v1::NewTask::default()
    }));
    assert_eq!(new_task(v1::NewTask::default()).unwrap().parent, None);
}

#[test]
fn metadata_is_kept_as_json_without_its_nulls() {
    let list = Kind::ListValue(ListValue {
        values: vec![true.into(), ().into()],
    });
    let inner = object([("null", ().into()), ("list", list.into())]);
    let fields = [
        ("null", ().into()),
        ("nothing", Value { kind: None }),
        ("number", 1.5.into()),
        ("object", Kind::StructValue(inner).into()),
    ];

    let kept = metadata(Some(&object(fields))).unwrap();

    let kept: Vec<_> = kept.iter().map(|(key, json)| (&**key, &**json)).collect();
    let expected = [
        ("number", "1.5"),
        ("object", r#"{"list":[true,null],"null":null}"#),
    ];
    assert_eq!(kept, expected);
}

#[test]
fn null_in_a_change_of_metadata_deletes() {
    let fields = [("gone", ().into()), ("kept", "text".into())];

    let changes = metadata_changes(Some(&object(fields))).unwrap();

    assert_eq!(changes["gone"], None);
    assert_eq!(changes["kept"].as_deref(), Some("\"text\""));
}

#[test]
fn numbers_that_json_does_not_have_are_refused() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused(metadata(Some(&object([("n", number.into())]))));
        let list = ListValue {
            values: vec![number.into()],
        };
        let nested = Kind::ListValue(list).into();
        refused(metadata(Some(&object([("nested", nested)]))));
    }
}

#[test]
fn artifacts_without_a_digest_or_with_a_negative_size_are_refused() {
    let sound = v1::Artifact {
        sha256: "ab".repeat(32),
        path: "out.txt".into(),
        size: 3,
    };
    assert_eq!(artifact("inputs", &sound).unwrap().size, 3);
    for sha256 in ["".into(), "ab".repeat(31), "zz".repeat(32), "ä".repeat(32)] {
        let bad = v1::Artifact {
            sha256,
            ..sound.clone()
        };
        refused(artifact("inputs", &bad));
    }
    refused(artifact("inputs", &v1::Artifact { size: -1, ..sound }));
}

#[test]
fn fences_that_are_none_are_refused() {
    let sound = v1::Fence {
        epoch: UUID.into(),
        team_uid: u64::MAX,
        task_id: u64::MAX,
        attempt: i32::MAX,
    };

    assert_eq!(to_wire::fence(&fence(Some(&sound)).unwrap()), sound);
    refused(fence(None));
    refused(fence(Some(&v1::Fence {
        epoch: "".into(),
        ..sound.clone()
    })));
    refused(fence(Some(&v1::Fence {
        attempt: -1,
        ..sound
    })));
}

#[test]
fn hello_with_no_slots_or_more_than_may_be_is_refused() {
    let with = |slots| {
        hello(v1::Hello {
            name: "w".into(),
            instance_id: UUID.into(),
            slots,
            ..v1::Hello::default()
        })
    };

    assert_eq!(with(1).unwrap().slots, 1);
    assert_eq!(with(1_000).unwrap().slots, 1_000);
    for slots in [0, -1, 1_001, i32::MAX, i32::MIN] {
        refused(with(slots));
    }
}

#[test]
fn report_at_the_limit_passes_and_one_past_it_is_refused() {
    let with = |len| {
        end_report(v1::Ended {
            ending: v1::AttemptEnding::Completed as i32,
            result: "x".repeat(len),
            ..v1::Ended::default()
        })
    };

    let max = board::limits::RESULT_LEN_MAX;
    assert_eq!(with(max).unwrap().result.len(), max);
    refused(with(max + 1));
}

#[test]
fn page_sizes_have_a_default_and_an_end() {
    assert_eq!(page_size(0).unwrap(), 50);
    assert_eq!(page_size(7).unwrap(), 7);
    assert_eq!(page_size(i32::MAX).unwrap(), 1_000);
    refused(page_size(-1));
}

/// Numbers around those where something changes.
fn number() -> impl Strategy<Value = i64> {
    let edges = [0, 1, -1, SECONDS_MAX, i64::MAX, i64::MIN];
    prop_oneof![any::<i64>(), prop::sample::select(edges.to_vec())]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(UUID.to_owned()),
        "[a-z]{1,4}",
        ".{0,8}"
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value { kind: None }),
        any::<i32>().prop_map(|n| Kind::NullValue(n).into()),
        any::<f64>().prop_map(Value::from),
        Just(f64::NAN.into()),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop::collection::vec(inner, 0..4)
            .prop_map(|values| Kind::ListValue(ListValue { values }).into())
    })
}

fn any_object() -> impl Strategy<Value = Option<Struct>> {
    let fields = prop::collection::hash_map(word(), value(), 0..4);
    prop::option::of(fields.prop_map(|fields| Struct { fields }))
}

fn any_task() -> impl Strategy<Value = v1::NewTask> {
    let texts = (word(), word(), word());
    let enums = (-1..6_i32, -1..4_i32, -1..5_i32, any::<Option<i32>>());
    let clock = (number(), any::<i32>());
    (texts, enums, clock, any_object(), any::<u64>()).prop_map(
        |(texts, enums, (seconds, nanos), metadata, id)| v1::NewTask {
            owner: texts.0,
            agent_type: texts.1.clone(),
            subagent_type: texts.1,
            priority: enums.0,
            kind: enums.1,
            blocker_failed_policy: enums.2,
            crash_limit: enums.3,
            deadline: Some(Timestamp { seconds, nanos }),
            timeout: Some(Span { seconds, nanos }),
            metadata,
            blocked_by: vec![id],
            parent_task_id: id,
            inputs: vec![v1::Artifact {
                sha256: texts.2,
                size: seconds,
                ..v1::Artifact::default()
            }],
            ..v1::NewTask::default()
        },
    )
}

/// A Hello and an end in which everything is there that may be.
fn reports() -> (v1::Hello, v1::Ended) {
    let fence = v1::Fence {
        epoch: UUID.into(),
        team_uid: 1,
        task_id: 1,
        attempt: 1,
    };
    let hello = v1::Hello {
        name: "w".into(),
        instance_id: UUID.into(),
        slots: 4,
        agent_types: vec![v1::AgentType {
            name: "shell".into(),
            ..v1::AgentType::default()
        }],
        teams: vec!["team".into()],
        held: vec![v1::Held {
            fence: Some(fence.clone()),
            started: true,
        }],
        ..v1::Hello::default()
    };
    let span = Span {
        seconds: 1,
        nanos: 1,
    };
    let ended = v1::Ended {
        fence: Some(fence),
        ending: v1::AttemptEnding::Completed as i32,
        result: "done".into(),
        usage: Some(v1::Usage {
            input_tokens: 0,
            output_tokens: 0,
            wall_time: Some(span),
            cpu_time: Some(span),
            output_bytes: 1,
        }),
        ..v1::Ended::default()
    };
    (hello, ended)
}

fn with_other_bytes(message: &impl Message, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let mut bytes = message.encode_to_vec();
    for (at, byte) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes
}

proptest! {
    #[test]
    fn no_task_panics_the_parser_or_the_hash_of_its_request(task in any_task()) {
        let who = Identity::of(&MetadataMap::new()).unwrap();
        let team = TeamName::parse("team").unwrap();
        let batch = v1::BatchCreateTasksRequest {
            tasks: vec![task.clone()],
            ..v1::BatchCreateTasksRequest::default()
        };
        let _ = who.request("BatchCreateTasks", &team, UUID, &batch);
        if let Ok(parsed) = new_task(task) {
            for json in parsed.metadata.values() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(json).is_ok());
            }
        }
    }

    #[test]
    fn no_bytes_that_decode_panic_the_parsers_of_reports(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let (seed_hello, seed_ended) = reports();
        if let Ok(said) = v1::Hello::decode(&*with_other_bytes(&seed_hello, &changes)) {
            let _ = hello(said);
        }
        if let Ok(said) = v1::Ended::decode(&*with_other_bytes(&seed_ended, &changes)) {
            let _ = fence(said.fence.as_ref());
            let _ = end_report(said);
        }
    }

    #[test]
    fn moments_and_spans_come_back_as_they_were_told(seconds in 0..=SECONDS_MAX, millis in 0..1_000) {
        let at = Time(seconds * 1_000 + i64::from(millis));
        prop_assert_eq!(time("at", &to_wire::time(at)).unwrap(), at);
        let for_ = at.since(Time(0));
        prop_assert_eq!(span("for", &to_wire::span(for_)).unwrap(), for_);
    }
}

#[test]
fn question_that_makes_no_sense_is_left_to_the_board_to_refuse() {
    let asked = |number, timeout| {
        question(v1::Asked {
            fence: None,
            number,
            text: "which one?".into(),
            timeout,
        })
    };
    let span = |seconds| Some(Span { seconds, nanos: 0 });
    let text = || Arc::from("which one?");

    assert_eq!(asked(1, None), (1, text(), None));
    let minute = Duration::from_secs(60);
    assert_eq!(asked(2, span(60)), (2, text(), Some(minute)));
    assert_eq!(asked(-1, span(-1)), (0, text(), Some(Duration::ZERO)));
}
