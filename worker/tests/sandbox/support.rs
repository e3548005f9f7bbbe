//! What the claims share: a bench to run scripts on, and proofs that processes are gone.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use ganger_worker::sandbox::{
    Command, DriverKind, Exit, Process, Sandbox, SandboxDriver, SandboxId, SandboxSpec, Workspaces,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, PidfdFlags, Signal},
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

/// The argument that makes this binary a worker that will be killed.
pub const VICTIM: &str = "victim";

/// Far longer than anything here takes; it only bounds a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// A driver and a directory of workspaces.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub driver: Arc<dyn SandboxDriver>,
}

impl Bench {
    pub fn new() -> Self {
        Self::of(DriverKind::Native)
    }

    pub fn of(kind: DriverKind) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            driver: kind.driver().unwrap(),
        }
    }

    pub fn workspace(&self, id: &str) -> PathBuf {
        self.dir.path().join(id)
    }

    pub fn spec(&self, id: &str) -> SandboxSpec {
        let workspace = self.workspace(id);
        fs::create_dir_all(&workspace).unwrap();
        SandboxSpec::new(SandboxId::try_from(id.to_owned()).unwrap(), workspace)
    }

    pub async fn create(&self, id: &str) -> Box<dyn Sandbox> {
        self.driver.create(self.spec(id)).await.unwrap()
    }
}

/// Runs a script to its end: how it ended, and what it wrote.
pub async fn run(sandbox: &dyn Sandbox, script: &str) -> (Exit, String) {
    let mut process = sandbox.exec(sh(script)).await.unwrap();
    let mut text = String::new();
    process
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    process
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    (process.wait().await.unwrap(), text)
}

pub fn sh(script: &str) -> Command {
    Command::new(["sh", "-c", script])
}

/// Starts a script and waits for its first line, which it should write when it has come up.
pub async fn start(sandbox: &dyn Sandbox, script: &str) -> Process {
    let mut process = sandbox.exec(sh(script)).await.unwrap();
    let mut line = String::new();
    let mut stdout = tokio::io::BufReader::new(process.stdout.take().unwrap());
    stdout.read_line(&mut line).await.unwrap();
    assert_eq!(line, "up\n");
    process.stdout = Some(Box::pin(stdout));
    process
}

/// A number of seconds that no other process sleeps for.
pub fn rare_span() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!(
        "86400.{}{:04}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A script that leaves a daemon, a background job and a foreground program, all deaf to polite signals.
pub fn stubborn(span: &str) -> String {
    format!(
        "trap '' TERM INT HUP
         (setsid sh -c 'trap \"\" TERM; sleep {span}' &)
         sleep {span} &
         echo up
         sleep {span}"
    )
}

/// Every process of the machine whose command line has `word` as an argument.
pub fn processes_with(word: &str) -> Vec<(Pid, OwnedFd)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw)
        else {
            continue;
        };
        let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line
            .split(|byte| *byte == 0)
            .any(|argument| argument == word.as_bytes())
        {
            found.push((pid, pidfd));
        }
    }
    found
}

/// Waits until as many processes carry the word as expected. Forking is theirs to do, so this looks again
/// and again, without a clock of its own.
pub fn await_processes_with(word: &str, count: usize) -> Vec<(Pid, OwnedFd)> {
    let start = std::time::Instant::now();
    loop {
        let found = processes_with(word);
        if found.len() >= count {
            return found;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "only {} of {count} processes came up",
            found.len()
        );
        std::thread::yield_now();
    }
}

/// Waits until a process has taken notice of a SIGSTOP.
pub fn await_stopped(pid: Pid) {
    let start = std::time::Instant::now();
    while !fs::read_to_string(format!("/proc/{pid}/stat"))
        .unwrap()
        .contains(") T ")
    {
        assert!(start.elapsed() < PATIENCE, "process {pid} does not stop");
        std::thread::yield_now();
    }
}

/// Waits until no child of a process is dead without having been reaped.
pub fn await_no_zombies_beneath(parent: i32) {
    let is_zombie = |stat: String| {
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.starts_with(&format!(" Z {parent} "))
    };
    let start = std::time::Instant::now();
    loop {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let mut stats =
            entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        if !stats.any(is_zombie) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{parent} does not reap");
        std::thread::yield_now();
    }
}

/// Waits for the death of each.
pub fn assert_die(processes: &[(Pid, OwnedFd)]) {
    for (pid, pidfd) in processes {
        let timeout = Timespec::try_from(PATIENCE).unwrap();
        // A child that ends meanwhile interrupts it.
        let ready = rustix::io::retry_on_intr(|| {
            rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout))
        })
        .unwrap();
        assert_eq!(ready, 1, "process {pid} is still alive");
    }
}

/// Starts this binary as a worker that runs the script; returns when the script has come up.
pub fn start_victim(kind: DriverKind, workspaces: &Path, span: &str, script: &str) -> Doomed {
    // Not the bare span: the victim is not one of the processes that are looked for by it.
    let span = format!("span={span}");
    let mut victim = std::process::Command::new("/proc/self/exe")
        .args([VICTIM, kind.as_str(), workspaces.to_str().unwrap(), &span])
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(victim.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "up\n");
    Doomed(victim)
}

/// A child that a failing claim does not leave behind.
pub struct Doomed(pub Child);

impl Doomed {
    /// Kills it the hard way, and reaps it.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes of nobody, which a failing claim does not leave behind.
pub struct Left(pub Vec<(Pid, OwnedFd)>);

impl Drop for Left {
    fn drop(&mut self) {
        for (_, pidfd) in &self.0 {
            let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

/// The life of a worker that will be killed.
pub fn run_victim(args: &[String]) -> ! {
    let [kind, dir, span, script] = args else {
        panic!("a victim takes four arguments")
    };
    let kind: DriverKind = kind.parse().unwrap();
    let span = span.strip_prefix("span=").unwrap();
    runtime().block_on(async {
        let workspaces = Workspaces::open(Path::new(dir)).unwrap();
        let id = SandboxId::try_from(format!("victim-{span}")).unwrap();
        let workspace = workspaces.create(&id).unwrap();
        let mut spec = SandboxSpec::new(id, workspace);
        spec.env.insert("PATH".into(), "/usr/bin:/bin".into());
        let driver = kind.driver().unwrap();
        let sandbox = driver.create(spec).await.unwrap();
        let mut process = start(&*sandbox, script).await;
        println!("up");
        std::io::stdout().flush().unwrap();
        process.wait().await.unwrap();
        panic!("the script ended by itself");
    })
}
