//! Answers that have much to say: each stays below what clients take in one message.

use ganger_proto::v1::{
    self, NewTask, task_service_client::TaskServiceClient, team_service_client::TeamServiceClient,
};
use ganger_tests::{Caller, Client, Cluster, agent, ids_of, new_task, programs, struct_of};
use serde_json::json;

const KIB: usize = 1024;
const TASKS: usize = 150;

/// A client with the limit that clients have by themselves: 4 MiB.
fn plain(client: &Client) -> TaskServiceClient<Caller> {
    TaskServiceClient::new(client.caller())
}

/// Tasks that are long in all that a list tells of them.
async fn long_tasks(client: &Client) -> Vec<u64> {
    let mut ids = Vec::new();
    for _ in 0..TASKS / 50 {
        let task = || NewTask {
            metadata: Some(struct_of(json!({"k": "x".repeat(60 * KIB)}))),
            ..new_task("long")
        };
        ids.extend(client.plan((0..50).map(|_| task()).collect()).await);
    }
    ids
}

#[tokio::test]
async fn page_ends_where_a_message_is_full_and_the_next_goes_on_there() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let ids = long_tasks(&client).await;

    for order in [
        v1::TaskOrder::Id,
        v1::TaskOrder::Priority,
        v1::TaskOrder::Tree,
    ] {
        let mut told = Vec::new();
        let mut pages = 0;
        let mut request = v1::ListTasksRequest {
            page_size: 1_000,
            order: order.into(),
            ..v1::ListTasksRequest::default()
        };
        loop {
            let page = plain(&client).list_tasks(request.clone()).await.unwrap();
            let page = page.into_inner();
            assert!(!page.tasks.is_empty());
            told.extend(ids_of(&page.tasks));
            pages += 1;
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(told, ids, "{order:?}");
        assert!((3..=30).contains(&pages), "{pages} pages for 9 MiB");
    }
}

#[tokio::test]
async fn answers_about_many_tasks_tell_the_last_of_them_in_short() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let ids = long_tasks(&client).await;

    let mut updated = Vec::new();
    // As many as one commit may write.
    for part in ids.chunks(50) {
        let updates = part.iter().map(|task_id| v1::UpdateTaskRequest {
            task_id: *task_id,
            status: v1::TaskStatus::Completed.into(),
            ..v1::UpdateTaskRequest::default()
        });
        let batch = v1::BatchUpdateTasksRequest {
            updates: updates.collect(),
            ..v1::BatchUpdateTasksRequest::default()
        };
        let answer = plain(&client).batch_update_tasks(batch).await.unwrap();
        let tasks = answer.into_inner().updates.into_iter();
        updated.push(tasks.map(|one| one.task.unwrap()).collect());
    }
    let wait = v1::WaitTasksRequest {
        task_ids: ids.clone(),
        ..v1::WaitTasksRequest::default()
    };
    use v1::delegation_service_client::DelegationServiceClient;
    let mut delegation = DelegationServiceClient::new(client.caller());
    let waited = delegation.wait_tasks(wait).await.unwrap().into_inner();

    assert_eq!((waited.finished, waited.timed_out), (TASKS as i32, false));
    let told: Vec<u64> = updated
        .iter()
        .flat_map(|part: &Vec<_>| ids_of(part))
        .collect();
    assert_eq!((told, ids_of(&waited.tasks)), (ids.clone(), ids));
    for tasks in updated.iter().chain([&waited.tasks]) {
        for task in tasks {
            assert_eq!(
                (task.status(), &task.subject[..]),
                (v1::TaskStatus::Completed, "long")
            );
            assert!(task.revision > 0 && !task.line.is_empty(), "{task:?}");
        }
        assert!(tasks[0].metadata.is_some());
        assert_eq!(
            tasks.last().unwrap().metadata,
            None,
            "there was no room left"
        );
    }
}

#[tokio::test]
async fn rosters_and_teams_are_told_in_pages_that_fit() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("red");
    let long = |name: String| v1::NewMember {
        instructions: "x".repeat(60 * KIB),
        agent_type: "coder".into(),
        ..agent(&name)
    };
    client.create_team("red", []).await;
    for at in 0..90 {
        client.add_member(long(format!("m{at:0>3}"))).await.unwrap();
    }

    let mut teams = TeamServiceClient::new(client.caller());
    let mut request = v1::ListMembersRequest {
        page_size: 1_000,
        ..v1::ListMembersRequest::default()
    };
    let mut names = Vec::new();
    loop {
        let page = teams
            .list_members(request.clone())
            .await
            .unwrap()
            .into_inner();
        names.extend(page.members.into_iter().map(|member| member.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }

    assert_eq!(
        (names.len(), &names[0][..], &names[90][..]),
        (91, "m000", "team-lead")
    );
    for at in 0..1_100 {
        let team = v1::CreateTeamRequest {
            team_name: format!("t{at}"),
            description: "x".repeat(4 * KIB),
            ..v1::CreateTeamRequest::default()
        };
        teams.create_team(team).await.unwrap();
    }
    let mut request = v1::ListTeamsRequest {
        page_size: 1_000,
        ..v1::ListTeamsRequest::default()
    };
    let mut count = 0;
    loop {
        let page = teams
            .list_teams(request.clone())
            .await
            .unwrap()
            .into_inner();
        count += page.teams.len();
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(count, 1_102);
}
