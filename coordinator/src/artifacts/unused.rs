//! Artifacts that nobody uses any more.
//!
//! When an artifact was used last is the time of its file: set when it is uploaded, uploaded
//! again, or looked up for a task that is to name it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

use super::{ArtifactError, ArtifactRefusal, ArtifactStore, Digest};

impl ArtifactStore {
    /// The size in bytes of a kept artifact that is about to be used: it counts as used now, and
    /// so is there at least until a day from now. `Unknown` where there is none.
    pub fn hold(&self, digest: &Digest) -> Result<u64, ArtifactError> {
        let _using = self.using();
        let path = self.path(digest);
        let file = match File::open(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                return Err(ArtifactRefusal::Unknown { digest: *digest }.into());
            }
            opened => opened.map_err(ArtifactError::io("open", &path))?,
        };
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        futimens(&file, &times).map_err(|err| ArtifactError::io("touch", &path)(err.into()))?;
        let metadata = file.metadata();
        let metadata = metadata.map_err(ArtifactError::io("look up", &path))?;
        Ok(metadata.len())
    }

    /// Artifacts that were used last before a moment, in order, after one of them; all of them, or
    /// at least `most`.
    pub fn unused_since(
        &self,
        before: SystemTime,
        after: Option<Digest>,
        most: usize,
    ) -> Result<Vec<Digest>, ArtifactError> {
        let mut unused = Vec::new();
        let first = after.map_or(0, |after| after.as_bytes()[0]);
        for byte in first..=u8::MAX {
            if unused.len() >= most {
                break;
            }
            let mut digests = digests_in(&self.root, byte)?;
            digests.sort_unstable();
            for digest in digests {
                let is_new = after.is_none_or(|after| digest > after);
                if is_new && is_older(&self.path(&digest), before)? {
                    unused.push(digest);
                }
            }
        }
        Ok(unused)
    }

    /// Removes those of some artifacts that were still used last before a moment. Answers how
    /// many there were, and their bytes. What is being downloaded is sent to its end.
    pub fn remove_unused(
        &self,
        digests: &BTreeSet<Digest>,
        before: SystemTime,
    ) -> Result<(u64, u64), ArtifactError> {
        let (mut count, mut bytes) = (0, 0);
        for digest in digests {
            let _using = self.using();
            let path = self.path(digest);
            if !is_older(&path, before)? {
                continue;
            }
            let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            fs::remove_file(&path).map_err(ArtifactError::io("remove", &path))?;
            count += 1;
            bytes += size;
        }
        Ok((count, bytes))
    }

    fn using(&self) -> MutexGuard<'_, ()> {
        // It guards files, not memory.
        self.using.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file is there, and was used last before a moment.
fn is_older(path: &Path, before: SystemTime) -> Result<bool, ArtifactError> {
    let metadata = match fs::metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        looked_up => looked_up.map_err(ArtifactError::io("look up", path))?,
    };
    let used = metadata.modified();
    let used = used.map_err(ArtifactError::io("look up", path))?;
    Ok(used < before)
}

/// The artifacts whose digests begin with a byte.
fn digests_in(root: &Path, byte: u8) -> Result<Vec<Digest>, ArtifactError> {
    let prefix = format!("{byte:02x}");
    let folder = root.join(&prefix);
    let entries = match fs::read_dir(&folder) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(ArtifactError::io("list", &folder))?,
    };
    let mut digests = Vec::new();
    for entry in entries {
        let entry = entry.map_err(ArtifactError::io("list", &folder))?;
        let name = entry.file_name();
        let name = name.to_str().map(|rest| format!("{prefix}{rest}"));
        // Other files are not ours to remove.
        digests.extend(name.and_then(|name| name.parse::<Digest>().ok()));
    }
    Ok(digests)
}
