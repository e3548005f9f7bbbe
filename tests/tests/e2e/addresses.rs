//! A member's address as the coordinator hands it out is taken wherever a member is named, on every
//! interface; an address in another team is refused with both teams' names.

use std::process::Output;

use ganger_proto::{BEHALF_KEY, MEMBER_KEY, TEAM_KEY, v1};
use ganger_tests::{Client, Cluster, Mcp, agent, error_info, patiently, programs};
use serde_json::json;
use tokio::process::Command;
use tonic::{Code, Response, Status};

const OTHER: &str = "ADDRESS_OF_OTHER_TEAM";

/// That it was refused as an address in another team than `q`.
#[track_caller]
fn is_of_other_team<T>(answer: Result<Response<T>, Status>) {
    let refused = answer.err().expect("it is refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let info = error_info(&refused);
    assert_eq!(info.reason, OTHER, "{refused:?}");
    let teams = (
        &info.metadata["member_team"][..],
        &info.metadata["team"][..],
    );
    assert_eq!(teams, ("r", "q"), "{refused:?}");
    assert!(!info.metadata["field"].is_empty(), "{refused:?}");
}

/// Two teams, `q` and `r`, each with alice and bob; the lead of `q`, and its address.
async fn two_teams(cluster: &Cluster) -> (Client, String) {
    let client = cluster.client();
    let made = client
        .create_team("q", [agent("alice"), agent("bob")])
        .await;
    client
        .create_team("r", [agent("alice"), agent("bob")])
        .await;
    (client.in_team("q"), made.lead_agent_id)
}

fn card(owner: &str) -> v1::NewTask {
    v1::NewTask {
        subject: "work".into(),
        owner: owner.into(),
        ..v1::NewTask::default()
    }
}

#[tokio::test]
async fn address_in_the_metadata_says_who_calls_and_in_which_team() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, address) = two_teams(&cluster).await;
    assert_eq!(address, "team-lead@q");

    for (team, member) in [
        (Some("q"), &*address),
        (Some("q"), "team-lead@q/1"),
        (None, &*address),
    ] {
        let mut client = cluster.client();
        if let Some(team) = team {
            client = client.saying(TEAM_KEY, team);
        }
        client = client.member(member).saying(BEHALF_KEY, "bob@q");
        let task = client
            .create(v1::CreateTaskRequest {
                subject: "work".into(),
                ..v1::CreateTaskRequest::default()
            })
            .await;
        let mut watch = lead.watch().await;
        let event = watch.until(task.id, v1::EventType::TaskCreated).await;
        assert_eq!((&*event.actor, &*event.on_behalf_of), ("team-lead", "bob"));
    }

    let ask = v1::ListTasksRequest {
        team: "q".into(),
        ..v1::ListTasksRequest::default()
    };
    for key in [MEMBER_KEY, BEHALF_KEY] {
        let stranger = cluster.client().saying(key, "alice@r");
        is_of_other_team(stranger.task().list_tasks(ask.clone()).await);
    }
    let stale = cluster.client().member("team-lead@q/2");
    let stale = stale.task().list_tasks(ask).await.unwrap_err();
    assert_eq!(error_info(&stale).reason, "INCARNATION_STALE");
}

#[tokio::test]
async fn address_is_taken_in_every_field_that_names_a_member() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, _) = two_teams(&cluster).await;

    let batch = |owner: &str| v1::BatchCreateTasksRequest {
        tasks: vec![card(owner)],
        ..v1::BatchCreateTasksRequest::default()
    };
    let made = lead
        .task()
        .batch_create_tasks(batch("alice@q"))
        .await
        .unwrap();
    let task_id = made.into_inner().tasks[0].id;
    assert_eq!(lead.get(task_id).await.owner, "alice");
    is_of_other_team(lead.task().batch_create_tasks(batch("alice@r")).await);

    let update = |owner: &str| v1::UpdateTaskRequest {
        task_id,
        owner: Some(owner.into()),
        ..v1::UpdateTaskRequest::default()
    };
    let updated = lead.task().update_task(update("bob@q")).await.unwrap();
    assert_eq!(updated.into_inner().task.unwrap().owner, "bob");
    is_of_other_team(lead.task().update_task(update("bob@r")).await);

    let list = |owner: &str| v1::ListTasksRequest {
        owner: owner.into(),
        ..v1::ListTasksRequest::default()
    };
    let listed = lead.task().list_tasks(list("bob@q")).await.unwrap();
    assert_eq!(listed.into_inner().tasks.len(), 1);
    is_of_other_team(lead.task().list_tasks(list("bob@r")).await);

    let sweep = |owner: &str| v1::CancelTasksRequest {
        filter: Some(v1::TaskFilter {
            owner: owner.into(),
            ..v1::TaskFilter::default()
        }),
        ..v1::CancelTasksRequest::default()
    };
    let swept = lead.delegation().cancel_tasks(sweep("bob@q")).await;
    assert_eq!(swept.unwrap().into_inner().changed, 1);
    is_of_other_team(lead.delegation().cancel_tasks(sweep("bob@r")).await);

    let letter = |to: &str| v1::SendMessageRequest {
        to: vec![to.into()],
        text: "hello".into(),
        ..v1::SendMessageRequest::default()
    };
    let alice = cluster.client().member("alice@q");
    let sent = alice.mail().send_message(letter("bob@q")).await.unwrap();
    assert_eq!(sent.into_inner().receipts[0].member, "bob");
    is_of_other_team(alice.mail().send_message(letter("bob@r")).await);

    let read = |from: &str| v1::ReceiveMessagesRequest {
        from: from.into(),
        ..v1::ReceiveMessagesRequest::default()
    };
    let bob = cluster.client().member("bob@q");
    let heard = bob.mail().receive_messages(read("alice@q")).await.unwrap();
    assert_eq!(heard.into_inner().messages[0].from, "alice");
    is_of_other_team(bob.mail().receive_messages(read("alice@r")).await);

    let join = |name: &str| v1::AddMemberRequest {
        member: Some(agent(name)),
        ..v1::AddMemberRequest::default()
    };
    let joined = lead.team().add_member(join("carol@q")).await.unwrap();
    assert_eq!(joined.into_inner().member.unwrap().name, "carol");
    is_of_other_team(lead.team().add_member(join("dave@r")).await);
    let leave = |name: &str| v1::RemoveMemberRequest {
        member: name.into(),
        ..v1::RemoveMemberRequest::default()
    };
    lead.team().remove_member(leave("carol@q")).await.unwrap();
    is_of_other_team(lead.team().remove_member(leave("bob@r")).await);

    let hand_over = |to: &str| v1::HandOverLeadRequest {
        to: to.into(),
        ..v1::HandOverLeadRequest::default()
    };
    is_of_other_team(lead.team().hand_over_lead(hand_over("alice@r")).await);
    let handed = lead.team().hand_over_lead(hand_over("alice@q")).await;
    let team = handed.unwrap().into_inner().team.unwrap();
    assert_eq!(team.lead_agent_id, "alice@q");

    let found = |lead: &str, member: &str| v1::CreateTeamRequest {
        team_name: "q2".into(),
        lead: lead.into(),
        members: vec![agent(member)],
        ..v1::CreateTeamRequest::default()
    };
    for (lead_name, member) in [("ann@q", "bob"), ("ann", "bob@q")] {
        let refused = lead.team().create_team(found(lead_name, member)).await;
        assert_eq!(error_info(&refused.unwrap_err()).reason, OTHER);
    }
    let made = lead.team().create_team(found("ann@q2", "bob@q2")).await;
    assert_eq!(made.unwrap().into_inner().lead_agent_id, "ann@q2");
}

#[tokio::test]
async fn tools_take_the_address_that_they_answered() {
    let cluster = Cluster::start(programs!()).await;
    let members = json!([{"name": "alice", "kind": "agent"}, {"name": "bob", "kind": "agent"}]);
    let spawned = json!({"team_name": "q", "members": members});
    let spawned = cluster.client().tool("spawn_team", spawned).await;
    let address = spawned.result["lead_agent_id"].as_str().unwrap();
    let lead = cluster.client().member(address);
    let bob = cluster.client().member("bob@q");

    let work = |who: &str| json!({"member_name": who, "task_description": "count"});
    let assigned = lead.tool("assign_task", work("bob@q")).await;
    assert_eq!(assigned.result["owner"], "bob");
    assert!(assigned.text.contains("'bob'"), "{}", assigned.text);
    lead.no_tool("assign_task", work("bob@r"), OTHER).await;
    let owner = |who: &str| json!({"taskId": "1", "owner": who});
    lead.tool("TaskUpdate", owner("alice@q")).await;
    lead.no_tool("TaskUpdate", owner("alice@r"), OTHER).await;
    let note = |to: &str| json!({"to": to, "message": "hello"});
    let sent = bob.tool("SendMessage", note(address)).await;
    assert_eq!(sent.result["recipients"], json!(["team-lead"]));
    assert_eq!(sent.result["routing"]["sender"], "bob");
    bob.no_tool("SendMessage", note("team-lead@r"), OTHER).await;
    let mail = lead.tool("read_messages", json!({"from": "bob@q"})).await;
    assert_eq!(mail.result["messages"][0]["from"], "bob");

    // Who makes a team by a tool leads it under its own name.
    let made = lead.tool("TeamCreate", json!({"team_name": "next"})).await;
    assert_eq!(made.result["lead_agent_id"], "team-lead@next");
}

#[tokio::test]
async fn mcp_session_speaks_as_the_address_that_it_is_given() {
    let cluster = Cluster::start(programs!()).await;
    two_teams(&cluster).await;
    for args in [
        &["--team", "q", "--member", "team-lead@q"][..],
        &["--member", "team-lead@q"],
        &["--member", "team-lead@q/1"],
    ] {
        let (mut mcp, _) = Mcp::initialized(&cluster, args).await;
        let team = mcp.done("check_teammates", json!({})).await;
        assert_eq!(team["team_name"], "q", "{args:?}");
        // In the team that it makes it goes by its name.
        let name = format!("made-{}{}", args.len(), args[args.len() - 1].len());
        let made = mcp.done("TeamCreate", json!({"team_name": name})).await;
        assert_eq!(made["lead_agent_id"], format!("team-lead@{name}"));
        mcp.done("TaskCreate", json!({"subject": "work"})).await;
    }

    for args in [
        &["--team", "q", "--member", "team-lead@r"][..],
        &["--member", "mallory@q"],
        &["--member", "team-lead@q/9"],
    ] {
        let mut mcp = Mcp::start(&cluster, args);
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "a test", "version": "1"},
        });
        let refused = mcp.ask("initialize", params).await.unwrap_err();
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(args[args.len() - 1]), "{message}");
        assert_eq!(mcp.ended().await.code(), Some(2));
    }
}

async fn ganger(cluster: &Cluster, args: &[&str]) -> Output {
    let mut command = Command::new(cluster.ganger());
    command
        .args(["--addr", &cluster.addr().to_string()])
        .args(args)
        .env_clear()
        .env("HOME", cluster.dir())
        .current_dir(cluster.dir());
    patiently("ganger ends", command.output()).await.unwrap()
}

#[tokio::test]
async fn command_line_takes_addresses_as_flag_and_as_argument() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, address) = two_teams(&cluster).await;

    let speaking = [
        "--member", &address, "task", "create", "one", "--owner", "bob@q",
    ];
    let made = ganger(&cluster, &speaking).await;
    assert!(made.status.success(), "{made:?}");
    assert_eq!(lead.get(1).await.owner, "bob");
    let sent = [
        "--member", "bob@q", "mail", "send", "--to", &address, "hello",
    ];
    let sent = ganger(&cluster, &sent).await;
    assert!(sent.status.success(), "{sent:?}");

    for args in [
        &["--team", "q", "--member", "bob@r", "task", "list"][..],
        &["--team", "q", "member", "remove", "bob@r"],
    ] {
        let refused = ganger(&cluster, args).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{args:?}: {said}");
        assert!(said.contains("bob@r"), "{args:?}: {said}");
    }
}

#[tokio::test]
async fn team_at_work_is_deleted_with_the_force_that_its_refusal_names() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, _) = two_teams(&cluster).await;
    lead.tool("TaskCreate", json!({"subject": "one"})).await;
    let alice = cluster.client().member("alice@q");
    alice.tool("claim_task", json!({"task_id": "1"})).await;

    let refused = lead.no_tool("TeamDelete", json!({}), "TEAM_ACTIVE").await;
    let next = refused.result["next"].as_str().unwrap();
    assert!(next.contains("say force"), "{next}");
    let deleted = lead.tool("TeamDelete", json!({"force": true})).await;
    assert_eq!(deleted.result["success"], true);

    assert!(lead.get_team().await.unwrap().dissolved_at.is_some());
}
