//! Teams from their making to their end (T of the behaviours to replay, and P8, P10).

use ganger_proto::v1;
use ganger_tests::{
    Client, Cluster, HandWorker, agent, hello, hosted, new_instance, patiently, proc, programs,
    refused,
};
use tonic::Code;
use v1::TaskStatus;

use crate::fences::by_hand;

fn card(subject: &str) -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        subject: subject.into(),
        ..v1::CreateTaskRequest::default()
    }
}

/// Waits until all tasks of a dissolved team are over.
async fn settled(client: &Client) -> v1::Team {
    patiently("the team is a tombstone", async {
        loop {
            let team = client.get_team().await.unwrap();
            if !team.dissolving {
                return team;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// T1.
#[tokio::test]
async fn a_team_comes_with_its_members_all_of_them_idle() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("t");

    let members = [agent("alice"), hosted("hana", "coder")];
    let team = client.create_team("t", members).await;
    let members = client.members_ever().await;

    assert_eq!(
        (&*team.lead_agent_id, team.member_count),
        ("team-lead@t", 3)
    );
    let told = |m: &v1::Member| (m.name.clone(), m.kind(), m.liveness());
    use v1::{MemberKind::*, MemberLiveness::Idle};
    let expected = [("alice", Agent), ("hana", Hosted), ("team-lead", Lead)];
    let expected = expected.map(|(name, kind)| (name.to_owned(), kind, Idle));
    assert_eq!(members.iter().map(told).collect::<Vec<_>>(), expected);
}

/// T5, on real workers: what runs is gone as a process, too.
#[tokio::test]
async fn dissolving_by_force_stops_what_workers_run_and_cancels_the_rest() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("t");
    let elsewhere = cluster.client();
    client.create_team("t", [agent("alice")]).await;
    let worker = cluster.worker("w1").await;
    let idle = proc::descendants(worker.pid());
    let stubborn = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let running = client.start(stubborn).await;
    client.transcript(running.id).await.said("ready").await;
    let tree = proc::descendants(worker.pid());
    let tree: Vec<i32> = tree.difference(&idle).copied().collect();
    let waiting = client.create(card("waits")).await;
    let claimed = client.create(card("claimed")).await;
    client
        .clone()
        .member("alice")
        .claim(claimed.id)
        .await
        .unwrap();
    let other = elsewhere.create(card("of another team")).await;

    let told = client.dissolve(true).await.unwrap();
    let over = settled(&client).await;

    assert_eq!(
        (told.already_dissolved, told.stopping),
        (false, vec![running.id])
    );
    let alive: Vec<_> = tree.iter().filter(|pid| proc::lives(**pid)).collect();
    assert!(alive.is_empty(), "{alive:?} of {tree:?} live after the end");
    for task in [running.id, waiting.id, claimed.id] {
        let task = client.get(task).await;
        assert_eq!(task.status(), TaskStatus::Cancelled, "{task:?}");
        assert_eq!(task.error, "the team was dissolved: the test says so");
    }
    assert_eq!(
        (over.tasks.unwrap().cancelled, &*over.dissolved_by),
        (3, "team-lead")
    );
    let other = elsewhere.get(other.id).await;
    assert_eq!(other.status(), TaskStatus::Pending);
    // The worker is there for the other teams.
    let next = elsewhere.start("echo next").await;
    assert_eq!(elsewhere.ended(next.id).await.result.trim(), "next");
}

/// P8, T10: what is in the way is named.
#[tokio::test]
async fn a_team_with_work_in_progress_is_only_dissolved_by_force() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("t");
    client.create_team("t", [agent("alice")]).await;
    let task = client.create(card("a")).await;
    client.clone().member("alice").claim(task.id).await.unwrap();

    let info = refused(
        client.dissolve(false).await,
        Code::FailedPrecondition,
        "TEAM_ACTIVE",
    );
    assert_eq!(info.metadata["tasks"], task.id.to_string());
    let by_alice = client.clone().member("alice").dissolve(true).await;
    refused(by_alice, Code::PermissionDenied, "LEAD_ONLY");
    client.dissolve(true).await.unwrap();

    assert_eq!(client.get(task.id).await.status(), TaskStatus::Cancelled);
}

/// T6.
#[tokio::test]
async fn dissolving_twice_is_safe_and_said() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("t");
    let made = client.create_team("t", []).await;

    let first = client.dissolve(false).await.unwrap();
    let second = client.dissolve(false).await.unwrap();

    assert_eq!(
        (first.already_dissolved, second.already_dissolved),
        (false, true)
    );
    assert_eq!(first.team, second.team);
    let team = second.team.unwrap();
    assert_eq!((team.uid, team.dissolved_at.is_some()), (made.uid, true));
}

/// T10 and P8: upstream has one team at a time; here they live side by side, and a name is free
/// again at once.
#[tokio::test]
async fn many_teams_live_side_by_side_and_a_name_comes_again() {
    let cluster = Cluster::start(programs!()).await;
    let (one, other) = (cluster.client().in_team("t"), cluster.client().in_team("u"));
    let first = one.create_team("t", []).await;
    other.create_team("u", []).await;
    one.create(card("of the first")).await;
    let mut client = one.team();
    let taken = client.create_team(v1::CreateTeamRequest {
        team_name: "t".into(),
        ..v1::CreateTeamRequest::default()
    });
    refused(taken.await, Code::AlreadyExists, "TEAM_EXISTS");

    one.dissolve(false).await.unwrap();
    let over = one.get_team().await.unwrap();
    let second = one.create_team("t", []).await;
    let task = one.create(card("of the second")).await;

    assert_eq!((over.uid, over.tasks.unwrap().cancelled), (first.uid, 1));
    assert!(second.uid > first.uid);
    assert_eq!((task.id, task.subject.as_str()), (1, "of the second"));
    assert_eq!(other.get_team().await.unwrap().dissolved_at, None);
    let all = v1::ListTeamsRequest {
        include_dissolved: true,
        page_size: 2,
        ..v1::ListTeamsRequest::default()
    };
    let page = one
        .team()
        .list_teams(all.clone())
        .await
        .unwrap()
        .into_inner();
    let rest = v1::ListTeamsRequest {
        page_token: page.next_page_token.clone(),
        ..all
    };
    let rest = one.team().list_teams(rest).await.unwrap().into_inner();
    let teams = page.teams.iter().chain(&rest.teams);
    let teams: Vec<_> = teams.map(|team| (&*team.name, team.uid)).collect();
    assert_eq!(
        teams,
        [
            ("default", 1),
            ("t", first.uid),
            ("t", second.uid),
            ("u", 3)
        ]
    );
}

/// T11, T14, P8, P10.
#[tokio::test]
async fn what_is_asked_of_a_team_that_is_not_there_is_refused_by_its_name() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("nowhere");

    let all = [
        client.get_team().await.map(drop),
        client.dissolve(true).await.map(drop),
        client.add_member(agent("alice")).await.map(drop),
        client.remove_member("alice", true).await.map(drop),
        client.hand_over("alice").await.map(drop),
        client
            .team()
            .list_members(v1::ListMembersRequest::default())
            .await
            .map(drop),
        client
            .team()
            .watch_team(v1::WatchTeamRequest::default())
            .await
            .map(drop),
    ];

    for answer in all {
        let info = refused(answer, Code::NotFound, "TEAM_NOT_FOUND");
        assert_eq!(info.metadata["team"], "nowhere");
    }
}

#[tokio::test]
async fn the_default_team_and_a_dissolved_one_say_what_is_possible() {
    let cluster = Cluster::start(programs!()).await;
    let default = cluster.client();
    let client = cluster.client().in_team("t");
    client.create_team("t", [agent("alice")]).await;
    client.dissolve(false).await.unwrap();

    let permanent = default.dissolve(true).await;
    refused(permanent, Code::FailedPrecondition, "TEAM_PERMANENT");
    let over = [
        client.add_member(agent("bob")).await.map(drop),
        client.remove_member("alice", true).await.map(drop),
        client.hand_over("alice").await.map(drop),
        client.task().create_task(card("late")).await.map(drop),
        client.claim(1).await.map(drop),
    ];
    for answer in over {
        refused(answer, Code::FailedPrecondition, "TEAM_DISSOLVED");
    }
    let alice = client.member_ever("alice").await;
    assert_eq!(alice.liveness(), v1::MemberLiveness::Gone);
    assert_eq!(alice.liveness_reason, "the team was dissolved");
}

#[tokio::test]
async fn the_same_request_again_is_answered_with_its_first_outcome() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("t");
    client.create_team("t", []).await;
    let request_id = new_instance();
    let add = v1::AddMemberRequest {
        member: Some(agent("alice")),
        request_id: request_id.clone(),
        ..v1::AddMemberRequest::default()
    };
    let dissolve = v1::DissolveTeamRequest {
        request_id,
        ..v1::DissolveTeamRequest::default()
    };
    let mut team = client.team();

    let first = team.add_member(add.clone()).await.unwrap().into_inner();
    let again = team.add_member(add.clone()).await.unwrap().into_inner();
    let other = team.add_member(v1::AddMemberRequest {
        member: Some(agent("bob")),
        ..add
    });
    let other = other.await;
    // Another call with the same id is another request.
    let over = team
        .dissolve_team(dissolve.clone())
        .await
        .unwrap()
        .into_inner();
    let over_again = team.dissolve_team(dissolve).await.unwrap().into_inner();

    assert_eq!(first.member, again.member);
    refused(other, Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert_eq!(over, over_again);
    assert!(!over_again.already_dissolved);
}

/// The end is durable: it goes on where a crash cut it short.
#[tokio::test]
async fn a_team_that_is_being_dissolved_comes_to_its_end_after_a_crash() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("t");
    client.create_team("t", []).await;
    let own = hello("me");
    let mut worker = HandWorker::connect(&client, own.clone()).await.unwrap();
    let running = client.start_task(by_hand()).await;
    let waiting = client.create(card("waits")).await;
    let fence = worker.assignment().await.fence.unwrap();
    worker.started(&fence).await;
    client.dissolve(true).await.unwrap();
    assert_eq!(worker.stop().await.fence.as_ref(), Some(&fence));

    cluster.crash_coordinator().await;
    let client = cluster.client().in_team("t");
    let between = client.get_team().await.unwrap();
    let back = v1::Hello {
        held: vec![v1::Held {
            fence: Some(fence.clone()),
            ..v1::Held::default()
        }],
        ..own
    };
    let mut worker = HandWorker::connect(&client, back).await.unwrap();
    let asked_again = worker.stop().await;
    worker.completed(&fence, "half of it").await;
    let over = settled(&client).await;

    assert!(between.dissolving && between.dissolved_at.is_some());
    assert_eq!(asked_again.fence, Some(fence));
    assert_eq!(over.tasks.unwrap().cancelled, 2);
    let running = client.get(running.id).await;
    assert_eq!(
        (running.status(), &*running.result),
        (TaskStatus::Cancelled, "half of it")
    );
    assert_eq!(client.get(waiting.id).await.status(), TaskStatus::Cancelled);
}

/// T7, T8: what is told is what is stored, and nothing else moves a task.
#[tokio::test]
async fn a_tombstone_its_members_and_its_tasks_are_told_the_same_after_a_crash() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("t");
    client.create_team("t", [agent("alice")]).await;
    let done = client.create(card("done")).await;
    let update = v1::UpdateTaskRequest {
        task_id: done.id,
        status: TaskStatus::Completed.into(),
        ..v1::UpdateTaskRequest::default()
    };
    client.task().update_task(update).await.unwrap();
    client.dissolve(false).await.unwrap();
    let before = (client.get_team().await.unwrap(), client.get(done.id).await);
    let mut watch = client.watch().await;
    watch
        .find("the end of the team", |event| {
            event.r#type() == v1::EventType::TeamDissolved
        })
        .await;

    cluster.crash_coordinator().await;
    let client = cluster.client().in_team("t");
    let after = (client.get_team().await.unwrap(), client.get(done.id).await);
    let mut again = client.watch().await;
    again
        .find("the end of the team", |event| {
            event.r#type() == v1::EventType::TeamDissolved
        })
        .await;

    assert_eq!(before, after);
    assert_eq!(watch.events, again.events);
    let members = client.members_ever().await;
    assert_eq!(members.len(), 2);
}
