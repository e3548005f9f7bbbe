//! A sub-agent while it runs: its output is passed on, orders are carried out, its end is awaited.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use ganger_proto::v1::TranscriptKind;
use tokio::{
    io::AsyncReadExt,
    time::{sleep_until, timeout},
};

use super::{Line, Order, talking::Talking, whole::WholeOutput};
use crate::{
    agent::{
        output::{Lines, Tail},
        talk::{Heard, Tokens},
    },
    clock,
    limits::{ERROR_TAIL_LEN_MAX, ERROR_TAIL_LINES_MAX, PIPE_DRAIN_SPAN},
    sandbox::{Exit, Output, Process, Sandbox, SandboxError},
    text::causes,
};

/// Bytes read at once.
const READ_LEN: usize = 16 << 10;

/// What a sub-agent's run came to.
pub(super) struct Ran {
    /// How its program ended; or why it never ran, or got lost.
    pub(super) exit: Result<Exit, String>,
    /// When.
    pub(super) ended_at: Instant,
    /// The processor time that it used, as far as that is known.
    pub(super) cpu_time: Option<Duration>,
    /// Bytes that it wrote.
    pub(super) output_bytes: u64,
    /// Whether it was killed for writing too much.
    pub(super) has_flooded: bool,
    /// Its standard output; of one that talks, what it merely wrote.
    pub(super) stdout: WholeOutput,
    /// What it said came out.
    pub(super) result: Option<String>,
    /// What it said it used.
    pub(super) tokens: Tokens,
    stderr: String,
}

impl Ran {
    /// How it ended, followed by the last lines that it wrote to standard error.
    pub(super) fn with_last_words(&self, ending: &str) -> String {
        let lines: Vec<_> = self.stderr.trim_end().lines().collect();
        let last = &lines[lines.len().saturating_sub(ERROR_TAIL_LINES_MAX)..];
        if last.is_empty() {
            ending.to_owned()
        } else {
            format!("{ending}\n{}", last.join("\n"))
        }
    }
}

/// What is kept of a pipe beside the transcript.
trait Keep {
    async fn push(&mut self, bytes: &[u8]);
}

impl Keep for Tail {
    async fn push(&mut self, bytes: &[u8]) {
        Self::push(self, bytes);
    }
}

impl Keep for WholeOutput {
    async fn push(&mut self, bytes: &[u8]) {
        Self::push(self, bytes).await;
    }
}

/// One of the two pipes.
struct Pipe<K> {
    kind: TranscriptKind,
    /// None once it is over.
    output: Option<Output>,
    buffer: Vec<u8>,
    lines: Lines,
    kept: K,
}

impl<K: Keep> Pipe<K> {
    fn new(kind: TranscriptKind, output: Option<Output>, kept: K) -> Self {
        Self {
            kind,
            output,
            buffer: vec![0; READ_LEN],
            lines: Lines::default(),
            kept,
        }
    }

    /// Reads some into the buffer; zero bytes, and then for ever nothing, when it is over. Cancel safe.
    async fn read(&mut self) -> usize {
        match &mut self.output {
            // A pipe that breaks is over like one that ends.
            Some(output) => output.read(&mut self.buffer).await.unwrap_or(0),
            None => std::future::pending().await,
        }
    }

    /// Passes on what was read; nothing means the end.
    async fn take(&mut self, read: usize, line: &Line) {
        if read == 0 {
            self.output = None;
            return self.flush(line).await;
        }
        let bytes = std::mem::take(&mut self.buffer);
        self.take_text(&bytes[..read], line).await;
        self.buffer = bytes;
    }

    /// The same where the sub-agent talks: what it says is carried out, the rest is text.
    async fn take_talk(&mut self, read: usize, talking: &mut Talking, is_over: bool, line: &Line) {
        for heard in talking.hear(&self.buffer[..read]) {
            match heard {
                Heard::Text(text) => self.take_text(&text, line).await,
                Heard::Said(said) => {
                    // What was written before was before.
                    self.flush(line).await;
                    talking.said(said, is_over, line).await;
                }
                Heard::Wrong(wrong) => {
                    self.flush(line).await;
                    talking.wrong(&wrong, line).await;
                }
            }
        }
        if read == 0 {
            self.output = None;
            self.flush(line).await;
        }
    }

    async fn take_text(&mut self, bytes: &[u8], line: &Line) {
        self.kept.push(bytes).await;
        let texts = self.lines.push(bytes, clock::now());
        self.pass_on(texts, line).await;
    }

    /// Passes on what waits for more.
    async fn flush(&mut self, line: &Line) {
        let rest = std::mem::take(&mut self.lines).finish(clock::now());
        self.pass_on(rest, line).await;
    }

    async fn take_due(&mut self, line: &Line) {
        let text = self.lines.take_due(clock::now());
        self.pass_on(text, line).await;
    }

    async fn pass_on(&self, texts: impl IntoIterator<Item = String>, line: &Line) {
        for text in texts {
            line.say(self.kind, text).await;
        }
    }
}

/// Waits for the end of a program, and of everything else in its sandbox. In `own_dir`, which is the
/// worker's, long output is kept meanwhile.
pub(super) async fn watch_process(
    mut process: Process,
    sandbox: &dyn Sandbox,
    output_bytes_max: u64,
    own_dir: &Path,
    talking: Option<Talking>,
    line: &mut Line,
) -> Ran {
    let mut pipes = Pipes {
        talking,
        stdout: Pipe::new(
            TranscriptKind::Stdout,
            process.stdout.take(),
            WholeOutput::new(own_dir.to_owned()),
        ),
        stderr: Pipe::new(
            TranscriptKind::Stderr,
            process.stderr.take(),
            Tail::new(ERROR_TAIL_LEN_MAX),
        ),
        output_bytes: 0,
        output_bytes_max,
    };
    let exit = pipes.until_exit(&mut process, sandbox, line).await;
    let ended_at = clock::now();
    // What it left in the background dies with it, and only then its pipes are sure to end.
    obey(Order::Kill, sandbox, line).await;
    pipes.drain(line).await;
    let has_flooded = pipes.have_flooded();
    let Pipes {
        stdout,
        stderr,
        output_bytes,
        talking,
        ..
    } = pipes;
    let (stderr, _) = stderr.kept.finish();
    let (result, tokens) = talking
        .map(|talking| (talking.result, talking.tokens))
        .unwrap_or_default();
    Ran {
        exit: exit.map_err(|error| causes(&error)),
        ended_at,
        cpu_time: process.cpu_time(),
        output_bytes,
        has_flooded,
        stdout: stdout.kept,
        result,
        tokens,
        stderr,
    }
}

struct Pipes {
    /// None where the sub-agent merely writes.
    talking: Option<Talking>,
    stdout: Pipe<WholeOutput>,
    stderr: Pipe<Tail>,
    output_bytes: u64,
    output_bytes_max: u64,
}

impl Pipes {
    fn have_flooded(&self) -> bool {
        self.output_bytes > self.output_bytes_max
    }

    /// Passes output on and carries orders out until the program is over.
    async fn until_exit(
        &mut self,
        process: &mut Process,
        sandbox: &dyn Sandbox,
        line: &mut Line,
    ) -> Result<Exit, SandboxError> {
        let mut obeyed = Order::Begin;
        while !self.have_flooded() {
            let due = [self.stdout.lines.due_at(), self.stderr.lines.due_at()]
                .into_iter()
                .flatten()
                .min();
            let talk = async {
                match &mut self.talking {
                    Some(talking) => talking.happen().await,
                    None => std::future::pending().await,
                }
            };
            let flush = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            let next = if obeyed < Order::Stop {
                Order::Stop
            } else {
                Order::Kill
            };
            tokio::select! {
                order = line.ordered(next), if obeyed < Order::Kill => {
                    obeyed = order;
                    if let Some(talking) = self.talking.as_mut().filter(|_| order == Order::Stop) {
                        let reason = line.reason();
                        talking.stop(&reason);
                        // Said before the signal, as far as it is read.
                        talking.write_now(line).await;
                    }
                    obey(order, sandbox, line).await;
                }
                happened = talk => {
                    if let Some(talking) = &mut self.talking {
                        talking.take(happened, line).await;
                    }
                }
                exit = process.wait() => return exit,
                () = flush => {
                    self.stdout.take_due(line).await;
                    self.stderr.take_due(line).await;
                }
                read = self.stdout.read() => {
                    self.output_bytes += read as u64;
                    self.take_stdout(read, false, line).await;
                }
                read = self.stderr.read() => {
                    self.output_bytes += read as u64;
                    self.stderr.take(read, line).await;
                }
            }
        }
        obey(Order::Kill, sandbox, line).await;
        process.wait().await
    }

    async fn take_stdout(&mut self, read: usize, is_over: bool, line: &Line) {
        match &mut self.talking {
            Some(talking) => self.stdout.take_talk(read, talking, is_over, line).await,
            None => self.stdout.take(read, line).await,
        }
    }

    /// Takes what the pipes still hold, when nobody writes any more.
    async fn drain(&mut self, line: &Line) {
        while self.stdout.output.is_some() {
            let rest = timeout(PIPE_DRAIN_SPAN, self.stdout.read()).await;
            let read = self.within_bounds(rest.unwrap_or(0));
            self.take_stdout(read, true, line).await;
        }
        while self.stderr.output.is_some() {
            let rest = timeout(PIPE_DRAIN_SPAN, self.stderr.read()).await;
            let read = self.within_bounds(rest.unwrap_or(0));
            self.stderr.take(read, line).await;
        }
    }

    /// Of what was read when all is over, what still counts.
    fn within_bounds(&mut self, read: usize) -> usize {
        self.output_bytes += read as u64;
        if self.have_flooded() { 0 } else { read }
    }
}

async fn obey(order: Order, sandbox: &dyn Sandbox, line: &Line) {
    let done = match order {
        Order::Prepare | Order::Begin => Ok(()),
        Order::Stop => sandbox.terminate().await,
        Order::Kill => sandbox.kill().await,
    };
    if let Err(error) = done {
        tracing::error!(attempt = %line.fence, ?order, error = causes(&error), "sandbox doesn't obey");
    }
}
