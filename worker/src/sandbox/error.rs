//! What can go wrong with a sandbox.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use super::{Diagnosis, InvalidSpec};

/// A step of setting up a sandbox, as the launcher reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Reading what the worker sent.
    Receive,
    /// Leaving the worker's namespaces.
    Unshare,
    /// Mapping the user inside a user namespace.
    MapUser,
    /// Starting the sandbox's first process.
    Fork,
    /// Opening the workspace.
    Workspace,
    /// Opening or placing a read-only mount.
    ReadOnly,
    /// Building the root file system.
    Root,
    /// Mounting a new `/proc`.
    Proc,
    /// Changing to the new root.
    Pivot,
    /// Bringing up the loopback, naming the host.
    Network,
    /// Becoming the sandbox's own user, without privileges.
    Identity,
    /// Waiting for commands.
    Serve,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receive => "receive the blueprint",
            Self::Unshare => "unshare namespaces",
            Self::MapUser => "map the user",
            Self::Fork => "start the first process",
            Self::Workspace => "open the workspace",
            Self::ReadOnly => "mount read-only",
            Self::Root => "build the root",
            Self::Proc => "mount /proc",
            Self::Pivot => "change the root",
            Self::Network => "set up the loopback",
            Self::Identity => "drop privileges",
            Self::Serve => "wait for commands",
        })
    }
}

/// Why a sandbox could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The request itself was wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// The worker's own side failed.
    #[error("cannot {action}")]
    Worker {
        /// What was being done.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The launcher failed at a step; the diagnosis says what to do.
    #[error("cannot {step} {subject}: {source}: {diagnosis}")]
    Setup {
        /// The step.
        step: Step,
        /// What it was done to; may be empty.
        subject: String,
        /// The cause.
        #[source]
        source: io::Error,
        /// The likely reason and the fix.
        diagnosis: Box<Diagnosis>,
    },
    /// The launcher ended or kept silent without saying why.
    #[error("the sandbox launcher {0}")]
    Launcher(&'static str),
    /// A program could not be executed in the sandbox.
    #[error("cannot execute {program}")]
    Program {
        /// What was to be executed.
        program: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// All slots of the worker's range of users are taken.
    #[error("no free sandbox user: {0} sandboxes are alive")]
    NoSlot(usize),
    /// The tree is dead, so nothing more can be done in it.
    #[error("the sandbox is dead")]
    Dead,
}

impl SandboxError {
    /// Wraps a failure of the worker's own side.
    pub(super) fn worker(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Worker { action, source }
    }
}
