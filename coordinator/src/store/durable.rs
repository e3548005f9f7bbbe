//! Makes sled's flush durable on Linux, and fsyncs what sled never does.
//!
//! sled 0.34 ends a flush with `sync_file_range(2)`, which neither writes metadata nor empties
//! the drive's cache: after a power cut, everything may be gone. Here that symbol is defined
//! again, as `fdatasync(2)`. The linker prefers it to the C library's, for dynamic and static
//! programs alike. That it took effect is checked by each commit, see [`syncs`], because a
//! program that was linked in another way would lose data silently.

use std::{
    fs::{self, File},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use super::StoreError;

static SYNCS: AtomicU64 = AtomicU64::new(0);

/// How many times this process's database has waited for its disk, by `fdatasync`.
pub fn syncs() -> u64 {
    SYNCS.load(Ordering::Acquire)
}

/// Whether a flush must show in [`syncs`]. Elsewhere than on Linux sled calls `fsync` itself.
pub(super) const IS_COUNTED: bool = cfg!(target_os = "linux");

#[cfg(target_os = "linux")]
mod linux {
    use std::{ffi::c_int, sync::atomic::Ordering};

    /// Stands in for the C library's function of this name. The range and the flags don't matter:
    /// the whole file is synced, with the metadata that is needed to read it.
    #[allow(unsafe_code)]
    // SAFETY: the signature is that of `sync_file_range(2)`, so whoever links to the name calls
    // it rightly. What it does is more than the original promises, never less.
    #[unsafe(no_mangle)]
    extern "C" fn sync_file_range(
        descriptor: c_int,
        _offset: libc::off64_t,
        _len: libc::off64_t,
        _flags: libc::c_uint,
    ) -> c_int {
        // SAFETY: takes a number and touches no memory; a bad descriptor is an error, not a fault.
        let answer = unsafe { libc::fdatasync(descriptor) };
        if answer == 0 {
            super::SYNCS.fetch_add(1, Ordering::Release);
        }
        answer
    }
}

/// Syncs a file, or a directory's entries.
pub(super) fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| StoreError::io("syncing", path, source))
}

/// Syncs everything in a directory, and it.
pub(super) fn sync_tree(dir: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("syncing", dir, source);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            sync(&entry.path())?;
        }
    }
    sync(dir)
}
