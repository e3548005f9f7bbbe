//! Support for the outer rings of tests: a cluster of real processes on real sockets.
//!
//! ```text
//!  test ──▶ Cluster ──▶ Daemon (coordinator, workers: started, signalled, killed, read)
//!   │          └──▶ Client (typed calls, Watch over events)
//!   ├──▶ HandWorker (a worker that the test plays itself)
//!   └──▶ Gate (holds a sub-agent until the test says so)
//! ```
//!
//! [`attack`] has peers misbehave towards a cluster, beside honest ones.
//!
//! [`simulation`] needs no processes: it is the whole fleet on one thread, under a clock of its own.
//!
//! Two rules. Nothing sleeps: a test waits for an event, a log line or a process' end, and every
//! such wait has [`PATIENCE`], after which it fails and says what it waited for. Nothing is left
//! behind: what a test started dies with its [`Cluster`], and a daemon's log is printed when the
//! test failed.

#![allow(clippy::unwrap_used)] // all of this only ever runs in tests

pub mod attack;
mod board;
mod chance;
pub mod churn;
mod client;
mod cluster;
mod daemon;
pub mod damage;
mod gate;
mod hand_worker;
mod mail;
mod mcp;
pub mod proc;
mod refusal;
mod roster;
pub mod simulation;
mod small_disk;
mod tool;

pub use self::{
    board::{ids_of, new_task},
    chance::Chance,
    client::{Caller, Client, Transcript, Watch, is_ending, task_id_of},
    cluster::{Cluster, Programs, WorkerSpec},
    daemon::Daemon,
    gate::Gate,
    hand_worker::{HandWorker, hello, interactive, new_instance},
    mail::{MailWatch, everything, of_type, texts, words},
    mcp::Mcp,
    refusal::{error_info, refused},
    roster::{agent, hosted},
    small_disk::SmallDisk,
    tool::{Told, object_of, struct_of},
};

use std::time::Duration;

/// Far longer than anything here takes on a busy machine; it only bounds a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something, and fails loudly when it doesn't come.
pub async fn patiently<T>(what: impl std::fmt::Display, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(came) => came,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}

/// The programs that this test crate builds. Only a test knows where they lie.
#[macro_export]
macro_rules! programs {
    () => {
        $crate::Programs {
            coordinator: env!("CARGO_BIN_EXE_e2e-coordinator").into(),
            ganger: env!("CARGO_BIN_EXE_e2e-ganger").into(),
            worker: env!("CARGO_BIN_EXE_e2e-worker").into(),
        }
    };
}
