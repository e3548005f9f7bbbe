//! What the probe tries from inside a real sandbox, and expects to see refused.
//!
//! The binary is mounted into the sandbox and executed there as any program would be. It prints one JSON
//! line per claim. As a program of the sandbox it must be able to do the harm, so it takes no short cuts
//! around the kernel.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::Write,
    net::{SocketAddr, TcpStream},
    os::{linux::net::SocketAddrExt, unix::net},
    path::Path,
};

use rustix::{
    fs::CWD,
    mount::{FsOpenFlags, OpenTreeFlags},
    net::{AddressFamily, SocketType},
    thread::UnshareFlags,
};
use serde::{Deserialize, Serialize};

use super::sys;
use crate::sandbox::{Control, WORKSPACE};

/// Names of the environment that the probe gives, and the whole of it.
pub const SECRET_PATH: &str = "GANGER_PROBE_SECRET_PATH";
/// The port of a listener on the host's loopback.
pub const HOST_PORT: &str = "GANGER_PROBE_HOST_PORT";
/// The name of an abstract socket on the host.
pub const HOST_SOCKET: &str = "GANGER_PROBE_HOST_SOCKET";
/// The bound on open files.
pub const OPEN_FILES: &str = "GANGER_PROBE_OPEN_FILES";

/// With this argument the program leaves a daemon behind that ignores signals.
pub const LINGER: &str = "linger";

/// One claim, and what was seen instead if it doesn't hold.
#[derive(Debug, Serialize, Deserialize)]
pub struct Check {
    /// The control that it belongs to.
    pub control: Control,
    /// What should hold.
    pub claim: String,
    /// What was seen instead.
    pub seen: Option<String>,
    /// Whether it is known that it may not hold here: then the control is degraded, else the sandbox is
    /// refused.
    pub may_lapse: bool,
}

/// Runs as the program of a probe's sandbox.
pub fn run() -> ! {
    if std::env::args().nth(1).as_deref() == Some(LINGER) {
        linger();
    }
    let mut stdout = std::io::stdout();
    // One after the other: a lapse may change what this process is.
    let walls = all().into_iter().map(|check| (check, false));
    let lapses = std::iter::once_with(lapsing)
        .flatten()
        .map(|check| (check, true));
    for ((control, claim, seen), may_lapse) in walls.chain(lapses) {
        let check = Check {
            control,
            claim: claim.to_owned(),
            seen,
            may_lapse,
        };
        let line = serde_json::to_string(&check).expect("a check is plain text");
        if writeln!(stdout, "{line}").is_err() {
            sys::exit(1);
        }
    }
    sys::exit(0)
}

fn linger() -> ! {
    // The double fork of a daemon, out of every group and session.
    for _ in 0..2 {
        match sys::fork() {
            Ok(sys::Forked::Child) => {}
            _ => sys::exit(0),
        }
        let _ = rustix::process::setsid();
    }
    println!("lingering");
    loop {
        std::thread::park();
    }
}

/// What was seen instead, or nothing if the claim holds.
type Seen = Option<String>;

fn all() -> Vec<(Control, &'static str, Seen)> {
    use Control::*;
    vec![
        (
            Files,
            "the system is not writable",
            writes(&["/usr/x", "/etc/x", "/x", "/dev/x", "/etc/passwd"]),
        ),
        (
            Files,
            "the workspace and /tmp are writable",
            refuses(&[&format!("{WORKSPACE}/x"), "/tmp/x", "/dev/shm/x"]),
        ),
        (Files, "a file of the host is not there", secret_by_path()),
        (
            Files,
            "a link in the workspace leads nowhere",
            secret_by_link(),
        ),
        (Files, "there are no devices but the harmless", devices()),
        (Secrets, "the environment is what was given", environment()),
        (Secrets, "no descriptor came along", descriptors()),
        (Secrets, "the first process keeps its own", first_process()),
        (Processes, "no process outside is visible", processes()),
        (Network, "there is no interface but lo", interfaces()),
        (Network, "the host's loopback is out of reach", host_port()),
        (
            Network,
            "the host's abstract sockets are out of reach",
            host_socket(),
        ),
        (Identity, "the user is not root", identity()),
        (Privileges, "there are no capabilities", capabilities()),
        (
            Privileges,
            "kernel settings are not writable",
            kernel_settings(),
        ),
        (Privileges, "nothing can be mounted", mounts()),
        (
            Privileges,
            "the first process can't be traced",
            worked(sys::try_trace_first_process()),
        ),
        (Limits, "open files are bounded", open_files()),
    ]
}

/// What only a further wall would hold: a system-call filter, a file system for each workspace.
fn lapsing() -> Vec<(Control, &'static str, Seen)> {
    use Control::*;
    vec![
        (
            Network,
            "no socket reaches the machine's hypervisor",
            opens_vsock().then(|| "AF_VSOCK opens".to_owned()),
        ),
        (
            Files,
            "no path of the host is named",
            workspace_on_host().map(|root| format!("/proc/self/mountinfo has {root}")),
        ),
        // Last, as a success would change what this process is.
        (
            Privileges,
            "no further user namespace can be made",
            worked(sys::unshare(UnshareFlags::NEWUSER)),
        ),
    ]
}

/// Whether a socket of the family AF_VSOCK opens: it leads to the hypervisor's host, and no network
/// namespace holds it.
pub fn opens_vsock() -> bool {
    let family = AddressFamily::from_raw(libc::AF_VSOCK as u16);
    rustix::net::socket(family, SocketType::STREAM, None).is_ok()
}

/// Where on its file system the workspace lies, as every program can read; nothing if that is its
/// root. That it can't be found out is no reason to say that nothing is seen.
pub fn workspace_on_host() -> Option<String> {
    match fs::read_to_string("/proc/self/mountinfo") {
        Ok(mounts) => place_on_host(&mounts),
        Err(error) => Some(format!("what can't be read ({error})")),
    }
}

/// The same of what is mounted, the last on top.
fn place_on_host(mounts: &str) -> Option<String> {
    let workspace = mounts.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (point == WORKSPACE).then_some(root)
    });
    match workspace {
        Some("/") => None,
        Some(root) => Some(root.to_owned()),
        None => Some("no workspace".to_owned()),
    }
}

fn worked<T>(result: Result<T, impl Sized>) -> Seen {
    result.is_ok().then(|| "it worked".to_owned())
}

fn list<T: std::fmt::Debug>(found: &[T]) -> Seen {
    (!found.is_empty()).then(|| format!("{found:?}"))
}

fn open_to_write(path: &str) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn writes(paths: &[&str]) -> Seen {
    list(
        &paths
            .iter()
            .filter(|path| open_to_write(path).is_ok())
            .collect::<Vec<_>>(),
    )
}

fn refuses(paths: &[&str]) -> Seen {
    list(
        &paths
            .iter()
            .filter_map(|path| open_to_write(path).err())
            .collect::<Vec<_>>(),
    )
}

fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn secret_by_path() -> Seen {
    let path = given(SECRET_PATH);
    let through_root = format!("/proc/1/root{path}");
    list(
        &[path.as_str(), through_root.as_str()]
            .iter()
            .filter(|path| fs::read(path).is_ok())
            .collect::<Vec<_>>(),
    )
}

fn secret_by_link() -> Seen {
    let link = format!("{WORKSPACE}/link");
    std::os::unix::fs::symlink(given(SECRET_PATH), &link)
        .err()
        .map(|error| error.to_string())
        .or(worked(fs::read(&link)))
}

fn names(dir: &str) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn devices() -> Seen {
    let harmless = [
        "fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero",
    ];
    list(
        &names("/dev")
            .into_iter()
            .filter(|name| !harmless.contains(&name.as_str()))
            .collect::<Vec<_>>(),
    )
}

fn environment() -> Seen {
    let known = [SECRET_PATH, HOST_PORT, HOST_SOCKET, OPEN_FILES];
    let foreign = |name: &String| !known.contains(&name.as_str());
    list(
        &std::env::vars_os()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .filter(foreign)
            .collect::<Vec<_>>(),
    )
}

fn descriptors() -> Seen {
    // The listing itself holds one more, which is closed again when it is looked at.
    let is_open = |name: &String| {
        Path::new("/proc/self/fd")
            .join(name)
            .symlink_metadata()
            .is_ok()
    };
    let extra = |name: &String| !["0", "1", "2"].contains(&name.as_str());
    list(
        &names("/proc/self/fd")
            .into_iter()
            .filter(extra)
            .filter(is_open)
            .collect::<Vec<_>>(),
    )
}

fn first_process() -> Seen {
    let read = ["environ", "maps"]
        .into_iter()
        .filter(|name| fs::read(format!("/proc/1/{name}")).is_ok());
    let entered = ["fd", "cwd", "root"]
        .into_iter()
        .filter(|name| fs::read_dir(format!("/proc/1/{name}")).is_ok());
    list(&read.chain(entered).collect::<Vec<_>>())
}

fn processes() -> Seen {
    let own = rustix::process::getpid().to_string();
    let foreign = |name: &String| {
        name.bytes().all(|byte| byte.is_ascii_digit()) && *name != "1" && *name != own
    };
    list(
        &names("/proc")
            .into_iter()
            .filter(foreign)
            .collect::<Vec<_>>(),
    )
}

fn interfaces() -> Seen {
    let table = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let names = table
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .map(str::trim);
    list(&names.filter(|name| *name != "lo").collect::<Vec<_>>())
}

fn host_port() -> Seen {
    let address = SocketAddr::from(([127, 0, 0, 1], given(HOST_PORT).parse().unwrap_or(0)));
    worked(TcpStream::connect(address))
}

fn host_socket() -> Seen {
    let connected = net::SocketAddr::from_abstract_name(given(HOST_SOCKET))
        .and_then(|address| net::UnixStream::connect_addr(&address));
    worked(connected)
}

fn status_of(names: &[&str]) -> Vec<(String, String)> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(name, _)| names.contains(name))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn identity() -> Seen {
    let is_root = |(_, ids): &(String, String)| ids.split_ascii_whitespace().any(|id| id == "0");
    let ids = status_of(&["Uid", "Gid", "Groups"]);
    if ids.len() != 3 {
        return Some("/proc/self/status does not say".to_owned());
    }
    list(&ids.into_iter().filter(is_root).collect::<Vec<_>>())
}

fn capabilities() -> Seen {
    let sets = status_of(&[
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
    ]);
    if sets.len() != 6 {
        return Some("/proc/self/status does not say".to_owned());
    }
    let is_bad = |(name, value): &(String, String)| match name.as_str() {
        "NoNewPrivs" => value != "1",
        _ => value.bytes().any(|digit| digit != b'0'),
    };
    list(&sets.into_iter().filter(is_bad).collect::<Vec<_>>())
}

fn kernel_settings() -> Seen {
    let settings = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/net/ipv4/ip_forward",
    ];
    let write = |path: &&&str| OpenOptions::new().write(true).open(path).is_ok();
    list(&settings.iter().filter(write).collect::<Vec<_>>())
}

fn mounts() -> Seen {
    let tree = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tries = [
        (
            "fsopen",
            rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map(drop),
        ),
        (
            "open_tree",
            rustix::mount::open_tree(CWD, "/usr", tree).map(drop),
        ),
        ("unshare", sys::unshare(UnshareFlags::NEWNS)),
        (
            "umount",
            rustix::mount::unmount("/proc", rustix::mount::UnmountFlags::DETACH),
        ),
    ];
    list(
        &tries
            .into_iter()
            .filter(|(_, result)| result.is_ok())
            .map(|(name, _)| name)
            .collect::<Vec<_>>(),
    )
}

fn open_files() -> Seen {
    let bound: usize = given(OPEN_FILES).parse().unwrap_or(0);
    let files: Vec<_> = (0..=bound)
        .map_while(|_| File::open("/dev/null").ok())
        .collect();
    (files.len() > bound).then(|| format!("{} are open", files.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(root: &str, point: &str) -> String {
        format!("41 29 8:1 {root} {point} rw,nosuid,nodev - ext4 /dev/root rw\n")
    }

    #[test]
    fn a_workspace_with_a_file_system_of_its_own_is_not_on_the_host() {
        let own = mounted("/", "/") + &mounted("/", WORKSPACE) + &mounted("/usr", "/usr");

        assert_eq!(place_on_host(&own), None);
    }

    #[test]
    fn a_workspace_that_is_part_of_another_file_system_is_on_the_host_there() {
        let part = mounted("/", "/") + &mounted("/data/w/1", WORKSPACE);

        assert_eq!(place_on_host(&part), Some("/data/w/1".to_owned()));
        let covered = mounted("/", WORKSPACE) + &part;
        assert_eq!(place_on_host(&covered), Some("/data/w/1".to_owned()));
    }

    #[test]
    fn a_workspace_that_is_not_to_be_found_is_not_said_to_have_a_file_system_of_its_own() {
        for mounts in ["", "nothing like it", &mounted("/", "/workspace2")] {
            assert_eq!(place_on_host(mounts), Some("no workspace".to_owned()));
        }
    }
}
