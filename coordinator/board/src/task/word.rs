//! What a running sub-agent asks, and what it is told (D6).

use std::sync::Arc;

use crate::{event::Actor, id::MessageId, time::Time};

/// A question of a running sub-agent that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its number in the attempt, from 1.
    pub number: u32,
    /// What is asked.
    pub text: Arc<str>,
    /// When.
    pub at: Time,
    /// When the sub-agent is told to go on alone.
    pub deadline: Time,
    /// The message that told the lead of it; 0 where that found no room.
    pub message: MessageId,
    /// What ties an answer to that.
    pub correlation: Arc<str>,
}

/// Something that a running sub-agent is to be told before its next step. It is durable until the
/// worker has said that the sub-agent has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its number in the attempt, from 1.
    pub number: u32,
    /// What it is.
    pub kind: WordKind,
    /// What it says.
    pub text: Arc<str>,
    /// Who says so.
    pub by: Actor,
}

/// What a word to a sub-agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WordKind {
    /// The answer to this question of its own.
    Answer(u32),
    /// Nobody answered this question in time: it is to go on alone.
    NoAnswer(u32),
    /// It had not asked.
    Steer,
}
