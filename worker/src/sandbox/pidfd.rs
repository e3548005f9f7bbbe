//! Whether a process that is held by descriptor is dead yet.

use std::{os::fd::OwnedFd, time::Instant};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};

/// Whether the process has not ended.
pub(super) fn is_alive(process: &OwnedFd) -> bool {
    !wait_for_death(process, Instant::now())
}

/// Waits until the process is dead; false at the deadline. Blocks.
pub(super) fn wait_for_death(process: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        match rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
