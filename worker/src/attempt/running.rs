//! A sub-agent while it runs: its output is passed on, orders are carried out, its end is awaited.

use std::time::{Duration, Instant};

use ganger_proto::v1::TranscriptKind;
use tokio::{
    io::AsyncReadExt,
    time::{sleep_until, timeout},
};

use super::{Line, Order};
use crate::{
    agent::output::{Lines, Tail},
    clock,
    limits::{ERROR_TAIL_LEN_MAX, ERROR_TAIL_LINES_MAX, PIPE_DRAIN_SPAN, RESULT_LEN_MAX},
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
    /// The end of its standard output.
    pub(super) stdout: Tail,
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

/// One of the two pipes.
struct Pipe {
    kind: TranscriptKind,
    /// None once it is over.
    output: Option<Output>,
    buffer: Vec<u8>,
    lines: Lines,
    tail: Tail,
}

impl Pipe {
    fn new(kind: TranscriptKind, output: Option<Output>, tail_len: usize) -> Self {
        Self {
            kind,
            output,
            buffer: vec![0; READ_LEN],
            lines: Lines::default(),
            tail: Tail::new(tail_len),
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
        let now = clock::now();
        if read == 0 {
            self.output = None;
            let rest = std::mem::take(&mut self.lines).finish(now);
            return self.pass_on(rest, line).await;
        }
        let bytes = &self.buffer[..read];
        self.tail.push(bytes);
        let texts = self.lines.push(bytes, now);
        self.pass_on(texts, line).await;
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

/// Waits for the end of a program, and of everything else in its sandbox.
pub(super) async fn watch_process(
    mut process: Process,
    sandbox: &dyn Sandbox,
    output_bytes_max: u64,
    line: &mut Line,
) -> Ran {
    let mut pipes = Pipes {
        stdout: Pipe::new(
            TranscriptKind::Stdout,
            process.stdout.take(),
            RESULT_LEN_MAX,
        ),
        stderr: Pipe::new(
            TranscriptKind::Stderr,
            process.stderr.take(),
            ERROR_TAIL_LEN_MAX,
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
        ..
    } = pipes;
    let (stderr, _) = stderr.tail.finish();
    Ran {
        exit: exit.map_err(|error| causes(&error)),
        ended_at,
        cpu_time: process.cpu_time(),
        output_bytes,
        has_flooded,
        stdout: stdout.tail,
        stderr,
    }
}

struct Pipes {
    stdout: Pipe,
    stderr: Pipe,
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
                    obey(order, sandbox, line).await;
                }
                exit = process.wait() => return exit,
                () = flush => {
                    self.stdout.take_due(line).await;
                    self.stderr.take_due(line).await;
                }
                read = self.stdout.read() => {
                    self.output_bytes += read as u64;
                    self.stdout.take(read, line).await;
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

    /// Takes what the pipes still hold, when nobody writes any more.
    async fn drain(&mut self, line: &Line) {
        let Self {
            stdout,
            stderr,
            output_bytes,
            output_bytes_max,
        } = self;
        for pipe in [stdout, stderr] {
            while pipe.output.is_some() {
                let read = timeout(PIPE_DRAIN_SPAN, pipe.read()).await.unwrap_or(0);
                *output_bytes += read as u64;
                let has_flooded = *output_bytes > *output_bytes_max;
                pipe.take(if has_flooded { 0 } else { read }, line).await;
            }
        }
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
