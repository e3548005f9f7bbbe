//! What a sub-agent sees and may change: a list of its own, or its parent's board (E2, E11, T22).
//!
//! Its identity is its attempt's, named by the fence in `ganger-attempt` and proved by the secret that
//! its worker alone was given.

use ganger_proto::v1::{self, EventType, NewTask, TaskStatus::Completed};
use ganger_tests::{
    Client, Cluster, HandWorker, error_info, hello, ids_of, new_task, programs, refused,
};
use tonic::{Code, Status};

/// A task that the worker by hand runs.
fn hired(subject: &str, parent_task_id: u64, share_todos: bool) -> NewTask {
    NewTask {
        agent_type: "by-hand".into(),
        prompt: "do it".into(),
        parent_task_id,
        share_todos,
        ..new_task(subject)
    }
}

/// Somebody hires a sub-agent: the task's id, and the sub-agent as a caller.
async fn hire(
    cluster: &Cluster,
    worker: &mut HandWorker,
    by: &Client,
    task: NewTask,
) -> (u64, Client) {
    let id = by.plan(vec![task]).await[0];
    let assignment = worker.assignment().await;
    let fence = assignment.fence.as_ref().unwrap();
    assert_eq!(fence.task_id, id);
    worker.started(fence).await;
    (id, cluster.client().in_team("red").sub_agent(&assignment))
}

async fn scene() -> (Cluster, Client, HandWorker) {
    let cluster = Cluster::start(programs!()).await;
    let lead = cluster.client().team_of("red", &["alice"]).await;
    let mut hello = v1::Hello {
        slots: 8,
        ..hello("me")
    };
    hello.agent_types[0].hiring_depth = 3;
    let worker = HandWorker::connect(&lead, hello).await.unwrap();
    (cluster, lead, worker)
}

async fn sees(client: &Client) -> Vec<u64> {
    ids_of(&client.list(|_| {}).await)
}

/// Every call about one task, and how it is answered.
async fn every_call(client: &Client, task_id: u64) -> Vec<(&'static str, Status)> {
    macro_rules! calls {
        ($($service:ident.$call:ident($request:ident { $($field:ident: $value:expr),* });)*) => {{
            let mut answers = Vec::new();
            $(
                let request = v1::$request {
                    $($field: $value,)*
                    ..v1::$request::default()
                };
                let answer = client.$service().$call(request).await;
                let name = stringify!($call);
                answers.push((name, answer.err().unwrap_or_else(|| panic!("{name} is answered"))));
            )*
            answers
        }};
    }
    let why = || "because".to_owned();
    calls! {
        task.get_task(GetTaskRequest { task_id: task_id });
        task.update_task(UpdateTaskRequest { task_id: task_id, subject: Some(why()) });
        task.batch_update_tasks(BatchUpdateTasksRequest { updates: vec![v1::UpdateTaskRequest {
            task_id,
            ..v1::UpdateTaskRequest::default()
        }] });
        task.claim_task(ClaimTaskRequest { task_id: task_id });
        task.renew_claim(RenewClaimRequest { task_id: task_id });
        task.release_task(ReleaseTaskRequest { task_id: task_id });
        task.reopen_task(ReopenTaskRequest { task_id: task_id, reason: why() });
        task.delete_task(DeleteTaskRequest { task_id: task_id });
        task.explain_task(ExplainTaskRequest { task_id: task_id });
        task.create_task(CreateTaskRequest { subject: why(), parent_task_id: task_id });
        task.create_task(CreateTaskRequest { subject: why(), blocked_by: vec![task_id] });
        task.create_task(CreateTaskRequest { subject: why(), blocks: vec![task_id] });
        delegation.pause_task(PauseTaskRequest { task_id: task_id });
        delegation.resume_task(ResumeTaskRequest { task_id: task_id });
        delegation.cancel_task(CancelTaskRequest { task_id: task_id });
        delegation.wait_tasks(WaitTasksRequest { task_ids: vec![task_id] });
        delegation.watch_transcript(WatchTranscriptRequest { task_id: task_id });
    }
}

/// TestRunIsolation (E2): the tasks of another run are "not found" for every call, in the same
/// words as those that never were; its own are there. TestWaitTasksIsolation (E11). By default a
/// list is isolated: TestShareTodosIntegration (T22).
#[tokio::test]
async fn sub_agent_has_a_list_of_its_own_and_no_call_tells_it_of_any_other() {
    let (cluster, lead, mut worker) = scene().await;
    lead.plan(vec![new_task("the lead's own")]).await;
    let (one, a) = hire(&cluster, &mut worker, &lead, hired("one", 0, false)).await;
    let (two, b) = hire(&cluster, &mut worker, &lead, hired("two", 0, false)).await;

    // Its children are its own without a word.
    let child = a.plan(vec![new_task("a's")]).await[0];
    let other = b.plan(vec![new_task("b's")]).await[0];
    assert_eq!(lead.get(child).await.parent_task_id, one);
    assert_eq!(sees(&a).await, [one, child]);
    assert_eq!(sees(&b).await, [two, other]);
    assert_eq!(sees(&lead).await, [1, one, two, child, other]);
    for at in [1, two] {
        let listed = a.list(|list| list.parent_task_id = at).await;
        assert_eq!(listed, [], "children of {at}");
    }
    let before = lead.list(|_| {}).await;

    let never = 4_711;
    for hidden in [1, two, other] {
        let unknown = every_call(&a, never).await;
        let answers = every_call(&a, hidden).await;
        for ((call, hidden_is), (_, never_is)) in answers.iter().zip(&unknown) {
            assert_eq!(hidden_is.code(), Code::NotFound, "{call}: {hidden_is:?}");
            let say = |status: &Status, id: u64| {
                let mut info = error_info(status);
                assert_eq!(info.metadata.remove("task"), Some(id.to_string()), "{call}");
                let words = status.message().replace(&format!("#{id}"), "#");
                (info.reason, info.metadata, words)
            };
            assert_eq!(say(hidden_is, hidden), say(never_is, never), "{call}");
        }
    }
    assert_eq!(
        lead.list(|_| {}).await,
        before,
        "nothing of it has changed anything"
    );

    // On its own list it does as it likes; its own task it leaves to its end.
    a.claim(child).await.unwrap();
    a.set(child, Completed).await;
    refused(
        a.try_set(one, Completed).await,
        Code::PermissionDenied,
        "NOT_OWNER",
    );
    let history = lead.explain(child).await.history;
    let actors: Vec<_> = history
        .iter()
        .map(|event| (&event.actor[..], event.on_behalf_of_task))
        .collect();
    assert_eq!(actors, [(&*format!("task:{one}"), one); 3]);
}

/// TestShareTodosIntegration (T22): shared when asked, and the flag is inherited.
#[tokio::test]
async fn shared_list_is_the_parents_board_and_children_inherit_it() {
    let (cluster, lead, mut worker) = scene().await;
    lead.plan(vec![new_task("the lead's own")]).await;
    let (open, shares) = hire(&cluster, &mut worker, &lead, hired("open", 0, true)).await;
    let (closed, own) = hire(&cluster, &mut worker, &lead, hired("closed", 0, false)).await;

    // One that shares sees the whole board of who hired it, and so do its children.
    let (below, inherits) = hire(&cluster, &mut worker, &shares, hired("below", open, false)).await;
    assert!(lead.get(below).await.share_todos);
    // One that shares with a closed list sees that list, and no more.
    let (inner, nested) = hire(&cluster, &mut worker, &own, hired("inner", 0, true)).await;
    assert_eq!(lead.get(inner).await.parent_task_id, closed);

    let all = [1, open, closed, below, inner];
    assert_eq!(sees(&lead).await, all);
    assert_eq!(sees(&shares).await, all);
    assert_eq!(sees(&inherits).await, all);
    assert_eq!(sees(&own).await, [closed, inner]);
    assert_eq!(sees(&nested).await, [closed, inner]);
    // Who sees the whole board may watch it, and nobody else.
    let watch = async |client: &Client| {
        let all = v1::WatchTeamRequest {
            after_revision: Some(0),
            ..v1::WatchTeamRequest::default()
        };
        client.team().watch_team(all).await.map(drop)
    };
    for sub_agent in [&own, &nested] {
        let info = refused(
            watch(sub_agent).await,
            Code::InvalidArgument,
            "VALUE_INVALID",
        );
        assert_eq!(info.metadata["field"], "ganger-attempt");
    }
    for sub_agent in [&shares, &inherits] {
        watch(sub_agent).await.unwrap();
    }
    // To see is not to own: what is others' stays theirs.
    refused(
        shares.try_set(1, Completed).await,
        Code::PermissionDenied,
        "NOT_OWNER",
    );
    let assign = v1::CreateTaskRequest {
        subject: "for alice".into(),
        owner: "alice".into(),
        ..v1::CreateTaskRequest::default()
    };
    let assign = shares.task().create_task(assign).await;
    refused(assign, Code::PermissionDenied, "LEAD_ONLY");
}

/// A hosted member's sub-agent acts in the member's name, and sees the team's board.
#[tokio::test]
async fn sub_agent_of_a_hosted_member_acts_as_that_member() {
    let (cluster, lead, mut worker) = scene().await;
    let members = vec![v1::NewMember {
        name: "runner".into(),
        agent_type: "by-hand".into(),
        ..v1::NewMember::default()
    }];
    let team = v1::CreateTeamRequest {
        team_name: "blue".into(),
        members,
        ..v1::CreateTeamRequest::default()
    };
    lead.team().create_team(team).await.unwrap();
    let lead = cluster.client().in_team("blue");
    let task = NewTask {
        owner: "runner".into(),
        prompt: "do it".into(),
        ..new_task("runner's")
    };
    lead.plan(vec![new_task("the lead's own"), task]).await;
    let assignment = worker.assignment().await;
    let fence = assignment.fence.clone().unwrap();
    let runner = cluster.client().in_team("blue").sub_agent(&assignment);

    assert_eq!(sees(&runner).await, [1, 2]);
    let made = runner.plan(vec![new_task("its own")]).await[0];

    let task = lead.get(made).await;
    assert_eq!((&task.created_by[..], task.parent_task_id), ("runner", 0));
    assert!(worker.completed(&fence, "done").await.accepted);
    let history = lead.explain(2).await.history;
    let end = &history[0];
    assert_eq!(end.r#type(), EventType::TaskCompleted);
    assert_eq!(
        (&end.actor[..], &end.on_behalf_of[..]),
        ("worker:me", "runner")
    );
}

/// Upstream a run is named by who calls: here the attempt proves itself, and nothing that the
/// metadata says beside it counts.
#[tokio::test]
async fn attempt_that_is_over_or_another_speaks_for_nobody() {
    let (cluster, lead, mut worker) = scene().await;
    let id = lead.plan(vec![hired("one", 0, false)]).await[0];
    let assignment = worker.assignment().await;
    let sub_agent = cluster.client().in_team("red").sub_agent(&assignment);
    worker.started(assignment.fence.as_ref().unwrap()).await;
    lead.plan(vec![new_task("the lead's own")]).await;
    // It can't be the lead by saying so.
    let pretender = sub_agent.clone().member("team-lead");
    assert_eq!(sees(&pretender).await, [id]);
    refused(pretender.claim(2).await, Code::NotFound, "TASK_NOT_FOUND");

    let status = lead
        .fleet()
        .get_status(v1::GetStatusRequest {})
        .await
        .unwrap();
    let uid = lead
        .team()
        .get_team(v1::GetTeamRequest::default())
        .await
        .unwrap();
    let right = v1::Fence {
        epoch: status.into_inner().epoch,
        team_uid: uid.into_inner().team.unwrap().uid,
        task_id: id,
        attempt: 1,
    };
    assert_eq!(assignment.fence.as_ref(), Some(&right));
    let caller = |fence: &v1::Fence| {
        let shown = v1::Assignment {
            fence: Some(fence.clone()),
            ..assignment.clone()
        };
        cluster.client().in_team("red").sub_agent(&shown)
    };
    assert_eq!(sees(&caller(&right)).await, [id]);
    for wrong in [
        v1::Fence {
            epoch: ganger_tests::new_instance(),
            ..right.clone()
        },
        v1::Fence {
            team_uid: right.team_uid + 1,
            ..right.clone()
        },
        v1::Fence {
            task_id: 2,
            ..right.clone()
        },
        v1::Fence {
            task_id: 9,
            ..right.clone()
        },
        v1::Fence {
            attempt: 2,
            ..right.clone()
        },
        v1::Fence {
            attempt: 0,
            ..right.clone()
        },
    ] {
        let other = caller(&wrong);
        let (code, reason) = (Code::PermissionDenied, "ATTEMPT_SECRET_WRONG");
        let list = other.try_list(v1::ListTasksRequest::default()).await;
        refused(list, code, reason);
        let made = other
            .task()
            .create_task(v1::CreateTaskRequest::default())
            .await;
        refused(made, code, reason);
        let all = v1::WatchTeamRequest::default();
        let watch = other.team().watch_team(all).await;
        refused(watch.map(drop), code, reason);
    }
    let elsewhere = cluster.client().sub_agent(&assignment);
    let list = elsewhere.try_list(v1::ListTasksRequest::default()).await;
    refused(list, Code::Aborted, "ATTEMPT_STALE");

    worker.completed(&right, "done").await;
    let list = sub_agent.try_list(v1::ListTasksRequest::default()).await;
    refused(list, Code::Aborted, "ATTEMPT_STALE");
    let made = sub_agent
        .task()
        .create_task(v1::CreateTaskRequest::default())
        .await;
    refused(made, Code::Aborted, "ATTEMPT_STALE");
    assert_eq!(sees(&lead).await, [id, 2]);
}
