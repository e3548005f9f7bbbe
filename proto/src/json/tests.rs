//! What is written, letter by letter.

use pbjson_types::{Duration, ListValue, Struct, Timestamp, value::Kind};

use super::*;
use crate::v1;

fn struct_of(fields: impl IntoIterator<Item = (&'static str, Kind)>) -> Struct {
    let fields = fields.into_iter();
    Struct {
        fields: fields
            .map(|(key, kind)| (key.to_owned(), kind.into()))
            .collect(),
    }
}

#[test]
fn fields_are_in_the_order_of_their_numbers_and_defaults_are_left_out() {
    let answer = v1::CancelTaskResponse {
        task: Some(v1::Task {
            open_blockers: vec![3],
            status: v1::TaskStatus::InProgress.into(),
            subject: "<b> & \u{7f}\n\"ü\"".into(),
            id: 7,
            ..v1::Task::default()
        }),
    };

    assert_eq!(
        to_line(&answer).unwrap(),
        r#"{"task":{"id":"7","subject":"<b> & \u007f\n\"ü\"","status":"TASK_STATUS_IN_PROGRESS","openBlockers":["3"]}}"#
    );
    assert_eq!(to_line(&v1::Task::default()).unwrap(), "{}");
}

#[test]
fn oneof_stands_where_its_number_is() {
    let request = v1::UploadArtifactRequest {
        part: Some(v1::upload_artifact_request::Part::Chunk(
            b"\x00\xff~".as_slice().into(),
        )),
    };

    assert_eq!(to_line(&request).unwrap(), r#"{"chunk":"AP9+"}"#);
}

#[test]
fn what_is_optional_and_said_to_be_the_default_is_written() {
    let request = v1::ListTasksRequest {
        ready: Some(false),
        ..v1::ListTasksRequest::default()
    };

    assert_eq!(to_line(&request).unwrap(), r#"{"ready":false}"#);
}

#[test]
fn keys_of_maps_and_structs_are_sorted() {
    let words = ["zebra", "alpha", "Mike", "kilo", "10", "9", "é", "_"];
    let labels = words.map(|word| (word.to_owned(), "x".to_owned()));
    let inner = struct_of([("b", Kind::NullValue(0)), ("a", Kind::BoolValue(false))]);
    let metadata = struct_of([
        ("z", Kind::StringValue("</a>".into())),
        (
            "list",
            Kind::ListValue(ListValue {
                values: vec![
                    Kind::NumberValue(1.0).into(),
                    Kind::NumberValue(-2.5).into(),
                ],
            }),
        ),
        ("a", Kind::StructValue(inner)),
    ]);
    let request = v1::CreateTaskRequest {
        metadata: Some(metadata),
        worker_labels: labels.into_iter().collect(),
        ..v1::CreateTaskRequest::default()
    };

    assert_eq!(
        to_line(&request).unwrap(),
        "{\"metadata\":{\"a\":{\"a\":false,\"b\":null},\"list\":[1,-2.5],\"z\":\"</a>\"},\
         \"workerLabels\":{\"10\":\"x\",\"9\":\"x\",\"Mike\":\"x\",\"_\":\"x\",\"alpha\":\"x\",\
         \"kilo\":\"x\",\"zebra\":\"x\",\"é\":\"x\"}}"
    );
}

#[test]
fn times_end_with_z_and_spans_with_s() {
    let times = [
        (0, "1970-01-01T00:00:00Z"),
        (500_000_000, "1970-01-01T00:00:00.500Z"),
        (1_000, "1970-01-01T00:00:00.000001Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
    ];
    for (nanos, text) in times {
        let event = v1::Event {
            at: Some(Timestamp { seconds: 0, nanos }),
            ..v1::Event::default()
        };
        assert_eq!(to_line(&event).unwrap(), format!(r#"{{"at":"{text}"}}"#));
    }
    let request = v1::WaitTasksRequest {
        timeout: Some(Duration {
            seconds: 90,
            nanos: 250_000_000,
        }),
        ..v1::WaitTasksRequest::default()
    };
    assert_eq!(to_line(&request).unwrap(), r#"{"timeout":"90.250s"}"#);
}

#[test]
fn enum_of_a_newer_peer_is_its_number() {
    let task = v1::Task {
        status: 1_000,
        ..v1::Task::default()
    };

    assert_eq!(to_line(&task).unwrap(), r#"{"status":1000}"#);
}

#[test]
fn numbers_are_written_as_jq_writes_them() {
    // Each pair was printed by jq 1.6.
    let written = [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (100.0, "100"),
        (1e15, "1000000000000000"),
        (1e16, "1e+16"),
        (1.2e17, "1.2e+17"),
        (123_456_789.123_456_79, "123456789.12345679"),
        (123_456_789_012_345_680_000.0, "123456789012345680000"),
        (12_345_678_901_234_567_890_123.0, "12345678901234568000000"),
        (1.5e300, "1.5e+300"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (1e-4, "0.0001"),
        (1.5e-4, "0.00015"),
        (1e-5, "1e-05"),
        (-1.25e-7, "-1.25e-07"),
    ];
    for (number, text) in written {
        assert_eq!(to_line(&number).unwrap(), text);
    }
}

#[test]
fn what_is_written_is_read_again() {
    let task = v1::Task {
        id: u64::MAX,
        subject: "\u{0}\u{1f}\u{2028}😀\\/".into(),
        created_at: Some(Timestamp {
            seconds: 1_700_000_000,
            nanos: 5_000_000,
        }),
        metadata: Some(struct_of([("n", Kind::NumberValue(1e-7))])),
        ..v1::Task::default()
    };

    let line = to_line(&task).unwrap();

    assert_eq!(serde_json::from_str::<v1::Task>(&line).unwrap(), task);
}
