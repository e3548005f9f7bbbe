//! The few system calls that rustix does not offer safely.
//!
//! Only the launcher calls these, and the launcher has a single thread: that is what makes `fork` and the
//! per-thread credential calls of its siblings sound.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_char},
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::{io::Errno, mount::MountAttrFlags, process::Pid, thread::UnshareFlags};

fn last() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn check(result: i64) -> rustix::io::Result<i64> {
    if result < 0 { Err(last()) } else { Ok(result) }
}

/// Which side of a fork this is.
pub enum Forked {
    Parent(Pid),
    Child,
}

/// Forks the single-threaded launcher.
pub fn fork() -> rustix::io::Result<Forked> {
    // SAFETY: the launcher has one thread, so the child sees no lock held by a thread that it lacks.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok(i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .map_or(Forked::Child, Forked::Parent))
}

/// Moves the launcher into new namespaces.
pub fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: no descriptor table is unshared and there is one thread: no other code relies on the
    // namespaces that are left.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Sets attributes on the mount behind `tree`, and on all beneath it if `recursive`.
pub fn mount_setattr(
    tree: impl AsFd,
    set: MountAttrFlags,
    recursive: bool,
) -> rustix::io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: set.bits().into(),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a valid C string, and the struct lives through the call and has the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}

/// Puts `fd` at the number `at`, inheritable.
pub fn dup_to(fd: impl AsFd, at: RawFd) -> rustix::io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    if fd == at {
        // SAFETY: plain integers; the descriptor is open as it is borrowed.
        return check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }.into()).map(drop);
    }
    // SAFETY: plain integers; the launcher owns the numbers 0 to 2 that this is used for, and no Rust value
    // owns them.
    check(unsafe { libc::dup2(fd, at) }.into()).map(drop)
}

/// Closes every descriptor from `first` on at once, or marks it close-on-exec.
pub fn close_from(first: u32, only_on_exec: bool) -> rustix::io::Result<()> {
    let flags = if only_on_exec {
        libc::CLOSE_RANGE_CLOEXEC
    } else {
        0
    };
    // SAFETY: plain integers. Descriptors are closed only at the launcher's start and just before an exec,
    // where no Rust value that owns one is used again.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) }).map(drop)
}

/// Names the host of this UTS namespace.
pub fn set_host_name(name: &str) -> rustix::io::Result<()> {
    // SAFETY: pointer and length are of one live string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Brings up `lo` in this network namespace.
pub fn loopback_up() -> rustix::io::Result<()> {
    // SAFETY: plain integers; the result is checked before it is owned.
    let socket = check(
        unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into(),
    )?;
    let raw = RawFd::try_from(socket).map_err(|_| Errno::BADF)?;
    // SAFETY: a new descriptor that nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: all zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
    // SAFETY: the request is a valid `ifreq` that lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
        .map(drop)
}

/// Leaves the worker's session keyring for a new, empty one.
pub fn join_new_keyring() -> rustix::io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            ptr::null::<c_char>(),
        )
    })
    .map(drop)
}

/// Blocks the signals and returns a descriptor that reports them.
pub fn signal_fd(signals: &[i32]) -> rustix::io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised by the first call and lives through all of them.
    let raw = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()).into())?;
        check(libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?
    };
    let raw = RawFd::try_from(raw).map_err(|_| Errno::BADF)?;
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// The next signal number that a [`signal_fd`] holds.
pub fn next_signal(fd: impl AsFd) -> Option<u32> {
    next_signal_and_origin(fd).map(|(signal, _)| signal)
}

/// The same with its `si_code`, which says who sent it.
pub fn next_signal_and_origin(fd: impl AsFd) -> Option<(u32, i32)> {
    let mut bytes = [0; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(fd, &mut bytes) {
        Ok(read) if read == bytes.len() => {
            let [n0, n1, n2, n3, _, _, _, _, c0, c1, c2, c3, ..] = bytes;
            let number = u32::from_ne_bytes([n0, n1, n2, n3]);
            Some((number, i32::from_ne_bytes([c0, c1, c2, c3])))
        }
        _ => None,
    }
}

/// Blocks every signal that can be blocked.
pub fn block_signals() {
    set_signal_mask(libc::SIG_BLOCK, true);
}

/// Lets every signal through again.
pub fn unblock_signals() {
    set_signal_mask(libc::SIG_SETMASK, false);
}

fn set_signal_mask(how: i32, all: bool) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised before it is read, and lives through both calls.
    unsafe {
        if all {
            libc::sigfillset(set.as_mut_ptr());
        } else {
            libc::sigemptyset(set.as_mut_ptr());
        }
        libc::sigprocmask(how, set.as_ptr(), ptr::null_mut());
    }
}

/// Gives every signal its default action again and unblocks all, as a program expects at its start.
pub fn reset_signals() {
    const LAST: i32 = 64;
    for signal in 1..=LAST {
        // SAFETY: sets a default action, no handler. Failures (SIGKILL, SIGSTOP) change nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock_signals();
}

/// Replaces this process by a program. Only returns on failure.
pub fn execve(path: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: all are C strings that live through the call, and both lists end with null.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    last()
}

/// Ends the process at once, running nothing.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(code) }
}

/// Processor time, user and system, of all that this process has reaped, and of all that those had
/// reaped: milliseconds.
pub fn children_cpu_ms() -> u64 {
    // SAFETY: all zeroes are a sound rusage, and the pointer is to one for the length of the call.
    let (result, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), usage)
    };
    let millis = |time: libc::timeval| time.tv_sec * 1_000 + time.tv_usec / 1_000;
    if result != 0 {
        return 0;
    }
    u64::try_from(millis(usage.ru_utime) + millis(usage.ru_stime)).unwrap_or(0)
}

/// What a probe tries in order to see it refused: tracing pid 1.
pub fn try_trace_first_process() -> rustix::io::Result<()> {
    // SAFETY: plain integers; attaching changes no memory of this process.
    check(unsafe {
        libc::ptrace(
            libc::PTRACE_SEIZE,
            1,
            ptr::null_mut::<u8>(),
            ptr::null_mut::<u8>(),
        )
    })
    .map(drop)
}
