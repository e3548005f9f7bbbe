//! The board.

pub mod event;
pub mod id;
pub mod limits;
pub mod record;
pub mod task;
pub mod team;
pub mod time;
