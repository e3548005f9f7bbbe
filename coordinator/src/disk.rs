//! How much room the disk has, and what may be written then (P8).
//!
//! The driver measures before each group, which costs a microsecond. Between two measurements
//! another program may take all that is left: for that there is the [`Reserve`].

mod reserve;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use board::time::Time;
use tokio::sync::watch;

pub use self::reserve::Reserve;

/// What must be there, free or in the reserve, for a write to be begun. A group of inputs brings less
/// than 3 MiB when the disk is low, and sled writes a few times that at the most.
pub const WRITE_ROOM: u64 = 16 * 1024 * 1024;

/// How much of a disk is held free for the last when nothing is said.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// How often it is tried to take the reserve again.
const TAKEN_AGAIN_EVERY: Duration = Duration::from_secs(1);

/// What is made free ahead of writes that can't draw on the reserve by themselves.
const GIVEN_AHEAD: u64 = 8 * 1024 * 1024;

/// How long a write that found no room waits before it is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

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
    fn judge(self, found: DiskFree, reserve: u64) -> Room {
        let part = u128::from(found.total) * u128::from(self.percent) / 100;
        if found.free.saturating_add(reserve) < WRITE_ROOM {
            Room::None
        } else if found.free < self.bytes || u128::from(found.free) < part {
            Room::Low
        } else {
            Room::Ample
        }
    }
}

/// What the disk has room for, as it was found last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Room {
    /// Everything.
    #[default]
    Ample,
    /// What ends something, or takes something away.
    Low,
    /// Nothing: no write is begun.
    None,
}

/// Tells what was found when the disk was measured last. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct DiskGauge(Arc<watch::Sender<Room>>);

impl DiskGauge {
    /// What there is room for.
    pub fn room(&self) -> Room {
        *self.0.borrow()
    }

    /// Whether the disk is nearly full, or full.
    pub fn is_low(&self) -> bool {
        self.room() != Room::Ample
    }

    /// Whether nothing may be written.
    pub fn is_full(&self) -> bool {
        self.room() == Room::None
    }

    /// Notes what was found. Answers whether it was otherwise before.
    pub fn set(&self, room: Room) -> bool {
        self.0
            .send_if_modified(|found| std::mem::replace(found, room) != room)
    }

    /// Waits until something may be written. Cancel safe.
    pub async fn until_writable(&self) {
        let mut found = self.0.subscribe();
        // The sender is this very gauge's.
        let _ = found.wait_for(|room| *room != Room::None).await;
    }

    /// Waits a moment after a write that found no room, and until one may be begun again.
    pub async fn after_full(&self) {
        tokio::time::sleep(AGAIN_AFTER).await;
        self.until_writable().await;
    }
}

/// Measures the disk, and takes care of the reserve. The driver looks before every group.
#[derive(Debug)]
pub struct DiskKeeper {
    dir: PathBuf,
    floor: DiskFloor,
    reserve: Arc<Reserve>,
    gauge: DiskGauge,
    /// When it last tried to take the reserve again.
    tried_at: Time,
    /// What the log says of the reserve.
    told: u64,
    is_unmeasured: bool,
}

impl DiskKeeper {
    /// Takes the reserve, where there is room for it, and measures.
    pub fn new(dir: PathBuf, floor: DiskFloor, reserve: Arc<Reserve>, now: Time) -> Self {
        let room = disk_free(&dir).map_or(0, |room| room.free);
        let missing = reserve.missing();
        let is_room = room >= missing.saturating_add(WRITE_ROOM);
        let taken = match is_room {
            true => reserve.take(),
            false => Err(io::ErrorKind::StorageFull.into()),
        };
        if let Err(error) = taken {
            tracing::warn!(
                %error,
                bytes = missing,
                "the reserve for a full disk can't be taken yet"
            );
        }
        if !reserve.is_drawn_on() {
            tracing::warn!("writes don't draw on the reserve: it is given up ahead of them");
        }
        let mut keeper = Self {
            dir,
            floor,
            told: reserve.kept(),
            reserve,
            gauge: DiskGauge::default(),
            tried_at: now,
            is_unmeasured: false,
        };
        keeper.measure(now);
        keeper
    }

    /// Where to look at what was found.
    pub fn gauge(&self) -> DiskGauge {
        self.gauge.clone()
    }

    /// Measures, and says so in the log when it has changed.
    pub fn measure(&mut self, now: Time) {
        let found = match disk_free(&self.dir) {
            Ok(found) => found,
            Err(error) => {
                // What was found last stays.
                if !std::mem::replace(&mut self.is_unmeasured, true) {
                    tracing::warn!(%error, dir = %self.dir.display(), "can't measure the disk");
                }
                return;
            }
        };
        self.is_unmeasured = false;
        let found = self.keep_reserve(found, now);
        let room = self.floor.judge(found, self.reserve.kept());
        if !self.gauge.set(room) {
            return;
        }
        match room {
            Room::Ample => tracing::info!(free = found.free, "the disk has room again"),
            Room::Low => tracing::warn!(
                free = found.free,
                total = found.total,
                "the disk is nearly full: only endings, acknowledgements, cancels and deletes are \
                 taken, and nothing is given to workers"
            ),
            Room::None => tracing::error!(
                free = found.free,
                reserve = self.reserve.kept(),
                needed = WRITE_ROOM,
                "the disk is full: nothing is written until there is room"
            ),
        }
    }

    /// Takes the reserve again where there is room, and tells what became of it.
    fn keep_reserve(&mut self, found: DiskFree, now: Time) -> DiskFree {
        let mut found = found;
        let missing = self.reserve.missing();
        let left = found.free.saturating_sub(missing);
        let after = DiskFree {
            free: left,
            ..found
        };
        let is_due = missing > 0 && now.since(self.tried_at) >= TAKEN_AGAIN_EVERY;
        if is_due && left >= 2 * WRITE_ROOM && self.floor.judge(after, 0) == Room::Ample {
            self.tried_at = now;
            if self.reserve.take().is_ok() {
                found = after;
            }
        }
        if !self.reserve.is_drawn_on() {
            while found.free < GIVEN_AHEAD && self.reserve.give_up() {
                found.free = disk_free(&self.dir).map_or(found.free, |room| room.free);
            }
        }
        let kept = self.reserve.kept();
        if kept < self.told {
            tracing::warn!(
                left = kept,
                "the disk was full: the reserve is being given up"
            );
        } else if kept > self.told {
            tracing::info!(bytes = kept, "the reserve is taken again");
        }
        self.told = kept;
        found
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

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_disk_is_low_below_either_bound_and_not_at_it() {
        let floor = DiskFloor {
            bytes: 1_000 * MIB,
            percent: 5,
        };
        let judge = |free, total| {
            let (free, total) = (free * MIB, total * MIB);
            floor.judge(DiskFree { free, total }, WRITE_ROOM)
        };

        assert_eq!(judge(999, 10_000), Room::Low);
        assert_eq!(judge(1_000, 10_000), Room::Ample);
        assert_eq!(judge(1_999, 40_000), Room::Low);
        assert_eq!(judge(2_000, 40_000), Room::Ample);
        assert_eq!(judge(0, 0), Room::Low);
    }

    #[test]
    fn nothing_is_written_unless_what_is_free_and_the_reserve_are_enough_together() {
        let floor = DiskFloor {
            bytes: 0,
            percent: 0,
        };
        let judge = |free, reserve| {
            let found = DiskFree {
                free,
                total: 64 * MIB,
            };
            floor.judge(found, reserve)
        };

        assert_eq!(judge(WRITE_ROOM - 1, 0), Room::None);
        assert_eq!(judge(0, WRITE_ROOM - 1), Room::None);
        assert_eq!(judge(WRITE_ROOM, 0), Room::Ample);
        assert_eq!(judge(WRITE_ROOM - MIB, MIB), Room::Ample);
    }

    #[tokio::test]
    async fn a_gauge_tells_what_was_measured_last() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(dir.path(), MIB).unwrap();
        let floor = |bytes| DiskFloor { bytes, percent: 0 };

        let mut keeper = DiskKeeper::new(
            dir.path().to_owned(),
            floor(u64::MAX),
            reserve.clone(),
            Time(0),
        );
        let gauge = keeper.gauge();
        assert_eq!(gauge.room(), Room::Low);
        assert_eq!(reserve.kept(), MIB, "it was taken at the start");
        keeper.floor = floor(0);
        keeper.dir = dir.path().join("absent");
        keeper.measure(Time(0));
        assert_eq!(gauge.room(), Room::Low, "nothing was measured");
        keeper.dir = dir.path().to_owned();
        reserve.give_up();
        keeper.measure(Time(500));
        assert_eq!((gauge.room(), reserve.kept()), (Room::Ample, 0));
        keeper.measure(Time(1_000));
        assert_eq!(reserve.kept(), MIB, "it was taken again");

        gauge.set(Room::None);
        let waiting = gauge.until_writable();
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        gauge.set(Room::Low);
        waiting.await;
    }
}
