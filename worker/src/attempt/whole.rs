//! The whole of a sub-agent's standard output, which may be its result.
//!
//! While it fits a report it stays in memory. Beyond that it goes to a file of the worker's own
//! that has no name any more, so that nothing is left behind; only its end stays in memory. The
//! output limit of the agent type bounds the file.

use std::{io, os::unix::fs::OpenOptionsExt, path::PathBuf};

use tokio::{fs::File, io::AsyncWriteExt};

use crate::{agent::output::Tail, artifacts::Content, limits::RESULT_LEN_MAX};

/// See the head of this file.
#[derive(Debug)]
pub(super) struct WholeOutput {
    dir: PathBuf,
    tail: Tail,
    bytes: u64,
    file: Filed,
}

#[derive(Debug)]
enum Filed {
    /// All of it is in memory.
    Not,
    To(File),
    /// The disk failed: only the end is left.
    Failed(io::Error),
}

/// What came of it.
pub(super) struct Output {
    /// The end of it, from the beginning of a line on where the beginning is missing.
    pub(super) text: String,
    /// Bytes that came before the text.
    pub(super) cut: u64,
    /// How large it is in all.
    pub(super) bytes: u64,
    /// All of it, or why that could not be kept.
    pub(super) whole: io::Result<Content>,
}

impl WholeOutput {
    /// Nothing yet. A file lies in `dir` if one is needed.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            tail: Tail::new(RESULT_LEN_MAX),
            bytes: 0,
            file: Filed::Not,
        }
    }

    /// Takes bytes.
    pub(super) async fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Filed::Not = self.file
            && self.bytes > RESULT_LEN_MAX as u64
        {
            self.file = match self.begin_file().await {
                Ok(file) => Filed::To(file),
                Err(error) => Filed::Failed(error),
            };
        }
        if let Filed::To(file) = &mut self.file
            && let Err(error) = file.write_all(bytes).await
        {
            self.file = Filed::Failed(error);
        }
        self.tail.push(bytes);
    }

    /// A file with what is in memory so far.
    async fn begin_file(&mut self) -> io::Result<File> {
        let path = self.dir.join(format!("output-{}", uuid::Uuid::new_v4()));
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path)?;
        std::fs::remove_file(&path)?;
        let mut file = File::from_std(file);
        file.write_all(self.tail.bytes()).await?;
        Ok(file)
    }

    /// The output is over.
    pub(super) async fn finish(mut self) -> Output {
        let whole = match self.file {
            Filed::Not => Ok(Content::Text(self.tail.bytes().to_vec().into())),
            Filed::To(mut file) => match file.flush().await {
                Ok(()) => Ok(Content::File(file, self.bytes)),
                Err(error) => Err(error),
            },
            Filed::Failed(error) => Err(error),
        };
        let (text, cut) = self.tail.finish();
        Output {
            text,
            cut,
            bytes: self.bytes,
            whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncSeekExt};

    use super::*;

    async fn content(whole: io::Result<Content>) -> Vec<u8> {
        match whole.unwrap() {
            Content::Text(text) => text.to_vec(),
            Content::File(mut file, size) => {
                file.rewind().await.unwrap();
                let mut bytes = Vec::new();
                file.take(size).read_to_end(&mut bytes).await.unwrap();
                bytes
            }
        }
    }

    #[tokio::test]
    async fn output_of_any_length_is_whole_and_leaves_no_file_behind() {
        let dir = tempfile::tempdir().unwrap();
        for len in [0, 1, RESULT_LEN_MAX, RESULT_LEN_MAX + 1, 3_000_000] {
            let written: Vec<u8> = (0..len).map(|at| b'a' + (at % 23) as u8).collect();
            let mut output = WholeOutput::new(dir.path().to_owned());
            for part in written.chunks(16 << 10) {
                output.push(part).await;
            }

            let output = output.finish().await;

            assert_eq!(output.bytes, len as u64);
            assert_eq!(output.cut as usize, len.saturating_sub(RESULT_LEN_MAX));
            assert!(written.ends_with(output.text.as_bytes()));
            assert!(content(output.whole).await == written, "{len} bytes");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn disk_that_fails_costs_the_beginning_alone_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = WholeOutput::new(dir.path().join("missing"));
        let written = vec![b'x'; RESULT_LEN_MAX + 10];
        output.push(&written).await;

        let output = output.finish().await;

        assert_eq!((output.text.len(), output.cut), (RESULT_LEN_MAX, 10));
        assert!(output.whole.is_err());
    }
}
