//! Teams that lead agents make with the JSON that they know: members without an agent type run as
//! the coordinator's default one.

use std::io::Write;

use ganger_proto::TEAM_KEY;
use ganger_tests::{Client, Cluster, Told, patiently, programs};
use serde_json::{Value, json};

/// An agent of the `json` protocol: says what it is at, and what it was told once it is let.
const AGENT: &str = r#"
    read -r task
    echo '{"type":"progress","doing":"Counting"}'
    read -r _ < "$GATES/go"
    printf '%s\n' "$task" | sed 's/.*"prompt":"\([^"]*\)".*/{"type":"result","text":"did: \1"}/'
"#;

/// Configures the agent as a type of this name, with more said of it.
fn configure(cluster: &Cluster, name: &str, more: &str) {
    let path = cluster.dir().join("worker.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    // It sees the gates as the shell does.
    let gates = text.lines().skip(1);
    let gates: Vec<&str> = gates.take_while(|line| !line.is_empty()).collect();
    let gates = gates.join("\n");
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    let command = format!("['/bin/sh', '-c', '''{AGENT}''']");
    write!(
        file,
        "\n[agent_types.{name}]\ncommand = {command}\n{more}\n{gates}\n"
    )
    .unwrap();
}

async fn spawn(cluster: &Cluster) -> (Client, Told) {
    let team = json!({
        "team_name": "refactor",
        "members": [
            {"name": "Alice", "role": "analyst"},
            {"name": "Bob", "role": "writer"},
        ],
    });
    let made = cluster.client().tool("spawn_team", team).await;
    (cluster.client().saying(TEAM_KEY, "refactor"), made)
}

fn work(member: &str) -> Value {
    json!({"member_name": member, "task_description": "Count the files"})
}

fn status(team: &Value, name: &str) -> Value {
    let mut members = team["members"].as_array().unwrap().iter();
    members.find(|member| member["name"] == name).unwrap()["status"].clone()
}

#[tokio::test]
async fn member_that_was_spawned_without_a_type_runs_what_it_is_assigned() {
    let cluster = Cluster::start(programs!()).await;
    let gate = cluster.gate("go");
    configure(&cluster, "general-purpose", "protocol = 'json'");
    let _worker = cluster.worker("w1").await;
    let (lead, made) = spawn(&cluster).await;
    let hosted =
        |name: &str| json!({"name": name, "kind": "hosted", "agent_type": "general-purpose"});
    assert_eq!(
        made.result,
        json!({
            "team_name": "refactor",
            "lead_agent_id": "team-lead@refactor",
            "members": [hosted("Alice"), hosted("Bob")],
        })
    );

    let assigned = lead.tool("assign_task", work("Alice")).await;
    assert_eq!(assigned.result["task_id"], "1");
    patiently("Alice is seen to work", async {
        loop {
            let team = lead.tool("check_teammates", json!({})).await.result;
            assert_eq!(status(&team, "Bob"), "idle");
            let line = team["open_tasks"][0]["line"].as_str().unwrap();
            if status(&team, "Alice") == "working" && line.contains("Counting") {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    let waited = lead.tool("wait_tasks", json!({"task_ids": ["1"]})).await;

    let task = &waited.result["tasks"][0];
    assert_eq!(task["status"], "completed", "{waited:?}");
    let result = task["result"].as_str().unwrap();
    assert!(result.contains("did: Count the files"), "{result}");
    let team = lead.tool("check_teammates", json!({})).await.result;
    assert_eq!(status(&team, "Alice"), "idle");
    assert_eq!(team["tasks"]["completed"], 1);
}

#[tokio::test]
async fn team_of_a_type_that_nobody_offers_is_made_and_says_so() {
    let cluster = Cluster::start(programs!()).await;
    let gate = cluster.gate("go");
    let _worker = cluster.worker("w1").await;

    let (lead, made) = spawn(&cluster).await;

    assert_eq!(made.result["not_offered"], json!(["general-purpose"]));
    assert_eq!(made.result["on_offer"], json!(["shell"]));
    for said in [
        "No worker offers general-purpose now",
        "On offer now: shell",
    ] {
        assert!(made.text.contains(said), "{}", made.text);
    }
    let refused = lead
        .no_tool("assign_task", work("Alice"), "AGENT_TYPE_UNKNOWN")
        .await;
    assert_eq!(refused.result["facts"]["on_offer"], "shell");

    // As soon as somebody offers it, it runs.
    configure(&cluster, "general-purpose", "protocol = 'json'");
    let _other = cluster.worker("w2").await;
    lead.tool("assign_task", work("Alice")).await;
    gate.open();
    let waited = lead.tool("wait_tasks", json!({"task_ids": ["1"]})).await;
    assert_eq!(
        waited.result["tasks"][0]["status"], "completed",
        "{waited:?}"
    );
}

#[tokio::test]
async fn type_whose_prompt_is_a_script_is_no_members_by_default() {
    let cluster = Cluster::with(programs!(), &["--default-agent-type", "shell"]).await;
    let _worker = cluster.worker("w1").await;
    let client = cluster.client();
    let team = |members: Value| json!({"team_name": "red", "members": members});

    let alone = team(json!([{"name": "Alice"}]));
    let refused = client
        .no_tool("spawn_team", alone, "DEFAULT_TYPE_IS_SCRIPT")
        .await;
    assert_eq!(refused.result["facts"]["agent_type"], "shell");
    // Whoever says it means it; and who calls by itself needs no type.
    let members =
        json!([{"name": "Alice", "agent_type": "shell"}, {"name": "Bob", "kind": "agent"}]);
    let made = client.tool("spawn_team", team(members)).await;
    assert_eq!(
        made.result["members"],
        json!([
            {"name": "Alice", "kind": "hosted", "agent_type": "shell"},
            {"name": "Bob", "kind": "agent", "agent_type": ""},
        ])
    );
    let lead = cluster.client().saying(TEAM_KEY, "red");
    lead.no_tool("assign_task", work("Alice"), "PROMPT_MISSING")
        .await;
}

#[tokio::test]
async fn worker_says_of_which_types_the_prompt_is_a_script() {
    let cluster = Cluster::start(programs!()).await;
    configure(&cluster, "talks", "protocol = 'json'");
    configure(&cluster, "told", "prompt_is_script = false");
    let script = "protocol = 'json'\nprompt_is_script = true";
    configure(&cluster, "scripted", script);
    let _worker = cluster.worker("w1").await;
    let client = cluster.client();

    let listed = client.tool("list_agent_types", json!({})).await;

    let types = listed.result["agent_types"].as_array().unwrap().iter();
    let told: Vec<(&str, bool)> = types
        .map(|known| {
            let name = known["name"].as_str().unwrap();
            (name, known["prompt_is_script"].as_bool().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("scripted", true),
            ("shell", true),
            ("talks", false),
            ("told", false)
        ]
    );
    let task = |name: &str| json!({"subject": "English", "agentType": name});
    for name in ["scripted", "shell"] {
        client
            .no_tool("TaskCreate", task(name), "PROMPT_MISSING")
            .await;
    }
    for name in ["talks", "told"] {
        client.tool("TaskCreate", task(name)).await;
    }
}
