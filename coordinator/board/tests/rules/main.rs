//! The rules of the board, as scripts and as properties.

#![allow(
    clippy::unwrap_used,
    reason = "what a script is given must go well; where it doesn't, the test has failed"
)]

mod acts;
mod agreement;
mod asking;
mod attempts;
mod bounds;
mod claim_next;
mod claims;
mod clocks;
mod create;
mod deleting;
mod dissolving;
mod edges;
mod endings;
mod expiry;
mod fields;
mod handshakes;
mod hiring;
mod history;
mod hosted_mail;
mod in_the_way;
mod joins;
mod leases;
mod leaving;
mod lists;
mod mail;
mod mail_room;
mod members;
mod model;
mod notices;
mod orphans;
mod owners;
mod pausing;
mod placing;
mod properties;
mod questions;
mod reopening;
mod retries;
mod shares;
mod sight;
mod stops;
mod stuck;
mod support;
mod sweeps;
mod teams;
mod tiny;
mod update;
mod wild;
mod world;
