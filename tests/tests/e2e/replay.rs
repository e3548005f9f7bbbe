//! What the tests of the systems that users come from assert, in own words and through gRPC.
//!
//! A test names the upstream tests that it replays; where Ganger decides otherwise it says so, and
//! asserts ours. The letters are those of the table that they were gathered in: L the shared list
//! and T the team of pydantic-deepagents, E its engine of sub-agents, D the dependencies of
//! pydantic-ai-todo, C the tasks and P the mail of Claude Code, X the delegation and Q the queue of
//! deer-flow.

mod claims;
mod endings;
mod graph;
mod isolation;
mod list;
mod waiting;
