//! The rules of the board, as scripts and as properties.

#![allow(
    clippy::unwrap_used,
    reason = "what a script is given must go well; where it doesn't, the test has failed"
)]

mod acts;
mod attempts;
mod claims;
mod clocks;
mod create;
mod dissolving;
mod edges;
mod endings;
mod in_the_way;
mod leaving;
mod members;
mod owners;
mod placing;
mod properties;
mod stops;
mod support;
mod teams;
mod tiny;
mod update;
mod world;
