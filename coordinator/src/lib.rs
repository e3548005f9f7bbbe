//! The coordinator.

pub mod artifacts;
pub mod transcripts;
