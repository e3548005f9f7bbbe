//! The coordinator: the real engine, and what its driver does around it.
//!
//! A group is taken, and is through when its commit is: until then nobody hears of it, and a crash
//! leaves nothing of it but what the disk says.

use std::{collections::VecDeque, time::Duration};

use board::{
    id::{AgentTypeName, Epoch},
    limits::RunningLimits,
};
use ganger_coordinator::{
    engine::{Engine, Input, Setup},
    fleet::Leases,
    hub::Hub,
    store::Store as _,
};

use super::{
    client::Asked,
    coordinator_streams::Streams,
    disk::{Disk, Fate},
    world::{Event, World, millis_of_time, time_of},
};

/// The agent type that all workers offer.
pub(super) const AGENT_TYPE: &str = "general";

/// Inputs of one group, as the driver takes them.
const GROUP_LEN_MAX: usize = 128;
/// A pause beyond which the driver makes leases longer, milliseconds.
const PAUSE_FORGIVEN: u64 = 500;
/// The driver's longest sleep, milliseconds.
const SLEEP_MAX: u64 = 1_000;
/// The same here: waking for nothing is no step worth taking.
const IDLE_MAX: u64 = 30_000;
/// Groups one after another that have nothing to do. More means that something due is never done.
const IDLE_GROUPS_MAX: u32 = 200;
/// All invariants are checked each so many commits.
const CHECK_EVERY: u64 = 128;

/// A group whose commit is not through.
#[derive(Debug, Clone, Copy)]
struct Group {
    taken_at: u64,
}

/// See the head of this file.
pub(super) struct Coordinator {
    /// Which process it is.
    pub(super) boot: u64,
    /// None while it is down.
    pub(super) engine: Option<Engine>,
    pub(super) disk: Disk,
    pub(super) paused_until: Option<u64>,
    pub(super) paused_at: u64,
    /// The next commit takes so long.
    pub(super) slow_flush: Option<u64>,
    pub(super) streams: Streams,
    pub(super) asked: Vec<Asked>,
    fleet_lane: VecDeque<Input>,
    client_lane: VecDeque<Input>,
    group: Option<Group>,
    wake_at: Option<u64>,
    has_more: bool,
    idle_groups: u32,
    flushes: u64,
}

impl Coordinator {
    pub(super) fn new(is_flushed: bool) -> Self {
        Self {
            boot: 0,
            engine: None,
            disk: Disk::new(is_flushed),
            paused_until: None,
            paused_at: 0,
            slow_flush: None,
            streams: Streams::default(),
            asked: Vec::new(),
            fleet_lane: VecDeque::new(),
            client_lane: VecDeque::new(),
            group: None,
            wake_at: None,
            has_more: false,
            idle_groups: 0,
            flushes: 0,
        }
    }

    /// When the driver wakes.
    pub(super) fn wake_at(&self) -> Option<u64> {
        self.wake_at
    }

    pub(super) fn is_up(&self) -> bool {
        self.engine.is_some()
    }
}

impl World {
    pub(super) fn boot(&mut self) {
        if self.coordinator.is_up() {
            return;
        }
        let boot = self.coordinator.boot + 1;
        self.ran.boots = boot;
        let setup = Setup {
            store: Box::new(self.coordinator.disk.clone()),
            hub: Hub::default(),
            new_epoch: Epoch(u128::from(self.plan.seed) + 1),
            leases: Leases::default(),
            expected_types: vec![AgentTypeName::parse(AGENT_TYPE).expect("a name")],
            tombstones_kept: Duration::from_secs(7 * 24 * 3_600),
            tasks_kept: self.plan.tasks_kept(),
            limits: RunningLimits::default(),
        };
        let now = self.time();
        let started = Engine::start(setup, |floor| now.max(floor));
        let engine = match started {
            Ok(engine) => engine,
            Err(error) => return self.broke(format!("the coordinator does not start: {error}")),
        };
        let disk = self.coordinator.disk.clone();
        self.coordinator = Coordinator {
            boot,
            engine: Some(engine),
            disk,
            ..Coordinator::new(true)
        };
        self.judge_batches();
        self.check_board();
        self.check_memory();
        self.wake_coordinator(self.now);
    }

    /// The process is gone, and what it had not on the disk.
    pub(super) fn crash(&mut self) {
        if self.coordinator.engine.take().is_none() {
            return;
        }
        self.coordinator.disk.pull_plug();
        // What became durable in a commit that nobody heard of still happened.
        self.judge_batches();
        let boot = self.coordinator.boot;
        let disk = self.coordinator.disk.clone();
        self.coordinator = Coordinator {
            boot,
            disk,
            ..Coordinator::new(true)
        };
        self.streams_broke(boot);
        let down = match self.chance.below(12) {
            0 if !self.is_calm => self.chance.between(50_000, 150_000),
            _ => self.chance.between(100, 8_000),
        };
        self.after(down, Event::Boot);
    }

    pub(super) fn put_fleet(&mut self, input: Input) {
        if self.coordinator.is_up() {
            self.coordinator.fleet_lane.push_back(input);
            self.wake_coordinator(self.now);
        }
    }

    pub(super) fn put_client(&mut self, input: Input) {
        if self.coordinator.is_up() {
            self.coordinator.client_lane.push_back(input);
            self.wake_coordinator(self.now);
        }
    }

    fn wake_coordinator(&mut self, at: u64) {
        let coordinator = &mut self.coordinator;
        if coordinator.group.is_none() && coordinator.wake_at.is_none_or(|wake_at| at < wake_at) {
            coordinator.wake_at = Some(at);
            let boot = coordinator.boot;
            self.schedule(at, Event::Wake(boot));
        }
    }

    /// A turn of the driver's loop, up to its commit.
    pub(super) fn drive(&mut self, boot: u64) {
        let (now, time) = (self.now, self.time());
        let coordinator = &mut self.coordinator;
        let Some(engine) = coordinator
            .engine
            .as_mut()
            .filter(|_| coordinator.boot == boot)
        else {
            return;
        };
        let Some(wake_at) = coordinator.wake_at.take() else {
            return;
        };
        if coordinator.paused_until.take().is_some() {
            // The real driver never sleeps for longer than that.
            let late = now.saturating_sub(wake_at.min(coordinator.paused_at + SLEEP_MAX));
            if late > PAUSE_FORGIVEN {
                engine.forgive(Duration::from_millis(late));
            }
        }
        let fleet = coordinator.fleet_lane.len().min(GROUP_LEN_MAX);
        let clients = coordinator.client_lane.len().min(GROUP_LEN_MAX - fleet);
        let is_idle = fleet + clients == 0 && !coordinator.has_more;
        coordinator.idle_groups = if is_idle {
            coordinator.idle_groups + 1
        } else {
            0
        };
        if coordinator.idle_groups > IDLE_GROUPS_MAX {
            let due = engine.next_deadline(time);
            return self.broke(format!("the driver spins: {due:?} is due and never done"));
        }
        for input in coordinator.fleet_lane.drain(..fleet) {
            engine.take(input, time);
        }
        for input in coordinator.client_lane.drain(..clients) {
            engine.take(input, time);
        }
        engine.elapse(time);
        coordinator.has_more = engine.place(time);
        coordinator.group = Some(Group { taken_at: now });
        let flush = match coordinator.slow_flush.take() {
            Some(slow) => slow,
            None => self.chance.between(0, 4),
        };
        self.after(flush, Event::Flushed(boot));
        self.pass_orders_on();
    }

    /// The commit of a group, and what it lets out.
    pub(super) fn flushed(&mut self, boot: u64) {
        let now = self.now;
        let coordinator = &mut self.coordinator;
        let Some(engine) = coordinator
            .engine
            .as_mut()
            .filter(|_| coordinator.boot == boot)
        else {
            return;
        };
        let Some(group) = coordinator.group.take() else {
            return;
        };
        if engine.commit(time_of(group.taken_at)).is_err() {
            self.note(|| "the plug is pulled".to_owned());
            return self.crash();
        }
        coordinator.flushes += 1;
        let busy = now - group.taken_at;
        if busy > PAUSE_FORGIVEN {
            coordinator.paused_until = None;
            engine.forgive(Duration::from_millis(busy));
        }
        let is_check_due = coordinator.flushes.is_multiple_of(CHECK_EVERY);
        self.judge_batches();
        self.check_credit();
        self.answer_streams();
        self.pass_orders_on();
        self.answer_clients();
        if is_check_due {
            self.check_board();
        }
        self.plan_wake();
    }

    /// When the driver wakes if nothing comes before.
    fn plan_wake(&mut self) {
        let (now, time) = (self.now, self.time());
        let coordinator = &self.coordinator;
        let Some(engine) = &coordinator.engine else {
            return;
        };
        let has_input = !coordinator.fleet_lane.is_empty() || !coordinator.client_lane.is_empty();
        let at = if has_input || coordinator.has_more {
            now
        } else {
            let due = engine.next_deadline(time).map(millis_of_time);
            due.unwrap_or(u64::MAX).clamp(now + 1, now + IDLE_MAX)
        };
        self.wake_coordinator(at);
    }

    /// What became durable is right.
    fn judge_batches(&mut self) {
        for batch in self.coordinator.disk.take_fresh() {
            match self.history.take(&batch) {
                Ok(ended) => {
                    for ended in ended {
                        self.check_ended(&ended);
                    }
                }
                Err(what) => return self.broke(what),
            }
        }
    }

    /// No worker has more than its slots.
    fn check_credit(&mut self) {
        let over = self
            .workers
            .iter()
            .find(|worker| self.history.held(worker.instance()) as u64 > worker.slots);
        if let Some(worker) = over {
            let held = self.history.held(worker.instance());
            let what = format!(
                "{} has {held} attempts and {} slots",
                worker.name, worker.slots
            );
            self.broke(what);
        }
    }

    /// The board keeps its invariants, and is what the disk says.
    pub(super) fn check_board(&mut self) {
        let Some(engine) = &self.coordinator.engine else {
            return;
        };
        let checked = board::invariants::check(engine.board()).map_err(|broken| broken.to_string());
        let live = self.history.tasks.keys().find(|key| {
            let view = engine.board().view(**key);
            let stored = self.coordinator.disk.task(key.0, key.1);
            let stored = stored.expect("nothing breaks this store");
            view.is_some_and(|view| stored.as_ref() != Some(&*view.task))
        });
        let differs = live.map(|key| format!("#{} is not as it is on the disk", key.1));
        self.hold(checked);
        if let Some(what) = differs {
            self.broke(what);
        }
    }

    /// Has the plug pulled at the next commit, or at once.
    pub(super) fn pull_plug(&mut self) {
        match self.chance.below(3) {
            0 => self.crash(),
            1 => self.coordinator.disk.decide(Some(Fate::LostBefore)),
            _ => self.coordinator.disk.decide(Some(Fate::LostAfter)),
        }
    }

    /// The coordinator stops as it is asked to, and is started again.
    pub(super) fn stop_coordinator(&mut self) {
        let is_at_rest = self.coordinator.group.is_none() && !self.coordinator.has_more;
        let Some(engine) = self.coordinator.engine.as_mut().filter(|_| is_at_rest) else {
            return;
        };
        engine.farewell(Duration::from_millis(500));
        self.pass_orders_on();
        self.crash();
    }

    /// The coordinator stands still.
    pub(super) fn pause_coordinator(&mut self, span: u64) {
        if self.coordinator.is_up() && self.coordinator.paused_until.is_none() {
            self.coordinator.paused_at = self.now;
            self.coordinator.paused_until = Some(self.now + span);
            // It finds out when its sleep is over.
            let boot = self.coordinator.boot;
            if self.coordinator.group.is_none() {
                let at = self.now + span;
                self.coordinator.wake_at = Some(self.coordinator.wake_at.unwrap_or(at).min(at));
                self.schedule(at, Event::Wake(boot));
            }
        }
    }
}
