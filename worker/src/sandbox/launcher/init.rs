//! The sandbox's first process: sets it up from within, then serves its worker.
//!
//! Its end is the end of the sandbox, as the kernel kills a pid namespace with its first process. It ends
//! when the worker's side of the control socket closes.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{fs::Mode, process::Signal};

use super::{
    At, checks, identity,
    programs::{Bounds, Setting, serve},
    report_failure, root, sys,
};
use crate::sandbox::{
    Step, WORKSPACE,
    native::wire::{self, Blueprint, Failure, Notes, Report},
};

/// Sets up the sandbox and serves it until its end.
pub fn run(control: &OwnedFd, blueprint: &Blueprint) -> ! {
    match set_up(blueprint) {
        Ok(notes) => {
            if wire::send(control.as_fd(), &Report::Ready(notes), &[]).is_err() {
                sys::exit(0);
            }
        }
        Err(failure) => report_failure(control, failure),
    }
    let setting = Setting {
        env: &blueprint.env,
        dir: Path::new(WORKSPACE),
        limits: Bounds::All(&blueprint.limits),
        supervisor: None,
    };
    match serve(control, &setting) {
        Ok(()) => sys::exit(0),
        Err(failure) => report_failure(control, failure),
    }
}

fn set_up(blueprint: &Blueprint) -> Result<Notes, Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .at(Step::Fork, "death signal")?;
    // What `ps` shows; the kernel would call it after the link that it was executed through.
    rustix::thread::set_name(c"ganger-sandbox").at(Step::Fork, "name")?;
    rustix::process::umask(Mode::empty());
    // When memory runs out, an agent goes before the worker does. Where it can't be said, it isn't.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let user_sysctls = root::enter(blueprint)?;
    sys::set_host_name("sandbox").at(Step::Network, "host name")?;
    sys::loopback_up().at(Step::Network, "lo")?;
    let mut notes = identity::assume(blueprint.identity, &user_sysctls)?;
    notes.vsock_closed = !checks::opens_vsock();
    notes.own_workspace_fs = checks::workspace_on_host().is_none();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(notes)
}
