//! The outermost ring: real daemons on real sockets, real sub-agents in real sandboxes.
//!
//! Each test has a cluster of its own and says in its name what it claims. `GANGER_TEST_SANDBOX=none`
//! runs them where the machine has no sandboxes; `GANGER_TEST_SEED` plays a run with chance again.

#![allow(clippy::unwrap_used)] // all of this is a test, also what carries no `#[test]`

mod addresses;
mod asking;
mod attempt_secrets;
mod audit;
mod backup;
mod bad_input;
mod cancel;
mod contention;
mod contract;
mod coordinator_crash;
mod deadlines;
mod disk;
mod dispatch;

mod doors;
mod drain;
mod every_field;
mod expiry;
mod fences;
mod fleet;
mod foreign;
mod frames;
mod grpcurl;
mod hiring;
mod hosted_mail;
mod long_answers;
mod loss;
mod mail;
mod mail_crash;
mod mail_requests;
mod mail_streams;
mod mcp;
mod mcp_answers;
mod mcp_session;
mod members;
mod no_walls;
mod open_files;
mod person;
mod replay;
mod reports;
mod request_ids;
mod scheduling;
mod shares;
mod slow_watchers;
mod spawned_teams;
mod talking;
mod teams;
mod token;
mod tool_mail;
mod tool_work;
mod tools;
mod transcripts;
mod watching;
mod worker_loss;
