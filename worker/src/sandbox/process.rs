//! A program that runs in a sandbox, seen from the worker.

use std::{fmt, pin::Pin, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{BoxFuture, SandboxError};

/// What a program writes. It ends when every process that holds the other side is gone, so after the
/// program's own end only [`super::Sandbox::kill`] guarantees it.
pub type Output = Pin<Box<dyn AsyncRead + Send + Sync>>;

/// What a program reads. Writing waits while the program doesn't read, and fails when it never will.
pub type Input = Pin<Box<dyn AsyncWrite + Send + Sync>>;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it; 9 also when the sandbox was killed under it.
    Signal(i32),
}

impl Exit {
    /// Whether the program returned 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What is known of a program when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// How it ended.
    pub exit: Exit,
    /// The processor time that the sandbox's programs had used by then; none where it isn't known.
    pub cpu_time: Option<Duration>,
}

/// A running program. Dropping it neither stops the program nor waits for it.
pub struct Process {
    /// What it reads from standard input, where that was asked to be open; taken by the writer.
    pub stdin: Option<Input>,
    /// What it writes to standard output; taken by the reader.
    pub stdout: Option<Output>,
    /// What it writes to standard error; taken by the reader.
    pub stderr: Option<Output>,
    state: State,
}

enum State {
    Awaited(BoxFuture<'static, Result<End, SandboxError>>),
    Known(End),
    Failed,
}

impl Process {
    pub(super) fn new(
        stdin: Option<Input>,
        stdout: Output,
        stderr: Output,
        end: impl Future<Output = Result<End, SandboxError>> + Send + 'static,
    ) -> Self {
        Self {
            stdin,
            stdout: Some(stdout),
            stderr: Some(stderr),
            state: State::Awaited(Box::pin(end)),
        }
    }

    /// Waits for the program's end. Cancel safe; once known, the exit is answered again at once.
    ///
    /// A failure to execute the program at all is [`SandboxError::Program`], told once; after it the
    /// answer is [`SandboxError::Dead`].
    pub async fn wait(&mut self) -> Result<Exit, SandboxError> {
        let result = match &mut self.state {
            State::Awaited(end) => end.await,
            State::Known(end) => return Ok(end.exit),
            State::Failed => return Err(SandboxError::Dead),
        };
        self.state = match &result {
            Ok(end) => State::Known(*end),
            Err(_) => State::Failed,
        };
        result.map(|end| end.exit)
    }

    /// The processor time that the sandbox's programs had used when this one ended, as far as they
    /// were reaped by then. None before the end, when the sandbox was killed, and where the driver
    /// can't tell.
    pub fn cpu_time(&self) -> Option<Duration> {
        match &self.state {
            State::Known(end) => end.cpu_time,
            State::Awaited(_) | State::Failed => None,
        }
    }
}
