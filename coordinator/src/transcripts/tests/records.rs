//! Appending, reading and following.

use super::*;

#[tokio::test]
async fn records_are_read_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());

    let extent = transcripts
        .append(key(1), records(1..=5, 100))
        .await
        .unwrap();

    assert_eq!((extent.kept_through, extent.synced_through), (5, 0));
    let page = transcripts.read(key(1), 1, ALL).await.unwrap();
    assert_eq!(page.items, kept(records(1..=5, 100)));
    assert_eq!((page.next_seq, page.has_more), (6, false));
    assert_eq!(page.extent, extent);
    assert_eq!(transcripts.kept_through(key(1)).await.unwrap(), 5);
}

#[tokio::test]
async fn record_keeps_its_kind_call_name_and_status() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    let record = Record {
        kind: Kind::ToolCall,
        call_id: "toolu_017".into(),
        name: "bash".into(),
        status: Some(CallStatus::Running),
        ..record(1, 20)
    };

    transcripts
        .append(key(1), vec![record.clone()])
        .await
        .unwrap();
    transcripts.stop().await;

    let transcripts = open(folder.path(), Limits::default());
    assert_eq!(read_all(&transcripts, key(1)).await, kept(vec![record]));
}

#[tokio::test]
async fn attempt_without_records_makes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());

    transcripts.append(key(1), Vec::new()).await.unwrap();
    assert_eq!(transcripts.sync(key(1)).await.unwrap(), 0);
    assert_eq!(transcripts.kept_through(key(1)).await.unwrap(), 0);
    let page = transcripts.read(key(1), 1, ALL).await.unwrap();
    transcripts.watch(key(1)).await.unwrap();
    transcripts.close(key(1)).await.unwrap();

    assert!(page.items.is_empty() && !page.has_more);
    assert_eq!(transcripts.data_syncs(), 0);
    transcripts.stop().await;
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn replayed_records_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=3, 10))
        .await
        .unwrap();

    let again = transcripts
        .append(key(1), records(1..=3, 10))
        .await
        .unwrap();
    let overlapping = transcripts
        .append(key(1), records(2..=5, 10))
        .await
        .unwrap();

    assert_eq!((again.kept_through, overlapping.kept_through), (3, 5));
    assert_eq!(
        read_all(&transcripts, key(1)).await,
        kept(records(1..=5, 10))
    );
}

#[tokio::test]
async fn gap_is_refused_and_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=2, 10))
        .await
        .unwrap();

    let ahead = refusal(transcripts.append(key(1), records(4..=5, 10)).await);
    let within = vec![record(3, 10), record(5, 10)];
    let within = refusal(transcripts.append(key(1), within).await);
    let backwards = vec![record(3, 10), record(4, 10), record(4, 10)];
    let backwards = refusal(transcripts.append(key(1), backwards).await);
    let first = refusal(transcripts.append(key(2), records(2..=2, 10)).await);

    let gap = |expected, found| TranscriptRefusal::Gap { expected, found };
    assert_eq!(
        (ahead, within, backwards, first),
        (gap(3, 4), gap(4, 5), gap(5, 4), gap(1, 2))
    );
    assert_eq!(
        read_all(&transcripts, key(1)).await,
        kept(records(1..=2, 10))
    );
    assert_eq!(transcripts.kept_through(key(2)).await.unwrap(), 0);
}

#[tokio::test]
async fn record_at_the_limit_is_kept_and_one_byte_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    let bytes = RECORD_TEXT_BYTES_MAX + 1;

    transcripts
        .append(key(1), records(1..=2, bytes - 1))
        .await
        .unwrap();
    let refused = refusal(transcripts.append(key(1), records(3..=3, bytes)).await);

    assert_eq!(refused, TranscriptRefusal::RecordTooLarge { seq: 3, bytes });
    let items = read_all(&transcripts, key(1)).await;
    assert_eq!(items, kept(records(1..=2, bytes - 1)));
}

#[tokio::test]
async fn append_at_the_limit_is_kept_and_one_byte_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    let body = APPEND_BYTES_MAX / 32 - COUNTED_BYTES;
    let mut longer = records(1..=32, body);
    longer[7].text.push('x');

    let refused = refusal(transcripts.append(key(1), longer).await);
    transcripts
        .append(key(1), records(1..=32, body))
        .await
        .unwrap();

    let bytes = APPEND_BYTES_MAX + 1;
    assert_eq!(refused, TranscriptRefusal::AppendTooLarge { bytes });
    assert_eq!(transcripts.kept_through(key(1)).await.unwrap(), 32);
}

#[tokio::test]
async fn page_keeps_to_its_bounds_and_says_where_to_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=10, 44))
        .await
        .unwrap();
    let page = async |from_seq, items, bytes| {
        let bounds = PageBounds { items, bytes };
        let page = transcripts.read(key(1), from_seq, bounds).await.unwrap();
        (page.items.len(), page.next_seq, page.has_more)
    };

    assert_eq!(page(1, 4, usize::MAX).await, (4, 5, true));
    assert_eq!(page(5, usize::MAX, 399).await, (3, 8, true));
    assert_eq!(page(8, 3, 300).await, (3, 11, false));
    assert_eq!(page(1, 0, 0).await, (1, 2, true));
    assert_eq!(page(11, 5, 5).await, (0, 11, false));
    assert_eq!(page(u64::MAX, 5, 5).await, (0, u64::MAX, false));
    for items in 1..=11 {
        let bounds = PageBounds { items, bytes: 250 };
        let items = read_by(&transcripts, key(1), bounds).await;
        assert_eq!(items, kept(records(1..=10, 44)));
    }
}

#[tokio::test]
async fn interleaved_attempts_are_read_apart() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    for seq in 1..=20 {
        for task in 1..=20 {
            let records = vec![record(seq, task as usize)];
            transcripts.append(key(task), records).await.unwrap();
        }
    }

    for task in 1..=20 {
        let items = read_all(&transcripts, key(task)).await;
        assert_eq!(items, kept(records(1..=20, task as usize)));
    }
    assert!(files(folder.path(), "seg").len() > 4);
}

#[tokio::test]
async fn follower_reads_every_record_while_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        head_bytes: 1 << 20,
        ..small()
    };
    let transcripts = open(folder.path(), limits);
    let mut subscription = transcripts.watch(key(1)).await.unwrap();
    let front = transcripts.transcripts.clone();
    let writing = tokio::spawn(async move {
        for seq in 1..=500 {
            front.append(key(1), vec![record(seq, 60)]).await.unwrap();
            front.append(key(2), vec![record(seq, 60)]).await.unwrap();
        }
        front.sync(key(1)).await.unwrap();
    });

    let (mut items, mut from_seq) = (Vec::new(), 1);
    while let Some(extent) = subscription.changed().await {
        while from_seq <= extent.kept_through {
            let page = transcripts.read(key(1), from_seq, ALL).await.unwrap();
            items.extend(page.items);
            from_seq = page.next_seq;
        }
        if extent.synced_through == 500 {
            break;
        }
    }

    writing.await.unwrap();
    assert_eq!(items, kept(records(1..=500, 60)));
}

#[tokio::test]
async fn slow_follower_finds_only_the_newest_extent() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    let mut subscription = transcripts.watch(key(1)).await.unwrap();
    let mut second = transcripts.watch(key(1)).await.unwrap();
    for seq in 1..=100 {
        transcripts
            .append(key(1), vec![record(seq, 1)])
            .await
            .unwrap();
    }

    let extent = subscription.changed().await.unwrap();

    assert_eq!(extent.kept_through, 100);
    assert_eq!(second.extent(), extent);
    let none_left = tokio::time::timeout(Duration::ZERO, subscription.changed()).await;
    assert!(none_left.is_err());
}

#[tokio::test]
async fn closed_attempt_ends_its_followers_once_synced_and_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    let mut subscription = transcripts.watch(key(1)).await.unwrap();
    transcripts
        .append(key(1), records(1..=3, 10))
        .await
        .unwrap();

    transcripts.close(key(1)).await.unwrap();
    assert_eq!(subscription.changed().await.unwrap().synced_through, 0);
    transcripts.sync(key(1)).await.unwrap();

    assert_eq!(subscription.changed().await.unwrap().synced_through, 3);
    assert_eq!(subscription.changed().await, None);
    assert_eq!(
        read_all(&transcripts, key(1)).await,
        kept(records(1..=3, 10))
    );
    let replayed = transcripts.append(key(1), records(1..=4, 10)).await;
    assert_eq!(replayed.unwrap().kept_through, 4);
}
