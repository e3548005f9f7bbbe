//! The rules of the board, as scripts and as properties.

#![allow(
    clippy::unwrap_used,
    reason = "what a script is given must go well; where it doesn't, the test has failed"
)]

mod attempts;
mod claims;
mod clocks;
mod create;
mod edges;
mod endings;
mod placing;
mod properties;
mod support;
mod teams;
mod tiny;
mod update;
mod world;
