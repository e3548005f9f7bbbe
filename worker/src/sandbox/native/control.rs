//! The worker's end of the control socket, and of the pipes beside it.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    time::Duration,
};

use rustix::{
    fs::{MemfdFlags, SealFlags, SeekFrom},
    io::Errno,
    pipe::PipeFlags,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, Interest},
    net::{UnixStream, unix::pipe},
    sync::Mutex,
};

use super::wire::{self, Order, StatusRecord};
use crate::sandbox::{Command, Exit, Input, Process, SandboxError, Stdin, process::End};

/// The worker's end. Dropping it ends the sandbox.
pub(in crate::sandbox) struct Control {
    stream: UnixStream,
}

impl Control {
    /// A new socket: the worker's end, and the launcher's, which blocks.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (near, far) = StdUnixStream::pair()?;
        near.set_nonblocking(true)?;
        Ok((
            Self {
                stream: UnixStream::from_std(near)?,
            },
            far.into(),
        ))
    }

    /// Sends a message. Cut off half way it leaves nonsense, at which the sandbox ends.
    pub async fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = wire::encode(message)?;
        let mut sent = 0;
        while sent < bytes.len() {
            let carried = if sent == 0 { fds } else { &[] };
            sent += self
                .stream
                .async_io(Interest::WRITABLE, || {
                    wire::send_some(&self.stream, &bytes[sent..], carried)
                })
                .await?;
        }
        Ok(())
    }

    /// Receives a message and its descriptors; `None` when the launcher is gone.
    pub async fn recv<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut fds = Vec::new();
        let mut head = [0; 4];
        if !self.fill(&mut head, &mut fds).await? {
            return Ok(None);
        }
        let mut body = vec![0; wire::body_len(head)?];
        if !self.fill(&mut body, &mut fds).await? {
            return Ok(None);
        }
        Ok(Some((serde_json::from_slice(&body)?, fds)))
    }

    /// Closes the socket for both sides, also while somebody sends.
    fn close(&self) -> io::Result<()> {
        match rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Both) {
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    async fn fill(&self, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<bool> {
        let mut filled = 0;
        while filled < bytes.len() {
            let received = self
                .stream
                .async_io(Interest::READABLE, || {
                    wire::recv_some(&self.stream, &mut bytes[filled..], fds)
                })
                .await?;
            if received == 0 {
                return Ok(false);
            }
            filled += received;
        }
        Ok(true)
    }
}

/// A control socket once the sandbox is up: orders go one after the other, whoever gives them.
pub(in crate::sandbox) struct Orders {
    control: Control,
    turn: Mutex<()>,
}

impl Orders {
    pub fn new(control: Control) -> Self {
        Self {
            control,
            turn: Mutex::new(()),
        }
    }

    /// Gives an order.
    pub async fn give(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
        let _turn = self.turn.lock().await;
        match self.control.send(order, fds).await {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Err(SandboxError::Dead)
            }
            result => result.map_err(SandboxError::worker("talk to the sandbox")),
        }
    }

    /// Has a program started.
    pub async fn exec(&self, command: Command) -> Result<Process, SandboxError> {
        command.check()?;
        let pipe = || output_pipe().map_err(SandboxError::worker("make a pipe"));
        let (stdout, stdout_far) = pipe()?;
        let (stderr, stderr_far) = pipe()?;
        let (status, status_far) = pipe()?;
        let (stdin, stdin_far) =
            input(command.stdin).map_err(SandboxError::worker("make the standard input"))?;
        let program = command.argv[0].clone();
        let mut fds = vec![stdout_far.as_fd(), stderr_far.as_fd(), status_far.as_fd()];
        fds.extend(stdin_far.as_ref().map(AsFd::as_fd));
        self.give(&Order::Exec { argv: command.argv }, &fds).await?;
        Ok(Process::new(
            stdin,
            Box::pin(stdout),
            Box::pin(stderr),
            end_of(status, program),
        ))
    }

    /// Has the far side see the worker's end close. No order is taken after it.
    pub fn close(&self) -> io::Result<()> {
        self.control.close()
    }
}

/// A pipe of which the worker reads and a program writes.
fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((pipe::Receiver::from_owned_fd(read)?, write))
}

/// What a program reads: the worker's side where it goes on writing, and the program's; neither where
/// it reads nothing.
fn input(stdin: Stdin) -> io::Result<(Option<Input>, Option<OwnedFd>)> {
    match stdin {
        Stdin::Null => Ok((None, None)),
        Stdin::Bytes(bytes) => Ok((None, Some(input_file(&bytes)?))),
        Stdin::Open => {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&write, true)?;
            let near: Input = Box::pin(pipe::Sender::from_owned_fd(write)?);
            Ok((Some(near), Some(read)))
        }
    }
}

/// A file in memory that holds the bytes and can't be changed any more.
fn input_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("stdin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&fd, rest)?;
        rest = &rest[written..];
    }
    rustix::fs::fcntl_add_seals(
        &fd,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    rustix::fs::seek(fd.as_fd(), SeekFrom::Start(0))?;
    Ok(fd)
}

/// Waits for a program's end on its status pipe. A pipe that closes without a word means that the whole
/// sandbox was killed.
async fn end_of(mut status: pipe::Receiver, program: String) -> Result<End, SandboxError> {
    let mut bytes = [0; StatusRecord::SIZE];
    match status.read_exact(&mut bytes).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(End {
                exit: Exit::Signal(libc::SIGKILL),
                cpu_time: None,
            });
        }
        Err(source) => {
            return Err(SandboxError::Worker {
                action: "read a program's status",
                source,
            });
        }
    }
    match StatusRecord::from_bytes(bytes) {
        Some(StatusRecord::Ended(exit, cpu_ms)) => Ok(End {
            exit,
            cpu_time: Some(Duration::from_millis(cpu_ms)),
        }),
        Some(StatusRecord::NotExecuted(errno)) => Err(SandboxError::Program {
            program,
            source: io::Error::from_raw_os_error(errno),
        }),
        None => Err(SandboxError::Launcher("sent a status that means nothing")),
    }
}
