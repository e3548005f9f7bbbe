//! Segments of format 1, as the program before wrote them.

use super::*;
use crate::transcripts::frame::Header;
use crate::transcripts::frame_1;

/// A segment of format 1 with the records of many attempts, one of each by turns.
fn old_segment(attempts: std::ops::RangeInclusive<u64>, rounds: u64, text: usize) -> Vec<u8> {
    let mut bytes = frame_1::MAGIC.to_vec();
    let mut before = std::collections::BTreeMap::new();
    for seq in 1..=rounds {
        for task in attempts.clone() {
            let record = record(seq, text);
            let (previous, start) = before.get(&task).copied().unwrap_or((0, 0));
            let offset = bytes.len() as u32;
            let header = Header {
                key: key(task),
                previous,
                seq,
                start,
                at_ms: record.at_ms,
                before: None,
                body_bytes: 0,
                body_crc: 0,
            };
            frame_1::encode(&header, &record.encode_old_body(), &mut bytes);
            let stored = (bytes.len() as u32 - offset) as u64;
            before.insert(task, (offset, start + stored));
        }
    }
    bytes
}

fn old_folder(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = quick_folder();
    let file = folder.path().join("0000000001.seg");
    fs::write(&file, bytes).unwrap();
    (folder, file)
}

#[test]
fn old_frame_has_the_documented_bytes() {
    let mut bytes = Vec::new();
    let header = Header {
        key: AttemptKey {
            team: 1,
            task: 2,
            attempt: 3,
        },
        previous: 4,
        seq: 5,
        start: 6,
        at_ms: -1,
        before: None,
        body_bytes: 0,
        body_crc: 0,
    };
    frame_1::encode(&header, b"hi", &mut bytes);

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

#[tokio::test]
async fn segment_of_format_1_is_read_left_as_it_is_and_followed_by_one_of_format_2() {
    let old = old_segment(1..=5, 10, 40);
    let (folder, file) = old_folder(&old);

    for last in [12, 14] {
        let transcripts = open(folder.path(), Limits::default());
        transcripts
            .append(key(3), records(11..=last, 40))
            .await
            .unwrap();
        for task in 1..=5 {
            let last = if task == 3 { last } else { 10 };
            let items = read_all(&transcripts, key(task)).await;
            assert_eq!(items, kept(records(1..=last, 40)));
        }
        transcripts.stop().await;
    }

    assert_eq!(fs::read(&file).unwrap(), old);
    let newer = fs::read(&files(folder.path(), "seg")[1]).unwrap();
    assert!(newer.starts_with(b"GNGRSEG2"));
}

#[tokio::test]
async fn damaged_byte_anywhere_in_a_segment_of_format_1_costs_one_record() {
    let old = old_segment(1..=3, 3, 20);
    let mut losses = 0;

    for at in 0..old.len() {
        let mut bytes = old.clone();
        bytes[at] ^= 0x21;
        let (folder, file) = old_folder(&bytes);

        let transcripts = open(folder.path(), Limits::default());

        let mut whole = 0;
        for task in 1..=3 {
            for item in read_all(&transcripts, key(task)).await {
                match item {
                    Item::Record(it) => {
                        assert_eq!(it, record(it.seq, 20), "damaged at {at}");
                        whole += 1;
                    }
                    Item::Damaged(it) => assert_eq!(it.from_seq, it.to_seq, "damaged at {at}"),
                    Item::Cut(_) => panic!("cut, damaged at {at}"),
                }
            }
        }
        assert!(whole >= 8, "{whole} records left, damaged at {at}");
        losses += 9 - whole;
        assert_eq!(fs::read(&file).unwrap(), bytes, "damaged at {at}");
    }

    // Everything but the segment's first bytes belongs to a record.
    assert_eq!(losses, old.len() - frame_1::MAGIC.len());
}

#[tokio::test]
async fn incomplete_end_of_a_segment_of_format_1_is_left_where_it_is() {
    let old = old_segment(1..=2, 3, 20);
    for torn in 1..90 {
        let bytes = &old[..old.len() - torn];
        let (folder, file) = old_folder(bytes);

        let transcripts = open(folder.path(), Limits::default());

        let last = transcripts.kept_through(key(2)).await.unwrap();
        assert_eq!(last, 2, "{torn} bytes torn off");
        transcripts
            .append(key(2), records(3..=4, 20))
            .await
            .unwrap();
        let items = read_all(&transcripts, key(2)).await;
        assert_eq!(items, kept(records(1..=4, 20)), "{torn} bytes torn off");
        assert_eq!(fs::read(&file).unwrap(), bytes, "{torn} bytes torn off");
    }
}
