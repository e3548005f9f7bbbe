//! What a decision consists of.

use crate::{
    command::{Answer, Effect},
    event::Event,
    record::{Outcome, Record},
};

/// What is to be written, then told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The records that changed, as they are afterwards; in an order in which they can be
    /// installed.
    pub records: Vec<Record>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// How to answer the same request again.
    pub outcome: Option<Outcome>,
    /// What is to happen outside, once all of the above is durable.
    pub effects: Vec<Effect>,
    /// What to tell the one who asked.
    pub answer: Answer,
}
