//! Artifacts: blobs beside the database, each named by the SHA-256 of its bytes.
//!
//! Owns `<data>/artifacts`: a blob lies at `ab/cdef…` (its digest in hex, the first byte as a
//! folder), an unfinished upload under `tmp/`. A blob never changes once it has its name, so
//! reading needs no lock, and the same bytes uploaded twice are kept once.
//!
//! Knows nothing of tasks, attempts or who may read what.
//!
//! Invariants:
//! 1. A file under a digest's name was synced in full before it got that name.
//! 2. When [`Upload::finish`] returns, the blob survives a power cut.
//! 3. No reader ends well with bytes that are not those of the digest: the last of them are held
//!    back until the whole blob was seen to have it.
//! 4. No path is ever built from a text that came from outside: only from a parsed [`Digest`].
//!
//! **Every call blocks** on the disk: async code calls them in `tokio::task::spawn_blocking`,
//! moving an [`Upload`] or [`ArtifactReader`] in and out. The caller holds the data directory's
//! lock: opening a second store on the same folder would sweep the uploads of the first.

mod digest;
mod reader;
#[cfg(test)]
mod tests;
mod unused;
mod upload;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub use digest::{Digest, MalformedDigest};
pub use reader::ArtifactReader;
pub use upload::{StoredArtifact, Upload};

/// The largest artifact: 1 GiB, so that one upload cannot fill an ordinary disk.
pub const ARTIFACT_BYTES_MAX: u64 = 1 << 30;

const UPLOADS_FOLDER: &str = "tmp";

/// The answer "no" to something asked of the store; nothing is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactRefusal {
    /// No blob with this digest is kept here.
    #[error("no artifact with digest {digest}")]
    Unknown {
        /// What was asked for.
        digest: Digest,
    },
    /// The upload would grow beyond the limit.
    #[error("artifact is larger than the limit of {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The bytes that arrived are not those that were announced.
    #[error("artifact has digest {actual}, but {expected} was announced")]
    DigestMismatch {
        /// What the uploader announced.
        expected: Digest,
        /// What its bytes add up to.
        actual: Digest,
    },
    /// The reader asked to start behind the last byte.
    #[error("offset {offset} is beyond the end of artifact {digest} ({bytes} bytes)")]
    OffsetBeyondEnd {
        /// What was to be read.
        digest: Digest,
        /// Where reading was to start.
        offset: u64,
        /// How large the artifact is.
        bytes: u64,
    },
    /// An earlier append to this upload was refused or failed; it can only be dropped.
    #[error("upload is broken by an earlier error")]
    UploadBroken,
}

/// Why a call did not succeed: a refusal, or the disk failed.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// An expected "no".
    #[error(transparent)]
    Refused(#[from] ArtifactRefusal),
    /// The blob is there, but its bytes are not those that were kept.
    #[error("artifact {digest} is damaged on the disk")]
    Damaged {
        /// Which.
        digest: Digest,
    },
    /// The file system failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl ArtifactError {
    /// Whether there was no room on the disk.
    pub fn is_disk_full(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        };
        source.is_some_and(|source| source.kind() == io::ErrorKind::StorageFull)
    }

    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// The blobs of one coordinator. Cheap to clone; clones share one folder.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    root: Arc<Path>,
    bytes_max: u64,
    next_upload: Arc<AtomicU64>,
    /// Held while a blob is found to be there and to be used, or to be unused and removed.
    using: Arc<Mutex<()>>,
}

impl ArtifactStore {
    /// Opens the store in `root`, making the folder where it is missing and removing what
    /// uploads of an earlier process left behind. Artifacts beyond `bytes_max` are refused.
    pub fn open(root: &Path, bytes_max: u64) -> Result<Self, ArtifactError> {
        let uploads = root.join(UPLOADS_FOLDER);
        fs::create_dir_all(&uploads).map_err(ArtifactError::io("create", &uploads))?;
        sweep(&uploads)?;
        sync_folder(root)?;
        if let Some(parent) = root.parent().filter(|it| !it.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        Ok(Self {
            root: root.into(),
            bytes_max,
            next_upload: Arc::default(),
            using: Arc::default(),
        })
    }

    /// Starts an upload. Dropping it unfinished leaves nothing behind.
    pub fn upload(&self) -> Result<Upload, ArtifactError> {
        let number = self.next_upload.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(UPLOADS_FOLDER).join(number.to_string());
        Upload::create(self.clone(), path)
    }

    /// The size in bytes of a kept artifact; `Unknown` where there is none.
    pub fn size(&self, digest: &Digest) -> Result<u64, ArtifactError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                Err(ArtifactRefusal::Unknown { digest: *digest }.into())
            }
            Err(err) => Err(ArtifactError::io("look up", &path)(err)),
        }
    }

    /// Reads a kept artifact from `offset`, at most `length` bytes, to its end where none is
    /// given. An offset at the end reads nothing, one beyond it is refused. The whole blob is
    /// checked in any case, so a part costs the reading of all of it.
    pub fn reader(
        &self,
        digest: &Digest,
        offset: u64,
        length: Option<u64>,
    ) -> Result<ArtifactReader, ArtifactError> {
        let bytes = self.size(digest)?;
        if offset > bytes {
            return Err(ArtifactRefusal::OffsetBeyondEnd {
                digest: *digest,
                offset,
                bytes,
            }
            .into());
        }
        let path = self.path(digest);
        let file = File::open(&path).map_err(ArtifactError::io("open", &path))?;
        let end = offset.saturating_add(length.unwrap_or(u64::MAX)).min(bytes);
        Ok(ArtifactReader::new(*digest, path, file, bytes, offset..end))
    }

    /// Whether a blob is kept under this digest and has it.
    fn is_whole(&self, digest: &Digest, bytes: u64) -> bool {
        // One of another size need not be read.
        let is_there = self.size(digest).is_ok_and(|it| it == bytes);
        let end = || {
            self.reader(digest, bytes, None)
                .and_then(|mut it| it.next_chunk())
        };
        is_there && matches!(end(), Ok(None))
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(&name[2..])
    }
}

fn sweep(uploads: &Path) -> Result<(), ArtifactError> {
    let mut swept = 0;
    for entry in fs::read_dir(uploads).map_err(ArtifactError::io("list", uploads))? {
        let path = entry.map_err(ArtifactError::io("list", uploads))?.path();
        fs::remove_file(&path).map_err(ArtifactError::io("remove", &path))?;
        swept += 1;
    }
    if swept > 0 {
        tracing::info!(swept, "removed unfinished artifact uploads");
    }
    Ok(())
}

fn sync_folder(path: &Path) -> Result<(), ArtifactError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(ArtifactError::io("sync", path))
}
