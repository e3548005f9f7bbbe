//! What a call's metadata says of who makes it, for whom and because of what.

use ganger_proto::{ATTEMPT_KEY, BEHALF_KEY, CAUSE_KEY, MEMBER_KEY, TEAM_KEY, v1};
use ganger_tests::{Client, refused};
use tonic::{
    Code::InvalidArgument,
    Request, Status,
    metadata::{Ascii, MetadataValue},
};

use super::{board, good, small_board};

const UUID: &str = "6f2b3c54-2d6e-4f55-9d57-3d1c3e0c9a11";

/// A call of each service, with a word in its metadata.
async fn every_service(
    client: &Client,
    key: &'static str,
    value: &MetadataValue<Ascii>,
) -> Vec<(&'static str, Result<(), Status>)> {
    macro_rules! calls {
        ($($service:ident.$call:ident($request:expr)),* $(,)?) => {
            vec![$({
                let mut request = Request::new($request);
                request.metadata_mut().insert(key, value.clone());
                let answer = client.$service().$call(request).await;
                (stringify!($call), answer.map(drop))
            }),*]
        };
    }
    calls![
        task.create_task(good()),
        task.get_task(v1::GetTaskRequest {
            task_id: 1,
            ..v1::GetTaskRequest::default()
        }),
        task.list_tasks(v1::ListTasksRequest::default()),
        task.explain_task(v1::ExplainTaskRequest {
            task_id: 1,
            ..v1::ExplainTaskRequest::default()
        }),
        team.get_team(v1::GetTeamRequest::default()),
        team.watch_team(v1::WatchTeamRequest::default()),
        team.create_team(v1::CreateTeamRequest {
            team_name: "new".into(),
            ..v1::CreateTeamRequest::default()
        }),
        mail.receive_messages(v1::ReceiveMessagesRequest::default()),
        delegation.start_task(v1::StartTaskRequest {
            description: "d".into(),
            prompt: "true".into(),
            agent_type: "shell".into(),
            ..v1::StartTaskRequest::default()
        }),
        delegation.wait_tasks(v1::WaitTasksRequest {
            task_ids: vec![3],
            ..v1::WaitTasksRequest::default()
        }),
    ]
}

#[tokio::test]
async fn malformed_metadata_is_refused_by_its_key_whatever_the_call() {
    let (_cluster, client) = small_board().await;
    let before = board(&client).await;
    let not_text = MetadataValue::try_from(&b"caf\xc3\xa9"[..]).unwrap();
    let long = "x".repeat(65);
    let five = format!("{UUID}/1/1/1/1");
    let attempts = [
        "x",
        "/",
        "///",
        "1/1/1/1",
        &format!("{UUID}/1/1"),
        &five,
        &format!("{UUID}/-1/1/1"),
        &format!("{UUID}/1/one/1"),
        &format!("{UUID}/1/1/4294967296"),
        &format!("{UUID}/99999999999999999999/1/1"),
        &format!("{UUID} /1/1/1"),
    ];
    let messages = ["0", "-1", "x", "1.5", "7,8", "99999999999999999999"];
    let names = ["a b", "/1", "a/1", "../etc", &long];
    let rows: [(&'static str, &'static str, &str, &[&str]); 4] = [
        (ATTEMPT_KEY, ATTEMPT_KEY, "VALUE_INVALID", &attempts),
        (CAUSE_KEY, CAUSE_KEY, "VALUE_INVALID", &messages),
        (BEHALF_KEY, BEHALF_KEY, "NAME_INVALID", &names),
        // A team may be named by the call itself, too: it is that field that is wrong.
        (TEAM_KEY, "team", "NAME_INVALID", &names),
    ];

    for (key, field, reason, values) in rows {
        for value in values {
            let value: MetadataValue<Ascii> = value.parse().unwrap();
            for (call, answer) in every_service(&client, key, &value).await {
                println!("{call} with {key}: {value:?}");
                // A team to be is not one of those that the caller speaks in.
                if key == TEAM_KEY && call == "create_team" {
                    continue;
                }
                let info = refused(answer, InvalidArgument, reason);
                assert_eq!(info.metadata["field"], field);
            }
        }
    }
    for key in [ATTEMPT_KEY, CAUSE_KEY, BEHALF_KEY, TEAM_KEY, MEMBER_KEY] {
        for (call, answer) in every_service(&client, key, &not_text).await {
            println!("{call} with {key}: no text");
            let info = refused(answer, InvalidArgument, "VALUE_INVALID");
            assert_eq!(info.metadata["field"], key);
        }
    }

    let after = board(&client).await;
    // Teams were made where the metadata of their makers was of no account.
    assert_eq!((after.tasks, after.members), (before.tasks, before.members));
}

/// An empty word is none.
#[tokio::test]
async fn blank_metadata_says_nothing() {
    let (_cluster, client) = small_board().await;
    let blank: MetadataValue<Ascii> = "".parse().unwrap();
    for key in [ATTEMPT_KEY, CAUSE_KEY, BEHALF_KEY, TEAM_KEY, MEMBER_KEY] {
        let mut request = Request::new(good());
        request.metadata_mut().insert(key, blank.clone());
        let made = client.task().create_task(request).await.unwrap();
        let made = made.into_inner().task.unwrap();
        assert_eq!(
            (&made.team[..], &made.created_by[..]),
            ("default", "team-lead")
        );
    }
}
