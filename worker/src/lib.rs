//! The worker.

pub mod sandbox;
