//! Users for sandboxes: a worker that is root gives each live sandbox a uid that nobody else has.
//!
//! Workers on one machine take disjoint blocks of uids, held by a lock that the kernel frees with the
//! process. A uid that comes back rests until a look at the process table has shown that nothing runs
//! under it.

use std::{
    collections::{BTreeSet, VecDeque},
    fs, io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};

use crate::sandbox::SandboxError;

/// Beyond what systems give to people and services, below what they give to subordinate ids.
const FIRST_UID: u32 = 200_000;

/// More sandboxes than a worker can run, so that a uid rests for long.
const BLOCK_LEN: u32 = 1024;

/// Workers on one machine.
const BLOCKS_MAX: u32 = 64;

/// Where the blocks' locks lie; only root may write there.
const LOCK_DIR: &str = "/run/ganger/users";

/// A pool of uids.
#[derive(Clone)]
pub(super) struct Slots {
    pool: Arc<Mutex<Pool>>,
}

struct Pool {
    free: VecDeque<u32>,
    resting: Vec<u32>,
    leased: usize,
    _block: Option<OwnedFd>,
}

/// A uid held by one sandbox.
pub(super) struct Slot {
    uid: u32,
    pool: Arc<Mutex<Pool>>,
}

impl Slots {
    /// Takes a block of uids for this process.
    pub fn reserve() -> io::Result<Self> {
        if !are_mapped(&fs::read_to_string("/proc/self/uid_map")?) {
            let why =
                "this root is one of a user namespace (a rootless container?) that lacks them";
            return Err(io::Error::other(why));
        }
        fs::create_dir_all(LOCK_DIR)?;
        let dir = rustix::fs::open(
            LOCK_DIR,
            OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
        rustix::fs::fchmod(&dir, Mode::RWXU)?;
        for block in 0..BLOCKS_MAX {
            let first = FIRST_UID + block * BLOCK_LEN;
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let lock = rustix::fs::openat(&dir, first.to_string(), flags, Mode::RUSR | Mode::WUSR)?;
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self::of(first..first + BLOCK_LEN, Some(lock))),
                Err(Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::other(
            "every block of sandbox users is taken by another worker",
        ))
    }

    fn of(uids: std::ops::Range<u32>, block: Option<OwnedFd>) -> Self {
        // All rest at first: an earlier worker may have had this block.
        let pool = Pool {
            free: VecDeque::new(),
            resting: uids.collect(),
            leased: 0,
            _block: block,
        };
        Self {
            pool: Arc::new(Mutex::new(pool)),
        }
    }

    /// Leases a uid under which nothing runs. May read the process table.
    pub fn lease(&self) -> Result<Slot, SandboxError> {
        self.lease_with(live_uids)
    }

    fn lease_with(
        &self,
        live: impl FnOnce() -> io::Result<BTreeSet<u32>>,
    ) -> Result<Slot, SandboxError> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.free.is_empty() {
            let live = live().map_err(SandboxError::worker("read the process table"))?;
            let (busy, idle): (Vec<_>, Vec<_>) =
                pool.resting.drain(..).partition(|uid| live.contains(uid));
            pool.resting = busy;
            pool.free.extend(idle);
        }
        let uid = pool
            .free
            .pop_front()
            .ok_or(SandboxError::NoSlot(pool.leased))?;
        pool.leased += 1;
        Ok(Slot {
            uid,
            pool: Arc::clone(&self.pool),
        })
    }
}

impl Slot {
    /// The uid, which is also the gid.
    pub fn uid(&self) -> u32 {
        self.uid
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.resting.push(self.uid);
        pool.leased -= 1;
    }
}

/// Whether all blocks exist in the user namespace that this map describes.
fn are_mapped(uid_map: &str) -> bool {
    let (first, end) = (
        u64::from(FIRST_UID),
        u64::from(FIRST_UID + BLOCKS_MAX * BLOCK_LEN),
    );
    uid_map.lines().any(|line| {
        let mut numbers = line
            .split_ascii_whitespace()
            .map(|number| number.parse::<u64>().unwrap_or(0));
        let (inside, _outside, len) = (numbers.next(), numbers.next(), numbers.next());
        inside
            .zip(len)
            .is_some_and(|(inside, len)| inside <= first && end <= inside + len)
    })
}

/// Every uid (real, effective, saved, file system) of every process.
fn live_uids() -> io::Result<BTreeSet<u32>> {
    let mut uids = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        if !entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
        {
            continue;
        }
        // A process that ended meanwhile has no uid.
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        if let Some(line) = status.lines().find_map(|line| line.strip_prefix("Uid:")) {
            uids.extend(
                line.split_ascii_whitespace()
                    .filter_map(|uid| uid.parse::<u32>().ok()),
            );
        }
    }
    Ok(uids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_under_which_something_runs_is_not_leased_again() {
        let slots = Slots::of(10..12, None);
        let first = slots.lease_with(|| Ok(BTreeSet::new())).unwrap();
        let second = slots.lease_with(|| panic!("one is still free")).unwrap();
        let left_behind = first.uid();

        drop(first);
        drop(second);
        let third = slots
            .lease_with(|| Ok(BTreeSet::from([left_behind])))
            .unwrap();

        assert_ne!(third.uid(), left_behind);
        assert!(matches!(
            slots.lease_with(|| Ok(BTreeSet::from([left_behind]))),
            Err(SandboxError::NoSlot(1))
        ));
    }

    #[test]
    fn a_root_without_the_users_is_told_from_the_real_one() {
        assert!(are_mapped("         0          0 4294967295\n"));
        assert!(!are_mapped(
            "         0       1000          1\n         1     100000      65536\n"
        ));
        assert!(!are_mapped(""));
    }

    #[test]
    fn the_process_table_holds_this_process() {
        assert!(
            live_uids()
                .unwrap()
                .contains(&rustix::process::getuid().as_raw())
        );
    }
}
