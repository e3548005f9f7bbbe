//! Claims and their leases (L3 to L8, Q2 to Q13).

use ganger_proto::v1::{
    self, AttemptEnding, ClaimNextTaskRequest, EventType, NewTask, TaskPriority,
    TaskStatus::{Completed, InProgress, Pending},
};
use ganger_tests::{Client, Cluster, new_task, patiently, programs, refused};
use pbjson_types::Duration;
use tonic::{Code, Status};

/// The shortest lease that there is.
const SECOND: Duration = Duration {
    seconds: 1,
    nanos: 0,
};

async fn team(cluster: &Cluster) -> (Client, Client, Client) {
    let lead = cluster.client().team_of("red", &["alice", "bob"]).await;
    let (alice, bob) = (lead.clone().member("alice"), lead.clone().member("bob"));
    (lead, alice, bob)
}

async fn claim_next(
    client: &Client,
    ask: impl FnOnce(&mut ClaimNextTaskRequest),
) -> Option<v1::Task> {
    let mut request = ClaimNextTaskRequest::default();
    ask(&mut request);
    let claimed = patiently("ClaimNextTask", client.task().claim_next_task(request)).await;
    let claimed = claimed.unwrap().into_inner();
    if let Some(task) = &claimed.task {
        assert_eq!(
            (claimed.attempt, claimed.lease_until),
            (task.attempt_count, task.lease_until)
        );
    }
    claimed.task
}

async fn renew(client: &Client, task_id: u64, attempt: i32) -> Result<(), Status> {
    let request = v1::RenewClaimRequest {
        task_id,
        attempt,
        ..v1::RenewClaimRequest::default()
    };
    let renewed = patiently("RenewClaim", client.task().renew_claim(request)).await?;
    assert!(renewed.into_inner().lease_until.is_some());
    Ok(())
}

async fn release(client: &Client, task_id: u64, attempt: i32) -> Result<v1::Task, Status> {
    let request = v1::ReleaseTaskRequest {
        task_id,
        attempt,
        reason: "I lack the access".into(),
        ..v1::ReleaseTaskRequest::default()
    };
    let released = patiently("ReleaseTask", client.task().release_task(request)).await?;
    Ok(released.into_inner().task.unwrap())
}

/// TestSharedTodoList.test_claim_success, test_claim_already_claimed, test_claim_not_pending,
/// test_claim_blocked_item, test_claim_after_dependency_complete (L3, L4, L6 to L8);
/// test_claim_is_exclusive, test_failed_claim_does_not_steal (Q12).
#[tokio::test]
async fn claim_takes_a_free_task_and_any_other_is_refused_with_what_is_in_the_way() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, bob) = team(&cluster).await;
    let waits = NewTask {
        blocked_by_items: vec![0],
        ..new_task("waits")
    };
    let bobs = NewTask {
        owner: "bob".into(),
        ..new_task("bob's")
    };
    lead.plan(vec![new_task("free"), waits, bobs, new_task("over")])
        .await;
    lead.set(4, Completed).await;

    let task = alice.claim(1).await.unwrap();

    assert_eq!(
        (task.status(), &task.owner[..], task.attempt_count),
        (InProgress, "alice", 1)
    );
    assert!(task.lease_until.is_some());
    assert_eq!(
        (&task.started_by[..], task.phase()),
        ("alice", v1::TaskPhase::Claimed)
    );
    let no = async |client: &Client, id| client.claim(id).await;
    let failed = Code::FailedPrecondition;
    for client in [&bob, &lead] {
        let info = refused(no(client, 1).await, failed, "TASK_HELD");
        assert_eq!(info.metadata["holder"], "alice");
    }
    let info = refused(no(&alice, 3).await, failed, "TASK_HELD");
    assert_eq!(info.metadata["holder"], "bob");
    let info = refused(no(&bob, 2).await, failed, "TASK_BLOCKED");
    assert_eq!(info.metadata["blockers"], "1");
    let info = refused(no(&bob, 4).await, failed, "TASK_OVER");
    assert_eq!(info.metadata["status"], "completed");
    assert_eq!(
        lead.get(1).await,
        task,
        "the refused claims changed nothing"
    );
    let because = &lead.explain(1).await.because[0];
    assert_eq!(
        (&because.reason[..], &because.text[..]),
        ("CLAIMED", "alice holds it")
    );

    let done = alice.set(1, Completed).await;
    assert_eq!(done.unblocked, [2]);
    assert_eq!(bob.claim(2).await.unwrap().owner, "bob");
    assert_eq!(bob.claim(3).await.unwrap().owner, "bob");
    let mut watch = lead.watch().await;
    let freed = watch.until(2, EventType::TaskUnblocked).await;
    assert_eq!((&freed.actor[..], freed.cause_task_id), ("alice", 1));
}

/// test_claim_separates_total_live_leased_and_running (Q2).
#[tokio::test]
async fn next_claim_is_the_best_ready_task_that_fits_the_caller() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, bob) = team(&cluster).await;
    let task = |priority: TaskPriority, labels: &[&str]| NewTask {
        priority: priority.into(),
        labels: labels.iter().map(ToString::to_string).collect(),
        ..new_task(priority.as_str_name())
    };
    let bobs = NewTask {
        owner: "bob".into(),
        ..task(TaskPriority::Normal, &["docs"])
    };
    lead.plan(vec![
        task(TaskPriority::Low, &[]),
        task(TaskPriority::Normal, &["docs", "sql"]),
        task(TaskPriority::Critical, &["sql"]),
        bobs,
        task(TaskPriority::Normal, &["docs"]),
    ])
    .await;
    let number = |task: Option<v1::Task>| task.map(|task| task.id);

    let with = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<Vec<_>>();
    let both = claim_next(&alice, |ask| ask.labels = with(&["sql", "docs"])).await;
    assert_eq!(number(both), Some(2));
    let none = claim_next(&alice, |ask| ask.labels = with(&["sql", "docs"])).await;
    assert_eq!(none, None);
    // Bob's own goes before nobody's of the same rank, though both are as old.
    let own = claim_next(&bob, |ask| ask.labels = with(&["docs"]))
        .await
        .unwrap();
    assert_eq!(
        (own.id, &own.owner[..], own.status()),
        (4, "bob", InProgress)
    );
    let urgent = claim_next(&alice, |ask| ask.priority_min = TaskPriority::High.into()).await;
    assert_eq!(number(urgent), Some(3));
    let urgent = claim_next(&alice, |ask| ask.priority_min = TaskPriority::High.into()).await;
    assert_eq!(urgent, None);
    // Without a wish, the most urgent of what is left.
    assert_eq!(number(claim_next(&bob, |_| {}).await), Some(5));
    assert_eq!(number(claim_next(&bob, |_| {}).await), Some(1));
    let before = lead.watch().await;
    assert_eq!(claim_next(&bob, |_| {}).await, None);
    drop(before);
    assert_eq!(lead.list(|list| list.status = Pending.into()).await, []);
}

/// test_expired_running_lease_keeps_attempt_and_honors_max_attempts (Q4),
/// test_expired_claim_cannot_be_marked_running (Q5), test_claim_succeeds_once_a_lease_expires (Q12).
#[tokio::test]
async fn lease_that_is_over_frees_the_task_and_its_late_holder_is_refused() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, bob) = team(&cluster).await;
    lead.plan(vec![new_task("one")]).await;
    let mut watch = lead.watch().await;

    let first = alice.claim_for(1, Some(SECOND)).await.unwrap();
    let requeued = watch.until(1, EventType::TaskRequeued).await;

    assert_eq!((&requeued.actor[..], requeued.attempt), ("coordinator", 1));
    let free = lead.get(1).await;
    assert_eq!(
        (free.status(), &free.owner[..], free.lease_until),
        (Pending, "", None)
    );
    assert_eq!(free.attempts[0].ending(), AttemptEnding::Lost);
    let second = bob.claim(1).await.unwrap();
    assert_eq!((first.attempt_count, second.attempt_count), (1, 2));

    // What the first holder still says of its claim is stale, whatever it is.
    let late = alice.try_update(1, |update| {
        update.attempt = 1;
        update.status = Completed.into();
    });
    let info = refused(late.await, Code::Aborted, "ATTEMPT_STALE");
    assert_eq!(
        (&info.metadata["expected"][..], &info.metadata["actual"][..]),
        ("1", "2")
    );
    refused(renew(&alice, 1, 1).await, Code::Aborted, "ATTEMPT_STALE");
    refused(release(&alice, 1, 1).await, Code::Aborted, "ATTEMPT_STALE");
    // And without a number it is somebody else's task.
    refused(
        alice.try_set(1, Completed).await,
        Code::PermissionDenied,
        "NOT_OWNER",
    );
    refused(
        renew(&alice, 1, 0).await,
        Code::FailedPrecondition,
        "TASK_HELD",
    );

    let done = bob.update(1, |update| {
        update.attempt = 2;
        update.status = Completed.into();
    });
    let done = done.await.task.unwrap();
    let attempts: Vec<_> = done
        .attempts
        .iter()
        .map(|a| (&a.runner[..], a.ending()))
        .collect();
    assert_eq!(
        attempts,
        [
            ("alice", AttemptEnding::Lost),
            ("bob", AttemptEnding::Completed)
        ]
    );
}

/// Any call of a holder is a sign of life; a crash of the coordinator takes no claim away.
#[tokio::test]
async fn claim_lasts_as_long_as_its_holder_is_heard_of_and_over_a_crash() {
    let mut cluster = Cluster::start(programs!()).await;
    let (lead, alice, bob) = team(&cluster).await;
    lead.plan(["alice's", "bob's", "kept"].map(new_task).into())
        .await;
    let kept = bob.claim_for(3, None).await.unwrap();
    assert_eq!(kept.lease_until, None);
    alice.claim_for(1, Some(SECOND)).await.unwrap();
    bob.claim_for(2, Some(SECOND)).await.unwrap();

    // Alice calls, about whatever, until Bob, who doesn't, has lost his.
    let mut watch = lead.watch().await;
    let lost = watch.until(2, EventType::TaskRequeued);
    let mut calls = tokio::time::interval(std::time::Duration::from_millis(50));
    let calling = async {
        loop {
            calls.tick().await;
            alice.list(|list| list.owner = "nobody".into()).await;
        }
    };
    tokio::select! {
        _ = lost => {}
        () = calling => unreachable!(),
    }
    let held = lead.get(1).await;
    assert_eq!(
        (held.status(), &held.owner[..], held.attempt_count),
        (InProgress, "alice", 1)
    );
    assert_eq!(
        lead.get(3).await.owner,
        "bob",
        "without a lease nothing ends it"
    );
    renew(&alice, 1, 1).await.unwrap();

    cluster.crash_coordinator().await;
    let lead = cluster.client().in_team("red");
    let alice = lead.clone().member("alice");
    renew(&alice, 1, 1).await.unwrap();
    assert_eq!(lead.get(3).await.owner, "bob");
    // Who is silent from then on loses it all the same.
    lead.watch().await.until(1, EventType::TaskRequeued).await;
    assert_eq!(lead.get(1).await.status(), Pending);
}

/// test_take_transfers, _makes_the_previous_owners_renew_report_lost (Q13).
#[tokio::test]
async fn lead_takes_a_claim_away_only_if_it_says_so_and_the_old_holder_learns_of_it() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, bob) = team(&cluster).await;
    lead.plan(vec![new_task("one")]).await;
    alice.claim(1).await.unwrap();
    let give = |stop_running| {
        move |update: &mut v1::UpdateTaskRequest| {
            update.owner = Some("bob".into());
            update.stop_running = stop_running;
        }
    };

    let info = refused(
        lead.try_update(1, give(false)).await,
        Code::FailedPrecondition,
        "TASK_HELD",
    );
    assert_eq!(info.metadata["holder"], "alice");
    // Nobody but the lead takes anything away.
    refused(
        bob.try_update(1, give(true)).await,
        Code::PermissionDenied,
        "NOT_OWNER",
    );
    renew(&alice, 1, 1).await.unwrap();
    let taken = lead.update(1, give(true)).await.task.unwrap();

    assert_eq!((taken.status(), &taken.owner[..]), (Pending, "bob"));
    assert_eq!(taken.attempts[0].ending(), AttemptEnding::Cancelled);
    refused(renew(&alice, 1, 1).await, Code::Aborted, "ATTEMPT_STALE");
    let late = alice.try_update(1, |update| {
        update.attempt = 1;
        update.result = Some("late".into());
    });
    refused(late.await, Code::Aborted, "ATTEMPT_STALE");
    assert_eq!(bob.claim(1).await.unwrap().attempt_count, 2);
}

/// A refused delegation releases its claim here, rather than keeping it as upstream.
#[tokio::test]
async fn released_task_is_free_again_and_says_why_it_came_back() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, bob) = team(&cluster).await;
    lead.plan(vec![new_task("one"), new_task("two")]).await;
    alice.claim(1).await.unwrap();

    refused(
        release(&bob, 1, 0).await,
        Code::FailedPrecondition,
        "TASK_HELD",
    );
    refused(
        release(&alice, 2, 0).await,
        Code::FailedPrecondition,
        "TASK_NOT_HELD",
    );
    let released = release(&alice, 1, 1).await.unwrap();

    assert_eq!((released.status(), &released.owner[..]), (Pending, ""));
    assert_eq!(released.attempts[0].ending(), AttemptEnding::HandedBack);
    assert_eq!(released.attempts[0].message, "I lack the access");
    let why = &lead.explain(1).await.history[0];
    assert_eq!(
        (why.r#type(), &why.message[..]),
        (EventType::TaskRequeued, "I lack the access")
    );
    refused(release(&alice, 1, 1).await, Code::Aborted, "ATTEMPT_STALE");
    assert_eq!(bob.claim(1).await.unwrap().attempt_count, 2);
    // The lead may give back for others.
    assert_eq!(release(&lead, 1, 0).await.unwrap().owner, "");
}

/// test_pause_resume_cancel_and_owner_scope (Q7).
#[tokio::test]
async fn paused_task_is_neither_claimed_nor_given_out_until_it_is_resumed() {
    let cluster = Cluster::start(programs!()).await;
    let (lead, alice, bob) = team(&cluster).await;
    lead.plan(vec![new_task("one"), new_task("two")]).await;
    alice.claim(2).await.unwrap();
    let pause = |client: &Client, task_id| {
        let request = v1::PauseTaskRequest {
            task_id,
            reason: "wait for the review".into(),
            ..v1::PauseTaskRequest::default()
        };
        let mut client = client.delegation();
        async move { client.pause_task(request).await }
    };
    let resume = |client: &Client, task_id| {
        let request = v1::ResumeTaskRequest {
            task_id,
            ..v1::ResumeTaskRequest::default()
        };
        let mut client = client.delegation();
        async move { client.resume_task(request).await }
    };

    refused(pause(&bob, 1).await, Code::PermissionDenied, "NOT_OWNER");
    refused(pause(&lead, 2).await, Code::FailedPrecondition, "TASK_HELD");
    refused(
        resume(&lead, 1).await,
        Code::FailedPrecondition,
        "TASK_NOT_PAUSED",
    );
    let paused = pause(&lead, 1).await.unwrap().into_inner().task.unwrap();

    assert_eq!(
        (paused.status(), paused.phase()),
        (Pending, v1::TaskPhase::Paused)
    );
    assert_eq!(paused.phase_reason, "wait for the review");
    let info = refused(bob.claim(1).await, Code::FailedPrecondition, "TASK_PAUSED");
    assert_eq!(info.metadata["why"], "wait for the review");
    assert_eq!(claim_next(&bob, |_| {}).await, None);
    let because = &lead.explain(1).await.because[0];
    assert_eq!(
        (&because.reason[..], &because.text[..]),
        ("PAUSED", "held by team-lead: wait for the review")
    );
    resume(&lead, 1).await.unwrap();
    assert_eq!(claim_next(&bob, |_| {}).await.unwrap().id, 1);
}
