//! The two handshakes: being asked to stop, and having a plan approved (M8; P3, P6, P7 of the
//! replay).

use ganger_proto::{TEAM_KEY, v1};
use ganger_tests::{Client, Cluster, MailWatch, everything, of_type, patiently, programs, refused};
use tonic::Code;
use v1::MessageType;

use crate::mail::team;

fn shutdown(who: &str) -> v1::SendMessageRequest {
    of_type(MessageType::ShutdownRequest, [who], "we are done")
}

fn response<'n>(
    kind: MessageType,
    to: impl IntoIterator<Item = &'n str>,
    approve: bool,
    text: &str,
) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        approve: Some(approve),
        ..of_type(kind, to, text)
    }
}

async fn members(red: &Client) -> Vec<v1::Member> {
    let request = v1::ListMembersRequest::default();
    let mut teams = red.team();
    let answer = patiently("ListMembers", teams.list_members(request)).await;
    answer.unwrap().into_inner().members
}

async fn names(red: &Client) -> Vec<String> {
    members(red)
        .await
        .into_iter()
        .map(|member| member.name)
        .collect()
}

/// Waits for a message of a type.
async fn message(watch: &mut MailWatch, kind: MessageType) -> v1::Message {
    loop {
        let found = watch.messages.iter().find(|m| m.r#type() == kind);
        if let Some(found) = found {
            return found.clone();
        }
        watch.more().await.unwrap();
    }
}

async fn create(red: &Client, subject: &str) -> v1::Task {
    red.create(v1::CreateTaskRequest {
        subject: subject.into(),
        ..v1::CreateTaskRequest::default()
    })
    .await
}

async fn claim(client: &Client, task_id: u64) -> Result<v1::Task, tonic::Status> {
    let request = v1::ClaimTaskRequest {
        task_id,
        ..v1::ClaimTaskRequest::default()
    };
    let mut tasks = client.task();
    let answer = patiently("ClaimTask", tasks.claim_task(request)).await?;
    Ok(answer.into_inner().task.unwrap())
}

#[tokio::test]
async fn member_that_is_asked_to_stop_may_refuse_with_a_reason() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice"]).await;
    let alice = red.clone().member("alice");

    let asked = red.send(shutdown("alice")).await;
    let [request] = &alice.mailbox().await[..] else {
        panic!("one request");
    };
    assert_eq!(request.r#type(), MessageType::ShutdownRequest);
    assert_eq!(request.correlation_id, asked.correlation_id);
    let until = request.deadline.unwrap().seconds;
    assert_eq!(until - request.sent_at.unwrap().seconds, 60);
    let told = members(&red).await;
    assert_eq!(told[0].shutdown_deadline, request.deadline);
    let no = response(MessageType::ShutdownResponse, [], false, "not yet");
    alice.send(no.clone()).await;

    let [heard] = &red.mailbox().await[..] else {
        panic!("one response");
    };
    assert_eq!((heard.approve, &heard.text[..]), (Some(false), "not yet"));
    assert_eq!(heard.correlation_id, asked.correlation_id);
    assert_eq!(heard.from, "alice");
    assert_eq!(names(&red).await, ["alice", "team-lead"]);
    // It was answered: there is nothing to answer any more.
    refused(
        alice.try_send(no).await,
        Code::FailedPrecondition,
        "NOT_ASKED",
    );
}

#[tokio::test]
async fn member_that_agrees_leaves_and_frees_what_it_held() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice"]).await;
    let alice = red.clone().member("alice");
    let task = create(&red, "a").await;
    claim(&alice, task.id).await.unwrap();
    let mut watch = alice.watch_mailbox().await;
    red.send(shutdown("alice")).await;
    message(&mut watch, MessageType::ShutdownRequest).await;

    let yes = response(MessageType::ShutdownResponse, [], true, "gladly");
    let sent = alice.send(yes).await;

    assert_eq!(names(&red).await, ["team-lead"]);
    let freed = red.get(task.id).await;
    assert_eq!(
        (freed.status(), &freed.owner[..]),
        (v1::TaskStatus::Pending, "")
    );
    // Its mailbox is nobody's any more, and who watches it learns so.
    let ended = loop {
        if let Err(status) = watch.more().await {
            break status;
        }
    };
    refused::<()>(Err(ended), Code::NotFound, "MEMBER_NOT_FOUND");
    // E2: its leaving names the message that was its cause.
    let request = v1::WatchTeamRequest {
        after_revision: Some(0),
        ..v1::WatchTeamRequest::default()
    };
    let mut stream = red.team().watch_team(request).await.unwrap().into_inner();
    let left = loop {
        let events = patiently("events", stream.message())
            .await
            .unwrap()
            .unwrap();
        let is_it = |event: &v1::Event| event.r#type() == v1::EventType::MemberLeft;
        if let Some(left) = events.events.into_iter().find(is_it) {
            break left;
        }
    };
    assert_eq!(
        (left.cause_message_id, &left.actor[..]),
        (sent.message_id, "alice")
    );
}

#[tokio::test]
async fn member_that_does_not_answer_is_removed_when_its_time_is_over() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice"]).await;
    let task = create(&red, "a").await;
    claim(&red.clone().member("alice"), task.id).await.unwrap();
    let mut watch = red.watch_mailbox().await;
    let short = v1::SendMessageRequest {
        timeout: Some(pbjson_types::Duration {
            seconds: 0,
            nanos: 200_000_000,
        }),
        ..shutdown("alice")
    };

    red.send(short).await;

    let failed = message(&mut watch, MessageType::MemberFailed).await;
    assert_eq!(failed.from, "coordinator");
    assert_eq!(names(&red).await, ["team-lead"]);
    assert_eq!(red.get(task.id).await.status(), v1::TaskStatus::Pending);
}

/// P6, P4: only the lead asks, and only who was asked answers.
#[tokio::test]
async fn only_the_lead_asks_and_only_who_was_asked_answers() {
    let cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice", "bob"]).await;
    let (alice, bob) = (red.clone().member("alice"), red.clone().member("bob"));
    let denied = Code::PermissionDenied;
    refused(alice.try_send(shutdown("bob")).await, denied, "LEAD_ONLY");
    let judged = response(MessageType::PlanApprovalResponse, ["bob"], true, "");
    refused(alice.try_send(judged).await, denied, "LEAD_ONLY");
    red.send(shutdown("alice")).await;

    let by_bob = response(MessageType::ShutdownResponse, [], true, "");
    let precondition = Code::FailedPrecondition;
    refused(
        bob.try_send(by_bob.clone()).await,
        precondition,
        "NOT_ASKED",
    );
    let nobodys = response(MessageType::PlanApprovalResponse, [], true, "");
    refused(
        red.try_send(nobodys).await,
        Code::InvalidArgument,
        "FIELD_BLANK",
    );
    let strangers = response(MessageType::PlanApprovalResponse, ["mallory"], true, "");
    refused(
        red.try_send(strangers).await,
        Code::NotFound,
        "MEMBER_NOT_FOUND",
    );
    let unsaid = of_type(MessageType::ShutdownResponse, [], "yes?");
    refused(
        alice.try_send(unsaid).await,
        Code::InvalidArgument,
        "FIELD_BLANK",
    );
    let no_plan = response(MessageType::PlanApprovalResponse, ["bob"], true, "");
    refused(red.try_send(no_plan).await, precondition, "NOT_ASKED");

    assert_eq!(names(&red).await, ["alice", "bob", "team-lead"]);
}

#[tokio::test]
async fn member_changes_nothing_before_its_plan_is_approved() {
    let cluster = Cluster::start(programs!()).await;
    let planner = v1::NewMember {
        name: "carol".into(),
        plan_required: true,
        ..v1::NewMember::default()
    };
    let request = v1::CreateTeamRequest {
        team_name: "red".into(),
        members: vec![planner],
        ..v1::CreateTeamRequest::default()
    };
    cluster.client().team().create_team(request).await.unwrap();
    let red = cluster.client().saying(TEAM_KEY, "red");
    let carol = red.clone().member("carol");
    let task = create(&red, "a").await;
    let plan = |red: &Client| {
        let red = red.clone();
        async move { members(&red).await[0].plan() }
    };
    let gated = claim(&carol, task.id).await;
    refused(gated, Code::FailedPrecondition, "PLAN_NOT_APPROVED");
    assert_eq!(plan(&red).await, v1::PlanState::Required);

    let submit = |text: &str| of_type(MessageType::PlanApprovalRequest, [], text);
    let asked = carol.send(submit("first a, then b")).await;
    assert_eq!(plan(&red).await, v1::PlanState::Submitted);
    let request = &red.mailbox().await[0];
    assert_eq!(
        (request.from.as_str(), request.r#type()),
        ("carol", MessageType::PlanApprovalRequest)
    );
    let no = response(
        MessageType::PlanApprovalResponse,
        ["carol"],
        false,
        "and c?",
    );
    red.send(no).await;
    let heard = &carol.mailbox().await[0];
    assert_eq!((heard.approve, &heard.text[..]), (Some(false), "and c?"));
    assert_eq!(heard.correlation_id, asked.correlation_id);
    assert_eq!(plan(&red).await, v1::PlanState::Required);

    carol.send(submit("a, b, c")).await;
    let yes = response(MessageType::PlanApprovalResponse, ["carol"], true, "");
    red.send(yes).await;
    assert_eq!(plan(&red).await, v1::PlanState::Approved);
    claim(&carol, task.id).await.unwrap();
}

#[tokio::test]
async fn plan_that_nobody_judges_in_time_counts_as_rejected() {
    let cluster = Cluster::start(programs!()).await;
    let planner = v1::NewMember {
        name: "carol".into(),
        plan_required: true,
        ..v1::NewMember::default()
    };
    let request = v1::CreateTeamRequest {
        team_name: "red".into(),
        members: vec![planner],
        ..v1::CreateTeamRequest::default()
    };
    cluster.client().team().create_team(request).await.unwrap();
    let carol = cluster.client().saying(TEAM_KEY, "red").member("carol");
    let short = v1::SendMessageRequest {
        timeout: Some(pbjson_types::Duration {
            seconds: 0,
            nanos: 100_000_000,
        }),
        ..of_type(MessageType::PlanApprovalRequest, [], "first a")
    };

    let asked = carol.send(short).await;

    let wait = v1::ReceiveMessagesRequest {
        wait: Some(pbjson_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..everything()
    };
    let [heard] = &carol.receive(wait).await.messages[..] else {
        panic!("one response");
    };
    assert_eq!(heard.r#type(), MessageType::PlanApprovalResponse);
    assert_eq!(
        (heard.approve, &heard.from[..]),
        (Some(false), "coordinator")
    );
    assert_eq!(heard.correlation_id, asked.correlation_id);
}

/// A handshake outlives the coordinator.
#[tokio::test]
async fn request_to_stop_outlives_a_crash() {
    let mut cluster = Cluster::start(programs!()).await;
    let red = team(&cluster, &["alice"]).await;
    red.send(shutdown("alice")).await;

    cluster.crash_coordinator().await;

    let red = cluster.client().saying(TEAM_KEY, "red");
    let alice = red.clone().member("alice");
    assert_eq!(alice.mailbox().await.len(), 1);
    let yes = response(MessageType::ShutdownResponse, [], true, "");
    alice.send(yes).await;
    assert_eq!(names(&red).await, ["team-lead"]);
}
