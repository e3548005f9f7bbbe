//! Claims about single attempts, in real sandboxes.

use ganger_proto::v1::{
    Artifact, AttemptEnding, BlockerResult, Message, TranscriptKind,
    connect_request::Message as Said,
};
use ganger_worker::{
    AgentType,
    sandbox::{DriverKind, Mount},
};

use crate::{
    coordinator::Coordinator,
    support::{Worker, fence, script},
};

claims![
    a_script_runs_and_its_output_is_the_result,
    outputs_are_uploaded_before_the_end_is_reported,
    outputs_wait_for_a_coordinator_that_has_no_room,
    files_that_are_not_kept_become_one_record_beyond_the_first_ones,
    directories_of_an_attempt_are_named_by_chance_alone,
    a_result_file_goes_before_the_output,
    a_long_result_is_an_artifact_too,
    an_output_of_3_000_000_bytes_is_an_artifact_of_all_of_it,
    inputs_and_what_blockers_brought_lie_read_only,
    an_input_that_the_coordinator_has_damaged_fails_the_task_and_runs_nothing,
    an_unknown_input_fails_the_task,
    a_missing_mount_is_the_workers_fault,
    mounts_and_prompts_on_standard_input_are_seen,
    a_failure_says_its_last_words,
    what_is_left_in_the_background_dies,
    instructions_never_precede_a_script,
    mail_lies_beside_a_script_as_json,
];

async fn a_script_runs_and_its_output_is_the_result() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let prompt =
        "echo $GANGER_TASK_ID $GANGER_TEAM $GANGER_ATTEMPT $GANGER_MEMBER $GANGER_AGENT_TYPE
        pwd; echo $GANGER_WORKSPACE $GANGER_INPUTS; echo careful >&2";

    connection.assign(&script(3, prompt)).await;

    let settled = connection.settle().await;
    let ended = settled.ended;
    assert_eq!(settled.reports, ["started", "ended"]);
    assert_eq!(
        (ended.ending(), ended.error.as_str()),
        (AttemptEnding::Completed, "")
    );
    assert_eq!(
        ended.result,
        "3 red 1 task:3 shell\n/workspace\n/workspace /inputs\n"
    );
    let said = |kind| {
        let of_kind = settled
            .records
            .iter()
            .filter(|record| record.kind() == kind);
        of_kind
            .map(|record| record.text.as_str())
            .collect::<String>()
    };
    assert_eq!(said(TranscriptKind::Stdout), ended.result);
    assert_eq!(said(TranscriptKind::Stderr), "careful\n");
    let usage = ended.usage.unwrap();
    assert_eq!(usage.output_bytes, (ended.result.len() + 8) as i64);
    assert!(usage.wall_time.is_some());
    assert_eq!(worker.leftovers(), Vec::<std::path::PathBuf>::new());
}

async fn outputs_are_uploaded_before_the_end_is_reported() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(
        1,
        "mkdir out; echo a > out/a; echo b > b; ln -s /etc/passwd out/link",
    );
    assignment.output_globs = vec!["out/**".into()];

    connection.assign(&assignment).await;

    let settled = connection.settle().await;
    let [output] = &settled.ended.outputs[..] else {
        panic!("{:?}", settled.ended)
    };
    assert_eq!(
        (output.path.as_str(), coordinator.blob(output)),
        ("out/a", b"a\n".to_vec())
    );
    let told: Vec<_> = settled
        .records
        .iter()
        .filter(|record| record.kind() == TranscriptKind::Worker)
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].text,
        "out/link is not kept: it is reached through a link"
    );
}

async fn outputs_wait_for_a_coordinator_that_has_no_room() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    coordinator.have_no_room_for_uploads(3);
    let mut assignment = script(1, "echo a > a");
    assignment.output_globs = vec!["a".into()];

    connection.assign(&assignment).await;

    let ended = connection.settle().await.ended;
    assert_eq!(
        (ended.ending(), ended.error.as_str()),
        (AttemptEnding::Completed, "")
    );
    assert_eq!(coordinator.blob(&ended.outputs[0]), b"a\n".to_vec());
}

async fn files_that_are_not_kept_become_one_record_beyond_the_first_ones() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(
        1,
        "mkdir o; cd o; for n in $(seq 1500); do ln -s /etc/passwd l$n; done",
    );
    assignment.output_globs = vec!["o/*".into()];

    connection.assign(&assignment).await;

    let records = connection.settle().await.records;
    let told = records
        .iter()
        .filter(|record| record.kind() == TranscriptKind::Worker)
        .map(|record| record.text.as_str());
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 12, "{told:?}");
    assert_eq!(
        told[10..],
        [
            "and 1490 more are not kept",
            "no output is kept: no file matches o/*"
        ]
    );
}

async fn directories_of_an_attempt_are_named_by_chance_alone() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    connection.assign(&script(1, "exec sleep 100")).await;
    while !matches!(connection.next().await.unwrap(), Said::Started(_)) {}

    let names = worker.leftovers().into_iter().map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        name.trim_end_matches(".task").to_owned()
    });
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), 2, "{names:?}");
    for name in names {
        let is_chance = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_chance, "{name}");
    }
}

async fn a_result_file_goes_before_the_output() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    connection
        .assign(&script(1, "echo noise; echo '# done' > result.md"))
        .await;

    let ended = connection.settle().await.ended;
    assert_eq!(
        (ended.result.as_str(), ended.outputs.len()),
        ("# done\n", 0)
    );
}

async fn a_long_result_is_an_artifact_too() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    connection
        .assign(&script(1, "yes long | head -c 300000 > result.md"))
        .await;

    let ended = connection.settle().await.ended;
    assert!(ended.result.len() <= 256 << 10 && ended.result.starts_with("long\n"));
    assert!(
        ended
            .result
            .ends_with("[cut: the whole result has 300000 bytes and is the artifact result.md]")
    );
    let [whole] = &ended.outputs[..] else {
        panic!("{:?}", ended.outputs)
    };
    assert_eq!(
        (whole.path.as_str(), coordinator.blob(whole).len()),
        ("result.md", 300_000)
    );
}

async fn an_output_of_3_000_000_bytes_is_an_artifact_of_all_of_it() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    connection
        .assign(&script(1, "seq 1 500000 | head -c 3000000"))
        .await;

    let ended = connection.settle().await.ended;
    let [whole] = &ended.outputs[..] else {
        panic!("{:?}", ended.outputs)
    };
    let content = coordinator.blob(whole);
    assert_eq!((whole.path.as_str(), whole.size), ("result.md", 3_000_000));
    assert_eq!(content.len(), 3_000_000);
    assert!(content.starts_with(b"1\n2\n3\n"));
    let (note, rest) = ended.result.split_once('\n').unwrap();
    assert!(ended.result.len() <= 256 << 10 && content.ends_with(rest.as_bytes()));
    let cut = content.len() - rest.len();
    assert_eq!(
        note,
        format!(
            "[cut: {cut} bytes came before; the whole result has 3000000 bytes and is the artifact \
             result.md]"
        )
    );
    assert_eq!(worker.leftovers(), Vec::<std::path::PathBuf>::new());
}

async fn inputs_and_what_blockers_brought_lie_read_only() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(
        9,
        "cd /inputs; cat data/in.txt 4/result.md 4/out/o.txt 5/result.md; touch x 2>&1 | grep -o Read-only
         grep -c sha256 index.json",
    );
    assignment.inputs = vec![coordinator.keep("data/in.txt", b"input\n")];
    assignment.blockers = vec![
        BlockerResult {
            task_id: 4,
            subject: "first".into(),
            result: "four\n".into(),
            result_cut: false,
            outputs: vec![coordinator.keep("out/o.txt", b"output\n")],
        },
        BlockerResult {
            task_id: 5,
            subject: "second".into(),
            result: "fi".into(),
            result_cut: true,
            outputs: vec![coordinator.keep("result.md", b"five\n")],
        },
    ];

    connection.assign(&assignment).await;

    let ended = connection.settle().await.ended;
    assert_eq!(
        ended.result, "input\nfour\noutput\nfive\nRead-only\n3\n",
        "{}",
        ended.error
    );
}

async fn an_input_that_the_coordinator_has_damaged_fails_the_task_and_runs_nothing() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(1, "cat /inputs/in");
    let input = coordinator.keep("in", &[b'x'; 5_000]);
    coordinator.damage(&input);
    assignment.inputs = vec![input];

    connection.assign(&assignment).await;

    let settled = connection.settle().await;
    assert_eq!(
        (settled.reports, settled.ended.ending()),
        (vec!["ended"], AttemptEnding::Failed)
    );
    let why = "inputs: in: the coordinator can't send it: the stored artifact is damaged";
    assert_eq!(settled.ended.error, why);
    assert!(settled.records.is_empty());
}

async fn an_unknown_input_fails_the_task() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(1, "true");
    assignment.inputs = vec![Artifact {
        sha256: "ab".repeat(32),
        path: "in".into(),
        size: 1,
    }];

    connection.assign(&assignment).await;

    let settled = connection.settle().await;
    assert_eq!(
        (settled.reports, settled.ended.ending()),
        (vec!["ended"], AttemptEnding::Failed)
    );
    assert!(
        settled.ended.error.starts_with("inputs: in: "),
        "{}",
        settled.ended.error
    );
}

async fn a_missing_mount_is_the_workers_fault() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::with(&coordinator.address, DriverKind::Native, |config| {
        let mount = Mount {
            source: "/nonexistent/code".into(),
            target: "/repo".into(),
        };
        config.agent_types.get_mut("shell").unwrap().mounts = vec![mount];
    });
    let (mut connection, _) = coordinator.welcomed().await;

    connection.assign(&script(1, "true")).await;

    let Some(Said::Refused(refused)) = connection.next().await else {
        panic!("it costs the task nothing")
    };
    assert_eq!(refused.fence, Some(fence(1, 1)));
    assert!(
        refused.reason.starts_with("sandbox: "),
        "{}",
        refused.reason
    );
}

async fn mounts_and_prompts_on_standard_input_are_seen() {
    let mut coordinator = Coordinator::start().await;
    let code = tempfile::tempdir().unwrap();
    std::fs::write(code.path().join("main.rs"), "fn main() {}\n").unwrap();
    std::os::unix::fs::PermissionsExt::set_mode(
        &mut code.path().metadata().unwrap().permissions(),
        0o755,
    );
    std::fs::set_permissions(
        code.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mount = Mount {
        source: code.path().into(),
        target: "/repo".into(),
    };
    let _worker = Worker::with(&coordinator.address, DriverKind::Native, |config| {
        let reader = AgentType {
            mounts: vec![mount],
            ..AgentType::of_command(["cat", "-", "/repo/main.rs"])
        };
        config.agent_types.insert("reader".into(), reader);
    });
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(1, "read this:\n");
    assignment.agent_type = "reader".into();

    connection.assign(&assignment).await;

    let ended = connection.settle().await.ended;
    assert_eq!(
        ended.result, "read this:\nfn main() {}\n",
        "{}",
        ended.error
    );
}

async fn a_failure_says_its_last_words() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    connection
        .assign(&script(1, "echo half; seq 1 30 >&2; exit 4"))
        .await;

    let ended = connection.settle().await.ended;
    let lines: Vec<_> = ended.error.lines().collect();
    assert_eq!(
        (lines[0], lines[1], lines[20], lines.len()),
        ("exit code 4", "11", "30", 21)
    );
    assert_eq!(
        (ended.ending(), ended.result.as_str()),
        (AttemptEnding::Failed, "half\n")
    );
}

async fn what_is_left_in_the_background_dies() {
    let mut coordinator = Coordinator::start().await;
    let worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;

    // The daemon holds the output open: the end would never come if it lived.
    connection
        .assign(&script(1, "(setsid sleep 3600 &); echo done"))
        .await;

    let ended = connection.settle().await.ended;
    assert_eq!(
        (ended.ending(), ended.result.as_str()),
        (AttemptEnding::Completed, "done\n")
    );
    assert_eq!(worker.leftovers(), Vec::<std::path::PathBuf>::new());
}

async fn instructions_never_precede_a_script() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(1, "cat $GANGER_INSTRUCTIONS_FILE");
    assignment.instructions = "be brief".into();

    connection.assign(&assignment).await;

    let ended = connection.settle().await.ended;
    assert_eq!(ended.result, "be brief", "{}", ended.error);
}

async fn mail_lies_beside_a_script_as_json() {
    let mut coordinator = Coordinator::start().await;
    let _worker = Worker::start(&coordinator.address);
    let (mut connection, _) = coordinator.welcomed().await;
    let mut assignment = script(1, "cat $GANGER_MAIL_FILE");
    let message = Message {
        id: 7,
        from: "lead".into(),
        text: "be \"brief\"".into(),
        ..Message::default()
    };
    assignment.mail = vec![message.clone()];

    connection.assign(&assignment).await;

    let ended = connection.settle().await.ended;
    let mail: Vec<Message> = serde_json::from_str(&ended.result).unwrap();
    assert_eq!(mail, [message]);
}
