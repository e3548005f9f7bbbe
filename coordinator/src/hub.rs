//! Where durable events wait for those who watch.
//!
//! A watcher pulls: it is told that there is news, and takes what it wants from a short ring of
//! recent events, or, where it is behind that, from the store. So a slow watcher holds no memory
//! here, and never stalls a commit.

mod mail;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use board::{
    event::Event,
    id::{Revision, TeamUid},
};
use tokio::sync::watch;

pub use mail::{Closed, MailHub, MailWatcher};

/// Recent events that are kept for each team that somebody watches.
const RING_LEN: usize = 4_096;

/// The feeds of all teams that somebody watches. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hub(Arc<Mutex<BTreeMap<TeamUid, Arc<Feed>>>>);

/// One team's feed.
#[derive(Debug)]
struct Feed {
    ring: Mutex<VecDeque<Arc<Event>>>,
    latest: watch::Sender<Revision>,
}

/// A watcher's end of a team's feed.
#[derive(Debug)]
pub struct Watcher {
    feed: Arc<Feed>,
    latest: watch::Receiver<Revision>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one of these locks can panic half way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Watches a team that stands at this revision. Only to be called from a read, so that no
    /// commit comes between the revision and the watching.
    pub fn watch(&self, team: TeamUid, revision: Revision) -> Watcher {
        let mut feeds = locked(&self.0);
        let feed = feeds.entry(team).or_insert_with(|| {
            Arc::new(Feed {
                ring: Mutex::default(),
                latest: watch::Sender::new(revision),
            })
        });
        Watcher {
            feed: feed.clone(),
            latest: feed.latest.subscribe(),
        }
    }

    /// Tells the watchers what is durable now: events of any teams, each team's in order.
    pub fn publish(&self, events: Vec<Event>) {
        let mut feeds = locked(&self.0);
        if feeds.is_empty() {
            return;
        }
        let mut latest: BTreeMap<TeamUid, Revision> = BTreeMap::new();
        for event in events {
            let Some(feed) = feeds.get(&event.team) else {
                continue;
            };
            latest.insert(event.team, event.revision);
            let mut ring = locked(&feed.ring);
            if ring.len() == RING_LEN {
                ring.pop_front();
            }
            ring.push_back(Arc::new(event));
        }
        for (team, revision) in latest {
            let feed = &feeds[&team];
            feed.latest.send_replace(revision);
            if feed.latest.receiver_count() == 0 {
                feeds.remove(&team);
            }
        }
    }

    /// Ends all watching: the coordinator stops.
    pub fn close(&self) {
        locked(&self.0).clear();
    }
}

impl Watcher {
    /// The team's latest durable revision.
    pub fn latest(&self) -> Revision {
        *self.latest.borrow()
    }

    /// Waits until the team is past this revision.
    pub async fn past(&mut self, revision: Revision) {
        // This watcher holds the feed, and so the sender: waiting can't fail.
        let _ = self.latest.wait_for(|latest| *latest > revision).await;
    }

    /// The events after this revision, at most `limit`; none where the ring doesn't reach back
    /// that far, and the store has to be asked.
    pub fn recent(&self, after: Revision, limit: usize) -> Option<Vec<Arc<Event>>> {
        let ring = locked(&self.feed.ring);
        let first = ring.front()?.revision;
        if first > after.next() {
            return None;
        }
        let skip = usize::try_from(after.next().0 - first.0).ok()?;
        Some(ring.iter().skip(skip).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use board::{
        event::{Actor, Happening},
        time::Time,
    };

    use super::*;

    const TEAM: TeamUid = TeamUid(1);

    fn events(revisions: std::ops::RangeInclusive<u64>) -> Vec<Event> {
        let event = |revision| Event {
            team: TEAM,
            revision: Revision(revision),
            at: Time(0),
            actor: Actor::Coordinator,
            on_behalf_of: None,
            cause: None,
            cause_message: None,
            previous: Revision(0),
            what: Happening::TeamCreated,
        };
        revisions.map(event).collect()
    }

    fn revisions(events: &[Arc<Event>]) -> Vec<u64> {
        events.iter().map(|event| event.revision.0).collect()
    }

    #[test]
    fn watcher_gets_what_is_published_after_its_revision_in_order() {
        let hub = Hub::default();
        let watcher = hub.watch(TEAM, Revision(4));

        hub.publish(events(5..=7));

        assert_eq!(watcher.latest(), Revision(7));
        let recent = watcher.recent(Revision(4), 10).unwrap();
        assert_eq!(revisions(&recent), [5, 6, 7]);
        let recent = watcher.recent(Revision(5), 1).unwrap();
        assert_eq!(revisions(&recent), [6]);
        assert!(watcher.recent(Revision(7), 10).unwrap().is_empty());
    }

    #[test]
    fn watcher_behind_the_ring_is_sent_to_the_store() {
        let hub = Hub::default();
        let watcher = hub.watch(TEAM, Revision(0));
        let many = RING_LEN as u64 + 1;

        hub.publish(events(1..=many));

        assert_eq!(watcher.recent(Revision(0), 10), None);
        let recent = watcher.recent(Revision(1), 1).unwrap();
        assert_eq!(revisions(&recent), [2]);
    }

    #[test]
    fn feed_that_nobody_watches_is_let_go() {
        let hub = Hub::default();
        drop(hub.watch(TEAM, Revision(0)));

        hub.publish(events(1..=1));

        assert!(locked(&hub.0).is_empty());
    }
}
