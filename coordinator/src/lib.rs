//! The coordinator.

pub mod artifacts;
pub mod store;
pub mod transcripts;
