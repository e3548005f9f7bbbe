//! The network: streams between workers and the coordinator, and how they fail.
//!
//! A stream keeps its frames in order in each direction, as TCP does. Frames of different streams
//! overtake each other, and a report may come a second time, by a later stream of its worker. A direction that is blocked holds frames back until it is open again, or
//! until the stream is cut and they are lost. Who gives a stream up is noticed by the other end
//! later, or never.

use std::{collections::BTreeMap, time::Duration};

use board::{
    command::EndReport,
    id::{Fence, InstanceId},
};
use ganger_coordinator::fleet::{Assignment, Verdict};
use ganger_proto::v1::ReportKind;

use super::world::{Event, World};

/// Each so many a report arrives twice.
const ECHO_ONE_IN: u64 = 6;

/// One stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnId(pub(super) u64);

/// What a worker says.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Hello {
        held: Vec<Fence>,
        ended: Vec<InstanceId>,
        dials: u64,
    },
    Heartbeat(u64),
    Started(Fence, Duration),
    Ended(Fence, Box<EndReport>),
    Refused(Fence, String),
    Draining,
    /// The end of the stream, as far as the network tells it.
    End,
}

/// What the coordinator says.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Welcome {
        session: u64,
        verdicts: Vec<Verdict>,
        lease: Duration,
        heartbeat: Duration,
        first_heartbeat: Duration,
    },
    HeartbeatAck(u64),
    Assignment(Box<Assignment>),
    Stop(Fence, String),
    ReportAck {
        fence: Fence,
        kind: ReportKind,
        accepted: bool,
    },
    Goodbye(Duration),
    End,
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) worker: usize,
    pub(super) instance: InstanceId,
    /// Which process of the coordinator is at the other end.
    pub(super) boot: u64,
    /// When the last frame of each direction arrives.
    up_at: u64,
    down_at: u64,
    /// Held back while the direction is blocked.
    up_waiting: Vec<Said>,
    down_waiting: Vec<Told>,
    is_cut: bool,
}

#[derive(Debug, Default)]
pub(super) struct Net {
    conns: BTreeMap<ConnId, Conn>,
    last: u64,
    /// Which worker's frames don't pass, to the coordinator and from it.
    pub(super) up_blocked: BTreeMap<usize, bool>,
    pub(super) down_blocked: BTreeMap<usize, bool>,
    /// The longest usual delay, milliseconds.
    pub(super) slowness: u64,
}

impl Net {
    pub(super) fn of_slowness(slowness: u64) -> Self {
        Self {
            slowness,
            ..Self::default()
        }
    }

    pub(super) fn conn(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(&id).filter(|conn| !conn.is_cut)
    }

    pub(super) fn of_worker(&self, worker: usize) -> Vec<ConnId> {
        let open = self.conns.iter().filter(|(_, conn)| !conn.is_cut);
        let of = open.filter(|(_, conn)| conn.worker == worker);
        of.map(|(id, _)| *id).collect()
    }

    pub(super) fn of_boot(&self, boot: u64) -> Vec<ConnId> {
        let open = self.conns.iter().filter(|(_, conn)| !conn.is_cut);
        let of = open.filter(|(_, conn)| conn.boot == boot);
        of.map(|(id, _)| *id).collect()
    }

    fn is_up_blocked(&self, worker: usize) -> bool {
        self.up_blocked.get(&worker).copied().unwrap_or(false)
    }

    fn is_down_blocked(&self, worker: usize) -> bool {
        self.down_blocked.get(&worker).copied().unwrap_or(false)
    }
}

impl World {
    pub(super) fn open_conn(&mut self, worker: usize, instance: InstanceId) -> ConnId {
        self.net.last += 1;
        let id = ConnId(self.net.last);
        let conn = Conn {
            worker,
            instance,
            boot: self.coordinator.boot,
            up_at: self.now,
            down_at: self.now,
            up_waiting: Vec::new(),
            down_waiting: Vec::new(),
            is_cut: false,
        };
        self.net.conns.insert(id, conn);
        id
    }

    /// How long something is on its way.
    pub(super) fn delay(&mut self) -> u64 {
        match self.chance.below(40) {
            0 if !self.is_calm => self.chance.between(20, 2_000),
            _ => self.chance.between(1, self.net.slowness.max(1)),
        }
    }

    /// The worker's end of a stream says something.
    pub(super) fn say(&mut self, id: ConnId, said: Said) {
        let delay = self.delay();
        let Some(conn) = self.net.conn(id) else {
            return;
        };
        let is_report = matches!(
            said,
            Said::Started(..) | Said::Ended(..) | Said::Refused(..)
        );
        if is_report && !self.is_calm && self.chance.one_in(ECHO_ONE_IN) {
            let worker = conn.worker;
            let late = self.chance.between(200, 60_000);
            self.after(late, Event::Echo(worker, said.clone()));
        }
        let conn = self.net.conn(id).expect("just found");
        if self.net.is_up_blocked(conn.worker) {
            let conn = self.net.conns.get_mut(&id).expect("just found");
            return conn.up_waiting.push(said);
        }
        let conn = self.net.conns.get_mut(&id).expect("just found");
        conn.up_at = conn.up_at.max(self.now + delay);
        let at = conn.up_at;
        self.schedule(at, Event::Said(id, said));
    }

    /// A report arrives once more, by whatever stream its worker has by now.
    pub(super) fn echo(&mut self, worker: usize, said: Said) {
        if let Some(conn) = self.net.of_worker(worker).last() {
            self.arrive_at_coordinator(*conn, said);
        }
    }

    /// The coordinator's end of a stream says something.
    pub(super) fn tell(&mut self, id: ConnId, told: Told) {
        let delay = self.delay();
        let Some(conn) = self.net.conn(id) else {
            return;
        };
        if self.net.is_down_blocked(conn.worker) {
            let conn = self.net.conns.get_mut(&id).expect("just found");
            return conn.down_waiting.push(told);
        }
        let conn = self.net.conns.get_mut(&id).expect("just found");
        conn.down_at = conn.down_at.max(self.now + delay);
        let at = conn.down_at;
        self.schedule(at, Event::Told(id, told));
    }

    /// Loses all that is on the way in a stream.
    pub(super) fn cut(&mut self, id: ConnId) {
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.is_cut = true;
            conn.up_waiting.clear();
            conn.down_waiting.clear();
        }
    }

    /// Lets a worker's frames pass again.
    pub(super) fn heal(&mut self, worker: usize) {
        self.net.up_blocked.remove(&worker);
        self.net.down_blocked.remove(&worker);
        for id in self.net.of_worker(worker) {
            let conn = self.net.conns.get_mut(&id).expect("just listed");
            let ups = std::mem::take(&mut conn.up_waiting);
            let downs = std::mem::take(&mut conn.down_waiting);
            for said in ups {
                self.say(id, said);
            }
            for told in downs {
                self.tell(id, told);
            }
        }
    }
}
