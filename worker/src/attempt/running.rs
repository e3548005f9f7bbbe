//! A sub-agent while it runs: its output is passed on, orders are carried out, its end is awaited.

use std::time::Instant;

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
    sandbox::{Exit, Output, Process, Sandbox},
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
    lines: Lines,
    tail: Tail,
}

impl Pipe {
    fn new(kind: TranscriptKind, output: Option<Output>, tail_len: usize) -> Self {
        Self {
            kind,
            output,
            lines: Lines::default(),
            tail: Tail::new(tail_len),
        }
    }

    /// Reads some; zero bytes, or for ever nothing, when it is over. Cancel safe.
    async fn read(&mut self, buffer: &mut [u8]) -> usize {
        match &mut self.output {
            // A pipe that breaks is over like one that ends.
            Some(output) => output.read(buffer).await.unwrap_or(0),
            None => std::future::pending().await,
        }
    }

    async fn take(&mut self, bytes: &[u8], line: &Line) {
        if bytes.is_empty() {
            self.output = None;
            let rest = std::mem::take(&mut self.lines).finish(clock::now());
            return self.pass_on(rest, line).await;
        }
        self.tail.push(bytes);
        let texts = self.lines.push(bytes, clock::now());
        self.pass_on(texts, line).await;
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
    let mut stdout = Pipe::new(
        TranscriptKind::Stdout,
        process.stdout.take(),
        RESULT_LEN_MAX,
    );
    let mut stderr = Pipe::new(
        TranscriptKind::Stderr,
        process.stderr.take(),
        ERROR_TAIL_LEN_MAX,
    );
    let (mut out_buffer, mut err_buffer) = (vec![0; READ_LEN], vec![0; READ_LEN]);
    let mut obeyed = Order::Begin;
    let mut output_bytes = 0;
    let exit = loop {
        let due = [stdout.lines.due_at(), stderr.lines.due_at()]
            .into_iter()
            .flatten()
            .min();
        let flush = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let next = match obeyed {
            Order::Prepare | Order::Begin => Order::Stop,
            Order::Stop | Order::Kill => Order::Kill,
        };
        tokio::select! {
            order = line.ordered(next), if obeyed < Order::Kill => {
                obeyed = order;
                obey(order, sandbox, line).await;
            }
            exit = process.wait() => break exit.map_err(|error| causes(&error)),
            () = flush => {
                for pipe in [&mut stdout, &mut stderr] {
                    let text = pipe.lines.take_due(clock::now());
                    pipe.pass_on(text, line).await;
                }
            }
            read = stdout.read(&mut out_buffer) => {
                output_bytes += read as u64;
                stdout.take(&out_buffer[..read], line).await;
            }
            read = stderr.read(&mut err_buffer) => {
                output_bytes += read as u64;
                stderr.take(&err_buffer[..read], line).await;
            }
        }
        if output_bytes > output_bytes_max {
            obey(Order::Kill, sandbox, line).await;
            break process.wait().await.map_err(|error| causes(&error));
        }
    };
    let ended_at = clock::now();
    // What it left in the background dies with it, and only then its pipes are sure to end.
    obey(Order::Kill, sandbox, line).await;
    let mut has_flooded = output_bytes > output_bytes_max;
    for (pipe, buffer) in [
        (&mut stdout, &mut out_buffer),
        (&mut stderr, &mut err_buffer),
    ] {
        while pipe.output.is_some() {
            let read = timeout(PIPE_DRAIN_SPAN, pipe.read(buffer))
                .await
                .unwrap_or(0);
            output_bytes += read as u64;
            has_flooded |= output_bytes > output_bytes_max;
            let read = if has_flooded { 0 } else { read };
            pipe.take(&buffer[..read], line).await;
        }
    }
    let (stderr, _) = stderr.tail.finish();
    Ran {
        exit,
        ended_at,
        output_bytes,
        has_flooded,
        stdout: stdout.tail,
        stderr,
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
