//! What a running sub-agent asks, and what it is told, as messages.

use board::{
    id::MessageId,
    task::{Asked, Word, WordKind},
    time::Time,
};

use super::{ActorMessage, CodecError, Names};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AskedMessage {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(string, tag = "2")]
    text: String,
    #[prost(int64, tag = "3")]
    at: i64,
    #[prost(int64, tag = "4")]
    deadline: i64,
    #[prost(uint64, tag = "5")]
    message: u64,
    #[prost(string, tag = "6")]
    correlation: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WordMessage {
    #[prost(uint32, tag = "1")]
    number: u32,
    /// 1 an answer, 2 that there is none, 3 unasked.
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(uint32, tag = "3")]
    question: u32,
    #[prost(string, tag = "4")]
    text: String,
    #[prost(message, optional, tag = "5")]
    by: Option<ActorMessage>,
}

impl From<&Asked> for AskedMessage {
    fn from(asked: &Asked) -> Self {
        Self {
            number: asked.number,
            text: asked.text.to_string(),
            at: asked.at.0,
            deadline: asked.deadline.0,
            message: asked.message.0,
            correlation: asked.correlation.to_string(),
        }
    }
}

impl From<AskedMessage> for Asked {
    fn from(message: AskedMessage) -> Self {
        Self {
            number: message.number,
            text: message.text.into(),
            at: Time(message.at),
            deadline: Time(message.deadline),
            message: MessageId(message.message),
            correlation: message.correlation.into(),
        }
    }
}

impl From<&Word> for WordMessage {
    fn from(word: &Word) -> Self {
        let (kind, question) = match word.kind {
            WordKind::Answer(question) => (1, question),
            WordKind::NoAnswer(question) => (2, question),
            WordKind::Steer => (3, 0),
        };
        Self {
            number: word.number,
            kind,
            question,
            text: word.text.to_string(),
            by: Some((&word.by).into()),
        }
    }
}

pub(super) fn decode_word(word: WordMessage, names: &mut Names) -> Result<Word, CodecError> {
    Ok(Word {
        number: word.number,
        kind: match word.kind {
            1 => WordKind::Answer(word.question),
            2 => WordKind::NoAnswer(word.question),
            3 => WordKind::Steer,
            _ => return Err(CodecError::Bad("kind of word")),
        },
        text: word.text.into(),
        by: names.actor(word.by)?,
    })
}
