//! Time, chance, and everything that happens, in order.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use board::{
    id::{Fence, InstanceId},
    time::Time,
};

use super::{
    Failure, Plan, Ran, Safeguard,
    calm::Known,
    client::{Client, ClientEvent},
    coordinator::Coordinator,
    history::History,
    memory::Memory,
    net::{ConnId, Net, Said, Told},
    worker::{Process, Step, Worker, WorkerEvent},
};
use crate::Chance;

/// The wall clock at the beginning, in milliseconds.
const EPOCH: i64 = 1_700_000_000_000;

/// Lines of a trace that are kept.
const TRACE_MAX: usize = 400;

/// Something that happens at its time.
#[derive(Debug)]
pub(super) enum Event {
    /// A frame arrives at the coordinator.
    Said(ConnId, Said),
    /// A report of this worker arrives a second time.
    Echo(usize, Said),
    /// A frame arrives at a worker.
    Told(ConnId, Told),
    /// A transcript is on the disk, and its attempt's last report goes to the driver.
    Synced(ConnId, Said),
    /// The driver of this process wakes.
    Wake(u64),
    /// The commit of this process is through.
    Flushed(u64),
    /// The coordinator starts.
    Boot,
    /// Something of a worker's own.
    Worker(usize, WorkerEvent),
    /// Something of an attempt of this process.
    Attempt(usize, InstanceId, Fence, Step),
    /// Something of a client's own.
    Client(usize, ClientEvent),
    /// Something breaks.
    Fault,
    /// A worker's network is whole again.
    Heal(usize),
    /// Delays are short again.
    Hurry,
    /// Somebody looks whether all is done.
    Look,
}

/// See the head of this file.
pub(super) struct World {
    pub(super) plan: Plan,
    /// Milliseconds since the beginning.
    pub(super) now: u64,
    pub(super) steps: u64,
    base: Instant,
    queue: BTreeMap<(u64, u64), Event>,
    last_event: u64,
    pub(super) chance: Chance,
    pub(super) net: Net,
    pub(super) coordinator: Coordinator,
    pub(super) workers: Vec<Worker>,
    pub(super) clients: Vec<Client>,
    pub(super) history: History,
    pub(super) memory: Memory,
    /// The faults are over, since then.
    pub(super) is_calm: bool,
    pub(super) calm_since: u64,
    pub(super) is_done: bool,
    pub(super) ran: Ran,
    /// What the coordinator said last of its workers.
    pub(super) known: Known,
    broken: Option<String>,
    digest: DefaultHasher,
    trace: Option<VecDeque<String>>,
}

impl World {
    pub(super) fn new(plan: Plan, is_traced: bool) -> Self {
        let mut chance = Chance::of(plan.seed);
        let workers = (0..chance.between(2, 4)).map(|at| {
            let slots = chance.between(1, 3);
            Worker::new(usize::try_from(at).expect("few"), slots)
        });
        let workers = workers.collect();
        Self {
            plan,
            now: 0,
            steps: 0,
            base: Instant::now(),
            queue: BTreeMap::new(),
            last_event: 0,
            net: Net::of_slowness(chance.between(2, 60)),
            coordinator: Coordinator::new(!plan.is_without(Safeguard::Flush)),
            workers,
            clients: Client::all(),
            history: History::default(),
            memory: Memory::default(),
            chance,
            is_calm: false,
            calm_since: 0,
            is_done: false,
            ran: Ran::default(),
            known: Known::default(),
            broken: None,
            digest: DefaultHasher::new(),
            trace: is_traced.then(VecDeque::new),
        }
    }

    /// Runs to the end, or to the first thing that must not be.
    pub(super) fn run(&mut self) -> Result<Ran, String> {
        self.schedule(0, Event::Boot);
        for worker in 0..self.workers.len() {
            let at = self.chance.between(0, 3_000);
            self.schedule(at, Event::Worker(worker, WorkerEvent::Start));
        }
        for client in 0..self.clients.len() {
            self.schedule(50, Event::Client(client, ClientEvent::Act));
        }
        self.schedule(10_000, Event::Fault);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            if self.is_stale(&event) {
                continue;
            }
            self.steps += 1;
            self.happen(event);
            if let Some(what) = self.broken.take() {
                return Err(what);
            }
            if !self.is_calm && self.steps >= self.plan.steps {
                self.calm_down();
            }
            if self.is_done {
                return self.judge_the_end();
            }
        }
        Err("nothing happens any more".to_owned())
    }

    fn happen(&mut self, event: Event) {
        if let Some(resumed) = self.postponed(&event) {
            return self.schedule(resumed, event);
        }
        (self.now, event_word(&event)).hash(&mut self.digest);
        if self.trace.is_some()
            && !matches!(event, Event::Worker(_, WorkerEvent::Wake) | Event::Wake(_))
        {
            self.note(|| format!("{event:?}"));
        }
        match event {
            Event::Said(conn, said) => self.arrive_at_coordinator(conn, said),
            Event::Echo(worker, said) => self.echo(worker, said),
            Event::Told(conn, told) => self.arrive_at_worker(conn, told),
            Event::Synced(conn, said) => self.submit(conn, said),
            Event::Wake(boot) => self.drive(boot),
            Event::Flushed(boot) => self.flushed(boot),
            Event::Boot => self.boot(),
            Event::Worker(worker, event) => self.worker_event(worker, event),
            Event::Attempt(worker, instance, fence, step) => {
                self.attempt_steps(worker, instance, fence, step);
            }
            Event::Client(client, event) => self.client_event(client, event),
            Event::Fault => self.fault(),
            Event::Heal(worker) => self.heal(worker),
            Event::Hurry => self.net.slowness = 20,
            Event::Look => self.look(),
        }
    }

    /// Whether it was planned for what has come otherwise since: nothing happens then.
    fn is_stale(&self, event: &Event) -> bool {
        let is_now = |at: Option<u64>| at.is_some_and(|at| at <= self.now);
        match event {
            Event::Wake(boot) => {
                *boot != self.coordinator.boot || !is_now(self.coordinator.wake_at())
            }
            Event::Worker(at, WorkerEvent::Wake) => !is_now(
                self.workers[*at]
                    .process
                    .as_ref()
                    .and_then(Process::wake_at),
            ),
            Event::Client(at, ClientEvent::Impatient(number, tries)) => {
                self.clients[*at].awaits() != Some((*number, *tries))
            }
            _ => false,
        }
    }

    /// Until when something waits because whom it concerns stands still.
    fn postponed(&self, event: &Event) -> Option<u64> {
        let until = match event {
            Event::Said(..)
            | Event::Echo(..)
            | Event::Synced(..)
            | Event::Wake(_)
            | Event::Flushed(_) => self.coordinator.paused_until,
            Event::Told(conn, _) => {
                let conn = self.net.conn(*conn)?;
                self.workers[conn.worker].paused_until
            }
            Event::Worker(worker, WorkerEvent::Wake | WorkerEvent::Pulse(_))
            | Event::Attempt(worker, ..) => self.workers[*worker].paused_until,
            _ => None,
        };
        until.filter(|until| *until > self.now)
    }

    pub(super) fn schedule(&mut self, at: u64, event: Event) {
        self.last_event += 1;
        self.queue
            .insert((at.max(self.now), self.last_event), event);
    }

    pub(super) fn after(&mut self, millis: u64, event: Event) {
        self.schedule(self.now + millis, event);
    }

    /// What must not be is; the run ends.
    pub(super) fn broke(&mut self, what: impl Into<String>) {
        self.broken.get_or_insert(what.into());
    }

    pub(super) fn take_broken(&mut self) -> Option<String> {
        self.broken.take()
    }

    /// Checks something that must be.
    pub(super) fn hold(&mut self, checked: Result<(), String>) {
        if let Err(what) = checked {
            self.broke(what);
        }
    }

    /// A line of the trace.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            if trace.len() == TRACE_MAX {
                trace.pop_front();
            }
            let at = Duration::from_millis(self.now);
            trace.push_back(format!("{:>6} {at:>10.3?} {}", self.steps, line()));
        }
    }

    pub(super) fn failure(&mut self, what: String) -> Failure {
        Failure {
            plan: self.plan,
            step: self.steps,
            at: Duration::from_millis(self.now),
            what,
            trace: self.trace.take().unwrap_or_default().into(),
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// The board's clock.
    pub(super) fn time(&self) -> Time {
        time_of(self.now)
    }

    /// The workers' clocks.
    pub(super) fn instant(&self) -> Instant {
        self.instant_of(self.now)
    }

    pub(super) fn instant_of(&self, millis: u64) -> Instant {
        self.base + Duration::from_millis(millis)
    }

    /// The first millisecond at which a worker's clock says so, or later.
    pub(super) fn millis_of(&self, instant: Instant) -> u64 {
        let nanos = instant.saturating_duration_since(self.base).as_nanos();
        u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

impl Plan {
    pub(super) fn is_without(&self, safeguard: Safeguard) -> bool {
        self.without == Some(safeguard)
    }
}

/// The board's clock at a moment.
pub(super) fn time_of(millis: u64) -> Time {
    Time(EPOCH + i64::try_from(millis).unwrap_or(i64::MAX - EPOCH))
}

/// The moment at which the board's clock says so.
pub(super) fn millis_of_time(time: Time) -> u64 {
    u64::try_from(time.0 - EPOCH).unwrap_or(0)
}

/// What tells events apart in a digest.
fn event_word(event: &Event) -> (u8, u64) {
    match event {
        Event::Said(conn, said) => (0, conn.0 ^ (said_word(said) << 32)),
        Event::Told(conn, told) => (1, conn.0 ^ (told_word(told) << 32)),
        Event::Synced(conn, _) => (2, conn.0),
        Event::Wake(boot) => (3, *boot),
        Event::Flushed(boot) => (4, *boot),
        Event::Boot => (5, 0),
        Event::Worker(worker, _) => (6, *worker as u64),
        Event::Attempt(_, _, fence, _) => (7, fence.task.0 << 8 | u64::from(fence.attempt.0)),
        Event::Client(client, _) => (8, *client as u64),
        Event::Fault => (9, 0),
        Event::Heal(worker) => (10, *worker as u64),
        Event::Hurry => (11, 0),
        Event::Look => (12, 0),
        Event::Echo(worker, _) => (13, *worker as u64),
    }
}

fn said_word(said: &Said) -> u64 {
    match said {
        Said::Hello { held, .. } => 100 + held.len() as u64,
        Said::Heartbeat(sequence) => 1_000 + sequence,
        Said::Started(..) => 1,
        Said::Ended(..) => 2,
        Said::Refused(..) => 3,
        Said::Draining => 4,
        Said::End => 5,
    }
}

fn told_word(told: &Told) -> u64 {
    match told {
        Told::Welcome { session, .. } => 100 + session,
        Told::HeartbeatAck(sequence) => 1_000 + sequence,
        Told::Assignment(_) => 1,
        Told::Stop(..) => 2,
        Told::ReportAck { accepted, .. } => 3 + u64::from(*accepted),
        Told::Goodbye(_) => 5,
        Told::End => 6,
    }
}
