//! The bound of an attempt, and the cut.

use super::*;

/// Appends records that are counted with 100 bytes one by one.
async fn fill(transcripts: &Transcripts, key: AttemptKey, seqs: std::ops::RangeInclusive<u64>) {
    for record in records(seqs, TEXT_OF_100) {
        transcripts.append(key, vec![record]).await.unwrap();
    }
}

fn the_cut(items: &[Item]) -> Cut {
    let mut cuts = items.iter().filter_map(|it| match it {
        Item::Cut(cut) => Some(*cut),
        Item::Record(_) | Item::Damaged(_) => None,
    });
    let cut = cuts.next().expect("a cut");
    assert_eq!(cuts.next(), None);
    cut
}

#[tokio::test]
async fn transcript_within_its_bounds_is_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());

    fill(&transcripts, key(1), 1..=40).await;

    let items = read_all(&transcripts, key(1)).await;
    assert_eq!(items, kept(records(1..=40, TEXT_OF_100)));
}

#[tokio::test]
async fn longer_transcript_is_cut_in_the_middle_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());

    fill(&transcripts, key(1), 1..=200).await;

    let items = read_all(&transcripts, key(1)).await;
    let cut = the_cut(&items);
    // 2,048 bytes of head hold 20 records; the tail loses chunks of 5 when it passes 2,048.
    assert_eq!(cut.from_seq, 21);
    assert!((180..185).contains(&cut.to_seq), "{cut:?}");
    assert_eq!(cut.bytes, (cut.to_seq - 20) * 44);
    let mut expected = kept(records(1..=20, TEXT_OF_100));
    expected.push(Item::Cut(cut));
    expected.extend(kept(records(cut.to_seq + 1..=200, TEXT_OF_100)));
    assert_eq!(items, expected);
    assert_eq!(transcripts.kept_through(key(1)).await.unwrap(), 200);
}

#[tokio::test]
async fn cut_is_the_same_after_reopening_and_for_any_page() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    fill(&transcripts, key(1), 1..=333).await;
    let before = read_all(&transcripts, key(1)).await;
    transcripts.stop().await;

    let transcripts = open(folder.path(), small());

    for items in [1, 2, 7, 20, 21, 1000] {
        let bounds = PageBounds { items, bytes: 900 };
        assert_eq!(read_by(&transcripts, key(1), bounds).await, before);
    }
    let cut = the_cut(&before);
    for from_seq in [cut.from_seq, cut.from_seq + 1, cut.to_seq] {
        let page = transcripts.read(key(1), from_seq, ALL).await.unwrap();
        assert_eq!(page.items[0], Item::Cut(cut));
        assert_eq!(page.items[1..], before[21..]);
    }
}

#[tokio::test]
async fn reader_overtaken_by_the_cut_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    fill(&transcripts, key(1), 1..=30).await;
    let bounds = PageBounds {
        items: 25,
        bytes: usize::MAX,
    };
    let page = transcripts.read(key(1), 1, bounds).await.unwrap();
    assert_eq!(page.next_seq, 26);

    fill(&transcripts, key(1), 31..=200).await;

    let page = transcripts.read(key(1), page.next_seq, ALL).await.unwrap();
    let cut = the_cut(&page.items);
    assert_eq!(page.items[0], Item::Cut(cut));
    assert_eq!(
        page.items[1..],
        kept(records(cut.to_seq + 1..=200, TEXT_OF_100))
    );
}

#[tokio::test]
async fn endless_attempt_does_not_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());

    fill(&transcripts, key(1), 1..=4000).await;

    // The head's segment, two for the tail, and the one that is written to.
    let segments = files(folder.path(), "seg");
    assert!(segments.len() <= 4, "{segments:?}");
    assert_eq!(files(folder.path(), "idx").len(), segments.len() - 1);
    let cut = the_cut(&read_all(&transcripts, key(1)).await);
    assert_eq!(cut.bytes, (cut.to_seq - 20) * 44);
}

#[tokio::test]
async fn cut_of_one_attempt_leaves_its_neighbours_whole() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    for round in 0..20 {
        fill(&transcripts, key(2), round + 1..=round + 1).await;
        fill(&transcripts, key(1), round * 50 + 1..=round * 50 + 50).await;
    }
    let loud = read_all(&transcripts, key(1)).await;
    transcripts.stop().await;

    let transcripts = open(folder.path(), small());

    assert_eq!(
        read_all(&transcripts, key(2)).await,
        kept(records(1..=20, TEXT_OF_100))
    );
    assert_eq!(read_all(&transcripts, key(1)).await, loud);
}

#[tokio::test]
async fn default_bound_keeps_16_mib_of_an_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    // Counted with 64 KiB; the body of a long text takes two bytes more than that of a short one.
    let body = (64 << 10) - COUNTED_BYTES - BODY_OVERHEAD - 2;

    for seq in 1..=300 {
        let records = vec![record(seq, body)];
        transcripts.append(key(1), records).await.unwrap();
    }

    let items = read_all(&transcripts, key(1)).await;
    let cut = the_cut(&items);
    assert_eq!((cut.from_seq, cut.to_seq), (129, 172));
    assert_eq!(items.len(), 257);
}
