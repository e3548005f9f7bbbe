//! Writes a large file beside a database whose commits wait for the same disk.
//!
//! Buffered writes cost nothing until somebody syncs: then a commit's `fdatasync` waits behind all
//! that is dirty. So the disk is given each small range at once, the range before it is waited
//! for, and between two ranges is a pause as long as that took: the disk's queue stays short, and
//! the commits have at least half of it. Such a file is taken away in small steps, too.

use std::{
    fs::File,
    io::{self, Write},
    thread,
    time::Duration,
};

use crate::clock;

/// Bytes that are given to the disk at once. No more than two such ranges are ever unwritten.
pub const RANGE_LEN: u64 = 256 * 1024;

/// Bytes that are freed at once.
const FREED_LEN: u64 = 4 * 1024 * 1024;

/// The longest pause between two ranges: a disk that hangs for a second is not left for another.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A file that is written from its beginning, at the disk's pace.
#[derive(Debug)]
pub struct PacedFile {
    file: File,
    len: u64,
    /// How far the disk was told to write.
    begun: u64,
    /// How far the disk was waited for.
    written: u64,
}

impl PacedFile {
    /// Goes on with an empty file.
    pub fn new(file: File) -> Self {
        Self {
            file,
            len: 0,
            begun: 0,
            written: 0,
        }
    }

    /// Writes a piece at the end, and waits as long as the disk needs for what came before it.
    pub fn write(&mut self, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            let room = RANGE_LEN - (self.len - self.begun);
            let fits = usize::try_from(room).map_or(piece.len(), |room| room.min(piece.len()));
            let (now, rest) = piece.split_at(fits);
            self.file.write_all(now)?;
            self.len += fits as u64;
            piece = rest;
            if self.len - self.begun >= RANGE_LEN {
                let (settled, took) = clock::timed(|| self.settle());
                settled?;
                thread::sleep(took.min(PAUSE_MAX));
            }
        }
        Ok(())
    }

    /// Bytes that were written.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the disk may not have yet.
    pub fn unwritten(&self) -> u64 {
        self.len - self.written
    }

    /// Makes all of it durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives the disk the last range, and waits for the one before.
    fn settle(&mut self) -> io::Result<()> {
        range::begin(&self.file, self.begun, self.len - self.begun)?;
        range::wait(&self.file, self.written, self.begun - self.written)?;
        (self.written, self.begun) = (self.begun, self.len);
        Ok(())
    }
}

/// Takes a large file's room from it, step by step from its end, before its last handle is closed: that
/// frees all that is left at once, for hundreds of milliseconds, in which commits wait.
///
/// # Errors
/// Where the file can't be cut; what is left is freed when it is closed.
pub fn shrink(file: &File) -> io::Result<()> {
    let mut len = file.metadata()?.len();
    while len > 0 {
        len = len.saturating_sub(FREED_LEN);
        let (cut, took) = clock::timed(|| file.set_len(len));
        cut?;
        thread::sleep(took.min(PAUSE_MAX));
    }
    Ok(())
}

/// `sync_file_range(2)` by its number: under its name this program has another function, see
/// `store::durable`. It makes nothing durable, and here it needn't.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod range {
    use std::{fs::File, io, os::fd::AsRawFd};

    pub(super) fn begin(file: &File, from: u64, len: u64) -> io::Result<()> {
        call(file, from, len, libc::SYNC_FILE_RANGE_WRITE)
    }

    pub(super) fn wait(file: &File, from: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            // It would stand for all to the end of the file.
            return Ok(());
        }
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        call(file, from, len, flags)
    }

    #[allow(unsafe_code)]
    fn call(file: &File, from: u64, len: u64, flags: libc::c_uint) -> io::Result<()> {
        let descriptor = file.as_raw_fd();
        // SAFETY: it takes four numbers, of the widths that it has on these processors, and
        // touches no memory of this process; the descriptor is open while `file` is borrowed.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_sync_file_range,
                descriptor,
                from as libc::off64_t,
                len as libc::off64_t,
                flags,
            )
        };
        match answer {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()).or_else(of_no_disk),
        }
    }

    /// Some file systems know no such call: there it is a plain file again.
    fn of_no_disk(error: io::Error) -> io::Result<()> {
        match error.raw_os_error() {
            Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE | libc::EOPNOTSUPP) => Ok(()),
            _ => Err(error),
        }
    }
}

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod range {
    use std::{fs::File, io};

    pub(super) fn begin(_: &File, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn wait(file: &File, _: u64, _: u64) -> io::Result<()> {
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_given_each_range_before_the_next_but_one_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let mut file = PacedFile::new(File::create(&path).unwrap());
        let piece: Vec<u8> = (0..90_001_u32).map(|n| n as u8).collect();

        for _ in 0..40 {
            file.write(&piece).unwrap();
            assert!(file.unwritten() <= 2 * RANGE_LEN, "{}", file.unwritten());
        }
        file.sync().unwrap();

        assert_eq!(file.len(), 40 * 90_001);
        assert!(std::fs::read(&path).unwrap() == piece.repeat(40));
    }

    #[test]
    fn a_piece_longer_than_a_range_is_cut() {
        let mut file = PacedFile::new(tempfile::tempfile().unwrap());

        file.write(&vec![7; 3 * RANGE_LEN as usize + 5]).unwrap();

        assert_eq!(file.unwritten(), RANGE_LEN + 5);
    }

    #[test]
    fn a_file_is_shrunk_to_nothing() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 2 * FREED_LEN as usize + 5])
            .unwrap();

        shrink(&file).unwrap();

        assert_eq!(file.metadata().unwrap().len(), 0);
        shrink(&file).unwrap();
    }
}
