//! Which events are kept, and the forgetting of those that are not.
//!
//! They are forgotten in sweeps and not by the commits that add some, because they grow old by
//! themselves. Memory has an entry for each team, so that a sweep looks at no team in vain.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use board::{
    event::Event,
    id::{Revision, TeamUid},
    time::Time,
};
use sled::{Db, IVec};

use super::{
    Retention, StoreError,
    codec::{CodecError, Names, decode_events, encode_event_pages},
    database, key,
    outcomes::Explain,
    stage::{self, Stage},
    sweep::SWEPT_PER_STEP,
    tally::{Tally, mix},
};

/// Each team's shelf of events.
#[derive(Debug)]
pub(super) struct Shelves {
    retention: Retention,
    shelves: BTreeMap<TeamUid, Shelf>,
    /// The teams by the time of their oldest event.
    by_age: BTreeSet<(Time, TeamUid)>,
    /// Those that have more events than are kept.
    crowded: BTreeSet<TeamUid>,
    /// How many revisions there are from the oldest events to the newest, and the sum of all ends.
    /// A start reads no more of events than these.
    ends: Tally,
}

/// Where the events of a team begin and end.
#[derive(Debug, Clone, Copy)]
struct Shelf {
    /// The oldest.
    first: Revision,
    /// When it happened.
    at: Time,
    /// The newest.
    last: Revision,
}

impl Shelf {
    fn new(first: &Event, last: &Event) -> Self {
        Self {
            first: first.revision,
            at: first.at,
            last: last.revision,
        }
    }

    /// How many revisions it has, and a number of where it begins and ends.
    fn tally(&self, team: TeamUid) -> (u64, u64) {
        let revisions = self.last.0.wrapping_sub(self.first.0).wrapping_add(1);
        let ends = mix(self.first.0).wrapping_add(mix(!self.last.0));
        (revisions, mix(ends ^ mix(team.0)))
    }
}

impl Shelves {
    /// Looks at both ends of each team's events, but not of those that are gone.
    pub(super) fn open(
        db: &Db,
        at: &Path,
        retention: Retention,
        gone: &BTreeSet<TeamUid>,
        explain: Explain<'_>,
    ) -> Result<Self, StoreError> {
        let mut shelves = Self {
            retention,
            shelves: BTreeMap::new(),
            by_age: BTreeSet::new(),
            crowded: BTreeSet::new(),
            ends: Tally::default(),
        };
        let mut from = TeamUid(0);
        loop {
            let mut pages = db.range(key::events(from, Revision(0))..=key::LAST_EVENTS.to_vec());
            let first = database::guard(at, "reading", || pages.next().transpose())?;
            let Some((key, value)) = first else {
                return Ok(shelves);
            };
            let team = key::team_of(&key).ok_or(CodecError::Bad("key"));
            let team = team.map_err(|error| explain(&key, error))?;
            from = TeamUid(team.0.saturating_add(1));
            if gone.contains(&team) {
                continue;
            }
            let last_key = key::events(team, Revision(u64::MAX));
            let mut pages = db.range(key.to_vec()..=last_key);
            let last = database::guard(at, "reading", || pages.next_back().transpose())?;
            let first = decode_page(db, at, team, (&key, value), explain)?;
            let last = match last {
                Some((key, value)) => decode_page(db, at, team, (&key, value), explain)?,
                None => first.clone(),
            };
            if let (Some(first), Some(last)) = (first.first(), last.last()) {
                shelves.set(team, Shelf::new(first, last));
            }
        }
    }

    /// How many revisions lie between the oldest and the newest events of all teams, and the sum of
    /// where they begin and end.
    pub(super) fn ends(&self) -> Tally {
        self.ends
    }

    /// The revisions of a team's oldest and newest events.
    pub(super) fn ends_of(&self, team: TeamUid) -> Option<(Revision, Revision)> {
        let shelf = self.shelves.get(&team)?;
        Some((shelf.first, shelf.last))
    }

    /// Notes the events that a commit adds to a team.
    pub(super) fn note(&mut self, team: TeamUid, events: &[&Event]) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return;
        };
        let mut shelf = Shelf::new(first, last);
        if let Some(before) = self.shelves.get(&team) {
            (shelf.first, shelf.at) = (before.first, before.at);
        }
        self.set(team, shelf);
    }

    /// Whether some events are to be forgotten.
    pub(super) fn is_due(&self, now: Time) -> bool {
        !self.crowded.is_empty() || self.oldest_past(now).is_some()
    }

    /// Forgets some events of one team.
    pub(super) fn sweep(
        &mut self,
        now: Time,
        db: &Db,
        at: &Path,
        stage: &mut Stage<'_>,
        explain: Explain<'_>,
    ) -> Result<(), StoreError> {
        let crowded = self.crowded.first().copied();
        let Some(team) = crowded.or_else(|| self.oldest_past(now)) else {
            return Ok(());
        };
        let last = self.shelves[&team].last;
        let mut pages = db.range(key::events(team, Revision(0))..=key::events(team, last));
        let mut left = SWEPT_PER_STEP;
        while let Some((key, value)) = database::guard(at, "reading", || pages.next().transpose())?
        {
            let events = decode_page(db, at, team, (&key, value), explain)?;
            let is_past = |event: &&Event| self.retention.is_past(event, last, now);
            let past = match left {
                0 => 0,
                _ => events.iter().take_while(is_past).count(),
            };
            if past > 0 {
                stage.remove(key.to_vec())?;
                left -= 1;
            }
            let Some(first) = events.get(past) else {
                continue;
            };
            if past > 0 {
                let kept: Vec<&Event> = events[past..].iter().collect();
                for (first, page) in encode_event_pages(&kept) {
                    stage.put_new(key::events(team, first), page)?;
                }
            }
            let shelf = Shelf {
                first: first.revision,
                at: first.at,
                last,
            };
            self.set(team, shelf);
            return Ok(());
        }
        self.forget(team);
        Ok(())
    }

    /// Forgets a team that has no events any more.
    pub(super) fn forget(&mut self, team: TeamUid) {
        if let Some(shelf) = self.shelves.remove(&team) {
            let (revisions, sum) = shelf.tally(team);
            self.ends.take_all(revisions, sum);
            self.by_age.remove(&(shelf.at, team));
            self.crowded.remove(&team);
        }
    }

    fn set(&mut self, team: TeamUid, shelf: Shelf) {
        self.forget(team);
        let (revisions, sum) = shelf.tally(team);
        self.ends.add_all(revisions, sum);
        self.shelves.insert(team, shelf);
        self.by_age.insert((shelf.at, team));
        if shelf.last.0.saturating_sub(shelf.first.0) >= self.retention.count {
            self.crowded.insert(team);
        }
    }

    /// The team with the oldest event of all, if that is past.
    fn oldest_past(&self, now: Time) -> Option<TeamUid> {
        let (at, team) = *self.by_age.first()?;
        self.retention.is_old(at, now).then_some(team)
    }
}

fn decode_page(
    db: &Db,
    at: &Path,
    team: TeamUid,
    (key, value): (&IVec, IVec),
    explain: Explain<'_>,
) -> Result<Vec<Event>, StoreError> {
    let get = |piece: &[u8]| database::guard(at, "reading", || db.get(piece));
    let value = stage::whole(Some(value), key, at, get)?.unwrap_or_default();
    let first = Revision(key::last_number(key).unwrap_or_default());
    decode_events(team, first, &value, &mut Names::default()).map_err(|error| explain(key, error))
}
