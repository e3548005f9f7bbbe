//! Watchers that don't take what comes: cut off, told from where to go on, and never the
//! coordinator's burden.

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, error_info, patiently, proc, programs};
use tonic::{Code, Streaming};

/// Puts so many tasks on the board, each with a subject as long as may be.
async fn busy(client: &Client, batches: usize) {
    for _ in 0..batches {
        let task = v1::NewTask {
            subject: "x".repeat(500),
            ..v1::NewTask::default()
        };
        let request = v1::BatchCreateTasksRequest {
            tasks: vec![task; 1_000],
            ..v1::BatchCreateTasksRequest::default()
        };
        let mut client = client.task();
        let answer = client.batch_create_tasks(request);
        patiently("BatchCreateTasks", answer).await.unwrap();
    }
}

async fn watch(client: &Client, after: u64) -> Streaming<v1::WatchTeamResponse> {
    let request = v1::WatchTeamRequest {
        after_revision: Some(after),
        ..v1::WatchTeamRequest::default()
    };
    let answer = patiently("WatchTeam", client.team().watch_team(request)).await;
    answer.unwrap().into_inner()
}

/// Takes what comes up to the end of the stream, or up to a revision.
async fn take(
    stream: &mut Streaming<v1::WatchTeamResponse>,
    until: u64,
    seen: &mut Vec<u64>,
) -> Result<(), tonic::Status> {
    while seen.last().copied().unwrap_or_default() < until {
        let answer = patiently("events", stream.message()).await?.unwrap();
        seen.extend(answer.events.iter().map(|event| event.revision));
        if let Some(last) = seen.last() {
            assert_eq!(answer.revision, *last);
        }
    }
    Ok(())
}

#[tokio::test]
async fn watcher_that_takes_nothing_is_cut_off_and_told_from_where_to_go_on() {
    let cluster = Cluster::with(programs!(), &["--watch-patience", "1s"]).await;
    let client = cluster.client();
    let slow = Client::narrow(&cluster.address());
    let mut stalled = watch(&slow, 0).await;
    let mut reading = watch(&client, 0).await;

    busy(&client, 2).await;
    cluster
        .coordinator
        .logged("a watcher took nothing for long")
        .await;
    let latest = client.get_team().await.unwrap().revision;
    let mut seen = Vec::new();
    let status = take(&mut stalled, latest, &mut seen).await.unwrap_err();

    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let info = error_info(&status);
    assert_eq!(info.reason, "WATCHER_SLOW");
    let told: u64 = info.metadata["after_revision"].parse().unwrap();
    assert_eq!(Some(&told), seen.last(), "it is told what it got");
    assert!(told < latest);
    let mut rest = watch(&client, told).await;
    take(&mut rest, latest, &mut seen).await.unwrap();
    assert_eq!(seen, (1..=latest).collect::<Vec<_>>());
    // Who took what came was not disturbed.
    let mut all = Vec::new();
    take(&mut reading, latest, &mut all).await.unwrap();
    assert_eq!(all, seen);
}

/// Each of them would have some 14 MB waiting.
#[tokio::test]
async fn a_hundred_watchers_that_take_nothing_hardly_weigh() {
    let cluster = Cluster::with(programs!(), &["--watch-patience", "1s"]).await;
    let client = cluster.client();
    let mut stalled = Vec::new();
    for _ in 0..5 {
        let slow = Client::narrow(&cluster.address());
        for _ in 0..20 {
            stalled.push(watch(&slow, 0).await);
        }
    }
    // What the board itself weighs doesn't count: it has most of it by then.
    busy(&client, 10).await;
    let before = proc::rss_kib(cluster.coordinator.pid());

    busy(&client, 10).await;
    let after = proc::rss_kib(cluster.coordinator.pid());

    let grown = after.saturating_sub(before) >> 10;
    assert!(grown < 100, "{grown} MiB for {} watchers", stalled.len());
    let latest = client.get_team().await.unwrap().revision;
    let mut seen = Vec::new();
    let status = take(&mut stalled[99], latest, &mut seen).await.unwrap_err();
    assert_eq!(error_info(&status).reason, "WATCHER_SLOW");
}
