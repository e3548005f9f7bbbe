//! Drains: which processes were told to take no new work and to leave.
//!
//! Kept by process, beside the workers: a stream that broke takes none of it away, and another
//! process under the same name has nothing to do with it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use board::{id::InstanceId, limits, time::Time};

use super::Order;

/// What a process was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Why.
    pub reason: Arc<str>,
    /// How long what runs may take; none for the worker's own drain time.
    pub timeout: Option<Duration>,
    /// When it was told first.
    pub since: Time,
}

impl Drain {
    pub(super) fn order(&self) -> Order {
        Order::Drain {
            reason: self.reason.clone(),
            timeout: self.timeout,
        }
    }
}

/// All drains. Bounded: who was told longest ago is forgotten first, and has left since.
#[derive(Debug, Default)]
pub(super) struct Drains(BTreeMap<InstanceId, Drain>);

impl Drains {
    /// What a process was told, if it was.
    pub(super) fn of(&self, instance: InstanceId) -> Option<&Drain> {
        self.0.get(&instance)
    }

    /// Notes a drain. Answers it where it is news: what is not said now stays as it was.
    pub(super) fn note(
        &mut self,
        instance: InstanceId,
        reason: &Arc<str>,
        timeout: Option<Duration>,
        now: Time,
    ) -> Option<&Drain> {
        if self.0.len() >= limits::WORKERS_MAX && !self.0.contains_key(&instance) {
            let oldest = self.0.iter().min_by_key(|(_, drain)| drain.since);
            if let Some(oldest) = oldest.map(|(instance, _)| *instance) {
                self.0.remove(&oldest);
            }
        }
        let before = self.0.remove(&instance);
        let kept = before.as_ref();
        let drain = Drain {
            reason: match kept {
                Some(kept) if reason.is_empty() => kept.reason.clone(),
                _ => reason.clone(),
            },
            timeout: timeout.or_else(|| kept?.timeout),
            since: kept.map_or(now, |kept| kept.since),
        };
        let is_news = before.as_ref() != Some(&drain);
        let drain = &*self.0.entry(instance).or_insert(drain);
        is_news.then_some(drain)
    }
}
