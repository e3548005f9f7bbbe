//! What damage costs: the frames that it hit, and nothing else.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::transcripts::frame::{Header, NO_PLACE};

/// Three records of each of `attempts`, one after the other as attempts run one by one.
async fn write(folder: &Path, attempts: u64) -> Opened {
    let transcripts = open(folder, Limits::default());
    for task in 1..=attempts {
        transcripts
            .append(key(task), records(1..=3, 40))
            .await
            .unwrap();
        transcripts.sync(key(task)).await.unwrap();
        transcripts.close(key(task)).await.unwrap();
    }
    transcripts
}

fn flip(file: &Path, at: usize, mask: u8) -> Vec<u8> {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= mask;
    fs::write(file, &bytes).unwrap();
    bytes
}

#[tokio::test]
async fn flipped_byte_in_the_third_of_twenty_attempts_leaves_nineteen_whole_and_the_file_as_it_is()
{
    let frame = stored(&record(1, 40));
    // In the header of its second record, and in the body.
    for at in [30, HEADER_BYTES + 10] {
        for is_clean in [true, false] {
            let written = quick_folder();
            let transcripts = write(written.path(), 20).await;
            let folder = if is_clean {
                transcripts.stop().await;
                written
            } else {
                crashed(written.path())
            };
            let file = files(folder.path(), "seg").remove(0);
            let bytes = flip(&file, HEADS_BYTES + (2 * 3 + 1) * frame + at, 4);

            let transcripts = open(folder.path(), Limits::default());

            for task in 1..=20 {
                let mut expected = kept(records(1..=3, 40));
                if task == 3 {
                    expected[1] = damaged(2, 2);
                }
                assert_eq!(read_all(&transcripts, key(task)).await, expected);
                assert_eq!(transcripts.kept_through(key(task)).await.unwrap(), 3);
            }
            assert_eq!(fs::read(&file).unwrap(), bytes);
        }
    }
}

/// How the segments of a sweep lie there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Written to when the process was stopped.
    Stopped,
    /// Full, with an index.
    Sealed,
    /// Full, and its index is gone.
    Unindexed,
}

/// A folder with the records of three attempts by turns, and the file of their segment.
async fn interleaved(state: State) -> (tempfile::TempDir, PathBuf) {
    let folder = quick_folder();
    let transcripts = open(folder.path(), Limits::default());
    for seq in 1..=2 {
        for task in 1..=3 {
            let records = vec![record(seq, 8)];
            transcripts.append(key(task), records).await.unwrap();
        }
    }
    if state != State::Stopped {
        // To forget an attempt seals what is written to.
        transcripts.append(key(9), records(1..=1, 1)).await.unwrap();
        transcripts.remove(vec![key(9)]).await.unwrap();
        transcripts.append(key(8), records(1..=1, 1)).await.unwrap();
    }
    transcripts.stop().await;
    if state == State::Unindexed {
        fs::remove_file(&files(folder.path(), "idx")[0]).unwrap();
    }
    let file = files(folder.path(), "seg").remove(0);
    (folder, file)
}

/// Reads the three attempts, each of two records, and answers how many records are whole. The
/// others must be told.
async fn count_whole(transcripts: &Transcripts, what: &str) -> u64 {
    let mut whole = 0;
    for task in 1..=3 {
        let mut next_seq = 1;
        for item in read_all(transcripts, key(task)).await {
            match item {
                Item::Record(it) => {
                    assert_eq!(it, record(next_seq, 8), "{what}");
                    whole += 1;
                    next_seq += 1;
                }
                Item::Damaged(it) => {
                    assert_eq!(it.from_seq, next_seq, "{what}");
                    next_seq = it.to_seq + 1;
                }
                Item::Cut(_) => panic!("cut: {what}"),
            }
        }
        assert_eq!(next_seq, 3, "not told of all records of {task}: {what}");
    }
    whole
}

async fn sweep(state: State) {
    let (folder, file) = interleaved(state).await;
    let whole = fs::read(&file).unwrap();
    let frames = HEADS_BYTES..HEADS_BYTES + 6 * stored(&record(1, 8));
    for at in 0..whole.len() {
        let copy = crashed(folder.path());
        let file = copy.path().join(file.file_name().unwrap());
        let bytes = flip(&file, at, 0x10);
        let what = format!("{state:?}, damaged at {at}");

        let transcripts = open(copy.path(), Limits::default());

        let expected = if frames.contains(&at) { 5 } else { 6 };
        assert_eq!(count_whole(&transcripts, &what).await, expected, "{what}");
        assert_eq!(fs::read(&file).unwrap(), bytes, "{what}");
        transcripts
            .append(key(2), vec![record(3, 8)])
            .await
            .unwrap();
        transcripts.stop().await;
        let transcripts = open(copy.path(), Limits::default());
        let last = transcripts.read(key(2), 3, ALL).await.unwrap();
        assert_eq!(last.items, kept(vec![record(3, 8)]), "{what}");
        transcripts.stop().await;
    }
}

#[tokio::test]
async fn damaged_byte_anywhere_in_the_newest_segment_costs_one_record_that_is_told() {
    sweep(State::Stopped).await;
}

#[tokio::test]
async fn damaged_byte_anywhere_in_a_sealed_segment_costs_one_record_that_is_told() {
    sweep(State::Sealed).await;
}

#[tokio::test]
async fn damaged_byte_anywhere_in_a_segment_without_index_costs_one_record_that_is_told() {
    sweep(State::Unindexed).await;
}

#[tokio::test]
async fn damaged_byte_anywhere_in_an_index_costs_nothing() {
    let (folder, _) = interleaved(State::Sealed).await;
    let index = files(folder.path(), "idx").remove(0);
    for at in 0..fs::metadata(&index).unwrap().len() {
        let copy = crashed(folder.path());
        let what = format!("index damaged at {at}");
        flip(
            &copy.path().join(index.file_name().unwrap()),
            at as usize,
            0x10,
        );

        let transcripts = open(copy.path(), Limits::default());

        assert_eq!(count_whole(&transcripts, &what).await, 6, "{what}");
    }
}

#[tokio::test]
async fn index_damaged_while_it_is_in_use_is_made_anew_without_what_was_removed() {
    let (folder, _) = interleaved(State::Sealed).await;
    let index = files(folder.path(), "idx").remove(0);
    let transcripts = open(folder.path(), Limits::default());
    transcripts.remove(vec![key(2)]).await.unwrap();
    let end = fs::metadata(&index).unwrap().len() as usize;
    for at in end - 32..end {
        flip(&index, at, 1);
    }

    for _ in 0..2 {
        for (task, last) in [(1, 2), (2, 0), (3, 2)] {
            let items = read_all(&transcripts, key(task)).await;
            assert_eq!(items, kept(records(1..=last, 8)));
        }
    }
}

#[tokio::test]
async fn record_of_a_whole_attempt_can_be_read_by_pages_past_damage() {
    let folder = quick_folder();
    let transcripts = open(folder.path(), Limits::default());
    transcripts
        .append(key(1), records(1..=30, 40))
        .await
        .unwrap();
    transcripts.stop().await;
    let file = files(folder.path(), "seg").remove(0);
    let frame = stored(&record(1, 40));
    for seq in [4, 5, 19, 30] {
        flip(&file, HEADS_BYTES + (seq - 1) * frame + 9, 1);
    }

    let transcripts = open(folder.path(), Limits::default());

    let mut expected = kept(records(1..=3, 40));
    expected.push(damaged(4, 5));
    expected.extend(kept(records(6..=18, 40)));
    expected.push(damaged(19, 19));
    expected.extend(kept(records(20..=29, 40)));
    expected.push(damaged(30, 30));
    for items in [3, 4, 7, 100] {
        let bounds = PageBounds { items, bytes: 700 };
        let read = read_by(&transcripts, key(1), bounds).await;
        assert_eq!(read, expected, "{items} items a page");
    }
}

/// An agent writes its own output, but never a frame.
#[tokio::test]
async fn frame_written_by_an_agent_into_its_output_is_not_taken_for_one() {
    let folder = quick_folder();
    let transcripts = open(folder.path(), Limits::default());
    let forged = (0..).find_map(|at_ms| {
        let header = Header {
            key: key(2),
            previous: 0,
            seq: 1,
            start: 0,
            at_ms,
            before: Some(NO_PLACE),
            body_bytes: 0,
            body_crc: 0,
        };
        let mut bytes = Vec::new();
        header.encode(b"guessed!", &[], &mut bytes);
        String::from_utf8(bytes).ok()
    });
    let record = Record {
        text: forged.unwrap(),
        ..record(1, 0)
    };
    transcripts.append(key(1), vec![record]).await.unwrap();
    transcripts.stop().await;
    let file = files(folder.path(), "seg").remove(0);
    flip(&file, HEADS_BYTES + 20, 1);

    let transcripts = open(folder.path(), Limits::default());

    assert_eq!(read_all(&transcripts, key(1)).await, [damaged(1, 1)]);
    assert_eq!(read_all(&transcripts, key(2)).await, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a stretch of bytes became: what lies outside is whole, and nothing else is told
    /// to be damaged.
    #[test]
    fn damaged_stretch_costs_only_the_records_that_it_touches(
        from in 0.0..1.0f64, length in 1..700usize, filling in prop::option::of(any::<u8>()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = quick_folder();
            let transcripts = open(folder.path(), Limits::default());
            let (mut at, mut places) = (HEADS_BYTES, BTreeMap::new());
            for seq in 1..=8 {
                for task in 1..=3 {
                    let record = record(seq, 10 * task as usize);
                    places.insert((task, seq), at..at + stored(&record));
                    at += stored(&record);
                    transcripts.append(key(task), vec![record]).await.unwrap();
                }
            }
            transcripts.stop().await;
            let file = files(folder.path(), "seg").remove(0);
            let mut bytes = fs::read(&file).unwrap();
            let from = HEADS_BYTES + (from * (at - HEADS_BYTES) as f64) as usize;
            let to = (from + length).min(bytes.len());
            for (at, byte) in bytes[from..to].iter_mut().enumerate() {
                *byte = filling.unwrap_or((at * 31 + 7) as u8);
            }
            fs::write(&file, &bytes).unwrap();

            let transcripts = open(folder.path(), Limits::default());

            let is_touched = |place: &std::ops::Range<usize>| place.start < to && place.end > from;
            for task in 1..=3 {
                let mut told = BTreeMap::new();
                for item in read_all(&transcripts, key(task)).await {
                    match item {
                        Item::Record(it) => {
                            assert_eq!(it, record(it.seq, 10 * task as usize));
                            told.insert(it.seq, true);
                        }
                        Item::Damaged(it) => told.extend((it.from_seq..=it.to_seq).map(|it| (it, false))),
                        Item::Cut(cut) => panic!("{cut:?}"),
                    }
                }
                for seq in 1..=8 {
                    let is_touched = is_touched(&places[&(task, seq)]);
                    let is_whole = told.get(&seq);
                    // Of records at an attempt's end nothing may be left that tells of them.
                    assert!(is_whole == Some(&true) || is_touched, "{task} {seq} {is_whole:?}");
                }
            }
            assert!(fs::metadata(&file).unwrap().len() == bytes.len() as u64 || to == bytes.len());
            transcripts.stop().await;
        });
    }
}
