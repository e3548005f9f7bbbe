//! What the tests of the systems that users come from assert, in own words and through gRPC.
//!
//! A test names the upstream tests that it replays; where Ganger decides otherwise it says so, and
//! asserts ours. The letters are those of the table that they were gathered in: L the shared list
//! and T the team of pydantic-deepagents, E its engine of sub-agents, D the dependencies of
//! pydantic-ai-todo, C the tasks and P the mail of Claude Code, X the delegation and Q the queue of
//! deer-flow.
//!
//! Others stand where their subject is: T and P8 in `teams`, C12 and P7 in `members`, M, P3 and P6
//! with the mail, stale reports of E1 in `fences`, lost attempts of Q4 in `worker_loss`, E8 and X6 in
//! `cancel`, X4 in `deadlines`, X12 in `transcripts`, Q11 in `drain`, E17 in `slow_watchers`, P10 and
//! X14 in `every_field`, the fights of Q12 in `contention`.

mod claims;
mod endings;
mod graph;
mod isolation;
mod list;
mod waiting;
