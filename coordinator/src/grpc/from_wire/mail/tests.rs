//! What peers say of messages is checked before the board sees it.

use board::{
    id::MemberName,
    mail::{Letter, Recipients, Sender},
    time::Time,
};
use pbjson_types::{Duration as Span, Struct, Value, value::Kind};
use proptest::prelude::*;
use prost::Message as _;
use tonic::Code;

use super::*;
use crate::grpc::to_wire;

fn refused<T: std::fmt::Debug>(parsed: Parsed<T>) {
    let status = parsed.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
}

fn team() -> TeamName {
    TeamName::parse("red").unwrap()
}

fn letter(request: &v1::SendMessageRequest) -> Parsed<NewLetter> {
    super::letter(request, &team())
}

fn to(names: &[&str]) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        to: names.iter().map(ToString::to_string).collect(),
        text: "hi".into(),
        ..v1::SendMessageRequest::default()
    }
}

fn read(request: &v1::ReceiveMessagesRequest) -> Parsed<(MailWanted, Duration)> {
    received(team(), Caller::default(), request)
}

#[test]
fn message_is_text_to_named_members_unless_it_says_otherwise() {
    let plain = letter(&to(&["bob", "alice"])).unwrap();
    let names = ["bob", "alice"].map(|name| MemberName::parse(name).unwrap());
    assert_eq!(plain.to, Addressees::Named(names.to_vec()));
    assert_eq!((plain.kind, &*plain.payload), (MailKind::Text, ""));

    let all = v1::SendMessageRequest {
        broadcast: true,
        r#type: v1::MessageType::Question.into(),
        task_id: 7,
        ..to(&[])
    };
    let all = letter(&all).unwrap();
    assert_eq!(
        (all.to, all.kind),
        (Addressees::Everybody, MailKind::Question)
    );
    assert_eq!(all.task, Some(board::id::TaskId(7)));
}

#[test]
fn what_makes_no_sense_is_refused() {
    refused(letter(&v1::SendMessageRequest {
        broadcast: true,
        ..to(&["bob"])
    }));
    refused(letter(&to(&["bob", "b b"])));
    refused(letter(&to(&[""])));
    refused(letter(&v1::SendMessageRequest {
        r#type: 99,
        ..to(&["bob"])
    }));
    refused(letter(&v1::SendMessageRequest {
        timeout: Some(Span {
            seconds: -1,
            nanos: 0,
        }),
        ..to(&["bob"])
    }));
    let not_a_number = Value {
        kind: Some(Kind::NumberValue(f64::NAN)),
    };
    refused(letter(&v1::SendMessageRequest {
        payload: Some(Struct {
            fields: [("n".to_owned(), not_a_number)].into(),
        }),
        ..to(&["bob"])
    }));
    let default = v1::ReceiveMessagesRequest::default;
    refused(read(&v1::ReceiveMessagesRequest {
        limit: -1,
        ..default()
    }));
    refused(read(&v1::ReceiveMessagesRequest {
        types: vec![1, 99],
        ..default()
    }));
    refused(read(&v1::ReceiveMessagesRequest {
        wait: Some(Span {
            seconds: 0,
            nanos: -1,
        }),
        ..default()
    }));
}

#[test]
fn limits_and_waits_have_a_default_and_an_end() {
    let read = |limit, seconds| {
        let wait = Some(Span { seconds, nanos: 0 });
        let request = v1::ReceiveMessagesRequest {
            limit,
            wait,
            ..v1::ReceiveMessagesRequest::default()
        };
        let (wanted, wait) = read(&request).unwrap();
        (wanted.count_max, wait.as_secs(), wanted.watches)
    };

    assert_eq!(read(0, 0), (50, 0, false));
    assert_eq!(read(1_000, 300), (1_000, 300, true));
    assert_eq!(read(1_001, 301), (1_000, 300, true));
}

#[test]
fn unsaid_type_in_a_filter_stands_for_any() {
    let kinds = |types: &[v1::MessageType]| {
        let types: Vec<i32> = types.iter().map(|kind| *kind as i32).collect();
        filter(&team(), &types, "").unwrap().kinds
    };

    assert_eq!(kinds(&[]), []);
    assert_eq!(kinds(&[v1::MessageType::Digest]), [MailKind::Digest]);
    let any = [v1::MessageType::Digest, v1::MessageType::Unspecified];
    assert_eq!(kinds(&any), []);
}

fn a_letter() -> Letter {
    Letter {
        id: MessageId(1),
        from: Sender::Coordinator,
        to: Recipients::Many { is_broadcast: true },
        kind: MailKind::Text,
        text: "".into(),
        summary: "".into(),
        payload: "".into(),
        correlation: "".into(),
        at: Time(0),
        task: None,
        approve: None,
        deadline: None,
        revision: None,
    }
}

#[test]
fn kinds_are_the_same_on_both_sides() {
    for number in 1..=14 {
        let kind = kind("type", number).unwrap().unwrap();
        let letter = Letter { kind, ..a_letter() };
        let told = to_wire::message("red", "bob", &letter);
        assert_eq!(told.r#type, number);
    }
    refused(kind("type", 15));
}

proptest! {
    /// From the bytes of messages that make sense, with some of them changed.
    #[test]
    fn no_bytes_that_decode_panic_the_parsers(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let payload = Value { kind: Some(Kind::NumberValue(1.5)) };
        let whole = v1::SendMessageRequest {
            team: "red".into(),
            r#type: 1,
            summary: "s".into(),
            payload: Some(Struct { fields: [("n".to_owned(), payload)].into() }),
            correlation_id: "c".into(),
            approve: Some(true),
            task_id: 3,
            timeout: Some(Span { seconds: 1, nanos: 1 }),
            ..to(&["bob", "alice"])
        };
        let mut bytes = whole.encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(request) = v1::SendMessageRequest::decode(&bytes[..]) {
            let _ = letter(&request);
        }
        if let Ok(request) = v1::ReceiveMessagesRequest::decode(&bytes[..]) {
            let _ = read(&request);
        }
    }
}
