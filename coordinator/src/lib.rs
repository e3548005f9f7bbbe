//! The coordinator.

pub mod artifacts;
