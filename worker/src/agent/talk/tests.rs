use ganger_proto::v1::Fence;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn hear(text: &str) -> Vec<Heard> {
    let mut ear = Ear::default();
    let mut heard = ear.push(text.as_bytes());
    heard.extend(ear.finish());
    heard
}

fn hear_one(line: &str) -> Heard {
    let [heard] = &hear(line)[..] else {
        panic!("{line} is one thing")
    };
    heard.clone()
}

fn question(text: &str, timeout: Option<Duration>) -> Said {
    Said::Question {
        text: text.to_owned(),
        timeout,
    }
}

fn call(id: Value, name: &str, arguments: Value) -> Said {
    let Value::Object(arguments) = arguments else {
        panic!("arguments are an object")
    };
    Said::Tool(Call {
        id,
        name: name.to_owned(),
        arguments,
    })
}

fn progress(text: &str, doing: Option<&str>) -> Said {
    Said::Progress {
        text: text.to_owned(),
        doing: doing.map(ToOwned::to_owned),
    }
}

fn usage(input: i64, output: i64, is_delta: bool) -> Said {
    Said::Usage {
        tokens: Tokens { input, output },
        is_delta,
    }
}

#[test]
fn lines_of_known_types_are_understood() {
    let table = [
        (
            r#"{"type":"progress","text":"read it"}"#,
            progress("read it", None),
        ),
        (
            r#" { "doing": "reading", "type": "progress", "more": [1] } "#,
            progress("", Some("reading")),
        ),
        (
            r#"{"type":"progress","text":"a","doing":""}"#,
            progress("a", Some("")),
        ),
        (
            r#"{"type":"question","text":"which?"}"#,
            question("which?", None),
        ),
        (
            r#"{"type":"question","text":"which?","timeout_seconds":1.5}"#,
            question("which?", Some(Duration::from_millis(1_500))),
        ),
        (
            r#"{"type":"question","text":"which?","timeout_seconds":86400}"#,
            question("which?", Some(QUESTION_SPAN_MAX)),
        ),
        (
            r#"{"type":"question","text":"which?","timeout_seconds":null}"#,
            question("which?", None),
        ),
        (
            r#"{"type":"result","text":""}"#,
            Said::Result(String::new()),
        ),
        (
            r#"{"type":"usage","input_tokens":3,"output_tokens":4}"#,
            usage(3, 4, false),
        ),
        (
            r#"{"type":"usage","output_tokens":4,"delta":true}"#,
            usage(0, 4, true),
        ),
        (
            r#"{"type":"tool","id":"a","name":"TaskList","arguments":{"ready":true}}"#,
            call(json!("a"), "TaskList", json!({"ready": true})),
        ),
        (
            r#"{"type":"tool","id":7,"name":"TaskList"}"#,
            call(json!(7), "TaskList", json!({})),
        ),
    ];
    for (line, said) in table {
        assert_eq!(hear_one(&format!("{line}\n")), Heard::Said(said), "{line}");
    }
}

#[test]
fn what_is_wrong_with_a_line_of_a_known_type_is_said() {
    let long = |len: usize| format!(r#"{{"type":"question","text":"{}"}}"#, "x".repeat(len));
    let table = [
        (
            r#"{"type":"progress"}"#.to_owned(),
            r#""progress" has neither"#,
        ),
        (
            r#"{"type":"progress","text":1}"#.to_owned(),
            r#""progress" has a "text" that is no text"#,
        ),
        (
            r#"{"type":"question"}"#.to_owned(),
            r#""question" has no "text""#,
        ),
        (
            r#"{"type":"question","text":" "}"#.to_owned(),
            r#""question" has a blank "text""#,
        ),
        (
            long(QUESTION_LEN_MAX + 1),
            r#""question" is longer than 16384"#,
        ),
        (
            r#"{"type":"question","text":"x","timeout_seconds":0}"#.to_owned(),
            r#""question" has a "timeout_seconds" that is not above 0"#,
        ),
        (
            r#"{"type":"question","text":"x","timeout_seconds":86401}"#.to_owned(),
            r#""question" has a "timeout_seconds" that is not above 0"#,
        ),
        (
            r#"{"type":"question","text":"x","timeout_seconds":1e300}"#.to_owned(),
            r#""question" has a "timeout_seconds""#,
        ),
        (
            r#"{"type":"result","text":["x"]}"#.to_owned(),
            r#""result" has a "text" that is no text"#,
        ),
        (
            r#"{"type":"usage","input_tokens":-1}"#.to_owned(),
            r#""usage" has a "input_tokens" that is no whole number"#,
        ),
        (
            r#"{"type":"usage","delta":1}"#.to_owned(),
            r#""usage" has a "delta""#,
        ),
        (
            r#"{"type":"tool","name":"TaskList"}"#.to_owned(),
            r#""tool" has no "id""#,
        ),
        (
            r#"{"type":"tool","id":[],"name":"TaskList"}"#.to_owned(),
            r#""tool" has no "id""#,
        ),
        (
            format!(r#"{{"type":"tool","id":"{}","name":"x"}}"#, "x".repeat(257)),
            r#""tool" has no "id""#,
        ),
        (
            r#"{"type":"tool","id":1}"#.to_owned(),
            r#""tool" has no "name""#,
        ),
        (
            r#"{"type":"tool","id":1,"name":"x","arguments":[]}"#.to_owned(),
            r#""tool" has "arguments" that are no object"#,
        ),
    ];
    for (line, wrong) in table {
        let Heard::Wrong(told) = hear_one(&line) else {
            panic!("{line} is wrong")
        };
        assert!(
            told.starts_with(&format!("a line of type {wrong}")),
            "{told}"
        );
    }
    assert!(matches!(
        hear_one(&long(QUESTION_LEN_MAX)),
        Heard::Said(Said::Question { .. })
    ));
}

#[test]
fn everything_else_is_text() {
    for text in [
        "plain\n",
        "\n",
        "  \n",
        "{\n",
        "{}\n",
        "[1]\n",
        "{\"type\":7}\n",
        "{\"type\":\"assistant\",\"text\":\"x\"}\n",
        "{\"type\":\"result\",\"text\":\"x\"} and more\n",
        "note: {\"type\":\"result\",\"text\":\"x\"}\n",
        "no line end",
        "{\"type\":\"resu",
    ] {
        assert_eq!(hear_one(text), Heard::Text(text.into()), "{text:?}");
    }
    let deep = format!(
        "{{\"type\":\"tool\",\"id\":1,\"name\":{}",
        "[".repeat(9_999)
    );
    assert!(matches!(hear_one(&deep), Heard::Text(_)));
    let mut ear = Ear::default();
    let bytes = b"\xff{\"type\":\"result\"}\n\0";
    assert_eq!(
        [ear.push(bytes), ear.finish()].concat(),
        [Heard::Text(bytes.into())]
    );
}

#[test]
fn text_and_what_is_said_keep_their_order() {
    let heard = hear(
        "a\nb\n{\"type\":\"result\",\"text\":\"1\"}\n{}\nc{\n{\"type\":\"result\",\"text\":\"2\"}",
    );

    assert_eq!(
        heard,
        [
            Heard::Text(b"a\nb\n".into()),
            Heard::Said(Said::Result("1".into())),
            Heard::Text(b"{}\nc{\n".into()),
            Heard::Said(Said::Result("2".into())),
        ]
    );
}

#[test]
fn the_beginning_of_a_text_does_not_wait_for_its_end() {
    let mut ear = Ear::default();

    assert_eq!(ear.push(b"wor"), [Heard::Text(b"wor".into())]);
    assert_eq!(ear.push(b"{king"), [Heard::Text(b"{king".into())]);
    assert_eq!(ear.push(b"\n  {\"type\":"), [Heard::Text(b"\n".into())]);
    assert_eq!(
        ear.push(b"\"result\",\"text\":\"x\"}\n"),
        [Heard::Said(Said::Result("x".into()))]
    );
    assert_eq!(ear.finish(), []);
}

#[test]
fn a_line_of_the_greatest_length_is_understood_and_a_longer_one_is_text() {
    let frame = r#"{"type":"result","text":""}"#.len() + 1;
    let line = |len: usize| format!("{{\"type\":\"result\",\"text\":\"{}\"}}\n", "x".repeat(len));
    let (most, over) = (line(LINE_LEN_MAX - frame), line(LINE_LEN_MAX - frame + 1));
    assert_eq!(most.len(), LINE_LEN_MAX);

    assert!(matches!(hear_one(&most), Heard::Said(Said::Result(_))));
    let heard = hear(&format!("{over}{{\"type\":\"result\",\"text\":\"x\"}}\n"));

    assert_eq!(
        heard,
        [
            Heard::Wrong("a line is longer than 262144 bytes and taken as text".into()),
            Heard::Text(over.into()),
            Heard::Said(Said::Result("x".into())),
        ]
    );
}

#[test]
fn tokens_are_replaced_or_added() {
    let mut tokens = Tokens::default();
    tokens.note(
        Tokens {
            input: 5,
            output: 6,
        },
        false,
    );
    tokens.note(
        Tokens {
            input: 1,
            output: 2,
        },
        true,
    );
    assert_eq!(
        tokens,
        Tokens {
            input: 6,
            output: 8
        }
    );

    tokens.note(
        Tokens {
            input: i64::MAX,
            output: 1,
        },
        true,
    );
    assert_eq!(
        tokens,
        Tokens {
            input: i64::MAX,
            output: 9
        }
    );

    tokens.note(
        Tokens {
            input: 3,
            output: 0,
        },
        false,
    );
    assert_eq!(
        tokens,
        Tokens {
            input: 3,
            output: 0
        }
    );
}

#[test]
fn what_a_sub_agent_is_told_is_one_line_that_begins_with_its_type() {
    let result = Outcome::Result(json!({"tasks": []}));
    let error = Outcome::Error {
        reason: "TOOL_NOT_ALLOWED".into(),
        message: "no".into(),
    };
    let id = json!("a");
    let assignment = Assignment {
        fence: Some(Fence {
            epoch: "e".into(),
            team_uid: 1,
            task_id: 7,
            attempt: 2,
        }),
        team: "red".into(),
        subject: "s".into(),
        prompt: "two\nlines".into(),
        member: "carol".into(),
        mail: vec![Message {
            text: "hi".into(),
            ..Message::default()
        }],
        hiring_depth: 9,
        ..Assignment::default()
    };
    let table = [
        (
            Told::task(&assignment, 1),
            r#"{"type":"task","prompt":"two\nlines","subject":"s","task_id":7,"attempt":2,"team":"red","member":"carol","instructions":"","model":"","hiring_depth":1,"mail":[{"text":"hi"}]}"#,
        ),
        (
            Told::Answer {
                question: 1,
                text: "a\nb",
                from: "lead",
            },
            r#"{"type":"answer","question":1,"text":"a\nb","from":"lead"}"#,
        ),
        (
            Told::NoAnswer {
                question: 2,
                text: "x",
            },
            r#"{"type":"no_answer","question":2,"text":"x"}"#,
        ),
        (
            Told::Steer {
                text: "x",
                from: "lead",
            },
            r#"{"type":"steer","text":"x","from":"lead"}"#,
        ),
        (
            Told::Stop { reason: "x" },
            r#"{"type":"stop","reason":"x"}"#,
        ),
        (
            Told::ToolResult {
                id: &id,
                outcome: &result,
            },
            r#"{"type":"tool_result","id":"a","result":{"tasks":[]}}"#,
        ),
        (
            Told::ToolResult {
                id: &id,
                outcome: &error,
            },
            r#"{"type":"tool_result","id":"a","error":{"reason":"TOOL_NOT_ALLOWED","message":"no"}}"#,
        ),
        (Told::Error { text: "x" }, r#"{"type":"error","text":"x"}"#),
    ];
    for (told, line) in table {
        assert_eq!(String::from_utf8(told.line()).unwrap(), format!("{line}\n"));
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_heard_once_and_in_whatever_pieces(
        lines in prop::collection::vec(prop_oneof![
            Just("{\"type\":\"result\",\"text\":\"x\"}\n".as_bytes().to_vec()),
            Just("{\"type\":\"question\"}\n".as_bytes().to_vec()),
            Just(b" {\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..40),
        ], 0..12),
        cuts in prop::collection::vec(1..60usize, 1..9),
    ) {
        let whole = lines.concat();
        let mut ear = Ear::default();
        let mut at_once = ear.push(&whole);
        at_once.extend(ear.finish());

        let mut ear = Ear::default();
        let mut in_pieces = Vec::new();
        let mut rest = &whole[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            in_pieces.extend(ear.push(piece));
            rest = later;
        }
        in_pieces.extend(ear.finish());

        let mut joined: Vec<Heard> = Vec::new();
        for heard in in_pieces {
            match heard {
                Heard::Text(text) => push_text(&text, &mut joined),
                said => joined.push(said),
            }
        }
        let mut whole_joined: Vec<Heard> = Vec::new();
        for heard in at_once {
            match heard {
                Heard::Text(text) => push_text(&text, &mut whole_joined),
                said => whole_joined.push(said),
            }
        }
        prop_assert_eq!(joined, whole_joined);
    }
}
