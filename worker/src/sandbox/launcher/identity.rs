//! Becoming the sandbox's own user, with nothing that a user could be without.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    process::{DumpableBehavior, Gid, Signal, Uid},
    thread::{CapabilitySet, CapabilitySets, UnshareFlags},
};

use super::{At, sys};
use crate::sandbox::{
    Step,
    native::wire::{Failure, Identity, Notes},
};

/// Who the programs are inside their user namespace. Not 0: some programs trust themselves too much then.
pub const INSIDE_ID: u32 = 1000;

/// More than any kernel has; the ones it lacks are refused with EINVAL.
const CAPABILITIES_MAX: u32 = 64;

/// Maps the host's user to [`INSIDE_ID`] in the user namespace just entered.
pub fn map_user(uid: u32, gid: u32) -> rustix::io::Result<()> {
    // Without this an ordinary user may not write the group map.
    write_file(CWD, "/proc/self/setgroups", "deny")?;
    write_file(CWD, "/proc/self/uid_map", &format!("{INSIDE_ID} {uid} 1"))?;
    write_file(CWD, "/proc/self/gid_map", &format!("{INSIDE_ID} {gid} 1"))
}

/// Drops to the sandbox's user and gives up every privilege, for this process and all after it.
///
/// `user_sysctls` is `/proc/sys/user` as it was before it became read-only.
pub fn assume(identity: Identity, user_sysctls: &OwnedFd) -> Result<Notes, Failure> {
    let is_nested = match identity {
        Identity::Mapped => true,
        Identity::Slot(id) => {
            become_slot(id).at(Step::Identity, "slot user")?;
            sys::unshare(UnshareFlags::NEWUSER)
                .and_then(|()| map_user(id, id))
                .is_ok()
        }
    };
    if is_nested {
        // A new user namespace comes with a full bounding set.
        drop_bounding_set().at(Step::Identity, "bounding set")?;
    }
    let notes = Notes {
        nested_users_closed: is_nested
            && write_file(user_sysctls, "max_user_namespaces", "0").is_ok(),
        own_keyring: sys::join_new_keyring().is_ok(),
        ..Notes::default()
    };

    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::clear_ambient_capability_set().at(Step::Identity, "ambient set")?;
    rustix::thread::set_capabilities(None, none).at(Step::Identity, "capabilities")?;
    rustix::thread::set_no_new_privs(true).at(Step::Identity, "no_new_privs")?;
    // Each change of user clears it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .at(Step::Identity, "death signal")?;
    // Programs share the first process's user: this keeps them from tracing it and reading its /proc files.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .at(Step::Identity, "dumpable")?;
    Ok(notes)
}

fn become_slot(id: u32) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    drop_bounding_set()?;
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    // The change of user made /proc/self root's, and the maps are written through it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
}

fn drop_bounding_set() -> rustix::io::Result<()> {
    for number in 0..CAPABILITIES_MAX {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(
            1 << number,
        )) {
            Err(Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

fn write_file(dir: impl std::os::fd::AsFd, path: &str, text: &str) -> rustix::io::Result<()> {
    let file = rustix::fs::openat(dir, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::io::write(file, text.as_bytes())? {
        written if written == text.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}
