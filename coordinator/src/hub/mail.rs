//! Where durable messages wait for those who watch a mailbox.
//!
//! Only while somebody watches, a mailbox has a feed: a short ring of what was committed last. A
//! watcher takes new messages from it, with no trip through the driver, and reads its mailbox
//! where the ring doesn't reach back. So a slow watcher holds no more memory than the ring.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use board::{
    id::{MemberKey, MessageId, TeamUid},
    mail::Letter,
};
use tokio::sync::watch;

use super::locked;

/// Recent messages that are kept for each mailbox that somebody watches, and their bytes. One is
/// kept however long it is.
const RING_LEN: usize = 64;
const RING_BYTES: usize = 128 * 1024;

type Feeds = Arc<Mutex<BTreeMap<MemberKey, Arc<Feed>>>>;

/// The feeds of all mailboxes that somebody watches. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct MailHub(Feeds);

/// One mailbox's feed.
#[derive(Debug)]
struct Feed {
    ring: Mutex<Ring>,
    news: watch::Sender<News>,
}

#[derive(Debug)]
struct Ring {
    letters: VecDeque<Arc<Letter>>,
    bytes: usize,
    /// Everything that came after this one is in the ring.
    floor: MessageId,
}

/// What watchers wait for.
#[derive(Debug, Clone, Copy)]
struct News {
    latest: MessageId,
    /// The mailbox is nobody's any more.
    is_closed: bool,
}

/// A watcher's end of a mailbox's feed.
#[derive(Debug)]
pub struct MailWatcher {
    feeds: Feeds,
    key: MemberKey,
    feed: Arc<Feed>,
    news: watch::Receiver<News>,
}

/// The mailbox is nobody's any more: its owner left, or the team is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Ring {
    fn push(&mut self, letter: Arc<Letter>) {
        self.bytes += letter.size();
        self.letters.push_back(letter);
        while self.letters.len() > RING_LEN || (self.bytes > RING_BYTES && self.letters.len() > 1) {
            if let Some(oldest) = self.letters.pop_front() {
                self.bytes -= oldest.size();
                self.floor = oldest.id;
            }
        }
    }
}

impl MailHub {
    /// Watches a mailbox of a team whose last message is `last`. Only to be called from the line of
    /// inputs, so that no commit comes between what is read there and the watching.
    pub fn watch(&self, key: &MemberKey, last: MessageId) -> MailWatcher {
        let mut feeds = locked(&self.0);
        let feed = feeds.entry(key.clone()).or_insert_with(|| {
            Arc::new(Feed {
                ring: Mutex::new(Ring {
                    letters: VecDeque::new(),
                    bytes: 0,
                    floor: last,
                }),
                news: watch::Sender::new(News {
                    latest: last,
                    is_closed: false,
                }),
            })
        });
        MailWatcher {
            feeds: self.0.clone(),
            key: key.clone(),
            feed: feed.clone(),
            news: feed.news.subscribe(),
        }
    }

    /// Tells the watchers what is durable now: copies of messages, those of a mailbox in order.
    pub fn publish(&self, copies: Vec<(MemberKey, Arc<Letter>)>) {
        let feeds = locked(&self.0);
        if feeds.is_empty() {
            return;
        }
        let mut told: BTreeMap<MemberKey, MessageId> = BTreeMap::new();
        for (key, letter) in copies {
            let Some(feed) = feeds.get(&key) else {
                continue;
            };
            let id = letter.id;
            locked(&feed.ring).push(letter);
            told.insert(key, id);
        }
        for (key, latest) in told {
            let news = News {
                latest,
                is_closed: false,
            };
            feeds[&key].news.send_replace(news);
        }
    }

    /// Ends the watching of a mailbox.
    pub fn close(&self, key: &MemberKey) {
        if let Some(feed) = locked(&self.0).remove(key) {
            feed.news.send_modify(|news| news.is_closed = true);
        }
    }

    /// Ends the watching of all mailboxes of a team.
    pub fn close_team(&self, team: TeamUid) {
        locked(&self.0).retain(|(of, _), feed| {
            if *of == team {
                feed.news.send_modify(|news| news.is_closed = true);
            }
            *of != team
        });
    }
}

impl MailWatcher {
    /// Waits until there may be messages after this one.
    pub async fn past(&mut self, after: MessageId) -> Result<(), Closed> {
        let is_news = |news: &News| news.is_closed || news.latest > after;
        // This watcher holds the feed, and so the sender: waiting can't fail.
        match self.news.wait_for(is_news).await {
            Ok(news) if !news.is_closed => Ok(()),
            _ => Err(Closed),
        }
    }

    /// The messages after this one, at most `limit`; none where the ring doesn't reach back that
    /// far, and the mailbox has to be read.
    pub fn recent(&self, after: MessageId, limit: usize) -> Option<Vec<Arc<Letter>>> {
        let ring = locked(&self.feed.ring);
        if after < ring.floor {
            return None;
        }
        let first = ring.letters.partition_point(|letter| letter.id <= after);
        Some(
            ring.letters
                .iter()
                .skip(first)
                .take(limit)
                .cloned()
                .collect(),
        )
    }
}

impl Drop for MailWatcher {
    /// The last watcher of a mailbox takes its feed along.
    fn drop(&mut self) {
        let mut feeds = locked(&self.feeds);
        let is_its = |feed: &Arc<Feed>| Arc::ptr_eq(feed, &self.feed);
        if feeds.get(&self.key).is_some_and(is_its) && self.feed.news.receiver_count() == 1 {
            feeds.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use board::{
        id::MemberName,
        mail::{MailKind, Recipients, Sender},
        time::Time,
    };

    use super::*;

    fn key(name: &str) -> MemberKey {
        (TeamUid(1), MemberName::parse(name).unwrap())
    }

    fn letter(id: u64, len: usize) -> Arc<Letter> {
        Arc::new(Letter {
            id: MessageId(id),
            from: Sender::Coordinator,
            to: Recipients::One(key("bob").1),
            kind: MailKind::Text,
            text: "x".repeat(len).into(),
            summary: Arc::default(),
            payload: Arc::default(),
            correlation: Arc::default(),
            at: Time(0),
            task: None,
            approve: None,
            deadline: None,
            revision: None,
        })
    }

    fn send(hub: &MailHub, to: &str, ids: impl IntoIterator<Item = u64>, len: usize) {
        let copies = ids.into_iter().map(|id| (key(to), letter(id, len)));
        hub.publish(copies.collect());
    }

    fn ids(watcher: &MailWatcher, after: u64) -> Option<Vec<u64>> {
        let recent = watcher.recent(MessageId(after), 100)?;
        Some(recent.iter().map(|letter| letter.id.0).collect())
    }

    #[test]
    fn watcher_gets_what_comes_to_its_mailbox_in_order() {
        let hub = MailHub::default();
        let watcher = hub.watch(&key("bob"), MessageId(4));

        send(&hub, "bob", [5, 8], 1);
        send(&hub, "alice", [6, 7], 1);

        assert_eq!(ids(&watcher, 4), Some(vec![5, 8]));
        assert_eq!(ids(&watcher, 6), Some(vec![8]));
        assert_eq!(ids(&watcher, 8), Some(vec![]));
        assert_eq!(watcher.recent(MessageId(4), 1).unwrap().len(), 1);
        assert_eq!(ids(&watcher, 3), None, "what came before is in the mailbox");
    }

    #[test]
    fn watcher_behind_the_ring_is_sent_to_its_mailbox() {
        let hub = MailHub::default();
        let watcher = hub.watch(&key("bob"), MessageId(0));

        send(&hub, "bob", 1..=RING_LEN as u64 + 1, 1);

        assert_eq!(ids(&watcher, 0), None);
        assert_eq!(ids(&watcher, 1).unwrap().len(), RING_LEN);
    }

    #[test]
    fn ring_is_bounded_by_bytes_but_for_the_last_message() {
        let hub = MailHub::default();
        let watcher = hub.watch(&key("bob"), MessageId(0));

        send(&hub, "bob", 1..=2, RING_BYTES / 2);
        assert_eq!(ids(&watcher, 0), Some(vec![1, 2]));
        send(&hub, "bob", [3], 1);
        assert_eq!(ids(&watcher, 0), None);
        assert_eq!(ids(&watcher, 1), Some(vec![2, 3]));
        send(&hub, "bob", [4], 2 * RING_BYTES);
        assert_eq!(ids(&watcher, 3), Some(vec![4]));
        assert_eq!(ids(&watcher, 2), None);
    }

    #[test]
    fn feed_goes_with_its_last_watcher() {
        let hub = MailHub::default();
        let one = hub.watch(&key("bob"), MessageId(0));
        let other = hub.watch(&key("bob"), MessageId(0));

        drop(one);
        send(&hub, "bob", [1], 1);
        assert_eq!(ids(&other, 0), Some(vec![1]));
        drop(other);

        assert!(locked(&hub.0).is_empty());
    }

    #[tokio::test]
    async fn closing_ends_the_waiting_of_its_watchers_and_of_no_other() {
        let hub = MailHub::default();
        let mut bob = hub.watch(&key("bob"), MessageId(0));
        let mut alice = hub.watch(&key("alice"), MessageId(0));
        let waiting = tokio::spawn(async move { bob.past(MessageId(0)).await });

        hub.close(&key("bob"));
        send(&hub, "alice", [1], 1);

        assert_eq!(waiting.await.unwrap(), Err(Closed));
        assert_eq!(alice.past(MessageId(0)).await, Ok(()));
        hub.close_team(TeamUid(1));
        assert_eq!(alice.past(MessageId(0)).await, Err(Closed));
        // Whoever has the name next has a feed of its own.
        let next = hub.watch(&key("bob"), MessageId(9));
        assert_eq!(ids(&next, 9), Some(vec![]));
    }
}
