//! A program that runs in a sandbox, seen from the worker.

use std::{fmt, pin::Pin};

use tokio::io::AsyncRead;

use super::{BoxFuture, SandboxError};

/// What a program writes. It ends when every process that holds the other side is gone, so after the
/// program's own end only [`super::Sandbox::kill`] guarantees it.
pub type Output = Pin<Box<dyn AsyncRead + Send + Sync>>;

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

/// A running program. Dropping it neither stops the program nor waits for it.
pub struct Process {
    /// What it writes to standard output; taken by the reader.
    pub stdout: Option<Output>,
    /// What it writes to standard error; taken by the reader.
    pub stderr: Option<Output>,
    end: End,
}

enum End {
    Awaited(BoxFuture<'static, Result<Exit, SandboxError>>),
    Known(Exit),
    Failed,
}

impl Process {
    pub(super) fn new(
        stdout: Output,
        stderr: Output,
        end: impl Future<Output = Result<Exit, SandboxError>> + Send + 'static,
    ) -> Self {
        Self {
            stdout: Some(stdout),
            stderr: Some(stderr),
            end: End::Awaited(Box::pin(end)),
        }
    }

    /// Waits for the program's end. Cancel safe; once known, the exit is answered again at once.
    ///
    /// A failure to execute the program at all is [`SandboxError::Program`], told once; after it the
    /// answer is [`SandboxError::Dead`].
    pub async fn wait(&mut self) -> Result<Exit, SandboxError> {
        let result = match &mut self.end {
            End::Awaited(end) => end.await,
            End::Known(exit) => return Ok(*exit),
            End::Failed => return Err(SandboxError::Dead),
        };
        self.end = match &result {
            Ok(exit) => End::Known(*exit),
            Err(_) => End::Failed,
        };
        result
    }
}
