//! A disk of a few MiB, to be filled.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A mounted file system in memory. What fills it is a file of its own.
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Makes one of so many MiB, which takes root. Without, the test is skipped, loudly; with it in
    /// CI (`CI=true`) it must run.
    pub fn new(mib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { dir });
        }
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        let must_run = is_ci && rustix::process::geteuid().is_root();
        assert!(
            !must_run,
            "a full disk can't be tried: nothing can be mounted"
        );
        eprintln!("*** SKIPPED: a full disk can't be tried: nothing can be mounted ***");
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes so many MiB of it.
    pub fn take(&self, mib: usize) {
        let mut filler = File::create(self.filler()).unwrap();
        filler.write_all(&vec![1; mib << 20]).unwrap();
    }

    /// Takes all of it.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let piece = vec![1; 64 << 10];
        while filler.write_all(&piece).is_ok() {}
    }

    /// Gives back what was taken.
    pub fn give_back(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.dir.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // At once in any case: what still lies open goes with the process that has it.
        let unmounted = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.dir.path().display());
        }
    }
}
