//! Claims about sub-agents that talk: what they ask, are told, and say of themselves.

use std::{path::Path, time::Duration};

use ganger_proto::v1::{
    Asked, AttemptEnding, HeldVerdict, ReportKind, TranscriptKind, Word, WordKind,
    connect_request::Message as Said, connect_response::Message as Say,
};
use ganger_worker::{
    AgentType, Protocol,
    sandbox::{DriverKind, Mount},
};

use crate::{
    coordinator::{Coordinator, secret_of},
    support::{Hearing, Worker, fence, script, talk},
};

claims![
    a_type_that_talks_says_so,
    a_question_is_answered_and_the_sub_agent_goes_on,
    an_unacknowledged_question_is_said_again_on_the_next_stream,
    a_question_that_is_put_before_nobody_is_answered_at_once,
    questions_beyond_the_quota_are_answered_at_once,
    one_question_waits_at_a_time,
    words_are_told_once_in_order_and_heeded_again_when_repeated,
    a_stop_ends_a_pending_question_at_once,
    a_type_without_an_ear_heeds_and_says_so,
    who_closed_its_ear_heeds_and_says_so,
    what_is_said_of_progress_and_usage_is_told,
    a_line_that_is_wrong_is_told_to_both_sides,
    a_result_that_is_said_goes_before_files_and_output,
    a_sub_agent_that_does_not_read_holds_up_nobody,
    a_coordinator_of_the_first_version_hears_no_question,
    the_first_line_is_the_task,
    the_example_asks_before_it_deletes,
];

/// Claims that want a sandbox.
pub const IN_SANDBOXES: &[crate::Claim] = &[("the_example_talks_out_of_its_sandbox", || {
    crate::support::prove(the_example_talks_out_of_its_sandbox())
})];

/// Asks, and writes down what it is told.
const ASKS: &str = r#"
    echo '{"type":"question","text":"which?","timeout_seconds":90}'
    read -r task; read -r told; echo "told: $told"
"#;

async fn start(prompt: &str) -> (Coordinator, Worker, Hearing) {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::talking(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    connection.assign(&talk(1, prompt)).await;
    (coordinator, worker, Hearing::of(connection))
}

fn word(number: i32, kind: WordKind, question: i32, text: &str) -> Say {
    Say::Word(Word {
        fence: Some(fence(1, 1)),
        number,
        kind: kind.into(),
        question,
        text: text.into(),
        from: "alice".into(),
    })
}

fn steer(number: i32) -> Say {
    word(number, WordKind::Steer, 0, &format!("word {number}"))
}

fn asks(number: i32) -> Asked {
    Asked {
        fence: Some(fence(1, 1)),
        number,
        text: "which?".into(),
        timeout: Some(Duration::from_secs(90).into()),
    }
}

impl Hearing {
    async fn say(&mut self, message: Say) {
        self.connection.say(message).await;
    }

    async fn acknowledge_question(&mut self) {
        self.connection
            .acknowledge(&fence(1, 1), ReportKind::Asked, true)
            .await;
    }
}

async fn a_type_that_talks_says_so() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
        let talker = AgentType {
            protocol: Protocol::Json,
            hiring_depth: 2,
            stall_span: Duration::from_secs(60),
            ..AgentType::shell()
        };
        config.agent_types.insert("talker".into(), talker);
    });

    let (_connection, hello) = coordinator.welcomed().await;

    let told: Vec<_> = hello
        .agent_types
        .into_iter()
        .map(|offered| {
            let stall = Duration::try_from(offered.stall_span.unwrap()).unwrap();
            (
                offered.name,
                offered.interactive,
                offered.hiring_depth,
                stall.as_secs(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("shell".to_owned(), false, 0, 300),
            ("talker".to_owned(), true, 2, 60)
        ]
    );
    assert_eq!((hello.protocol, hello.protocol_min), (3, 1));
}

async fn a_question_is_answered_and_the_sub_agent_goes_on() {
    let (_coordinator, _worker, mut hearing) = start(ASKS).await;

    assert_eq!(hearing.asked().await, asks(1));
    hearing.acknowledge_question().await;
    hearing
        .say(word(1, WordKind::Answer, 1, "the \"left\" one"))
        .await;

    assert_eq!(hearing.heeded().await, (Some(fence(1, 1)), 1));
    let ended = hearing.ended().await;
    assert_eq!(ended.ending(), AttemptEnding::Completed, "{}", ended.error);
    assert_eq!(
        ended.result,
        "told: {\"type\":\"answer\",\"question\":1,\"text\":\"the \\\"left\\\" one\",\"from\":\"alice\"}\n"
    );
    assert_eq!(
        hearing.notes(),
        ["asks (1): which?", "alice answers (1): the \"left\" one"]
    );
}

async fn an_unacknowledged_question_is_said_again_on_the_next_stream() {
    let (mut coordinator, _worker, mut hearing) = start(ASKS).await;
    assert_eq!(hearing.asked().await, asks(1));
    drop(hearing);

    let mut connection = coordinator.connection().await;
    let hello = connection.hello().await;
    assert_eq!(hello.held.len(), 1);
    connection.welcome(vec![kept(0)]).await;
    let mut hearing = Hearing::of(connection);
    assert_eq!(hearing.asked().await, asks(1));
    hearing.acknowledge_question().await;
    // The acknowledgement comes before the stream's end, so the next one is told of nothing but the
    // end.
    hearing.say(word(1, WordKind::NoAnswer, 1, "go on")).await;
    assert_eq!(hearing.heeded().await, (Some(fence(1, 1)), 1));
    drop(hearing);

    let mut connection = coordinator.connection().await;
    connection.hello().await;
    connection.welcome(vec![kept(0)]).await;
    let ended = Hearing::of(connection).ended().await;
    assert_eq!(
        ended.result,
        "told: {\"type\":\"no_answer\",\"question\":1,\"text\":\"go on\"}\n"
    );
}

fn kept(kept_through: i64) -> HeldVerdict {
    HeldVerdict {
        fence: Some(fence(1, 1)),
        keep: true,
        reason: String::new(),
        kept_through,
        secret: secret_of(1),
    }
}

async fn a_question_that_is_put_before_nobody_is_answered_at_once() {
    let (_coordinator, _worker, mut hearing) = start(ASKS).await;
    hearing.asked().await;

    hearing
        .say(Say::ReportAck(ganger_proto::v1::ReportAck {
            fence: Some(fence(1, 1)),
            kind: ReportKind::Asked.into(),
            accepted: true,
            reason: "there are too many".into(),
        }))
        .await;

    assert_eq!(
        hearing.ended().await.result,
        "told: {\"type\":\"no_answer\",\"question\":1,\"text\":\"there are too many\"}\n"
    );
}

async fn questions_beyond_the_quota_are_answered_at_once() {
    let prompt = r#"
        read -r task
        for i in 1 2 3 4; do
            echo '{"type":"question","text":"which?","timeout_seconds":90}'
            read -r told; echo "told: $told"
        done"#;
    let (_coordinator, _worker, mut hearing) = start(prompt).await;

    for number in 1..=3 {
        assert_eq!(hearing.asked().await, asks(number));
        hearing.acknowledge_question().await;
        hearing
            .say(word(number, WordKind::Answer, number, "x"))
            .await;
        assert_eq!(hearing.heeded().await.1, number);
    }

    let result = hearing.ended().await.result;
    assert_eq!(
        result.lines().last(),
        Some(
            "told: {\"type\":\"no_answer\",\"question\":0,\"text\":\"not asked: an attempt may ask 3 questions; go on alone\"}"
        )
    );
}

async fn one_question_waits_at_a_time() {
    let prompt = r#"
        read -r task
        # In one breath: the first is not answered before the second is asked.
        printf '%s\n' '{"type":"question","text":"which?","timeout_seconds":90}' '{"type":"question","text":"or what?"}'
        read -r first; echo "told: $first"; read -r second; echo "told: $second""#;
    let (_coordinator, _worker, mut hearing) = start(prompt).await;
    assert_eq!(hearing.asked().await, asks(1));
    hearing.until_written("question 1 waits").await;

    hearing.say(word(1, WordKind::Answer, 1, "x")).await;

    assert_eq!(hearing.heeded().await.1, 1);
    let told: Vec<String> = hearing
        .ended()
        .await
        .result
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(
        told,
        [
            "told: {\"type\":\"no_answer\",\"question\":0,\"text\":\"not asked: question 1 waits for its answer\"}",
            "told: {\"type\":\"answer\",\"question\":1,\"text\":\"x\",\"from\":\"alice\"}"
        ]
    );
}

async fn words_are_told_once_in_order_and_heeded_again_when_repeated() {
    let prompt =
        "read -r task; echo up; for i in 1 2 3; do read -r told; echo \"told: $told\"; done";
    let (mut coordinator, _worker, mut hearing) = start(prompt).await;
    hearing.until_written("up").await;
    hearing.say(steer(1)).await;
    assert_eq!(hearing.heeded().await, (Some(fence(1, 1)), 1));
    drop(hearing);

    // The coordinator didn't hear that, and says all of it again.
    let mut connection = coordinator.connection().await;
    connection.hello().await;
    connection.welcome(vec![kept(0)]).await;
    let mut hearing = Hearing::of(connection);
    for number in [1, 2, 3] {
        hearing.say(steer(number)).await;
    }

    let mut heeded = Vec::new();
    while heeded.len() < 3 {
        heeded.push(hearing.heeded().await.1);
    }
    assert_eq!(heeded.last(), Some(&3));
    let told = |number: i32| {
        format!("told: {{\"type\":\"steer\",\"text\":\"word {number}\",\"from\":\"alice\"}}\n")
    };
    let all = format!("up\n{}{}{}", told(1), told(2), told(3));
    assert_eq!(hearing.ended().await.result, all);
}

async fn a_stop_ends_a_pending_question_at_once() {
    let prompt = r#"
        trap '' TERM
        read -r task
        echo '{"type":"question","text":"which?","timeout_seconds":90}'
        read -r first; read -r second
        echo "told: $first"; echo "told: $second""#;
    let (_coordinator, _worker, mut hearing) = start(prompt).await;
    hearing.asked().await;
    hearing.acknowledge_question().await;

    hearing
        .connection
        .stop(&fence(1, 1), Duration::from_secs(60))
        .await;

    let ended = hearing.ended().await;
    assert_eq!(ended.ending(), AttemptEnding::Cancelled);
    assert_eq!(
        ended.result,
        "told: {\"type\":\"no_answer\",\"question\":1,\"text\":\"changed my mind\"}\n\
         told: {\"type\":\"stop\",\"reason\":\"changed my mind\"}\n"
    );
}

async fn a_type_without_an_ear_heeds_and_says_so() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::bare(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let gate = worker.dir.path().join("gate");
    let waiting = format!("echo up; while [ ! -e {} ]; do :; done", gate.display());
    connection.assign(&script(1, &waiting)).await;
    let mut hearing = Hearing::of(connection);
    hearing.until_written("up").await;

    hearing.say(steer(1)).await;
    assert_eq!(hearing.heeded().await, (Some(fence(1, 1)), 1));
    std::fs::write(gate, "").unwrap();

    assert_eq!(hearing.ended().await.result, "up\n");
    assert_eq!(hearing.notes(), ["no ear here for what alice says: word 1"]);
}

async fn who_closed_its_ear_heeds_and_says_so() {
    let prompt = "exec <&-; echo up; while [ ! -e gate ]; do :; done";
    let (_coordinator, worker, mut hearing) = start(prompt).await;
    hearing.until_written("up").await;

    for number in [1, 2] {
        hearing.say(steer(number)).await;
        assert_eq!(hearing.heeded().await.1, number);
    }

    open_gate(&worker);

    assert_eq!(hearing.ended().await.ending(), AttemptEnding::Completed);
    let mut notes = hearing.notes();
    notes.sort();
    assert_eq!(
        notes,
        [
            "alice says: word 1",
            "alice says: word 2",
            "it has closed its standard input, and is told nothing more"
        ]
    );
}

/// Makes the file `gate` in the only workspace.
fn open_gate(worker: &Worker) {
    let is_workspace = |path: &std::path::PathBuf| path.extension().is_none_or(|end| end != "task");
    let workspace = worker.leftovers().into_iter().find(is_workspace).unwrap();
    std::fs::write(workspace.join("gate"), "").unwrap();
}

async fn what_is_said_of_progress_and_usage_is_told() {
    let prompt = r#"
        echo before
        echo '{"type":"progress","text":"read it all","doing":"Reading"}'
        echo '{"type":"usage","input_tokens":10,"output_tokens":2}'
        echo '{"type":"usage","input_tokens":5,"delta":true}'
        echo '{"type":"progress","doing":"Writing"}'
        echo '{"type":"strange"}'"#;
    let (_coordinator, _worker, mut hearing) = start(prompt).await;

    let ended = hearing.ended().await;

    let usage = ended.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (15, 2));
    assert_eq!(
        hearing.of_kind(TranscriptKind::Stdout).concat(),
        "before\nread it all\n{\"type\":\"strange\"}\n"
    );
    assert_eq!(hearing.doing.last().map(String::as_str), Some("Writing"));
    assert_eq!(ended.result, "before\n{\"type\":\"strange\"}\n");
}

async fn a_line_that_is_wrong_is_told_to_both_sides() {
    let prompt = r#"read -r task; echo '{"type":"question"}'; read -r told; echo "told: $told""#;
    let (_coordinator, _worker, mut hearing) = start(prompt).await;

    let ended = hearing.ended().await;

    let wrong = "a line of type \"question\" has no \"text\"";
    assert_eq!(hearing.notes(), [wrong]);
    let told = serde_json::json!({"type": "error", "text": wrong});
    let line = ended.result.strip_prefix("told: ").unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(line).unwrap(),
        told
    );
    assert_eq!(ended.ending(), AttemptEnding::Completed);
}

async fn a_result_that_is_said_goes_before_files_and_output() {
    let prompt = r#"
        echo file > result.md; echo output
        echo '{"type":"result","text":"first"}'
        printf '%s' '{"type":"result","text":"last"}'"#;
    let (_coordinator, _worker, mut hearing) = start(prompt).await;
    assert_eq!(hearing.ended().await.result, "last");

    let failing = r#"echo '{"type":"result","text":"so far"}'; exit 3"#;
    hearing.connection.assign(&talk(2, failing)).await;

    let ended = hearing.ended().await;
    assert_eq!(
        (ended.ending(), ended.result.as_str(), ended.error.as_str()),
        (AttemptEnding::Failed, "so far", "exit code 3")
    );
}

async fn a_sub_agent_that_does_not_read_holds_up_nobody() {
    // More answers than a pipe has room for.
    let prompt = r#"
        i=0
        while [ $i -lt 3000 ]; do echo '{"type":"question","text":"which?","timeout_seconds":90}'; i=$((i+1)); done
        echo up; while [ ! -e gate ]; do :; done; echo done"#;
    let (_coordinator, worker, mut hearing) = start(prompt).await;
    assert_eq!(hearing.asked().await.number, 1);
    hearing.until_written("up").await;

    // Words wait; whoever comes besides is served.
    hearing.say(steer(1)).await;
    hearing.connection.assign(&script(2, "echo other")).await;
    assert_eq!(hearing.ended().await.fence, Some(fence(2, 1)));
    open_gate(&worker);

    // What waits when it ends may be seen to be in vain before the end is.
    let ended = loop {
        match hearing.next().await {
            Said::Heeded(heeded) => assert_eq!(heeded.through, 1),
            Said::Ended(ended) => break ended,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!(
        (ended.fence.clone(), ended.result.as_str()),
        (Some(fence(1, 1)), "up\ndone\n")
    );
}

async fn a_coordinator_of_the_first_version_hears_no_question() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::talking(&coordinator.address);
    let mut connection = coordinator.connection().await;
    connection.hello().await;
    let welcome = ganger_proto::v1::Welcome {
        protocol: 0,
        ..crate::coordinator::welcome(crate::coordinator::LEASE, Vec::new())
    };
    connection.say(Say::Welcome(welcome)).await;
    connection.assign(&talk(1, ASKS)).await;

    let ended = Hearing::of(connection).ended().await;

    assert!(
        ended.result.contains("\"no_answer\",\"question\":1,")
            && ended.result.contains("must be upgraded"),
        "{}",
        ended.result
    );
}

async fn the_first_line_is_the_task() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::talking(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = talk(7, "read -r task; printf '%s' \"told: $task\"");
    assignment.instructions = "be brief".into();
    assignment.model = "m".into();
    assignment.hiring_depth = 3;
    connection.assign(&assignment).await;

    let ended = Hearing::of(connection).ended().await;

    let line = ended.result.strip_prefix("told: ").unwrap();
    assert!(line.starts_with("{\"type\":\"task\","), "{line}");
    let told: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        told,
        serde_json::json!({
            "type": "task", "prompt": assignment.prompt, "subject": "try", "task_id": 7,
            "attempt": 1, "team": "red", "member": "task:7", "instructions": "be brief",
            "model": "m", "hiring_depth": 0, "mail": [],
        })
    );
}

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples");

fn cleaner(path: &str) -> AgentType {
    AgentType {
        protocol: Protocol::Json,
        ..AgentType::of_command(["/bin/sh", path, "{prompt_file}"])
    }
}

/// Prepares a directory of the workspace by mounting or making it, and answers the example's question.
async fn ask_example(hearing: &mut Hearing, answer: Say) -> (String, String) {
    let asked = hearing.asked().await;
    hearing.acknowledge_question().await;
    hearing.say(answer).await;
    assert_eq!(hearing.heeded().await.1, 1);
    let ended = hearing.ended().await;
    assert_eq!(ended.ending(), AttemptEnding::Completed, "{}", ended.error);
    (asked.text, ended.result)
}

async fn the_example_asks_before_it_deletes() {
    let outcomes = [
        (word(1, WordKind::Answer, 1, "Yes, do"), "deleted", false),
        (
            word(1, WordKind::Answer, 1, "no: yes is wrong"),
            "kept",
            true,
        ),
        (word(1, WordKind::NoAnswer, 1, "go on alone"), "kept", true),
    ];
    for (answer, done, is_left) in outcomes {
        let mut coordinator = Coordinator::start().await;
        let worker = Worker::with(&coordinator.address, DriverKind::None, |config| {
            let script = Path::new(EXAMPLES).join("ask-before-delete.sh");
            config
                .agent_types
                .insert("talker".into(), cleaner(script.to_str().unwrap()));
        });
        let old = worker.dir.path().join("old");
        std::fs::create_dir(&old).unwrap();
        std::fs::write(old.join("a"), "").unwrap();
        let (mut connection, _) = coordinator.welcomed().await;
        let target = old.to_str().unwrap();
        connection.assign(&talk(1, target)).await;

        let (asked, result) = ask_example(&mut Hearing::of(connection), answer).await;

        assert_eq!(
            asked,
            format!("May I delete {target} with its 1 files? Begin with yes or no.")
        );
        assert_eq!(result, format!("{done} {target}: 1 files"));
        assert_eq!(old.exists(), is_left);
    }
}

async fn the_example_talks_out_of_its_sandbox() {
    let mut coordinator = Coordinator::start().await;
    let code = tempfile::tempdir().unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(code.path(), everybody).unwrap();
    std::fs::copy(
        Path::new(EXAMPLES).join("ask-before-delete.sh"),
        code.path().join("ask.sh"),
    )
    .unwrap();
    let mount = Mount {
        source: code.path().into(),
        target: "/examples".into(),
    };
    let _worker = Worker::with(&coordinator.address, DriverKind::Native, |config| {
        let cleaner = AgentType {
            mounts: vec![mount],
            ..cleaner("/examples/ask.sh")
        };
        config.agent_types.insert("talker".into(), cleaner);
    });
    let (mut connection, _) = coordinator.welcomed().await;
    connection.assign(&talk(1, "/workspace")).await;

    let answer = word(1, WordKind::Answer, 1, "no");
    let (asked, result) = ask_example(&mut Hearing::of(connection), answer).await;

    assert_eq!(
        (asked.as_str(), result.as_str()),
        (
            "May I delete /workspace with its 0 files? Begin with yes or no.",
            "kept /workspace: 0 files"
        )
    );
}
