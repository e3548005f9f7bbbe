//! The tools of work: delegating, assigning, claiming, waiting, and the ends of teams.

use ganger_proto::TEAM_KEY;
use ganger_tests::{Cluster, programs};
use serde_json::{Value, json};

use crate::tools::{create, team_of_two};

#[tokio::test]
async fn sub_agent_is_hired_waited_for_and_called_off() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let _worker = cluster.worker("w1").await;
    let task = |prompt: &str| json!({"description": "a script", "prompt": prompt, "subagent_type": "shell"});

    let done = client.tool("task", task("echo hello")).await;
    assert_eq!(done.result["task_id"], "1");
    assert_eq!(done.result["status"], "completed");
    assert_eq!(done.result["result"], "hello\n");
    assert!(done.text.contains("hello"), "{}", done.text);
    // That it failed is what came out, and no refusal of the tool.
    let failed = client.tool("task", task("echo no >&2; exit 3")).await;
    assert_eq!(failed.result["status"], "failed");
    assert!(
        failed.result["error"].as_str().unwrap().contains('3'),
        "{failed:?}"
    );

    let gate = cluster.gate("g");
    let mut background = task(&format!("{}; echo late", gate.wait()));
    background["run_in_background"] = true.into();
    let begun = client.tool("task", background).await;
    let id = begun.result["task_id"].clone();
    assert_ne!(begun.result["status"], "completed");
    let waited = client
        .tool(
            "wait_tasks",
            json!({"task_ids": [id, "1"], "timeout": 0.05}),
        )
        .await;
    assert_eq!(waited.result["timed_out"], true, "{waited:?}");
    assert_eq!(
        (&waited.result["finished"], &waited.result["total"]),
        (&json!(1), &json!(2))
    );
    let any = json!({"task_ids": [id, "1"], "mode": "any"});
    assert_eq!(
        client.tool("wait_tasks", any).await.result["timed_out"],
        false
    );
    client.running(3).await;
    let check = client.tool("check_task", json!({"task_id": id})).await;
    assert_eq!(check.result["status"], "in_progress");
    assert_eq!(check.result["runner"], "w1");
    gate.open();
    let waited = client.tool("wait_tasks", json!({"task_ids": id})).await;
    assert_eq!(waited.result["tasks"][0]["result"], "late\n");
    let check = client.tool("check_task", json!({"task_id": id})).await;
    assert_eq!(check.result["result"], "late\n");

    let mut endless = task("echo ready; sleep 600");
    endless["run_in_background"] = true.into();
    let id = client.tool("task", endless).await.result["task_id"].clone();
    client.running(4).await;
    let off = json!({"task_id": id, "reason": "no longer needed"});
    let off = client.tool("cancel_task", off).await;
    assert_eq!(off.result["phase"], "stopping");
    let ended = client.tool("wait_tasks", json!({"task_ids": id})).await;
    assert_eq!(ended.result["tasks"][0]["status"], "cancelled");
    client
        .no_tool("cancel_task", json!({"task_id": id}), "TASK_OVER")
        .await;
    let mut unknown = task("x");
    unknown["subagent_type"] = "wizard".into();
    let unknown = client.no_tool("task", unknown, "AGENT_TYPE_UNKNOWN").await;
    assert_eq!(unknown.result["facts"]["on_offer"], "shell");
}

#[tokio::test]
async fn member_who_is_assigned_a_task_runs_it_or_is_told() {
    let cluster = Cluster::start(programs!()).await;
    let _worker = cluster.worker("w1").await;
    let members = json!([
        {"name": "runner", "agent_type": "shell", "instructions": "be quick"},
        {"name": "alice", "kind": "agent"},
    ]);
    let lead = cluster.client();
    lead.tool(
        "spawn_team",
        json!({"team_name": "red", "members": members}),
    )
    .await;
    let lead = lead.saying(TEAM_KEY, "red");

    let hosted = json!({
        "member_name": "runner",
        "task_description": "Count the files.\nAll of them.",
        "prompt": "echo 42",
    });
    let hosted = lead.tool("assign_task", hosted).await;
    assert_eq!(hosted.result["owner"], "runner");
    let waited = lead
        .tool("wait_tasks", json!({"task_ids": hosted.result["task_id"]}))
        .await;
    assert_eq!(waited.result["tasks"][0]["result"], "42\n");
    assert_eq!(waited.result["tasks"][0]["subject"], "Count the files.");
    // English is never executed.
    let english = json!({"member_name": "runner", "task_description": "Count the files."});
    lead.no_tool("assign_task", english, "PROMPT_MISSING").await;

    create(&lead, json!({"subject": "there already"})).await;
    let outside = json!({"member_name": "alice", "task_id": "2"});
    let outside = lead.tool("assign_task", outside).await;
    assert_eq!(outside.result["status"], "pending");
    assert_eq!(outside.result["line"], "#2 [pending] there already (alice)");
    let both = json!({"member_name": "alice", "task_id": "2", "task_description": "x"});
    lead.no_tool("assign_task", both, "ARGUMENT_INVALID").await;

    let team = lead.tool("check_teammates", json!({})).await;
    assert_eq!(team.result["team_name"], "red");
    let status = |name: &str| {
        let members = team.result["members"].as_array().unwrap();
        members.iter().find(|m| m["name"] == name).unwrap()["status"].clone()
    };
    assert_eq!(status("alice"), "idle");
    assert_eq!(status("runner"), "idle");
    assert_eq!(team.result["tasks"]["completed"], 1);
    assert!(
        team.text.contains("#2 [pending] there already (alice)"),
        "{}",
        team.text
    );
}

#[tokio::test]
async fn claim_takes_the_named_task_or_the_best_ready_one() {
    let cluster = Cluster::start(programs!()).await;
    let lead = team_of_two(&cluster).await;
    let (alice, bob) = (lead.clone().member("Alice"), lead.clone().member("Bob"));
    create(&lead, json!({"subject": "one"})).await;
    create(&lead, json!({"subject": "two", "blockedBy": ["1"]})).await;
    create(&lead, json!({"subject": "three", "labels": ["docs"]})).await;
    create(&lead, json!({"subject": "four", "priority": "critical"})).await;

    let best = alice.tool("claim_task", json!({})).await;
    assert_eq!(best.result["claimed"], true);
    assert_eq!(best.result["task_id"], "4");
    assert_eq!(best.result["attempt"], 1);
    assert_eq!(best.result["task"]["owner"], "Alice");
    let taken = bob
        .no_tool("claim_task", json!({"task_id": "4"}), "TASK_HELD")
        .await;
    assert_eq!(taken.result["facts"]["holder"], "Alice");
    let blocked = bob
        .no_tool("claim_task", json!({"task_id": "2"}), "TASK_BLOCKED")
        .await;
    assert_eq!(blocked.result["facts"]["blockers"], "1");
    let docs = bob.tool("claim_task", json!({"labels": ["docs"]})).await;
    assert_eq!(docs.result["task_id"], "3");
    let named = bob
        .tool("claim_task", json!({"task_id": "#1", "no_lease": true}))
        .await;
    assert_eq!(named.result["lease_until"], Value::Null);

    let none = alice.tool("claim_task", json!({})).await;
    assert_eq!(none.result, json!({"claimed": false}));
}

#[tokio::test]
async fn team_at_work_is_not_deleted_but_may_be_dissolved_by_force() {
    let cluster = Cluster::start(programs!()).await;
    let lead = team_of_two(&cluster).await;
    create(&lead, json!({"subject": "one"})).await;
    let alice = lead.clone().member("Alice");
    alice.tool("claim_task", json!({"task_id": "1"})).await;

    lead.no_tool("TeamDelete", json!({}), "TEAM_ACTIVE").await;
    lead.no_tool("dissolve_team", json!({}), "TEAM_ACTIVE")
        .await;
    alice
        .no_tool("dissolve_team", json!({"force": true}), "LEAD_ONLY")
        .await;
    let ended = lead.tool("dissolve_team", json!({"force": true})).await;
    assert_eq!(ended.result["success"], true);
    assert_eq!(ended.result["team_name"], "refactor");
    assert_eq!(ended.result["already_dissolved"], false);
    let again = lead.tool("dissolve_team", json!({})).await;
    assert_eq!(again.result["already_dissolved"], true);

    cluster
        .client()
        .tool("TeamCreate", json!({"team_name": "next"}))
        .await;
    let next = cluster.client().saying(TEAM_KEY, "next");
    let deleted = next.tool("TeamDelete", json!({})).await;
    assert_eq!(deleted.result["success"], true);
    assert_eq!(deleted.result["team_name"], "next");
    next.no_tool("TaskCreate", json!({"subject": "late"}), "TEAM_DISSOLVED")
        .await;
}
