//! One process at a time has the data directory.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;

/// Holds the directory until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the directory, or says who has it.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("LOCK");
        let failed = |source| StoreError::io("locking", &path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StoreError::Locked {
                    dir: dir.to_owned(),
                    holder: holder(&mut file),
                });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        note_holder(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn note_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The process that noted itself in the file. It is only a hint: what counts is the lock.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_directory_is_refused_naming_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirLock::take(dir.path()).unwrap();

        let refusal = DirLock::take(dir.path()).unwrap_err();

        let pid = std::process::id();
        assert_eq!(
            refusal.to_string(),
            format!(
                "the data directory {} is in use by process {pid}",
                dir.path().display()
            )
        );
        drop(held);
        DirLock::take(dir.path()).unwrap();
    }
}
