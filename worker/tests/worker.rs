//! Claims about a whole worker: it is run in this process against a coordinator that each claim
//! scripts, and its sub-agents run in real sandboxes.
//!
//! A harness of its own, because the binary must be able to become a launcher before anything else
//! runs. Where this machine refuses sandboxes it says so loudly; `GANGER_REQUIRE_SANDBOX=1` makes that
//! a failure. What needs no wall around the sub-agent runs with the driver `none`.
#![allow(clippy::unwrap_used)] // all of this is a test, also what carries no `#[test]`

use std::process::ExitCode;

use ganger_worker::sandbox::{DriverKind, become_launcher_if_asked};

/// A claim's name, and the proof of it.
type Claim = (&'static str, fn());

/// Lists a module's claims, each to be run on a runtime of its own.
macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        pub const CLAIMS: &[crate::Claim] =
            &[$((stringify!($name), || crate::support::prove($name()))),*];
    };
}

#[path = "worker/attempts.rs"]
mod attempts;
#[path = "worker/coordinator.rs"]
mod coordinator;
#[path = "worker/ending.rs"]
mod ending;
#[path = "worker/sessions.rs"]
mod sessions;
#[path = "worker/slots.rs"]
mod slots;
#[path = "worker/support.rs"]
mod support;
#[path = "worker/talking.rs"]
mod talking;
#[path = "worker/tools.rs"]
mod tools;

fn main() -> ExitCode {
    become_launcher_if_asked();
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let mut claims = [
        sessions::CLAIMS,
        ending::CLAIMS,
        slots::CLAIMS,
        talking::CLAIMS,
        tools::CLAIMS,
    ]
    .concat();
    let mut is_good = true;
    if has_sandboxes() {
        claims.extend([attempts::CLAIMS, talking::IN_SANDBOXES].concat());
    } else {
        println!("\n*** NOT RUN: what needs a sandbox, because this machine refuses them ***");
        is_good = std::env::var_os("GANGER_REQUIRE_SANDBOX").is_none();
    }
    claims.retain(|(name, _)| filter.as_ref().is_none_or(|filter| name.contains(filter)));
    let failed: Vec<_> = claims
        .iter()
        .filter(|claim| !holds(claim))
        .map(|(name, _)| *name)
        .collect();
    println!(
        "{} held, {} failed {failed:?}",
        claims.len() - failed.len(),
        failed.len()
    );
    if is_good && failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn holds((name, proof): &Claim) -> bool {
    // A thread of its own turns a panic into a result.
    let holds = std::thread::spawn(*proof).join().is_ok();
    println!("claim {name} ... {}", if holds { "ok" } else { "FAILED" });
    holds
}

fn has_sandboxes() -> bool {
    support::runtime().block_on(async {
        match DriverKind::Native.driver() {
            Ok(driver) => driver.probe().await.is_usable(),
            Err(_) => false,
        }
    })
}
