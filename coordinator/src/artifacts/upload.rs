//! An upload: bytes on their way to becoming an artifact.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::{ArtifactError, ArtifactRefusal, ArtifactStore, Digest, sync_folder};

/// An artifact being written to a temporary file, hashed on the way. After an error from
/// [`append`](Self::append) it can only be dropped, which removes the file; so does dropping
/// it at any other time before [`finish`](Self::finish) succeeded.
#[derive(Debug)]
pub struct Upload {
    store: ArtifactStore,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    bytes: u64,
    is_broken: bool,
    draws_on_reserve: bool,
}

/// What an upload became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredArtifact {
    /// The name of the artifact.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// The same bytes were kept already.
    pub was_present: bool,
}

impl Upload {
    pub(super) fn create(store: ArtifactStore, path: PathBuf) -> Result<Self, ArtifactError> {
        let file = File::create_new(&path).map_err(ArtifactError::io("create", &path))?;
        Ok(Self {
            store,
            path,
            file,
            hasher: Sha256::new(),
            bytes: 0,
            is_broken: false,
            draws_on_reserve: false,
        })
    }

    /// Lets it draw on what is held free for the last: it belongs to something that ends.
    pub fn drawing_on_reserve(mut self) -> Self {
        self.draws_on_reserve = true;
        self
    }

    /// Adds the next bytes; refused beyond the store's limit.
    pub fn append(&mut self, chunk: &[u8]) -> Result<(), ArtifactError> {
        if self.is_broken {
            return Err(ArtifactRefusal::UploadBroken.into());
        }
        let bytes = self.bytes + chunk.len() as u64;
        if bytes > self.store.bytes_max {
            self.is_broken = true;
            return Err(ArtifactRefusal::TooLarge {
                bytes_max: self.store.bytes_max,
            }
            .into());
        }
        let written = match self.draws_on_reserve {
            // Only writes at a place do.
            true => self.file.write_all_at(chunk, self.bytes),
            false => self.file.write_all(chunk),
        };
        if let Err(err) = written {
            // How much of the chunk was written is unknown, so file and hash have parted.
            self.is_broken = true;
            return Err(ArtifactError::io("write", &self.path)(err));
        }
        self.hasher.update(chunk);
        self.bytes = bytes;
        Ok(())
    }

    /// Makes the artifact durable and gives it its name. With `expected`, bytes of any other
    /// digest are refused, and nothing of them is kept.
    pub fn finish(mut self, expected: Option<Digest>) -> Result<StoredArtifact, ArtifactError> {
        if self.is_broken {
            return Err(ArtifactRefusal::UploadBroken.into());
        }
        let actual = Digest::from(<[u8; 32]>::from(self.hasher.finalize_reset()));
        if let Some(expected) = expected.filter(|it| *it != actual) {
            return Err(ArtifactRefusal::DigestMismatch { expected, actual }.into());
        }
        // Other bytes under this name are damage: they are replaced.
        let was_present = self.store.hold(&actual).is_ok_and(|it| it == self.bytes)
            && self.store.is_whole(&actual, self.bytes);
        if !was_present {
            self.name(&actual)?;
        }
        // Also where the file was there already: whoever named it may not have come this far.
        let path = self.store.path(&actual);
        let folder = path.parent().expect("an artifact lies in a folder");
        sync_folder(folder)?;
        sync_folder(&self.store.root)?;
        Ok(StoredArtifact {
            digest: actual,
            bytes: self.bytes,
            was_present,
        })
    }

    fn name(&self, digest: &Digest) -> Result<(), ArtifactError> {
        self.file
            .sync_all()
            .map_err(ArtifactError::io("sync", &self.path))?;
        let path = self.store.path(digest);
        let folder = path.parent().expect("an artifact lies in a folder");
        fs::create_dir_all(folder).map_err(ArtifactError::io("create", folder))?;
        fs::rename(&self.path, &path).map_err(ArtifactError::io("name", &path))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            // Finished: the file has its lasting name.
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
            Err(err) => tracing::warn!(
                path = %self.path.display(), error = %err,
                "could not remove an unfinished upload; the next start will",
            ),
        }
    }
}
