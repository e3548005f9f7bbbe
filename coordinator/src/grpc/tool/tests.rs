use std::collections::BTreeSet;

use ganger_proto::v1;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{
    args::{Argument, Given, Object, Wrong},
    json::{Case, camel, of_struct, to_struct, told},
    kinds::{AnyObject, Count, Id, Seconds, Word},
    refusal::{No, Refusal},
    registry::{Entry, TOOLS},
};

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn tool(name: &str) -> &'static Entry {
    TOOLS.iter().find(|tool| tool.name == name).unwrap()
}

fn refused(name: &str, given: Value) -> Refusal {
    match (tool(name).reads)(object(given.clone())) {
        Err(refusal) => refusal,
        Ok(()) => panic!("{name} takes {given}"),
    }
}

/// Something that a schema allows.
fn example(schema: &Value) -> Value {
    if let Some(first) = schema["anyOf"].get(0) {
        return example(first);
    }
    match schema["type"].as_str().unwrap() {
        "string" => schema["enum"].get(0).cloned().unwrap_or(json!("1")),
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        "array" => json!([example(&schema["items"])]),
        "object" => match schema.get("properties") {
            Some(Value::Object(properties)) => {
                let properties = properties.iter();
                properties
                    .map(|(key, schema)| (key.clone(), example(schema)))
                    .collect()
            }
            _ => json!({"a": 1}),
        },
        other => panic!("type {other}"),
    }
}

/// That a schema has only known words, each with what belongs to it.
fn assert_sound(schema: &Value, at: &str) {
    let words = schema.as_object().unwrap();
    for (word, value) in words {
        let is_sound = match word.as_str() {
            "type" => ["string", "integer", "number", "boolean", "array", "object"]
                .contains(&value.as_str().unwrap()),
            "description" => value.as_str().is_some_and(|text| !text.is_empty()),
            "enum" => value.as_array().is_some_and(|words| {
                let distinct: BTreeSet<_> = words.iter().map(Value::to_string).collect();
                !words.is_empty() && distinct.len() == words.len()
            }),
            "minimum" => value.is_number(),
            "additionalProperties" => *value == json!(false),
            "required" => {
                let names = value.as_array().unwrap().iter();
                names
                    .map(|name| name.as_str().unwrap())
                    .all(|name| schema["properties"].get(name).is_some())
            }
            "items" => {
                assert_sound(value, &format!("{at}[]"));
                true
            }
            "anyOf" => {
                let ways = value.as_array().unwrap();
                ways.iter().for_each(|way| assert_sound(way, at));
                ways.len() > 1
            }
            "properties" => {
                for (name, property) in value.as_object().unwrap() {
                    assert_sound(property, &format!("{at}.{name}"));
                    let text = property["description"].as_str();
                    assert!(text.is_some(), "{at}.{name} is not described");
                }
                true
            }
            _ => false,
        };
        assert!(is_sound, "{at}: {word}: {value}");
    }
    assert!(
        words.contains_key("type") || words.contains_key("anyOf"),
        "{at}"
    );
    if schema["type"] == "array" {
        assert!(words.contains_key("items"), "{at}");
    }
}

#[test]
fn tools_are_those_that_lead_agents_know() {
    let names: BTreeSet<&str> = TOOLS.iter().map(|tool| tool.name).collect();

    let known = [
        "spawn_team",
        "assign_task",
        "check_teammates",
        "message_teammate",
        "dissolve_team",
        "TeamCreate",
        "TeamDelete",
        "TaskCreate",
        "TaskGet",
        "TaskList",
        "TaskUpdate",
        "SendMessage",
        "task",
        "read_messages",
        "broadcast",
        "claim_task",
        "check_task",
        "wait_tasks",
        "answer_question",
        "cancel_task",
        "steer_task",
        "list_agent_types",
        "list_teams",
        "read_transcript",
        "read_artifact",
        "pause_task",
        "resume_task",
        "release_task",
        "reopen_task",
    ];
    assert_eq!(names, BTreeSet::from(known));
    assert_eq!(TOOLS.len(), known.len());
}

#[test]
fn every_schema_is_sound_and_every_tool_described() {
    for tool in TOOLS {
        assert!(tool.description.len() > 60, "{}", tool.name);
        assert!(!tool.description.contains("  "), "{}", tool.name);
        let schema = Value::Object(tool.schema());
        assert_eq!(schema["type"], "object");
        assert_sound(&schema, tool.name);
    }
}

#[test]
fn parser_takes_what_the_schema_allows_and_nothing_else() {
    for tool in TOOLS {
        let schema = tool.schema();
        let properties = schema["properties"].as_object().unwrap();
        let required: Vec<&str> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        let whole: Object = properties
            .iter()
            .map(|(name, schema)| (name.clone(), example(schema)))
            .collect();

        (tool.reads)(whole.clone()).unwrap_or_else(|no| panic!("{}: {no:?}", tool.name));
        for (name, schema) in properties {
            // Each by itself, beside what must be there; null counts as not said.
            let mut few: Object = required
                .iter()
                .map(|name| ((*name).to_owned(), whole[*name].clone()))
                .collect();
            few.insert(name.clone(), example(schema));
            (tool.reads)(few.clone()).unwrap_or_else(|no| panic!("{}: {no:?}", tool.name));
            few.insert(name.clone(), Value::Null);
            let without = (tool.reads)(few);
            assert_eq!(
                without.is_err(),
                required.contains(&name.as_str()),
                "{name}"
            );
            if let Err(refusal) = without {
                assert_eq!(refusal.reason, "ARGUMENT_MISSING");
                assert_eq!(refusal.facts["argument"], name.as_str());
            }
            // What is of no kind at all is refused by its name.
            let mut wrong = whole.clone();
            wrong.insert(name.clone(), json!([[[]]]));
            let refusal = (tool.reads)(wrong).expect_err(name);
            assert_eq!(refusal.reason, "ARGUMENT_INVALID", "{refusal:?}");
            assert!(refusal.error.contains(name), "{refusal:?}");
        }

        let mut more = whole;
        more.insert("subjet".into(), json!("x"));
        let refusal = (tool.reads)(more).expect_err(tool.name);
        assert_eq!(refusal.reason, "ARGUMENT_UNKNOWN");
        assert_eq!(refusal.facts["argument"], "subjet");
        for name in properties.keys() {
            assert!(refusal.next.contains(name.as_str()), "{refusal:?}");
        }
    }
}

#[test]
fn wrong_part_of_an_argument_is_named_by_its_path() {
    let of = |members: Value| json!({"team_name": "red", "members": members});

    let refusal = refused("spawn_team", of(json!([{"name": "a"}, {"name": {"a": 5}}])));
    assert_eq!(
        refusal.error,
        "spawn_team: members[1].name is {\"a\":5}, and must be a text"
    );

    let refusal = refused("spawn_team", of(json!([{"role": "tester"}])));
    assert_eq!(refusal.error, "spawn_team: members[0].name is missing");
    assert_eq!(refusal.reason, "ARGUMENT_MISSING");

    let refusal = refused("spawn_team", of(json!([{"name": "a", "colour": "red"}])));
    assert!(
        refusal
            .error
            .starts_with("spawn_team: members[0].colour is not known; known are name,")
    );

    let refusal = refused("TaskUpdate", json!({"taskId": "1", "status": "done"}));
    assert!(
        refusal
            .error
            .contains("must be one of pending, in_progress, completed")
    );
}

#[test]
fn ids_come_as_text_with_or_without_hash_and_as_numbers() {
    for id in [json!("3"), json!("#3"), json!(" 3 "), json!(3)] {
        assert_eq!(Id::read(id).unwrap(), Id(3));
    }
    for none in [
        json!("0"),
        json!(0),
        json!(-1),
        json!(1.5),
        json!("three"),
        json!("##3"),
        json!({}),
    ] {
        assert!(Id::read(none.clone()).is_err(), "{none}");
    }
    assert_eq!(Vec::<Id>::read(json!(["1", 2])).unwrap(), [Id(1), Id(2)]);
    assert_eq!(Vec::<Id>::read(json!("7")).unwrap(), [Id(7)]);
}

/// What a value that may be left out is read as, given beside nothing else.
fn read<T: Argument>(value: Value) -> Result<Option<T>, Wrong> {
    Given::of(object(json!({"it": value}))).take("it")
}

#[test]
fn what_has_one_certain_meaning_is_taken_in_every_shape() {
    for three in [json!(3), json!("3"), json!(" 3 "), json!([3]), json!(["3"])] {
        assert_eq!(read::<Id>(three.clone()).unwrap(), Some(Id(3)), "{three}");
        assert_eq!(
            read::<Count>(three.clone()).unwrap(),
            Some(Count(3)),
            "{three}"
        );
    }
    assert_eq!(read::<Id>(json!(["#3"])).unwrap(), Some(Id(3)));
    assert_eq!(read::<Count>(json!("3.0")).unwrap(), Some(Count(3)));
    for yes in [json!(true), json!("true"), json!(" TRUE "), json!([true])] {
        assert_eq!(read::<bool>(yes.clone()).unwrap(), Some(true), "{yes}");
    }
    for ids in [
        json!([1, "2"]),
        json!("[1, \"#2\"]"),
        json!("1,2"),
        json!("#1 #2"),
        json!(["1", 2]),
    ] {
        let read = read::<Vec<Id>>(ids.clone()).unwrap();
        assert_eq!(read, Some(vec![Id(1), Id(2)]), "{ids}");
    }
    for texts in [json!(["a", "b"]), json!("[\"a\", \"b\"]")] {
        let read = read::<Vec<String>>(texts.clone()).unwrap();
        assert_eq!(read, Some(vec!["a".into(), "b".into()]), "{texts}");
    }
    for text in [json!(42), json!("42"), json!(["42"])] {
        assert_eq!(
            read::<String>(text.clone()).unwrap(),
            Some("42".into()),
            "{text}"
        );
    }
    assert_eq!(read::<String>(json!(true)).unwrap(), Some("true".into()));
    for one in [json!({"a": 1}), json!("{\"a\": 1}"), json!([{"a": 1}])] {
        let read = read::<AnyObject>(one.clone()).unwrap();
        assert_eq!(read, Some(AnyObject(object(json!({"a": 1})))), "{one}");
    }
    let members = json!({"team_name": "red", "members": "[{\"name\": \"a\"}]"});
    assert!((tool("spawn_team").reads)(object(members)).is_ok());
    let one = json!({"teamName": "red", "members": {"name": "a", "agentType": ["shell"]}});
    assert!((tool("spawn_team").reads)(object(one)).is_ok());
}

#[test]
fn what_may_be_left_out_may_come_empty() {
    for nothing in [
        json!(null),
        json!(""),
        json!(" "),
        json!("null"),
        json!([]),
        json!({}),
    ] {
        assert_eq!(read::<Id>(nothing.clone()).unwrap(), None, "{nothing}");
        assert_eq!(read::<Count>(nothing.clone()).unwrap(), None, "{nothing}");
        assert_eq!(read::<bool>(nothing.clone()).unwrap(), None, "{nothing}");
        let word = read::<Word<v1::TaskPriority>>(nothing.clone()).unwrap();
        assert_eq!(word, None, "{nothing}");
    }
    assert_eq!(read::<Vec<Id>>(json!("")).unwrap(), None);
    assert_eq!(read::<Vec<Id>>(json!([])).unwrap(), Some(vec![]));
    assert_eq!(read::<AnyObject>(json!("")).unwrap(), None);
    // An empty text says something: it clears an owner.
    assert_eq!(read::<String>(json!("")).unwrap(), Some(String::new()));
    assert_eq!(read::<String>(json!("null")).unwrap(), Some("null".into()));
}

#[test]
fn what_could_mean_two_things_is_refused_by_its_name() {
    for (wrong, must_be) in [
        (read::<bool>(json!(1)).map(drop), "true or false"),
        (read::<bool>(json!("yes")).map(drop), "true or false"),
        (read::<Id>(json!([1, 2])).map(drop), "an id"),
        (read::<Id>(json!({"id": 1})).map(drop), "an id"),
        (read::<String>(json!(["a", "b"])).map(drop), "a text"),
        (read::<String>(json!({"a": 1})).map(drop), "a text"),
        // Its last digits were lost on the way.
        (
            read::<String>(json!(12_345_678_901_234_567_890_u64)).map(drop),
            "a text",
        ),
        (read::<AnyObject>(json!("no json")).map(drop), "an object"),
        (read::<AnyObject>(json!("[1]")).map(drop), "an object"),
    ] {
        let wrong = wrong.unwrap_err();
        assert_eq!(wrong.path, "it");
        assert!(wrong.why.contains(must_be), "{}", wrong.why);
    }
    // A pattern in brackets is one text.
    for pattern in ["[0-9]*", "[1]", "[ab].md"] {
        let read = read::<Vec<String>>(json!(pattern)).unwrap();
        assert_eq!(read, Some(vec![pattern.to_owned()]));
    }
    let both = json!({"taskId": "1", "task_id": "2"});
    assert_eq!(refused("TaskGet", both).reason, "ARGUMENT_UNKNOWN");
    assert!((tool("TaskGet").reads)(object(json!({"task_id": "2"}))).is_ok());
    assert!((tool("claim_task").reads)(object(json!({"taskId": "2"}))).is_ok());
}

#[test]
fn values_of_no_sense_are_refused_and_never_panic() {
    for none in [
        json!(-1),
        json!(1e300),
        json!("soon"),
        json!(true),
        json!(null),
    ] {
        assert!(Seconds::read(none.clone()).is_err(), "{none}");
    }
    assert_eq!(Seconds::read(json!(1.5)).unwrap().0.as_millis(), 1_500);
    for none in [json!(-1), json!(1.5), json!(1_u64 << 40), json!("x")] {
        assert!(Count::read(none.clone()).is_err(), "{none}");
    }
    assert!(AnyObject::read(json!([])).is_err());
    assert_eq!(
        Word::<v1::TaskPriority>::read(json!("HIGH")).unwrap(),
        Word(v1::TaskPriority::High)
    );
    assert!(bool::read(json!(1)).is_err());
    assert!(bool::read(json!("True")).unwrap());
}

#[test]
fn numbers_stay_what_they_were() {
    let said = json!({"a": 1, "b": 1.5, "c": [-3, 0, 9_007_199_254_740_991_i64], "d": {"e": null}});

    let there_and_back = of_struct(to_struct(object(said.clone()))).unwrap();

    assert_eq!(Value::Object(there_and_back.clone()), said);
    assert_eq!(Value::Object(there_and_back).to_string(), said.to_string());
    let none = pbjson_types::Value::from(f64::NAN);
    let fields = [("n".to_owned(), none)].into_iter().collect();
    assert!(of_struct(pbjson_types::Struct { fields }).is_none());
}

#[test]
fn enums_are_words_but_what_users_wrote_stays() {
    let metadata = json!({"status": "TASK_STATUS_PENDING", "someKey": 1.0});
    let task = v1::Task {
        id: 7,
        subject: "TASK_STATUS_PENDING".into(),
        status: v1::TaskStatus::InProgress.into(),
        active_form: "Doing".into(),
        stop_reason: v1::StopReason::CrashLimit.into(),
        metadata: Some(to_struct(object(metadata))),
        ..v1::Task::default()
    };

    let camel = Value::Object(told(&task, Case::Camel));
    assert_eq!(camel["id"], "7");
    assert_eq!(camel["subject"], "TASK_STATUS_PENDING");
    assert_eq!(camel["status"], "in_progress");
    assert_eq!(camel["stopReason"], "crash_limit");
    assert_eq!(camel["activeForm"], "Doing");
    assert_eq!(
        camel["metadata"].to_string(),
        r#"{"someKey":1,"status":"TASK_STATUS_PENDING"}"#
    );

    let snake = Value::Object(told(&task, Case::Snake));
    assert_eq!(snake["stop_reason"], "crash_limit");
    assert_eq!(snake["metadata"]["someKey"], 1);
}

#[test]
fn fields_are_spelled_as_the_tools_spell_them() {
    for (wire, own) in [
        ("active_form", "activeForm"),
        ("status", "status"),
        ("blocked_by", "blockedBy"),
    ] {
        assert_eq!(camel(wire), own);
    }
}

fn status(code: Code, reason: &str, facts: &[(&str, &str)]) -> Status {
    let facts = facts
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    let details = ErrorDetails::with_error_info(
        reason,
        "ganger.dev",
        facts.collect::<std::collections::HashMap<_, _>>(),
    );
    Status::with_error_details(code, "task 3 is blocked by 1, 2", details)
}

#[test]
fn refusal_of_a_service_is_an_answer_with_reason_next_and_facts() {
    let facts = [
        ("task", "3"),
        ("blockers", "1,2"),
        ("next", "list the team's tasks with TaskService/ListTasks"),
    ];
    let No::Refused(refusal) = status(Code::FailedPrecondition, "TASK_BLOCKED", &facts).into()
    else {
        panic!("a refusal is broken");
    };

    let (result, text) = refusal.told();

    assert_eq!(
        Value::Object(result),
        json!({
            "success": false,
            "error": "task 3 is blocked by 1, 2",
            "reason": "TASK_BLOCKED",
            "next": "list the team's tasks with TaskList",
            "facts": {"task": "3", "blockers": "1,2"},
        })
    );
    assert_eq!(
        text,
        "Refused: task 3 is blocked by 1, 2 (TASK_BLOCKED).\nblockers: 1,2\n\
         Possible now: list the team's tasks with TaskList."
    );
}

#[test]
fn only_who_cannot_be_answered_gets_an_error() {
    let answers = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::DeadlineExceeded,
    ];
    for code in (1..=16).map(Code::from) {
        let is_answer = matches!(No::from(status(code, "WHY", &[])), No::Refused(_));

        assert_eq!(is_answer, answers.contains(&code), "{code:?}");
    }
}
