//! Finding events in their pages.

use board::{
    event::Event,
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
        let Some(wanted) = after.0.checked_add(1) else {
            return Ok(Vec::new());
        };
        let (db, at) = (&self.db, &self.at);
        let wanted = Revision(wanted);
        let before = self.page_before(team, wanted)?;
        let from = before.map_or(key::events(team, wanted), |(key, _)| key.to_vec());
        let mut pages = db.range(from..=key::events(team, Revision(u64::MAX)));

        let mut events = Vec::new();
        let names = &mut Names::default();
        while events.len() < limit {
            let page = database::guard(at, "reading", || pages.next().transpose())?;
            let Some((key, value)) = page else { break };
            let page = self.decode_page(team, &key, value, names)?;
            let wanted = page.into_iter().filter(|event| event.revision > after);
            events.extend(wanted.take(limit - events.len()));
        }
        Ok(events)
    }

    /// A team's event of a revision.
    pub(super) fn event_at(
        &self,
        team: TeamUid,
        revision: Revision,
    ) -> Result<Option<Event>, StoreError> {
        let Some((key, value)) = self.page_before(team, revision)? else {
            return Ok(None);
        };
        let page = self.decode_page(team, &key, value, &mut Names::default())?;
        Ok({ page }
            .into_iter()
            .find(|event| event.revision == revision))
    }

    /// The revision of a team's oldest event.
    pub(super) fn oldest_event_of(&self, team: TeamUid) -> Result<Option<Revision>, StoreError> {
        let (db, at) = (&self.db, &self.at);
        let all = key::events(team, Revision(0))..=key::events(team, Revision(u64::MAX));
        let mut pages = db.range(all);
        let first = database::guard(at, "reading", || pages.next().transpose())?;
        Ok(first.map(|(key, _)| first_of(&key)))
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

/// The revision of the first event of a page.
fn first_of(key: &[u8]) -> Revision {
    Revision(key::last_number(key).unwrap_or_default())
}
