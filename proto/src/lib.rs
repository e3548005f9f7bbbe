//! The wire contract of Ganger: the services and messages of `ganger.v1`, and nothing else.
//!
//! The `.proto` files beside this crate are the documentation; what stands here is made from
//! them at build time, with the canonical JSON mapping of protobuf for every message.

#![allow(missing_docs, unused_qualifications, clippy::all, clippy::unwrap_used)]

pub mod json;
mod redacted;

/// Version 1 of the contract.
pub mod v1 {
    tonic::include_proto!("ganger.v1");
    include!(concat!(env!("OUT_DIR"), "/ganger.v1.serde.rs"));
}

/// The encoded file descriptor set of `ganger.v1`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ganger_descriptors.bin"));

/// The domain of every `google.rpc.ErrorInfo` that Ganger makes.
pub const ERROR_DOMAIN: &str = "ganger.dev";

/// Request metadata: the team that the caller speaks in.
pub const TEAM_KEY: &str = "ganger-team";
/// Request metadata: the member that the caller is, `name` or `name/incarnation`.
pub const MEMBER_KEY: &str = "ganger-member";
/// Request metadata: the attempt for which the caller acts, `epoch/team uid/task/attempt`. Then the
/// caller is that attempt's sub-agent, whatever else is said, and must show [`ATTEMPT_SECRET_KEY`].
pub const ATTEMPT_KEY: &str = "ganger-attempt";
/// Request metadata: the secret of [`ATTEMPT_KEY`]'s attempt, as its worker was given it.
pub const ATTEMPT_SECRET_KEY: &str = "ganger-attempt-secret";
/// Request metadata: the message because of which the call is made; events name it.
pub const CAUSE_KEY: &str = "ganger-cause-message";
/// Request metadata: on whose behalf the caller acts; events name it.
pub const BEHALF_KEY: &str = "ganger-on-behalf-of";
/// Initial response metadata of the delegating calls: the task's id.
pub const TASK_ID_KEY: &str = "ganger-task-id";
