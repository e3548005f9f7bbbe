//! What can go wrong with a sandbox.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use super::{
    Diagnosis, HostFacts, InvalidSpec, host::root_without_sys_admin, launcher::CHECKS_PATH,
};

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
    #[error("cannot {step}{}: {errno}: {diagnosis}", in_brackets(.subject))]
    Setup {
        /// The step.
        step: Step,
        /// What it was done to; may be empty.
        subject: String,
        /// What the kernel said.
        errno: io::Error,
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
    /// The worker is root but can't have users for its sandboxes.
    #[error("cannot reserve users for sandboxes")]
    Users(#[source] io::Error),
    /// All slots of the worker's range of users are taken.
    #[error("no free sandbox user: {0} sandboxes are alive")]
    NoSlot(usize),
    /// The tree is dead, so nothing more can be done in it.
    #[error("the sandbox is dead")]
    Dead,
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn in_brackets(subject: &str) -> String {
    if subject.is_empty() {
        String::new()
    } else {
        format!(" ({subject})")
    }
}

impl SandboxError {
    /// The cause and the fixes, for people.
    pub fn into_diagnosis(self) -> Diagnosis {
        let report = "run `ganger doctor` and report what it prints";
        match self {
            Self::Setup {
                step,
                subject,
                errno,
                diagnosis,
            } => Diagnosis {
                cause: format!(
                    "cannot {step}{}: {errno}: {}",
                    in_brackets(&subject),
                    diagnosis.cause
                ),
                ..*diagnosis
            },
            Self::Users(source) => Diagnosis::new(
                format!("cannot reserve users for sandboxes: {source}"),
                &[
                    "let the worker write /run/ganger",
                    "or run it as an ordinary user",
                ],
            ),
            Self::Program { program, source } if program == CHECKS_PATH => Diagnosis::new(
                format!("this binary cannot be executed in the sandbox: {source}"),
                &[
                    "make it executable for every user (chmod 755), with its libraries beneath /usr or /lib",
                ],
            ),
            // Giving a workspace away comes before any namespace, and takes a capability of its own.
            Self::Worker { ref source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied
                    && HostFacts::read().root_lacks_sys_admin =>
            {
                let diagnosis = root_without_sys_admin();
                Diagnosis {
                    cause: format!("{}: {}", chain(&self), diagnosis.cause),
                    ..diagnosis
                }
            }
            other => Diagnosis::new(chain(&other), &[report]),
        }
    }

    /// Wraps a failure of the worker's own side.
    pub(super) fn worker(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Worker { action, source }
    }
}
