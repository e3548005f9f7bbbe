//! The fleet: which workers are there, what they offer, how long their leases last.
//!
//! All of it is soft state, rebuilt when workers dial in again. It is pure: told of each moment
//! and of each message, it answers what follows, and the engine carries that to the board. What a
//! worker holds is not kept here: the board knows it.

mod drain;
mod lease;
mod offers;
mod roster;
mod session;
mod worker;

#[cfg(test)]
mod tests;

pub use drain::Drain;
pub use lease::{DOING_LEN_MAX, Heard, Leases, Progressed};
pub use roster::{Fleet, Ghost};
pub use session::{
    Assignment, BlockerResult, Hello, Offered, Order, Outbox, PROTOCOL, PROTOCOL_MIN,
    SandboxControl, SandboxLevel, SessionId, Verdict, Welcome,
};
pub use worker::{Refused as HelloRefused, Standing, WorkerEntry, upgrade};
