//! Forgetting attempts.

use super::*;

async fn fill(transcripts: &Transcripts) {
    for seq in 1..=8 {
        for task in 1..=10 {
            let records = vec![record(seq, 200)];
            transcripts.append(key(task), records).await.unwrap();
        }
    }
}

#[tokio::test]
async fn removed_attempts_are_gone_for_good_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut transcripts = open(folder.path(), small());
    fill(&transcripts).await;
    let removed: Vec<_> = [9, 2, 5, 77].map(key).to_vec();

    transcripts.remove(removed.clone()).await.unwrap();
    transcripts.remove(removed).await.unwrap();

    for _ in 0..2 {
        for task in 1..=10 {
            let items = read_all(&transcripts, key(task)).await;
            let is_removed = [9, 2, 5].contains(&task);
            let expected = if is_removed { 0 } else { 8 };
            assert_eq!(items, kept(records(1..=expected, 200)));
        }
        transcripts.stop().await;
        transcripts = open(folder.path(), small());
    }
}

#[tokio::test]
async fn segments_of_which_all_is_removed_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    fill(&transcripts).await;
    assert!(files(folder.path(), "seg").len() > 3);

    transcripts
        .remove((1..=10).map(key).collect())
        .await
        .unwrap();

    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    fill(&transcripts).await;
    let items = read_all(&transcripts, key(3)).await;
    assert_eq!(items, kept(records(1..=8, 200)));
}

#[tokio::test]
async fn removal_ends_followers() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    transcripts
        .append(key(1), records(1..=1, 10))
        .await
        .unwrap();
    let mut subscription = transcripts.watch(key(1)).await.unwrap();

    transcripts.remove(vec![key(1)]).await.unwrap();

    assert_eq!(subscription.changed().await, None);
    assert_eq!(transcripts.sync(key(1)).await.unwrap(), 0);
}

#[tokio::test]
async fn segment_of_removed_and_cut_records_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    // Of the loud attempt nothing is kept between its head and its tail; the quiet one holds a
    // segment there.
    for seq in 1..=200 {
        let records = vec![record(seq, 44)];
        transcripts.append(key(1), records).await.unwrap();
        if seq == 100 {
            transcripts
                .append(key(2), vec![record(1, 44)])
                .await
                .unwrap();
        }
    }
    let before = read_all(&transcripts, key(1)).await;
    let held = files(folder.path(), "seg").len();

    transcripts.remove(vec![key(2)]).await.unwrap();

    assert_eq!(files(folder.path(), "seg").len(), held - 1);
    assert_eq!(read_all(&transcripts, key(1)).await, before);
}
