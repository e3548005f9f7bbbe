//! The tools of lead agents, with the JSON that they speak.

use ganger_proto::{TEAM_KEY, v1};
use ganger_tests::{Client, Cluster, programs, refused, struct_of};
use serde_json::{Value, json};
use tonic::Code;

/// Puts a task on the board, and answers its id.
pub async fn create(client: &Client, arguments: Value) -> String {
    let told = client.tool("TaskCreate", arguments).await;
    told.result["task"]["id"].as_str().unwrap().to_owned()
}

/// A team of Alice and Bob, and its lead.
pub async fn team_of_two(cluster: &Cluster) -> Client {
    let members = json!([
        {"name": "Alice", "role": "analyst", "kind": "agent"},
        {"name": "Bob", "kind": "agent"},
    ]);
    let made = cluster
        .client()
        .tool(
            "spawn_team",
            json!({"team_name": "refactor", "members": members}),
        )
        .await;
    assert_eq!(
        made.result,
        json!({
            "team_name": "refactor",
            "lead_agent_id": "team-lead@refactor",
            "members": [
                {"name": "Alice", "kind": "agent", "agent_type": ""},
                {"name": "Bob", "kind": "agent", "agent_type": ""},
            ],
        })
    );
    cluster.client().saying(TEAM_KEY, "refactor")
}

#[tokio::test]
async fn json_of_lead_agents_works_verbatim() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();

    let made = client
        .tool(
            "TeamCreate",
            json!({
                "team_name": "database-refactor",
                "description": "Migrating the user database to PostgreSQL",
                "agent_type": "tech-lead",
            }),
        )
        .await;
    assert_eq!(
        made.result,
        json!({
            "team_name": "database-refactor",
            "lead_agent_id": "team-lead@database-refactor",
        })
    );

    let client = client.saying(TEAM_KEY, "database-refactor");
    let task = json!({
        "subject": "Create migration script",
        "description": "Write the SQL to alter the users table.",
        "activeForm": "Writing SQL",
        "metadata": {"priority": "high"},
    });
    let created = client.tool("TaskCreate", task).await;
    assert_eq!(
        created.result,
        json!({"task": {"id": "1", "subject": "Create migration script"}})
    );

    let update = json!({"taskId": "1", "status": "in_progress"});
    let updated = client.tool("TaskUpdate", update).await;
    assert_eq!(updated.result["success"], true);
    assert_eq!(updated.result["taskId"], "1");
    assert_eq!(
        updated.result["statusChange"],
        json!({"from": "pending", "to": "in_progress"})
    );
    assert_eq!(updated.result["verificationNudgeNeeded"], false);

    let got = client.tool("TaskGet", json!({"taskId": "1"})).await;
    let task = &got.result["task"];
    for (field, value) in [
        ("id", json!("1")),
        ("subject", json!("Create migration script")),
        (
            "description",
            json!("Write the SQL to alter the users table."),
        ),
        ("activeForm", json!("Writing SQL")),
        ("status", json!("in_progress")),
        ("owner", json!("team-lead")),
        ("metadata", json!({"priority": "high"})),
        ("blocks", json!([])),
        ("blockedBy", json!([])),
        ("createdBy", json!("team-lead")),
    ] {
        assert_eq!(task[field], value, "{field} of {task}");
    }
}

#[tokio::test]
async fn board_is_told_as_data_and_as_lines() {
    let cluster = Cluster::start(programs!()).await;
    let lead = team_of_two(&cluster).await;
    let empty = lead.tool("TaskList", json!({})).await;
    assert_eq!(empty.result, json!({"tasks": []}));
    assert_eq!(empty.text, "No tasks found.");

    let analyze = json!({"subject": "Analyze current schema", "owner": "Alice"});
    create(&lead, analyze).await;
    let migrate = json!({
        "subject": "Create migration script",
        "activeForm": "Writing SQL",
        "owner": "Bob",
        "blockedBy": ["1"],
    });
    create(&lead, migrate).await;
    create(
        &lead,
        json!({"subject": "Update unit tests", "blockedBy": 2}),
    )
    .await;
    let alice = lead.clone().member("Alice");
    let bob = lead.clone().member("Bob");
    for status in ["in_progress", "completed"] {
        let update = json!({"taskId": "1", "status": status});
        alice.tool("TaskUpdate", update).await;
    }
    bob.tool(
        "TaskUpdate",
        json!({"taskId": "2", "status": "in_progress"}),
    )
    .await;

    let list = lead.tool("TaskList", json!({})).await;

    assert_eq!(
        list.text,
        "#1 [completed] Analyze current schema (Alice)\n\
         #2 [in_progress] Create migration script (Bob): Writing SQL…\n\
         #3 [pending] Update unit tests [blocked by #2]"
    );
    let lines: Vec<&str> = list.text.lines().collect();
    let tasks = list.result["tasks"].as_array().unwrap();
    let told: Vec<&Value> = tasks.iter().map(|task| &task["line"]).collect();
    assert_eq!(told, lines);
    assert_eq!(
        tasks[2],
        json!({
            "id": "3",
            "subject": "Update unit tests",
            "status": "pending",
            "blockedBy": ["2"],
            "openBlockers": ["2"],
            "line": lines[2],
        })
    );
    assert_eq!(tasks[1]["blockedBy"], json!(["1"]));
    assert_eq!(tasks[1]["openBlockers"], json!([]));
    assert_eq!(tasks[1]["owner"], "Bob");

    let filtered = lead.tool("TaskList", json!({"blocked": true})).await;
    assert_eq!(filtered.text, lines[2]);
    let first = lead.tool("TaskList", json!({"limit": 2})).await;
    let token = first.result["nextPageToken"].as_str().unwrap();
    assert!(first.text.contains(token), "{}", first.text);
    let rest = json!({"limit": 2, "pageToken": token});
    assert_eq!(lead.tool("TaskList", rest).await.text, lines[2]);
}

#[tokio::test]
async fn update_tells_fields_change_freed_tasks_and_the_nudge() {
    let cluster = Cluster::start(programs!()).await;
    let lead = team_of_two(&cluster).await;
    for subject in ["one", "two", "three", "four"] {
        create(&lead, json!({"subject": subject})).await;
    }
    create(&lead, json!({"subject": "five", "blockedBy": ["3"]})).await;

    let fields = json!({
        "taskId": 1,
        "owner": "Alice",
        "subject": "One",
        "description": "more",
        "activeForm": "Doing one",
        "addBlocks": ["4"],
        "addBlockedBy": ["#2"],
        "metadata": {"count": 1, "ratio": 1.5, "deep": {"list": [1, 2]}},
    });
    let updated = lead.tool("TaskUpdate", fields).await;
    let mut names: Vec<&str> = updated.result["updatedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "activeForm",
            "blockedBy",
            "blocks",
            "description",
            "metadata",
            "owner",
            "subject"
        ]
    );
    assert_eq!(updated.result.get("statusChange"), None);

    // Whole numbers stay whole, in the words too.
    let got = lead.tool("TaskGet", json!({"taskId": "1"})).await;
    let metadata = json!({"count": 1, "ratio": 1.5, "deep": {"list": [1, 2]}});
    assert_eq!(got.result["task"]["metadata"], metadata);
    assert!(got.text.contains(&metadata.to_string()), "{}", got.text);

    let changes = json!({
        "taskId": "1",
        "removeBlocks": ["4"],
        "removeBlockedBy": ["2"],
        "metadata": {"ratio": null},
        "owner": "",
    });
    lead.tool("TaskUpdate", changes).await;
    let got = lead.tool("TaskGet", json!({"taskId": "1"})).await;
    let task = &got.result["task"];
    assert_eq!(
        task["metadata"],
        json!({"count": 1, "deep": {"list": [1, 2]}})
    );
    assert_eq!(
        (&task["owner"], &task["blocks"], &task["blockedBy"]),
        (&Value::Null, &json!([]), &json!([]))
    );

    let complete = |id: &str| json!({"taskId": id, "status": "completed", "result": "done"});
    for id in ["1", "2"] {
        let told = lead.tool("TaskUpdate", complete(id)).await;
        assert_eq!(told.result["verificationNudgeNeeded"], false);
    }
    let third = lead.tool("TaskUpdate", complete("3")).await;
    assert_eq!(third.result["unblocked"], json!(["5"]));
    assert_eq!(third.result["verificationNudgeNeeded"], true);
    let nudge = third.result["verificationNudge"].as_str().unwrap();
    assert!(third.text.ends_with(nudge), "{}", third.text);
    let team = lead.tool("check_teammates", json!({})).await;
    assert_eq!(team.result["verification_nudge_needed"], true, "{team:?}");
}

#[tokio::test]
async fn deleted_task_is_gone_and_frees_who_waited() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    create(&client, json!({"subject": "one"})).await;
    create(&client, json!({"subject": "two", "blockedBy": ["1"]})).await;

    let more = json!({"taskId": "1", "status": "deleted", "owner": "team-lead"});
    client.no_tool("TaskUpdate", more, "ARGUMENT_INVALID").await;
    let deleted = client
        .tool("TaskUpdate", json!({"taskId": "1", "status": "deleted"}))
        .await;

    assert_eq!(
        deleted.result,
        json!({
            "success": true,
            "taskId": "1",
            "updatedFields": ["deleted"],
            "statusChange": {"from": "pending", "to": "deleted"},
            "unblocked": ["2"],
            "verificationNudgeNeeded": false,
        })
    );
    let gone = json!({"taskId": "1"});
    client.no_tool("TaskGet", gone, "TASK_NOT_FOUND").await;
    assert_eq!(create(&client, json!({"subject": "three"})).await, "3");
}

#[tokio::test]
async fn refusal_is_an_answer_that_says_what_is_possible() {
    let cluster = Cluster::start(programs!()).await;
    let lead = team_of_two(&cluster).await;
    create(&lead, json!({"subject": "one"})).await;
    create(&lead, json!({"subject": "two", "blockedBy": ["1"]})).await;

    let begin = json!({"taskId": "2", "status": "in_progress"});
    let blocked = lead.no_tool("TaskUpdate", begin, "TASK_BLOCKED").await;
    assert_eq!(blocked.result["success"], false);
    assert_eq!(blocked.result["facts"]["blockers"], "1");

    let nobody = json!({"member_name": "Carol", "task_description": "x"});
    let nobody = lead
        .no_tool("assign_task", nobody, "MEMBER_NOT_FOUND")
        .await;
    assert_eq!(nobody.result["facts"]["members"], "Alice, Bob, team-lead");
    assert!(
        nobody.text.contains("Alice, Bob, team-lead"),
        "{}",
        nobody.text
    );

    let cycle = json!({"taskId": "1", "addBlockedBy": ["2"]});
    let cycle = lead.no_tool("TaskUpdate", cycle, "EDGE_CYCLE").await;
    assert_eq!(cycle.result["facts"]["field"], "addBlockedBy");
    assert!(cycle.text.contains("addBlockedBy would"), "{}", cycle.text);
    assert!(
        cycle.text.contains("#1") && cycle.text.contains("#2"),
        "{}",
        cycle.text
    );

    let unknown = json!({"subjet": "one"});
    let unknown = lead
        .no_tool("TaskCreate", unknown, "ARGUMENT_UNKNOWN")
        .await;
    assert!(
        unknown.text.contains("subject, description, activeForm"),
        "{}",
        unknown.text
    );
    let missing = lead
        .no_tool("TaskCreate", json!({}), "ARGUMENT_MISSING")
        .await;
    assert_eq!(missing.result["facts"]["argument"], "subject");
    lead.no_tool("TaskCreate", json!({"subject": "  "}), "FIELD_BLANK")
        .await;
    let wrong = json!({"taskId": "1", "expectedRevision": "1", "subject": "uno"});
    let wrong = lead.no_tool("TaskUpdate", wrong, "REVISION_MISMATCH").await;
    assert_eq!(wrong.result["facts"]["current"]["subject"], "one");

    // Nothing of all that has changed anything.
    let list = lead.tool("TaskList", json!({})).await;
    assert_eq!(
        list.text,
        "#1 [pending] one\n#2 [pending] two [blocked by #1]"
    );
}

#[tokio::test]
async fn unknown_tool_and_missing_token_are_errors_of_the_call() {
    let cluster = Cluster::guarded(programs!(), "t0ken").await;
    let client = cluster.client();

    let info = refused(
        client.try_tool("TodoWrite", json!({})).await,
        Code::NotFound,
        "TOOL_UNKNOWN",
    );
    assert!(info.metadata["known"].contains("TaskCreate"), "{info:?}");

    let stranger = Client::of(&cluster.address());
    let answer = stranger.try_tool("TaskList", json!({})).await;
    refused(answer, Code::Unauthenticated, "TOKEN_INVALID");
}

#[tokio::test]
async fn caller_is_who_the_metadata_says_and_a_call_may_name_another_team() {
    let cluster = Cluster::start(programs!()).await;
    let lead = team_of_two(&cluster).await;
    let alice = lead.clone().member("Alice/1");

    create(&alice, json!({"subject": "mine"})).await;
    create(&lead, json!({"subject": "hers", "owner": "Bob"})).await;
    let got = lead.tool("TaskGet", json!({"taskId": "1"})).await;
    assert_eq!(got.result["task"]["createdBy"], "Alice");
    let others = json!({"taskId": "2", "subject": "not mine"});
    alice.no_tool("TaskUpdate", others, "NOT_OWNER").await;

    // Who goes by a name leads under it.
    let own = alice.tool("TeamCreate", json!({"team_name": "own"})).await;
    assert_eq!(own.result["lead_agent_id"], "Alice@own");
    let there = json!({"subject": "there", "team_name": "own"});
    assert_eq!(create(&lead.clone().member("Alice"), there).await, "1");
    let list = cluster
        .client()
        .tool("TaskList", json!({"team_name": "own"}))
        .await;
    assert_eq!(list.text, "#1 [pending] there");
}

#[tokio::test]
async fn repeated_call_answers_the_first_outcome() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let call = |subject: &str| v1::CallToolRequest {
        name: "TaskCreate".into(),
        arguments: Some(struct_of(json!({"subject": subject}))),
        request_id: "0192d1f6-7a6e-7b3c-8a6e-2f6f7b3c8a6e".into(),
    };

    let first = client.tools().call_tool(call("one")).await.unwrap();
    let again = client.tools().call_tool(call("one")).await.unwrap();
    let other = client.tools().call_tool(call("two")).await.unwrap();

    assert_eq!(first.get_ref(), again.get_ref());
    assert!(other.get_ref().is_error, "{other:?}");
    assert!(
        other.get_ref().text.contains("REQUEST_ID_REUSED"),
        "{other:?}"
    );
    let list = client.tool("TaskList", json!({})).await;
    assert_eq!(list.text, "#1 [pending] one");
}

#[tokio::test]
async fn every_tool_is_listed_with_description_and_schema() {
    let cluster = Cluster::start(programs!()).await;

    let tools = cluster
        .client()
        .tools()
        .list_tools(v1::ListToolsRequest {})
        .await;
    let tools = tools.unwrap().into_inner().tools;

    assert_eq!(tools.len(), 29);
    for tool in &tools {
        assert!(!tool.description.is_empty(), "{}", tool.name);
        let schema = ganger_tests::object_of(tool.input_schema.clone().unwrap());
        assert_eq!(schema["type"], "object", "{}", tool.name);
        assert_eq!(schema["additionalProperties"], false, "{}", tool.name);
    }
    let with = |is: fn(&v1::Tool) -> bool| -> Vec<&str> {
        tools
            .iter()
            .filter(|tool| is(tool))
            .map(|tool| tool.name.as_str())
            .collect()
    };
    let looks = [
        "TaskList",
        "TaskGet",
        "check_task",
        "wait_tasks",
        "list_agent_types",
        "read_transcript",
        "read_artifact",
        "check_teammates",
        "list_teams",
    ];
    assert_eq!(with(|tool| tool.read_only), looks);
    assert_eq!(
        with(|tool| tool.long_running),
        ["task", "wait_tasks", "read_messages"]
    );
    let ends = ["TaskUpdate", "cancel_task", "dissolve_team", "TeamDelete"];
    assert_eq!(with(|tool| tool.destructive), ends);
}
