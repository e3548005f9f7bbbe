//! A backup between the driver, which makes it, and whoever fetches it, perhaps more slowly.
//!
//! It lies in a file of the data directory that has no name, so nothing is left of it whatever
//! happens. The driver never waits, neither for the one who fetches nor for the disk: a thread of
//! its own writes the file, at the disk's pace. The backup goes on when little waits for that
//! thread, and ends when nobody fetches any more.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::watch;

use crate::{
    store::{BackupSink, StoreError},
    writeback::{self, PacedFile},
};

/// Bytes that are fetched at once.
const CHUNK_LEN: usize = 256 * 1024;

/// With more bytes waiting to be written, the backup makes no step.
const WAITING_READY: usize = 256 * 1024;

/// Bytes that may wait. What commits change again is taken whether or not the disk keeps up, but
/// not without end.
const WAITING_MAX: usize = 256 * 1024 * 1024;

/// The end that the driver writes to.
#[derive(Debug)]
pub struct SpoolWriter {
    /// To the thread that writes. It is bounded by `waiting`.
    pieces: mpsc::Sender<Said>,
    /// Bytes that were said and are not written yet.
    waiting: Arc<AtomicUsize>,
}

/// What the driver says to the thread that writes.
#[derive(Debug)]
enum Said {
    Piece(Vec<u8>),
    End(Result<u64, StoreError>),
}

/// The end that is fetched from.
#[derive(Debug)]
pub struct SpoolReader {
    file: Arc<File>,
    at: u64,
    heard: watch::Receiver<Progress>,
}

/// How far it is written, and whether that is all.
#[derive(Debug, Default)]
struct Progress {
    len: u64,
    end: Option<Result<u64, Arc<StoreError>>>,
}

/// What is fetched.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A piece, not empty.
    Piece(Vec<u8>),
    /// There is no more: the backup is consistent at this commit.
    End(u64),
}

/// Why there is no backup.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolError {
    /// It could not be made.
    #[error("the backup could not be made")]
    NotMade(#[source] Arc<StoreError>),
    /// It found no room on the disk.
    #[error("the backup found no room on the coordinator's disk")]
    DiskFull,
    /// It could not be read again.
    #[error("the backup could not be read again")]
    Unreadable(#[source] Arc<io::Error>),
    /// The driver ended before it was done.
    #[error("the coordinator stopped before the backup was done")]
    Abandoned,
}

/// Makes a spool in a directory.
pub fn spool(dir: &Path) -> io::Result<(SpoolWriter, SpoolReader)> {
    let path = dir.join(format!("backup-{}", uuid::Uuid::new_v4()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    let (told, heard) = watch::channel(Progress::default());
    let reader = SpoolReader {
        file: Arc::new(file.try_clone()?),
        at: 0,
        heard,
    };
    let (pieces, said) = mpsc::channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let writer = SpoolWriter {
        pieces,
        waiting: waiting.clone(),
    };
    // It ends by itself: with the backup, with the driver, or when nobody fetches any more.
    thread::Builder::new()
        .name("backup".to_owned())
        .spawn(move || {
            write(PacedFile::new(file), &said, &waiting, &told);
            drop(said);
            // Nothing waits any more: the next step finds out that nothing is taken.
            waiting.store(0, Ordering::Release);
        })?;
    Ok((writer, reader))
}

/// Writes what is said, and tells how far that is.
fn write(
    mut file: PacedFile,
    said: &mpsc::Receiver<Said>,
    waiting: &AtomicUsize,
    told: &watch::Sender<Progress>,
) {
    let end = |ended: Result<u64, StoreError>| {
        if let Err(error) = &ended {
            tracing::warn!(%error, "a backup was given up");
        }
        told.send_modify(|progress| progress.end = Some(ended.map_err(Arc::new)));
    };
    // Without an end the driver is gone, and whoever fetches learns that.
    while let Ok(next) = said.recv() {
        let piece = match next {
            Said::Piece(piece) => piece,
            Said::End(ended) => return end(ended),
        };
        if told.is_closed() {
            return;
        }
        if let Err(error) = file.write(&piece) {
            return end(Err(StoreError::io("writing", "the backup", error)));
        }
        told.send_modify(|progress| progress.len += piece.len() as u64);
        waiting.fetch_sub(piece.len(), Ordering::AcqRel);
    }
}

impl BackupSink for SpoolWriter {
    fn is_ready(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < WAITING_READY
    }

    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        let before = self.waiting.fetch_add(piece.len(), Ordering::AcqRel);
        if before >= WAITING_MAX {
            let behind = "the disk takes it more slowly than the board changes";
            return Err(io::Error::other(behind));
        }
        self.pieces.send(Said::Piece(piece.to_vec())).map_err(|_| {
            let gone = "whoever wanted it has gone, or it could not be written";
            io::Error::new(io::ErrorKind::BrokenPipe, gone)
        })
    }

    fn end(self: Box<Self>, ended: Result<u64, StoreError>) {
        // The thread has ended already where it failed, and told that.
        let _ = self.pieces.send(Said::End(ended));
    }
}

impl SpoolReader {
    /// Fetches what comes next, when it is there.
    pub async fn next(&mut self) -> Result<Fetched, SpoolError> {
        loop {
            let (len, end) = {
                let progress = self.heard.borrow_and_update();
                (progress.len, progress.end.clone())
            };
            if self.at < len {
                return self.fetch(len).await;
            }
            match end {
                Some(Ok(commit)) => return Ok(Fetched::End(commit)),
                Some(Err(error)) => {
                    return Err(match *error {
                        StoreError::DiskFull { .. } => SpoolError::DiskFull,
                        _ => SpoolError::NotMade(error),
                    });
                }
                None => {}
            }
            let changed = self.heard.changed().await;
            changed.map_err(|_| SpoolError::Abandoned)?;
        }
    }

    async fn fetch(&mut self, len: u64) -> Result<Fetched, SpoolError> {
        let (file, at) = (self.file.clone(), self.at);
        let wanted = usize::try_from(len - at).map_or(CHUNK_LEN, |left| left.min(CHUNK_LEN));
        // It ends by itself: the bytes are there.
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; wanted];
            file.read_exact_at(&mut piece, at).map(|()| piece)
        });
        let piece = read
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the read panicked")));
        let piece = piece.map_err(|error| SpoolError::Unreadable(Arc::new(error)))?;
        self.at += piece.len() as u64;
        Ok(Fetched::Piece(piece))
    }
}

impl Drop for SpoolReader {
    /// The file goes in small steps, on a thread of its own: nobody is served while the one who serves
    /// frees a large file.
    fn drop(&mut self) {
        let file = self.file.clone();
        let shrink = move || {
            if let Err(error) = writeback::shrink(&file) {
                tracing::warn!(%error, "a backup's file is freed at once, which may take long");
            }
        };
        let thread = thread::Builder::new().name("backup-end".to_owned());
        if let Err(error) = thread.spawn(shrink) {
            tracing::warn!(%error, "a backup's file is freed at once, which may take long");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.build().unwrap().block_on(future)
    }

    #[test]
    fn what_is_put_in_comes_out_in_order_and_then_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, mut reader) = spool(dir.path()).unwrap();
        let sent: Vec<u8> = (0..700_000_u32).map(|n| n as u8).collect();

        let fetched = block_on(async {
            let making = thread::spawn({
                let sent = sent.clone();
                move || {
                    for piece in sent.chunks(90_000) {
                        writer.take(piece).unwrap();
                    }
                    Box::new(writer).end(Ok(7));
                }
            });
            let mut fetched = Vec::new();
            let end = loop {
                match reader.next().await.unwrap() {
                    Fetched::Piece(piece) => fetched.extend(piece),
                    end => break end,
                }
            };
            making.join().unwrap();
            assert_eq!(end, Fetched::End(7));
            fetched
        });

        assert!(fetched == sent, "{} bytes came", fetched.len());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_backup_goes_on_only_when_little_waits_for_the_disk() {
        let waiting = Arc::new(AtomicUsize::new(0));
        // Nobody writes what is said here.
        let (pieces, _said) = mpsc::channel();
        let mut writer = SpoolWriter {
            pieces,
            waiting: waiting.clone(),
        };
        assert!(writer.is_ready());

        writer.take(&vec![0; WAITING_READY]).unwrap();
        assert!(!writer.is_ready());
        writer.take(b"what a commit changed").unwrap();

        waiting.store(WAITING_MAX, Ordering::Release);
        assert!(writer.take(b"one too many").is_err());
    }

    #[test]
    fn whoever_fetches_hears_that_there_will_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, mut reader) = spool(dir.path()).unwrap();
        let error = StoreError::BadBackup { what: "a test" };
        Box::new(writer).end(Err(error));
        let heard = block_on(reader.next()).unwrap_err();
        assert!(matches!(heard, SpoolError::NotMade(_)), "{heard}");

        let (writer, mut reader) = spool(dir.path()).unwrap();
        drop(writer);
        let heard = block_on(reader.next()).unwrap_err();
        assert!(matches!(heard, SpoolError::Abandoned), "{heard}");
    }

    #[test]
    fn nothing_more_is_taken_when_nobody_fetches() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, reader) = spool(dir.path()).unwrap();
        writer.take(b"a").unwrap();

        drop(reader);

        // The thread that writes learns it with one of the next.
        let refused = (0..).find_map(|_| {
            thread::yield_now();
            writer.take(b"b").err()
        });
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::BrokenPipe);
    }
}
