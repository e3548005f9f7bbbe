//! Opening what an earlier process left.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn incomplete_last_frame_is_cut_wherever_it_tore() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=3, 20))
        .await
        .unwrap();
    let copy = crashed(folder.path());
    let file = files(copy.path(), "seg").remove(0);
    let whole = fs::read(&file).unwrap();
    let last = whole.len() - stored(&record(3, 20));

    for end in last..whole.len() {
        forget_stop(copy.path());
        fs::write(&file, &whole[..end]).unwrap();

        let transcripts = open(copy.path(), Limits::default());

        let torn = format!("torn at {end}");
        assert_eq!(transcripts.kept_through(key(1)).await.unwrap(), 2, "{torn}");
        let items = read_all(&transcripts, key(1)).await;
        assert_eq!(items, kept(records(1..=2, 20)), "{torn}");
        assert_eq!(fs::metadata(&file).unwrap().len(), last as u64, "{torn}");
        transcripts
            .append(key(1), records(3..=4, 20))
            .await
            .unwrap();
        let items = read_all(&transcripts, key(1)).await;
        assert_eq!(items, kept(records(1..=4, 20)), "{torn}");
        transcripts.stop().await;
    }
}

/// After an unclean stop the worker still has what wasn't told to be kept.
#[tokio::test]
async fn damaged_end_after_an_unclean_stop_is_written_again_and_nothing_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=3, 20))
        .await
        .unwrap();
    let copy = crashed(folder.path());
    let file = files(copy.path(), "seg").remove(0);
    let whole = fs::read(&file).unwrap();
    let last = whole.len() - stored(&record(3, 20));

    for at in last..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        let mut zeroed = whole[..at].to_vec();
        zeroed.resize(whole.len() + 4096, 0);
        for bytes in [damaged, zeroed] {
            let what = format!("{} bytes, damaged at {at}", bytes.len());
            forget_stop(copy.path());
            fs::write(&file, &bytes).unwrap();

            let transcripts = open(copy.path(), Limits::default());

            assert_eq!(fs::read(&file).unwrap(), bytes, "{what}");
            assert_eq!(transcripts.kept_through(key(1)).await.unwrap(), 2, "{what}");
            transcripts
                .append(key(1), records(3..=4, 20))
                .await
                .unwrap();
            let items = read_all(&transcripts, key(1)).await;
            assert_eq!(items, kept(records(1..=4, 20)), "{what}");
            transcripts.stop().await;
            let transcripts = open(copy.path(), Limits::default());
            let items = read_all(&transcripts, key(1)).await;
            assert_eq!(items, kept(records(1..=4, 20)), "{what}");
            transcripts.stop().await;
        }
    }
}

/// A power cut may take records that the worker was told are kept, and that it forgot.
#[tokio::test]
async fn records_lost_with_a_torn_end_are_told_and_the_attempt_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=5, 20))
        .await
        .unwrap();
    let copy = crashed(folder.path());
    let file = files(copy.path(), "seg").remove(0);
    let bytes = fs::read(&file).unwrap();
    fs::write(
        &file,
        &bytes[..HEADS_BYTES + 2 * stored(&record(1, 20)) + 7],
    )
    .unwrap();

    let transcripts = open(copy.path(), Limits::default());
    let gap = transcripts.append(key(1), vec![record(6, 20), record(8, 20)]);
    let within = refusal(gap.await);
    transcripts
        .append(key(1), records(6..=7, 20))
        .await
        .unwrap();

    let (expected, found) = (7, 8);
    assert_eq!(within, TranscriptRefusal::Gap { expected, found });
    let mut items = kept(records(1..=2, 20));
    items.push(damaged(3, 5));
    items.extend(kept(records(6..=7, 20)));
    assert_eq!(read_all(&transcripts, key(1)).await, items);
    transcripts.stop().await;
    let transcripts = open(copy.path(), Limits::default());
    assert_eq!(read_all(&transcripts, key(1)).await, items);
}

#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn cut_of_a_torn_tail_is_said_with_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=3, 20))
        .await
        .unwrap();
    let folder = crashed(folder.path());
    let file = files(folder.path(), "seg").remove(0);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 16]).unwrap();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();

    tracing::subscriber::with_default(subscriber, || {
        Transcripts::open(folder.path(), Limits::default()).unwrap();
    });

    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("WARN"), "{said}");
    assert!(said.contains("cut_bytes=105"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn segment_torn_before_its_first_record_is_no_hindrance() {
    for torn in [&b""[..], b"GNGR", b"\0\0\0\0\0\0\0\0"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("0000000001.seg"), torn).unwrap();

        let transcripts = open(folder.path(), Limits::default());

        assert!(files(folder.path(), "seg").is_empty());
        transcripts
            .append(key(1), records(1..=2, 20))
            .await
            .unwrap();
        transcripts.stop().await;
    }
}

#[test]
fn segment_of_another_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("0000000001.seg");
    fs::write(&file, b"GNGRSEG3 and more").unwrap();

    let refused = Transcripts::open(folder.path(), Limits::default());

    assert!(matches!(
        refused,
        Err(TranscriptError::UnknownFormat { .. })
    ));
    assert_eq!(fs::read(&file).unwrap(), b"GNGRSEG3 and more");
}

#[tokio::test]
async fn what_is_found_at_start_is_synced_before_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    transcripts
        .append(key(1), records(1..=3, 20))
        .await
        .unwrap();
    let crashed = crashed(folder.path());

    let after = open(crashed.path(), small());

    assert_eq!(after.data_syncs(), 1);
    let page = after.read(key(1), 1, ALL).await.unwrap();
    assert_eq!(page.extent.synced_through, 3);
}

/// Takes away what a stop leaves behind, so that what is there is as after a crash.
fn forget_stop(folder: &Path) {
    for index in files(folder, "idx") {
        fs::remove_file(index).unwrap();
    }
}

#[tokio::test]
async fn records_that_are_cut_off_after_a_stop_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=5, 20))
        .await
        .unwrap();
    transcripts.stop().await;
    let file = files(folder.path(), "seg").remove(0);
    let bytes = fs::read(&file).unwrap();
    let two = HEADS_BYTES + 2 * stored(&record(1, 20));

    for end in [two, two + 7] {
        fs::write(&file, &bytes[..end]).unwrap();

        let transcripts = open(folder.path(), Limits::default());

        assert_eq!(transcripts.kept_through(key(1)).await.unwrap(), 5);
        let mut items = kept(records(1..=2, 20));
        items.push(damaged(3, 5));
        assert_eq!(read_all(&transcripts, key(1)).await, items);
        assert_eq!(fs::metadata(&file).unwrap().len(), end as u64);
        transcripts.stop().await;
    }
}

/// A folder with four sealed segments.
async fn four_sealed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    for seq in 1..=17 {
        for task in 1..=5 {
            let records = vec![record(seq, 55)];
            transcripts.append(key(task), records).await.unwrap();
        }
    }
    transcripts.stop().await;
    assert_eq!(files(folder.path(), "idx").len(), 4);
    assert_eq!(files(folder.path(), "seg").len(), 4);
    folder
}

#[tokio::test]
async fn start_reads_no_sealed_segment() {
    let folder = four_sealed().await;
    for sealed in &files(folder.path(), "seg")[..3] {
        fs::write(sealed, b"").unwrap();
    }

    let transcripts = open(folder.path(), small());

    for task in 1..=5 {
        assert_eq!(transcripts.kept_through(key(task)).await.unwrap(), 17);
        let last = transcripts.read(key(task), 17, ALL).await.unwrap();
        assert_eq!(last.items, kept(records(17..=17, 55)));
        let all = read_all(&transcripts, key(task)).await;
        assert!(matches!(all[0], Item::Damaged(_)), "{all:?}");
        assert_eq!(all[all.len() - 2..], kept(records(16..=17, 55)));
    }
}

#[tokio::test]
async fn lost_or_damaged_index_is_made_anew() {
    for damage in 0..4 {
        let folder = four_sealed().await;
        let index = &files(folder.path(), "idx")[1];
        let mut bytes = fs::read(index).unwrap();
        match damage {
            0 => fs::remove_file(index).unwrap(),
            1 => fs::write(index, &bytes[..bytes.len() - 1]).unwrap(),
            2 => fs::write(index, b"").unwrap(),
            _ => {
                bytes[21] ^= 1;
                fs::write(index, bytes).unwrap();
            }
        }
        fs::write(folder.path().join("0000000009.idx"), b"orphan").unwrap();
        fs::write(folder.path().join("0000000001.tmp"), b"torn").unwrap();

        let transcripts = open(folder.path(), small());

        for task in 1..=5 {
            let items = read_all(&transcripts, key(task)).await;
            assert_eq!(items, kept(records(1..=17, 55)));
        }
        assert_eq!(files(folder.path(), "idx").len(), 4);
        assert!(files(folder.path(), "tmp").is_empty());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append {
        task: u64,
        records: u64,
        again: u64,
        bytes: usize,
    },
    Sync(u64),
    Close(u64),
    Reopen,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (1..5u64, 1..12u64, 0..4u64, 0..300usize);
    let append = append.prop_map(|(task, records, again, bytes)| Step::Append {
        task,
        records,
        again,
        bytes,
    });
    let step = prop_oneof![
        12 => append,
        2 => (1..5u64).prop_map(Step::Sync),
        1 => (1..5u64).prop_map(Step::Close),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Every record up to the last is there as it was appended, or in the one cut; and no more is
/// cut than the bounds ask for.
fn check(items: &[Item], model: &[Record]) {
    let body = |record: &Record| record.encode_body().len();
    let stored =
        |records: &[Record]| -> usize { records.iter().map(|it| COUNTED_BYTES + body(it)).sum() };
    let (mut next, mut cuts) = (0, 0);
    for item in items {
        match item {
            Item::Record(record) => {
                assert_eq!(record, &model[next]);
                next += 1;
            }
            Item::Cut(cut) => {
                cuts += 1;
                assert_eq!(cut.from_seq, next as u64 + 1);
                let (head, rest) = model.split_at(next);
                let (gone, tail) = rest.split_at((cut.to_seq - next as u64) as usize);
                let bytes: usize = gone.iter().map(body).sum();
                assert_eq!(cut.bytes, bytes as u64);
                assert!(stored(head) <= 2048 && stored(head) + stored(&gone[..1]) > 2048);
                assert!(stored(tail) <= 2048 && stored(tail) > 2048 - 512 - 363);
                next = cut.to_seq as usize;
            }
            Item::Damaged(damaged) => panic!("{damaged:?}"),
        }
    }
    assert_eq!(next, model.len());
    assert!(cuts <= 1);
    assert!(cuts == 1 || stored(model) <= 4096);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reopened_transcripts_equal_those_before(steps in steps(), items in 1..30usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut folder = tempfile::tempdir().unwrap();
            let mut transcripts = open(folder.path(), small());
            let mut model: BTreeMap<u64, Vec<Record>> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Append { task, records, again, bytes } => {
                        let kept = model.entry(task).or_default();
                        let last = kept.len() as u64;
                        kept.extend((last + 1..=last + records).map(|it| record(it, bytes)));
                        let from = last.saturating_sub(again) as usize;
                        let sent = kept[from..].to_vec();
                        let extent = transcripts.append(key(task), sent).await.unwrap();
                        assert_eq!(extent.kept_through, last + records);
                    }
                    Step::Sync(task) => {
                        let last = model.get(&task).map_or(0, Vec::len) as u64;
                        assert_eq!(transcripts.sync(key(task)).await.unwrap(), last);
                    }
                    Step::Close(task) => transcripts.close(key(task)).await.unwrap(),
                    Step::Reopen => {
                        transcripts.stop().await;
                        transcripts = open(folder.path(), small());
                    }
                    Step::Crash => {
                        let copy = crashed(folder.path());
                        transcripts.stop().await;
                        folder = copy;
                        transcripts = open(folder.path(), small());
                    }
                }
            }
            let mut before = BTreeMap::new();
            for (task, model) in &model {
                let items = read_all(&transcripts, key(*task)).await;
                check(&items, model);
                before.insert(*task, items);
            }
            transcripts.stop().await;
            transcripts = open(folder.path(), small());
            for (task, before) in &before {
                let bounds = PageBounds { items, bytes: 700 };
                assert_eq!(&read_by(&transcripts, key(*task), bounds).await, before);
            }
            transcripts.stop().await;
        });
    }
}
