//! Looking at processes as the kernel shows them.

use std::{collections::BTreeSet, fs};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::PATIENCE;

/// The processes that descend from one, itself left out. What is dead and not yet reaped doesn't
/// count.
pub fn descendants(of: i32) -> BTreeSet<i32> {
    let living: Vec<(i32, i32)> = all()
        .filter_map(|pid| Some((pid, living_parent(pid)?)))
        .collect();
    let mut found = BTreeSet::new();
    let mut next = vec![of];
    while let Some(parent) = next.pop() {
        let children = living.iter().filter(|(_, p)| *p == parent);
        next.extend(
            children
                .map(|(pid, _)| *pid)
                .filter(|pid| found.insert(*pid)),
        );
    }
    found
}

/// The living children of a process.
pub fn children(of: i32) -> Vec<i32> {
    all()
        .filter(|pid| living_parent(*pid) == Some(of))
        .collect()
}

/// How many processes that descend from this one are dead and not reaped.
pub fn zombies(of: i32) -> usize {
    let mut parents = descendants(of);
    parents.insert(of);
    let is_zombie = |pid: &i32| {
        state_and_parent(*pid)
            .is_some_and(|(state, parent)| state == 'Z' && parents.contains(&parent))
    };
    all().filter(is_zombie).count()
}

/// Whether a process lives: it is there, and not a zombie.
pub fn lives(pid: i32) -> bool {
    living_parent(pid).is_some()
}

/// The living processes that have this text among their arguments or in their environment.
pub fn showing(text: &str) -> Vec<i32> {
    let shows = |pid: &i32| {
        let read = |what| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        [read("cmdline"), read("environ")].iter().any(|bytes| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        })
    };
    all().filter(shows).filter(|pid| lives(*pid)).collect()
}

/// Waits until all of these processes have ended.
pub async fn gone(pids: impl IntoIterator<Item = i32>) {
    for pid in pids {
        let raw = Pid::from_raw(pid).expect("process ids are above zero");
        let Ok(handle) = pidfd_open(raw, PidfdFlags::NONBLOCK) else {
            continue;
        };
        let ended = tokio::task::spawn_blocking(move || {
            // It becomes readable when the process ends.
            let patience = Timespec::try_from(PATIENCE).expect("a minute is a span");
            poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&patience))
        });
        let ended = ended.await.unwrap().unwrap();
        assert_eq!(ended, 1, "process {pid} does not end");
    }
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn living_parent(pid: i32) -> Option<i32> {
    let (state, parent) = state_and_parent(pid)?;
    (!matches!(state, 'Z' | 'X')).then_some(parent)
}

fn state_and_parent(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// How much memory a process has, KiB.
pub fn rss_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB"));
    kib.expect("a living process has a size")
        .trim()
        .parse()
        .unwrap()
}
