//! Who is in the fleet, and until when.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use board::{
    Board,
    id::{AgentTypeName, InstanceId, WorkerName},
    limits,
    time::Time,
};

use super::{
    Drain, Heard, Hello, HelloRefused as Refused, Leases, Order, Outbox, PROTOCOL, PROTOCOL_MIN,
    SessionId, Standing, WorkerEntry, drain::Drains, offers::Offers,
};

/// The workers, as far as this process of the coordinator knows them.
#[derive(Debug)]
pub struct Fleet {
    pub(super) leases: Leases,
    pub(super) workers: BTreeMap<WorkerName, WorkerEntry>,
    /// Processes that hold attempts and are not among the workers: they have not dialled in since
    /// the coordinator started, or another process took their name.
    ghosts: BTreeMap<InstanceId, Ghost>,
    /// Processes that held attempts as the coordinator started and have not dialled in since.
    held_at_start: BTreeSet<InstanceId>,
    /// When the others of them did.
    came_back: BTreeMap<InstanceId, Time>,
    /// When each worker is to be looked at again. Looked at, not judged: it may have been heard
    /// since, and is put off then, so that a heartbeat costs nothing here.
    checks: BTreeSet<(Time, WorkerName)>,
    /// Processes that dialled in a moment ago, and until when their attempts' own clocks don't
    /// count.
    settling: BTreeSet<(Time, InstanceId)>,
    /// The connected processes' names.
    pub(super) instances: BTreeMap<InstanceId, WorkerName>,
    drains: Drains,
    last_session: SessionId,
    pub(super) offers: Offers,
    /// How many attempts of each process hold no slot, because they lend it.
    pub(super) lent: BTreeMap<InstanceId, u32>,
}

/// A process that is not connected and whose attempts are still its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ghost {
    /// Its worker's name.
    pub name: WorkerName,
    /// When its attempts are lost.
    pub until: Time,
}

impl Fleet {
    /// The fleet at a start: everybody who holds something on the board is expected back for as
    /// long as the grace lasts.
    pub fn new(leases: Leases, board: &Board, now: Time) -> Self {
        let holders = board.holders();
        let held_at_start = holders.keys().copied().collect();
        let ghosts = holders.into_iter().map(|(instance, name)| {
            let until = now + leases.grace;
            (instance, Ghost { name, until })
        });
        Self {
            leases,
            workers: BTreeMap::new(),
            ghosts: ghosts.collect(),
            held_at_start,
            came_back: BTreeMap::new(),
            checks: BTreeSet::new(),
            settling: BTreeSet::new(),
            instances: BTreeMap::new(),
            drains: Drains::default(),
            last_session: SessionId(0),
            offers: Offers::default(),
            lent: BTreeMap::new(),
        }
    }

    /// Whether a Hello can be taken.
    pub fn check_hello(&self, hello: &Hello, now: Time) -> Result<(), Refused> {
        if hello.protocol < PROTOCOL_MIN || hello.protocol_min > PROTOCOL {
            return Err(Refused::Version {
                newest: hello.protocol,
                oldest: hello.protocol_min,
            });
        }
        match self.workers.get(&hello.name) {
            Some(present) if present.hello.instance != hello.instance => {
                if present.standing(now) == Standing::Unreachable {
                    Ok(())
                } else {
                    Err(Refused::NameTaken {
                        name: hello.name.clone(),
                    })
                }
            }
            // What it says it holds is out of date: by it, attempts that were given out since would
            // be taken from a worker that runs them.
            Some(present) if hello.dials > 0 && hello.dials < present.hello.dials => {
                Err(Refused::Overtaken {
                    name: hello.name.clone(),
                })
            }
            None if self.workers.len() >= limits::WORKERS_MAX => Err(Refused::Full),
            _ => Ok(()),
        }
    }

    /// Takes a worker in. What its name's last stream held of the outbox is told goodbye; another
    /// process of that name becomes a ghost with the lease that it had. A process that was told to
    /// drain is told again.
    pub fn admit(&mut self, hello: Hello, outbox: Outbox, heard: Heard, now: Time) -> SessionId {
        let name = hello.name.clone();
        let mut has_held = false;
        if let Some(before) = self.remove(&name) {
            has_held = before.has_held;
            if let Some(old) = &before.outbox {
                // A full outbox means that nobody reads there any more.
                let _ = old.try_send(Order::Goodbye {
                    reason: "SESSION_REPLACED",
                    retry_after: Duration::ZERO,
                });
            }
            if before.hello.instance != hello.instance {
                let until = before.lease_until().unwrap_or(now);
                let name = name.clone();
                self.ghosts
                    .insert(before.hello.instance, Ghost { name, until });
            }
        }
        self.ghosts.remove(&hello.instance);
        if self.held_at_start.remove(&hello.instance) {
            self.came_back.insert(hello.instance, now);
        }
        self.last_session = SessionId(self.last_session.0 + 1);
        // Those who are expected back count: after a restart they all dial in.
        let spans = self
            .leases
            .stretched(self.workers.len() + self.ghosts.len() + 1);
        let check_at = now + spans.lease;
        self.checks.insert((check_at, name.clone()));
        self.settling
            .insert((now + self.leases.settling, hello.instance));
        self.instances.insert(hello.instance, name.clone());
        let drain = self.drains.of(hello.instance);
        if let Some(drain) = drain {
            // The stream's writer sends its Welcome before any order.
            let _ = outbox.try_send(drain.order());
        }
        let entry = WorkerEntry {
            session: self.last_session,
            connected_at: now,
            heard,
            spans,
            is_draining: drain.is_some(),
            has_held,
            lent: self.lent.get(&hello.instance).copied().unwrap_or(0),
            hello,
            outbox: Some(outbox),
            check_at,
        };
        self.offers.note(&name);
        self.workers.insert(name, entry);
        self.last_session
    }

    /// Makes room for a worker where there are as many as may be: one is dropped that is gone and
    /// holds nothing, else the one that has been there longest without ever having held an attempt.
    /// So nobody is kept out by workers that are names and nothing else. Answers whether there is
    /// room now.
    pub fn make_room(&mut self, board: &Board, now: Time) -> bool {
        let holds_nothing = |worker: &&WorkerEntry| board.held_count(worker.hello.instance) == 0;
        let gone = |worker: &&WorkerEntry| !worker.is_stream_up();
        let never_held = |worker: &&WorkerEntry| !worker.has_held;
        let free = || self.workers.values().filter(holds_nothing);
        let first_gone = free().filter(gone).min_by_key(|worker| worker.session);
        let oldest = || {
            free()
                .filter(never_held)
                .min_by_key(|worker| worker.session)
        };
        let Some(dropped) = first_gone.or_else(oldest) else {
            return false;
        };
        let (name, instance) = (dropped.hello.name.clone(), dropped.hello.instance);
        tracing::warn!(worker = %name, "there are as many workers as may be: dropping one that never had work");
        self.cut_off(instance, now);
        true
    }

    fn remove(&mut self, name: &WorkerName) -> Option<WorkerEntry> {
        let worker = self.workers.remove(name)?;
        self.offers.note(name);
        self.checks.remove(&(worker.check_at, name.clone()));
        self.instances.remove(&worker.hello.instance);
        Some(worker)
    }

    /// Has a worker looked at again at this moment, and no other.
    fn check_again(&mut self, name: &WorkerName, at: Time) {
        if let Some(worker) = self.workers.get_mut(name) {
            self.checks.remove(&(worker.check_at, name.clone()));
            self.checks.insert((at, name.clone()));
            worker.check_at = at;
        }
    }

    /// The connected worker whose process this is.
    pub fn of_instance(&self, instance: InstanceId) -> Option<&WorkerEntry> {
        self.workers.get(self.instances.get(&instance)?)
    }

    /// The worker of a stream, if that stream is its present one.
    pub fn of_session(&self, name: &WorkerName, session: SessionId) -> Option<&WorkerEntry> {
        self.workers
            .get(name)
            .filter(|worker| worker.session == session)
    }

    /// A worker by name.
    pub fn worker(&self, name: &WorkerName) -> Option<&WorkerEntry> {
        self.workers.get(name)
    }

    /// A process that is not connected and whose attempts are still its own.
    pub fn ghost(&self, instance: InstanceId) -> Option<&Ghost> {
        self.ghosts.get(&instance)
    }

    /// The names of all who are there or expected back.
    pub fn known(&self) -> BTreeSet<WorkerName> {
        let ghosts = self.ghosts.values().map(|ghost| &ghost.name);
        self.workers.keys().chain(ghosts).cloned().collect()
    }

    /// All workers, by name.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerEntry> {
        self.workers.values()
    }

    /// A worker takes no new work from now on.
    pub fn drain(&mut self, name: &WorkerName, session: SessionId) {
        if let Some(worker) = self.workers.get_mut(name)
            && worker.session == session
        {
            worker.is_draining = true;
            self.offers.note(name);
        }
    }

    /// A worker's process is told to take no new work and to leave: at once, and again on each
    /// stream that it opens. Answers whether there is such a worker.
    pub fn order_drain(
        &mut self,
        name: &WorkerName,
        reason: &Arc<str>,
        timeout: Option<Duration>,
        now: Time,
    ) -> bool {
        let Some(worker) = self.workers.get_mut(name) else {
            return false;
        };
        worker.is_draining = true;
        self.offers.note(name);
        let instance = worker.hello.instance;
        let drain = self.drains.note(instance, reason, timeout, now);
        if let Some(order) = drain.map(Drain::order) {
            self.send(instance, order, now);
        }
        true
    }

    /// What a process was told about draining.
    pub fn drain_of(&self, instance: InstanceId) -> Option<&Drain> {
        self.drains.of(instance)
    }

    /// A stream ended. The worker's lease goes on.
    pub fn close(&mut self, name: &WorkerName, session: SessionId, now: Time) {
        if let Some(worker) = self.workers.get_mut(name)
            && worker.session == session
        {
            worker.outbox = None;
            self.offers.note(name);
            if worker.hello.manual {
                worker.heard.note(now);
            }
            let until = worker.lease_until().unwrap_or(now);
            self.check_again(name, until);
        }
    }

    /// Sends an order. A worker that doesn't take its orders is treated as one whose stream broke.
    pub fn send(&mut self, instance: InstanceId, order: Order, now: Time) {
        let Some(worker) = self.of_instance(instance) else {
            return;
        };
        let sent = match &worker.outbox {
            Some(outbox) => outbox.try_send(order).is_ok(),
            None => true,
        };
        if !sent {
            let (name, session) = (worker.hello.name.clone(), worker.session);
            tracing::warn!(worker = %name, "worker does not take its orders: cutting its stream");
            self.close(&name, session, now);
        }
    }

    /// Cuts a worker's process off: whatever it holds is lost.
    pub fn cut_off(&mut self, instance: InstanceId, now: Time) {
        let goodbye = Order::Goodbye {
            reason: "EVICTED",
            retry_after: Duration::from_secs(1),
        };
        self.send(instance, goodbye, now);
        match self.instances.get(&instance).cloned() {
            Some(name) => {
                self.remove(&name);
                self.ghosts.insert(instance, Ghost { name, until: now });
            }
            None => {
                if let Some(ghost) = self.ghosts.get_mut(&instance) {
                    ghost.until = now;
                }
            }
        }
    }

    /// Expects a process back no more.
    pub fn forget(&mut self, instance: InstanceId) {
        self.ghosts.remove(&instance);
    }

    /// The processes whose attempts' own clocks don't count at this moment: they have not been
    /// heard since a start or a reconnect, and may well have reports to repeat.
    pub fn spared(&self, now: Time) -> BTreeSet<InstanceId> {
        let settling = self.settling.iter().filter(|(until, _)| *until > now);
        let settling = settling.map(|(_, instance)| *instance);
        self.ghosts.keys().copied().chain(settling).collect()
    }

    /// When the processes that held attempts as the coordinator started were first heard again.
    pub fn came_back(&self) -> &BTreeMap<InstanceId, Time> {
        &self.came_back
    }

    /// Who lost its lease by this moment. They are forgotten here; what they hold on the board is
    /// the caller's to declare lost.
    pub fn expire(&mut self, now: Time) -> Vec<(InstanceId, &'static str)> {
        let mut expired = Vec::new();
        while let Some((at, name)) = self.checks.first().cloned() {
            if at > now {
                break;
            }
            let worker = &self.workers[&name];
            match worker.lease_until() {
                None => {
                    let again = now + worker.spans.lease;
                    self.check_again(&name, again);
                }
                Some(until) if until > now => self.check_again(&name, until),
                Some(_) => {
                    let instance = worker.hello.instance;
                    tracing::warn!(worker = %name, "lease of worker is over");
                    self.cut_off(instance, now);
                }
            }
        }
        while self
            .settling
            .first()
            .is_some_and(|(until, _)| *until <= now)
        {
            self.settling.pop_first();
        }
        self.ghosts.retain(|instance, ghost| {
            if ghost.until > now {
                return true;
            }
            expired.push((*instance, "the lease of its worker is over"));
            false
        });
        expired
    }

    /// The next moment at which [`Fleet::expire`] may have something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        let check = self.checks.first().map(|(at, _)| *at);
        let ghost = self.ghosts.values().map(|ghost| ghost.until).min();
        let settled = self.settling.first().map(|(until, _)| *until);
        [check, ghost, settled].into_iter().flatten().min()
    }

    /// The coordinator itself was away for so long (a pause, a slow disk): everybody's lease is
    /// longer by that.
    pub fn forgive(&mut self, gap: Duration) {
        for worker in self.workers.values() {
            worker.heard.note(worker.heard.last() + gap);
        }
        for ghost in self.ghosts.values_mut() {
            ghost.until = ghost.until + gap;
        }
    }

    /// The connected workers that offer a type.
    pub fn offering(&self, agent_type: &AgentTypeName) -> impl Iterator<Item = &WorkerEntry> {
        self.workers
            .values()
            .filter(move |worker| worker.hello.types.iter().any(|t| t.name == *agent_type))
    }

    /// Says goodbye to everybody: the coordinator stops.
    pub fn farewell(&mut self, retry_after: Duration) {
        for worker in self.workers.values_mut() {
            if let Some(outbox) = worker.outbox.take() {
                // Who doesn't read it will find the stream closed.
                let _ = outbox.try_send(Order::Goodbye {
                    reason: "SHUTTING_DOWN",
                    retry_after,
                });
            }
        }
    }
}
