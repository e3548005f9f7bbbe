//! The supervisor of a tree without walls: it starts the tree's programs, adopts its orphans, and kills
//! whatever of it is left when the worker's end of the control socket closes.
//!
//! An ordinary process can hold that much: the kernel hands every orphan beneath a *child subreaper* to it,
//! whichever session or process group the orphan is in. The tree escapes only if somebody kills the
//! supervisor, which a program of the same user may; the programs themselves die with it then.

use std::{
    collections::HashMap,
    fs,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitOptions},
};

use super::{
    At,
    programs::{Bounds, Setting, serve},
    receive, sys,
};
use crate::sandbox::{
    Step,
    native::wire::{self, Failure, Notes, Report, Tree},
};

/// How long the killed may take to die. What runs as another user can't be killed and is left behind.
const DEATH_SPAN_MAX: Duration = Duration::from_secs(5);

/// How long to wait for a death before looking again for what was forked meanwhile.
const LOOK_SPAN: Duration = Duration::from_millis(10);

/// Serves one tree until its worker is gone or wants no more of it.
pub fn begin(control: &OwnedFd) -> Result<(), Failure> {
    let tree: Tree = receive(control)?;
    // A Ctrl-C in the worker's terminal is for the worker; and nothing but SIGKILL may part this process
    // from its tree. Making a session fails only for the leader of one.
    let _ = rustix::process::setsid();
    sys::block_signals();
    rustix::thread::set_name(c"ganger-superv").at(Step::Fork, "name")?;
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).at(Step::Fork, "child subreaper")?;
    // A worker that is gone is noticed by `serve`.
    let _ = wire::send(control.as_fd(), &Report::Ready(Notes::default()), &[]);
    let setting = Setting {
        env: &tree.env,
        dir: &tree.dir,
        limits: Bounds::OpenFiles(tree.open_files),
        supervisor: Some(own),
    };
    let served = serve(control, &setting);
    kill_descendants(own);
    served
}

/// Kills every process beneath this one and reaps it, until none is left or the time is over.
fn kill_descendants(own: Pid) {
    let deaths = sys::signal_fd(&[libc::SIGCHLD]);
    let deadline = Instant::now() + DEATH_SPAN_MAX;
    while Instant::now() < deadline {
        // A process that has the signal forks no more: only children of those not yet seen are missed, and
        // they are found in the next round.
        for (pid, parent) in descendants(own) {
            kill_child_of(pid, parent);
        }
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                // Nothing is left to wait for.
                Err(_) => return,
            }
        }
        if let Ok(deaths) = &deaths {
            let timeout = Timespec::try_from(LOOK_SPAN).ok();
            // Whatever comes of it, the next round looks.
            let _ =
                rustix::event::poll(&mut [PollFd::new(deaths, PollFlags::IN)], timeout.as_ref());
            while sys::next_signal(deaths).is_some() {}
        }
    }
}

/// Kills a process if it is still a child of that one: its number may have passed to a stranger.
fn kill_child_of(pid: Pid, parent: Pid) {
    let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if parent_of(pid) == Some(parent) {
        // It may have ended just now, or run as another user.
        let _ = rustix::process::pidfd_send_signal(&process, Signal::KILL);
    }
}

/// Every process beneath one, with its parent; parents first.
fn descendants(root: Pid) -> Vec<(Pid, Pid)> {
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw)
            && let Some(parent) = parent_of(pid)
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            found.push((child, parent));
            parents.push(child);
        }
    }
    found
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; the state and the parent follow its last bracket.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace()
        .nth(1)?
        .parse()
        .ok()
        .and_then(Pid::from_raw)
}
