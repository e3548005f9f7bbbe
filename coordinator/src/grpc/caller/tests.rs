//! Who calls, and which calls are the same.

use ganger_proto::v1;
use tonic::{Code, metadata::MetadataValue};

use super::*;

const ID: &str = "0191b7e0-0000-7000-8000-000000000001";

fn metadata(entries: &[(&'static str, &str)]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (key, value) in entries {
        metadata.insert(*key, MetadataValue::try_from(*value).unwrap());
    }
    metadata
}

fn identity(entries: &[(&'static str, &str)]) -> Result<Identity, Status> {
    Identity::of(&metadata(entries))
}

fn team(name: &str) -> TeamName {
    TeamName::parse(name).unwrap()
}

fn task(metadata: &[(String, f64)]) -> v1::CreateTaskRequest {
    let fields = metadata.iter().cloned();
    let fields = fields.map(|(key, value)| (key, pbjson_types::Value::from(value)));
    v1::CreateTaskRequest {
        subject: "work".into(),
        metadata: Some(pbjson_types::Struct {
            fields: fields.collect(),
        }),
        ..v1::CreateTaskRequest::default()
    }
}

fn request(who: &Identity, call: &'static str, in_team: &str, body: &impl Serialize) -> Request {
    let request = who.request(call, &team(in_team), ID, body);
    request.unwrap().unwrap()
}

#[test]
fn member_is_read_with_and_without_an_incarnation() {
    let nobody = identity(&[]).unwrap().caller;
    assert_eq!(nobody, Caller::default());
    assert_eq!(identity(&[(MEMBER_KEY, "  ")]).unwrap().caller, nobody);

    let cases = [("alice", None), (" alice ", None), ("alice/3", Some(3))];
    for (text, incarnation) in cases {
        let caller = identity(&[(MEMBER_KEY, text)]).unwrap().caller;
        assert_eq!(caller.member.unwrap().as_str(), "alice", "{text:?}");
        assert_eq!(caller.incarnation, incarnation, "{text:?}");
    }
}

#[test]
fn member_may_be_said_by_its_address_which_names_the_team_where_nothing_else_does() {
    for (text, incarnation) in [("alice@red", None), ("alice@red/3", Some(3))] {
        let who = identity(&[(MEMBER_KEY, text)]).unwrap();
        assert_eq!(who.caller.member.as_ref().unwrap().as_str(), "alice");
        assert_eq!(who.caller.incarnation, incarnation, "{text:?}");
        assert_eq!(who.team("").unwrap(), team("red"));
        assert_eq!(who.team("red").unwrap(), team("red"));
    }
    for key in [MEMBER_KEY, BEHALF_KEY] {
        let elsewhere = identity(&[(TEAM_KEY, "blue"), (key, "alice@red")]).unwrap();
        let refused = elsewhere.team("").unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{key}");
    }
}

#[test]
fn member_that_is_none_is_refused() {
    let long = "a".repeat(65);
    let texts = [
        "/3",
        "alice/",
        "alice/x",
        "alice/-1",
        "alice/1/2",
        "alice@",
        "alice@red@red",
        "alice/1@red",
        "a b",
        &long,
    ];
    for text in texts.into_iter().chain(["alice/4294967296"]) {
        let refused = identity(&[(MEMBER_KEY, text)]).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{text:?}");
    }
    let mut opaque = MetadataMap::new();
    opaque.insert(TEAM_KEY, MetadataValue::try_from(&b"\xff"[..]).unwrap());
    let refused = Identity::of(&opaque).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[test]
fn team_is_the_requests_own_then_the_metadatas_then_the_default() {
    let from_metadata = identity(&[(TEAM_KEY, "blue")]).unwrap();

    assert_eq!(from_metadata.team("red").unwrap(), team("red"));
    assert_eq!(from_metadata.team("").unwrap(), team("blue"));
    assert_eq!(identity(&[]).unwrap().team("").unwrap(), team(DEFAULT_TEAM));
    let refused = from_metadata.team("no team").unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[test]
fn call_without_a_request_id_is_not_recognised() {
    let who = identity(&[]).unwrap();

    let request = who.request("call", &team("red"), "", &task(&[]));

    assert_eq!(request.unwrap(), None);
    let refused = who.request("call", &team("red"), "7", &task(&[]));
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn body_with_its_maps_in_another_order_is_the_same_body() {
    let who = identity(&[]).unwrap();
    // Hash maps made apart iterate in orders of their own: of 20 keys hardly ever in the same.
    let entries: Vec<_> = (0..20)
        .map(|n| (format!("key-{n}"), f64::from(n)))
        .collect();
    let reversed: Vec<_> = entries.iter().rev().cloned().collect();

    let one = request(&who, "call", "red", &task(&entries));
    let other = request(&who, "call", "red", &task(&reversed));

    assert_eq!(one, other);
    let changed = request(&who, "call", "red", &task(&entries[1..]));
    assert_eq!(changed.key, one.key);
    assert_ne!(changed.body, one.body);
}

#[test]
fn same_id_of_another_member_team_or_call_is_another_request() {
    let nobody = identity(&[]).unwrap();
    let alice = identity(&[(MEMBER_KEY, "alice")]).unwrap();
    let body = task(&[]);

    let keys = [
        request(&nobody, "call", "red", &body).key,
        request(&nobody, "call", "blue", &body).key,
        request(&nobody, "other", "red", &body).key,
        request(&alice, "call", "red", &body).key,
        request(&alice, "callred", "a", &body).key,
    ];

    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    assert_eq!(request(&alice, "call", "red", &body).key, keys[3]);
    let again = identity(&[(MEMBER_KEY, "alice/2")]).unwrap();
    assert_eq!(request(&again, "call", "red", &body).key, keys[3]);
}

#[test]
fn request_id_counts_in_any_spelling_of_the_uuid() {
    let who = identity(&[]).unwrap();
    let body = task(&[]);

    let shouted = who.request("call", &team("red"), &ID.to_uppercase(), &body);

    let shouted = shouted.unwrap().unwrap();
    assert_eq!(shouted, request(&who, "call", "red", &body));
}

#[test]
fn team_in_the_request_or_in_the_metadata_is_the_same_body() {
    let who = identity(&[]).unwrap();
    let without = v1::CreateTaskRequest {
        request_id: ID.into(),
        ..task(&[])
    };
    let with = v1::CreateTaskRequest {
        team: "default".into(),
        request_id: ID.to_uppercase(),
        ..task(&[])
    };

    assert_eq!(
        request(&who, "CreateTask", "default", &without),
        request(&who, "CreateTask", "default", &with)
    );
}
