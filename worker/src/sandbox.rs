//! Sandboxes: where sub-agents run and can do no harm.
//!
//! Owns the driver trait, the drivers, the launcher that the worker's own binary turns into, the probe
//! that says what this machine can hold, and the safe handling of workspaces that an agent has written
//! to (collecting, removing, sweeping). It knows nothing of tasks, leases or the wire: wall-clock limits,
//! output caps and the grace of the stop ladder belong to the runner above.
//!
//! Invariants:
//! 1. A sandbox's whole process tree is dead when [`Sandbox::kill`] returns, and when the worker dies.
//! 2. Nothing of the worker's environment, descriptors or file system is visible inside, except what the
//!    [`SandboxSpec`] names.
//! 3. No driver degrades in silence: what is not enforced is in its [`Assurance`].
//!
//! The surprising thing: a program that links this module must call [`become_launcher_if_asked`] as the
//! first statement of its `main`. The `native` driver starts sandboxes by executing the calling binary
//! again, and that second life begins there.
//!
//! Reading order: `spec`, `assurance`, `native`, `launcher`, `collect`.

use std::{fmt, future::Future, pin::Pin, str::FromStr, sync::Arc};

mod assurance;
mod collect;
pub mod cost;
mod error;
mod host;
mod launcher;
mod native;
mod none;
mod pidfd;
mod process;
mod spec;
mod tree;
mod workspaces;

pub use assurance::{Assurance, Control, Level, ProbeReport};
pub use collect::{
    CollectError, CollectLimits, Collected, CollectedFile, Refusal, Refused, collect,
};
pub use error::{SandboxError, Step};
pub use host::{Diagnosis, HostFacts, diagnose};
pub use launcher::{become_init_if_pid_1, become_launcher_if_asked};
pub use native::NativeDriver;
pub use none::NoneDriver;
pub use process::{Exit, Input, Output, Process};
pub use spec::{
    Command, InvalidSpec, Limits, Mount, NetPolicy, SandboxId, SandboxSpec, Stdin, WORKSPACE,
};
pub use tree::remove_tree;
pub use workspaces::{SweepReport, Workspaces, WorkspacesError};

/// What the trait's calls return: a future that the caller drives.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to make sandboxes.
pub trait SandboxDriver: Send + Sync {
    /// Which driver this is; it is shown wherever the worker is shown.
    fn kind(&self) -> DriverKind;

    /// Finds out what this driver can hold on this machine, by starting real sandboxes.
    fn probe(&self) -> BoxFuture<'_, ProbeReport>;

    /// Makes a sandbox that runs nothing yet.
    ///
    /// The workspace must exist and be used by no other sandbox that is alive. Dropping the future takes
    /// down whatever it had set up.
    fn create(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Box<dyn Sandbox>, SandboxError>>;
}

/// One live sandbox. Dropping it kills its tree without waiting for the end.
pub trait Sandbox: Send + Sync {
    /// The id that the spec gave.
    fn id(&self) -> &SandboxId;

    /// What is really enforced for this sandbox.
    fn assurance(&self) -> &Assurance;

    /// Starts a program. Several may run, one after the other or at once.
    ///
    /// A program that can't be executed is told by [`Process::wait`].
    fn exec(&self, command: Command) -> BoxFuture<'_, Result<Process, SandboxError>>;

    /// Asks every program of the sandbox to end (SIGTERM to each one's process group).
    fn terminate(&self) -> BoxFuture<'_, Result<(), SandboxError>>;

    /// Kills the whole tree and returns when nothing of it is left. Idempotent.
    fn kill(&self) -> BoxFuture<'_, Result<(), SandboxError>>;

    /// Kills the tree and gives back what the sandbox held. The workspace stays.
    fn destroy(self: Box<Self>) -> BoxFuture<'static, Result<(), SandboxError>>;
}

/// The drivers that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// Linux namespaces, by the worker's own launcher.
    Native,
    /// No isolation at all. Never chosen by itself: it must be asked for by name.
    None,
}

impl DriverKind {
    /// Makes the driver.
    pub fn driver(self) -> Result<Arc<dyn SandboxDriver>, SandboxError> {
        Ok(match self {
            Self::Native => Arc::new(NativeDriver::new()?),
            Self::None => Arc::new(NoneDriver::new()),
        })
    }

    /// Finds out what this driver can hold here, also when it can't even be made.
    pub async fn probe(self) -> ProbeReport {
        match self.driver() {
            Ok(driver) => driver.probe().await,
            Err(error) => ProbeReport {
                driver: self,
                mode: "cannot be made".to_owned(),
                assurance: Assurance::default(),
                refusal: Some(error.into_diagnosis()),
            },
        }
    }

    /// The name that people type and see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::None => "none",
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A driver name that doesn't exist.
#[derive(Debug, thiserror::Error)]
#[error("unknown sandbox driver {0:?} (there are: native, none)")]
pub struct UnknownDriver(String);

impl FromStr for DriverKind {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "native" => Ok(Self::Native),
            "none" => Ok(Self::None),
            _ => Err(UnknownDriver(name.to_owned())),
        }
    }
}
