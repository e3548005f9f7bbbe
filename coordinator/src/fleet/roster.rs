//! Who is in the fleet, and until when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use board::{
    Board,
    id::{AgentTypeName, InstanceId, WorkerName},
    limits,
    time::Time,
};

use super::{Heard, Hello, Leases, Order, Outbox, SessionId, offers::Offers};

/// The workers, as far as this process of the coordinator knows them.
#[derive(Debug)]
pub struct Fleet {
    pub(super) leases: Leases,
    pub(super) workers: BTreeMap<WorkerName, WorkerEntry>,
    /// Processes that hold attempts and are not among the workers: they have not dialled in since
    /// the coordinator started, or another process took their name.
    ghosts: BTreeMap<InstanceId, Ghost>,
    /// When each worker is to be looked at again. Looked at, not judged: it may have been heard
    /// since, and is put off then, so that a heartbeat costs nothing here.
    checks: BTreeSet<(Time, WorkerName)>,
    /// Processes that dialled in a moment ago, and until when their attempts' own clocks don't
    /// count.
    settling: BTreeSet<(Time, InstanceId)>,
    /// The connected processes' names.
    pub(super) instances: BTreeMap<InstanceId, WorkerName>,
    last_session: SessionId,
    pub(super) offers: Offers,
}

/// A worker that dialled in.
#[derive(Debug)]
pub struct WorkerEntry {
    /// What it said.
    pub hello: Hello,
    /// Its stream.
    pub session: SessionId,
    /// When that began.
    pub connected_at: Time,
    /// Its signs of life.
    pub heard: Heard,
    /// It takes no new work.
    pub is_draining: bool,
    /// Where its orders go; none since its stream broke.
    outbox: Option<Outbox>,
    /// The moment under which it stands in the fleet's checks.
    check_at: Time,
}

/// A process that is not connected and whose attempts are still its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ghost {
    /// Its worker's name.
    pub name: WorkerName,
    /// When its attempts are lost.
    pub until: Time,
}

/// How a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its stream is up, and it is heard of.
    Connected,
    /// Connected, and takes no new work.
    Draining,
    /// Its stream broke, or it is silent.
    Unreachable,
}

/// Why a Hello is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another process has the name, and is well.
    #[error("worker name {name:?} is taken by another process that is connected")]
    NameTaken {
        /// Which name.
        name: WorkerName,
    },
    /// There are as many workers as may be.
    #[error("no more than {} workers fit", limits::WORKERS_MAX)]
    Full,
}

impl WorkerEntry {
    /// How it stands at this moment.
    pub fn standing(&self, now: Time, leases: &Leases) -> Standing {
        let is_silent = !self.hello.manual && now.since(self.heard.last()) > leases.silence;
        if self.outbox.is_none() || is_silent {
            Standing::Unreachable
        } else if self.is_draining {
            Standing::Draining
        } else {
            Standing::Connected
        }
    }

    /// Until when its attempts are its own; none while an open stream is its heartbeat.
    pub fn lease_until(&self, leases: &Leases) -> Option<Time> {
        match (self.hello.manual, &self.outbox) {
            (true, Some(_)) => None,
            (true, None) => Some(self.heard.last() + leases.manual_lease),
            (false, _) => Some(self.heard.last() + leases.lease),
        }
    }

    /// Whether its stream is up, whatever is heard of it.
    pub(super) fn is_connected(&self) -> bool {
        self.outbox.is_some()
    }

    /// How many more attempts it may be given.
    pub fn free(&self, board: &Board) -> u32 {
        let held = u32::try_from(board.held_count(self.hello.instance)).unwrap_or(u32::MAX);
        self.hello.slots.saturating_sub(held)
    }
}

impl Fleet {
    /// The fleet at a start: everybody who holds something on the board is expected back for as
    /// long as the grace lasts.
    pub fn new(leases: Leases, board: &Board, now: Time) -> Self {
        let ghosts = board.holders().into_iter().map(|(instance, name)| {
            let until = now + leases.grace;
            (instance, Ghost { name, until })
        });
        Self {
            leases,
            workers: BTreeMap::new(),
            ghosts: ghosts.collect(),
            checks: BTreeSet::new(),
            settling: BTreeSet::new(),
            instances: BTreeMap::new(),
            last_session: SessionId(0),
            offers: Offers::default(),
        }
    }

    /// The spans by which workers are judged.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Whether a Hello can be taken.
    pub fn check_hello(&self, hello: &Hello, now: Time) -> Result<(), Refused> {
        match self.workers.get(&hello.name) {
            Some(present) if present.hello.instance != hello.instance => {
                if present.standing(now, &self.leases) == Standing::Unreachable {
                    Ok(())
                } else {
                    Err(Refused::NameTaken {
                        name: hello.name.clone(),
                    })
                }
            }
            None if self.workers.len() >= limits::WORKERS_MAX => Err(Refused::Full),
            _ => Ok(()),
        }
    }

    /// Takes a worker in. What its name's last stream held of the outbox is told goodbye; another
    /// process of that name becomes a ghost with the lease that it had.
    pub fn admit(&mut self, hello: Hello, outbox: Outbox, heard: Heard, now: Time) -> SessionId {
        let name = hello.name.clone();
        if let Some(before) = self.remove(&name) {
            if let Some(old) = &before.outbox {
                // A full outbox means that nobody reads there any more.
                let _ = old.try_send(Order::Goodbye {
                    reason: "SESSION_REPLACED",
                    retry_after: Duration::ZERO,
                });
            }
            if before.hello.instance != hello.instance {
                let until = before.lease_until(&self.leases).unwrap_or(now);
                let name = name.clone();
                self.ghosts
                    .insert(before.hello.instance, Ghost { name, until });
            }
        }
        self.ghosts.remove(&hello.instance);
        self.last_session = SessionId(self.last_session.0 + 1);
        let check_at = now + self.leases.lease;
        self.checks.insert((check_at, name.clone()));
        self.settling
            .insert((now + self.leases.settling, hello.instance));
        self.instances.insert(hello.instance, name.clone());
        let entry = WorkerEntry {
            hello,
            session: self.last_session,
            connected_at: now,
            heard,
            is_draining: false,
            outbox: Some(outbox),
            check_at,
        };
        self.offers.note(&name);
        self.workers.insert(name, entry);
        self.last_session
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
            let until = worker.lease_until(&self.leases).unwrap_or(now);
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

    /// Who lost its lease by this moment. They are forgotten here; what they hold on the board is
    /// the caller's to declare lost.
    pub fn expire(&mut self, now: Time) -> Vec<(InstanceId, &'static str)> {
        let mut expired = Vec::new();
        while let Some((at, name)) = self.checks.first().cloned() {
            if at > now {
                break;
            }
            let worker = &self.workers[&name];
            match worker.lease_until(&self.leases) {
                None => self.check_again(&name, now + self.leases.lease),
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
