//! Room that is kept occupied, so that it can be given up last (P8).
//!
//! A file in the data directory holds it. Where a write finds the disk full, a piece of it is given
//! up and the write goes on: sled, once a write of its own has failed, takes no more until the
//! process is started again. Between two looks at the disk another program may fill all of it, so
//! looking ahead alone can't prevent that. What is watched is `pwrite`, by which the database and the
//! transcripts write; everything else meets the full disk as it is.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

/// The file's name in the data directory.
const NAME: &str = "reserve";

/// What is given up at once. A program that is filling the disk takes this, too, if it is quicker.
const STEP: u64 = 4 * 1024 * 1024;

/// Every reserve of this process: a write may ask for room on any of their disks.
static RESERVES: Mutex<Vec<Weak<Reserve>>> = Mutex::new(Vec::new());

/// How often the process has called `pwrite`.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// A part of a disk that is held free for the last.
#[derive(Debug)]
pub struct Reserve {
    file: File,
    device: u64,
    wanted: u64,
    kept: Mutex<u64>,
    is_drawn_on: bool,
}

impl Reserve {
    /// Opens the reserve of a data directory, with what it holds from before. It grows to `wanted`
    /// bytes by [`Reserve::take`] alone.
    pub fn open(dir: &Path, wanted: u64) -> io::Result<Arc<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(NAME))?;
        let found = file.metadata()?;
        if found.len() > wanted {
            file.set_len(wanted)?;
        }
        let before = WRITES.load(Ordering::Relaxed);
        // Nothing is written: this only shows whether writes come by here.
        let _ = file.write_at(&[], 0);
        let reserve = Arc::new(Self {
            device: found.dev(),
            wanted,
            // What it seems to hold and doesn't occupy is no reserve.
            kept: Mutex::new((found.blocks() * 512).min(found.len()).min(wanted)),
            is_drawn_on: WRITES.load(Ordering::Relaxed) != before,
            file,
        });
        let mut reserves = RESERVES.lock().unwrap_or_else(PoisonError::into_inner);
        reserves.retain(|reserve| reserve.strong_count() > 0);
        reserves.push(Arc::downgrade(&reserve));
        Ok(reserve)
    }

    /// Bytes that it occupies.
    pub fn kept(&self) -> u64 {
        *self.lock()
    }

    /// Bytes that it lacks.
    pub fn missing(&self) -> u64 {
        self.wanted.saturating_sub(self.kept())
    }

    /// Whether a write that finds the disk full draws on it by itself.
    pub fn is_drawn_on(&self) -> bool {
        self.is_drawn_on
    }

    /// Occupies all that is wanted, or no more than before.
    pub fn take(&self) -> io::Result<()> {
        let mut kept = self.lock();
        if *kept == self.wanted {
            return Ok(());
        }
        let taken = match fallocate(&self.file, FallocateFlags::empty(), 0, self.wanted) {
            Err(Errno::OPNOTSUPP) => self.fill(*kept),
            taken => taken.map_err(Into::into),
        };
        match taken {
            Ok(()) => *kept = self.wanted,
            // What was taken of the rest goes back; that this fails, too, costs only that much.
            Err(_) => drop(self.file.set_len(*kept)),
        }
        taken
    }

    /// Gives up a piece. Says whether there was one.
    pub fn give_up(&self) -> bool {
        let mut kept = self.lock();
        let left = kept.saturating_sub(STEP);
        if *kept == 0 || self.file.set_len(left).is_err() {
            return false;
        }
        *kept = left;
        true
    }

    /// Writes what can't be allocated.
    fn fill(&self, from: u64) -> io::Result<()> {
        let mut file = &self.file;
        io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
        let piece = vec![0; 1 << 20];
        let mut left = self.wanted - from;
        while left > 0 {
            let len = left.min(piece.len() as u64);
            // It is at most as long as the piece.
            file.write_all(&piece[..len as usize])?;
            left -= len;
        }
        self.file.sync_data()
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        // Nothing that holds this lock can panic half way through a change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up a piece of the reserve on a disk. Says whether there was one.
fn give_up_on(device: u64) -> bool {
    let reserves = RESERVES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut there = reserves.iter().filter_map(Weak::upgrade);
    there.any(|reserve| reserve.device == device && reserve.give_up())
}

// Elsewhere the reserve is given up ahead of the writes, see `DiskKeeper::measure`.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod linux {
    use std::{
        ffi::{c_int, c_void},
        io,
        os::fd::BorrowedFd,
        sync::atomic::Ordering,
    };

    /// Stands in for the C library's function of this name, as `sync_file_range` does in the store.
    ///
    /// # Safety
    /// The same as for `pwrite(2)`: `bytes` points to `len` bytes.
    #[allow(unsafe_code)]
    // SAFETY: the signature is that of `pwrite64(3)`, so whoever links to the name calls it rightly.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn pwrite64(
        fd: c_int,
        bytes: *const c_void,
        len: usize,
        offset: i64,
    ) -> isize {
        super::WRITES.fetch_add(1, Ordering::Relaxed);
        loop {
            // SAFETY: the caller keeps to the contract of this very system call.
            let written = unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, len, offset) };
            let is_full =
                written < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSPC);
            if !is_full || !has_given_up(fd) {
                // It fits: the machine's words have 64 bits.
                return written as isize;
            }
        }
    }

    /// Gives up a piece of the reserve on the disk of this file. If there is none, the last error is
    /// again that the disk is full.
    #[allow(unsafe_code)]
    fn has_given_up(fd: c_int) -> bool {
        // SAFETY: the caller of `pwrite64` keeps it open until that returns.
        let file = unsafe { BorrowedFd::borrow_raw(fd) };
        let has = rustix::fs::fstat(file).is_ok_and(|stat| super::give_up_on(stat.st_dev));
        if !has {
            // SAFETY: the address is that of this thread's own variable.
            unsafe { *libc::__errno_location() = libc::ENOSPC };
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_occupied_given_up_by_pieces_and_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let occupied = || std::fs::metadata(dir.path().join(NAME)).unwrap().blocks() * 512;

        let reserve = Reserve::open(dir.path(), 3 * STEP / 2).unwrap();
        assert_eq!((reserve.kept(), reserve.missing()), (0, 3 * STEP / 2));
        reserve.take().unwrap();
        assert_eq!(reserve.missing(), 0);
        assert!(occupied() >= 3 * STEP / 2);

        assert!(reserve.give_up());
        assert_eq!(reserve.kept(), STEP / 2);
        assert!(reserve.give_up() && !reserve.give_up());
        assert_eq!(occupied(), 0);
        reserve.take().unwrap();
        assert!(occupied() >= 3 * STEP / 2);
    }

    #[test]
    fn reserve_is_found_again_and_never_larger_than_wanted() {
        let dir = tempfile::tempdir().unwrap();
        Reserve::open(dir.path(), 2 * STEP).unwrap().take().unwrap();

        assert_eq!(
            Reserve::open(dir.path(), 2 * STEP).unwrap().kept(),
            2 * STEP
        );
        assert_eq!(Reserve::open(dir.path(), STEP).unwrap().kept(), STEP);
        let none = Reserve::open(dir.path(), 0).unwrap();
        assert_eq!((none.kept(), none.missing()), (0, 0));
        assert!(!none.give_up());
    }

    #[test]
    fn a_file_that_only_seems_large_is_no_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let sparse = File::create(dir.path().join(NAME)).unwrap();
        sparse.set_len(STEP).unwrap();

        assert_eq!(Reserve::open(dir.path(), STEP).unwrap().kept(), 0);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
    fn writes_of_this_program_draw_on_the_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(dir.path(), STEP).unwrap();
        reserve.take().unwrap();
        assert!(reserve.is_drawn_on());

        let written = File::create(dir.path().join("file")).unwrap();
        written.write_all_at(b"there is room", 3).unwrap();
        assert_eq!(reserve.kept(), STEP, "it wasn't needed");
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let failed = full.write_at(b"x", 0).unwrap_err();

        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
        assert_eq!(reserve.kept(), STEP, "it is no reserve of that disk");
    }
}
