//! What each connection has under way, and how the coordinator is shared out among them (DESIGN A7).
//!
//! A connection is known here from its acceptance to its end. What it takes is counted by guards:
//! calls, calls that wait, uploads, downloads, and bytes that it has sent in part or has not read.
//! Whoever finds a bound reached asks here who is to go.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use prost::bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::descriptors::Descriptors;

/// Calls under way on one connection.
pub const STREAMS_MAX: u32 = 4_096;
/// Calls of them that wait for something to happen: long polls, watches, RunTask.
pub const WAITING_MAX: usize = 1_000;
/// Uploads of one connection.
pub const UPLOADS_PER_CONNECTION_MAX: usize = 16;
/// Downloads of one connection.
pub const DOWNLOADS_PER_CONNECTION_MAX: usize = 64;
/// Bytes of answers to short calls that a connection may leave unread before its next calls wait.
pub const UNREAD_PER_CONNECTION_MAX: usize = 2 * 1024 * 1024;
/// Bytes of all connections, unless the settings say otherwise: answers that were not read, and
/// requests that came in part.
pub const UNREAD_MAX: usize = 128 * 1024 * 1024;
/// Bytes of a call's headers, names and values together.
pub const HEADERS_LEN_MAX: usize = 16 * 1024;

/// Lists that are made at once, over all connections: each may keep the board's thread, and a thread
/// of its own, for milliseconds. So half of the processors make lists at the most, and the others
/// serve short calls. One of each connection is made at a time.
fn lists_max() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).max(1)
}

/// How long calls of a connection that doesn't read may wait.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How much is given to all connections together.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections.
    pub connections: usize,
    /// Connections of one address, loopback excepted.
    pub per_address: usize,
    /// Uploads, and as many downloads.
    pub transfers: usize,
    /// Bytes that were not read, or came in part.
    pub unread: usize,
}

impl Bounds {
    /// What so many descriptors allow.
    pub fn of(descriptors: Descriptors, per_address: Option<usize>, unread: usize) -> Self {
        let half = (descriptors.connections / 2).max(1);
        Self {
            connections: descriptors.connections,
            per_address: per_address.unwrap_or(half),
            transfers: descriptors.transfers,
            unread,
        }
    }
}

/// All connections. Cheap to clone.
#[derive(Clone)]
pub struct Peers(Arc<Shared>);

struct Shared {
    bounds: Bounds,
    table: Mutex<Table>,
    unread: AtomicUsize,
    uploads: AtomicUsize,
    downloads: AtomicUsize,
    /// A connection is being cut for what it hasn't read.
    is_cutting: AtomicBool,
    lists: Mutex<Lists>,
    /// Counts endings of calls: who has been without a call for longest has the lowest number.
    order: AtomicU64,
    /// Told when a connection has ended, has greeted, or has had its time to.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    peers: HashMap<u64, Arc<Peer>>,
    per_address: HashMap<IpAddr, usize>,
    /// How many of them were asked to leave.
    leaving: usize,
    /// Connections without a call, of all and of addresses that are full, those that go first at the
    /// end: found together, because to look for them takes time.
    quiet: HashMap<Option<IpAddr>, Vec<(u64, Rest)>>,
}

/// How long a connection has been without a call: the lowest goes first. One that has not even
/// begun to speak goes before all others.
type Rest = (bool, u64);

/// Why a connection isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// There are as many as may be, and all have calls.
    Connections,
    /// Its address has as many as it may have, and all have calls.
    Address,
}

/// One connection.
pub struct Peer {
    number: u64,
    address: IpAddr,
    shared: Arc<Shared>,
    calls: AtomicUsize,
    waiting: AtomicUsize,
    uploads: AtomicUsize,
    downloads: AtomicUsize,
    /// All bytes that are held for it, and those of them that are answers to short calls.
    held: AtomicUsize,
    unread: AtomicUsize,
    was_read: Notify,
    lists: Arc<Semaphore>,
    /// It has sent its preface and its SETTINGS.
    has_greeted: AtomicBool,
    /// It has had its time to do so: see [`Peers::room`].
    has_had_time: AtomicBool,
    /// When its last call ended, in the order of all.
    quiet_since: AtomicU64,
    /// It is to go: no new calls, and the end when those under way have ended.
    pub leave: CancellationToken,
    /// It ends at once.
    pub cut: CancellationToken,
}

impl Peers {
    /// Nobody yet.
    pub fn new(bounds: Bounds) -> Self {
        Self::making(bounds, lists_max())
    }

    /// The same, where so many lists are made at once.
    fn making(bounds: Bounds, lists_max: usize) -> Self {
        Self(Arc::new(Shared {
            bounds,
            table: Mutex::default(),
            unread: AtomicUsize::new(0),
            uploads: AtomicUsize::new(0),
            downloads: AtomicUsize::new(0),
            is_cutting: AtomicBool::new(false),
            lists: Mutex::new(Lists {
                free: lists_max,
                waiting: Vec::new(),
            }),
            order: AtomicU64::new(0),
            changed: Notify::new(),
        }))
    }

    /// Waits until the next connection can be looked at: those that are leaving keep their descriptors
    /// for a moment, and who came just now has a moment to greet before it makes room for the next.
    /// However many come at once, nobody is sent away before it could speak.
    pub async fn room(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.table().has_room(self.0.bounds.connections) {
                return;
            }
            changed.await;
        }
    }

    /// Takes a connection in. Where there is no room for it, the one that has been without a call
    /// for longest leaves.
    pub fn admit(&self, address: IpAddr) -> Result<Arc<Peer>, Full> {
        // What comes by an IPv4 address has one share, however it is written.
        let address = address.to_canonical();
        let shared = &self.0;
        let mut table = shared.table();
        let of_address = table.per_address.get(&address).copied().unwrap_or_default();
        if !address.is_loopback() && of_address >= shared.bounds.per_address {
            table.let_go(Some(address)).ok_or(Full::Address)?;
        } else if table.staying() >= shared.bounds.connections {
            table.let_go(None).ok_or(Full::Connections)?;
        }
        let number = table.next;
        table.next += 1;
        let peer = Arc::new(Peer {
            number,
            address,
            shared: shared.clone(),
            calls: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            uploads: AtomicUsize::new(0),
            downloads: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            was_read: Notify::new(),
            lists: Arc::new(Semaphore::new(1)),
            has_greeted: AtomicBool::new(false),
            has_had_time: AtomicBool::new(false),
            quiet_since: AtomicU64::new(shared.next_order()),
            leave: CancellationToken::new(),
            cut: CancellationToken::new(),
        });
        table.peers.insert(number, peer.clone());
        *table.per_address.entry(address).or_default() += 1;
        Ok(peer)
    }

    /// A connection has ended.
    pub fn ended(&self, peer: &Peer) {
        let mut table = self.0.table();
        if table.peers.remove(&peer.number).is_some()
            && let Some(count) = table.per_address.get_mut(&peer.address)
        {
            *count -= 1;
            if *count == 0 {
                table.per_address.remove(&peer.address);
                table.quiet.remove(&Some(peer.address));
            }
            table.leaving -= usize::from(peer.leave.is_cancelled());
        }
        drop(table);
        if peer.cut.is_cancelled() {
            self.0.is_cutting.store(false, Ordering::Release);
        }
        // Its calls must not be found waiting for a reader that is gone.
        peer.cut.cancel();
        self.0.changed.notify_waiters();
    }
}

impl Table {
    /// Those that were not asked to leave.
    fn staying(&self) -> usize {
        self.peers.len() - self.leaving
    }

    /// Whether a connection can be looked at where so many may be open.
    fn has_room(&mut self, bound: usize) -> bool {
        let slack = (bound / 8).max(1);
        if self.peers.len() >= bound + slack {
            return false;
        }
        // Who came first is looked at first: where it still has time, all others do that were not heard.
        self.staying() < bound || self.quietest(None).is_none_or(|peer| peer.may_go())
    }

    /// Asks the connection to leave that has been without a call for longest, of an address or of
    /// all.
    fn let_go(&mut self, of: Option<IpAddr>) -> Option<()> {
        let quietest = self.quietest(of)?;
        quietest.leave.cancel();
        self.leaving += 1;
        Some(())
    }

    fn quietest(&mut self, of: Option<IpAddr>) -> Option<Arc<Peer>> {
        let found = self.quiet.entry(of).or_default();
        while let Some((number, rest)) = found.last() {
            let peer = self.peers.get(number);
            if let Some(peer) = peer.filter(|peer| peer.rest() == Some(*rest)) {
                return Some(peer.clone());
            }
            found.pop();
        }
        let peers = self.peers.values();
        let peers = peers.filter(|peer| of.is_none_or(|of| of == peer.address));
        found.extend(peers.filter_map(|peer| Some((peer.number, peer.rest()?))));
        found.sort_unstable_by_key(|(_, rest)| std::cmp::Reverse(*rest));
        // The others may have had calls by the time it is their turn.
        let kept = (found.len() / 16).max(1);
        found.drain(..found.len().saturating_sub(kept));
        let (number, _) = found.last()?;
        self.peers.get(number).cloned()
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that holds this lock can panic half way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        // The same.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_order(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }

    /// Cuts the connection for which most is held.
    fn cut_worst(&self) {
        if self.is_cutting.swap(true, Ordering::AcqRel) {
            return;
        }
        let table = self.table();
        let held = |peer: &&Arc<Peer>| peer.held.load(Ordering::Relaxed);
        let Some(worst) = table.peers.values().max_by_key(held) else {
            self.is_cutting.store(false, Ordering::Release);
            return;
        };
        tracing::warn!(
            peer = %worst.address,
            bytes = held(&worst),
            "too many bytes of answers are unread: cutting the connection with most of them"
        );
        worst.cut.cancel();
    }
}

/// Takes one of a number of places, if there is one.
fn take(places: &AtomicUsize, max: usize) -> bool {
    let taken = places.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
        (taken < max).then_some(taken + 1)
    });
    taken.is_ok()
}

impl Peer {
    /// It has sent its preface and its SETTINGS.
    pub fn greet(&self) {
        self.has_greeted.store(true, Ordering::Release);
        self.shared.changed.notify_waiters();
    }

    /// It has had its time to send them: from now on it makes room for others.
    pub fn had_time(&self) {
        self.has_had_time.store(true, Ordering::Release);
        self.shared.changed.notify_waiters();
    }

    fn may_go(&self) -> bool {
        self.has_greeted() || self.has_had_time.load(Ordering::Acquire)
    }

    /// Whether it has sent its preface and its SETTINGS.
    pub fn has_greeted(&self) -> bool {
        self.has_greeted.load(Ordering::Acquire)
    }

    /// Whether it has a call under way.
    pub fn has_calls(&self) -> bool {
        self.calls.load(Ordering::Acquire) > 0
    }

    fn is_leaving(&self) -> bool {
        self.leave.is_cancelled() || self.cut.is_cancelled()
    }

    /// How long it has been without a call, if it is and may still go.
    fn rest(&self) -> Option<Rest> {
        if self.has_calls() || self.is_leaving() {
            return None;
        }
        let since = self.quiet_since.load(Ordering::Relaxed);
        Some((self.has_greeted(), since))
    }

    /// A call begins.
    pub fn call(self: &Arc<Self>) -> Call {
        self.calls.fetch_add(1, Ordering::AcqRel);
        Call(self.clone())
    }

    /// A call begins that waits for something to happen. None where too many do.
    pub fn wait(self: &Arc<Self>) -> Option<Place> {
        take(&self.waiting, WAITING_MAX).then(|| Place {
            peer: self.clone(),
            kind: Kind::Waiting,
        })
    }

    /// An upload begins. The bound that is reached, and what of, where there is no place for it.
    pub fn upload(self: &Arc<Self>) -> Result<Place, (usize, &'static str)> {
        let (own, all) = (&self.uploads, &self.shared.uploads);
        self.transfer(own, all, UPLOADS_PER_CONNECTION_MAX, Kind::Upload)
    }

    /// The same of a download.
    pub fn download(self: &Arc<Self>) -> Result<Place, (usize, &'static str)> {
        let (own, all) = (&self.downloads, &self.shared.downloads);
        self.transfer(own, all, DOWNLOADS_PER_CONNECTION_MAX, Kind::Download)
    }

    fn transfer(
        self: &Arc<Self>,
        own: &AtomicUsize,
        all: &AtomicUsize,
        own_max: usize,
        kind: Kind,
    ) -> Result<Place, (usize, &'static str)> {
        let all_max = self.shared.bounds.transfers;
        if !take(own, own_max) {
            return Err((own_max, "the connection"));
        }
        if !take(all, all_max) {
            own.fetch_sub(1, Ordering::AcqRel);
            return Err((all_max, "the coordinator"));
        }
        let peer = self.clone();
        Ok(Place { peer, kind })
    }

    /// Waits until what it has not read is little enough for a further call. False where it does
    /// not read.
    pub async fn reads(&self) -> bool {
        let read = async {
            loop {
                let was_read = self.was_read.notified();
                if self.unread.load(Ordering::Acquire) <= UNREAD_PER_CONNECTION_MAX {
                    return;
                }
                was_read.await;
            }
        };
        if self.unread.load(Ordering::Acquire) <= UNREAD_PER_CONNECTION_MAX {
            return true;
        }
        tokio::time::timeout(READ_TIMEOUT, read).await.is_ok()
    }

    /// Waits until no other list of this connection is made.
    pub async fn own_turn(&self) -> OwnTurn {
        // Nobody closes it.
        let permit = self.lists.clone().acquire_owned().await.ok();
        OwnTurn { _permit: permit }
    }

    /// Waits for its turn to have a list made. The connection goes first that has left the fewest bytes
    /// unread: however many ask for lists and read none, who reads waits for those that are being made.
    pub async fn turn(self: &Arc<Self>, own: OwnTurn) -> Turn {
        let told = {
            let mut lists = self.shared.lists();
            if lists.free > 0 {
                lists.free -= 1;
                None
            } else {
                let (tell, told) = oneshot::channel();
                lists.waiting.push((self.clone(), tell));
                Some(told)
            }
        };
        let all = match told {
            None => Some(Making(self.shared.clone())),
            Some(told) => told.await.ok(),
        };
        Turn {
            _making: all,
            _own: own,
        }
    }

    /// Holds bytes for it.
    pub fn hold(self: &Arc<Self>, bytes: usize, is_unread: bool) -> Held {
        self.held.fetch_add(bytes, Ordering::AcqRel);
        if is_unread {
            self.unread.fetch_add(bytes, Ordering::AcqRel);
        }
        let before = self.shared.unread.fetch_add(bytes, Ordering::AcqRel);
        if before + bytes > self.shared.bounds.unread {
            self.shared.cut_worst();
        }
        Held {
            peer: self.clone(),
            bytes,
            is_unread,
        }
    }

    /// Holds a part of an answer until the transport has written it, or dropped it.
    pub fn hold_answer(self: &Arc<Self>, answer: Bytes, is_unread: bool) -> Bytes {
        if answer.is_empty() {
            return answer;
        }
        let held = self.hold(answer.len(), is_unread);
        Bytes::from_owner(Answer {
            answer,
            _held: held,
        })
    }
}

/// A call under way.
pub struct Call(Arc<Peer>);

impl Drop for Call {
    fn drop(&mut self) {
        let order = self.0.shared.next_order();
        self.0.quiet_since.store(order, Ordering::Relaxed);
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Waiting,
    Upload,
    Download,
}

/// A place among those that are few.
pub struct Place {
    peer: Arc<Peer>,
    kind: Kind,
}

impl Drop for Place {
    fn drop(&mut self) {
        let (peer, shared) = (&self.peer, &self.peer.shared);
        let less = |places: &AtomicUsize| places.fetch_sub(1, Ordering::AcqRel);
        match self.kind {
            Kind::Waiting => {
                less(&peer.waiting);
            }
            Kind::Upload => {
                less(&peer.uploads);
                less(&shared.uploads);
            }
            Kind::Download => {
                less(&peer.downloads);
                less(&shared.downloads);
            }
        }
    }
}

/// A turn among the lists of one connection.
pub struct OwnTurn {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A turn to have a list made.
pub struct Turn {
    _making: Option<Making>,
    _own: OwnTurn,
}

/// Lists that are made, and who waits to have one made.
struct Lists {
    /// How many more may be made at once. None are free while somebody waits.
    free: usize,
    waiting: Vec<(Arc<Peer>, oneshot::Sender<Making>)>,
}

impl Lists {
    /// Who is next, of those that still wait.
    fn next(&mut self) -> Option<oneshot::Sender<Making>> {
        self.waiting.retain(|(_, tell)| !tell.is_closed());
        let held = |(_, (peer, _)): &(usize, &(Arc<Peer>, _))| peer.held.load(Ordering::Relaxed);
        let (first, _) = self.waiting.iter().enumerate().min_by_key(held)?;
        Some(self.waiting.remove(first).1)
    }
}

/// One of the lists that are made at once. Goes on to who is next.
struct Making(Arc<Shared>);

impl Drop for Making {
    fn drop(&mut self) {
        let next = {
            let mut lists = self.0.lists();
            match lists.next() {
                Some(next) => next,
                None => {
                    lists.free += 1;
                    return;
                }
            }
        };
        // Who stopped waiting just now gives it on in the same way.
        drop(next.send(Making(self.0.clone())));
    }
}

/// Bytes that are held for a connection.
pub struct Held {
    peer: Arc<Peer>,
    bytes: usize,
    is_unread: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        let peer = &self.peer;
        peer.shared.unread.fetch_sub(self.bytes, Ordering::AcqRel);
        peer.held.fetch_sub(self.bytes, Ordering::AcqRel);
        if self.is_unread {
            let before = peer.unread.fetch_sub(self.bytes, Ordering::AcqRel);
            let is_read = |unread| unread <= UNREAD_PER_CONNECTION_MAX;
            if is_read(before - self.bytes) && !is_read(before) {
                peer.was_read.notify_waiters();
            }
        }
    }
}

/// A part of an answer on its way.
struct Answer {
    answer: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests;
