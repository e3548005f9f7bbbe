//! What a sub-agent is told, on its way into its standard input.
//!
//! Nobody waits for a sub-agent that doesn't read: words stay in line, and answers to what it asked of
//! the worker itself are dropped beyond a bound.

use std::collections::VecDeque;

use tokio::io::AsyncWriteExt;

use crate::{limits::OUTBOX_LEN_MAX, sandbox::Input};

/// What writing came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Something, or a line that nobody waits for.
    Some,
    /// The last of a word with this number.
    Word(i32),
    /// The sub-agent will never read again. Words with these numbers were not told.
    Closed(Vec<i32>),
}

/// See the head of this file.
pub(super) struct Mouth {
    /// None once it is closed.
    stdin: Option<Input>,
    /// Lines, oldest first, with the numbers of those that are words.
    lines: VecDeque<(Vec<u8>, Option<i32>)>,
    len: usize,
    /// Bytes of the first line that are written.
    written: usize,
}

impl Mouth {
    pub(super) fn new(stdin: Input) -> Self {
        Self {
            stdin: Some(stdin),
            lines: VecDeque::new(),
            len: 0,
            written: 0,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.stdin.is_none()
    }

    /// Says a line that waits as long as it must; how many of them there are is bounded elsewhere.
    pub(super) fn say(&mut self, line: Vec<u8>, word: Option<i32>) {
        if !self.is_closed() {
            self.len += line.len();
            self.lines.push_back((line, word));
        }
    }

    /// Says a line of which any number may come; false if it is dropped.
    pub(super) fn answer(&mut self, line: Vec<u8>) -> bool {
        let has_room = self.len + line.len() <= OUTBOX_LEN_MAX;
        if has_room {
            self.say(line, None);
        }
        has_room
    }

    /// Writes some; for ever nothing when nothing is to be said. Cancel safe.
    pub(super) async fn write(&mut self) -> Written {
        let (Some(stdin), Some((line, word))) = (&mut self.stdin, self.lines.front()) else {
            return std::future::pending().await;
        };
        match stdin.write(&line[self.written..]).await {
            Ok(len) if len > 0 => self.written += len,
            _ => return self.close(),
        }
        if self.written < line.len() {
            return Written::Some;
        }
        let word = *word;
        self.len -= self.written;
        self.written = 0;
        self.lines.pop_front();
        word.map_or(Written::Some, Written::Word)
    }

    fn close(&mut self) -> Written {
        self.stdin = None;
        let untold = self.lines.drain(..).filter_map(|(_, word)| word);
        Written::Closed(untold.collect())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_word_is_told_when_all_of_it_is_written() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut mouth = Mouth::new(Box::pin(near));
        mouth.say(b"one\n".to_vec(), None);
        mouth.say(b"twofold\n".to_vec(), Some(7));
        let mut read = [0; 4];

        assert_eq!(mouth.write().await, Written::Some);
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(mouth.write().await, Written::Some);
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(mouth.write().await, Written::Word(7));
        far.read_exact(&mut read).await.unwrap();

        assert_eq!(&read, b"old\n");
    }

    #[tokio::test]
    async fn answers_are_dropped_beyond_the_bound_and_words_are_not() {
        let (near, _far) = tokio::io::duplex(1);
        let mut mouth = Mouth::new(Box::pin(near));

        assert!(mouth.answer(vec![b'x'; OUTBOX_LEN_MAX]));
        assert!(!mouth.answer(vec![b'x']));
        mouth.say(b"word\n".to_vec(), Some(1));

        assert_eq!((mouth.lines.len(), mouth.len), (2, OUTBOX_LEN_MAX + 5));
    }

    #[tokio::test]
    async fn who_will_never_read_is_told_nothing_more() {
        let (near, far) = tokio::io::duplex(8);
        let mut mouth = Mouth::new(Box::pin(near));
        mouth.say(b"task\n".to_vec(), None);
        mouth.say(b"word\n".to_vec(), Some(3));
        drop(far);

        assert_eq!(mouth.write().await, Written::Closed(vec![3]));
        mouth.say(b"word\n".to_vec(), Some(4));

        assert!(mouth.is_closed() && mouth.lines.is_empty());
    }
}
