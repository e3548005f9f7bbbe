//! A team's events: no gap, no repeat, whatever happens to the coordinator.

use ganger_proto::v1;
use ganger_tests::{Cluster, Watch, programs, refused};
use tonic::Code;

fn revisions(watch: &Watch) -> Vec<u64> {
    watch.events.iter().map(|event| event.revision).collect()
}

fn subject(text: &str) -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        subject: text.into(),
        ..v1::CreateTaskRequest::default()
    }
}

#[tokio::test]
async fn watch_resumes_after_a_crash_at_its_last_revision_without_gap_or_repeat() {
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let mut before = client.watch().await;
    for at in 0..20 {
        client.create(subject(&format!("task {at}"))).await;
    }
    before.until(20, v1::EventType::TaskCreated).await;

    cluster.coordinator.kill().await;
    let status = loop {
        if let Err(status) = before.more().await {
            break status;
        }
    };
    assert!(
        matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Internal
        ),
        "{status:?}"
    );
    cluster.restart_coordinator().await;
    let client = cluster.client();
    let seen = before.events.last().unwrap().revision;
    let mut after = client.watch_after(seen).await;
    for at in 20..40 {
        client.create(subject(&format!("task {at}"))).await;
    }
    after.until(40, v1::EventType::TaskCreated).await;

    let together: Vec<u64> = [revisions(&before), revisions(&after)].concat();
    assert_eq!(together, (1..=together.len() as u64).collect::<Vec<_>>());
    let mut whole = client.watch().await;
    whole.until(40, v1::EventType::TaskCreated).await;
    assert_eq!(whole.events, [before.events, after.events].concat());
}

#[tokio::test]
async fn watch_from_now_on_tells_where_it_begins_and_then_only_what_is_new() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    client.create(subject("old")).await;

    let answer = client
        .team()
        .watch_team(v1::WatchTeamRequest::default())
        .await;
    let mut stream = answer.unwrap().into_inner();
    let first = ganger_tests::patiently("the first word", stream.message())
        .await
        .unwrap()
        .unwrap();
    assert!(
        first.events.is_empty() && first.revision > 0 && first.team_uid > 0,
        "{first:?}"
    );
    let new = client.create(subject("new")).await;
    let second = ganger_tests::patiently("an event", stream.message())
        .await
        .unwrap()
        .unwrap();

    assert_eq!(second.events.len(), 1);
    assert_eq!(
        (second.events[0].task_id, second.events[0].revision),
        (new.id, first.revision + 1)
    );
}

#[tokio::test]
async fn many_watchers_see_the_same_while_the_board_is_busy() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let watchers = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut watch = client.watch().await;
            watch.until(300, v1::EventType::TaskCreated).await;
            watch.events
        })
    });
    let watchers: Vec<_> = watchers.collect();
    let makers = (0..6).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            for at in 0..50 {
                client.create(subject(&at.to_string())).await;
            }
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        maker.await.unwrap();
    }

    let mut seen = Vec::new();
    for watcher in watchers {
        seen.push(watcher.await.unwrap());
    }
    let shortest = seen.iter().map(Vec::len).min().unwrap();
    for events in &seen {
        assert_eq!(events[..shortest], seen[0][..shortest]);
        let revisions: Vec<u64> = events.iter().map(|event| event.revision).collect();
        assert_eq!(revisions, (1..=events.len() as u64).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn coordinator_that_stops_tells_its_watchers_so() {
    let mut cluster = Cluster::start(programs!()).await;
    let mut watch = cluster.client().watch().await;
    watch.more().await.unwrap();

    cluster.coordinator.signal(rustix::process::Signal::TERM);
    let status = loop {
        if let Err(status) = watch.more().await {
            break status;
        }
    };

    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(ganger_tests::error_info(&status).reason, "SHUTTING_DOWN");
    assert!(cluster.coordinator.end().await.success());
}

#[tokio::test]
async fn watch_from_a_revision_that_is_not_kept_is_refused_with_the_oldest_that_is() {
    let cluster = Cluster::with(programs!(), &["--events-kept", "100"]).await;
    let client = cluster.client();
    for at in 0..300 {
        client.create(subject(&at.to_string())).await;
    }

    let oldest = ganger_tests::patiently("old events are forgotten", async {
        loop {
            let team = client.get_team().await.unwrap();
            if team.oldest_revision > 1 {
                return team.oldest_revision;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let from_the_first = v1::WatchTeamRequest {
        after_revision: Some(0),
        ..v1::WatchTeamRequest::default()
    };
    let answer = client.team().watch_team(from_the_first).await;
    let info = refused(answer, Code::FailedPrecondition, "REVISION_GONE");
    let told: u64 = info.metadata["oldest_revision"].parse().unwrap();
    let mut rest = client.watch_after(told - 1).await;
    rest.more().await.unwrap();

    // More may have been forgotten since.
    assert!(told >= oldest);
    assert_eq!(info.metadata["after_revision"], "0");
    assert_eq!(rest.events[0].revision, told);
}

/// A position is a team's uid and a revision: another team of the name has other events.
#[tokio::test]
async fn watch_of_a_team_that_was_replaced_is_refused() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client().in_team("t");
    let first = client.create_team("t", []).await;
    let resume = v1::WatchTeamRequest {
        after_revision: Some(1),
        team_uid: first.uid,
        ..v1::WatchTeamRequest::default()
    };
    client.team().watch_team(resume.clone()).await.unwrap();
    client.dissolve(false).await.unwrap();
    // The end of a team is one of its events.
    client.team().watch_team(resume.clone()).await.unwrap();

    client.create_team("t", []).await;
    let replaced = client.team().watch_team(resume).await;

    refused(replaced, Code::FailedPrecondition, "TEAM_REPLACED");
}
