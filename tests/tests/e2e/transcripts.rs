//! What a sub-agent says, as it says it and afterwards.

use ganger_proto::v1;
use ganger_tests::{Cluster, Transcript, programs};

fn indices(transcript: &Transcript) -> Vec<i64> {
    transcript
        .records
        .iter()
        .map(|record| record.index)
        .collect()
}

#[tokio::test]
async fn transcript_is_live_and_whole_afterwards_and_resumes_from_an_index() {
    let mut cluster = Cluster::start(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let _worker = cluster.worker("w1").await;
    let script = format!("echo one; {0}; echo two >&2; {0}; echo three", gate.wait());

    let task = client.start(&script).await;
    let mut live = client.transcript(task.id).await;
    live.said("one").await;
    assert!(!live.text().contains("two"));
    gate.open();
    live.said("two").await;
    let seen = live.records.last().unwrap().index;
    assert_eq!(
        client.get(task.id).await.status(),
        v1::TaskStatus::InProgress
    );
    gate.open();
    while live.more().await.unwrap() {}
    assert_eq!(
        client.ended(task.id).await.status(),
        v1::TaskStatus::Completed
    );

    let mut whole = client.transcript(task.id).await;
    while whole.more().await.unwrap() {}
    let request = v1::WatchTranscriptRequest {
        task_id: task.id,
        after_index: seen,
        ..v1::WatchTranscriptRequest::default()
    };
    let mut rest = client.transcript_of(request).await;
    while rest.more().await.unwrap() {}

    assert_eq!(live.records, whole.records);
    let expected: Vec<i64> = (1..=whole.records.len() as i64).collect();
    assert_eq!(indices(&whole), expected);
    assert_eq!(rest.records, whole.records[seen as usize..]);
    let of_kind = |kind| {
        let records = whole.records.iter().filter(|record| record.kind() == kind);
        records.map(|record| &record.text[..]).collect::<String>()
    };
    assert_eq!(of_kind(v1::TranscriptKind::Stdout), "one\nthree\n");
    assert_eq!(of_kind(v1::TranscriptKind::Stderr), "two\n");

    // A crash after the end takes nothing away.
    cluster.crash_coordinator().await;
    let mut again = cluster.client().transcript(task.id).await;
    while again.more().await.unwrap() {}
    assert_eq!(again.records, whole.records);
}

#[tokio::test]
async fn transcript_goes_on_over_a_crash_of_the_coordinator_without_gap_or_repeat() {
    let mut cluster = Cluster::start(programs!()).await;
    let gate = cluster.gate("g");
    let worker = cluster.worker("w1").await;
    let count = "n=0; while [ $n -lt 200 ]; do n=$((n+1)); echo line $n; done";
    let script = format!("{count}; {}; echo last", gate.wait());

    let task = cluster.client().start(&script).await;
    let mut live = cluster.client().transcript(task.id).await;
    live.said("line 200").await;
    let lines = worker.log_len();
    cluster.coordinator.kill().await;
    assert!(live.more().await.is_err());
    gate.open();
    cluster.restart_coordinator().await;
    worker.logged_after(lines, "connected coordinator").await;
    let client = cluster.client();
    assert_eq!(client.ended(task.id).await.attempt_count, 1);

    let mut whole = client.transcript(task.id).await;
    while whole.more().await.unwrap() {}
    let expected: Vec<i64> = (1..=whole.records.len() as i64).collect();
    assert_eq!(indices(&whole), expected);
    let said: Vec<String> = (1..=200)
        .map(|n| format!("line {n}"))
        .chain(["last".to_owned()])
        .collect();
    let text = whole.text();
    assert_eq!(text.lines().collect::<Vec<_>>(), said);
    // What was told before the crash is still so.
    assert_eq!(whole.records[..live.records.len()], live.records[..]);
}
