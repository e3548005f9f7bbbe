//! A transcript on its way to stdout and stderr, with a line of progress below it where stderr is
//! a terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use ganger_proto::v1::TranscriptKind;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    failure::Failure,
    output::{faint, safe_block, safe_line},
};

/// Prints records: the sub-agent's stdout to stdout, all else to stderr.
#[derive(Debug)]
pub struct Printer {
    progress: Option<ProgressBar>,
    stdout: Sink,
    stderr: Sink,
    has_printed: bool,
}

/// One way out.
#[derive(Debug)]
struct Sink {
    is_terminal: bool,
    /// A line that isn't whole yet, kept back where a line of progress would be drawn over it.
    partial: Option<String>,
    ends_line: bool,
}

/// The line of progress; none where stderr isn't a terminal.
pub fn progress() -> Option<ProgressBar> {
    io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    })
}

impl Printer {
    /// Prints beside this line of progress, where there is one.
    pub fn new(progress: Option<ProgressBar>) -> Self {
        let sink = |is_terminal: bool| Sink {
            is_terminal,
            partial: (progress.is_some() && is_terminal).then(String::new),
            ends_line: true,
        };
        Self {
            stdout: sink(io::stdout().is_terminal()),
            stderr: sink(io::stderr().is_terminal()),
            has_printed: false,
            progress,
        }
    }

    /// Whether the sub-agent wrote anything to its stdout.
    pub fn has_printed(&self) -> bool {
        self.has_printed
    }

    /// Prints a record.
    ///
    /// # Errors
    /// Where stdout or stderr is gone.
    pub fn print(&mut self, kind: TranscriptKind, text: &str) -> Result<(), Failure> {
        let (sink, is_stdout) = match kind {
            TranscriptKind::Stdout => (&mut self.stdout, true),
            _ => (&mut self.stderr, false),
        };
        self.has_printed |= is_stdout;
        let text = match kind {
            TranscriptKind::Stdout | TranscriptKind::Stderr => sink.ready(text),
            _ => {
                let mut note = sink.close();
                note.push_str(&faint(&format!("[{}]", safe_line(text))));
                note.push('\n');
                note
            }
        };
        self.write(is_stdout, &text)
    }

    /// Does something that writes, with the line of progress out of its way.
    pub fn beside(&self, write: impl FnOnce()) {
        match &self.progress {
            Some(progress) => progress.suspend(write),
            None => write(),
        }
    }

    /// Says what the task is at.
    pub fn status(&self, text: String) {
        if let Some(progress) = &self.progress {
            progress.set_message(text);
        }
    }

    /// Prints what was kept back, and takes the line of progress away.
    ///
    /// # Errors
    /// Where stdout or stderr is gone.
    pub fn finish(&mut self) -> Result<(), Failure> {
        if let Some(progress) = self.progress.take() {
            progress.finish_and_clear();
        }
        let (stdout, stderr) = (self.stdout.close(), self.stderr.close());
        self.write(true, &stdout)?;
        self.write(false, &stderr)
    }

    fn write(&self, is_stdout: bool, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            if is_stdout {
                // Where stdout is no terminal, every byte is passed on as it is.
                let mut stdout = io::stdout().lock();
                stdout.write_all(text.as_bytes())?;
                stdout.flush()
            } else {
                anstream::stderr().write_all(text.as_bytes())
            }
        };
        match &self.progress {
            Some(progress) => progress.suspend(write)?,
            None => write()?,
        }
        Ok(())
    }
}

impl Sink {
    /// What of this text, and of what was kept back, is to be written now.
    fn ready(&mut self, text: &str) -> String {
        let text = match self.is_terminal {
            true => safe_block(text),
            false => text.to_owned(),
        };
        let ready = match &mut self.partial {
            None => text,
            Some(partial) => {
                partial.push_str(&text);
                let end = partial.rfind('\n').map_or(0, |at| at + 1);
                let rest = partial.split_off(end);
                std::mem::replace(partial, rest)
            }
        };
        if let Some(last) = ready.chars().last() {
            self.ends_line = last == '\n';
        }
        ready
    }

    /// What was kept back, and on a terminal the end of a line that has none.
    fn close(&mut self) -> String {
        let mut rest = match &mut self.partial {
            Some(partial) => std::mem::take(partial),
            None => String::new(),
        };
        if let Some(last) = rest.chars().last() {
            self.ends_line = last == '\n';
        }
        if self.is_terminal && !self.ends_line {
            rest.push('\n');
            self.ends_line = true;
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipe_gets_every_byte_at_once() {
        let mut sink = Sink {
            is_terminal: false,
            partial: None,
            ends_line: true,
        };

        assert_eq!(sink.ready("a\u{1b}[2Jb"), "a\u{1b}[2Jb");
        assert_eq!(sink.ready("c\n"), "c\n");
        assert_eq!(sink.ready("d"), "d");
        assert_eq!(sink.close(), "");
    }

    #[test]
    fn terminal_with_progress_gets_whole_and_harmless_lines() {
        let mut sink = Sink {
            is_terminal: true,
            partial: Some(String::new()),
            ends_line: true,
        };

        assert_eq!(sink.ready("one\ntw"), "one\n");
        assert_eq!(sink.ready("o\u{1b}[2J"), "");
        assert_eq!(sink.close(), "two\u{fffd}[2J\n");
        assert_eq!(sink.close(), "");
    }
}
