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
