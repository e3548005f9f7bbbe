//! Finding events in their pages.
//!
//! A start reads only where each team's events begin and end. That none is missing between is
//! checked when they are read: revisions go on without a gap, but for those that `loss` skips.

use board::{
    event::{Event, Happening},
    id::{Revision, TeamUid},
};
use sled::IVec;

use super::{
    StoreError,
    codec::{Names, decode_events},
    database, key,
    sled_store::SledStore,
};

impl SledStore {
    /// A team's events after `after`, oldest first, at most `limit`.
    pub(super) fn events_after(
        &self,
        team: TeamUid,
        after: Revision,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let Some((first, last)) = self.shelves.ends_of(team) else {
            return Ok(Vec::new());
        };
        if after >= last || limit == 0 {
            return Ok(Vec::new());
        }
        let (db, at) = (&self.db, &self.at);
        let mut wanted = first.max(after.next());
        let before = self.page_before(team, wanted)?;
        let from = before.map_or(key::events(team, wanted), |(key, _)| key.to_vec());
        let mut pages = db.range(from..=key::events(team, last));

        let mut events = Vec::new();
        let names = &mut Names::default();
        while events.len() < limit {
            let page = database::guard(at, "reading", || pages.next().transpose())?;
            let Some((key, value)) = page else { break };
            for event in self.decode_page(team, &key, value, names)? {
                if event.revision < wanted {
                    continue;
                }
                if event.revision > wanted && !ends_gap(&event) {
                    return Err(self.events_missing(team, wanted));
                }
                wanted = event.revision.next();
                if events.len() < limit {
                    events.push(event);
                }
            }
        }
        if events.len() < limit && wanted <= last {
            return Err(self.events_missing(team, wanted));
        }
        Ok(events)
    }

    /// A team's event of a revision.
    pub(super) fn event_at(
        &self,
        team: TeamUid,
        revision: Revision,
    ) -> Result<Option<Event>, StoreError> {
        let ends = self.shelves.ends_of(team);
        if ends.is_none_or(|(first, last)| revision < first || revision > last) {
            return Ok(None);
        }
        let missing = || self.events_missing(team, revision);
        let (key, value) = self.page_before(team, revision)?.ok_or_else(missing)?;
        let page = self.decode_page(team, &key, value, &mut Names::default())?;
        let mut page = page.into_iter();
        if let Some(event) = page.find(|event| event.revision == revision) {
            return Ok(Some(event));
        }
        // It may never have been handed out: see `loss`.
        let next = self.events_after(team, revision, 1);
        match next.as_deref() {
            Ok([next]) if ends_gap(next) => Ok(None),
            _ => Err(missing()),
        }
    }

    fn events_missing(&self, team: TeamUid, from: Revision) -> StoreError {
        let what = format!("events of team {team} are missing, from revision {from} on");
        database::corrupt(&self.at, what)
    }

    /// The page that an event is in, if there is such an event: it begins with it or before it.
    fn page_before(
        &self,
        team: TeamUid,
        revision: Revision,
    ) -> Result<Option<(IVec, IVec)>, StoreError> {
        let (db, at) = (&self.db, &self.at);
        let mut pages = db.range(key::events(team, Revision(0))..=key::events(team, revision));
        database::guard(at, "reading", || pages.next_back().transpose())
    }

    fn decode_page(
        &self,
        team: TeamUid,
        key: &[u8],
        value: IVec,
        names: &mut Names,
    ) -> Result<Vec<Event>, StoreError> {
        let value = self.put_together(key, Some(value))?.unwrap_or_default();
        decode_events(team, first_of(key), &value, names).map_err(|error| self.explain(key, error))
    }
}

/// Whether a gap in the revisions before an event is none: a board went on without what was
/// missing.
fn ends_gap(event: &Event) -> bool {
    matches!(event.what, Happening::LossAccepted { .. })
}

/// The revision of the first event of a page.
fn first_of(key: &[u8]) -> Revision {
    Revision(key::last_number(key).unwrap_or_default())
}
