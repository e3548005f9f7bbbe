//! What tools answer by `ganger mcp`: within bounds, with a way to read on, and all that a lead
//! needs.

use std::io::Write as _;

use ganger_proto::{TEAM_KEY, v1};
use ganger_tests::{Client, Cluster, Mcp, new_task, programs, struct_of};
use serde_json::{Value, json};

/// Bytes of an answer at the most.
const ANSWER_MAX: usize = 64 * 1024;

/// Calls a tool, and looks how long its answer is.
async fn call(mcp: &mut Mcp, tool: &str, arguments: Value) -> Value {
    let answer = mcp.call(tool, arguments).await;
    let len = answer.to_string().len();
    assert!(len <= ANSWER_MAX, "{tool} answered {len} bytes");
    assert_eq!(answer["isError"], false, "{tool}: {answer}");
    answer["structuredContent"].clone()
}

/// Tasks that are as long as they may be.
async fn plan(client: &Client, count: usize) {
    let long = |letter: &str| letter.repeat(256 << 10);
    let first = v1::NewTask {
        description: format!("{}end", "d\u{1}é".repeat(50_000)),
        prompt: long("p"),
        agent_type: "shell".into(),
        metadata: Some(struct_of(json!({"k": "x".repeat(60 << 10)}))),
        ..new_task("long")
    };
    client.plan(vec![first]).await;
    for _ in 0..count / 100 {
        let line = || v1::NewTask {
            ..new_task(&"s".repeat(500))
        };
        client.plan((0..100).map(|_| line()).collect()).await;
    }
}

#[tokio::test]
async fn answers_are_bounded_and_read_on_until_all_is_told() {
    let cluster = Cluster::with(programs!(), &["--expect-type", "shell"]).await;
    let client = cluster.client();
    plan(&client, 300).await;
    let (mut mcp, _) = Mcp::initialized(&cluster, &[]).await;

    let got = call(&mut mcp, "TaskGet", json!({"taskId": "1"})).await;
    let cut = got["cut"].as_array().unwrap();
    assert_eq!(cut[0]["field"], "description");
    assert_eq!(cut[0]["characters"], 150_003);
    let (mut description, mut offset) = (String::new(), json!(0));
    while offset != Value::Null {
        let page = json!({"taskId": "1", "field": "description", "offset": offset});
        let page = call(&mut mcp, "TaskGet", page).await;
        description.push_str(page["text"].as_str().unwrap());
        offset = page["nextOffset"].clone();
    }
    assert!(description == format!("{}end", "d\u{1}é".repeat(50_000)));
    for tool in ["check_task", "wait_tasks"] {
        let ids = (1..=300).map(|id| json!(id)).collect::<Vec<_>>();
        let arguments = match tool {
            "wait_tasks" => json!({"task_ids": ids, "timeout": 0}),
            _ => json!({"task_id": 1}),
        };
        call(&mut mcp, tool, arguments).await;
    }

    let (mut seen, mut token) = (0, Value::Null);
    loop {
        let page = json!({"limit": 1000, "pageToken": token});
        let page = call(&mut mcp, "TaskList", page).await;
        seen += page["tasks"].as_array().unwrap().len();
        token = page["nextPageToken"].clone();
        if token == Value::Null {
            break;
        }
    }
    assert_eq!(seen, 301);
}

#[tokio::test]
async fn rosters_and_mail_are_told_in_pages() {
    let cluster = Cluster::start(programs!()).await;
    let members: Vec<Value> = (0..300)
        .map(|n| json!({"name": format!("m{n:03}"), "kind": "agent", "role": "r".repeat(200)}))
        .collect();
    let red = json!({"team_name": "red", "members": members});
    cluster.client().tool("spawn_team", red).await;
    let lead = cluster.client().saying(TEAM_KEY, "red");
    let letters = [60_000, 10, 20_000, 20_000, 10];
    for len in letters {
        let message = json!({"member_name": "m000", "message": "é\n".repeat(len / 3)});
        lead.tool("message_teammate", message).await;
    }
    let args = ["--team", "red", "--member", "m000"];
    let (mut mcp, _) = Mcp::initialized(&cluster, &args).await;

    let (mut names, mut token) = (0, Value::Null);
    loop {
        let page = call(&mut mcp, "check_teammates", json!({"page_token": token})).await;
        names += page["members"].as_array().unwrap().len();
        token = page["next_page_token"].clone();
        if token == Value::Null {
            break;
        }
    }
    assert_eq!(names, 301);

    let mut read = Vec::new();
    loop {
        let told = call(&mut mcp, "read_messages", json!({})).await;
        let messages = told["messages"].as_array().unwrap();
        read.extend(messages.iter().map(|message| message["id"].clone()));
        if messages.is_empty() {
            break;
        }
        if read.len() == 1 {
            let (mut text, mut offset) = (String::new(), json!(0));
            while offset != Value::Null {
                let page = json!({"message_id": read[0], "offset": offset});
                let page = call(&mut mcp, "read_messages", page).await;
                text.push_str(page["text"].as_str().unwrap());
                offset = page["next_offset"].clone();
            }
            assert!(text == "é\n".repeat(20_000));
        }
    }
    assert_eq!(read.len(), letters.len());
}

#[tokio::test]
async fn blocking_task_returns_when_its_sub_agent_asks() {
    let cluster = Cluster::start(programs!()).await;
    let config = cluster.dir().join("worker.toml");
    let mut config = std::fs::OpenOptions::new()
        .append(true)
        .open(config)
        .unwrap();
    config
        .write_all(
            b"[agent_types.talker]\ncommand = ['/bin/sh', '{prompt_file}']\nprotocol = 'json'\n",
        )
        .unwrap();
    let _worker = cluster.worker("w1").await;
    let (mut mcp, _) = Mcp::initialized(&cluster, &[]).await;
    let asks = r#"read -r task; echo '{"type":"question","text":"which one?"}'; read -r answer; echo "$answer""#;

    for cancel_on_disconnect in [false, true] {
        let work = json!({
            "description": "talk",
            "prompt": asks,
            "subagent_type": "talker",
            "cancel_on_disconnect": cancel_on_disconnect,
        });
        let answer = mcp.call("task", work).await;

        let told = &answer["structuredContent"];
        assert_eq!(told["status"], "in_progress", "{answer}");
        assert_eq!(told["question"]["text"], "which one?");
        let text = answer["content"][0]["text"].as_str().unwrap();
        let id = told["task_id"].as_str().unwrap();
        let next = format!("answer_question with task_id {id}, then wait_tasks");
        assert!(text.contains(&next), "{text}");
        let reply = json!({"task_id": id, "answer": "the new one"});
        mcp.done("answer_question", reply).await;
        let waited = mcp.done("wait_tasks", json!({"task_ids": id})).await;
        assert_eq!(waited["tasks"][0]["status"], "completed", "{waited}");
        let result = waited["tasks"][0]["result"].as_str().unwrap();
        assert!(result.contains("the new one"), "{waited}");
    }
}

#[tokio::test]
async fn blocking_task_and_wait_return_when_nobody_but_the_lead_can_get_on() {
    let cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("w1").await;
    let client = cluster.client();
    client.plan(vec![new_task("the lead's own")]).await;
    let (mut mcp, _) = Mcp::initialized(&cluster, &[]).await;

    let work = json!({
        "description": "after it",
        "prompt": "echo done",
        "subagent_type": "shell",
        "blocked_by": ["1"],
    });
    let answer = mcp.call("task", work).await;

    let told = &answer["structuredContent"];
    assert_eq!(
        (&told["status"], &told["task_id"]),
        (&json!("pending"), &json!("2"))
    );
    let because = "waits for #1, which waits to be claimed";
    let stuck = json!([{"task_id": "2", "because": because}]);
    assert_eq!(told["stuck"], stuck);
    let text = answer["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains(&format!("Stuck: {because}\nNext: ")),
        "{text}"
    );
    let waited = mcp.done("wait_tasks", json!({"task_ids": "2"})).await;
    assert_eq!(
        (&waited["timed_out"], &waited["stuck"]),
        (&json!(false), &stuck)
    );

    client.set(1, v1::TaskStatus::Completed).await;
    let waited = mcp.done("wait_tasks", json!({"task_ids": "2"})).await;
    assert_eq!(waited["tasks"][0]["result"], "done\n");
}

#[tokio::test]
async fn lead_holds_gives_back_and_reopens_tasks_by_tools() {
    let cluster = Cluster::start(programs!()).await;
    let (mut mcp, _) = Mcp::initialized(&cluster, &[]).await;
    mcp.done("TaskCreate", json!({"subject": "one"})).await;
    mcp.done("TaskCreate", json!({"subject": "two", "blockedBy": "1"}))
        .await;

    let paused = mcp
        .done("pause_task", json!({"task_id": 1, "reason": "wait"}))
        .await;
    assert_eq!(paused["phase"], "paused", "{paused}");
    let refused = mcp.call("claim_task", json!({"task_id": "1"})).await;
    assert_eq!(refused["isError"], true, "{refused}");
    mcp.done("resume_task", json!({"task_id": "1"})).await;
    mcp.done("claim_task", json!({"task_id": "1"})).await;
    let back = mcp
        .done("release_task", json!({"task_id": "1", "reason": "no time"}))
        .await;
    assert_eq!(back["status"], "pending", "{back}");
    mcp.done("claim_task", json!({"task_id": "1"})).await;
    let done = json!({"taskId": "1", "status": "completed", "result": "x"});
    mcp.done("TaskUpdate", done).await;
    let open = mcp
        .done("reopen_task", json!({"task_id": "1", "reason": "wrong"}))
        .await;
    assert_eq!(
        (&open["status"], &open["blocked"]),
        (&json!("pending"), &json!(["2"]))
    );

    mcp.done("TeamCreate", json!({"team_name": "red"})).await;
    let teams = mcp.done("list_teams", json!({})).await;
    let names = teams["teams"].as_array().unwrap().iter();
    let names: Vec<&Value> = names.map(|team| &team["name"]).collect();
    assert!(
        names.contains(&&json!("default")) && names.contains(&&json!("red")),
        "{teams}"
    );
    let first = mcp.done("list_teams", json!({"limit": 1})).await;
    let rest = json!({"limit": 1, "page_token": first["next_page_token"]});
    assert_ne!(mcp.done("list_teams", rest).await["teams"], first["teams"]);
}

#[tokio::test]
async fn transcripts_and_artifacts_are_read_in_pages() {
    let cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("w1").await;
    let (mut mcp, _) = Mcp::initialized(&cluster, &[]).await;
    let types = mcp.done("list_agent_types", json!({})).await;
    assert_eq!(types["agent_types"][0]["name"], "shell");
    assert_eq!(types["agent_types"][0]["offered_now"], true);

    let work = json!({
        "description": "write",
        "prompt": "seq 1 30000; seq 1 20000 > out.txt; head -c 50000 /dev/zero > out.bin",
        "subagent_type": "shell",
        "output_globs": "[\"out.*\"]",
    });
    let done = call(&mut mcp, "task", work).await;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["cut"][0]["field"], "result", "{done}");

    let (mut output, mut pages, mut at) = (String::new(), 0, json!({"task_id": done["task_id"]}));
    loop {
        let page = call(&mut mcp, "read_transcript", at.clone()).await;
        pages += 1;
        for record in page["records"].as_array().unwrap() {
            if record["kind"] == "stdout" {
                output.push_str(record["text"].as_str().unwrap());
            }
        }
        if page["next_after_index"] == Value::Null {
            break;
        }
        at["after_index"] = page["next_after_index"].clone();
        at["offset"] = page["next_offset"].clone();
    }
    let wanted: String = (1..=30_000).map(|n| format!("{n}\n")).collect();
    assert!(
        output == wanted,
        "{} bytes of {}",
        output.len(),
        wanted.len()
    );
    assert!(pages > 4, "{pages} pages");

    let (mut text, mut offset) = (String::new(), Value::Null);
    loop {
        let page = json!({"task_id": 1, "path": "out.txt", "offset": offset});
        let page = call(&mut mcp, "read_artifact", page).await;
        text.push_str(page["content"].as_str().unwrap());
        offset = page["next_offset"].clone();
        if offset == Value::Null {
            break;
        }
    }
    assert!(text == (1..=20_000).map(|n| format!("{n}\n")).collect::<String>());
    let none = mcp.call("read_artifact", json!({"task_id": 1})).await;
    assert_eq!(
        none["structuredContent"]["facts"]["paths"],
        "out.bin, out.txt, result.md"
    );
    let files = done["outputs"].as_array().unwrap();
    let zeros = files.iter().find(|file| file["path"] == "out.bin").unwrap();
    // Zeros are text, if a dull one.
    let page = call(
        &mut mcp,
        "read_artifact",
        json!({"sha256": zeros["sha256"]}),
    )
    .await;
    assert!(page["next_offset"].is_number(), "{}", page["size"]);
}
