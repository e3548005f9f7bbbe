//! The `none` driver: plain processes, for agents that are trusted like their person.
//!
//! It isolates nothing and is chosen only by name. What it does hold is cleaning up: a supervisor, which is
//! the worker's own binary, starts the programs, adopts their orphans, and kills the whole tree when the
//! worker wants it or is gone, however it went. Programs also carry a mark in their environment, so that
//! they are found where the supervisor was killed. What then has left its session and wiped its environment
//! survives.
//!
//! Of the limits of a spec only the one of open descriptors is set, as the soft one: the worker has raised its
//! own, and programs that use `select` must not inherit that.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tokio::{process::Child, sync::Mutex, time::timeout};

use super::{
    Assurance, BoxFuture, Command, Control, DriverKind, Level, ProbeReport, Process, Sandbox,
    SandboxDriver, SandboxError, SandboxId, SandboxSpec, WORKSPACE,
    launcher::SUPERVISOR_NAME,
    native::{
        SET_UP_SPAN_MAX,
        control::{self, Orders},
        mark_of, set_up_error,
        wire::{Order, Report, Tree},
    },
    pidfd::wait_for_death,
    workspaces::kill_marked,
};

/// The variable that marks a program's processes: `<directory mark>/<sandbox id>/`.
pub(super) const MARK_VARIABLE: &str = "GANGER_SANDBOX_MARK";

/// How long the killed may take to die: the supervisor's own patience, and a little.
const DEATH_SPAN_MAX: Duration = Duration::from_secs(6);

/// The driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoneDriver {
    _by_name_only: (),
}

impl NoneDriver {
    /// Whoever calls this has been asked for it by name.
    pub fn new() -> Self {
        Self::default()
    }
}

impl SandboxDriver for NoneDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::None
    }

    fn probe(&self) -> BoxFuture<'_, ProbeReport> {
        let report = ProbeReport {
            driver: DriverKind::None,
            mode: "no isolation, as asked for".to_owned(),
            assurance: assurance(),
            refusal: None,
        };
        Box::pin(async { report })
    }

    fn create(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(async { Ok(Box::new(create(spec).await?) as Box<dyn Sandbox>) })
    }
}

async fn create(spec: SandboxSpec) -> Result<NoneSandbox, SandboxError> {
    spec.check()?;
    let dir_mark = mark_of(&spec.workspace).map_err(SandboxError::worker("open the workspace"))?;
    let mark = format!("{dir_mark}/{}", spec.id);
    let mut env = host_env(&spec);
    env.insert(MARK_VARIABLE.to_owned(), format!("{mark}/"));
    let tree = Tree {
        dir: spec.workspace,
        env,
        open_files: spec.limits.open_files,
    };
    let (control, far) =
        control::Control::pair().map_err(SandboxError::worker("make a control socket"))?;
    let supervisor = spawn(far, [dir_mark.as_str(), spec.id.as_str()])
        .map_err(SandboxError::worker("start the supervisor"))?;
    timeout(SET_UP_SPAN_MAX, meet(&control, &tree))
        .await
        .map_err(|_| SandboxError::Launcher("did not take up the tree in time"))??;
    Ok(NoneSandbox {
        id: spec.id,
        mark,
        assurance: assurance(),
        orders: Orders::new(control),
        supervisor: Mutex::new(supervisor),
    })
}

/// Starts the supervisor with its end of the control socket, which is its lifeline: unlike a launcher it
/// asks for no parent-death signal, so any thread may start it. `mark` shows in its command line, for the
/// sweep after a crash.
fn spawn(control: OwnedFd, mark: [&str; 2]) -> io::Result<Child> {
    tokio::process::Command::new("/proc/self/exe")
        .arg0(SUPERVISOR_NAME)
        .args(mark)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(control))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

async fn meet(control: &control::Control, tree: &Tree) -> Result<(), SandboxError> {
    let talk = SandboxError::worker("talk to the supervisor");
    let told = match control.send(tree, &[]).await {
        Ok(()) => control.recv::<Report>().await,
        Err(error) => Err(error),
    };
    match told.map_err(talk)? {
        Some((Report::Ready(_), _)) => Ok(()),
        Some((Report::Failed(failure), _)) => Err(set_up_error(failure)),
        Some((Report::Born, _)) | None => Err(SandboxError::Launcher(
            "ended without a word: does this program begin with become_launcher_if_asked?",
        )),
    }
}

fn assurance() -> Assurance {
    let mut assurance = Assurance::default();
    for control in Control::ALL {
        assurance.set(
            control,
            Level::missing("the driver is none", "use --sandbox native"),
        );
    }
    assurance
}

/// The spec's environment, with paths of the sandbox turned into those of the host, as nothing is mounted.
fn host_env(spec: &SandboxSpec) -> BTreeMap<String, String> {
    let mounts = spec
        .read_only
        .iter()
        .map(|mount| (mount.target.as_path(), mount.source.as_path()));
    let places: Vec<_> = mounts
        .chain([(Path::new(WORKSPACE), spec.workspace.as_path())])
        .collect();
    let on_host = |value: &String| {
        let inside = |(target, source): &(&Path, &Path)| {
            let rest = Path::new(value).strip_prefix(target).ok()?;
            let path = if rest.as_os_str().is_empty() {
                source.to_path_buf()
            } else {
                source.join(rest)
            };
            path.into_os_string().into_string().ok()
        };
        places
            .iter()
            .find_map(inside)
            .unwrap_or_else(|| value.clone())
    };
    spec.env
        .iter()
        .map(|(name, value)| (name.clone(), on_host(value)))
        .collect()
}

struct NoneSandbox {
    id: SandboxId,
    mark: String,
    assurance: Assurance,
    /// Dropping it has the supervisor kill the tree.
    orders: Orders,
    supervisor: Mutex<Child>,
}

impl NoneSandbox {
    async fn kill(&self) -> Result<(), SandboxError> {
        self.orders
            .close()
            .map_err(SandboxError::worker("close the control socket"))?;
        let mut supervisor = self.supervisor.lock().await;
        // A program of the same user may have stopped it. Its number is its own until it is reaped.
        let pid = supervisor.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::CONT);
        }
        let ended = match timeout(DEATH_SPAN_MAX, supervisor.wait()).await {
            Ok(ended) => ended.map(drop),
            Err(_) => supervisor.kill().await,
        };
        ended.map_err(SandboxError::worker("reap the supervisor"))?;
        self.kill_marked().await
    }

    /// Kills what a supervisor that was killed itself has left.
    async fn kill_marked(&self) -> Result<(), SandboxError> {
        let mark = self.mark.clone();
        let killing = move || {
            let deadline = Instant::now() + DEATH_SPAN_MAX;
            loop {
                let left = kill_marked(&mark)?;
                if left.is_empty() {
                    return Ok(());
                }
                if !left.iter().all(|process| wait_for_death(process, deadline)) {
                    return Err(io::Error::from(io::ErrorKind::TimedOut));
                }
            }
        };
        let killed = tokio::task::spawn_blocking(killing)
            .await
            .map_err(io::Error::other);
        killed
            .and_then(|result| result)
            .map_err(SandboxError::worker("kill the programs"))
    }
}

impl Sandbox for NoneSandbox {
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
        Box::pin(self.orders.give(&Order::Terminate, &[]))
    }

    fn kill(&self) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(self.kill())
    }

    fn destroy(self: Box<Self>) -> BoxFuture<'static, Result<(), SandboxError>> {
        Box::pin(async move { (*self).kill().await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Mount;

    #[test]
    fn paths_of_the_sandbox_become_those_of_the_host() {
        let mut spec = SandboxSpec::new(SandboxId::try_from("t".to_owned()).unwrap(), "/var/w");
        spec.read_only.push(Mount {
            source: "/home/me/code".into(),
            target: "/repo".into(),
        });
        for (name, value) in [
            ("A", "/repo"),
            ("B", "/repo/src"),
            ("C", "/repository"),
            ("D", "/workspace"),
            ("E", "x"),
        ] {
            spec.env.insert(name.into(), value.into());
        }

        let env = host_env(&spec);

        let values: Vec<_> = env.values().map(String::as_str).collect();
        assert_eq!(
            values,
            [
                "/home/me/code",
                "/home/me/code/src",
                "/repository",
                "/var/w",
                "x"
            ]
        );
    }
}
