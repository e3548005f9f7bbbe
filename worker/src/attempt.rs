//! One attempt's life: prepare, wait for the go, run, keep what is left, clean up.
//!
//! It obeys [`Order`]s and tells [`Notice`]s; what they mean to the coordinator is the agenda's. The
//! sub-agent's process tree is dead, and its workspace gone, when [`run`] returns; dropping the
//! future kills the tree and leaves the workspace to the next start's sweep.

use std::{path::PathBuf, sync::Arc, time::Instant};

use ganger_proto::v1::{Assignment, AttemptEnding, Ended, StopReason, TranscriptKind, Usage};
use tokio::sync::{Semaphore, mpsc, watch};

use self::{
    inputs::LayError,
    running::{Ran, watch_process},
    talking::Talking,
};
use crate::{
    agenda::{Outcome, Question, Word},
    agent::{self, Places},
    artifacts::Artifacts,
    clock,
    config::AgentType,
    fence::Fence,
    limits::WORDS_LANE_LEN,
    sandbox::{
        BoxFuture, CollectLimits, Sandbox, SandboxDriver, SandboxError, SandboxId, Workspaces,
    },
    secrets::Secrets,
    text::causes,
    tools::Tools,
    transcript::Piece,
};

mod inputs;
mod keep;
mod mouth;
mod running;
mod talking;
mod whole;

/// What all attempts of a worker stand on.
pub(crate) struct Ground {
    pub(crate) driver: Arc<dyn SandboxDriver>,
    pub(crate) workspaces: Workspaces,
    pub(crate) artifacts: Artifacts,
    pub(crate) tools: Tools,
    pub(crate) secrets: Secrets,
    /// Turns to collect outputs, each of which holds descriptors until it is uploaded.
    pub(crate) collections: Arc<Semaphore>,
    pub(crate) collect_limits: CollectLimits,
}

/// What an attempt is to do.
pub(crate) struct Job {
    pub(crate) fence: Fence,
    pub(crate) assignment: Assignment,
    pub(crate) agent_type: AgentType,
}

/// How far an attempt may or must go. It only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Make everything ready.
    Prepare,
    /// Start the sub-agent.
    Begin,
    /// Ask it to end; leave what would take time.
    Stop,
    /// Kill it.
    Kill,
}

/// What an attempt tells while it lives.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Its sandbox stands.
    Prepared(Fence),
    /// Its sub-agent began.
    Began(Fence),
    /// Something for the transcript.
    Said(Fence, Piece),
    /// What its sub-agent says that it is doing.
    Doing(Fence, String),
    /// Its sub-agent asks.
    Asked(Fence, Question),
    /// Its sub-agent was told the word of this number.
    Told(Fence, i32),
    /// Its sub-agent is over.
    Finishing(Fence),
}

/// What the engine holds of an attempt's ear.
pub(crate) struct Handle {
    /// How far it is to go, and why no further.
    pub(crate) orders: watch::Sender<(Order, Arc<str>)>,
    /// What its sub-agent is to be told.
    pub(crate) words: mpsc::Sender<Word>,
}

/// The attempt's own side of it.
pub(crate) struct Ears {
    orders: watch::Receiver<(Order, Arc<str>)>,
    words: mpsc::Receiver<Word>,
}

/// A new attempt's ear, from both sides.
pub(crate) fn ears() -> (Handle, Ears) {
    let (orders, ordered) = watch::channel((Order::Prepare, "".into()));
    let (words, told) = mpsc::channel(WORDS_LANE_LEN);
    let ears = Ears {
        orders: ordered,
        words: told,
    };
    (Handle { orders, words }, ears)
}

/// An attempt's ear and mouth.
struct Line {
    fence: Fence,
    orders: watch::Receiver<(Order, Arc<str>)>,
    notices: mpsc::Sender<Notice>,
}

impl Line {
    /// Waits for at least this order. A worker that is gone is an order to die.
    async fn ordered(&mut self, least: Order) -> Order {
        self.orders
            .wait_for(|(order, _)| *order >= least)
            .await
            .map_or(Order::Kill, |given| given.0)
    }

    fn order(&self) -> Order {
        self.orders.borrow().0
    }

    /// Why it goes no further.
    fn reason(&self) -> Arc<str> {
        self.orders.borrow().1.clone()
    }

    /// Tells the engine; if it is gone, nobody wants to know.
    async fn tell(&self, notice: Notice) {
        let _ = self.notices.send(notice).await;
    }

    async fn say(&self, kind: TranscriptKind, text: String) {
        self.tell(Notice::Said(
            self.fence.clone(),
            Piece {
                kind,
                text,
                at: clock::wall(),
            },
        ))
        .await;
    }
}

/// The directories of an attempt, beneath the worker's workspaces.
struct Dirs {
    sandbox: SandboxId,
    workspace: PathBuf,
    /// Holds inputs and prompt; an entry of its own, so that a sweep finds it too.
    task_id: SandboxId,
    task: PathBuf,
}

/// Runs an attempt to its end.
pub(crate) async fn run(
    ground: Arc<Ground>,
    job: Job,
    ears: Ears,
    notices: mpsc::Sender<Notice>,
) -> (Fence, Outcome) {
    let mut line = Line {
        fence: job.fence.clone(),
        orders: ears.orders,
        notices,
    };
    let dirs = Dirs::new(&ground.workspaces);
    tracing::debug!(attempt = %line.fence, workspace = %dirs.workspace.display(), "workspace of the attempt");
    let outcome = live(&ground, &job, &dirs, ears.words, &mut line).await;
    remove(ground, dirs).await;
    (job.fence, outcome)
}

async fn live(
    ground: &Ground,
    job: &Job,
    dirs: &Dirs,
    words: mpsc::Receiver<Word>,
    line: &mut Line,
) -> Outcome {
    let preparing: BoxFuture<'_, _> = Box::pin(prepare(ground, job, dirs));
    let sandbox = tokio::select! {
        biased;
        _ = line.ordered(Order::Stop) => return stopped_early(),
        prepared = preparing => match prepared {
            Ok(sandbox) => sandbox,
            Err(Unready::Worker(reason)) => return Outcome::Unable(reason),
            Err(Unready::Task(error)) => return failed(error),
        },
    };
    line.tell(Notice::Prepared(line.fence.clone())).await;

    let outcome = match line.ordered(Order::Begin).await {
        Order::Begin => begin(ground, job, dirs, &*sandbox, words, line).await,
        _ => stopped_early(),
    };
    if let Err(error) = sandbox.destroy().await {
        tracing::error!(attempt = %line.fence, error = &error as &dyn std::error::Error, "sandbox not taken down");
    }
    outcome
}

/// Runs the sub-agent in its sandbox, and keeps what it left.
async fn begin(
    ground: &Ground,
    job: &Job,
    dirs: &Dirs,
    sandbox: &dyn Sandbox,
    words: mpsc::Receiver<Word>,
    line: &mut Line,
) -> Outcome {
    let command = agent::command(
        ground.driver.kind(),
        &dirs.places(),
        &job.agent_type,
        &job.assignment,
    );
    let began_at = clock::now();
    let mut process = match sandbox.exec(command).await {
        Ok(process) => process,
        Err(error @ SandboxError::Program { .. }) => return failed(causes(&error)),
        Err(error) => return Outcome::Unable(format!("sandbox: {}", causes(&error))),
    };
    line.tell(Notice::Began(line.fence.clone())).await;

    let talk = |stdin| Talking::new(stdin, job, ground.tools.clone(), words);
    let talking = process.stdin.take().map(talk);
    let bytes_max = job.agent_type.output_bytes;
    let ran = watch_process(process, sandbox, bytes_max, &dirs.task, talking, line).await;
    line.tell(Notice::Finishing(line.fence.clone())).await;

    let mut ended = ending(&ran, &job.agent_type);
    ended.usage = Some(usage(&ran, began_at));
    keep::keep(ground, job, dirs, ran, line, &mut ended).await;
    Outcome::Ended(Box::new(ended))
}

/// Why an attempt can't begin.
enum Unready {
    /// The worker's fault: it costs the task nothing.
    Worker(String),
    /// The task's fault.
    Task(String),
}

async fn prepare(ground: &Ground, job: &Job, dirs: &Dirs) -> Result<Box<dyn Sandbox>, Unready> {
    if job.assignment.prompt.trim().is_empty() {
        // What people say of a task is never executed.
        let agent_type = &job.assignment.agent_type;
        return Err(Unready::Task(format!(
            "agent type {agent_type} runs the prompt as a command, and the task has none"
        )));
    }
    let made = [&dirs.sandbox, &dirs.task_id]
        .into_iter()
        .try_for_each(|id| ground.workspaces.create(id).map(drop));
    made.map_err(|error| Unready::Worker(format!("workspace: {}", causes(&error))))?;
    match inputs::lay(&dirs.task, &job.assignment, &ground.artifacts).await {
        Ok(()) => {}
        Err(error @ LayError::Disk(_)) => return Err(Unready::Worker(format!("inputs: {error}"))),
        Err(error) => return Err(Unready::Task(format!("inputs: {error}"))),
    }
    let spec = agent::sandbox_spec(
        dirs.sandbox.clone(),
        &dirs.places(),
        &job.agent_type,
        &job.assignment,
    );
    let created = ground.driver.create(spec).await;
    created.map_err(|error| Unready::Worker(format!("sandbox: {}", causes(&error))))
}

fn ending(ran: &Ran, agent_type: &AgentType) -> Ended {
    let mut ended = Ended::default();
    if ran.has_flooded {
        ended.set_ending(AttemptEnding::Failed);
        ended.set_stop_reason(StopReason::ResourceLimit);
        ended.error = format!(
            "wrote more than {} bytes of output",
            agent_type.output_bytes
        );
        return ended;
    }
    match &ran.exit {
        Ok(exit) if exit.is_success() => ended.set_ending(AttemptEnding::Completed),
        Ok(exit) => {
            ended.set_ending(AttemptEnding::Failed);
            ended.error = ran.with_last_words(&exit.to_string());
        }
        Err(error) => {
            ended.set_ending(AttemptEnding::Failed);
            ended.error = error.clone();
        }
    }
    ended
}

fn usage(ran: &Ran, began_at: Instant) -> Usage {
    Usage {
        wall_time: Some(ran.ended_at.saturating_duration_since(began_at).into()),
        cpu_time: ran.cpu_time.map(Into::into),
        output_bytes: i64::try_from(ran.output_bytes).unwrap_or(i64::MAX),
        input_tokens: ran.tokens.input,
        output_tokens: ran.tokens.output,
    }
}

fn failed(error: String) -> Outcome {
    let mut ended = Ended {
        error,
        ..Ended::default()
    };
    ended.set_ending(AttemptEnding::Failed);
    Outcome::Ended(Box::new(ended))
}

fn stopped_early() -> Outcome {
    Outcome::Unable("stopped before its start".to_owned())
}

async fn remove(ground: Arc<Ground>, dirs: Dirs) {
    let removing = move || {
        for id in [&dirs.sandbox, &dirs.task_id] {
            if let Err(error) = ground.workspaces.remove(id) {
                tracing::error!(sandbox = %id, error = &error as &dyn std::error::Error, "workspace not removed");
            }
        }
    };
    if let Err(error) = tokio::task::spawn_blocking(removing).await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "removing workspaces broke off"
        );
    }
}

impl Dirs {
    fn new(workspaces: &Workspaces) -> Self {
        // Nothing but chance: in a sandbox `/proc/self/mountinfo` may name this directory, and it is to
        // tell nothing of teams and tasks (S4). Numbers may come again on a restored board, too.
        let name = uuid::Uuid::new_v4().simple().to_string();
        let id = |name: String| SandboxId::try_from(name).expect("hexadecimal digits are an id");
        let (sandbox, task_id) = (id(name.clone()), id(format!("{name}.task")));
        Self {
            workspace: workspaces.path_of(&sandbox),
            task: workspaces.path_of(&task_id),
            sandbox,
            task_id,
        }
    }

    fn places(&self) -> Places<'_> {
        Places {
            workspace: &self.workspace,
            task: &self.task,
        }
    }
}
