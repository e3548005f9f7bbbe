//! The `none` driver: plain processes, for agents that are trusted like their person.
//!
//! It isolates nothing and is chosen only by name. What it does hold is cleaning up, as well as can be done
//! without namespaces: programs get process groups and a mark in their environment, and a tree is killed by
//! both. A process that leaves its group and wipes its environment survives.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::Path,
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal};

use super::{
    Assurance, BoxFuture, Command, Control, DriverKind, Exit, Level, ProbeReport, Process, Sandbox,
    SandboxDriver, SandboxError, SandboxId, SandboxSpec, WORKSPACE,
    native::{control::input, mark_of},
    pidfd::{is_alive, wait_for_death},
    process::End,
    workspaces::kill_marked,
};

/// The variable that marks a program's processes: `<directory mark>/<sandbox id>/`.
pub(super) const MARK_VARIABLE: &str = "GANGER_SANDBOX_MARK";

/// How long the killed may take to die.
const DEATH_SPAN_MAX: Duration = Duration::from_secs(5);

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
        Box::pin(async {
            spec.check()?;
            let mark =
                mark_of(&spec.workspace).map_err(SandboxError::worker("open the workspace"))?;
            let sandbox = NoneSandbox {
                mark: format!("{mark}/{}", spec.id),
                env: host_env(&spec),
                assurance: assurance(),
                leaders: Mutex::new(Vec::new()),
                spec,
            };
            Ok(Box::new(sandbox) as Box<dyn Sandbox>)
        })
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
    spec: SandboxSpec,
    mark: String,
    env: BTreeMap<String, String>,
    assurance: Assurance,
    /// The leader of each program's process group.
    leaders: Mutex<Vec<(Pid, OwnedFd)>>,
}

impl NoneSandbox {
    fn exec(&self, command: Command) -> Result<Process, SandboxError> {
        command.check()?;
        let program = command.argv[0].clone();
        let (stdin, stdin_far) =
            input(command.stdin).map_err(SandboxError::worker("make the standard input"))?;
        let mut child = tokio::process::Command::new(&program)
            .args(&command.argv[1..])
            .env_clear()
            .envs(&self.env)
            .env(MARK_VARIABLE, format!("{}/", self.mark))
            .current_dir(&self.spec.workspace)
            .process_group(0)
            .stdin(stdin_far.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| SandboxError::Program { program, source })?;
        if let Some(pid) = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
        {
            let leader = rustix::process::pidfd_open(pid, PidfdFlags::empty())
                .map_err(io::Error::from)
                .map_err(SandboxError::worker("watch a program"))?;
            self.leaders
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((pid, leader));
        }
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
        let stderr = child.stderr.take().expect("stderr was asked for as a pipe");
        Ok(Process::new(
            stdin,
            Box::pin(stdout),
            Box::pin(stderr),
            async move {
                let status = child
                    .wait()
                    .await
                    .map_err(SandboxError::worker("wait for a program"))?;
                Ok(End {
                    exit: exit_of(status),
                    cpu_time: None,
                })
            },
        ))
    }

    /// Signals each group whose leader lives: only then is the group's number sure to be ours.
    fn signal_groups(&self, signal: Signal) {
        let mut leaders = self.leaders.lock().unwrap_or_else(PoisonError::into_inner);
        leaders.retain(|(_, leader)| is_alive(leader));
        for (pid, _) in leaders.iter() {
            // It may have ended just now.
            let _ = rustix::process::kill_process_group(*pid, signal);
        }
    }

    async fn kill(&self) -> Result<(), SandboxError> {
        self.signal_groups(Signal::KILL);
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

impl Drop for NoneSandbox {
    fn drop(&mut self) {
        self.signal_groups(Signal::KILL);
    }
}

impl Sandbox for NoneSandbox {
    fn id(&self) -> &SandboxId {
        &self.spec.id
    }

    fn assurance(&self) -> &Assurance {
        &self.assurance
    }

    fn exec(&self, command: Command) -> BoxFuture<'_, Result<Process, SandboxError>> {
        Box::pin(async { self.exec(command) })
    }

    fn terminate(&self) -> BoxFuture<'_, Result<(), SandboxError>> {
        self.signal_groups(Signal::TERM);
        Box::pin(async { Ok(()) })
    }

    fn kill(&self) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(self.kill())
    }

    fn destroy(self: Box<Self>) -> BoxFuture<'static, Result<(), SandboxError>> {
        Box::pin(async move { (*self).kill().await })
    }
}

fn exit_of(status: std::process::ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;

    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
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
