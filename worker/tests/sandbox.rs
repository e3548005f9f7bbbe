//! Claims about real sandboxes, each made as root and as an ordinary user.
//!
//! A harness of its own, because the binary must be able to become a launcher before anything else runs,
//! and because the same claims are made twice: as root, and by a copy of this binary that gave root away.
//! A mode that the machine refuses is said loudly; `GANGER_REQUIRE_SANDBOX=1` makes it a failure.
#![allow(clippy::unwrap_used)] // all of this is a test, also what carries no `#[test]`

use std::{
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    process::ExitCode,
};

use ganger_worker::sandbox::{DriverKind, become_launcher_if_asked};

/// A claim's name, and the proof of it.
type Claim = (&'static str, fn());

/// Lists a module's claims, each to be run on a runtime of its own.
macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        pub const CLAIMS: &[crate::Claim] =
            &[$((stringify!($name), || crate::support::runtime().block_on($name()))),*];
    };
}

#[path = "sandbox/endings.rs"]
mod endings;
#[path = "sandbox/running.rs"]
mod running;
#[path = "sandbox/support.rs"]
mod support;
#[path = "sandbox/walls.rs"]
mod walls;

/// An ordinary user that owns nothing on the machine.
const ORDINARY_UID: u32 = 54_321;

fn main() -> ExitCode {
    become_launcher_if_asked();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == support::VICTIM) {
        support::run_victim(&args[1..]);
    }
    if args.first().is_some_and(|arg| arg == walls::VSOCK) {
        walls::try_vsock();
    }
    let filter = args.iter().find(|arg| !arg.starts_with('-')).cloned();

    let is_root = rustix::process::geteuid().is_root();
    let mut is_good = run_claims(
        if is_root { "root" } else { "ordinary user" },
        filter.as_deref(),
    );
    if is_root {
        is_good &= run_as_ordinary_user(&args);
    } else if std::env::var_os("GANGER_TEST_BY_ROOT").is_none() {
        println!("\n*** NOT RUN: the claims as root, because this is not root ***");
    }
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_claims(mode: &str, filter: Option<&str>) -> bool {
    println!("\nsandbox claims as {mode}");
    let report = support::runtime().block_on(DriverKind::Native.probe());
    println!("{report}");
    if report.assurance.iter().next().is_none() {
        if machine_allows_namespaces() {
            println!("the machine allows namespaces, so this is our fault");
            return false;
        }
        println!("\n*** NOT RUN: the claims as {mode}, because this machine refuses sandboxes ***");
        return std::env::var_os("GANGER_REQUIRE_SANDBOX").is_none();
    }
    let mut failed = Vec::new();
    let mut passed = 0;
    let claims = [running::CLAIMS, walls::CLAIMS, endings::CLAIMS].concat();
    for (name, claim) in claims
        .iter()
        .filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter)))
    {
        // A thread of its own turns a panic into a result.
        match std::thread::spawn(*claim).join() {
            Ok(()) => passed += 1,
            Err(_) => failed.push(*name),
        }
        println!(
            "claim {name} ... {}",
            if failed.last() == Some(name) {
                "FAILED"
            } else {
                "ok"
            }
        );
    }
    println!("{mode}: {passed} held, {} failed {failed:?}", failed.len());
    failed.is_empty()
}

/// What another program than ours says. Where that program is missing, nothing excuses a failure.
fn machine_allows_namespaces() -> bool {
    let mut unshare = std::process::Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args([
        "--mount",
        "--pid",
        "--fork",
        "--net",
        "--mount-proc",
        "true",
    ]);
    unshare.status().map_or(true, |status| status.success())
}

/// The build's directory may be closed to others, so the copy runs from a place that is not.
fn run_as_ordinary_user(args: &[String]) -> bool {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("mine");
    let copy = dir.path().join("sandbox-claims");
    std::fs::copy(std::env::current_exe().expect("there is one"), &copy).expect("room for a copy");
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).expect("mine");
    let status = std::process::Command::new(&copy)
        .args(args)
        .env("GANGER_TEST_BY_ROOT", "1")
        .current_dir("/")
        .uid(ORDINARY_UID)
        .gid(ORDINARY_UID)
        .status()
        .expect("the copy starts");
    if let Some(signal) = status.signal() {
        println!("the ordinary user's run ended by signal {signal}");
    }
    status.success()
}
