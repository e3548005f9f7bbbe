//! What a sub-agent says, as it says it and afterwards.

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, HandWorker, Transcript, hello, programs, refused};
use tonic::Code;

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

/// A worker that is played by hand, at a task.
async fn at_work(client: &Client) -> (HandWorker, v1::Fence) {
    let mut hand = HandWorker::connect(client, hello("w")).await.unwrap();
    let request = v1::StartTaskRequest {
        agent_type: "by-hand".into(),
        prompt: "x".into(),
        ..v1::StartTaskRequest::default()
    };
    client.start_task(request).await;
    let fence = hand.assignment().await.fence.unwrap();
    assert!(hand.started(&fence).await.accepted);
    (hand, fence)
}

/// Says records of an attempt.
async fn say(hand: &mut HandWorker, fence: &v1::Fence, indices: &[i64], text: &str) {
    let record = |index: &i64| v1::TranscriptRecord {
        index: *index,
        kind: v1::TranscriptKind::Stdout.into(),
        text: text.into(),
        ..v1::TranscriptRecord::default()
    };
    let progress = v1::Progress {
        fence: Some(fence.clone()),
        records: indices.iter().map(record).collect(),
        doing: None,
    };
    let ack = hand.progress(progress).await;
    assert_eq!(Some(&ack.kept_through), indices.last());
}

fn page(after_index: i64, limit: i32) -> v1::WatchTranscriptRequest {
    v1::WatchTranscriptRequest {
        task_id: 1,
        after_index,
        limit,
        ..v1::WatchTranscriptRequest::default()
    }
}

#[tokio::test]
async fn page_of_a_transcript_ends_after_so_many_records_also_while_it_grows() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let (mut hand, fence) = at_work(&client).await;
    say(&mut hand, &fence, &[1, 2, 3, 4, 5], "line\n").await;

    let read = async |after, limit| {
        let mut transcript = client.transcript_of(page(after, limit)).await;
        while transcript.more().await.unwrap() {}
        indices(&transcript)
    };
    assert_eq!(read(0, 2).await, [1, 2]);
    assert_eq!(read(2, 2).await, [3, 4]);
    let there = v1::WatchTranscriptRequest {
        no_follow: true,
        ..page(4, 100)
    };
    let mut there = client.transcript_of(there).await;
    while there.more().await.unwrap() {}
    assert_eq!(indices(&there), [5]);

    // A page that is not full yet is filled as records come.
    let mut live = client.transcript_of(page(4, 3)).await;
    assert!(live.more().await.unwrap());
    assert_eq!(indices(&live), [5]);
    say(&mut hand, &fence, &[6, 7, 8, 9], "line\n").await;
    while live.more().await.unwrap() {}
    assert_eq!(indices(&live), [5, 6, 7]);
    assert!(hand.completed(&fence, "done").await.accepted);
    assert_eq!(read(7, 10).await, [8, 9]);

    let below = client.delegation().watch_transcript(page(0, -1)).await;
    refused(below, Code::InvalidArgument, "VALUE_INVALID");
}

#[tokio::test]
async fn long_transcript_is_cut_in_the_middle_and_says_so_also_after_a_restart() {
    const RECORDS: i64 = 400;
    let mut cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let (mut hand, fence) = at_work(&client).await;
    // 400 records of 60 KiB: half as much again as is kept.
    let text = "x".repeat(60 << 10);
    for index in 1..=RECORDS {
        say(&mut hand, &fence, &[index], &text).await;
    }
    assert!(hand.completed(&fence, "done").await.accepted);

    let mut whole = client.transcript(1).await;
    while whole.more().await.unwrap() {}
    let cuts = whole.records.iter();
    let cuts: Vec<_> = cuts
        .filter(|record| record.kind() == v1::TranscriptKind::Cut)
        .collect();
    let [cut] = cuts[..] else {
        panic!("{} cuts", cuts.len());
    };
    let kept: usize = whole.records.iter().map(|record| record.text.len()).sum();
    let at = whole.records.iter().position(|record| record == cut);
    let first_cut = at.unwrap() as i64 + 1;

    assert!(
        (15 << 20..=16 << 20).contains(&kept),
        "{kept} bytes are kept"
    );
    let said = format!("records {first_cut} to {}", cut.index);
    assert!(cut.text.starts_with(&said), "{}", cut.text);
    let expected: Vec<i64> = (1..first_cut).chain(cut.index..=RECORDS).collect();
    assert_eq!(indices(&whole), expected);

    cluster.crash_coordinator().await;
    let client = cluster.client();
    let mut again = client.transcript(1).await;
    while again.more().await.unwrap() {}
    assert_eq!(again.records, whole.records);
    // From within the cut on, it is still said.
    let mut within = client.transcript_of(page(first_cut + 1, 2)).await;
    while within.more().await.unwrap() {}
    assert_eq!(indices(&within), [cut.index, cut.index + 1]);
}
