//! Attacks on a coordinator by peers that it has let in, and what honest ones see of them (A7, P8).
//!
//! Each attack runs against a real coordinator, by turns with quiet. In both, an honest client makes calls
//! of all kinds, some of them over connections of their own, and a worker holds a task whose lease must not
//! end. What came of it is a [`Verdict`], which [`Verdict::judge`] compares with what is promised. The tests
//! run this in a bounded form, the program `attack` for as long as one likes.

mod disk;
mod honest;
mod silent;
mod unread;
mod uploads;
mod workers;

pub use self::{
    disk::{filled_in_one_go, raced_for_the_reserve},
    silent::silent_sockets,
    unread::{unread_answers, waiting_calls},
    uploads::stalled_uploads,
    workers::invented_workers,
};

use std::{
    fmt, fs,
    time::{Duration, Instant},
};

use ganger_proto::v1;
use tokio::task::{AbortHandle, JoinHandle};

use self::honest::{Called, Errand, Kinds, calls};
use crate::{Client, Cluster, Daemon, Gate, Programs, SmallDisk, WorkerSpec, patiently, proc};

/// What an honest call may take at the 99th percentile, whatever it takes in quiet.
const P99_FLOOR: Duration = Duration::from_millis(50);

/// Short ones, so that it shows when one ends.
const LEASES: [&str; 4] = ["--lease", "3s", "--heartbeat", "500ms"];

/// How much an attack is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Turns of quiet and attack.
    pub turns: usize,
    /// Honest calls of each half of a turn, at the least.
    pub calls: usize,
    /// How long each attack goes on, at the least.
    pub span: Duration,
    /// How long a full disk is held.
    pub disk_held: Duration,
    /// How often a filler races for the reserve.
    pub races: usize,
}

impl Scale {
    /// What tests can afford.
    pub fn bounded() -> Self {
        Self {
            turns: 2,
            calls: 510,
            span: Duration::from_secs(1),
            disk_held: Duration::from_secs(3),
            races: 2,
        }
    }

    /// What takes minutes.
    pub fn long() -> Self {
        Self {
            turns: 10,
            calls: 2_000,
            span: Duration::from_secs(15),
            disk_held: Duration::from_secs(60),
            races: 25,
        }
    }
}

/// The coordinator that is attacked, and a worker that runs a task on it all the while.
pub struct Target {
    /// The coordinator's process, and where it is.
    pub cluster: Cluster,
    worker: Daemon,
    gate: Gate,
    task: u64,
    open_files: usize,
}

impl Target {
    /// A coordinator that is started with these flags, under a command that becomes it.
    async fn start(programs: Programs, under: &[&str], flags: &[&str]) -> Self {
        let mut args = LEASES.to_vec();
        args.extend(flags);
        let mut cluster = Cluster::with(programs, &args).await;
        if !under.is_empty() {
            cluster.coordinator.kill().await;
            cluster.restart_coordinator_under(under, &[]).await;
        }
        Self::of(cluster).await
    }

    /// The same with its data on another disk.
    async fn on_disk(programs: Programs, disk: &SmallDisk, flags: &[&str]) -> Self {
        let mut args = LEASES.to_vec();
        args.extend(flags);
        let mut cluster = Cluster::with(programs, &args).await;
        cluster.coordinator.kill().await;
        let (dir, data) = (cluster.coordinator_dir(), disk.path().join("data"));
        fs::remove_dir_all(&dir).unwrap();
        fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(data, dir).unwrap();
        cluster.restart_coordinator().await;
        Self::of(cluster).await
    }

    async fn of(cluster: Cluster) -> Self {
        let spec = WorkerSpec::named("honest").slots(1).sandbox("none");
        let worker = cluster.start_worker(spec).await;
        let gate = cluster.gate("attack");
        let client = cluster.client();
        let task = client.start(&format!("{}; echo held", gate.wait())).await;
        client.running(task.id).await;
        drop(client);
        let open_files = open_files(&cluster.coordinator);
        Self {
            cluster,
            worker,
            gate,
            task: task.id,
            open_files,
        }
    }

    /// Waits until what an attack has opened is closed.
    async fn calm(&self) {
        let client = self.cluster.client();
        patiently("what an attack has opened is closed", async {
            while open_files(&self.cluster.coordinator) > self.open_files + 16 {
                let mut fleet = client.fleet();
                // Only to let time pass.
                let _ = fleet.get_status(v1::GetStatusRequest {}).await;
            }
        })
        .await;
    }

    /// Lets the worker's task end: it has been the first attempt all the while, on one stream.
    async fn held(&self) -> Result<(), String> {
        let streams = self.worker.log().matches("connected coordinator").count();
        match streams {
            1 => self.held_on().await,
            _ => Err(format!("the worker had to connect {streams} times")),
        }
    }

    /// The same, where the coordinator was started again.
    async fn held_on(&self) -> Result<(), String> {
        self.gate.open();
        let ended = self.cluster.client().ended(self.task).await;
        match (ended.status(), ended.attempts.len()) {
            (v1::TaskStatus::Completed, 1) => Ok(()),
            _ => Err(format!("the attempt that ran was ended: {ended:?}")),
        }
    }

    fn memory(&self) -> u64 {
        proc::rss_kib(self.cluster.coordinator.pid()) * 1_024
    }
}

fn open_files(of: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", of.pid())).map_or(0, Iterator::count)
}

/// Tasks that attack for as long as this is kept.
#[derive(Default)]
struct Attackers {
    tasks: Vec<AbortHandle>,
    kept: Vec<Box<dyn Send>>,
}

impl Attackers {
    fn add(&mut self, attacker: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(attacker).abort_handle());
    }

    /// Keeps something for as long as the attack goes on.
    fn keep(&mut self, kept: impl Send + 'static) {
        self.kept.push(Box::new(kept));
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// What an honest client saw.
#[derive(Debug, Default)]
pub struct Verdict {
    quiet: Called,
    attacked: Called,
    /// Bytes of the coordinator's memory before, and the most of them afterwards.
    memory: (u64, u64),
    /// What else did not hold.
    broken: Vec<String>,
}

impl Verdict {
    /// Whether all that is promised held: no error, no lease ended, and honest calls took no longer than
    /// twice their time in quiet, or 50 ms.
    ///
    /// # Errors
    /// What did not.
    pub fn judge(&self) -> Result<(), String> {
        let mut wrong = self.broken.clone();
        for (when, called) in [("quiet", &self.quiet), ("attacked", &self.attacked)] {
            if let Some(error) = called.errors.first() {
                let count = called.errors.len();
                wrong.push(format!("{count} honest calls failed when {when}: {error}"));
            }
        }
        let bound = (self.quiet.at(0.99) * 2).max(P99_FLOOR);
        if self.attacked.at(0.99) > bound {
            wrong.push(format!("honest calls took longer than {bound:?}"));
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(format!("{}\n{self}", wrong.join("\n"))),
        }
    }

    fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    fn note(&mut self, held: Result<(), String>) {
        self.broken.extend(held.err());
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        writeln!(f, "  quiet     {}", self.quiet)?;
        writeln!(f, "  attacked  {}", self.attacked)?;
        let (before, most) = self.memory;
        write!(
            f,
            "  memory    {} MiB before, {} MiB at the most",
            mib(before),
            mib(most)
        )
    }
}

/// Has honest calls made by turns in quiet and beside an attack. The attack is under way when its future
/// ends, and goes on until what it answers is dropped.
async fn by_turns<A>(target: &Target, scale: Scale, attack: impl Fn(Client) -> A) -> Verdict
where
    A: Future<Output = Attackers> + Send + 'static,
{
    by_turns_of(target, scale, Kinds::All, attack).await
}

/// The same with honest calls of these kinds.
async fn by_turns_of<A>(
    target: &Target,
    scale: Scale,
    kinds: Kinds,
    attack: impl Fn(Client) -> A,
) -> Verdict
where
    A: Future<Output = Attackers> + Send + 'static,
{
    let artifact = target.cluster.client().upload("any.txt", b"any").await;
    let errand = Errand {
        address: target.cluster.address(),
        kinds,
        artifact: artifact.sha256,
    };
    let mut verdict = Verdict::default();
    // What is only done once is done.
    honest(&errand, 100, None).await;
    verdict.memory = (target.memory(), 0);
    for _ in 0..scale.turns {
        let calling = honest(&errand, scale.calls, None);
        verdict.quiet.extend(calling.await);
        let until = Instant::now() + scale.span;
        let beginning = tokio::spawn(attack(target.cluster.client()));
        let calling = honest(&errand, scale.calls, Some((until, &beginning)));
        verdict.attacked.extend(calling.await);
        verdict.memory.1 = verdict.memory.1.max(target.memory());
        drop(beginning.await.expect("an attack does not panic"));
        target.calm().await;
    }
    verdict
}

/// So many calls at the least, and for so long, until an attack is under way. They are made on a thread of
/// their own: what attackers have to do doesn't hold them up.
async fn honest(
    errand: &Errand,
    least: usize,
    beside: Option<(Instant, &JoinHandle<Attackers>)>,
) -> Called {
    let begun = beside.map(|(until, beginning)| (until, beginning.abort_handle()));
    let errand = errand.clone();
    let calling = tokio::task::spawn_blocking(move || {
        let is_enough = |count: usize| {
            count >= least
                && begun.as_ref().is_none_or(|(until, beginning)| {
                    beginning.is_finished() && Instant::now() >= *until
                })
        };
        calls(&errand, is_enough)
    });
    calling.await.expect("honest calls don't panic")
}
