//! Bad input of callers: the codes of the contract, and a board that has not changed.

mod bounds;
mod callers;
mod calls;
mod changes;
mod headers;
mod limits;
mod long_errors;
mod tasks;

use ganger_proto::v1::{self, CreateTaskRequest, ListTasksRequest, UpdateTaskRequest};
use ganger_tests::{Client, Cluster, programs};
use pbjson_types::{Struct, Value, value::Kind};
use tonic_types::StatusExt;

const KIB: usize = 1024;
const ABSENT: u64 = 999;

/// Everything that a caller can see of the default team's board.
#[derive(Debug, PartialEq)]
struct Board {
    team: Option<v1::Team>,
    members: Vec<v1::Member>,
    tasks: Vec<v1::Task>,
    commits: u64,
}

async fn board(client: &Client) -> Board {
    let all = ListTasksRequest {
        page_size: 1_000,
        ..ListTasksRequest::default()
    };
    let listed = client.task().list_tasks(all).await.unwrap().into_inner();
    assert_eq!(listed.next_page_token, "");
    let mut tasks = Vec::new();
    for task in listed.tasks {
        tasks.push(client.get(task.id).await);
    }
    let (mut teams, mut fleet) = (client.team(), client.fleet());
    let team = teams.get_team(v1::GetTeamRequest::default()).await;
    let team = team.unwrap().into_inner().team;
    let members = teams.list_members(v1::ListMembersRequest::default()).await;
    let mut members = members.unwrap().into_inner().members;
    for member in &mut members {
        // Who is refused was heard of all the same.
        member.last_seen_at = None;
    }
    let status = fleet.get_status(v1::GetStatusRequest {}).await;
    let commits = status.unwrap().into_inner().commit;
    Board {
        team,
        members,
        tasks,
        commits,
    }
}

/// A task that would be taken.
fn good() -> CreateTaskRequest {
    CreateTaskRequest {
        subject: "good".into(),
        ..CreateTaskRequest::default()
    }
}

fn update(task_id: u64) -> UpdateTaskRequest {
    UpdateTaskRequest {
        task_id,
        ..UpdateTaskRequest::default()
    }
}

fn text(len: usize) -> String {
    "x".repeat(len)
}

fn metadata(len: usize) -> Option<Struct> {
    // A key of one letter, and a text in quotes.
    let value = Value {
        kind: Some(Kind::StringValue(text(len - 3))),
    };
    Some(Struct {
        fields: [("k".to_owned(), value)].into(),
    })
}

/// A board with #1, and #2 that waits for it, and #3, which is over.
async fn small_board() -> (Cluster, Client) {
    let cluster = Cluster::with(programs!(), &["--expect-type", "shell"]).await;
    let client = cluster.client();
    for blocked_by in [vec![], vec![1], vec![]] {
        let task = CreateTaskRequest {
            blocked_by,
            ..good()
        };
        client.create(task).await;
    }
    let ended = UpdateTaskRequest {
        status: v1::TaskStatus::Cancelled.into(),
        ..update(3)
    };
    client.task().update_task(ended).await.unwrap();
    (cluster, client)
}

/// The field that a refusal names.
fn bad_field(status: &tonic::Status) -> String {
    let details = status.get_error_details();
    let bad_request = details.bad_request().expect("a refusal names a field");
    bad_request.field_violations[0].field.clone()
}

/// Rows of what is done, and the code and reason that it is refused with. `doing` is the user's.
macro_rules! rows {
    ($($what:literal, $code:ident, $reason:literal: $change:expr;)*) => {
        [$(($what, doing($change), $code, $reason)),*]
    };
}
use rows;
