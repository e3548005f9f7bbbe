//! The whole fleet on one thread, under virtual time and from one seed.
//!
//! What is real: the coordinator's engine with board, placement and leases, on the store in memory;
//! each worker's agenda. What is played: the glue around both, the network between them, clients,
//! sub-agents, disks and the hand that pulls plugs.
//!
//! ```text
//!  Client ──calls──▶ Coordinator { Engine, Disk } ◀──streams (Net)──▶ Worker { Agenda, sub-agents }
//!     │                    │ what was made durable                        │ what truly runs
//!     └─▶ Memory           └──────────▶ History ◀────────────────────────┘
//!         (what was told must stay so)  (what is durable must be right)
//! ```
//!
//! A run has two parts. First everything fails by chance, for a number of steps; what must never
//! happen is looked for all the while. Then the faults stop, and everything has to come to its end.
//! A step is one thing that happens: a frame that arrives, a timer, a commit, a fault. A run is
//! told by its seed and nothing else, so that a failing one can be had again.

mod calm;
mod client;
mod client_wishes;
mod coordinator;
mod coordinator_streams;
mod disk;
mod faults;
mod history;
mod lost;
mod memory;
mod net;
mod worker;
mod worker_stream;
mod world;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use board::command::TasksKept;
use clap::ValueEnum as _;

use self::world::World;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Where chance begins.
    pub seed: u64,
    /// How many steps there are faults.
    pub steps: u64,
    /// What is taken out of the system, to see that it is missed.
    pub without: Option<Safeguard>,
}

impl Plan {
    /// How long finished tasks are kept: by turns not for long, few of them, and by default.
    fn tasks_kept(&self) -> TasksKept {
        let default = TasksKept::default();
        match self.seed % 3 {
            0 => TasksKept {
                span: Duration::from_secs(20),
                ..default
            },
            1 => TasksKept {
                count: 20,
                ..default
            },
            _ => default,
        }
    }
}

/// Something without which the fleet can't be safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Safeguard {
    /// Reports of earlier attempts are told from those of the present one.
    Fencing,
    /// What is acknowledged is on the disk.
    Flush,
    /// A worker that dials in says what it holds.
    HeldSet,
    /// A worker's lease runs from the sending of a heartbeat, not from its acknowledgement.
    LeaseFromSending,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ran {
    /// Steps, those after the faults included.
    pub steps: u64,
    /// Virtual time.
    pub span: Duration,
    /// A hash of everything that happened, in order.
    pub digest: u64,
    /// Tasks that were made, and ended.
    pub tasks: usize,
    /// Of those, the ones that were completed.
    pub completed: usize,
    /// And those that left because their time was over.
    pub expired: usize,
    /// Attempts that ended without ending their task.
    pub requeued: u64,
    /// Starts of the coordinator.
    pub boots: u64,
    /// Reports that were refused as stale.
    pub stale: u64,
}

/// What went wrong, and how to have it again.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The run.
    pub plan: Plan,
    /// At which step.
    pub step: u64,
    /// When, in virtual time.
    pub at: Duration,
    /// What.
    pub what: String,
    /// What happened before, the latest last; only where it was asked for.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        let Plan {
            seed,
            steps,
            without,
        } = self.plan;
        writeln!(f, "step {} at {:?}: {}", self.step, self.at, self.what)?;
        write!(
            f,
            "replay with: cargo run -p ganger-tests --bin simulate -- --seed {seed} --steps {steps}"
        )?;
        match without.and_then(|without| without.to_possible_value()) {
            Some(without) => write!(f, " --without {}", without.get_name()),
            None => Ok(()),
        }
    }
}

/// Runs a plan. With `is_traced` a failure has the lines that led to it.
pub fn run(plan: Plan, is_traced: bool) -> Result<Ran, Box<Failure>> {
    let mut world = World::new(plan, is_traced);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let what = match ran {
        Ok(Ok(ran)) => return Ok(ran),
        Ok(Err(what)) => what,
        Err(panic) => panic_text(&*panic),
    };
    Err(Box::new(world.failure(what)))
}

/// Runs a plan, and once more with a trace where it fails.
pub fn run_and_explain(plan: Plan) -> Result<Ran, Box<Failure>> {
    run(plan, false).map_err(|failure| match run(plan, true) {
        Err(traced) => traced,
        Ok(_) => Box::new(Failure {
            what: format!("{}; and not again with the same seed!", failure.what),
            ..*failure
        }),
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without words"))
}
