//! Opening what an earlier process left.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::transcripts::frame::Frame;

/// Opens the folder with one changed file and checks that just the last of three records is
/// gone, that it can be appended again, and that what lay behind it is cut from the file.
async fn loses_only_the_last_record(folder: &Path, file: &Path, bytes: &[u8], what: &str) {
    fs::write(file, bytes).unwrap();

    let transcripts = open(folder, Limits::default());

    assert_eq!(transcripts.kept_through(key(1)).await.unwrap(), 2, "{what}");
    let items = read_all(&transcripts, key(1)).await;
    assert_eq!(items, kept(records(1..=2, 20)), "{what}");
    let whole = fs::metadata(file).unwrap().len();
    assert_eq!(whole, 8 + 2 * (HEADER_BYTES as u64 + 20), "{what}");
    transcripts
        .append(key(1), records(3..=4, 20))
        .await
        .unwrap();
    let items = read_all(&transcripts, key(1)).await;
    assert_eq!(items, kept(records(1..=4, 20)), "{what}");
    transcripts.stop().await;
}

#[tokio::test]
async fn torn_or_damaged_last_record_is_cut_wherever_it_tore() {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=3, 20))
        .await
        .unwrap();
    transcripts.stop().await;
    let file = files(folder.path(), "seg").remove(0);
    let whole = fs::read(&file).unwrap();
    let last = whole.len() - (HEADER_BYTES + 20);

    for end in last..whole.len() {
        let what = format!("torn at {end}");
        loses_only_the_last_record(folder.path(), &file, &whole[..end], &what).await;
        let mut damaged = whole.clone();
        damaged[end] ^= 0x40;
        let what = format!("damaged at {end}");
        loses_only_the_last_record(folder.path(), &file, &damaged, &what).await;
        let mut zeroed = whole[..end].to_vec();
        zeroed.resize(whole.len() + 4096, 0);
        let what = format!("zeros from {end}");
        loses_only_the_last_record(folder.path(), &file, &zeroed, &what).await;
    }
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
    transcripts.stop().await;
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
    assert!(said.contains("cut_bytes=60"), "{said}");
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
    fs::write(&file, b"GNGRSEG2 and more").unwrap();

    let refused = Transcripts::open(folder.path(), Limits::default());

    assert!(matches!(
        refused,
        Err(TranscriptError::UnknownFormat { .. })
    ));
    assert_eq!(fs::read(&file).unwrap(), b"GNGRSEG2 and more");
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

/// A folder with three sealed segments and one that is written to.
async fn three_sealed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let transcripts = open(folder.path(), small());
    for seq in 1..=17 {
        for task in 1..=5 {
            let records = vec![record(seq, 100)];
            transcripts.append(key(task), records).await.unwrap();
        }
    }
    transcripts.stop().await;
    assert_eq!(files(folder.path(), "idx").len(), 3);
    assert_eq!(files(folder.path(), "seg").len(), 4);
    folder
}

#[tokio::test]
async fn start_reads_no_sealed_segment() {
    let folder = three_sealed().await;
    for sealed in &files(folder.path(), "seg")[..3] {
        fs::write(sealed, b"").unwrap();
    }

    let transcripts = open(folder.path(), small());

    for task in 1..=5 {
        assert_eq!(transcripts.kept_through(key(task)).await.unwrap(), 17);
        let last = transcripts.read(key(task), 17, ALL).await.unwrap();
        assert_eq!(last.items, kept(records(17..=17, 100)));
        let first = transcripts.read(key(task), 1, ALL).await;
        assert!(matches!(first, Err(TranscriptError::Damaged { .. })));
    }
}

#[tokio::test]
async fn lost_or_damaged_index_is_made_anew() {
    for damage in 0..4 {
        let folder = three_sealed().await;
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
            assert_eq!(items, kept(records(1..=17, 100)));
        }
        assert_eq!(files(folder.path(), "idx").len(), 3);
        assert!(files(folder.path(), "tmp").is_empty());
    }
}

#[tokio::test]
async fn damaged_middle_of_a_sealed_segment_is_said_and_the_rest_is_kept() {
    let folder = three_sealed().await;
    fs::remove_file(&files(folder.path(), "idx")[1]).unwrap();
    let segment = &files(folder.path(), "seg")[1];
    let mut bytes = fs::read(segment).unwrap();
    bytes[2000] ^= 1;
    fs::write(segment, &bytes).unwrap();

    let transcripts = open(folder.path(), small());

    let items = read_all(&transcripts, key(1)).await;
    let cuts: Vec<_> = items
        .iter()
        .filter(|it| matches!(it, Item::Cut(_)))
        .collect();
    assert_eq!(cuts.len(), 1);
    assert_eq!(items.last(), kept(vec![record(17, 100)]).last());
    assert_eq!(fs::read(segment).unwrap(), bytes);
}

#[test]
fn frame_has_the_documented_bytes() {
    let mut bytes = Vec::new();
    Frame {
        key: AttemptKey {
            team: 1,
            task: 2,
            attempt: 3,
        },
        previous: 4,
        seq: 5,
        start: 6,
        at_ms: -1,
        body: b"hi",
    }
    .encode(&mut bytes);

    let crc = crc32fast::hash(&bytes[8..]).to_le_bytes();
    #[rustfmt::skip]
    let expected = [
        50, 0, 0, 0, crc[0], crc[1], crc[2], crc[3],
        1, 0, 0, 0, 0, 0, 0, 0,  2, 0, 0, 0, 0, 0, 0, 0,  3, 0, 0, 0,
        4, 0, 0, 0,  5, 0, 0, 0, 0, 0, 0, 0,  6, 0, 0, 0, 0, 0, 0, 0,
        255, 255, 255, 255, 255, 255, 255, 255,  b'h', b'i',
    ];
    assert_eq!(bytes, expected);
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
    let stored = |records: &[Record]| -> usize {
        records.iter().map(|it| HEADER_BYTES + it.body.len()).sum()
    };
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
                let bytes: usize = gone.iter().map(|it| it.body.len()).sum();
                assert_eq!(cut.bytes, bytes as u64);
                assert!(stored(head) <= 2048 && stored(head) + stored(&gone[..1]) > 2048);
                assert!(stored(tail) <= 2048 && stored(tail) > 2048 - 512 - 356);
                next = cut.to_seq as usize;
            }
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
