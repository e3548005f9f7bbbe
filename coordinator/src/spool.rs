//! A backup between the driver, which makes it, and whoever fetches it, perhaps more slowly.
//!
//! It lies in a file of the data directory that has no name, so nothing is left of it whatever
//! happens. The driver never waits for the one who fetches; it learns at its next piece that
//! nobody does any more.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use tokio::sync::watch;

use crate::store::{BackupSink, StoreError};

/// Bytes that are fetched at once.
const CHUNK_LEN: usize = 256 * 1024;

/// The end that the driver writes to.
#[derive(Debug)]
pub struct SpoolWriter {
    file: File,
    told: watch::Sender<Progress>,
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
    Ok((SpoolWriter { file, told }, reader))
}

impl BackupSink for SpoolWriter {
    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.told.is_closed() {
            let gone = "whoever wanted it has gone";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, gone));
        }
        self.file.write_all(piece)?;
        self.told
            .send_modify(|progress| progress.len += piece.len() as u64);
        Ok(())
    }

    fn end(self: Box<Self>, ended: Result<u64, StoreError>) {
        if let Err(error) = &ended {
            tracing::warn!(%error, "a backup was given up");
        }
        self.told
            .send_modify(|progress| progress.end = Some(ended.map_err(Arc::new)));
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
            let making = std::thread::spawn({
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

        let refused = writer.take(b"b").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    }
}
