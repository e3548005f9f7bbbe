//! A coordinator and its workers, each a real process with data in a directory of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU8, Ordering},
};

use ganger_proto::v1;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{Client, Daemon, Gate};

/// Where the programs lie.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `ganger-coordinator`.
    pub coordinator: PathBuf,
    /// `ganger-worker`.
    pub worker: PathBuf,
    /// `ganger`.
    pub ganger: PathBuf,
}

/// A coordinator, where it keeps its data, and what its workers need.
///
/// It listens on a loopback address of its own: so the port that the system chose is still free
/// when the coordinator comes back to it, whatever else runs on this machine.
pub struct Cluster {
    programs: Programs,
    args: Vec<String>,
    addr: SocketAddr,
    token: Option<String>,
    /// The process. A test signals and kills it.
    pub coordinator: Daemon,
    // The last one, so that it goes when the processes are gone.
    dir: TempDir,
}

/// How a worker is started; what isn't said is two slots.
#[derive(Clone, Debug)]
pub struct WorkerSpec {
    /// Its name.
    pub name: String,
    /// How many sub-agents it runs at once.
    pub slots: usize,
    /// More flags.
    pub args: Vec<String>,
    /// Where it finds its coordinator, if not there where that listens.
    pub dials: Option<String>,
    /// How its sub-agents are kept apart, if not like those of all workers.
    pub sandbox: Option<&'static str>,
    /// The program that becomes the worker, and its arguments before the worker's own.
    pub under: Vec<String>,
}

impl WorkerSpec {
    /// A worker of this name.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            slots: 2,
            args: Vec::new(),
            dials: None,
            sandbox: None,
            under: Vec::new(),
        }
    }

    /// With so many slots.
    #[must_use]
    pub fn slots(self, slots: usize) -> Self {
        Self { slots, ..self }
    }

    /// With more flags.
    #[must_use]
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// That looks for its coordinator at this address.
    #[must_use]
    pub fn dials(mut self, address: &str) -> Self {
        self.dials = Some(address.to_owned());
        self
    }

    /// Whose sub-agents are kept apart by this driver.
    #[must_use]
    pub fn sandbox(mut self, driver: &'static str) -> Self {
        self.sandbox = Some(driver);
        self
    }

    /// Started by this command, which must become the program that follows it: `nsenter`, `env`.
    #[must_use]
    pub fn under<'a>(mut self, command: impl IntoIterator<Item = &'a str>) -> Self {
        self.under = command.into_iter().map(Into::into).collect();
        self
    }
}

impl Cluster {
    /// A coordinator that serves, with defaults.
    pub async fn start(programs: Programs) -> Self {
        Self::with(programs, &[]).await
    }

    /// The same, with leases as short as may be: a lost worker is noticed within a second.
    pub async fn hasty(programs: Programs) -> Self {
        Self::with(programs, &["--lease", "1s", "--heartbeat", "200ms"]).await
    }

    /// The same with a token.
    pub async fn guarded(programs: Programs, token: &str) -> Self {
        let dir = make_dir();
        std::fs::write(token_file(dir.path()), format!("{token}\n")).unwrap();
        let path = token_file(dir.path());
        let args = vec!["--token-file".into(), path.to_str().unwrap().into()];
        Self::begin(programs, dir, &own_host(), args, Some(token.to_owned())).await
    }

    /// The same with these flags.
    pub async fn with(programs: Programs, args: &[&str]) -> Self {
        Self::at(programs, &own_host(), args).await
    }

    /// The same at this address of the machine.
    pub async fn at(programs: Programs, host: &str, args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self::begin(programs, make_dir(), host, args, None).await
    }

    async fn begin(
        programs: Programs,
        dir: TempDir,
        host: &str,
        args: Vec<String>,
        token: Option<String>,
    ) -> Self {
        std::fs::write(dir.path().join("worker.toml"), worker_file(dir.path())).unwrap();
        let coordinator = launch(&programs, &[], dir.path(), &format!("{host}:0"), &args);
        let addr = addr_of(&coordinator.logged("serving: grpcurl").await);
        Self {
            programs,
            args,
            addr,
            token,
            coordinator,
            dir,
        }
    }

    /// Where the coordinator listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same as `http://host:port`.
    pub fn address(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where the person's tool lies.
    pub fn ganger(&self) -> &Path {
        &self.programs.ganger
    }

    /// A directory that goes with the cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the coordinator again on its data and its address, after it ended.
    pub async fn restart_coordinator(&mut self) {
        self.restart_coordinator_with(&[]).await;
    }

    /// The same with more flags, this time only.
    pub async fn restart_coordinator_with(&mut self, more: &[&str]) {
        self.restart_coordinator_under(&[], more).await;
    }

    /// The same started by a command that becomes the coordinator.
    pub async fn restart_coordinator_under(&mut self, under: &[&str], more: &[&str]) {
        self.launch_coordinator_under(under, more);
        self.coordinator.logged("serving: grpcurl").await;
    }

    /// Starts the coordinator again, and doesn't wait for it.
    pub fn launch_coordinator(&mut self) {
        self.launch_coordinator_under(&[], &[]);
    }

    fn launch_coordinator_under(&mut self, under: &[&str], more: &[&str]) {
        let before = self.coordinator.log();
        assert!(!before.contains("panicked at"), "it panicked:\n{before}");
        let host = self.addr.to_string();
        let more = more.iter().map(ToString::to_string);
        let args: Vec<String> = self.args.iter().cloned().chain(more).collect();
        self.coordinator = launch(&self.programs, under, self.dir.path(), &host, &args);
    }

    /// Where the coordinator keeps its data.
    pub fn coordinator_dir(&self) -> PathBuf {
        coordinator_dir(self.dir.path())
    }

    /// Kills the coordinator as a crash does, and starts it again.
    pub async fn crash_coordinator(&mut self) {
        self.coordinator.kill().await;
        self.restart_coordinator().await;
    }

    /// Somebody who calls, with the token where there is one.
    pub fn client(&self) -> Client {
        let client = Client::of(&self.address());
        match &self.token {
            Some(token) => client.token(token),
            None => client,
        }
    }

    /// Starts a worker with two slots, and waits until it is connected.
    pub async fn worker(&self, name: &str) -> Daemon {
        self.start_worker(WorkerSpec::named(name)).await
    }

    /// Starts a worker, and waits until it is connected.
    pub async fn start_worker(&self, spec: WorkerSpec) -> Daemon {
        let worker = self.launch_worker(spec);
        worker.logged("connected coordinator").await;
        worker
    }

    /// Starts a worker, and doesn't wait for it.
    pub fn launch_worker(&self, spec: WorkerSpec) -> Daemon {
        let under: Vec<&str> = spec.under.iter().map(String::as_str).collect();
        let mut command = command_under(&under, &self.programs.worker);
        let listens = self.addr.to_string();
        let driver = sandbox();
        command
            .args([
                "--config",
                self.dir.path().join("worker.toml").to_str().unwrap(),
            ])
            .args(["--coordinator", spec.dials.as_deref().unwrap_or(&listens)])
            .args(["--name", &spec.name, "--slots", &spec.slots.to_string()])
            .args(["--sandbox", spec.sandbox.unwrap_or(&driver)])
            .arg("--data-dir")
            .arg(self.dir.path().join(&spec.name));
        let has_own = spec.args.iter().any(|arg| arg == "--token-file");
        if self.token.is_some() && !has_own {
            command.arg("--token-file").arg(token_file(self.dir.path()));
        }
        command.args(&spec.args);
        Daemon::start(&format!("worker {}", spec.name), command)
    }

    /// A gate for the scripts of all workers.
    pub fn gate(&self, name: &str) -> Gate {
        Gate::new(&gates(self.dir.path()), name)
    }

    /// The coordinator's program with other flags, in a directory of the cluster.
    pub fn another_coordinator(&self, args: &[&str]) -> Daemon {
        let mut command = Command::new(&self.programs.coordinator);
        command.args(args);
        command
            .arg("--data-dir")
            .arg(self.dir.path().join("another"));
        Daemon::start("another coordinator", command)
    }

    /// How the coordinator is.
    pub async fn status(&self) -> v1::GetStatusResponse {
        let mut fleet = self.client().fleet();
        let status = fleet.get_status(v1::GetStatusRequest {});
        crate::patiently("GetStatus", status)
            .await
            .unwrap()
            .into_inner()
    }
}

fn make_dir() -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix("ganger-e2e-")
        .tempdir()
        .unwrap();
    std::fs::create_dir(gates(dir.path())).unwrap();
    dir
}

fn coordinator_dir(dir: &Path) -> PathBuf {
    dir.join("coordinator")
}

fn gates(dir: &Path) -> PathBuf {
    dir.join("gates")
}

fn token_file(dir: &Path) -> PathBuf {
    dir.join("token")
}

/// How sub-agents are kept apart. Where this machine refuses sandboxes, its user must say so: less
/// is proved without.
fn sandbox() -> String {
    std::env::var("GANGER_TEST_SANDBOX").unwrap_or_else(|_| "native".into())
}

fn worker_file(dir: &Path) -> String {
    let gates = gates(dir);
    let (seen_at, mounts) = if sandbox() == "none" {
        (gates.to_str().unwrap(), String::new())
    } else {
        let mount = format!("mounts = [{{ source = {gates:?}, target = \"/gates\" }}]\n");
        ("/gates", mount)
    };
    format!("[agent_types.shell]\n{mounts}env = {{ GATES = {seen_at:?} }}\n")
}

fn launch(programs: &Programs, under: &[&str], dir: &Path, addr: &str, args: &[String]) -> Daemon {
    let mut command = command_under(under, &programs.coordinator);
    command.args(["--addr", addr]).args(args);
    // Who else fills this machine's disk is no concern of a test that doesn't speak of it.
    for (flag, floor) in [
        ("--disk-floor-bytes", "67108864"),
        ("--disk-floor-percent", "0"),
        ("--disk-reserve-bytes", "1048576"),
    ] {
        if !args.iter().any(|arg| arg == flag) {
            command.args([flag, floor]);
        }
    }
    command.arg("--data-dir").arg(coordinator_dir(dir));
    Daemon::start("coordinator", command)
}

/// A program, or the command that becomes it.
fn command_under(under: &[&str], program: &Path) -> Command {
    let [wrapper, args @ ..] = under else {
        return Command::new(program);
    };
    let mut command = Command::new(wrapper);
    command.args(args).arg(program);
    command
}

/// The first log line is a command that works: its last but one word is the address.
pub(crate) fn addr_of(line: &str) -> SocketAddr {
    let words = line.split_whitespace();
    let found = words.filter_map(|word| word.parse().ok()).next();
    found.unwrap_or_else(|| panic!("no address in {line:?}"))
}

/// A loopback address that no other cluster of this machine has: all of 127.0.0.0/8 is one's own.
fn own_host() -> String {
    static CLUSTERS: AtomicU8 = AtomicU8::new(0);
    let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    let [.., high, low] = std::process::id().to_be_bytes();
    // Not 127.0.x.y, where everybody else is.
    format!("127.{}.{low}.{}", high.max(1), cluster.max(1))
}
