//! The directory in which a worker keeps the workspaces of its sandboxes.
//!
//! One worker process at a time holds it, by a lock that the kernel frees with the process. Whoever holds
//! it knows that everything found in it, and every process that carries its mark, is left over from an
//! earlier one: that is the proof before anything is swept.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
    process::{Pid, PidfdFlags, Signal},
};

use super::{
    SandboxId,
    launcher::{INIT_NAME, SUPERVISOR_NAME},
    native::mark_of,
    none::MARK_VARIABLE,
    pidfd::wait_for_death,
    tree,
};

/// The lock's file name; no sandbox id starts with a dot.
const LOCK: &str = ".lock";

/// How long the dying may take; it is milliseconds unless the machine is stuck.
const DEATH_SPAN_MAX: Duration = Duration::from_secs(5);

/// A worker's directory of workspaces, held by this process.
#[derive(Debug)]
pub struct Workspaces {
    path: PathBuf,
    /// The directory and its lock. While the directory is open, its number is no other's, also when
    /// somebody removes it: the mark stays this worker's own.
    _held: [OwnedFd; 2],
}

/// What a sweep found and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Processes killed.
    pub processes: usize,
    /// Workspaces removed.
    pub workspaces: usize,
    /// What could not be removed, and why.
    pub failures: Vec<String>,
}

/// Why the directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkspacesError {
    /// Another worker process holds it.
    #[error("another worker uses {0}")]
    InUse(PathBuf),
    /// It can't be made, opened or read.
    #[error("cannot use the workspaces directory {path}")]
    Io {
        /// The path in question.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Workspaces {
    /// Makes the directory if need be, private to the worker's user, and takes its lock.
    pub fn open(path: &Path) -> Result<Self, WorkspacesError> {
        let failed = |source: io::Error| WorkspacesError::Io {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let dir_flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock_flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || {
            let dir = rustix::fs::open(&path, dir_flags, Mode::empty())?;
            rustix::fs::fchmod(&dir, Mode::RWXU)?;
            let lock = rustix::fs::openat(&dir, LOCK, lock_flags, Mode::RUSR | Mode::WUSR)?;
            Ok((dir, lock))
        };
        let (dir, lock) = open().map_err(|errno: Errno| failed(errno.into()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path,
                _held: [dir, lock],
            }),
            Err(Errno::AGAIN) => Err(WorkspacesError::InUse(path)),
            Err(errno) => Err(failed(errno.into())),
        }
    }

    /// Where a sandbox's workspace lies, made or not.
    pub fn path_of(&self, id: &SandboxId) -> PathBuf {
        self.path.join(id.as_str())
    }

    /// Makes an empty workspace; one that exists is an error.
    pub fn create(&self, id: &SandboxId) -> Result<PathBuf, WorkspacesError> {
        let path = self.path_of(id);
        match rustix::fs::mkdir(&path, Mode::RWXU) {
            Ok(()) => Ok(path),
            Err(errno) => Err(WorkspacesError::Io {
                path,
                source: errno.into(),
            }),
        }
    }

    /// Removes a workspace whose sandbox is dead.
    pub fn remove(&self, id: &SandboxId) -> Result<(), WorkspacesError> {
        let path = self.path_of(id);
        tree::remove_tree(&path).map_err(|source| WorkspacesError::Io { path, source })
    }

    /// Ends and removes everything that an earlier process left: call it before the first sandbox is made.
    /// Blocks.
    pub fn sweep(&self) -> Result<SweepReport, WorkspacesError> {
        let failed = |source: io::Error| WorkspacesError::Io {
            path: self.path.clone(),
            source,
        };
        let mut report = SweepReport::default();
        // The mark is that of the directory, so any name beneath it stands for all.
        let mark = mark_of(&self.path.join(LOCK)).map_err(failed)?;
        let deadline = Instant::now() + DEATH_SPAN_MAX;
        // A supervisor is about to kill its tree, as its worker is gone. It finds more than the marked.
        for supervisor in
            matching(|pid| is_started_as(pid, SUPERVISOR_NAME, &mark)).map_err(failed)?
        {
            wait_for_death(&supervisor, deadline);
        }
        loop {
            let left = kill_marked(&mark).map_err(failed)?;
            report.processes += left.len();
            // Killing may have raced with a fork: look again until nothing is left.
            let deadline = Instant::now() + DEATH_SPAN_MAX;
            if left.is_empty() || !left.iter().all(|process| wait_for_death(process, deadline)) {
                break;
            }
        }
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name() == LOCK {
                continue;
            }
            match tree::remove_tree(&entry.path()) {
                Ok(()) => report.workspaces += 1,
                Err(error) => report
                    .failures
                    .push(format!("{}: {error}", entry.path().display())),
            }
        }
        Ok(report)
    }
}

/// Kills every process that carries the mark, and answers their pidfds.
pub(super) fn kill_marked(mark: &str) -> io::Result<Vec<OwnedFd>> {
    let mut killed = matching(|pid| carries(pid, mark))?;
    // One that ended meanwhile is told too: its number, and with it what was looked at, may be another's by
    // now, and whoever calls looks again.
    killed.retain(|process| {
        matches!(
            rustix::process::pidfd_send_signal(process, Signal::KILL),
            Ok(()) | Err(Errno::SRCH)
        )
    });
    Ok(killed)
}

/// Every process of which this is true.
fn matching(is_one: impl Fn(Pid) -> bool) -> io::Result<Vec<OwnedFd>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw)
        else {
            continue;
        };
        // Opened before it is looked at, so that the number can't have passed to another process between
        // the look and the signal. Processes that end meanwhile, or are not ours, are passed over.
        let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if is_one(pid) {
            found.push(process);
        }
    }
    Ok(found)
}

fn read_proc(pid: Pid, name: &str) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

/// Whether this binary runs there under this name, for the directory with this mark.
fn is_started_as(pid: Pid, name: &str, mark: &str) -> bool {
    let line = [name.as_bytes(), b"\0", mark.as_bytes(), b"\0"].concat();
    read_proc(pid, "cmdline").starts_with(&line)
}

fn carries(pid: Pid, mark: &str) -> bool {
    if is_started_as(pid, INIT_NAME, mark) || is_started_as(pid, SUPERVISOR_NAME, mark) {
        return true;
    }
    // The dead have neither a command line nor an environment, so they are not found again.
    let variable = [MARK_VARIABLE.as_bytes(), b"=", mark.as_bytes(), b"/"].concat();
    read_proc(pid, "environ")
        .split(|byte| *byte == 0)
        .any(|entry| entry.starts_with(&variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_cannot_hold_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = Workspaces::open(&dir.path().join("w")).unwrap();

        let refused = Workspaces::open(&dir.path().join("w"));

        assert!(matches!(refused, Err(WorkspacesError::InUse(_))));
        drop(held);
        assert!(Workspaces::open(&dir.path().join("w")).is_ok());
    }

    #[test]
    fn a_sweep_removes_what_is_left_and_only_that() {
        let dir = tempfile::tempdir().unwrap();
        let workspaces = Workspaces::open(&dir.path().join("w")).unwrap();
        let id = SandboxId::try_from("left-over".to_owned()).unwrap();
        let left = workspaces.create(&id).unwrap();
        fs::write(left.join("file"), "x").unwrap();
        fs::write(dir.path().join("beside"), "x").unwrap();

        let report = workspaces.sweep().unwrap();

        assert_eq!(
            report,
            SweepReport {
                workspaces: 1,
                ..SweepReport::default()
            }
        );
        assert!(!left.exists() && dir.path().join("beside").exists());
        assert_eq!(workspaces.sweep().unwrap(), SweepReport::default());
    }

    /// A process with this in its environment; it lives until it is killed.
    fn marked(mark: &str) -> std::process::Child {
        std::process::Command::new("sleep")
            .arg("3600")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env(MARK_VARIABLE, mark)
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_sweep_kills_what_carries_the_directorys_whole_mark_and_nothing_that_is_like_it() {
        use std::os::unix::process::ExitStatusExt;

        let dir = tempfile::tempdir().unwrap();
        let workspaces = Workspaces::open(&dir.path().join("w")).unwrap();
        let own = mark_of(&workspaces.path.join(LOCK)).unwrap();
        let other = Workspaces::open(&dir.path().join("other")).unwrap();
        let others = mark_of(&other.path.join(LOCK)).unwrap();
        let mut left = marked(&format!("{own}/1-2-3/"));
        let strangers = [
            format!("{others}/1-2-3/"),
            format!("{own}0/1-2-3/"),
            format!("x{own}/1-2-3/"),
            own.clone(),
            String::new(),
        ];
        let mut strangers = strangers.map(|mark| marked(&mark));

        let report = workspaces.sweep().unwrap();

        assert_eq!(
            report,
            SweepReport {
                processes: 1,
                ..SweepReport::default()
            }
        );
        assert_eq!(left.wait().unwrap().signal(), Some(libc::SIGKILL));
        for stranger in &mut strangers {
            assert_eq!(stranger.try_wait().unwrap(), None, "it lives on");
            stranger.kill().unwrap();
            stranger.wait().unwrap();
        }
    }
}
