//! Syncs, and what happens when the disk fails.

use super::*;
use crate::transcripts::disk::Fault;

fn fail_next(transcripts: &Transcripts, fault: Fault) {
    *transcripts.disk.fault.lock().unwrap() = Some(fault);
}

#[tokio::test]
async fn one_sync_serves_all_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    for task in 1..=50 {
        let records = records(1..=task, 10);
        transcripts.append(key(task), records).await.unwrap();
    }
    assert_eq!(transcripts.data_syncs(), 0);

    for task in 1..=50 {
        assert_eq!(transcripts.sync(key(task)).await.unwrap(), task);
    }

    assert_eq!(transcripts.data_syncs(), 1);
    let page = transcripts.read(key(50), 1, ALL).await.unwrap();
    assert_eq!(page.extent.synced_through, 50);
}

#[tokio::test]
async fn attempts_that_wait_together_share_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let (commands, waiting) = mpsc::channel(100);
    let mut answers = Vec::new();
    for task in 1..=20 {
        let (reply, _) = oneshot::channel();
        let append = Command::Append {
            key: key(task),
            records: records(1..=1, 10),
            reply,
        };
        commands.try_send(append).unwrap();
        let (reply, answer) = oneshot::channel();
        let sync = Command::Sync {
            key: key(task),
            reply,
        };
        commands.try_send(sync).unwrap();
        answers.push(answer);
    }

    let (disk, thread) = writer::spawn(folder.path(), small(), waiting).unwrap();

    for answer in answers {
        assert_eq!(answer.await.unwrap().unwrap(), 1);
    }
    // Segments of eight attempts: two were filled, and synced for that.
    assert_eq!(disk.data_syncs(), 3);
    drop(commands);
    thread.join().unwrap().unwrap();
}

#[tokio::test]
async fn group_is_synced_without_being_asked() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        sync_after: Duration::from_millis(1),
        ..small()
    };
    let transcripts = open(folder.path(), limits);
    let mut subscription = transcripts.watch(key(1)).await.unwrap();

    for seq in 1..=3 {
        transcripts
            .append(key(1), vec![record(seq, 10)])
            .await
            .unwrap();
        while subscription.changed().await.unwrap().synced_through < seq {}
    }

    assert_eq!(transcripts.data_syncs(), 3);
}

#[test]
fn default_timer_keeps_the_promised_second() {
    assert!(Limits::default().sync_after < Duration::from_secs(1));
}

#[tokio::test]
async fn full_disk_refuses_the_append_and_the_writer_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=3, 100))
        .await
        .unwrap();
    let bytes = fs::metadata(&files(folder.path(), "seg")[0]).unwrap().len();
    fail_next(&transcripts, Fault::Write);

    let failed = transcripts.append(key(1), records(4..=9, 100)).await;

    assert!(matches!(failed, Err(TranscriptError::Io { .. })));
    let segment = &files(folder.path(), "seg")[0];
    assert_eq!(fs::metadata(segment).unwrap().len(), bytes);
    assert_eq!(transcripts.kept_through(key(1)).await.unwrap(), 3);
    transcripts
        .append(key(2), records(1..=1, 100))
        .await
        .unwrap();
    transcripts
        .append(key(1), records(4..=9, 100))
        .await
        .unwrap();
    let crashed = crashed(folder.path());
    let after = open(crashed.path(), Limits::default());
    assert_eq!(read_all(&after, key(1)).await, kept(records(1..=9, 100)));
    assert_eq!(read_all(&after, key(2)).await, kept(records(1..=1, 100)));
}

#[tokio::test]
async fn full_disk_while_sealing_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    transcripts
        .append(key(1), records(1..=15, 200))
        .await
        .unwrap();
    fail_next(&transcripts, Fault::Write);

    let failed = transcripts.append(key(1), records(16..=19, 200)).await;

    assert!(matches!(failed, Err(TranscriptError::Io { .. })));
    assert!(files(folder.path(), "tmp").is_empty());
    assert!(files(folder.path(), "idx").is_empty());
    transcripts
        .append(key(1), records(16..=17, 100))
        .await
        .unwrap();
    let before = read_all(&transcripts, key(1)).await;
    assert_eq!(files(folder.path(), "idx").len(), 1);
    transcripts.stop().await;
    let transcripts = open(folder.path(), small());
    assert_eq!(read_all(&transcripts, key(1)).await, before);
    assert_eq!(transcripts.kept_through(key(1)).await.unwrap(), 17);
}

#[tokio::test]
async fn failed_sync_is_never_told_as_done_and_poisons_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=3, 100))
        .await
        .unwrap();
    let mut subscription = transcripts.watch(key(1)).await.unwrap();
    fail_next(&transcripts, Fault::Sync);

    let failed = transcripts.sync(key(1)).await;

    assert!(matches!(failed, Err(TranscriptError::Poisoned { .. })));
    assert_eq!(subscription.changed().await, None);
    assert_eq!(subscription.extent().synced_through, 0);
    let again = transcripts.sync(key(1)).await;
    assert!(matches!(again, Err(TranscriptError::Poisoned { .. })));
    let append = transcripts.append(key(2), records(1..=1, 1)).await;
    assert!(matches!(append, Err(TranscriptError::Poisoned { .. })));
    let read = transcripts.read(key(1), 1, ALL).await;
    assert!(matches!(read, Err(TranscriptError::Poisoned { .. })));
    let ended = transcripts.thread.join().unwrap();
    assert!(matches!(ended, Err(TranscriptError::Poisoned { .. })));
}

#[tokio::test]
async fn failed_sync_of_a_new_file_poisons_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    fail_next(&transcripts, Fault::Sync);

    let failed = transcripts.append(key(1), records(1..=1, 1)).await;

    assert!(matches!(failed, Err(TranscriptError::Poisoned { .. })));
    let again = transcripts.kept_through(key(1)).await;
    assert!(matches!(again, Err(TranscriptError::Poisoned { .. })));
}

#[tokio::test]
async fn shutdown_syncs_and_later_calls_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    let front = transcripts.transcripts.clone();
    front.append(key(1), records(1..=1, 1)).await.unwrap();

    transcripts.stop().await;

    assert_eq!(front.data_syncs(), 1);
    let late = front.append(key(1), records(2..=2, 1)).await;
    assert!(matches!(late, Err(TranscriptError::Stopped)));
}
