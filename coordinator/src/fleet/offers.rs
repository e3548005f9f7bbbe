//! What the fleet offers to placement, kept from round to round.
//!
//! Whatever happens to a worker only notes its name; before a round, those noted are looked at
//! again and no other. Silence is not noted, for it is nothing that happens: a worker is asked for
//! it when a task is about to go to it.

use std::collections::{BTreeMap, BTreeSet};

use board::{
    Board,
    id::{InstanceId, TaskKey, TeamName, TeamUid, WorkerName},
    placement::{self, Assignment, Moment, Offer, Slots, Why},
    time::Time,
};

use super::{Fleet, Standing, WorkerEntry};

/// What is on offer, and which workers are to be looked at again.
#[derive(Debug, Default)]
pub(super) struct Offers {
    slots: Slots,
    changed: BTreeSet<WorkerName>,
}

impl Offers {
    /// Something happened to a worker.
    pub(super) fn note(&mut self, worker: &WorkerName) {
        self.changed.insert(worker.clone());
    }
}

impl WorkerEntry {
    /// What it offers; none while it takes no work, whatever it is silent about.
    fn offer(&self, board: &Board) -> Option<Offer> {
        if !self.is_stream_up() || self.is_draining {
            return None;
        }
        let teams = self.hello.teams.as_ref().map(|teams| {
            let uid = |name: &TeamName| Some(board.team_named(name.as_str())?.uid);
            teams.iter().filter_map(uid).collect::<BTreeSet<TeamUid>>()
        });
        Some(Offer {
            worker: self.hello.name.clone(),
            instance: self.hello.instance,
            slots: self.hello.slots,
            free: self.free(board),
            types: self.hello.types.iter().map(|t| t.name.clone()).collect(),
            teams,
            labels: self.hello.labels.clone(),
        })
    }
}

/// Whether a worker is well at this moment.
fn is_heard(
    workers: &BTreeMap<WorkerName, WorkerEntry>,
    now: Time,
) -> impl Fn(&WorkerName) -> bool {
    move |name| {
        let worker = workers.get(name);
        worker.is_some_and(|worker| worker.standing(now) == Standing::Connected)
    }
}

impl Fleet {
    /// A process holds more or less than before.
    pub fn note_held(&mut self, instance: InstanceId) {
        if let Some(name) = self.instances.get(&instance) {
            self.offers.note(name);
            if let Some(worker) = self.workers.get_mut(name) {
                worker.has_held = true;
            }
        }
    }

    /// So many attempts of each process hold no slot, because they lend it.
    pub fn note_lent(&mut self, lent: BTreeMap<InstanceId, u32>) {
        let before = std::mem::replace(&mut self.lent, lent);
        let concerned: BTreeSet<&InstanceId> = before.keys().chain(self.lent.keys()).collect();
        for instance in concerned {
            let now = self.lent.get(instance).copied().unwrap_or(0);
            let name = self.instances.get(instance);
            let worker = name.and_then(|name| self.workers.get_mut(name));
            if let Some(worker) = worker.filter(|worker| worker.lent != now) {
                worker.lent = now;
                self.offers.note(&worker.hello.name);
            }
        }
    }

    /// What a process would take now, had it a free slot; none while it takes no work.
    pub fn offer_of(&self, instance: InstanceId, board: &Board, now: Time) -> Option<Offer> {
        let worker = self.of_instance(instance)?;
        let is_well = worker.standing(now) == Standing::Connected;
        worker.offer(board).filter(|_| is_well)
    }

    /// A team was made, and may have the name of one that workers serve.
    pub fn note_team(&mut self, team: &TeamName) {
        let serves = |worker: &&WorkerEntry| {
            let teams = worker.hello.teams.as_ref();
            teams.is_some_and(|teams| teams.contains(team))
        };
        for worker in self.workers.values().filter(serves) {
            self.offers.note(&worker.hello.name);
        }
    }

    /// Looks again at the workers to whom something happened.
    pub fn refresh_offers(&mut self, board: &Board) {
        for name in std::mem::take(&mut self.offers.changed) {
            let worker = self.workers.get(&name);
            match worker.and_then(|worker| worker.offer(board)) {
                Some(offer) => self.offers.slots.put(offer),
                None => self.offers.slots.remove(&name),
            }
        }
    }

    /// Gives up to `most` waiting tasks to free slots.
    pub fn place(&mut self, board: &Board, now: Time, most: usize) -> Vec<Assignment> {
        self.refresh_offers(board);
        let moment = Moment {
            now,
            is_heard: &is_heard(&self.workers, now),
        };
        placement::place(board, &mut self.offers.slots, moment, most)
    }

    /// Every reason why a task that waits for a worker has none, the strongest first, as of the
    /// last [refresh](Fleet::refresh_offers).
    pub fn why(&self, board: &Board, key: TaskKey, now: Time) -> Vec<Why> {
        let moment = Moment {
            now,
            is_heard: &is_heard(&self.workers, now),
        };
        placement::why(board, &self.offers.slots, moment, key)
    }

    /// Compares what is kept of offers with what they are, and mends what differs: the workers
    /// that were not told of right. Nobody is, unless something happened that was not noted.
    pub fn mend_offers(&mut self, board: &Board) -> Vec<WorkerName> {
        self.refresh_offers(board);
        let kept = &self.offers.slots;
        let is_wrong = |worker: &&WorkerEntry| {
            let is_offered = worker.is_stream_up() && !worker.is_draining;
            let offer = kept.offer(&worker.hello.name);
            let told = offer.map(|offer| (offer.instance, offer.free));
            told != is_offered.then(|| (worker.hello.instance, worker.free(board)))
        };
        let wrong = self.workers.values().filter(is_wrong);
        let wrong = wrong.map(|worker| worker.hello.name.clone());
        let names = kept.offers().map(|offer| &offer.worker);
        let gone = names.filter(|name| !self.workers.contains_key(*name));
        let wrong: Vec<WorkerName> = wrong.chain(gone.cloned()).collect();
        self.offers.changed.extend(wrong.iter().cloned());
        self.refresh_offers(board);
        wrong
    }
}

/// What tests look at, and spoil.
#[cfg(test)]
impl Fleet {
    pub(crate) fn slots(&self) -> &Slots {
        &self.offers.slots
    }

    pub(crate) fn offers_anew(&self, board: &Board) -> Slots {
        Slots::of(
            self.workers
                .values()
                .filter_map(|worker| worker.offer(board)),
        )
    }

    pub(crate) fn spoil_offers(&mut self, board: &Board, worker: &WorkerName, free: u32) {
        self.refresh_offers(board);
        self.offers.slots.set_free(worker, free);
    }
}
