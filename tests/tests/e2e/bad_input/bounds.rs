//! The bounds of calls that are not about a field of a new task: at each, and one past it.

use ganger_proto::v1::{
    self, ClaimNextTaskRequest, ListTasksRequest, NewTask, TaskOrder,
    TaskStatus::{Completed, InProgress},
    UpdateTaskRequest, WaitTasksRequest,
};
use ganger_tests::{Client, Cluster, ids_of, new_task, programs, refused};
use pbjson_types::Duration;
use tonic::{Code::InvalidArgument, Status};

use super::{KIB, text, update};

const LONG: &str = "FIELD_TOO_LONG";
const MANY: &str = "TOO_MANY";
const VALUE: &str = "VALUE_INVALID";

const DAY: i64 = 24 * 3_600;

fn span(seconds: i64, nanos: i32) -> Option<Duration> {
    Some(Duration { seconds, nanos })
}

#[track_caller]
fn past<T: std::fmt::Debug>(answer: Result<T, Status>, reason: &str, field: &str) {
    let info = refused(answer, InvalidArgument, reason);
    assert_eq!(info.metadata["field"], field);
}

async fn with_tasks(count: usize) -> (Cluster, Client) {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client
        .plan((0..count).map(|_| new_task("t")).collect())
        .await;
    (cluster, client)
}

async fn claim_next(
    client: &Client,
    request: ClaimNextTaskRequest,
) -> Result<Option<v1::Task>, Status> {
    let claimed = client.task().claim_next_task(request).await?;
    Ok(claimed.into_inner().task)
}

#[tokio::test]
async fn leases_are_taken_from_a_second_to_a_week_also_where_nothing_is_ready() {
    let (_cluster, client) = with_tasks(6).await;
    let next = |lease| ClaimNextTaskRequest {
        lease,
        ..ClaimNextTaskRequest::default()
    };
    let bad = [
        span(0, 999_999_999),
        span(7 * DAY, 1),
        span(0, 0),
        span(i64::MAX, 0),
    ];
    let no_span = [
        span(-1, 0),
        span(1, -1),
        span(1, 1_000_000_000),
        span(i64::MIN, i32::MIN),
    ];

    for lease in bad.into_iter().chain(no_span) {
        println!("{lease:?}");
        past(client.claim_for(1, lease).await, VALUE, "lease");
        past(claim_next(&client, next(lease)).await, VALUE, "lease");
    }
    let both = ClaimNextTaskRequest {
        no_lease: true,
        ..next(span(60, 0))
    };
    past(claim_next(&client, both).await, VALUE, "no_lease");
    assert_eq!(
        ids_of(&client.list(|list| list.ready = Some(true)).await),
        [1, 2, 3, 4, 5, 6]
    );

    for (id, lease) in [(1, span(1, 0)), (2, span(7 * DAY, 0))] {
        let until = client.claim_for(id, lease).await.unwrap().lease_until;
        assert!(until.is_some());
    }
    for lease in [span(1, 0), span(7 * DAY, 0)] {
        assert!(claim_next(&client, next(lease)).await.unwrap().is_some());
    }
    for id in [5, 6] {
        client.set(id, Completed).await;
    }
    for lease in bad {
        past(claim_next(&client, next(lease)).await, VALUE, "lease");
    }
}

#[tokio::test]
async fn wanted_labels_and_the_text_of_a_search_are_bounded() {
    let (_cluster, client) = with_tasks(1).await;
    let labels = |count: usize| ClaimNextTaskRequest {
        labels: (0..count).map(|n| n.to_string()).collect(),
        ..ClaimNextTaskRequest::default()
    };
    assert_eq!(claim_next(&client, labels(64)).await.unwrap(), None);
    past(claim_next(&client, labels(65)).await, MANY, "labels");

    // Characters, as they are written: in lower case some are two.
    for sign in ["x", "ä", "\u{130}", "\u{1f4a5}"] {
        let search = |count| ListTasksRequest {
            text: sign.repeat(count),
            ..ListTasksRequest::default()
        };
        assert_eq!(client.try_list(search(200)).await.unwrap().tasks, []);
        past(client.try_list(search(201)).await, LONG, "text");
    }
}

#[tokio::test]
async fn what_a_retry_may_say_is_bounded_when_making_and_when_changing() {
    let (_cluster, client) = with_tasks(1).await;
    let retry = |max_attempts, initial_backoff, max_backoff| v1::RetryPolicy {
        max_attempts,
        initial_backoff,
        max_backoff,
    };
    let good = [
        retry(1, None, None),
        retry(100, span(DAY, 0), span(DAY, 0)),
        retry(2, span(0, 0), span(0, 0)),
    ];
    let bad = [
        ("retry.max_attempts", retry(0, None, None)),
        ("retry.max_attempts", retry(101, None, None)),
        ("retry.max_attempts", retry(-1, None, None)),
        ("retry.initial_backoff", retry(2, span(DAY, 1), None)),
        ("retry.max_backoff", retry(2, None, span(DAY, 1))),
        ("retry.initial_backoff", retry(2, span(-1, 0), None)),
        ("retry.max_backoff", retry(2, None, span(0, -1))),
    ];
    for retry in good {
        let changed = client.update(1, |update| update.retry = Some(retry)).await;
        let told = changed.task.unwrap().retry.unwrap();
        assert_eq!(told.max_attempts, retry.max_attempts);
        let made = NewTask {
            retry: Some(retry),
            ..new_task("t")
        };
        client.plan(vec![made]).await;
    }
    let before = client.list(|_| {}).await;
    for (field, retry) in bad {
        println!("{retry:?}");
        let changed = client
            .try_update(1, |update| update.retry = Some(retry))
            .await;
        past(changed, VALUE, field);
        let made = v1::CreateTaskRequest {
            subject: "t".into(),
            retry: Some(retry),
            ..v1::CreateTaskRequest::default()
        };
        past(client.task().create_task(made).await, VALUE, field);
    }
    assert_eq!(client.list(|_| {}).await, before);
}

#[tokio::test]
async fn batches_and_waits_take_a_thousand_and_no_more() {
    let (_cluster, client) = with_tasks(1_000).await;
    client.plan(vec![new_task("one more")]).await;
    let batch = |ids: std::ops::RangeInclusive<u64>| v1::BatchUpdateTasksRequest {
        updates: ids
            .map(|id| UpdateTaskRequest {
                status: Completed.into(),
                ..update(id)
            })
            .collect(),
        ..v1::BatchUpdateTasksRequest::default()
    };
    let wait = |ids: std::ops::RangeInclusive<u64>| WaitTasksRequest {
        task_ids: ids.collect(),
        ..WaitTasksRequest::default()
    };
    let mut tasks = client.task();

    past(
        tasks.batch_update_tasks(batch(1..=1_001)).await,
        MANY,
        "updates",
    );
    past(
        tasks
            .batch_update_tasks(v1::BatchUpdateTasksRequest::default())
            .await,
        "FIELD_BLANK",
        "updates",
    );
    assert_eq!(client.list(|list| list.status = Completed.into()).await, []);
    let done = tasks.batch_update_tasks(batch(1..=1_000)).await.unwrap();
    assert_eq!(done.into_inner().updates.len(), 1_000);
    past(client.try_wait(wait(1..=1_001)).await, MANY, "task_ids");
    let waited = client.try_wait(wait(1..=1_000)).await.unwrap();
    assert_eq!((waited.finished, waited.tasks.len()), (1_000, 1_000));
    // A batch is one commit, and says of whom it speaks once.
    for change in [
        (|u| u.team = "default".into()) as fn(&mut UpdateTaskRequest),
        |u| u.request_id = "6f2b3c54-2d6e-4f55-9d57-3d1c3e0c9a11".into(),
    ] {
        let mut own = batch(1_001..=1_001);
        change(&mut own.updates[0]);
        past(tasks.batch_update_tasks(own).await, VALUE, "updates");
    }
    assert_eq!(client.get(1_001).await.status(), v1::TaskStatus::Pending);
}

#[tokio::test]
async fn reasons_and_what_an_update_adds_are_bounded() {
    let (_cluster, client) = with_tasks(2).await;
    client.set(2, InProgress).await;
    let note = 4 * KIB;
    let mut tasks = client.task();
    let mut delegation = client.delegation();
    macro_rules! bounded {
        ($($client:ident.$call:ident($request:ident { task_id: $id:literal }));* $(;)?) => {$(
            let say = |len| v1::$request {
                task_id: $id,
                reason: text(len),
                ..v1::$request::default()
            };
            past($client.$call(say(note + 1)).await, LONG, "reason");
            $client.$call(say(note)).await.unwrap();
        )*};
    }
    bounded! {
        delegation.pause_task(PauseTaskRequest { task_id: 1 });
        tasks.release_task(ReleaseTaskRequest { task_id: 2 });
        delegation.cancel_task(CancelTaskRequest { task_id: 2 });
        tasks.reopen_task(ReopenTaskRequest { task_id: 2 });
    }

    type Change = fn(&mut UpdateTaskRequest, usize);
    let bounds: [(usize, &str, &str, Change); 7] = [
        (256 * KIB, LONG, "prompt", |u, len| {
            u.prompt = Some(text(len))
        }),
        (500, LONG, "active_form", |u, len| {
            u.active_form = Some(text(len))
        }),
        (100, LONG, "add_labels", |u, len| {
            u.add_labels = vec!["ä".repeat(len)]
        }),
        (63, MANY, "labels", |u, len| {
            u.add_labels = (0..len).map(|n| n.to_string()).collect();
        }),
        (30 * DAY as usize, VALUE, "timeout", |u, len| {
            u.timeout = span(len as i64, 0)
        }),
        (1_000, MANY, "remove_blocked_by", |u, len| {
            u.remove_blocked_by = (2..2 + len as u64).collect();
        }),
        (note, LONG, "reason", |u, len| u.reason = text(len)),
    ];
    for (max, reason, field, change) in bounds {
        println!("{field}");
        past(
            client.try_update(1, |update| change(update, max + 1)).await,
            reason,
            field,
        );
        client.update(1, |update| change(update, max)).await;
    }
    let blank = client.try_update(1, |update| update.add_labels = vec![" ".into()]);
    past(blank.await, "FIELD_BLANK", "add_labels");
    let both = client.try_update(1, |update| {
        update.clear_deadline = true;
        update.deadline = Some(pbjson_types::Timestamp {
            seconds: 4_102_444_800,
            nanos: 0,
        });
    });
    past(both.await, VALUE, "clear_deadline");
}

#[tokio::test]
async fn pages_have_a_thousand_at_the_most_and_go_on_only_where_one_ended() {
    let (_cluster, client) = with_tasks(1_000).await;
    let child = NewTask {
        parent_task_id: 1,
        ..new_task("child")
    };
    client.plan(vec![child, new_task("last")]).await;
    let list = |order: TaskOrder, page_size, page_token: &str| ListTasksRequest {
        order: order.into(),
        page_size,
        page_token: page_token.into(),
        ..ListTasksRequest::default()
    };
    let orders = [TaskOrder::Id, TaskOrder::Priority, TaskOrder::Tree];

    for order in orders {
        // More than a thousand is no error: there are as many as there may be.
        for (size, len) in [(0, 50), (1_000, 1_000), (1_001, 1_000), (i32::MAX, 1_000)] {
            let page = client.try_list(list(order, size, "")).await.unwrap();
            assert_eq!(page.tasks.len(), len, "{order:?} {size}");
            assert_ne!(page.next_page_token, "");
        }
        past(
            client.try_list(list(order, -1, "")).await,
            VALUE,
            "page_size",
        );
        for token in [
            "x",
            "-1",
            "7:",
            ":7",
            "high:x",
            "high:-1",
            "High:7",
            "1.0",
            " 7",
            "\u{1f4a5}",
        ] {
            println!("{order:?} {token}");
            past(
                client.try_list(list(order, 0, token)).await,
                VALUE,
                "page_token",
            );
        }
    }
    // A token is of the order that answered it.
    for (order, other) in [
        (TaskOrder::Id, "normal:7"),
        (TaskOrder::Tree, "normal:7"),
        (TaskOrder::Id, "over:7"),
        (TaskOrder::Tree, "over:7"),
        (TaskOrder::Priority, "7"),
    ] {
        println!("{order:?} {other}");
        past(
            client.try_list(list(order, 0, other)).await,
            VALUE,
            "page_token",
        );
    }
}

#[tokio::test]
async fn pages_of_teams_members_and_workers_go_on_only_where_one_ended() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client().team_of("red", &["alice", "bob"]).await;
    let (mut teams, mut fleet) = (client.team(), client.fleet());
    macro_rules! token_is_checked {
        ($client:ident.$call:ident($request:ident), $reason:ident, $bad:expr) => {
            for token in $bad {
                println!("{} {token:?}", stringify!($call));
                let list = v1::$request {
                    page_token: token.into(),
                    ..v1::$request::default()
                };
                past($client.$call(list).await, $reason, "page_token");
            }
            let bad_size = v1::$request {
                page_size: -1,
                ..v1::$request::default()
            };
            past($client.$call(bad_size).await, VALUE, "page_size");
        };
    }
    const NAME: &str = "NAME_INVALID";
    let names = ["a b", "../x", "\u{1f4a5}", "-x", &text(65)];
    let places = [
        "x", "red", "red/", "/1", "red/x", "red/-1", "a b/1", "red/1/1",
    ];
    token_is_checked!(teams.list_teams(ListTeamsRequest), VALUE, places);
    token_is_checked!(teams.list_members(ListMembersRequest), NAME, names);
    token_is_checked!(fleet.list_workers(ListWorkersRequest), NAME, names);

    let mut told = Vec::new();
    let mut request = v1::ListMembersRequest {
        page_size: 1,
        ..v1::ListMembersRequest::default()
    };
    loop {
        let page = teams
            .list_members(request.clone())
            .await
            .unwrap()
            .into_inner();
        told.extend(page.members.into_iter().map(|member| member.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(told, ["alice", "bob", "team-lead"]);
}

/// A page that ended at a task which is deleted since: by id nothing is lost, and the tree, whose
/// place is gone with the task, says so.
#[tokio::test]
async fn list_whose_place_was_deleted_goes_on_or_says_that_it_can_not() {
    let (_cluster, client) = with_tasks(6).await;
    for order in [TaskOrder::Id, TaskOrder::Priority, TaskOrder::Tree] {
        let mut request = ListTasksRequest {
            order: order.into(),
            page_size: 2,
            ..ListTasksRequest::default()
        };
        let all = ids_of(&client.list(|list| list.order = order.into()).await);
        let page = client.try_list(request.clone()).await.unwrap();
        let last = page.tasks.last().unwrap().id;
        client.try_delete(last).await.unwrap();
        request.page_token = page.next_page_token;
        request.page_size = 50;
        let rest = client.try_list(request).await;

        if order == TaskOrder::Tree {
            past(rest, VALUE, "page_token");
        } else {
            assert_eq!(ids_of(&rest.unwrap().tasks), all[2..], "{order:?}");
        }
    }
    // Nor does a place beside what is listed lead anywhere.
    let below = ListTasksRequest {
        order: TaskOrder::Tree.into(),
        parent_task_id: 1,
        page_token: "5".into(),
        ..ListTasksRequest::default()
    };
    past(client.try_list(below).await, VALUE, "page_token");
}
