//! What worker and launcher say to each other over the control socket.
//!
//! Each message is a length and JSON; descriptors travel with its first byte. The socket is also the
//! lifeline: when the worker's end closes, the sandbox dies. A program's end comes back on a pipe of its
//! own as one [`StatusRecord`], so that waiting for it needs no dispatcher.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::sandbox::{Exit, Limits, Mount, Step};

/// Enough for the largest command line and environment that the kernel takes, escaped.
pub(in crate::sandbox) const MESSAGE_SIZE_MAX: usize = 32 << 20;

/// Descriptors that one message may carry.
pub(in crate::sandbox) const FDS_MAX: usize = 4;

/// The first message to the launcher.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Blueprint {
    pub workspace: PathBuf,
    pub read_only: Vec<Mount>,
    pub env: BTreeMap<String, String>,
    pub limits: Limits,
    pub identity: Identity,
}

/// The first message to the supervisor of a tree without walls.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Tree {
    /// The working directory of its programs, as the host names it.
    pub dir: PathBuf,
    pub env: BTreeMap<String, String>,
    /// The soft limit of open descriptors of its programs, as far as the hard one allows it.
    pub open_files: u64,
}

/// Who the sandbox's programs are on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) enum Identity {
    /// A user of the sandbox's own; the worker is root.
    Slot(u32),
    /// The worker's own user, in a user namespace.
    Mapped,
}

/// Every later message to the launcher.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::sandbox) enum Order {
    /// Start a program. Comes with its stdout, its stderr, the status pipe and, if it reads, its stdin.
    Exec { argv: Vec<String> },
    /// SIGTERM to every program's process group.
    Terminate,
}

/// What the launcher says while it sets up.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::sandbox) enum Report {
    /// The first process exists; its pidfd comes along.
    Born,
    /// It takes orders.
    Ready(Notes),
    /// It gave up.
    Failed(Failure),
}

/// What the launcher could not do but went on without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Notes {
    /// The programs sit in a user namespace that allows no further ones.
    pub nested_users_closed: bool,
    /// They have a session keyring of their own.
    pub own_keyring: bool,
    /// They can't open a socket of the family AF_VSOCK.
    pub vsock_closed: bool,
    /// The workspace is the root of a file system, so that `/proc/self/mountinfo` doesn't name its place on
    /// the host.
    pub own_workspace_fs: bool,
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Failure {
    pub step: Step,
    pub errno: i32,
    pub subject: String,
}

/// How a program ended: eight bytes on its status pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum StatusRecord {
    /// It ended so, when the sandbox's programs had used so many milliseconds of processor time.
    Ended(Exit, u64),
    /// It was never executed, with this errno.
    NotExecuted(i32),
}

impl StatusRecord {
    pub const SIZE: usize = 16;

    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let (kind, value, cpu_ms) = match self {
            Self::Ended(Exit::Code(code), cpu_ms) => (1u32, code, cpu_ms),
            Self::Ended(Exit::Signal(signal), cpu_ms) => (2, signal, cpu_ms),
            Self::NotExecuted(errno) => (3, errno, 0),
        };
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&value.to_le_bytes());
        bytes[8..].copy_from_slice(&cpu_ms.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let [k0, k1, k2, k3, v0, v1, v2, v3, cpu @ ..] = bytes;
        let cpu_ms = u64::from_le_bytes(cpu);
        let value = i32::from_le_bytes([v0, v1, v2, v3]);
        match u32::from_le_bytes([k0, k1, k2, k3]) {
            1 => Some(Self::Ended(Exit::Code(value), cpu_ms)),
            2 => Some(Self::Ended(Exit::Signal(value), cpu_ms)),
            3 => Some(Self::NotExecuted(value)),
            _ => None,
        }
    }
}

/// A message as it goes over the socket.
pub(in crate::sandbox) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let len = bytes.len() - 4;
    if len > MESSAGE_SIZE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "message is too large for the launcher",
        ));
    }
    let len = u32::try_from(len).expect("the bound fits 32 bits");
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    Ok(bytes)
}

/// Sends as much as the socket takes now, the descriptors with the first byte.
pub(in crate::sandbox) fn send_some(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many descriptors in a message",
        ));
    }
    let sent = rustix::net::sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(sent)
}

/// Receives up to `bytes.len()`; descriptors that come along are appended, close-on-exec.
pub(in crate::sandbox) fn recv_some(
    socket: impl AsFd,
    bytes: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok(received.bytes)
}

/// The length that a message's first four bytes announce.
pub(in crate::sandbox) fn body_len(head: [u8; 4]) -> io::Result<usize> {
    let len = u32::from_le_bytes(head) as usize;
    if len > MESSAGE_SIZE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "oversized message",
        ));
    }
    Ok(len)
}

/// Sends a whole message on a blocking socket.
pub(in crate::sandbox) fn send(
    socket: impl AsFd + Copy,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = encode(message)?;
    let mut sent = send_some(socket, &bytes, fds)?;
    while sent < bytes.len() {
        sent += send_some(socket, &bytes[sent..], &[])?;
    }
    Ok(())
}

/// Receives a whole message on a blocking socket; `None` when the other side is gone.
pub(in crate::sandbox) fn recv<M: DeserializeOwned>(
    socket: impl AsFd + Copy,
    fds: &mut Vec<OwnedFd>,
) -> io::Result<Option<M>> {
    let mut head = [0; 4];
    if !fill(socket, &mut head, fds)? {
        return Ok(None);
    }
    let mut body = vec![0; body_len(head)?];
    if !fill(socket, &mut body, fds)? {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&body)?))
}

fn fill(socket: impl AsFd + Copy, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut filled = 0;
    while filled < bytes.len() {
        match recv_some(socket, &mut bytes[filled..], fds) {
            Ok(0) => return Ok(false),
            Ok(received) => filled += received,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_message_larger_than_the_socket_arrives_whole_with_its_descriptors() {
        let (near, far) = UnixStream::pair().unwrap();
        let order = Order::Exec {
            argv: vec!["x".repeat(3 << 20)],
        };
        let carried = UnixStream::pair().unwrap().0;

        let sender = std::thread::spawn(move || send(near.as_fd(), &order, &[carried.as_fd()]));
        let mut fds = Vec::new();
        let received = recv::<Order>(far.as_fd(), &mut fds).unwrap();

        sender.join().unwrap().unwrap();
        assert!(matches!(received, Some(Order::Exec { argv }) if argv[0].len() == 3 << 20));
        assert_eq!(fds.len(), 1);
        assert!(recv::<Order>(far.as_fd(), &mut fds).unwrap().is_none());
    }

    #[test]
    fn status_records_survive_the_pipe() {
        for record in [
            StatusRecord::Ended(Exit::Code(-1), 0),
            StatusRecord::Ended(Exit::Signal(9), u64::MAX),
            StatusRecord::NotExecuted(2),
        ] {
            assert_eq!(StatusRecord::from_bytes(record.to_bytes()), Some(record));
        }
        assert_eq!(StatusRecord::from_bytes([0; 16]), None);
    }
}
