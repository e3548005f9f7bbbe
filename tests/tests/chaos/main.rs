//! What goes wrong between machines: processes that die or freeze at each step of an attempt's
//! life, links that drop what they carry, clocks that jump, a fleet that is started anew under load.
//!
//! ```text
//!  coordinator ◀──▶ Relay ◀──▶ worker      the relay keeps back one word, and so holds a step
//!                                └─▶ Ledger  what sub-agents really did, whatever is reported
//! ```
//!
//! All of them are real processes and get real signals.

#![allow(clippy::unwrap_used)] // all of this is a test, also what carries no `#[test]`

mod attempt_life;
mod clocks;
mod fleet;
mod half_open;
mod ledger;
mod net;
mod relay;
mod rig;

use tokio::sync::{Semaphore, SemaphorePermit};

/// As many clusters of this target may run at once: most of them wait for leases.
static CLUSTERS: Semaphore = Semaphore::const_new(6);

/// Waits until another cluster may run, for as long as that takes.
async fn may_run() -> SemaphorePermit<'static> {
    CLUSTERS.acquire().await.expect("it is never closed")
}
