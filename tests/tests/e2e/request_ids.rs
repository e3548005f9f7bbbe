//! A call that comes again with its request id is carried out once (K10), whatever it is.

use std::pin::Pin;

use ganger_proto::v1;
use ganger_tests::{
    Client, Cluster, agent, new_instance, new_task, patiently, programs, refused, struct_of,
};
use serde_json::json;
use tonic::{Code, Status};
use v1::TaskStatus::{Completed, InProgress};

/// A call that was made, to be made again.
type Again = Box<dyn Fn(Client) -> Pin<Box<dyn Future<Output = Result<String, Status>>>>>;

/// A call, what it was answered, and what to do with another body.
struct Made {
    call: &'static str,
    answer: String,
    again: Again,
    with_another_body: Again,
}

/// Makes a call with a request id.
macro_rules! made {
    ($client:expr, $service:ident.$call:ident(v1::$request:ident { $($body:tt)* }), $change:expr) => {{
        let request = v1::$request {
            request_id: new_instance(),
            $($body)*
        };
        let mut other = request.clone();
        let change: fn(&mut v1::$request) = $change;
        change(&mut other);
        let again = |request: v1::$request| -> Again {
            Box::new(move |client| {
                let request = request.clone();
                Box::pin(async move {
                    let mut client = client.$service();
                    let answer = patiently(stringify!($call), client.$call(request)).await?;
                    Ok(told(&format!("{:?}", answer.into_inner())))
                })
            })
        };
        let (again, with_another_body) = (again(request), again(other));
        let call = stringify!($call);
        let answer = again($client.clone()).await;
        let answer = answer.unwrap_or_else(|status| panic!("{call}: {status:?}"));
        Made { call, answer, again, with_another_body }
    }};
}

/// An answer without what only the first one tells: which tasks it freed, and what to do about that.
/// A repeated one tells the record as it is now; ids don't change.
fn told(answer: &str) -> String {
    let id = |name: &str| {
        let (_, rest) = answer.split_once(name)?;
        rest.split([',', ' ', '}']).next()
    };
    let facts = [
        "Task { id: ",
        "message_id: ",
        "is_error: ",
        "name: ",
        "uid: ",
    ];
    facts
        .iter()
        .filter_map(|name| Some(format!("{name}{}", id(name)?)))
        .collect::<Vec<_>>()
        .join(" ")
}

fn reason() -> String {
    "because".into()
}

/// Every call that changes the board, each of which would be refused, or do more, a second time.
async fn every_change(lead: &Client) -> Vec<Made> {
    let alice = lead.clone().member("alice");
    let team = || "red".to_owned();
    let subject = |text: &str| Some(text.to_owned());
    lead.plan((1..=8).map(|n| new_task(&n.to_string())).collect())
        .await;
    let mut made = vec![
        made!(
            lead,
            task.create_task(v1::CreateTaskRequest {
                team: team(),
                subject: "made once".into(),
                ..Default::default()
            }),
            |r| r.subject = "another".into()
        ),
        made!(
            lead,
            task.batch_create_tasks(v1::BatchCreateTasksRequest {
                team: team(),
                tasks: vec![new_task("a"), new_task("b")],
            }),
            |r| r.tasks.truncate(1)
        ),
        made!(
            lead,
            task.update_task(v1::UpdateTaskRequest {
                team: team(),
                task_id: 1,
                subject: subject("new"),
                ..Default::default()
            }),
            |r| r.task_id = 2
        ),
        made!(
            lead,
            task.batch_update_tasks(v1::BatchUpdateTasksRequest {
                team: team(),
                updates: vec![v1::UpdateTaskRequest {
                    task_id: 2,
                    status: Completed.into(),
                    ..Default::default()
                }],
            }),
            |r| r.updates[0].task_id = 3
        ),
        made!(
            lead,
            task.claim_task(v1::ClaimTaskRequest {
                team: team(),
                task_id: 3,
                ..Default::default()
            }),
            |r| r.no_lease = true
        ),
        made!(
            lead,
            task.claim_next_task(v1::ClaimNextTaskRequest {
                team: team(),
                ..Default::default()
            }),
            |r| r.labels.push("x".into())
        ),
        made!(
            lead,
            task.release_task(v1::ReleaseTaskRequest {
                team: team(),
                task_id: 3,
                reason: reason(),
                ..Default::default()
            }),
            |r| r.reason.clear()
        ),
        made!(
            lead,
            task.reopen_task(v1::ReopenTaskRequest {
                team: team(),
                task_id: 2,
                reason: reason(),
                ..Default::default()
            }),
            |r| r.expected_revision = 1
        ),
        made!(
            lead,
            task.delete_task(v1::DeleteTaskRequest {
                team: team(),
                task_id: 8,
                ..Default::default()
            }),
            |r| r.task_id = 7
        ),
        made!(
            lead,
            delegation.pause_task(v1::PauseTaskRequest {
                team: team(),
                task_id: 4,
                ..Default::default()
            }),
            |r| r.task_id = 5
        ),
        made!(
            lead,
            delegation.resume_task(v1::ResumeTaskRequest {
                team: team(),
                task_id: 4,
            }),
            |r| r.task_id = 5
        ),
        made!(
            lead,
            delegation.cancel_task(v1::CancelTaskRequest {
                team: team(),
                task_id: 5,
                reason: reason(),
            }),
            |r| r.reason.clear()
        ),
        made!(
            lead,
            delegation.start_task(v1::StartTaskRequest {
                team: team(),
                description: "d".into(),
                prompt: "true".into(),
                agent_type: "shell".into(),
                ..Default::default()
            }),
            |r| r.prompt = "false".into()
        ),
        made!(
            lead,
            mail.send_message(v1::SendMessageRequest {
                team: team(),
                to: vec!["alice".into()],
                text: "words".into(),
                ..Default::default()
            }),
            |r| r.text = "other words".into()
        ),
        made!(
            lead,
            tools.call_tool(v1::CallToolRequest {
                name: "TaskCreate".into(),
                arguments: Some(struct_of(json!({"subject": "tool"}))),
            }),
            |r| r.arguments = Some(struct_of(json!({"subject": "other"})))
        ),
        made!(
            lead,
            team.create_team(v1::CreateTeamRequest {
                team_name: "blue".into(),
                ..Default::default()
            }),
            |r| r.description = "other".into()
        ),
        made!(
            lead,
            team.add_member(v1::AddMemberRequest {
                team: team(),
                member: Some(agent("bob")),
            }),
            |r| r.member = Some(agent("carol"))
        ),
        made!(
            lead,
            team.remove_member(v1::RemoveMemberRequest {
                team: team(),
                member: "bob".into(),
                ..Default::default()
            }),
            |r| r.force = true
        ),
    ];
    alice.set(6, InProgress).await;
    made.push(made!(
        lead,
        team.hand_over_lead(v1::HandOverLeadRequest {
            team: team(),
            to: "alice".into(),
        }),
        |r| r.to = "team-lead".into()
    ));
    made.push(made!(
        lead,
        team.dissolve_team(v1::DissolveTeamRequest {
            team: team(),
            force: true,
            ..Default::default()
        }),
        |r| r.force = false
    ));
    made
}

#[tokio::test]
async fn every_change_is_made_once_however_often_it_comes_and_over_a_crash() {
    let mut cluster = Cluster::with(programs!(), &["--expect-type", "shell"]).await;
    let lead = cluster.client().team_of("red", &["alice"]).await;
    let made = every_change(&lead).await;
    assert_eq!(made.len(), 20);
    let before = (lead.list(|_| {}).await, lead.get_team().await.unwrap());

    for round in ["at once", "after a crash"] {
        let commit = cluster.status().await.commit;
        let lead = cluster.client().in_team("red");
        for one in &made {
            println!("{} {round}: {:?}", one.call, one.answer);
            let again = (one.again)(lead.clone()).await;
            // A tool's refusal is an answer, and has told of the same task.
            assert_eq!(again.unwrap(), one.answer, "{}", one.call);
            let other = (one.with_another_body)(lead.clone()).await;
            if one.call == "call_tool" {
                assert_eq!(other.unwrap(), "is_error: true");
            } else {
                refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED");
            }
        }
        assert_eq!(cluster.status().await.commit, commit, "nothing was written");
        assert_eq!(
            (lead.list(|_| {}).await, lead.get_team().await.unwrap()),
            before
        );
        if round == "at once" {
            cluster.crash_coordinator().await;
        }
    }
}
