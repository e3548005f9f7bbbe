//! Where durable events wait for those who watch.
//!
//! A watcher pulls: it is told that there is news, and takes what it wants from a short ring of
//! recent events, or, where it is behind that, from the store. So a slow watcher holds no memory
//! here, and never stalls a commit.

mod mail;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use board::{
    event::Event,
    id::{Revision, TeamUid},
};
use prost::bytes::Bytes;
use tokio::sync::watch;

pub use mail::{Closed, MailHub, MailWatcher};

/// Recent events that are kept for each team that somebody watches.
const RING_LEN: usize = 4_096;

/// Who may watch at once, of all teams together.
pub const WATCHERS_MAX: usize = 10_000;

/// The feeds of all teams that somebody watches. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hub(Arc<Mutex<Feeds>>);

#[derive(Debug, Default)]
struct Feeds {
    by_team: BTreeMap<TeamUid, Arc<Feed>>,
    watchers: usize,
}

/// One team's feed.
#[derive(Debug)]
struct Feed {
    ring: Mutex<VecDeque<Arc<Published>>>,
    latest: watch::Sender<Revision>,
}

/// A durable event, as all its watchers share it.
#[derive(Debug)]
pub struct Published {
    /// The event.
    pub event: Event,
    written: OnceLock<Bytes>,
}

impl Published {
    fn new(event: Event) -> Self {
        Self {
            event,
            written: OnceLock::new(),
        }
    }

    /// The event in writing: the first watcher who asks writes it, for all.
    pub fn written(&self, write: impl FnOnce(&Event) -> Bytes) -> Bytes {
        self.written.get_or_init(|| write(&self.event)).clone()
    }
}

/// A watcher's end of a team's feed.
#[derive(Debug)]
pub struct Watcher {
    hub: Hub,
    team: TeamUid,
    feed: Arc<Feed>,
    latest: watch::Receiver<Revision>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one of these locks can panic half way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Watches a team that stands at this revision; none where [`WATCHERS_MAX`] do already. Only to
    /// be called from a read, so that no commit comes between the revision and the watching.
    pub fn watch(&self, team: TeamUid, revision: Revision) -> Option<Watcher> {
        let mut feeds = locked(&self.0);
        if feeds.watchers == WATCHERS_MAX {
            return None;
        }
        feeds.watchers += 1;
        let feed = feeds.by_team.entry(team).or_insert_with(|| {
            Arc::new(Feed {
                ring: Mutex::default(),
                latest: watch::Sender::new(revision),
            })
        });
        Some(Watcher {
            hub: self.clone(),
            team,
            feed: feed.clone(),
            latest: feed.latest.subscribe(),
        })
    }

    /// Tells the watchers what is durable now: events of any teams, each team's in order.
    pub fn publish(&self, events: Vec<Event>) {
        let feeds = &locked(&self.0).by_team;
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
            ring.push_back(Arc::new(Published::new(event)));
        }
        for (team, revision) in latest {
            feeds[&team].latest.send_replace(revision);
        }
    }

    /// Ends all watching: the coordinator stops.
    pub fn close(&self) {
        locked(&self.0).by_team.clear();
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
    pub fn recent(&self, after: Revision, limit: usize) -> Option<Vec<Arc<Published>>> {
        let ring = locked(&self.feed.ring);
        let first = ring.front()?.event.revision;
        if first > after.next() {
            return None;
        }
        let skip = usize::try_from(after.next().0 - first.0).ok()?;
        Some(ring.iter().skip(skip).take(limit).cloned().collect())
    }
}

impl Drop for Watcher {
    /// The last watcher of a team takes its feed along.
    fn drop(&mut self) {
        let mut feeds = locked(&self.hub.0);
        feeds.watchers -= 1;
        let feeds = &mut feeds.by_team;
        let is_its = |feed: &Arc<Feed>| Arc::ptr_eq(feed, &self.feed);
        if feeds.get(&self.team).is_some_and(is_its) && self.feed.latest.receiver_count() == 1 {
            feeds.remove(&self.team);
        }
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

    fn watch(hub: &Hub, revision: u64) -> Watcher {
        hub.watch(TEAM, Revision(revision)).unwrap()
    }

    fn revisions(events: &[Arc<Published>]) -> Vec<u64> {
        events.iter().map(|told| told.event.revision.0).collect()
    }

    #[test]
    fn watcher_gets_what_is_published_after_its_revision_in_order() {
        let hub = Hub::default();
        let watcher = watch(&hub, 4);

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
        let watcher = watch(&hub, 0);
        let many = RING_LEN as u64 + 1;

        hub.publish(events(1..=many));

        assert!(watcher.recent(Revision(0), 10).is_none());
        let recent = watcher.recent(Revision(1), 1).unwrap();
        assert_eq!(revisions(&recent), [2]);
    }

    #[test]
    fn event_is_written_once_for_all_who_watch() {
        let hub = Hub::default();
        let (one, other) = (watch(&hub, 0), watch(&hub, 0));
        hub.publish(events(1..=1));
        let written = |watcher: &Watcher, text: &'static str| {
            let recent = watcher.recent(Revision(0), 1).unwrap();
            recent[0].written(|_| Bytes::from_static(text.as_bytes()))
        };

        assert_eq!(written(&one, "first"), "first");
        assert_eq!(written(&other, "second"), "first");
    }

    #[test]
    fn feed_goes_with_its_last_watcher() {
        let hub = Hub::default();
        let (one, other) = (watch(&hub, 0), watch(&hub, 0));

        drop(one);
        hub.publish(events(1..=1));
        assert_eq!(other.latest(), Revision(1));
        drop(other);

        assert!(locked(&hub.0).by_team.is_empty());
    }

    /// It was closed meanwhile, and another feed of the team was begun.
    #[test]
    fn late_watcher_of_an_old_feed_leaves_the_new_one_alone() {
        let hub = Hub::default();
        let old = watch(&hub, 0);
        hub.close();
        let new = watch(&hub, 0);

        drop(old);
        hub.publish(events(1..=1));

        assert_eq!(new.latest(), Revision(1));
    }

    #[test]
    fn so_many_watch_and_no_more_until_one_goes() {
        let hub = Hub::default();
        let other = TeamUid(2);
        let mut all: Vec<_> = (0..WATCHERS_MAX).map(|_| watch(&hub, 0)).collect();

        assert!(hub.watch(other, Revision(0)).is_none());
        all.pop();
        let last = hub.watch(other, Revision(0));

        assert!(last.is_some());
        assert!(hub.watch(other, Revision(0)).is_none());
    }
}
