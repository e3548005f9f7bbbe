//! The workers that take work, and their free slots.
//!
//! It is kept from round to round, and told of each worker that changes: a round starts where the
//! last one ended, and costs nothing for workers to whom nothing happened.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    id::{AgentTypeName, InstanceId, TeamUid, WorkerName},
    index::{Avoids, Want},
};

/// A worker that takes work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub worker: WorkerName,
    /// Its process.
    pub instance: InstanceId,
    /// How many slots it has.
    pub slots: u32,
    /// How many of them are free.
    pub free: u32,
    /// What it runs.
    pub types: BTreeSet<AgentTypeName>,
    /// For which teams; none for all.
    pub teams: Option<BTreeSet<TeamUid>>,
    /// What it says of itself.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

/// Where an offer stands among others: by its free slots, then by its worker's name.
type Standing = (Reverse<u32>, WorkerName);

/// By what a worker is looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Trait {
    Type(AgentTypeName),
    Label(Arc<str>, Arc<str>),
}

/// What the offers of a type come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Supply {
    /// Workers that offer it.
    pub workers: u32,
    /// Their slots.
    pub slots: u32,
    /// Those of them that are free.
    pub free: u32,
}

/// The workers that take work, the one with the most free slots first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots {
    offers: BTreeMap<WorkerName, Offer>,
    /// Whoever serves a team alone stands in that team's lines, and not in those of all.
    lines: BTreeMap<(Trait, Option<TeamUid>), BTreeSet<Standing>>,
    supplies: BTreeMap<AgentTypeName, Supply>,
}

impl Offer {
    /// Whether it is what is wanted, for a team's task.
    pub fn fits(&self, team: TeamUid, want: &Want) -> bool {
        let has = |(key, value)| self.labels.get(key) == Some(value);
        self.types.contains(&want.agent_type)
            && self.serves(team)
            && want.worker_labels.iter().all(has)
    }

    fn serves(&self, team: TeamUid) -> bool {
        let teams = self.teams.as_ref();
        teams.is_none_or(|teams| teams.contains(&team))
    }

    fn standing(&self) -> Standing {
        (Reverse(self.free), self.worker.clone())
    }

    /// The lines in which it stands.
    fn lines(&self) -> impl Iterator<Item = (Trait, Option<TeamUid>)> + '_ {
        let labels = self.labels.iter();
        let labels = labels.map(|(key, value)| Trait::Label(key.clone(), value.clone()));
        let traits = self.types.iter().cloned().map(Trait::Type).chain(labels);
        traits.flat_map(|one| {
            let teams: Vec<_> = match &self.teams {
                None => vec![None],
                Some(teams) => teams.iter().copied().map(Some).collect(),
            };
            teams.into_iter().map(move |team| (one.clone(), team))
        })
    }
}

impl Slots {
    /// Those of these offers.
    pub fn of(offers: impl IntoIterator<Item = Offer>) -> Self {
        let mut slots = Self::default();
        for offer in offers {
            slots.put(offer);
        }
        slots
    }

    /// Takes in a worker, or what has become of it.
    pub fn put(&mut self, offer: Offer) {
        self.remove(&offer.worker);
        for line in offer.lines() {
            let line = self.lines.entry(line).or_default();
            line.insert(offer.standing());
        }
        for agent_type in &offer.types {
            let supply = self.supplies.entry(agent_type.clone()).or_default();
            supply.workers += 1;
            supply.slots += offer.slots;
            supply.free += offer.free;
        }
        self.offers.insert(offer.worker.clone(), offer);
    }

    /// A worker takes no work any more.
    pub fn remove(&mut self, worker: &WorkerName) {
        let Some(offer) = self.offers.remove(worker) else {
            return;
        };
        for key in offer.lines() {
            if let Some(line) = self.lines.get_mut(&key) {
                line.remove(&offer.standing());
                if line.is_empty() {
                    self.lines.remove(&key);
                }
            }
        }
        for agent_type in &offer.types {
            if let Some(supply) = self.supplies.get_mut(agent_type) {
                supply.workers -= 1;
                supply.slots -= offer.slots;
                supply.free -= offer.free;
                if supply.workers == 0 {
                    self.supplies.remove(agent_type);
                }
            }
        }
    }

    /// A worker has so many free slots, and all else as before.
    pub fn set_free(&mut self, worker: &WorkerName, free: u32) {
        let Some(offer) = self.offers.get_mut(worker) else {
            return;
        };
        let before = offer.standing();
        let taken = std::mem::replace(&mut offer.free, free);
        if taken == free {
            return;
        }
        let (after, offer) = (offer.standing(), &*offer);
        for line in offer.lines() {
            if let Some(line) = self.lines.get_mut(&line) {
                line.remove(&before);
                line.insert(after.clone());
            }
        }
        for agent_type in &offer.types {
            if let Some(supply) = self.supplies.get_mut(agent_type) {
                supply.free = supply.free - taken + free;
            }
        }
    }

    pub(super) fn take(&mut self, worker: &WorkerName) {
        let free = self.offers.get(worker).map_or(0, |offer| offer.free);
        self.set_free(worker, free.saturating_sub(1));
    }

    /// A worker's offer.
    pub fn offer(&self, worker: &WorkerName) -> Option<&Offer> {
        self.offers.get(worker)
    }

    /// All offers, by their workers' names.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers.values()
    }

    /// What the offers of a type come to.
    pub fn supply(&self, agent_type: &AgentTypeName) -> Supply {
        self.supplies.get(agent_type).copied().unwrap_or_default()
    }

    /// The values that workers give a label, in their order.
    pub(super) fn values<'s>(&'s self, key: &'s Arc<str>) -> impl Iterator<Item = &'s Arc<str>> {
        let from = (Trait::Label(key.clone(), "".into()), None);
        let lines = self.lines.range(from..).map(|((one, _), _)| one);
        lines.map_while(move |one| match one {
            Trait::Label(other, value) if other == key => Some(value),
            _ => None,
        })
    }

    /// The worker to whom a task of a team goes. One that is avoided is none. `is_heard` says of a
    /// worker whether it is well at this moment.
    pub(super) fn best<'s>(
        &'s self,
        team: TeamUid,
        want: &Want,
        avoids: Option<&Avoids>,
        is_heard: &dyn Fn(&WorkerName) -> bool,
    ) -> Option<&'s Offer> {
        let fitting = self.fitting(team, want, avoids, is_heard);
        let free = fitting.map(|line| line.take_while(|offer| offer.free > 0).next());
        free.into_iter()
            .flatten()
            .min_by_key(|offer| offer.standing())
    }

    /// Whether there is anybody, busy or not, to whom such a task could go.
    pub(super) fn is_any_fitting(
        &self,
        team: TeamUid,
        want: &Want,
        avoids: Option<&Avoids>,
        is_heard: &dyn Fn(&WorkerName) -> bool,
    ) -> bool {
        let lines = self.fitting(team, want, avoids, is_heard);
        lines.into_iter().any(|mut line| line.next().is_some())
    }

    /// Who fits, of those that serve all teams and of those that serve this one by name, each in
    /// the order of their free slots. Where labels are wanted it is looked for among the fewest
    /// that have one of them.
    fn fitting<'a, 's: 'a>(
        &'s self,
        team: TeamUid,
        want: &'a Want,
        avoids: Option<&'a Avoids>,
        is_heard: &'a dyn Fn(&WorkerName) -> bool,
    ) -> [Box<dyn Iterator<Item = &'s Offer> + 'a>; 2] {
        [None, Some(team)].map(|serving| {
            let fits = move |offer: &&'s Offer| {
                let is_avoided = |avoids: &Avoids| avoids.has(&offer.worker, offer.instance);
                offer.fits(team, want) && !avoids.is_some_and(is_avoided) && is_heard(&offer.worker)
            };
            if let Some(only) = &want.worker {
                let only = self.offers.get(only).filter(|_| serving.is_none());
                return Box::new(only.into_iter().filter(fits))
                    as Box<dyn Iterator<Item = &'s Offer> + 'a>;
            }
            let labels = want.worker_labels.iter();
            let labels = labels.map(|(key, value)| Trait::Label(key.clone(), value.clone()));
            let traits = labels.chain([Trait::Type(want.agent_type.clone())]);
            let lines = traits.map(|one| self.lines.get(&(one, serving)));
            let least = lines.min_by_key(|line| line.map_or(0, BTreeSet::len));
            let offers = least.flatten().into_iter().flatten();
            let offers = offers.map(|(_, worker)| &self.offers[worker]);
            Box::new(offers.filter(fits))
        })
    }
}
