//! What a container's pid 1 owes its namespace, for a worker that was made pid 1.
//!
//! The kernel hands every orphan of a pid namespace to pid 1, which has to reap it, and it keeps signals
//! from pid 1 that pid 1 has no handler for. A worker is no init: so it forks, goes on as the child, and
//! leaves behind a process that does nothing else.

use std::fs;

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus},
};

use super::sys::{self, Forked};

/// Signals that go on to the worker.
const FORWARDED: [Signal; 6] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
];

/// The `si_code` of a signal that the kernel itself sent.
const SENT_BY_KERNEL: i32 = 0x80;

/// Does nothing unless this process is pid 1. Pid 1 forks: the child returns and is the program, and pid 1
/// reaps, forwards signals to the child, and ends with the child's exit code (128 + the number where a
/// signal ended it), which ends everything else in its pid namespace.
///
/// Must be called before any thread is started, else it does nothing.
pub fn become_init_if_pid_1() {
    if rustix::process::getpid() != Pid::INIT || !has_one_thread() {
        return;
    }
    // Blocked before the fork, so that none is lost.
    let numbers = FORWARDED.map(Signal::as_raw);
    let Ok(signals) = sys::signal_fd(&[&numbers[..], &[libc::SIGCHLD]].concat()) else {
        return;
    };
    match sys::fork() {
        Ok(Forked::Parent(program)) => serve(program, &signals),
        Ok(Forked::Child) => sys::unblock_signals(),
        Err(errno) => {
            sys::unblock_signals();
            eprintln!("cannot leave pid 1 to an init: {errno}; orphans are not reaped");
        }
    }
}

fn has_one_thread() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

fn serve(program: Pid, signals: &std::os::fd::OwnedFd) -> ! {
    // What `ps` shows. Nothing depends on it.
    let _ = rustix::thread::set_name(c"ganger-init");
    loop {
        match rustix::event::poll(&mut [PollFd::new(signals, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => sys::exit(1),
        }
        while let Some((number, origin)) = sys::next_signal_and_origin(signals) {
            let forwarded = FORWARDED
                .into_iter()
                .find(|signal| u32::try_from(signal.as_raw()) == Ok(number));
            // A terminal has told the program as well: it is in the same process group.
            if let Some(signal) = forwarded
                && origin != SENT_BY_KERNEL
            {
                // The program is not reaped yet, so the number is its own.
                let _ = rustix::process::kill_process(program, signal);
            }
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == program
                && let Some(code) = code_of(status)
            {
                sys::exit(code);
            }
        }
    }
}

fn code_of(status: WaitStatus) -> Option<i32> {
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}
