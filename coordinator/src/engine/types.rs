//! Which agent types are offered now, are expected, or were seen last when (D2).

use std::{collections::BTreeMap, time::Duration};

use board::{
    command::FleetCommand,
    id::AgentTypeName,
    record::OfferedType,
    refusal::{KnownType, Offering, Refusal},
    time::Time,
};

use super::Engine;
use crate::fleet::{Standing, WorkerEntry};

/// How often it is written down which types are offered still: a worker says what it offers when it
/// dials in, and may stay for months.
const LOOK_INTERVAL: Duration = Duration::from_secs(3_600);

impl Engine {
    /// Notes which types are offered still, and forgets those that nobody has offered for long.
    pub(super) fn see_to_types(&mut self, now: Time) {
        if self.types_at > now {
            return;
        }
        self.types_at = now + LOOK_INTERVAL;
        let mut offered: BTreeMap<AgentTypeName, OfferedType> = BTreeMap::new();
        for worker in self.fleet.workers().filter(|worker| is_there(worker, now)) {
            for its in &worker.hello.types {
                // Of what workers define in different ways, the last one that dialled in is kept.
                let known = self.board.offered_type(&its.name).cloned();
                let seen = known.map(|known| OfferedType {
                    last_seen: Some(now),
                    ..known
                });
                let seen = seen.unwrap_or_else(|| its.record(now));
                offered.insert(seen.name.clone(), seen);
            }
        }
        for command in [
            FleetCommand::OfferTypes(offered.into_values().collect()),
            FleetCommand::ForgetTypes(self.expected_types.clone()),
        ] {
            if let Err(refusal) = self.decide_fleet(&command, now) {
                tracing::warn!(%refusal, "agent types are not all noted");
            }
        }
    }

    /// When that is to be done next, if there is anything to forget.
    pub(super) fn next_look_at_types(&self) -> Option<Time> {
        let mut known = self.board.offered();
        let may_go = known.any(|known| !self.expected_types.contains(&known.name));
        may_go.then_some(self.types_at)
    }

    /// How a known type can be had.
    pub(super) fn offering(&self, offered: &OfferedType, now: Time) -> Offering {
        let mut workers = self.fleet.offering(&offered.name);
        match offered.last_seen {
            _ if workers.any(|worker| is_there(worker, now)) => Offering::Now,
            _ if self.expected_types.contains(&offered.name) => Offering::Expected,
            Some(at) => Offering::Seen(at),
            None => Offering::Expected,
        }
    }

    /// Adds to the refusal of an unknown type what the board can't know: which types connected
    /// workers offer, and which are expected.
    pub(super) fn with_offerings(&self, mut refusal: Refusal, now: Time) -> Refusal {
        if let Refusal::AgentTypeUnknown { known, .. } = &mut refusal {
            let offered = |name| self.board.offered_type(name);
            for KnownType { name, offering } in known {
                if let Some(offered) = offered(name) {
                    *offering = self.offering(offered, now);
                }
            }
        }
        refusal
    }
}

/// Whether a worker is connected, and what it offers with it.
pub(super) fn is_there(worker: &WorkerEntry, now: Time) -> bool {
    worker.standing(now) != Standing::Unreachable
}
