//! A worker: the real agenda, and sub-agents that do as chance has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use board::id::{AttemptNumber, Epoch, Fence, InstanceId, TaskId, TeamUid, WorkerName};
use ganger_proto::v1;
use ganger_worker::pure::{self, Action, Agenda, Backoff, Outcome, Taken, Terms};

use super::{
    net::{ConnId, Said},
    world::{Event, World, millis_of_time},
};

/// How long a draining worker lets its sub-agents run on.
const DRAIN_SPAN: Duration = Duration::from_secs(25);
/// How long sub-agents may run, unless their task says less.
const TIMEOUT: Duration = Duration::from_secs(40);

/// Something of a worker's own.
#[derive(Debug, Clone)]
pub(super) enum WorkerEvent {
    /// Its process starts.
    Start,
    /// Something is due.
    Wake,
    /// A heartbeat of this stream is due.
    Pulse(ConnId),
    /// Nobody listens where it dialled.
    NotConnected(ConnId),
}

/// What an attempt comes to next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Prepared,
    /// The worker can't run it.
    Unable,
    Began,
    /// The sub-agent is over.
    Done,
    /// All of it is gone.
    Over,
}

/// How it stands with the coordinator.
#[derive(Debug)]
pub(super) enum Connection {
    Waiting {
        until: u64,
    },
    Dialing {
        conn: ConnId,
        since: u64,
    },
    Up {
        conn: ConnId,
        heard_at: u64,
        silence_max: u64,
        heartbeat: u64,
        sequence: u64,
    },
}

/// What an attempt is told, each further than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Prepare,
    Begin,
    Stop,
    Kill,
}

/// An attempt as it truly is.
#[derive(Debug)]
struct SubAgent {
    order: Order,
    /// What comes next, and when; anything else that was to come does not.
    next: Option<(Step, u64)>,
    is_running: bool,
    has_ended: bool,
    is_failing: bool,
}

/// A process of a worker.
pub(super) struct Process {
    pub(super) agenda: Agenda,
    pub(super) connection: Connection,
    pub(super) backoff: Backoff,
    pub(super) dials: u64,
    attempts: BTreeMap<Fence, SubAgent>,
    wake_at: Option<u64>,
}

/// A worker, whose processes come and go.
pub(super) struct Worker {
    pub(super) name: WorkerName,
    pub(super) slots: u64,
    number: usize,
    starts: u64,
    pub(super) process: Option<Process>,
    pub(super) paused_until: Option<u64>,
    /// Earlier processes, as its data directory remembers them.
    pub(super) ended: Vec<InstanceId>,
}

impl Worker {
    pub(super) fn new(number: usize, slots: u64) -> Self {
        Self {
            name: WorkerName::parse(&format!("worker-{number}")).expect("a name"),
            slots,
            number,
            starts: 0,
            process: None,
            paused_until: None,
            ended: Vec::new(),
        }
    }

    /// Its present process, or the last one.
    pub(super) fn instance(&self) -> InstanceId {
        InstanceId((self.number as u128 + 1) << 64 | u128::from(self.starts))
    }
}

impl Process {
    /// Whether it has an attempt that nobody told it to stop.
    pub(super) fn is_at(&self, fence: &Fence) -> bool {
        self.attempts
            .get(fence)
            .is_some_and(|attempt| attempt.order < Order::Stop)
    }

    /// When it looks what is due.
    pub(super) fn wake_at(&self) -> Option<u64> {
        self.wake_at
    }

    /// Attempts that are not over.
    pub(super) fn live(&self) -> usize {
        self.attempts.values().filter(|a| !a.has_ended).count()
    }
}

/// A fence as workers know it.
pub(super) fn workers_fence(fence: &Fence) -> pure::Fence {
    let wire = v1::Fence {
        epoch: fence.epoch.0.to_string(),
        team_uid: fence.team.0,
        task_id: fence.task.0,
        attempt: i32::try_from(fence.attempt.0).expect("few attempts"),
    };
    wire.into()
}

/// A fence as the board knows it.
pub(super) fn boards_fence(fence: &pure::Fence) -> Fence {
    let wire = v1::Fence::from(fence);
    Fence {
        epoch: Epoch(wire.epoch.parse().expect("it came from a board")),
        team: TeamUid(wire.team_uid),
        task: TaskId(wire.task_id),
        attempt: AttemptNumber(wire.attempt.unsigned_abs()),
    }
}

impl World {
    pub(super) fn worker_event(&mut self, at: usize, event: WorkerEvent) {
        match event {
            WorkerEvent::Start => self.start_worker(at),
            WorkerEvent::Wake => {
                if let Some(process) = &mut self.workers[at].process {
                    process.wake_at = None;
                }
                self.watch_connection(at);
            }
            WorkerEvent::Pulse(conn) => self.pulse(at, conn),
            WorkerEvent::NotConnected(conn) => self.not_connected(at, conn),
        }
        self.settle(at);
    }

    fn start_worker(&mut self, at: usize) {
        let now = self.now;
        let worker = &mut self.workers[at];
        if worker.process.is_some() {
            return;
        }
        worker.starts += 1;
        worker.paused_until = None;
        let slots = usize::try_from(worker.slots).expect("few");
        worker.process = Some(Process {
            agenda: Agenda::new(slots, DRAIN_SPAN),
            connection: Connection::Waiting { until: now },
            backoff: Backoff::default(),
            dials: 0,
            attempts: BTreeMap::new(),
            wake_at: None,
        });
    }

    /// The process is gone with all that it ran, and is started again.
    pub(super) fn end_worker(&mut self, at: usize, is_known_dead: bool) {
        let worker = &mut self.workers[at];
        if worker.process.take().is_none() {
            return;
        }
        let instance = worker.instance();
        if is_known_dead {
            worker.ended.push(instance);
        } else {
            worker.ended.clear();
        }
        worker.paused_until = None;
        for conn in self.net.of_worker(at) {
            match self.chance.below(3) {
                // Its machine is gone as well: nobody says that the stream is over.
                0 => self.cut(conn),
                _ => self.say(conn, Said::End),
            }
        }
        let down = self.chance.between(100, 12_000);
        self.after(down, Event::Worker(at, WorkerEvent::Start));
    }

    /// Does what the agenda says, and plans when to look again.
    pub(super) fn settle(&mut self, at: usize) {
        loop {
            let now = self.instant();
            let Some(process) = &mut self.workers[at].process else {
                return;
            };
            let actions = process.agenda.settle(now);
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.act(at, action);
            }
        }
        let now = self.instant();
        let process = self.workers[at].process.as_ref().expect("just there");
        if process.agenda.may_leave(now) {
            self.note(|| format!("worker {at} leaves"));
            return self.end_worker(at, true);
        }
        let of_connection = match process.connection {
            Connection::Waiting { until } => until,
            Connection::Dialing { since, .. } => since + pure::HANDSHAKE_SPAN.as_millis() as u64,
            Connection::Up {
                heard_at,
                silence_max,
                ..
            } => heard_at + silence_max,
        };
        let of_agenda = process.agenda.next_deadline();
        let of_agenda = of_agenda.map(|instant| self.millis_of(instant).max(self.now + 1));
        let wake_at = of_agenda.into_iter().fold(of_connection, u64::min);
        let process = self.workers[at].process.as_mut().expect("just there");
        if process.wake_at.is_none_or(|planned| wake_at < planned) {
            process.wake_at = Some(wake_at);
            self.schedule(wake_at, Event::Worker(at, WorkerEvent::Wake));
        }
    }

    fn act(&mut self, at: usize, action: Action) {
        self.note(|| format!("worker {at}: {action:?}"));
        match action {
            Action::Prepare(fence) => {
                let (step, span) = match self.chance.below(60) {
                    0 => (Step::Unable, 300),
                    1 if !self.is_calm => (Step::Prepared, 70_000),
                    _ => (Step::Prepared, self.chance.between(5, 1_500)),
                };
                self.plan_step(at, &boards_fence(&fence), step, span);
            }
            Action::Begin(fence) => self.order(at, &boards_fence(&fence), Order::Begin),
            Action::Stop(fence) => self.order(at, &boards_fence(&fence), Order::Stop),
            Action::Kill(fence) => self.order(at, &boards_fence(&fence), Order::Kill),
            Action::Report(fence, kind) => self.report(at, &fence, kind),
            // What is forgotten is dropped, as it is in the real worker; it may still be dying.
            _ => {}
        }
    }

    /// Takes an assignment's attempt in, if the agenda does.
    pub(super) fn take_attempt(
        &mut self,
        at: usize,
        assignment: &ganger_coordinator::fleet::Assignment,
    ) -> Taken {
        let limit = assignment.timeout.unwrap_or(TIMEOUT).min(TIMEOUT);
        let deadline = assignment.deadline.map(millis_of_time);
        let deadline = deadline.map(|millis| self.instant_of(millis.max(self.now)));
        let fence = assignment.fence;
        let worker = &mut self.workers[at];
        let slots = usize::try_from(worker.slots).expect("few");
        let process = worker.process.as_mut().expect("it hears");
        let busy = process.attempts.values();
        let busy = busy
            .filter(|a| !a.has_ended && a.order < Order::Stop)
            .count();
        let taken = process.agenda.assign(Terms {
            fence: workers_fence(&fence),
            limit,
            deadline,
            lender: None,
            stop_on_lease_end: false,
            has_ear: false,
        });
        match taken {
            Taken::Yes => {
                let attempt = SubAgent {
                    order: Order::Prepare,
                    next: None,
                    is_running: false,
                    has_ended: false,
                    is_failing: self.chance.one_in(6),
                };
                process.attempts.insert(fence, attempt);
                let prompt = marks(&assignment.prompt);
                self.memory
                    .prompts
                    .insert((worker.instance(), fence), prompt);
            }
            Taken::No("no free slot") if busy >= slots => {
                self.broke(format!(
                    "worker {at} was given {fence:?} beyond its {slots} slots"
                ));
            }
            _ => {}
        }
        taken
    }

    fn plan_step(&mut self, at: usize, fence: &Fence, step: Step, span: u64) {
        let due = self.now + span;
        let worker = &mut self.workers[at];
        let instance = worker.instance();
        let process = worker.process.as_mut();
        let attempt = process.and_then(|process| process.attempts.get_mut(fence));
        if let Some(attempt) = attempt {
            attempt.next = Some((step, due));
            self.schedule(due, Event::Attempt(at, instance, *fence, step));
        }
    }

    fn order(&mut self, at: usize, fence: &Fence, order: Order) {
        let process = self.workers[at].process.as_mut();
        let attempt = process.and_then(|process| process.attempts.get_mut(fence));
        let Some(attempt) = attempt.filter(|attempt| attempt.order < order) else {
            return;
        };
        attempt.order = order;
        let (is_running, has_ended) = (attempt.is_running, attempt.has_ended);
        let is_ending = matches!(attempt.next, Some((Step::Over, _)));
        if has_ended || is_ending {
            return;
        }
        let (step, span) = match order {
            Order::Prepare => return,
            Order::Begin => (Step::Began, self.chance.between(1, 60)),
            // Some end when they are asked to, some have to be killed.
            Order::Stop if is_running && self.chance.one_in(3) => return,
            Order::Stop if is_running => (Step::Done, self.chance.between(10, 6_000)),
            Order::Stop | Order::Kill => match self.chance.below(80) {
                0 if !self.is_calm => (Step::Over, 80_000),
                _ => (Step::Over, self.chance.between(1, 400)),
            },
        };
        self.plan_step(at, fence, step, span);
    }

    pub(super) fn attempt_steps(
        &mut self,
        at: usize,
        instance: InstanceId,
        fence: Fence,
        step: Step,
    ) {
        let (now, instant) = (self.now, self.instant());
        let worker = &mut self.workers[at];
        if worker.instance() != instance {
            return;
        }
        let Some(process) = &mut worker.process else {
            return;
        };
        let Some(attempt) = process.attempts.get_mut(&fence) else {
            return;
        };
        let is_next = attempt
            .next
            .take_if(|(next, due)| *next == step && *due <= now);
        if is_next.is_none() {
            return;
        }
        let held = workers_fence(&fence);
        match step {
            Step::Prepared => process.agenda.prepared(&held),
            Step::Unable => {
                attempt.has_ended = true;
                self.memory.truth.insert((instance, fence), "".into());
                let outcome = Outcome::Unable("the sandbox is not there".to_owned());
                process.agenda.over(&held, outcome);
            }
            Step::Began => {
                attempt.is_running = true;
                process.agenda.began(&held, instant);
                let span = match self.chance.below(12) {
                    // It would never end.
                    0 => 10_000_000,
                    _ => self.chance.between(50, 25_000),
                };
                self.plan_step(at, &fence, Step::Done, span);
            }
            Step::Done => {
                process.agenda.finishing(&held);
                let span = self.chance.between(1, 300);
                self.plan_step(at, &fence, Step::Over, span);
            }
            Step::Over => self.attempt_over(at, fence),
        }
        self.forget_ended(at);
        self.settle(at);
    }

    fn attempt_over(&mut self, at: usize, fence: Fence) {
        let worker = &mut self.workers[at];
        let instance = worker.instance();
        let process = worker.process.as_mut().expect("its attempt is over");
        let attempt = process.attempts.get_mut(&fence).expect("it is over");
        attempt.has_ended = true;
        let outcome = if attempt.is_running {
            let result = format!("{:x} did {}.{}", instance.0, fence.task, fence.attempt);
            let truth = (instance, fence);
            self.memory.truth.insert(truth, result.as_str().into());
            let mut ended = v1::Ended {
                result,
                ..Default::default()
            };
            if attempt.is_failing || attempt.order >= Order::Stop {
                ended.set_ending(v1::AttemptEnding::Failed);
                ended.error = "it failed".to_owned();
            } else {
                ended.set_ending(v1::AttemptEnding::Completed);
            }
            Outcome::Ended(Box::new(ended))
        } else {
            self.memory.truth.insert((instance, fence), "".into());
            Outcome::Unable("stopped before its start".to_owned())
        };
        process.agenda.over(&workers_fence(&fence), outcome);
    }

    /// Drops attempts that are over and that the agenda does not know any more.
    fn forget_ended(&mut self, at: usize) {
        if let Some(process) = &mut self.workers[at].process {
            let held = process
                .agenda
                .presented()
                .map(|(fence, _)| boards_fence(fence));
            let held: BTreeSet<Fence> = held.collect();
            process
                .attempts
                .retain(|fence, a| !a.has_ended || held.contains(fence));
            if process.live() > self.workers[at].slots as usize {
                self.broke(format!("worker {at} runs more than it has slots for"));
            }
        }
    }
}

/// The marks of messages in a prompt: each is a word that begins so.
fn marks(prompt: &str) -> Vec<Arc<str>> {
    let words = prompt.split_whitespace();
    words
        .filter(|word| word.starts_with("mark-"))
        .map(Into::into)
        .collect()
}
