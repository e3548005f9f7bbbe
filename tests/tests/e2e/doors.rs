//! What the board decides is the same by whichever door it is asked: a call, a batch, a tool, the
//! command line.

use ganger_proto::v1::{self, BatchUpdateTasksRequest, UpdateTaskRequest};
use ganger_tests::{Client, Cluster, new_task, patiently, programs};
use serde_json::json;
use tokio::process::Command;

/// Runs the person's tool against the cluster's coordinator: its exit code, and all that it said.
pub async fn ganger(cluster: &Cluster, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(cluster.ganger());
    command
        .args(["--addr", &cluster.addr().to_string()])
        .args(args)
        .current_dir(cluster.dir())
        .env_clear()
        .kill_on_drop(true);
    let ran = patiently(format!("ganger {args:?}"), command.output()).await;
    let ran = ran.unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (
        ran.status.code().unwrap_or(-1),
        String::from_utf8(said).unwrap(),
    )
}

async fn batch(client: &Client, updates: Vec<UpdateTaskRequest>) -> Vec<v1::UpdateTaskResponse> {
    let request = BatchUpdateTasksRequest {
        updates,
        ..BatchUpdateTasksRequest::default()
    };
    let answer = client.task().batch_update_tasks(request).await;
    answer.unwrap().into_inner().updates
}

/// K4. #2 waits for #1.
#[tokio::test]
async fn edge_that_is_there_or_is_not_changes_nothing_by_every_door() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let waits = v1::NewTask {
        blocked_by: vec![1, 1],
        blocked_by_items: vec![0],
        ..new_task("b")
    };
    client.plan(vec![new_task("a"), waits]).await;
    let before = client.list(|_| {}).await;
    assert_eq!(before[1].blocked_by, [1]);

    let there = UpdateTaskRequest {
        task_id: 2,
        add_blocked_by: vec![1, 1],
        remove_blocks: vec![1, 7],
        ..UpdateTaskRequest::default()
    };
    let called = client.task().update_task(there.clone()).await.unwrap();
    assert_eq!(called.into_inner().updated_fields, [""; 0]);
    for answer in batch(&client, vec![there.clone(), there]).await {
        assert_eq!(answer.updated_fields, [""; 0]);
    }
    let by_tool = json!({"taskId": "1", "addBlocks": ["2", "2"], "removeBlockedBy": ["2"]});
    let told = client.tool("TaskUpdate", by_tool).await;
    assert_eq!(told.result["updatedFields"], json!([]));
    let args = [
        "task",
        "update",
        "2",
        "--add-blocked-by",
        "1,1",
        "--remove-blocks",
        "1",
    ];
    let (code, said) = ganger(&cluster, &args).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(client.list(|_| {}).await, before);

    // What is new beside it is done.
    let more = json!({"taskId": "2", "addBlockedBy": ["1"], "subject": "B"});
    let told = client.tool("TaskUpdate", more).await;
    assert_eq!(told.result["updatedFields"], json!(["subject"]));
    let made = json!({"subject": "c", "blockedBy": ["1", "1"], "blocks": ["2", "2"]});
    client.tool("TaskCreate", made).await;
    assert_eq!(client.get(3).await.blocked_by, [1]);
    assert_eq!(client.get(2).await.blocked_by, [1, 3]);
    let args = ["task", "create", "d", "--blocked-by", "1,1"];
    let (code, said) = ganger(&cluster, &args).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(client.get(4).await.blocked_by, [1]);
}

/// K12, K6.
#[tokio::test]
async fn claiming_what_one_holds_renews_it_by_every_door() {
    let cluster = Cluster::start(programs!()).await;
    let lead = cluster.client();
    lead.plan(vec![new_task("a"), new_task("b")]).await;
    let claim = async || {
        let request = v1::ClaimTaskRequest {
            task_id: 1,
            ..v1::ClaimTaskRequest::default()
        };
        let answer = lead.task().claim_task(request).await.unwrap();
        answer.into_inner()
    };
    let first = claim().await;
    assert!(!first.renewed);
    let mut watch = lead.watch().await;

    let again = claim().await;

    assert!(again.renewed);
    assert_eq!((first.attempt, again.attempt), (1, 1));
    let until = |answer: &v1::ClaimTaskResponse| {
        let until = answer.lease_until.as_ref().unwrap();
        (until.seconds, until.nanos)
    };
    assert!(until(&again) > until(&first), "{again:?}");
    let told = lead.tool("claim_task", json!({"task_id": "1"})).await;
    assert_eq!(told.result["renewed"], true);
    assert_eq!(told.result["attempt"], 1);
    assert!(told.text.contains("renewed"), "{}", told.text);
    let (code, said) = ganger(&cluster, &["task", "claim", "1"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("(attempt 1)") && said.contains("renewed"),
        "{said}"
    );

    // The next one is another, and then there is none.
    let next = lead.tool("claim_task", json!({})).await;
    assert_eq!(
        (&next.result["task_id"], &next.result["renewed"]),
        (&json!("2"), &json!(false))
    );
    let none = lead.tool("claim_task", json!({})).await;
    assert_eq!(none.result, json!({"claimed": false}));
    let (code, said) = ganger(&cluster, &["task", "claim-next"]).await;
    assert_eq!((code, said.trim()), (4, "no task is ready"));
    // A renewal is no event.
    watch.until(2, v1::EventType::TaskClaimed).await;
    let claims = watch
        .events
        .iter()
        .filter(|event| event.r#type() == v1::EventType::TaskClaimed);
    assert_eq!(
        claims.map(|event| event.task_id).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[tokio::test]
async fn starting_a_task_says_that_its_owner_changed_by_every_door() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.plan(["a", "b", "c", "d"].map(new_task).into()).await;
    let begin = |task_id| UpdateTaskRequest {
        task_id,
        status: v1::TaskStatus::InProgress.into(),
        ..UpdateTaskRequest::default()
    };

    let called = client
        .task()
        .update_task(begin(1))
        .await
        .unwrap()
        .into_inner();
    let of_batch = batch(&client, vec![begin(2)]).await;
    let by_tool = json!({"taskId": "3", "status": "in_progress"});
    let told = client.tool("TaskUpdate", by_tool).await;
    let args = [
        "task",
        "update",
        "4",
        "--status",
        "in-progress",
        "-o",
        "json",
    ];
    let (code, said) = ganger(&cluster, &args).await;

    assert_eq!(called.updated_fields, ["status", "owner"]);
    assert_eq!(called.task.unwrap().owner, "team-lead");
    assert_eq!(of_batch[0].updated_fields, ["status", "owner"]);
    assert_eq!(told.result["updatedFields"], json!(["status", "owner"]));
    assert_eq!(code, 0, "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let fields = said.get("updatedFields").or(said.get("updated_fields"));
    assert_eq!(fields.unwrap(), &json!(["status", "owner"]));
}
