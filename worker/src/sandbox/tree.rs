//! Walking what an agent left behind, without trusting a byte of it.
//!
//! Names are bytes, links are never followed, depth costs neither stack nor descriptors. Callers make sure
//! that the sandbox's tree is dead, so nothing changes underneath.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid},
    io::Errno,
};

/// Names taken from a directory before it is changed: enough to be fast, few enough to be small.
const BATCH_LEN: usize = 1024;

/// Removes a directory with all that is in it; one that doesn't exist is removed already.
///
/// Survives chains of any depth, directories without permissions, and any names. Deep directories are
/// first moved up beside their ancestors, so that two descriptors are enough.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let root = match open_dir(CWD, path) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let mut moved = 0;
    loop {
        let names = some_names(&root)?;
        if names.is_empty() {
            break;
        }
        for name in names {
            remove_entry(&root, &name, &mut moved)?;
        }
    }
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn remove_entry(root: &OwnedFd, name: &CStr, moved: &mut u64) -> rustix::io::Result<()> {
    if !is_dir(root, name)? {
        return rustix::fs::unlinkat(root, name, AtFlags::empty());
    }
    let dir = open_dir(root, name)?;
    loop {
        let inner = some_names(&dir)?;
        if inner.is_empty() {
            break;
        }
        for entry in inner {
            if !is_dir(&dir, &entry)? {
                rustix::fs::unlinkat(&dir, &entry, AtFlags::empty())?;
            } else if rustix::fs::unlinkat(&dir, &entry, AtFlags::REMOVEDIR).is_err() {
                move_up(&dir, &entry, root, moved)?;
            }
        }
    }
    rustix::fs::unlinkat(root, name, AtFlags::REMOVEDIR)
}

fn move_up(dir: &OwnedFd, entry: &CStr, root: &OwnedFd, moved: &mut u64) -> rustix::io::Result<()> {
    // Moving a directory to another parent writes to the directory itself.
    allow(dir, entry)?;
    loop {
        *moved += 1;
        let name = format!(".removed-{moved}");
        match rustix::fs::renameat_with(dir, entry, root, name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            result => return result,
        }
    }
}

/// Makes `uid` (and the gid of the same number) own a workspace and all that was seeded into it, and nobody
/// else enter it. An error if the directory doesn't exist, or is deeper than a path can be long.
pub(super) fn give_to(workspace: &Path, uid: u32) -> io::Result<()> {
    let dir_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let root = rustix::fs::openat(CWD, workspace, dir_flags, Mode::empty())?;
    let (owner, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)));
    let mut waiting = vec![PathBuf::from(".")];
    while let Some(path) = waiting.pop() {
        let dir = rustix::fs::openat2(&root, &path, dir_flags, Mode::empty(), beneath)?;
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if is_dir(&dir, name)? {
                waiting.push(path.join(OsStr::from_bytes(name.to_bytes())));
            } else {
                rustix::fs::chownat(&dir, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        rustix::fs::fchown(&dir, owner, group)?;
    }
    rustix::fs::fchmod(&root, Mode::RWXU)?;
    Ok(())
}

/// Opens a directory, never through a link at its last component; one that its owner closed is opened up.
fn open_dir<P: rustix::path::Arg + Copy>(dir: impl AsFd, name: P) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&dir, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            allow(&dir, name)?;
            rustix::fs::openat(&dir, name, flags, Mode::empty())
        }
        Ok(fd) => {
            // Readable, but perhaps not to be searched or changed.
            let stat = rustix::fs::fstat(&fd)?;
            if Mode::from_raw_mode(stat.st_mode).contains(Mode::RWXU) {
                return Ok(fd);
            }
            rustix::fs::fchmod(&fd, Mode::RWXU)?;
            Ok(fd)
        }
        Err(errno) => Err(errno),
    }
}

/// Gives the owner every right on a directory. The tree is dead, so the name can't become a link meanwhile.
fn allow<P: rustix::path::Arg>(dir: impl AsFd, name: P) -> rustix::io::Result<()> {
    rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::empty())
}

fn is_dir(dir: &OwnedFd, name: &CStr) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// The first names of a directory, without the dots; none if it is empty.
fn some_names(dir: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
        if names.len() == BATCH_LEN {
            break;
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn removal_survives_a_chain_deeper_than_any_path() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().join("w");
        fs::create_dir(&workspace).unwrap();
        let mut at = open_dir(CWD, &workspace).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "deeper", Mode::RWXU).unwrap();
            at = open_dir(&at, c"deeper").unwrap();
        }

        remove_tree(&workspace).unwrap();

        assert!(!workspace.exists());
    }

    #[test]
    fn removal_survives_closed_directories_odd_names_and_links_and_leaves_their_targets() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let workspace = dir.path().join("w");
        fs::create_dir_all(workspace.join("closed/inner/most")).unwrap();
        fs::write(workspace.join("closed/inner/most/file"), "x").unwrap();
        fs::write(workspace.join(OsStr::from_bytes(b"a\nb\xff")), "x").unwrap();
        fs::create_dir(workspace.join(".removed-1")).unwrap();
        fs::write(workspace.join(".removed-1/x"), "x").unwrap();
        symlink(&outside, workspace.join("link")).unwrap();
        for closed in ["closed/inner/most", "closed/inner", "closed"] {
            fs::set_permissions(workspace.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }

        remove_tree(&workspace).unwrap();

        assert!(!workspace.exists());
        assert_eq!(fs::read(outside.join("kept")).unwrap(), b"x");
        remove_tree(&workspace).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("kept")).unwrap();
        symlink(dir.path().join("kept"), dir.path().join("w")).unwrap();

        assert!(remove_tree(&dir.path().join("w")).is_err());
        assert!(give_to(&dir.path().join("w"), 1).is_err());

        assert!(dir.path().join("kept").exists());
    }
}
