//! Starts, reaps and signals the programs of one sandbox, as its worker orders.
//!
//! Knows nothing of walls: it runs in the first process of a native sandbox, and in the supervisor of a
//! tree that has none.

use std::{
    collections::BTreeMap,
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags},
    fs::{CWD, Mode, OFlags},
    io::Errno,
    process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus},
};

use super::{At, sys};
use crate::sandbox::{
    Exit, Limits, Step,
    native::wire::{self, Failure, Order, StatusRecord},
};

/// Where programs are looked for if the environment doesn't say.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// What every program is started with.
pub struct Setting<'a> {
    /// Its whole environment.
    pub env: &'a BTreeMap<String, String>,
    /// Its working directory.
    pub dir: &'a Path,
    /// What it may use.
    pub limits: Bounds<'a>,
    /// The process that it is not to outlive, where no namespace sees to that.
    pub supervisor: Option<Pid>,
}

/// Which limits of its starter a program does not inherit.
pub enum Bounds<'a> {
    /// All of these are set, and can't be raised again.
    All(&'a Limits),
    /// The soft limit of open descriptors alone, as far as the hard one allows it.
    OpenFiles(u64),
}

/// A program's process and where its end is told.
struct Running {
    pid: Pid,
    status: OwnedFd,
}

/// Does what the worker orders until its end of the control socket closes, or says nonsense. A SIGTERM to
/// this process goes on to every program.
pub fn serve(control: &OwnedFd, setting: &Setting<'_>) -> Result<(), Failure> {
    let null = rustix::fs::openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(Step::Serve, "/dev/null")?;
    for standard in 0..3 {
        sys::dup_to(&null, standard).at(Step::Serve, "/dev/null")?;
    }
    let signals = sys::signal_fd(&[libc::SIGCHLD, libc::SIGTERM]).at(Step::Serve, "signals")?;
    let env = c_env(setting.env);
    let mut running: Vec<Running> = Vec::new();
    loop {
        let mut ready = [
            PollFd::new(control, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        match rustix::event::poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).at(Step::Serve, "poll"),
        }
        let [has_order, has_signal] = ready.map(|polled| !polled.revents().is_empty());
        if has_signal {
            while let Some(signal) = sys::next_signal(&signals) {
                if signal == libc::SIGTERM as u32 {
                    terminate(&running);
                }
            }
            reap(&mut running);
        }
        if has_order {
            let mut fds = Vec::new();
            match wire::recv::<Order>(control.as_fd(), &mut fds) {
                Ok(Some(Order::Exec { argv })) => start(argv, fds, &env, setting, &mut running),
                Ok(Some(Order::Terminate)) => terminate(&running),
                // The worker is gone, or speaks nonsense: both end the sandbox.
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }
}

fn terminate(running: &[Running]) {
    for program in running {
        // A program that has not made its session yet is signalled alone. A dead one needs no signal.
        if rustix::process::kill_process_group(program.pid, Signal::TERM).is_err() {
            let _ = rustix::process::kill_process(program.pid, Signal::TERM);
        }
    }
}

/// Collects the dead: programs, whose end is told, and orphans that fell to this process.
fn reap(running: &mut Vec<Running>) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if let (Some(at), Some(exit)) = (
            running.iter().position(|program| program.pid == pid),
            exit_of(status),
        ) {
            let ended = StatusRecord::Ended(exit, sys::children_cpu_ms());
            tell(&running.swap_remove(at).status, ended);
        }
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    status
        .exit_status()
        .map(Exit::Code)
        .or_else(|| status.terminating_signal().map(Exit::Signal))
}

fn tell(status: impl AsFd, record: StatusRecord) {
    // A record fits any pipe at once; a worker that dropped its side does not want to know.
    let _ = rustix::io::write(status, &record.to_bytes());
}

fn start(
    argv: Vec<String>,
    fds: Vec<OwnedFd>,
    env: &[CString],
    setting: &Setting<'_>,
    running: &mut Vec<Running>,
) {
    let mut fds = fds.into_iter();
    let (Some(stdout), Some(stderr), Some(status)) = (fds.next(), fds.next(), fds.next()) else {
        return;
    };
    let stdin = fds.next();
    match sys::fork() {
        Ok(sys::Forked::Parent(pid)) => running.push(Running { pid, status }),
        Ok(sys::Forked::Child) => {
            let errno = match prepare(stdin.as_ref(), &stdout, &stderr, setting) {
                Ok(()) => execute(
                    &argv,
                    env,
                    setting.env.get("PATH").map_or(DEFAULT_PATH, String::as_str),
                ),
                Err(errno) => errno,
            };
            tell(&status, StatusRecord::NotExecuted(errno.raw_os_error()));
            sys::exit(127);
        }
        Err(errno) => tell(&status, StatusRecord::NotExecuted(errno.raw_os_error())),
    }
}

fn prepare(
    stdin: Option<&OwnedFd>,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
    setting: &Setting<'_>,
) -> rustix::io::Result<()> {
    if let Some(supervisor) = setting.supervisor {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // A supervisor that died before the signal was armed is no parent any more.
        if rustix::process::getppid() != Some(supervisor) {
            return Err(Errno::SRCH);
        }
    }
    rustix::process::setsid()?;
    if let Some(stdin) = stdin {
        sys::dup_to(stdin, 0)?;
    }
    sys::dup_to(stdout, 1)?;
    sys::dup_to(stderr, 2)?;
    sys::close_from(3, true)?;
    rustix::process::chdir(setting.dir)?;
    match setting.limits {
        Bounds::All(limits) => set_limits(limits)?,
        Bounds::OpenFiles(limit) => limit_open_files(limit)?,
    }
    sys::reset_signals();
    Ok(())
}

fn set_limits(limits: &Limits) -> rustix::io::Result<()> {
    let wanted = [
        // Not 0: a limit of 1 also keeps the kernel from running the host's core dump program.
        (Resource::Core, Some(1)),
        (Resource::Memlock, Some(64 << 10)),
        (Resource::Nofile, Some(limits.open_files)),
        (Resource::Nproc, Some(limits.processes)),
        (Resource::Fsize, limits.file_size),
        (Resource::Data, limits.memory),
        (Resource::Cpu, limits.cpu_seconds),
    ];
    for (resource, limit) in wanted {
        let Some(limit) = limit else { continue };
        // A lower bound of the worker's own can't be raised.
        let limit = rustix::process::getrlimit(resource)
            .maximum
            .map_or(limit, |bound| bound.min(limit));
        rustix::process::setrlimit(
            resource,
            Rlimit {
                current: Some(limit),
                maximum: Some(limit),
            },
        )?;
    }
    Ok(())
}

fn limit_open_files(limit: u64) -> rustix::io::Result<()> {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limits = Rlimit {
        current: Some(maximum.map_or(limit, |bound| bound.min(limit))),
        maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, limits)
}

/// Executes the program, looking along the path as a shell does. Only returns on failure.
fn execute(argv: &[String], env: &[CString], search: &str) -> Errno {
    let Ok(argv) = argv
        .iter()
        .map(|argument| CString::new(argument.as_str()))
        .collect::<Result<Vec<_>, _>>()
    else {
        return Errno::INVAL;
    };
    let Some(program) = argv.first() else {
        return Errno::INVAL;
    };
    if program.to_bytes().contains(&b'/') {
        return sys::execve(program, &argv, env);
    }
    let mut result = Errno::NOENT;
    for dir in search.split(':').filter(|dir| dir.starts_with('/')) {
        let mut path = format!("{dir}/").into_bytes();
        path.extend_from_slice(program.to_bytes());
        let Ok(path) = CString::new(path) else {
            return Errno::INVAL;
        };
        match sys::execve(&path, &argv, env) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => result = Errno::ACCESS,
            errno => return errno,
        }
    }
    result
}

fn c_env(env: &BTreeMap<String, String>) -> Vec<CString> {
    // The spec was checked: no NUL is left to drop a variable here.
    env.iter()
        .filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok())
        .collect()
}
