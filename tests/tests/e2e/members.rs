//! Who is on a roster, who leads it, and how they are (C12, P7 and T20 of the behaviours to
//! replay; T5 of the design).

use ganger_proto::v1;
use ganger_tests::{
    Client, Cluster, HandWorker, WorkerSpec, agent, hello, hosted, patiently, programs, refused,
};
use tonic::Code;
use v1::{MemberLiveness, TaskStatus};

fn card(subject: &str) -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        subject: subject.into(),
        ..v1::CreateTaskRequest::default()
    }
}

fn owned_by(owner: &str, task: v1::CreateTaskRequest) -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        owner: owner.into(),
        ..task
    }
}

/// Waits until a member is so.
async fn until(client: &Client, name: &str, liveness: MemberLiveness) -> v1::Member {
    let what = format!("{name} is {}", liveness.as_str_name());
    patiently(what, async {
        loop {
            let member = client.member_ever(name).await;
            if member.liveness() == liveness {
                return member;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// C12.
#[tokio::test]
async fn a_member_that_leaves_frees_its_open_tasks_only() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let alice = client.clone().member("alice");
    alice.add_member(agent("alice")).await.unwrap();
    client.add_member(agent("bob")).await.unwrap();
    let claimed = client.create(owned_by("alice", card("claimed"))).await;
    let waits = client.create(owned_by("alice", card("waits"))).await;
    let done = client.create(owned_by("alice", card("done"))).await;
    let another = client.create(owned_by("bob", card("another's"))).await;
    alice.claim(claimed.id).await.unwrap();
    let update = v1::UpdateTaskRequest {
        task_id: done.id,
        status: TaskStatus::Completed.into(),
        ..v1::UpdateTaskRequest::default()
    };
    alice.task().update_task(update).await.unwrap();

    let told = alice.remove_member("alice", false).await.unwrap();

    assert_eq!(told.released, [claimed.id, waits.id]);
    assert!(told.stopping.is_empty());
    let member = told.member.unwrap();
    assert_eq!(
        (member.liveness(), member.left_at.is_some()),
        (MemberLiveness::Gone, true)
    );
    for (task, status, owner) in [
        (claimed.id, TaskStatus::Pending, ""),
        (waits.id, TaskStatus::Pending, ""),
        (done.id, TaskStatus::Completed, "alice"),
        (another.id, TaskStatus::Pending, "bob"),
    ] {
        let task = client.get(task).await;
        assert_eq!((task.status(), &*task.owner), (status, owner), "{task:?}");
    }
    let bob = client.clone().member("bob");
    assert_eq!(bob.claim(claimed.id).await.unwrap().owner, "bob");
}

/// P7: upstream kills the right process; here the stop ladder does, and only that attempt's.
#[tokio::test]
async fn a_hosted_member_is_removed_by_force_and_its_task_waits_for_anybody() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut worker = HandWorker::connect(&client, hello("me")).await.unwrap();
    client.add_member(hosted("hana", "by-hand")).await.unwrap();
    let task = v1::CreateTaskRequest {
        prompt: "do it".into(),
        ..owned_by("hana", card("a"))
    };
    let task = client.create(task).await;
    let assignment = worker.assignment().await;
    let fence = assignment.fence.unwrap();
    worker.started(&fence).await;

    let active = client.remove_member("hana", false).await;
    let info = refused(active, Code::FailedPrecondition, "MEMBER_ACTIVE");
    let told = client.remove_member("hana", true).await.unwrap();
    let stop = worker.stop().await;
    worker
        .ended(v1::Ended {
            fence: Some(fence.clone()),
            ending: v1::AttemptEnding::Cancelled.into(),
            ..v1::Ended::default()
        })
        .await;

    assert_eq!(assignment.member, "hana");
    assert_eq!(info.metadata["tasks"], task.id.to_string());
    assert_eq!((told.released, told.stopping), (vec![], vec![task.id]));
    assert_eq!(stop.fence, Some(fence));
    let task = client.get(task.id).await;
    assert_eq!((task.status(), &*task.owner), (TaskStatus::Pending, ""));
    assert!(task.phase_reason.is_empty() || task.phase() != v1::TaskPhase::Queued);
    client.claim(task.id).await.unwrap();
}

/// P7 and T6: roles are the server's to enforce.
#[tokio::test]
async fn nobody_removes_the_lead_or_a_stranger_and_only_the_lead_others() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    for name in ["alice", "bob"] {
        client.add_member(agent(name)).await.unwrap();
    }
    let alice = client.clone().member("alice");

    let lead = client.remove_member("team-lead", true).await;
    refused(lead, Code::FailedPrecondition, "MEMBER_LEADS");
    let stranger = client.remove_member("mallory", true).await;
    refused(stranger, Code::NotFound, "MEMBER_NOT_FOUND");
    for answer in [
        alice.remove_member("bob", true).await.map(drop),
        alice.remove_member("team-lead", true).await.map(drop),
        alice.add_member(agent("carol")).await.map(drop),
        alice.hand_over("bob").await.map(drop),
    ] {
        refused(answer, Code::PermissionDenied, "LEAD_ONLY");
    }
    let mallory = client.clone().member("mallory");
    let by_mallory = mallory.remove_member("bob", true).await;
    refused(by_mallory, Code::NotFound, "MEMBER_NOT_FOUND");

    let there = client.members_ever().await;
    assert!(there.iter().all(|member| member.left_at.is_none()));
    assert_eq!(there.len(), 3);
}

#[tokio::test]
async fn a_name_that_comes_again_is_another_incarnation_also_after_a_crash() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let alice = client.clone().member("alice");
    let first = alice.add_member(agent("alice")).await.unwrap();
    let twice = alice.add_member(agent("alice")).await;
    refused(twice, Code::AlreadyExists, "MEMBER_EXISTS");
    alice.remove_member("alice", false).await.unwrap();

    cluster.crash_coordinator().await;
    let client = cluster.client();
    let alice = client.clone().member("alice");
    let late = alice.claim(1).await;
    refused(late, Code::NotFound, "MEMBER_NOT_FOUND");
    let second = alice.add_member(agent("alice")).await.unwrap();
    client.create(card("a")).await;
    let pinned = client.clone().member("alice/1").claim(1).await;

    assert_eq!((first.incarnation, second.incarnation), (1, 2));
    let info = refused(pinned, Code::Aborted, "INCARNATION_STALE");
    assert_eq!(info.metadata["present"], "2");
    client.clone().member("alice/2").claim(1).await.unwrap();
}

#[tokio::test]
async fn the_lead_is_handed_over_and_who_had_it_may_leave() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("t");
    client
        .create_team("t", [agent("alice"), hosted("hana", "coder")])
        .await;

    let hosted = client.hand_over("hana").await;
    refused(hosted, Code::InvalidArgument, "VALUE_INVALID");
    let team = client.hand_over("alice").await.unwrap();
    let alice = client.clone().member("alice");
    alice.remove_member("team-lead", false).await.unwrap();
    // Who says no name speaks for the lead.
    let task = client.create(card("a")).await;

    assert_eq!((&*team.lead, &*team.lead_agent_id), ("alice", "alice@t"));
    assert_eq!(task.created_by, "alice");
    let members = client.members_ever().await;
    let leads: Vec<_> = members
        .iter()
        .filter(|member| member.kind() == v1::MemberKind::Lead)
        .map(|member| &*member.name)
        .collect();
    assert_eq!(leads, ["alice"]);
}

/// T5: an outside agent is judged by what it holds, and seen when it calls.
#[tokio::test]
async fn an_agent_is_working_while_it_holds_a_task_and_was_seen_when_it_called() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.add_member(agent("alice")).await.unwrap();
    let alice = client.clone().member("alice");
    let task = client.create(card("a")).await;

    let unseen = client.member_ever("alice").await;
    alice.claim(task.id).await.unwrap();
    let working = client.member_ever("alice").await;
    alice.get_team().await.unwrap();
    let looked = client.member_ever("alice").await;
    client.cancel(task.id).await;
    let idle = client.member_ever("alice").await;

    assert_eq!(
        (unseen.liveness(), unseen.last_seen_at),
        (MemberLiveness::Idle, None)
    );
    assert_eq!(working.liveness(), MemberLiveness::Working);
    assert_eq!(working.liveness_reason, "holds #1");
    assert_eq!(working.tasks, [task.id]);
    let at = |member: &v1::Member| {
        let at = member.last_seen_at.as_ref().unwrap();
        (at.seconds, at.nanos)
    };
    assert!(at(&working) <= at(&looked));
    assert_eq!(idle.liveness(), MemberLiveness::Idle);
}

/// T5 and T20: from nobody who could run it, over a worker that does, to one that is lost.
#[tokio::test]
async fn a_hosted_member_is_as_its_worker_is() {
    let cluster = Cluster::hasty(programs!()).await;
    let client = cluster.client();
    let gate = cluster.gate("hold");
    let mut worker = cluster.start_worker(WorkerSpec::named("w1")).await;
    client.add_member(hosted("hana", "shell")).await.unwrap();
    let script = format!("echo ready; {}; echo done", gate.wait());
    let task = v1::CreateTaskRequest {
        prompt: script,
        ..owned_by("hana", card("a"))
    };

    let idle = client.member_ever("hana").await;
    let task = client.create(task).await;
    client.transcript(task.id).await.said("ready").await;
    let working = until(&client, "hana", MemberLiveness::Working).await;
    worker.kill().await;
    let lost = until(&client, "w1", MemberLiveness::Gone).await;
    let free = until(&client, "hana", MemberLiveness::Idle).await;
    // It waits for the next worker: nothing of it is lost.
    let waiting = client.get(task.id).await;

    assert_eq!(idle.liveness(), MemberLiveness::Idle);
    assert_eq!(
        (working.tasks, &*working.liveness_reason),
        (vec![task.id], "runs #1")
    );
    assert!(working.last_progress_at.is_some() && working.last_seen_at.is_some());
    assert_eq!(lost.liveness_reason, "its process is not connected");
    assert_eq!(free.left_at, None);
    assert_eq!(
        (waiting.status(), &*waiting.owner),
        (TaskStatus::Pending, "hana")
    );
}
