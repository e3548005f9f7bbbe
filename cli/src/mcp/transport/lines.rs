//! Lines of a stream, within a bound.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use super::is_id;

/// A line.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// Without its line break.
    Whole(Vec<u8>),
    /// It was longer than it may be, and is dropped but for the request's id.
    TooLong {
        /// The id, where it was found.
        id: Option<Value>,
    },
}

/// Reads lines, and never keeps more of one than it may be long.
pub struct Lines<R> {
    input: R,
    len_max: usize,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The lines of a stream.
    pub fn new(input: R, len_max: usize) -> Self {
        Self { input, len_max }
    }

    /// The next line; none at the end.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        let mut scanner: Option<IdScanner> = None;
        loop {
            let read = self.input.fill_buf().await?;
            let is_end = read.is_empty();
            let line_break = read.iter().position(|byte| *byte == b'\n');
            let part = &read[..line_break.unwrap_or(read.len())];
            let taken = part.len() + usize::from(line_break.is_some());
            match &mut scanner {
                Some(scanner) => scanner.feed(part),
                None if line.len() + part.len() > self.len_max => {
                    let mut begun = IdScanner::default();
                    begun.feed(&line);
                    begun.feed(part);
                    line = Vec::new();
                    scanner = Some(begun);
                }
                None => line.extend_from_slice(part),
            }
            self.input.consume(taken);
            if is_end && line.is_empty() && scanner.is_none() {
                return Ok(None);
            }
            if is_end || line_break.is_some() {
                return Ok(Some(match scanner {
                    Some(scanner) => Line::TooLong { id: scanner.id },
                    None => Line::Whole(line),
                }));
            }
        }
    }
}

/// Finds the value of `id` in a JSON object that is too long to be read. Clients put it first or
/// last; what lies deeper is none of its business.
#[derive(Debug, Default)]
struct IdScanner {
    depth: u32,
    is_in_text: bool,
    is_escaped: bool,
    /// The key or value at the top that is being read, as far as it can matter.
    token: Vec<u8>,
    is_id: bool,
    id: Option<Value>,
}

impl IdScanner {
    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.step(byte);
        }
    }

    fn step(&mut self, byte: u8) {
        if self.is_in_text {
            self.keep(byte);
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.is_in_text = true;
                self.keep(byte);
            }
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b':' if self.depth == 1 => {
                self.is_id = self.token == b"\"id\"";
                self.token.clear();
            }
            b',' if self.depth == 1 => self.end(),
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b' ' | b'\t' | b'\r' => {}
            other => self.keep(other),
        }
    }

    fn keep(&mut self, byte: u8) {
        const TOKEN_LEN_MAX: usize = 1024;
        if self.depth == 1 && self.token.len() < TOKEN_LEN_MAX {
            self.token.push(byte);
        }
    }

    fn end(&mut self) {
        if self.is_id {
            let id = serde_json::from_slice(&self.token).ok();
            self.id = id.filter(is_id).or(self.id.take());
        }
        self.is_id = false;
        self.token.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::BufReader;

    use super::*;

    async fn lines(input: &[u8], len_max: usize) -> Vec<Line> {
        // As it comes out of a pipe: in pieces.
        let mut lines = Lines::new(BufReader::with_capacity(7, input), len_max);
        let mut read = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            read.push(line);
        }
        read
    }

    #[tokio::test]
    async fn line_over_the_limit_costs_that_line_and_tells_its_id() {
        let text = "x\\\"id\\\":9,{[".repeat(50);
        let first = format!(r#"{{"id": "a\"b", "params": {{"id": 3, "t": "{text}"}}}}"#);
        let last = format!(r#"{{"params":{{"id":3,"t":["{text}"]}},"id":17}}"#);
        let none = format!(r#"{{"params":"{text}"}}"#);
        let input = format!("{first}\nshort\n{last}\n{none}\n\nend");

        let read = lines(input.as_bytes(), 100).await;

        let id = |id: Value| Line::TooLong { id: Some(id) };
        let whole = |line: &str| Line::Whole(line.into());
        assert_eq!(
            read,
            [
                id(json!("a\"b")),
                whole("short"),
                id(json!(17)),
                Line::TooLong { id: None },
                whole(""),
                whole("end"),
            ]
        );
        let exact = vec![b'x'; 100];
        assert_eq!(lines(&exact, 100).await, [Line::Whole(exact.clone())]);
        let more = vec![b'x'; 101];
        assert_eq!(lines(&more, 100).await, [Line::TooLong { id: None }]);
    }
}
