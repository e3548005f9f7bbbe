//! The folder of the transcripts: every change to it goes through here.
//!
//! A failed sync is remembered and ends all: the kernel may have dropped what it could not
//! write, so a later sync that succeeds would prove nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::TranscriptError;

pub(super) const SEGMENT: &str = "seg";
pub(super) const INDEX: &str = "idx";
const TEMPORARY: &str = "tmp";

#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    data_syncs: AtomicU64,
    broken: OnceLock<(PathBuf, Arc<io::Error>)>,
    #[cfg(test)]
    pub(super) fault: std::sync::Mutex<Option<Fault>>,
}

/// What the next operation of its kind does instead of its work.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    /// Half of the bytes are written, then the disk is full.
    Write,
    Sync,
}

impl Disk {
    pub fn open(folder: &Path) -> Result<Self, TranscriptError> {
        fs::create_dir_all(folder).map_err(TranscriptError::io("create", folder))?;
        let disk = Self {
            folder: folder.to_owned(),
            data_syncs: AtomicU64::new(0),
            broken: OnceLock::new(),
            #[cfg(test)]
            fault: std::sync::Mutex::new(None),
        };
        if let Some(parent) = folder.parent().filter(|it| !it.as_os_str().is_empty()) {
            disk.sync_folder_at(parent)?;
        }
        Ok(disk)
    }

    /// The numbers of all segments and of all index files; temporaries are removed.
    pub fn list(&self) -> Result<(Vec<u32>, Vec<u32>), TranscriptError> {
        let (mut segments, mut indexes) = (Vec::new(), Vec::new());
        let entries = fs::read_dir(&self.folder);
        for entry in entries.map_err(TranscriptError::io("list", &self.folder))? {
            let path = entry
                .map_err(TranscriptError::io("list", &self.folder))?
                .path();
            let number = path.file_stem().and_then(|it| it.to_str()?.parse().ok());
            match (path.extension().and_then(|it| it.to_str()), number) {
                (Some(SEGMENT), Some(number)) => segments.push(number),
                (Some(INDEX), Some(number)) => indexes.push(number),
                (Some(TEMPORARY), _) => self.remove(&path)?,
                _ => tracing::warn!(path = %path.display(), "not a file of the transcripts"),
            }
        }
        segments.sort_unstable();
        Ok((segments, indexes))
    }

    /// The numbers of the segments with an index file, oldest first. Changes nothing.
    pub fn sealed(&self) -> Result<Vec<u32>, TranscriptError> {
        let mut numbers = Vec::new();
        let entries = fs::read_dir(&self.folder);
        for entry in entries.map_err(TranscriptError::io("list", &self.folder))? {
            let entry = entry.map_err(TranscriptError::io("list", &self.folder))?;
            let path = entry.path();
            if path.extension().is_some_and(|it| it == INDEX) {
                numbers.extend(
                    path.file_stem()
                        .and_then(|it| it.to_str()?.parse::<u32>().ok()),
                );
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The bytes of a segment's file; 0 where there is none.
    pub fn segment_bytes(&self, number: u32) -> u64 {
        fs::metadata(self.path(number, SEGMENT)).map_or(0, |it| it.len())
    }

    pub fn path(&self, number: u32, extension: &str) -> PathBuf {
        self.folder.join(format!("{number:010}.{extension}"))
    }

    /// Makes a file that holds `bytes`, lasting when this returns.
    pub fn create(&self, path: &Path, bytes: &[u8]) -> Result<File, TranscriptError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(TranscriptError::io("create", path))?;
        if let Err(err) = self.write_at(&file, path, bytes, 0) {
            self.remove(path)?;
            return Err(err);
        }
        self.sync(&file, path)?;
        self.sync_folder()?;
        Ok(file)
    }

    /// Puts a file with `bytes` in the place of `path`: the old or the new one is there after a
    /// crash, never a part. Lasting after [`sync_folder`](Self::sync_folder).
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), TranscriptError> {
        let temporary = path.with_extension(TEMPORARY);
        let written = File::create(&temporary)
            .map_err(TranscriptError::io("create", &temporary))
            .and_then(|file| {
                self.write_at(&file, &temporary, bytes, 0)?;
                self.sync(&file, &temporary)?;
                fs::rename(&temporary, path).map_err(TranscriptError::io("name", path))
            });
        if written.is_err() {
            self.remove(&temporary)?;
        }
        written
    }

    pub fn write_at(
        &self,
        file: &File,
        path: &Path,
        bytes: &[u8],
        offset: u64,
    ) -> Result<(), TranscriptError> {
        #[cfg(test)]
        if self.takes_fault(Fault::Write) {
            file.write_all_at(&bytes[..bytes.len() / 2], offset)
                .expect("half a write");
            return Err(TranscriptError::io("write", path)(
                io::ErrorKind::StorageFull.into(),
            ));
        }
        file.write_all_at(bytes, offset)
            .map_err(TranscriptError::io("write", path))
    }

    /// Cuts off what lies behind `bytes`. A failure breaks the store: what stays behind could be
    /// taken for records later.
    pub fn truncate(&self, file: &File, path: &Path, bytes: u64) -> Result<(), TranscriptError> {
        file.set_len(bytes)
            .map_err(|err| self.break_down(path, err))
    }

    /// Makes the records in a segment durable.
    pub fn sync_data(&self, file: &File, path: &Path) -> Result<(), TranscriptError> {
        self.data_syncs.fetch_add(1, Ordering::Relaxed);
        self.sync(file, path)
    }

    /// Makes names given and taken in the folder durable.
    pub fn sync_folder(&self) -> Result<(), TranscriptError> {
        self.sync_folder_at(&self.folder)
    }

    pub fn remove(&self, path: &Path) -> Result<(), TranscriptError> {
        match fs::remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                Err(TranscriptError::io("remove", path)(err))
            }
            _ => Ok(()),
        }
    }

    pub fn data_syncs(&self) -> u64 {
        self.data_syncs.load(Ordering::Relaxed)
    }

    /// The failure after which nothing here can be trusted, if there was one.
    pub fn broken(&self) -> Option<TranscriptError> {
        let (path, source) = self.broken.get()?;
        Some(TranscriptError::Poisoned {
            path: path.clone(),
            source: Arc::clone(source),
        })
    }

    fn sync(&self, file: &File, path: &Path) -> Result<(), TranscriptError> {
        #[cfg(test)]
        if self.takes_fault(Fault::Sync) {
            return Err(self.break_down(path, io::Error::from_raw_os_error(libc::EIO)));
        }
        file.sync_data().map_err(|err| self.break_down(path, err))
    }

    fn sync_folder_at(&self, folder: &Path) -> Result<(), TranscriptError> {
        File::open(folder)
            .and_then(|it| it.sync_all())
            .map_err(|err| self.break_down(folder, err))
    }

    fn break_down(&self, path: &Path, err: io::Error) -> TranscriptError {
        let (path, source) = self.broken.get_or_init(|| {
            tracing::error!(
                path = %path.display(), error = %err,
                "could not make transcripts durable; no further call is answered",
            );
            (path.to_owned(), Arc::new(err))
        });
        TranscriptError::Poisoned {
            path: path.clone(),
            source: Arc::clone(source),
        }
    }

    #[cfg(test)]
    fn takes_fault(&self, kind: Fault) -> bool {
        let mut fault = self.fault.lock().unwrap();
        let is_due = *fault == Some(kind);
        if is_due {
            *fault = None;
        }
        is_due
    }
}

/// Reads as much as there is from `offset`, at most `buf`.
pub(super) fn read_up_to(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buf.len() {
        match file.read_at(&mut buf[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(read)
}
