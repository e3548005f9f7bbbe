//! Waiting for several tasks at once (E11, E18).

use ganger_proto::v1::{
    self,
    TaskStatus::{self, Cancelled, Completed, Failed, InProgress, Pending},
    WaitTasksRequest, WaitTasksResponse,
    WaitUntil::{self, All, Any},
};
use ganger_tests::{Client, Cluster, ids_of, new_task, patiently, programs, refused};
use pbjson_types::Duration as Span;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

const NOT_LONG: Span = Span {
    seconds: 0,
    nanos: 20_000_000,
};

fn wait(task_ids: &[u64], until: WaitUntil) -> WaitTasksRequest {
    WaitTasksRequest {
        task_ids: task_ids.into(),
        until: until.into(),
        // Nobody is there to do them but who waits.
        wait_on: true,
        ..WaitTasksRequest::default()
    }
}

fn short(task_ids: &[u64], until: WaitUntil) -> WaitTasksRequest {
    WaitTasksRequest {
        timeout: Some(NOT_LONG),
        ..wait(task_ids, until)
    }
}

/// Somebody waits beside the test.
fn waiting(
    client: &Client,
    request: WaitTasksRequest,
) -> JoinHandle<Result<WaitTasksResponse, Status>> {
    let client = client.clone();
    tokio::spawn(async move { client.try_wait(request).await })
}

fn statuses(answer: &WaitTasksResponse) -> Vec<TaskStatus> {
    answer.tasks.iter().map(v1::Task::status).collect()
}

async fn heard(wait: JoinHandle<Result<WaitTasksResponse, Status>>) -> WaitTasksResponse {
    patiently("the wait is over", wait).await.unwrap().unwrap()
}

/// test_wait_tasks_timeout, _does_not_cascade_cancel_to_workers, _reports_cancelled_status (E18).
#[tokio::test]
async fn wait_whose_time_is_over_says_so_and_stops_nothing() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.plan(["1", "2", "3"].map(new_task).into()).await;
    client.claim(1).await.unwrap();
    client.set(3, Cancelled).await;

    let answer = client.try_wait(short(&[2, 1, 3, 2], All)).await.unwrap();

    // Each once, in the order asked.
    assert_eq!(ids_of(&answer.tasks), [2, 1, 3]);
    assert_eq!(statuses(&answer), [Pending, InProgress, Cancelled]);
    assert_eq!((answer.finished, answer.timed_out), (1, true));
    // Going away ends the wait too; the task stays. (Of a caller's own deadline its client and the
    // coordinator may tell first: see the tests of deadlines.)
    let left = waiting(&client, wait(&[1], All));
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    assert_eq!(client.get(1).await.status(), InProgress);
    client.set(1, Completed).await;
}

/// _any_returns_on_first_completion, _any_returns_on_first_failure, _all_still_waits_for_everything
/// (E18).
#[tokio::test]
async fn any_ends_with_the_first_end_whatever_it_is_and_all_with_the_last() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.plan(["1", "2", "3"].map(new_task).into()).await;
    let any = waiting(&client, wait(&[1, 2, 3], Any));
    let all = waiting(&client, wait(&[1, 2, 3], All));
    // What is not said is all.
    let unsaid = waiting(&client, wait(&[2, 1], WaitUntil::Unspecified));

    client.set(2, Failed).await;
    let any = heard(any).await;
    assert_eq!(statuses(&any), [Pending, Failed, Pending]);
    assert_eq!((any.finished, any.timed_out), (1, false));
    // One that is over already is enough, too.
    let met = client.try_wait(wait(&[1, 2], Any)).await.unwrap();
    assert_eq!((met.finished, met.timed_out), (1, false));

    client.set(1, Completed).await;
    let unsaid = heard(unsaid).await;
    assert_eq!(
        (statuses(&unsaid), unsaid.timed_out),
        (vec![Failed, Completed], false)
    );
    assert!(!all.is_finished());
    client.set(3, Cancelled).await;
    let all = heard(all).await;
    assert_eq!(statuses(&all), [Completed, Failed, Cancelled]);
    assert_eq!((all.finished, all.timed_out), (3, false));
}

/// TestWaitTasksIsolation (E11), test_wait_tasks_not_found (E18). Upstream a missing task is not
/// counted as running: here the call is refused, and nothing is waited for.
#[tokio::test]
async fn task_that_is_not_there_is_refused_rather_than_waited_for() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let other = cluster.client().team_of("other", &[]).await;
    client.plan(["1", "2"].map(new_task).into()).await;

    let info = refused(
        client.try_wait(wait(&[1, 9], Any)).await,
        Code::NotFound,
        "TASK_NOT_FOUND",
    );
    assert_eq!(
        (&info.metadata["task"][..], &info.metadata["team"][..]),
        ("9", "default")
    );
    // Another team's task of that number is none of this one.
    refused(
        other.try_wait(wait(&[1], Any)).await,
        Code::NotFound,
        "TASK_NOT_FOUND",
    );
    refused(
        client.try_wait(wait(&[], All)).await,
        Code::InvalidArgument,
        "FIELD_BLANK",
    );
    refused(
        client.try_wait(wait(&[0], All)).await,
        Code::InvalidArgument,
        "VALUE_INVALID",
    );

    // One that is deleted meanwhile ends the wait as well.
    let all = waiting(&client, wait(&[1, 2], All));
    client.set(2, Completed).await;
    client.try_delete(1).await.unwrap();
    let gone = patiently("the wait is over", all).await.unwrap();
    let info = refused(gone, Code::NotFound, "TASK_NOT_FOUND");
    assert_eq!(info.metadata["was_deleted"], "true");
}

/// K9: who waits is told when it is time to verify.
#[tokio::test]
async fn wait_tells_when_it_is_time_to_verify() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.plan(["1", "2", "3"].map(new_task).into()).await;
    client.set(1, Completed).await;
    client.set(2, Completed).await;
    let early = client.try_wait(wait(&[1, 2], All)).await.unwrap();

    client.set(3, Completed).await;
    let late = client.try_wait(wait(&[1, 2, 3], All)).await.unwrap();

    assert!(!early.verification_nudge_needed);
    assert!(late.verification_nudge_needed);
}

#[tokio::test]
async fn coordinator_that_stops_tells_those_who_wait() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.plan(vec![new_task("1")]).await;
    let wait = waiting(&client, wait(&[1], All));
    // It has begun to wait when the coordinator has taken the call.
    client.try_wait(short(&[1], All)).await.unwrap();

    cluster.coordinator.signal(rustix::process::Signal::TERM);

    let told = patiently("the wait is over", wait).await.unwrap();
    assert_eq!(told.unwrap_err().code(), Code::Unavailable);
    assert!(cluster.coordinator.end().await.success());
}
