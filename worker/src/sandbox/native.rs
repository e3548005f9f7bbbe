//! The `native` driver: namespaces made by the worker's own launcher.
//!
//! As root every sandbox gets a user of its own; as an ordinary user it lives in a user namespace of the
//! worker's user. Uid 0 is never inside. What the first form does not have yet (a system-call filter,
//! Landlock, control groups, disk quotas) is told by the assurance.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{io::Errno, process::Signal};
use tokio::{process::Child, sync::Mutex, time::timeout};

use self::{
    control::{Control, Orders},
    slots::{Slot, Slots},
    spawner::Spawner,
    wire::{Blueprint, Failure, Identity, Notes, Order, Report},
};
use super::{
    Assurance, BoxFuture, Command, Control as Held, DriverKind, HostFacts, Level, NetPolicy,
    ProbeReport, Process, Sandbox, SandboxDriver, SandboxError, SandboxId, SandboxSpec, diagnose,
    pidfd, tree,
};

pub(super) mod control;
mod probe;
mod slots;
mod spawner;
pub(super) mod wire;

/// A launcher needs milliseconds; a machine that takes longer than this is beyond use.
pub(super) const SET_UP_SPAN_MAX: Duration = Duration::from_secs(30);

/// How long the tree may take to die when the supervisor can't tell.
const DEATH_SPAN_MAX: Duration = Duration::from_secs(5);

/// The driver. Cheap to clone; its sandboxes keep its spawner thread alive.
#[derive(Clone)]
pub struct NativeDriver {
    spawner: Spawner,
    /// Users to lease, if the worker is root.
    slots: Option<Slots>,
}

impl NativeDriver {
    /// Starts the spawner thread and, as root, reserves a block of users.
    ///
    /// The calling program must have [`super::become_launcher_if_asked`] at the start of its `main`.
    pub fn new() -> Result<Self, SandboxError> {
        let spawner = Spawner::new().map_err(SandboxError::worker("start the spawner thread"))?;
        let slots = if rustix::process::geteuid().is_root() {
            Some(Slots::reserve().map_err(SandboxError::Users)?)
        } else {
            None
        };
        Ok(Self { spawner, slots })
    }

    async fn create(&self, spec: SandboxSpec) -> Result<NativeSandbox, SandboxError> {
        spec.check()?;
        let NetPolicy::None = spec.net;
        let (slot, mark) = self.prepare(&spec).await?;

        let setting_up = async {
            let (control, far) =
                Control::pair().map_err(SandboxError::worker("make a control socket"))?;
            let launched = self.spawner.launch(far, [mark, spec.id.to_string()]).await;
            let supervisor = launched.map_err(SandboxError::worker("start the launcher"))?;
            let blueprint = Blueprint {
                workspace: spec.workspace,
                read_only: spec.read_only,
                env: spec.env,
                limits: spec.limits,
                identity: slot
                    .as_ref()
                    .map_or(Identity::Mapped, |slot| Identity::Slot(slot.uid())),
            };
            let (first, notes) = meet(&control, &blueprint).await?;
            Ok::<_, SandboxError>((control, supervisor, first, notes))
        };
        let (control, supervisor, first, notes) = timeout(SET_UP_SPAN_MAX, setting_up)
            .await
            .map_err(|_| SandboxError::Launcher("did not set up the sandbox in time"))??;

        Ok(NativeSandbox {
            id: spec.id,
            assurance: assurance(slot.is_some(), &notes),
            first,
            orders: Orders::new(control),
            supervisor: Mutex::new(supervisor),
            _slot: slot,
            _spawner: self.spawner.clone(),
        })
    }

    /// Leases a user, gives it the workspace, and answers the mark of the workspaces' directory.
    async fn prepare(&self, spec: &SandboxSpec) -> Result<(Option<Slot>, String), SandboxError> {
        let slots = self.slots.clone();
        let workspace = spec.workspace.clone();
        let preparing = move || {
            let slot = slots.map(|slots| slots.lease()).transpose()?;
            if let Some(slot) = &slot {
                tree::give_to(&workspace, slot.uid())
                    .map_err(SandboxError::worker("give the workspace away"))?;
            }
            let mark = mark_of(&workspace).map_err(SandboxError::worker("open the workspace"))?;
            Ok((slot, mark))
        };
        tokio::task::spawn_blocking(preparing)
            .await
            .map_err(io::Error::other)
            .map_err(SandboxError::worker("prepare"))?
    }
}

/// What the processes of a workspaces' directory carry in their command line, so that a later worker can
/// prove whose they were. It tells nothing of the host's paths.
pub(super) fn mark_of(workspace: &Path) -> io::Result<String> {
    let dir = fs::metadata(workspace.parent().unwrap_or(workspace))?;
    Ok(format!("{:x}.{:x}", dir.dev(), dir.ino()))
}

/// Sends the blueprint and waits until the first process is born and ready, in whatever order that is told.
async fn meet(control: &Control, blueprint: &Blueprint) -> Result<(OwnedFd, Notes), SandboxError> {
    let lost = |source| SandboxError::Worker {
        action: "talk to the launcher",
        source,
    };
    control.send(blueprint, &[]).await.map_err(lost)?;
    let (mut first, mut notes) = (None, None);
    loop {
        match control.recv::<Report>().await.map_err(lost)? {
            Some((Report::Born, fds)) => first = fds.into_iter().next(),
            Some((Report::Ready(told), _)) => notes = Some(told),
            Some((Report::Failed(failure), _)) => return Err(set_up_error(failure)),
            None => {
                return Err(SandboxError::Launcher(
                    "ended without a word: does this program begin with become_launcher_if_asked?",
                ));
            }
        }
        match (first.take(), notes.take()) {
            (Some(first), Some(notes)) => return Ok((first, notes)),
            (one, other) => (first, notes) = (one, other),
        }
    }
}

pub(super) fn set_up_error(failure: Failure) -> SandboxError {
    let Failure {
        step,
        errno,
        subject,
    } = failure;
    let diagnosis = diagnose(step, Errno::from_raw_os_error(errno), &HostFacts::read());
    let errno = io::Error::from_raw_os_error(errno);
    SandboxError::Setup {
        step,
        subject,
        errno,
        diagnosis: Box::new(diagnosis),
    }
}

fn assurance(has_slot: bool, notes: &Notes) -> Assurance {
    let mut assurance = Assurance::default();
    for control in [Held::Processes, Held::Kill, Held::Limits] {
        assurance.set(control, Level::Enforced);
    }
    assurance.set(
        Held::Files,
        if notes.own_workspace_fs {
            Level::Enforced
        } else {
            Level::degraded(
                "/proc/self/mountinfo names where the workspace lies on the host: the worker's data \
                 directory and a random id",
            )
        },
    );
    assurance.set(
        Held::Network,
        if notes.vsock_closed {
            Level::Enforced
        } else {
            Level::degraded(
                "AF_VSOCK sockets open, which lead to the machine's hypervisor: no system-call filter yet",
            )
        },
    );
    assurance.set(
        Held::Secrets,
        if notes.own_keyring {
            Level::Enforced
        } else {
            Level::degraded("the worker's session keyring is shared: keyctl is refused here")
        },
    );
    assurance.set(
        Held::Identity,
        if has_slot {
            Level::Enforced
        } else {
            Level::degraded("sandboxes share the worker's user on the host")
        },
    );
    assurance.set(
        Held::Privileges,
        if notes.nested_users_closed {
            Level::Enforced
        } else {
            Level::degraded("further user namespaces can be made inside")
        },
    );
    assurance.set(
        Held::Memory,
        Level::degraded("bounded per process, not in sum"),
    );
    assurance.set(
        Held::Cpu,
        Level::degraded("bounded by processor time per process, not by share"),
    );
    assurance.set(Held::Disk, Level::degraded("bounded per file, not in sum"));
    assurance.set(
        Held::Syscalls,
        Level::missing("no system-call filter yet", ""),
    );
    assurance
}

impl SandboxDriver for NativeDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Native
    }

    fn probe(&self) -> BoxFuture<'_, ProbeReport> {
        Box::pin(probe::probe(self))
    }

    fn create(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(async { Ok(Box::new(self.create(spec).await?) as Box<dyn Sandbox>) })
    }
}

/// A sandbox whose first process is alive or dead, but known.
struct NativeSandbox {
    id: SandboxId,
    assurance: Assurance,
    /// The first process: dead when the whole tree is.
    first: OwnedFd,
    orders: Orders,
    supervisor: Mutex<Child>,
    _slot: Option<Slot>,
    /// The launchers die with the spawner thread.
    _spawner: Spawner,
}

impl NativeSandbox {
    /// Asks the kernel to kill the tree; false if it was dead already.
    fn kill_first(&self) -> rustix::io::Result<bool> {
        match rustix::process::pidfd_send_signal(&self.first, Signal::KILL) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    async fn kill(&self) -> Result<(), SandboxError> {
        self.kill_first()
            .map_err(io::Error::from)
            .map_err(SandboxError::worker("kill the sandbox"))?;
        // The kernel reports a namespace's first process dead only after all the others, and the supervisor
        // ends only then, unless somebody killed it.
        self.supervisor
            .lock()
            .await
            .wait()
            .await
            .map_err(SandboxError::worker("reap the launcher"))?;
        if pidfd::is_alive(&self.first) {
            let first = self
                .first
                .try_clone()
                .map_err(SandboxError::worker("watch the sandbox"))?;
            let dying = move || pidfd::wait_for_death(&first, Instant::now() + DEATH_SPAN_MAX);
            match tokio::task::spawn_blocking(dying).await {
                Ok(true) => {}
                _ => {
                    return Err(SandboxError::Launcher(
                        "was killed, and its sandbox does not die",
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Drop for NativeSandbox {
    fn drop(&mut self) {
        // The supervisor then ends by itself and is reaped by the runtime.
        let _ = self.kill_first();
    }
}

impl Sandbox for NativeSandbox {
    fn id(&self) -> &SandboxId {
        &self.id
    }

    fn assurance(&self) -> &Assurance {
        &self.assurance
    }

    fn exec(&self, command: Command) -> BoxFuture<'_, Result<Process, SandboxError>> {
        Box::pin(self.orders.exec(command))
    }

    fn terminate(&self) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(async { self.orders.give(&Order::Terminate, &[]).await })
    }

    fn kill(&self) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(self.kill())
    }

    fn destroy(self: Box<Self>) -> BoxFuture<'static, Result<(), SandboxError>> {
        Box::pin(async move { (*self).kill().await })
    }
}
