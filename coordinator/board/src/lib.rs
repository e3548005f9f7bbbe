//! The board: everything durable about teams, their members and their tasks, and the rules by
//! which it changes.
//!
//! It is a state machine that knows nothing of the world. A command and a moment go in; a
//! [`Decision`](decision::Decision) comes out, or a refusal, and nothing has changed yet. Whoever
//! owns the board writes the decision's records down, [installs](Board::install) them, and only
//! then tells anybody. Loading a board installs the same records by the same code, which is why a
//! board that was loaded equals the one that ran.
//!
//! It has no clock, no chance, no threads and no store: time is an argument, ids are counted in
//! records, collections iterate in order. It doesn't know which workers are connected, nor when
//! their leases end: it is told what was [placed](placement::place), and what was lost.
//!
//! The one surprising thing: a task that has been over for a while is in memory as a
//! [stub](task::Stub) only. A command that needs more of it is answered
//! [`Absent`](refusal::Obstacle::Absent), and decided again when it was
//! [recalled](Board::recall).
//!
//! # Invariants
//!
//! They hold on every board, at every moment between two commands; [`invariants::check`] checks
//! them by their numbers.
//!
//! 1. A team's name leads to the last team of that name, and only that one may be open; uids are
//!    counted, and none is used twice.
//! 2. A team has exactly one lead, who is on its roster.
//! 3. Task ids and revisions are counted by the team: none is above its counter.
//! 4. An edge leads from a task to another that is there, once, and is known at both its ends. Only
//!    that of a finished task may lead to one that left, as it was finished long ago.
//! 5. No task waits, over any detour, for itself.
//! 6. Attempts are numbered upwards, and the last number is that of the latest one.
//! 7. Who claims a task owns it; only the sub-agent of a task holds what is nobody's.
//! 8. A task stands in a queue if and only if it waits for nothing but a worker: it is pending,
//!    unblocked, no orphan, not backing off, and its own or its hosted owner's type says how it is
//!    run. The first of a queue is its head, unless its member is busy or its window is full.
//! 9. What is counted and listed of tasks is what their cards say.
//! 10. A hosted member runs one task at a time.
//! 11. The next deadline of each task and each member is listed, and no other.
//! 12. Ended tasks whose dependants were not yet looked after are listed, but for those of teams
//!     that are over, and no other.
//! 13. Every message is in the mailboxes that its copies say, and in none twice; a mailbox knows
//!     what is in it.
//! 14. Members who left and own open tasks are listed; so are tasks that are over and whose
//!     sub-agents still hold others, orphans that are still to be cancelled, teams that are being
//!     dissolved, those that were, and the teams that each worker is a member of.
//! 15. A question that waits is the last that was asked, by a sub-agent that is at work; words to
//!     it are numbered upwards, and no more wait than may.
//! 16. Parents are there, and what open tasks join. The finished tasks of a team are listed by when
//!     they ended, in the order in which they leave; one that steps aside meanwhile is needed by
//!     the task for which it does.
//!
//! # Reading order
//!
//! [`team`] and [`task`] say what there is, [`command`], [`event`] and [`refusal`] what is said
//! about it, [`record`] what of it is written. [`board`] keeps the records, and [`index`] what is
//! derived from them. [`mod@decide`] has the rules: calls first, then attempts, endings and time.
//! [`glob`] is which output patterns can work, [`placement`] gives waiting tasks to workers; [`view`] is what is shown, [`listing`] in which
//! order, [`mod@stuck`] what waits in vain. [`limits`] has every bound.

pub mod board;
pub mod command;
pub mod decide;
pub mod decision;
mod draft;
pub mod event;
mod expiry;
pub mod glob;
mod graph;
mod hiring;
pub mod id;
pub mod ids;
pub mod index;
mod install;
pub mod invariants;
mod lending;
pub mod limits;
pub mod listing;
pub mod mail;
pub mod nudge;
mod orphans;
pub mod placement;
pub mod record;
pub mod refusal;
mod shelf;
pub mod stuck;
pub mod task;
pub mod team;
pub mod time;
pub mod view;

pub use board::Board;
