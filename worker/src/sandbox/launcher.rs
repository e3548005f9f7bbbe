//! The second life of the worker's binary: it becomes a sandbox's supervisor and first process.
//!
//! The worker executes itself with the name [`INIT_NAME`], an empty environment and the control socket as
//! standard input. [`become_launcher_if_asked`] recognises that before anything else runs, so no start-up
//! work of the real program is paid and the process has exactly one thread, in which everything is legal.
//!
//! Two processes stay: the *supervisor*, which left the worker's session and only waits, so that its end
//! says that the tree is dead; and the sandbox's *first process* (`init`), which is pid 1 of the new pid
//! namespace. Nothing that is read here comes from an agent.
//!
//! By the name [`SUPERVISOR_NAME`] it becomes the one process that a tree without walls needs
//! (`supervisor`). And a worker that is a container's pid 1 leaves that place to `pid1`.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    process::{PidfdFlags, Signal, WaitOptions},
    thread::UnshareFlags,
};

use super::{
    Step,
    native::wire::{self, Blueprint, Failure, Identity, Report},
};

pub use pid1::become_init_if_pid_1;

pub(super) mod checks;
mod identity;
mod init;
mod pid1;
mod programs;
mod root;
mod supervisor;
mod sys;

/// The name under which the binary is executed as a launcher.
pub(super) const INIT_NAME: &str = "ganger-sandbox-init";

/// The name under which the binary is executed as the supervisor of a tree without walls.
pub(super) const SUPERVISOR_NAME: &str = "ganger-supervisor";

/// Where the probe finds the binary in its sandbox; executed by this name it runs the checks.
pub(super) const CHECKS_PATH: &str = "/ganger-sandbox-checks";

/// Turns this process into a sandbox's launcher if the worker started it as one, and then never returns.
///
/// Must be the first statement of `main`, before any thread is started. A person who fakes the name gains
/// nothing: the launcher has the rights of its caller and does what its standard input says.
pub fn become_launcher_if_asked() {
    match std::env::args_os().next() {
        Some(name) if name == INIT_NAME => launch(INIT_NAME, begin),
        Some(name) if name == SUPERVISOR_NAME => launch(SUPERVISOR_NAME, supervisor::begin),
        Some(name) if name == CHECKS_PATH => checks::run(),
        _ => {}
    }
}

fn launch(name: &str, begin: fn(&OwnedFd) -> Result<(), Failure>) -> ! {
    let Ok(control) = take_control_socket() else {
        eprintln!("{name} is started by the worker only");
        sys::exit(2);
    };
    if let Err(failure) = begin(&control) {
        report_failure(&control, failure);
    }
    sys::exit(0);
}

/// Keeps the control socket as the only descriptor beside a null stdin, stdout and stderr.
fn take_control_socket() -> rustix::io::Result<OwnedFd> {
    sys::close_from(3, false)?;
    rustix::net::sockopt::socket_type(io::stdin())?;
    let control = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let null = rustix::fs::openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for standard in 0..3 {
        sys::dup_to(&null, standard)?;
    }
    Ok(control)
}

/// What the worker says first.
fn receive<M: serde::de::DeserializeOwned>(control: &OwnedFd) -> Result<M, Failure> {
    wire::recv(control.as_fd(), &mut Vec::new())
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::BADMSG))
        .at(Step::Receive, "")?
        .ok_or(Errno::PIPE)
        .at(Step::Receive, "")
}

fn begin(control: &OwnedFd) -> Result<(), Failure> {
    let blueprint: Blueprint = receive(control)?;

    // A Ctrl-C in the worker's terminal is for the worker. Fails only for a session leader.
    let _ = rustix::process::setsid();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(Step::Fork, "")?;
    let namespaces = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    match blueprint.identity {
        Identity::Slot(_) => sys::unshare(namespaces).at(Step::Unshare, "")?,
        Identity::Mapped => {
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            sys::unshare(namespaces | UnshareFlags::NEWUSER).at(Step::Unshare, "")?;
            identity::map_user(uid.as_raw(), gid.as_raw()).at(Step::MapUser, "")?;
        }
    }

    match sys::fork().at(Step::Fork, "")? {
        sys::Forked::Child => init::run(control, &blueprint),
        sys::Forked::Parent(first) => {
            // Not reaped yet, so the number still means this child.
            let pidfd =
                rustix::process::pidfd_open(first, PidfdFlags::empty()).at(Step::Fork, "pidfd")?;
            // A worker that is gone needs no report: the first process sees that by itself.
            let _ = wire::send(control.as_fd(), &Report::Born, &[pidfd.as_fd()]);
            sys::close_from(3, false).at(Step::Fork, "")?;
            while matches!(
                rustix::process::waitpid(Some(first), WaitOptions::empty()),
                Err(Errno::INTR)
            ) {}
            sys::exit(0)
        }
    }
}

fn report_failure(control: &OwnedFd, failure: Failure) -> ! {
    // Nobody is left to tell if this fails.
    let _ = wire::send(control.as_fd(), &Report::Failed(failure), &[]);
    sys::exit(1)
}

/// Names the step at which a system call failed.
trait At<T> {
    fn at(self, step: Step, subject: impl Into<String>) -> Result<T, Failure>;
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, step: Step, subject: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            step,
            errno: errno.raw_os_error(),
            subject: subject.into(),
        })
    }
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: Step, subject: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .at(step, subject)
    }
}
