//! The coordinator.

pub mod artifacts;
pub mod clock;
pub mod driver;
pub mod engine;
pub mod fleet;
pub mod grpc;
pub mod handle;
pub mod hub;
pub mod store;
pub mod transcripts;
