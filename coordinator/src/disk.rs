//! How much room the disk has, and whether that is nearly none.
//!
//! It is measured once a second beside the driver, which only looks at what was found last.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// How often the room is measured. In that time a disk of 500 MB/s takes about the half of what
/// is kept free by default.
const MEASURED_EVERY: Duration = Duration::from_secs(1);

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

/// From when on a disk is nearly full: less is free than either says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFloor {
    /// Bytes.
    pub bytes: u64,
    /// Of a hundred parts so many.
    pub percent: u8,
}

impl Default for DiskFloor {
    fn default() -> Self {
        Self {
            bytes: 512 * 1024 * 1024,
            percent: 5,
        }
    }
}

impl DiskFloor {
    fn is_above(self, room: DiskFree) -> bool {
        let part = u128::from(room.total) * u128::from(self.percent) / 100;
        room.free < self.bytes || u128::from(room.free) < part
    }
}

/// Whether the disk is nearly full, as it was found last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct DiskGauge(Arc<AtomicBool>);

impl DiskGauge {
    /// Whether the disk is nearly full.
    pub fn is_low(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Notes what was found. Answers whether it was otherwise before.
    pub fn set_low(&self, is_low: bool) -> bool {
        self.0.swap(is_low, Ordering::AcqRel) != is_low
    }

    /// Measures, and says so in the log when it has changed.
    pub fn measure(&self, dir: &Path, floor: DiskFloor) {
        let room = match disk_free(dir) {
            Ok(room) => room,
            Err(error) => {
                // What was found last stays.
                tracing::warn!(%error, dir = %dir.display(), "can't measure the disk");
                return;
            }
        };
        let is_low = floor.is_above(room);
        match (self.set_low(is_low), is_low) {
            (false, _) => {}
            (true, true) => tracing::warn!(
                free = room.free,
                total = room.total,
                "the disk is nearly full: only endings, acknowledgements, cancels and deletes are \
                 taken, and nothing is given to workers"
            ),
            (true, false) => tracing::info!(free = room.free, "the disk has room again"),
        }
    }

    /// Measures again and again, until it is told to stop.
    pub async fn keep_measuring(self, dir: PathBuf, floor: DiskFloor, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(MEASURED_EVERY) => {}
            }
            let (gauge, dir) = (self.clone(), dir.clone());
            // It may block on a file system that went away; then what was found last stays.
            let measured = tokio::task::spawn_blocking(move || gauge.measure(&dir, floor));
            if measured.await.is_err() {
                tracing::error!("measuring the disk panicked");
            }
        }
    }
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

    #[test]
    fn a_disk_is_low_below_either_bound_and_not_at_it() {
        let floor = DiskFloor {
            bytes: 1_000,
            percent: 5,
        };
        let is_low = |free, total| floor.is_above(DiskFree { free, total });

        assert!(is_low(999, 10_000));
        assert!(!is_low(1_000, 10_000));
        assert!(is_low(1_999, 40_000));
        assert!(!is_low(2_000, 40_000));
        assert!(is_low(0, 0));
    }

    #[test]
    fn a_gauge_tells_what_was_measured_last() {
        let dir = tempfile::tempdir().unwrap();
        let gauge = DiskGauge::default();
        let all = DiskFloor {
            bytes: u64::MAX,
            percent: 0,
        };
        let none = DiskFloor {
            bytes: 0,
            percent: 0,
        };

        assert!(!gauge.is_low());
        gauge.measure(dir.path(), all);
        assert!(gauge.is_low());
        gauge.measure(&dir.path().join("absent"), none);
        assert!(gauge.is_low(), "nothing was measured");
        gauge.measure(dir.path(), none);
        assert!(!gauge.is_low());
    }
}
