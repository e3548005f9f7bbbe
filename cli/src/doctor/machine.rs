//! The machine itself: kernel, processors, shell, disk, and the token's file.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::process::{Resource, Rlimit};

use super::Finding;
use crate::output::words;

/// Below this much of free disk a coordinator takes no new work.
const DISK_FREE_MIN: u64 = 512 << 20;
/// The same, as a share.
const DISK_PERCENT_MIN: u64 = 5;
/// The most slots that a worker may offer.
const SLOTS_MAX: usize = 1_000;
/// With fewer connections a coordinator serves a worker or two, and nobody else.
const CONNECTIONS_MIN: usize = 64;
/// The oldest kernel with every call that a sandbox needs.
const KERNEL_MIN: (u32, u32) = (5, 12);

/// Looks at it; `data` is where the data lies, or the nearest directory above.
pub fn look(data: &Path) -> Vec<Finding> {
    vec![
        kernel(),
        cores(),
        open_files(rustix::process::getrlimit(Resource::Nofile)),
        shell(Path::new("/bin/sh")),
        disk(data),
    ]
}

fn kernel() -> Finding {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    kernel_release(&release)
}

fn kernel_release(release: &str) -> Finding {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let version = (numbers.next(), numbers.next());
    match version {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < KERNEL_MIN => Finding::wrong(
            "kernel",
            format!("Linux {release}"),
            &["use Linux 5.12 or newer"],
        ),
        _ => Finding::good("kernel", format!("Linux {release}")),
    }
}

fn cores() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Finding::good(
        "processors",
        format!("{cores}: a worker has as many slots where nothing is said"),
    )
}

/// How many files may be open, and what that is enough for: both daemons raise the soft limit.
fn open_files(limits: Rlimit) -> Finding {
    let hard = limits.maximum.unwrap_or(u64::MAX);
    let coordinator = ganger_coordinator::descriptors::Descriptors::shared_out(hard);
    let attempts = ganger_worker::Descriptors::shared_out(hard).attempts;
    let told = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let mut seen = told(limits.maximum);
    if limits.current != limits.maximum {
        seen += &format!(
            " (the hard limit; {} until a daemon raises it)",
            told(limits.current)
        );
    }
    let connections = coordinator.connections;
    seen += &format!(
        ": enough for {connections} connections of a coordinator, or for {} slots of a worker",
        attempts.min(SLOTS_MAX)
    );
    let fix = "raise the hard limit: LimitNOFILE=65536 in a unit, --ulimit nofile=65536:65536 for a \
               container, a line `nofile` in /etc/security/limits.conf for a user";
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if attempts < cores || connections < CONNECTIONS_MIN {
        Finding::wrong("open files", seen, &[fix])
    } else if attempts < SLOTS_MAX {
        Finding::note("open files", seen, &[fix])
    } else {
        Finding::good("open files", seen)
    }
}

/// The built-in type `shell` needs one.
fn shell(path: &Path) -> Finding {
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode());
    match mode {
        Ok(mode) if mode & 0o111 != 0 => Finding::good("shell", path.display().to_string()),
        _ => Finding::wrong(
            "shell",
            format!("{} can't be executed", path.display()),
            &["install a POSIX shell; the built-in agent type `shell` runs its prompt with it"],
        ),
    }
}

fn disk(data: &Path) -> Finding {
    match rustix::fs::statvfs(data) {
        Ok(stat) => {
            let (free, all) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
            disk_space(data, free, all)
        }
        Err(error) => Finding::note(
            "disk",
            format!("can't look at {}: {error}", data.display()),
            &["name where the data lies with --data-dir"],
        ),
    }
}

fn disk_space(data: &Path, free: u64, all: u64) -> Finding {
    let percent = free.saturating_mul(100).checked_div(all).unwrap_or(100);
    let free_words = words::bytes(i64::try_from(free).unwrap_or(i64::MAX));
    let seen = format!("{free_words} ({percent} %) free at {}", data.display());
    if free < DISK_FREE_MIN || percent < DISK_PERCENT_MIN {
        return Finding::wrong(
            "disk",
            seen,
            &[
                "make room: below 512 MiB or 5 % no new work is taken",
                "use another --data-dir",
            ],
        );
    }
    Finding::good("disk", seen)
}

/// Whether the token's file holds a token that others can't change, nor read unless it is mounted so.
pub fn token_file(path: &Path) -> Finding {
    let what = "token file";
    let shown = path.display();
    let (metadata, text) = match fs::metadata(path).and_then(|metadata| {
        let text = fs::read_to_string(path)?;
        Ok((metadata, text))
    }) {
        Ok(read) => read,
        Err(error) => {
            let fixes = ["name the right file with --token-file or GANGER_TOKEN_FILE"];
            return Finding::wrong(what, format!("can't read {shown}: {error}"), &fixes);
        }
    };
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let make = format!("head -c 32 /dev/urandom | base64 > {shown}");
        let seen = format!("{shown} holds no token (one line of printable ASCII)");
        return Finding::wrong(what, seen, &[&make]);
    }
    let mode = metadata.mode() & 0o777;
    let fix = format!("chmod 600 {shown}");
    if mode & 0o022 != 0 {
        let seen = format!("{shown} can be changed by others (mode {mode:03o})");
        return Finding::wrong(what, seen, &[&fix]);
    }
    if mode & 0o044 != 0 {
        return match closed_directory(path) {
            Some(dir) => Finding::good(
                what,
                format!(
                    "{shown} (mode {mode:03o}): {} keeps others out",
                    dir.display()
                ),
            ),
            // Engines and Kubernetes mount secrets so, where nobody but the container's user is.
            None => {
                let seen = format!(
                    "{shown} can be read by every user of this machine (mode {mode:03o}): \
                     that is right in a container alone"
                );
                Finding::note(what, seen, &[&fix])
            }
        };
    }
    Finding::good(what, format!("{shown}, its owner's alone"))
}

/// The nearest directory above a file that only its owner may enter.
fn closed_directory(file: &Path) -> Option<PathBuf> {
    let file = fs::canonicalize(file).ok()?;
    let closed = |dir: &&Path| fs::metadata(dir).is_ok_and(|metadata| metadata.mode() & 0o011 == 0);
    file.ancestors().skip(1).find(closed).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn old_kernel_is_wrong_and_an_odd_name_is_not() {
        assert_eq!(kernel_release("5.11.0-generic").verdict, Verdict::Wrong);
        assert_eq!(kernel_release("4.19").verdict, Verdict::Wrong);
        assert_eq!(kernel_release("5.12.0").verdict, Verdict::Good);
        assert_eq!(kernel_release("6.18.44+").verdict, Verdict::Good);
        assert_eq!(kernel_release("custom").verdict, Verdict::Good);
    }

    #[test]
    fn little_disk_is_wrong_by_bytes_and_by_share() {
        let verdict = |free, all| disk_space(Path::new("/"), free, all).verdict;

        assert_eq!(verdict(DISK_FREE_MIN, 1 << 30), Verdict::Good);
        assert_eq!(verdict(DISK_FREE_MIN - 1, 1 << 30), Verdict::Wrong);
        assert_eq!(verdict(50 << 30, 1_000 << 30), Verdict::Good);
        assert_eq!(verdict(49 << 30, 1_000 << 30), Verdict::Wrong);
        assert_eq!(verdict(0, 0), Verdict::Wrong);
    }

    #[test]
    fn token_file_is_sound_unless_others_can_change_it() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = dir.path().join("secrets");
        fs::create_dir(&secrets).unwrap();
        let set_mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        // A directory that nobody closes but the one right above the file.
        set_mode(dir.path(), 0o755);
        set_mode(&secrets, 0o755);
        let path = secrets.join("token");
        assert_eq!(token_file(&path).verdict, Verdict::Wrong);

        let verdict = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            set_mode(&path, mode);
            token_file(&path).verdict
        };
        assert_eq!(verdict("s3cret\n", 0o600), Verdict::Good);
        assert_eq!(verdict("s3cret\n", 0o640), Verdict::Note);
        assert_eq!(verdict("s3cret\n", 0o644), Verdict::Note);
        assert_eq!(verdict("s3cret\n", 0o660), Verdict::Wrong);
        assert_eq!(verdict("s3cret\n", 0o646), Verdict::Wrong);
        assert_eq!(verdict(" \n", 0o600), Verdict::Wrong);
        assert_eq!(verdict("two\nlines\n", 0o600), Verdict::Wrong);

        // As README.md and compose.yaml have it made: `install -d -m 700`, then `install -m 644`.
        set_mode(&secrets, 0o700);
        assert_eq!(verdict("s3cret\n", 0o644), Verdict::Good);
        assert_eq!(verdict("s3cret\n", 0o646), Verdict::Wrong);
    }

    #[test]
    fn open_files_are_told_with_what_they_are_enough_for() {
        let of = |current, maximum| {
            let (current, maximum) = (Some(current), Some(maximum));
            open_files(Rlimit { current, maximum })
        };

        let ample = of(1_024, 524_288);
        assert_eq!(ample.verdict, Verdict::Good);
        assert_eq!(
            ample.seen,
            "524288 (the hard limit; 1024 until a daemon raises it): enough for 32768 connections of a \
             coordinator, or for 1000 slots of a worker"
        );
        let few = of(1_024, 1_024);
        assert_eq!(few.verdict, Verdict::Note);
        assert_eq!(
            few.seen,
            "1024: enough for 512 connections of a coordinator, or for 88 slots of a worker"
        );
        assert_eq!(of(64, 80).verdict, Verdict::Wrong);
        let unlimited = open_files(Rlimit {
            current: None,
            maximum: None,
        });
        assert_eq!(unlimited.verdict, Verdict::Good);
    }

    #[test]
    fn missing_shell_is_wrong() {
        assert_eq!(shell(Path::new("/bin/sh")).verdict, Verdict::Good);
        assert_eq!(shell(Path::new("/absent")).verdict, Verdict::Wrong);
        assert_eq!(shell(Path::new("/etc/passwd")).verdict, Verdict::Wrong);
    }
}
