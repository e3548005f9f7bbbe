//! The file system that a sandbox sees, built from nothing.
//!
//! A small tmpfs becomes the root and is read-only in the end. What is bound into it is cloned by
//! descriptor and placed by descriptor, and every place is resolved inside that tmpfs alone (no links, no
//! crossing into another mount): nothing is ever created or mounted beneath what an agent can write. The
//! workspace comes last.

use std::{
    ffi::OsString,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
        OpenTreeFlags, UnmountFlags,
    },
};

use super::{At, identity::INSIDE_ID, sys};
use crate::sandbox::{
    Step, WORKSPACE,
    native::wire::{Blueprint, Failure, Identity},
};

/// Host directories (or links) with programs and libraries.
const SYSTEM: &[&str] = &[
    "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix",
];

/// What programs need of the host's `/etc`: the loader's cache and Debian's choices of programs.
const ETC_FROM_HOST: &[&str] = &[
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "localtime",
];

/// The only devices.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];

/// Parts of `/proc` that stay readable and only that.
const PROC_READ_ONLY: &[&str] = &["sys", "irq", "bus", "fs"];

/// Directories of `/proc` that are covered, as container engines do.
const PROC_HIDDEN_DIRS: &[&str] = &["acpi", "asound", "scsi"];

/// Files of `/proc` that are covered, as container engines do.
const PROC_HIDDEN_FILES: &[&str] = &[
    "kallsyms",
    "kcore",
    "keys",
    "kmsg",
    "latency_stats",
    "sched_debug",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
];

fn safe() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV
}

fn read_only() -> MountAttrFlags {
    safe() | MountAttrFlags::MOUNT_ATTR_RDONLY
}

/// Builds the root, moves this process into it and lets go of the host's.
///
/// Answers `/proc/sys/user` as it was before it became read-only.
pub fn enter(blueprint: &Blueprint) -> Result<OwnedFd, Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).at(Step::Root, "/")?;
    let named = blueprint.workspace.display().to_string();
    let at_workspace = rustix::fs::openat(
        CWD,
        &blueprint.workspace,
        place_flags() | OFlags::DIRECTORY,
        Mode::empty(),
    )
    .at(Step::Workspace, &named)?;
    let workspace = clone_tree(&at_workspace, "").at(Step::Workspace, &named)?;
    sys::mount_setattr(&workspace, safe(), true).at(Step::Workspace, &named)?;
    let inputs = clone_inputs(blueprint)?;

    let root = tmpfs(1 << 20, 0o755).at(Step::Root, "tmpfs")?;
    // Any directory would do to hang the new root on; the workspace is sure to exist.
    attach(&root, &at_workspace).at(Step::Root, "attach")?;
    fill_system(&root)?;
    fill_etc(&root, blueprint.identity).at(Step::Root, "/etc")?;
    fill_dev(&root, blueprint.limits.shm_size).at(Step::Root, "/dev")?;
    let user_sysctls = fill_proc(&root)?;
    let tmp = tmpfs(blueprint.limits.tmp_size, 0o1777).at(Step::Root, "/tmp")?;
    place(&root, "tmp", &tmp).at(Step::Root, "/tmp")?;
    for (target, input) in &inputs {
        place(&root, target, input).at(Step::ReadOnly, format!("/{target}"))?;
    }
    place(&root, WORKSPACE.trim_start_matches('/'), &workspace).at(Step::Workspace, WORKSPACE)?;

    pivot(&root).at(Step::Pivot, "")?;
    sys::mount_setattr(&root, read_only(), false).at(Step::Root, "read-only")?;
    Ok(user_sysctls)
}

fn clone_inputs(blueprint: &Blueprint) -> Result<Vec<(&str, OwnedFd)>, Failure> {
    blueprint
        .read_only
        .iter()
        .map(|mount| {
            let named = mount.source.display().to_string();
            let target = mount
                .target
                .to_str()
                .ok_or(Errno::ILSEQ)
                .at(Step::ReadOnly, &named)?;
            let tree = clone_tree(CWD, &mount.source).at(Step::ReadOnly, &named)?;
            sys::mount_setattr(&tree, read_only(), true).at(Step::ReadOnly, &named)?;
            Ok((target.trim_start_matches('/'), tree))
        })
        .collect()
}

fn fill_system(root: &OwnedFd) -> Result<(), Failure> {
    for name in SYSTEM {
        let host = format!("/{name}");
        match copy_link(root, Path::new(&host), name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::INVAL) => bind_read_only(root, &host, name).at(Step::Root, &host)?,
            Err(errno) => return Err(errno).at(Step::Root, &host),
        }
    }
    Ok(())
}

fn fill_etc(root: &OwnedFd, identity: Identity) -> rustix::io::Result<()> {
    make_dir(root, "etc", 0o755)?;
    for name in ETC_FROM_HOST {
        let (host, inside) = (format!("/etc/{name}"), format!("etc/{name}"));
        match copy_link(root, Path::new(&host), &inside) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::INVAL) => bind_read_only(root, &host, &inside)?,
            Err(errno) => return Err(errno),
        }
    }
    // Where no user namespace could be nested, the slot's own number shows.
    let (slot_user, slot_group) = match identity {
        Identity::Slot(id) => (
            format!("slot:x:{id}:{id}::{WORKSPACE}:/bin/sh\n"),
            format!("slot:x:{id}:\n"),
        ),
        Identity::Mapped => (String::new(), String::new()),
    };
    let passwd = format!(
        "root:x:0:0::/:/bin/false\nagent:x:{INSIDE_ID}:{INSIDE_ID}::{WORKSPACE}:/bin/sh\n{slot_user}\
         nobody:x:65534:65534::/:/bin/false\n"
    );
    let group = format!("root:x:0:\nagent:x:{INSIDE_ID}:\n{slot_group}nogroup:x:65534:\n");
    let files = [
        ("etc/passwd", passwd.as_str()),
        ("etc/group", group.as_str()),
        (
            "etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files\n",
        ),
        ("etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
        ("etc/hostname", "sandbox\n"),
        // Mounted code bases belong to somebody else, and git would refuse to read them.
        ("etc/gitconfig", "[safe]\n\tdirectory = *\n"),
    ];
    files
        .into_iter()
        .try_for_each(|(path, text)| make_file(root, path, text))
}

fn fill_dev(root: &OwnedFd, shm_size: u64) -> rustix::io::Result<()> {
    make_dir(root, "dev", 0o755)?;
    for name in DEVICES {
        let inside = format!("dev/{name}");
        let device = clone_tree(CWD, format!("/dev/{name}"))?;
        sys::mount_setattr(&device, MountAttrFlags::MOUNT_ATTR_NOSUID, false)?;
        place(root, &inside, &device)?;
    }
    let links = [
        ("fd", ""),
        ("stdin", "/0"),
        ("stdout", "/1"),
        ("stderr", "/2"),
    ];
    for (name, number) in links {
        rustix::fs::symlinkat(
            format!("/proc/self/fd{number}"),
            root,
            format!("dev/{name}"),
        )?;
    }
    place(root, "dev/shm", tmpfs(shm_size, 0o1777)?)
}

fn fill_proc(root: &OwnedFd) -> Result<OwnedFd, Failure> {
    let context = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).at(Step::Proc, "")?;
    rustix::mount::fsconfig_create(&context).at(Step::Proc, "")?;
    let flags = safe() | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let proc = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
        .at(Step::Proc, "")?;
    place(root, "proc", &proc).at(Step::Proc, "")?;
    let user_sysctls = rustix::fs::openat(
        &proc,
        "sys/user",
        place_flags() | OFlags::DIRECTORY,
        Mode::empty(),
    )
    .at(Step::Proc, "sys/user")?;

    for name in PROC_READ_ONLY {
        cover(&proc, name, || {
            let tree = clone_tree(&proc, name)?;
            sys::mount_setattr(&tree, read_only(), true)?;
            Ok(tree)
        })
        .at(Step::Proc, *name)?;
    }
    for name in PROC_HIDDEN_DIRS {
        cover(&proc, name, || {
            let empty = tmpfs(4096, 0o555)?;
            sys::mount_setattr(&empty, read_only(), false)?;
            Ok(empty)
        })
        .at(Step::Proc, *name)?;
    }
    for name in PROC_HIDDEN_FILES {
        cover(&proc, name, || clone_tree(root, "dev/null")).at(Step::Proc, *name)?;
    }
    Ok(user_sysctls)
}

/// Mounts something over an entry of `/proc`, where the kernel has it.
fn cover(
    proc: &OwnedFd,
    name: &str,
    tree: impl FnOnce() -> rustix::io::Result<OwnedFd>,
) -> rustix::io::Result<()> {
    match rustix::fs::openat(proc, name, place_flags(), Mode::empty()) {
        Ok(at) => attach(tree()?, &at),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn pivot(root: &OwnedFd) -> rustix::io::Result<()> {
    rustix::process::fchdir(root)?;
    // Both roots end up at `/`, the old one on top, which is then let go: no directory is needed for it.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

fn place_flags() -> OFlags {
    OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn tmpfs(size: u64, mode: u32) -> rustix::io::Result<OwnedFd> {
    // One inode per 4 KiB, as a bound on what empty files can take.
    let inodes = (size / 4096).clamp(16, 1 << 20);
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "size", size.to_string())?;
    rustix::mount::fsconfig_set_string(&context, "nr_inodes", inodes.to_string())?;
    rustix::mount::fsconfig_set_string(&context, "mode", format!("{mode:o}"))?;
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, safe())
}

/// A detached copy of the mounts at a path; at the descriptor itself if the path is empty.
fn clone_tree(dir: impl AsFd, path: impl AsRef<Path>) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(dir, path.as_ref(), flags)
}

fn attach(tree: impl AsFd, at: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", at, c"", flags)
}

/// Mounts a tree in the root, making the place for it.
fn place(root: &OwnedFd, target: &str, tree: impl AsFd) -> rustix::io::Result<()> {
    for (slash, _) in target.match_indices('/') {
        make_dir(root, &target[..slash], 0o755)?;
    }
    let stat = rustix::fs::statat(&tree, c"", AtFlags::EMPTY_PATH)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        make_dir(root, target, 0o755)?;
    } else {
        make_file(root, target, "")?;
    }
    let own_tmpfs_only = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let at = rustix::fs::openat2(root, target, place_flags(), Mode::empty(), own_tmpfs_only)?;
    attach(tree, at)
}

fn bind_read_only(root: &OwnedFd, host: &str, inside: &str) -> rustix::io::Result<()> {
    let tree = clone_tree(CWD, host)?;
    sys::mount_setattr(&tree, read_only(), true)?;
    place(root, inside, tree)
}

/// Makes the same link as the host's; EINVAL if the host has no link there.
fn copy_link(root: &OwnedFd, host: &Path, inside: &str) -> rustix::io::Result<()> {
    let link = rustix::fs::readlinkat(CWD, host, Vec::new())?;
    let link = OsString::from(String::from_utf8(link.into_bytes()).map_err(|_| Errno::ILSEQ)?);
    rustix::fs::symlinkat(link, root, inside)
}

fn make_dir(root: &OwnedFd, path: &str, mode: u32) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(root, path, Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

fn make_file(root: &OwnedFd, path: &str, text: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, path, flags, Mode::from_raw_mode(0o644))?;
    match rustix::io::write(file, text.as_bytes())? {
        written if written == text.len() => Ok(()),
        _ => Err(Errno::NOSPC),
    }
}
