//! Reading an artifact, and checking it on the way.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::{ArtifactError, Digest};

/// What is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// An open artifact, of which a part is given out in chunks. All of it is hashed, also what lies
/// before and behind the part.
#[derive(Debug)]
pub struct ArtifactReader {
    digest: Digest,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    artifact_bytes: u64,
    part: Range<u64>,
    at: u64,
    /// The newest chunk. It is given out when the next one was read, and the last one when the
    /// blob was seen to be whole: no damaged blob ever comes to its end.
    held: Vec<u8>,
    is_checked: bool,
}

impl ArtifactReader {
    pub(super) fn new(
        digest: Digest,
        path: PathBuf,
        file: File,
        artifact_bytes: u64,
        part: Range<u64>,
    ) -> Self {
        Self {
            digest,
            path,
            file,
            hasher: Sha256::new(),
            artifact_bytes,
            part,
            at: 0,
            held: Vec::new(),
            is_checked: false,
        }
    }

    /// The size of the whole artifact, not of the part that is read.
    pub fn artifact_bytes(&self) -> u64 {
        self.artifact_bytes
    }

    /// The next bytes of the part, at most 64 KiB; `None` at its end, when the whole artifact is
    /// what it was. `Damaged` where it is not. **Blocks**.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, ArtifactError> {
        while !self.is_checked {
            let chunk = self.read()?;
            if chunk.is_empty() {
                self.check()?;
                break;
            }
            let from = self.at - chunk.len() as u64;
            let wanted = self.part.start.max(from)..self.part.end.min(self.at);
            if wanted.start < wanted.end {
                let wanted = (wanted.start - from) as usize..(wanted.end - from) as usize;
                let before = std::mem::replace(&mut self.held, chunk[wanted].to_vec());
                if !before.is_empty() {
                    return Ok(Some(before));
                }
            }
        }
        let last = std::mem::take(&mut self.held);
        Ok((!last.is_empty()).then_some(last))
    }

    fn read(&mut self) -> Result<Vec<u8>, ArtifactError> {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        (&mut self.file)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut chunk)
            .map_err(ArtifactError::io("read", &self.path))?;
        self.hasher.update(&chunk);
        self.at += chunk.len() as u64;
        Ok(chunk)
    }

    fn check(&mut self) -> Result<(), ArtifactError> {
        let actual = Digest::from(<[u8; 32]>::from(self.hasher.finalize_reset()));
        if actual != self.digest || self.at != self.artifact_bytes {
            return Err(ArtifactError::Damaged {
                digest: self.digest,
            });
        }
        self.is_checked = true;
        Ok(())
    }
}
