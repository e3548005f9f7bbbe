//! A disk whose power can be cut: ext4 on a loop device, shut down without writing its journal.

use std::{
    fs::{self, File},
    io::Write,
    os::fd::{AsRawFd, RawFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// Room for the batches of a test, and a journal.
const IMAGE_LEN: u64 = 512 * 1024 * 1024;

/// A mounted file system of its own.
pub struct Disk {
    dir: TempDir,
    device: String,
}

impl Disk {
    /// Makes one, which takes root and a loop device. Without them the test is skipped, loudly;
    /// with them in CI (`CI=true`) it must run.
    pub fn new() -> Option<Self> {
        let has_means =
            rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
        let must_run = has_means && std::env::var("CI").is_ok_and(|ci| ci == "true");
        let missing = match (has_means, Self::try_new()) {
            (true, Ok(disk)) => return Some(disk),
            (true, Err(error)) => error,
            (false, _) => "needs root and a loop device".to_owned(),
        };
        assert!(!must_run, "a power cut can't be tried: {missing}");
        eprintln!("*** SKIPPED: a power cut can't be tried on this machine: {missing} ***");
        None
    }

    fn try_new() -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = dir.path().join("image");
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(IMAGE_LEN).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", text(&image)])?;
        let device = run("losetup", &["--find", "--show", text(&image)])?;
        let device = device.trim().to_owned();
        // From here on dropping it takes the device away.
        let disk = Self { dir, device };
        fs::create_dir(disk.path()).map_err(|error| error.to_string())?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    /// Cuts the power: what isn't on the device is lost, and every write from now on fails.
    pub fn cut(&self) {
        let root = File::open(self.path()).unwrap();
        shut_down(root.as_raw_fd()).unwrap();
    }

    /// Brings it back with what was on the device.
    pub fn restore(&self) {
        run("umount", &[text(&self.path())]).unwrap();
        self.mount().unwrap();
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-t", "ext4", &self.device, text(&self.path())])?;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed may have left it unmounted; the device goes all the same.
        let _ = run("umount", &[text(&self.path())]);
        if let Err(error) = run("losetup", &["--detach", &self.device]) {
            eprintln!("{} stays behind: {error}", self.device);
        }
    }
}

/// Writes a file and waits for the disk.
pub fn write_and_sync(path: &Path) {
    let mut file = File::create(path).unwrap();
    file.write_all(&[7; 4_096]).unwrap();
    file.sync_data().unwrap();
}

/// Writes a file as sled does by itself.
pub fn write_and_sync_range(path: &Path) {
    let mut file = File::create(path).unwrap();
    file.write_all(&[7; 4_096]).unwrap();
    sync_range(file.as_raw_fd()).unwrap();
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program}: {}", said.trim()))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[allow(unsafe_code)]
fn shut_down(root: RawFd) -> std::io::Result<()> {
    /// `_IOR('X', 125, __u32)`
    const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
    /// Not even the journal is written.
    const NOLOGFLUSH: u32 = 2;
    let flags = NOLOGFLUSH;
    // SAFETY: this request reads one u32 from the address, which outlives the call.
    match unsafe { libc::ioctl(root, EXT4_IOC_SHUTDOWN as _, &raw const flags) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[allow(unsafe_code)]
fn sync_range(file: RawFd) -> std::io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // By number: the C function of this name is replaced in programs that use the store.
    // SAFETY: takes numbers and touches no memory.
    match unsafe { libc::syscall(libc::SYS_sync_file_range, file, 0_i64, 4_096_i64, flags) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
