//! Artifacts, claim by claim.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn store(folder: &tempfile::TempDir) -> ArtifactStore {
    ArtifactStore::open(&folder.path().join("artifacts"), 1024).unwrap()
}

fn put(store: &ArtifactStore, bytes: &[u8]) -> StoredArtifact {
    let mut upload = store.upload().unwrap();
    upload.append(bytes).unwrap();
    upload.finish(None).unwrap()
}

fn get(store: &ArtifactStore, digest: &Digest, offset: u64, length: Option<u64>) -> Vec<u8> {
    let reader = store.reader(digest, offset, length).unwrap();
    let (bytes, end) = read(reader);
    end.unwrap();
    bytes
}

/// What a reader gives out, and how it ends.
fn read(mut reader: ArtifactReader) -> (Vec<u8>, Result<(), ArtifactError>) {
    let mut bytes = Vec::new();
    loop {
        match reader.next_chunk() {
            Ok(Some(chunk)) => bytes.extend(chunk),
            Ok(None) => return (bytes, Ok(())),
            Err(err) => return (bytes, Err(err)),
        }
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ArtifactError>) -> ArtifactRefusal {
    match result.unwrap_err() {
        ArtifactError::Refused(refusal) => refusal,
        failure => panic!("a failure, not a refusal: {failure}"),
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn artifact_is_named_by_its_sha256_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);

    let mut upload = store.upload().unwrap();
    upload.append(b"ab").unwrap();
    upload.append(b"c").unwrap();
    let stored = upload.finish(None).unwrap();

    let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(stored.digest.to_string(), name);
    assert_eq!((stored.bytes, stored.was_present), (3, false));
    let root = folder.path().join("artifacts");
    assert_eq!(files(&root), [root.join("ba").join(&name[2..])]);
    assert_eq!(get(&store, &name.parse().unwrap(), 0, None), b"abc");
    assert_eq!(store.size(&stored.digest).unwrap(), 3);
}

#[test]
fn empty_artifact_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);

    let stored = store.upload().unwrap().finish(None).unwrap();

    assert_eq!(stored.digest, Digest::of(b""));
    assert_eq!(get(&store, &stored.digest, 0, None), b"");
}

#[test]
fn part_is_read_by_offset_and_length() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let digest = put(&store, b"0123456789").digest;

    assert_eq!(get(&store, &digest, 3, Some(4)), b"3456");
    assert_eq!(get(&store, &digest, 8, Some(100)), b"89");
    assert_eq!(get(&store, &digest, 10, None), b"");
    let reader = store.reader(&digest, 4, Some(2)).unwrap();
    assert_eq!(reader.artifact_bytes(), 10);
    assert_eq!(
        refusal(store.reader(&digest, 11, None)),
        ArtifactRefusal::OffsetBeyondEnd {
            digest,
            offset: 11,
            bytes: 10
        }
    );
}

#[test]
fn unknown_digest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let digest = Digest::of(b"never stored");

    assert_eq!(
        refusal(store.size(&digest)),
        ArtifactRefusal::Unknown { digest }
    );
    assert_eq!(
        refusal(store.reader(&digest, 0, None)),
        ArtifactRefusal::Unknown { digest }
    );
}

#[test]
fn same_bytes_are_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let first = put(&store, b"twice");

    let second = put(&store, b"twice");

    assert_eq!(second.digest, first.digest);
    assert!(second.was_present);
    assert_eq!(files(&folder.path().join("artifacts")).len(), 1);
}

#[test]
fn truncated_blob_is_replaced_by_the_next_upload_of_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let digest = put(&store, b"whole").digest;
    fs::write(store.path(&digest), b"who").unwrap();

    let again = put(&store, b"whole");

    assert!(!again.was_present);
    assert_eq!(get(&store, &digest, 0, None), b"whole");
}

#[test]
fn digest_mismatch_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let mut upload = store.upload().unwrap();
    upload.append(b"what came").unwrap();
    let expected = Digest::of(b"what was announced");

    let refused = refusal(upload.finish(Some(expected)));

    let actual = Digest::of(b"what came");
    assert_eq!(
        refused,
        ArtifactRefusal::DigestMismatch { expected, actual }
    );
    assert!(files(&folder.path().join("artifacts")).is_empty());
}

#[test]
fn announced_digest_that_fits_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let mut upload = store.upload().unwrap();
    upload.append(b"fits").unwrap();

    let stored = upload.finish(Some(Digest::of(b"fits"))).unwrap();

    assert_eq!(get(&store, &stored.digest, 0, None), b"fits");
}

#[test]
fn artifact_at_the_limit_is_kept_and_one_byte_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    assert_eq!(put(&store, &[7; 1024]).bytes, 1024);
    let mut upload = store.upload().unwrap();
    upload.append(&[7; 1000]).unwrap();

    let refused = refusal(upload.append(&[7; 25]));

    assert_eq!(refused, ArtifactRefusal::TooLarge { bytes_max: 1024 });
    // What came before must not become an artifact that looks complete.
    assert_eq!(refusal(upload.append(b"")), ArtifactRefusal::UploadBroken);
    assert_eq!(refusal(upload.finish(None)), ArtifactRefusal::UploadBroken);
    assert_eq!(files(&folder.path().join("artifacts")).len(), 1);
}

#[test]
fn dropped_upload_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let mut upload = store.upload().unwrap();
    upload.append(b"half").unwrap();
    assert_eq!(files(&folder.path().join("artifacts")).len(), 1);

    drop(upload);

    assert!(files(&folder.path().join("artifacts")).is_empty());
}

#[test]
fn temporaries_of_a_dead_process_are_swept_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let kept = put(&store(&folder), b"kept").digest;
    let uploads = folder.path().join("artifacts/tmp");
    fs::write(uploads.join("0"), b"torn").unwrap();
    fs::write(uploads.join("17"), b"torn").unwrap();

    let store = store(&folder);

    assert_eq!(fs::read_dir(&uploads).unwrap().count(), 0);
    assert_eq!(get(&store, &kept, 0, None), b"kept");
    put(&store, b"new uploads find their names free");
}

#[test]
fn text_that_is_no_digest_is_refused() {
    let hex = Digest::of(b"x").to_string();
    for text in [
        "",
        "..",
        "../../etc/passwd",
        &hex[..63],
        &format!("{hex}0"),
        &hex.to_uppercase(),
        &format!("{}/", &hex[..63]),
        &format!("{}é", &hex[..62]),
    ] {
        assert_eq!(text.parse::<Digest>(), Err(MalformedDigest), "{text:?}");
    }
}

proptest! {
    #[test]
    fn digest_is_read_as_it_is_written(bytes: [u8; 32]) {
        let digest = Digest::from(bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        prop_assert_eq!(digest.as_bytes(), &bytes);
    }
}

/// Blobs of less than a chunk, of some, and of a chunk's edge.
fn large(folder: &tempfile::TempDir) -> ArtifactStore {
    ArtifactStore::open(&folder.path().join("artifacts"), 1 << 20).unwrap()
}

#[test]
fn damaged_or_truncated_artifact_never_comes_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = large(&folder);
    for size in [1, 1000, 64 << 10, (64 << 10) + 1, 200_000] {
        let content: Vec<u8> = (0..size).map(|at| (at * 7) as u8).collect();
        let digest = put(&store, &content).digest;
        let path = store.path(&digest);
        let mut longer = content.clone();
        longer.push(0);
        for at in [0, size / 2, size - 1] {
            let mut flipped = content.clone();
            flipped[at] ^= 1;
            for bytes in [&flipped[..], &content[..at], &longer] {
                fs::write(&path, bytes).unwrap();
                for (offset, length) in [(0, None), (0, Some(1)), (at as u64, Some(10))] {
                    let (read, end) = read(store.reader(&digest, offset, length).unwrap());

                    let what = format!("{size}: {} bytes from {offset}", bytes.len());
                    assert!(
                        matches!(end, Err(ArtifactError::Damaged { digest: it }) if it == digest),
                        "{what}: {end:?}"
                    );
                    assert!(read.len() < bytes.len().max(1), "{what}: all was given out");
                }
            }
        }
        fs::write(&path, &content).unwrap();
        assert_eq!(get(&store, &digest, 0, None), content);
        assert_eq!(
            get(&store, &digest, size as u64 / 3, Some(100)),
            content[size / 3..][..100.min(size - size / 3)]
        );
    }
}

#[test]
fn artifact_truncated_while_it_is_read_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let store = large(&folder);
    let digest = put(&store, &vec![7; 200_000]).digest;
    let mut reader = store.reader(&digest, 0, None).unwrap();
    reader.next_chunk().unwrap();

    fs::write(store.path(&digest), [7; 150_000]).unwrap();

    let (_, end) = read(reader);
    assert!(matches!(end, Err(ArtifactError::Damaged { .. })));
}

#[test]
fn upload_of_the_same_bytes_mends_a_damaged_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let digest = put(&store, b"whole").digest;
    for damaged in [&b"whOle"[..], b"who", b""] {
        fs::write(store.path(&digest), damaged).unwrap();

        assert!(!put(&store, b"whole").was_present);

        assert_eq!(get(&store, &digest, 0, None), b"whole");
        assert!(put(&store, b"whole").was_present);
    }
}
