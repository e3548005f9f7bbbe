//! Refusals that have much to say: they stay so short that no client closes its connection.

use ganger_proto::v1::{self, NewTask, PauseTaskRequest, Task, TaskStatus::Completed};
use ganger_tests::{Cluster, error_info, new_task, programs, refused};
use prost::Message;
use tonic::{Code, Status};

use super::{KIB, metadata, text};

/// Beyond this, clients on top of gRPC's C core close the connection.
const HEADERS_MAX: usize = 8 * KIB;

/// The bytes that an error takes in the headers of an answer.
fn headers_len(status: &Status) -> usize {
    // What isn't plain is written as %XX.
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'%';
    let message = status.message().as_bytes();
    let message: usize = message
        .iter()
        .map(|byte| if plain(byte) { 1 } else { 3 })
        .sum();
    let fields = "grpc-status grpc-message grpc-status-details-bin content-type";
    message + status.details().len().div_ceil(3) * 4 + fields.len() + 4 * 32 + 20
}

#[track_caller]
fn short(status: &Status) {
    let len = headers_len(status);
    assert!(len < HEADERS_MAX, "{len} bytes of headers: {status:?}");
}

/// The task that goes with a refusal.
fn attached(status: &Status) -> Task {
    let details = tonic_types::pb::Status::decode(status.details())
        .unwrap()
        .details;
    let found = details
        .iter()
        .find(|any| any.type_url.ends_with("/ganger.v1.Task"));
    Task::decode(&found.unwrap().value[..]).unwrap()
}

#[tokio::test]
async fn refusals_of_long_texts_and_lists_are_cut_and_the_connection_stays() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    // #1 has all that is long, 1,500 children, and a thousand tasks that wait in a row.
    let first = NewTask {
        description: text(256 * KIB),
        prompt: "ä".repeat(64 * KIB),
        metadata: metadata(64 * KIB),
        labels: (0..64).map(|n| format!("{n:0>100}")).collect(),
        ..new_task(&"ä".repeat(500))
    };
    let child = |n| NewTask {
        parent_task_id: 1,
        ..new_task(&format!("child {n}"))
    };
    client.plan(vec![first]).await;
    client.plan((0..1_000).map(child).collect()).await;
    client.plan((0..500).map(child).collect()).await;
    let link = |n: i32| NewTask {
        blocked_by_items: (n > 0).then_some(n - 1).into_iter().collect(),
        ..new_task("link")
    };
    let row = client.plan((0..1_000).map(link).collect()).await;

    let late = client
        .try_update(1, |update| update.expected_revision = 4_711)
        .await;
    let late = late.unwrap_err();
    short(&late);
    let info = error_info(&late);
    assert_eq!(
        (late.code(), &*info.reason),
        (Code::Aborted, "REVISION_MISMATCH")
    );
    let (told, present) = (attached(&late), client.get(1).await);
    assert_eq!(
        (told.id, told.revision, told.status()),
        (1, present.revision, present.status())
    );
    assert!(
        told.subject.starts_with("ää") && told.subject.ends_with('…'),
        "{told:?}"
    );

    let parent = client.try_delete(1).await.unwrap_err();
    short(&parent);
    assert!(error_info(&parent).metadata["children"].starts_with("2,3,4,"));
    assert!(error_info(&parent).metadata["children"].ends_with(",…"));
    let circle = client
        .try_update(row[0], |update| update.add_blocked_by = vec![row[999]])
        .await;
    let circle = circle.unwrap_err();
    short(&circle);
    let path = &error_info(&circle).metadata["path"];
    assert!(
        path.starts_with(&format!("{},", row[0])) && path.ends_with(",…"),
        "{path}"
    );

    let waits = NewTask {
        blocked_by: row.clone(),
        ..new_task("waits for a thousand")
    };
    let waits = client.plan(vec![waits]).await[0];
    let blocked = client.try_set(waits, Completed).await.unwrap_err();
    short(&blocked);
    assert_eq!(error_info(&blocked).reason, "TASK_BLOCKED");
    let pause = PauseTaskRequest {
        task_id: row[0],
        reason: "ä".repeat(2 * KIB),
        ..PauseTaskRequest::default()
    };
    client.delegation().pause_task(pause).await.unwrap();
    let paused = client.claim(row[0]).await.unwrap_err();
    short(&paused);
    let why = &error_info(&paused).metadata["why"];
    assert!(
        why.starts_with("ää") && why.ends_with('…') && why.len() <= 400,
        "{why}"
    );

    // What the caller said is not said back to it at length.
    for long in [text(70 * KIB), "ä".repeat(10 * KIB), "\0".repeat(10 * KIB)] {
        let list = v1::ListTasksRequest {
            page_token: long.clone(),
            ..v1::ListTasksRequest::default()
        };
        short(&client.try_list(list).await.unwrap_err());
        let other = v1::GetTeamRequest { team: long.clone() };
        short(&client.team().get_team(other).await.unwrap_err());
        let tool = client.try_tool(&long, serde_json::json!({})).await;
        short(tool.as_ref().unwrap_err());
        refused(tool, Code::NotFound, "TOOL_UNKNOWN");
    }
}
