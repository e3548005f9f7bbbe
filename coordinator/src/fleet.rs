//! The fleet: which workers are there, what they offer, how long their leases last.
//!
//! All of it is soft state, rebuilt when workers dial in again. It is pure: told of each moment
//! and of each message, it answers what follows, and the engine carries that to the board. What a
//! worker holds is not kept here: the board knows it.

mod lease;
mod offers;
mod roster;
mod session;

#[cfg(test)]
mod tests;

pub use lease::{Heard, Leases};
pub use roster::{Fleet, Ghost, Refused as HelloRefused, Standing, WorkerEntry};
pub use session::{
    Assignment, BlockerResult, Hello, Offered, Order, Outbox, SandboxControl, SandboxLevel,
    SessionId, Verdict, Welcome,
};
