//! How much room the disk has.

use std::{io, path::Path};

/// The room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFree {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Bytes of the whole file system.
    pub total: u64,
}

/// Asks for the room on the file system that `dir` is on.
pub fn disk_free(dir: &Path) -> io::Result<DiskFree> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(DiskFree {
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_no_more_free_than_in_total() {
        let dir = tempfile::tempdir().unwrap();

        let room = disk_free(dir.path()).unwrap();

        assert!(room.total > 0 && room.free <= room.total, "{room:?}");
        assert!(disk_free(&dir.path().join("absent")).is_err());
    }
}
