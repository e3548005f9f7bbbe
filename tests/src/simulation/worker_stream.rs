//! A worker's end of its stream: what its session and its ears do around the agenda.

use std::time::Duration;

use board::{
    command::EndReport,
    task::{AttemptEnding, StopReason, Usage},
};
use ganger_proto::v1::{self, ReportKind};
use ganger_worker::pure::{self, Backoff, Report, Taken};

use super::{
    Safeguard,
    net::{ConnId, Said, Told},
    worker::{Connection, WorkerEvent, boards_fence, workers_fence},
    world::{Event, World},
};

/// How long a stop that the coordinator asks for may take.
const STOP_GRACE: Duration = board::limits::STOP_GRACE;

impl World {
    fn connection(&mut self, at: usize) -> Option<&mut Connection> {
        Some(&mut self.workers[at].process.as_mut()?.connection)
    }

    pub(super) fn watch_connection(&mut self, at: usize) {
        let now = self.now;
        let handshake = u64::try_from(pure::HANDSHAKE_SPAN.as_millis()).expect("short");
        match self.connection(at) {
            Some(Connection::Waiting { until }) if now >= *until => self.dial(at),
            Some(Connection::Dialing { conn, since }) if now >= *since + handshake => {
                let conn = *conn;
                self.give_up(conn);
                self.not_connected(at, conn);
            }
            Some(Connection::Up {
                heard_at,
                silence_max,
                ..
            }) if now >= *heard_at + *silence_max => self.disconnected(at, Duration::ZERO),
            _ => {}
        }
    }

    fn dial(&mut self, at: usize) {
        let now = self.now;
        let worker = &mut self.workers[at];
        let process = worker.process.as_mut().expect("it dials");
        process.dials += 1;
        let dials = process.dials;
        let held = process.agenda.presented();
        let mut held: Vec<_> = held.map(|(fence, _)| boards_fence(fence)).collect();
        if self.plan.is_without(Safeguard::HeldSet) {
            held.clear();
        }
        let ended = worker.ended.clone();
        let instance = worker.instance();
        let conn = self.open_conn(at, instance);
        *self.connection(at).expect("it dials") = Connection::Dialing { conn, since: now };
        if self.coordinator.is_up() {
            self.say(conn, Said::Hello { held, ended, dials });
        } else {
            let refused = self.delay();
            self.after(refused, Event::Worker(at, WorkerEvent::NotConnected(conn)));
        }
    }

    pub(super) fn not_connected(&mut self, at: usize, dialled: ConnId) {
        let now = self.now;
        let chance = self.chance.number();
        let Some(process) = &mut self.workers[at].process else {
            return;
        };
        if matches!(process.connection, Connection::Dialing { conn, .. } if conn == dialled) {
            let wait = millis(process.backoff.step(chance));
            process.connection = Connection::Waiting { until: now + wait };
        }
    }

    /// Gives a stream up. What was said in it may still arrive, and so may its end.
    fn give_up(&mut self, conn: ConnId) {
        match self.chance.below(4) {
            0 => self.cut(conn),
            _ => self.say(conn, Said::End),
        }
    }

    /// Everything goes on; what is owed is said on the next stream.
    pub(super) fn disconnected(&mut self, at: usize, retry_after: Duration) {
        let now = self.now;
        let chance = self.chance.number();
        let Some(process) = &mut self.workers[at].process else {
            return;
        };
        let wait = millis(retry_after + process.backoff.step(chance));
        let waiting = Connection::Waiting { until: now + wait };
        let before = std::mem::replace(&mut process.connection, waiting);
        process.agenda.disconnected();
        if let Connection::Up { conn, .. } = before {
            self.give_up(conn);
        }
    }

    pub(super) fn pulse(&mut self, at: usize, beating: ConnId) {
        let instant = self.instant();
        let is_noted = !self.plan.is_without(Safeguard::LeaseFromSending);
        let Some(process) = &mut self.workers[at].process else {
            return;
        };
        let Connection::Up {
            conn,
            heartbeat,
            sequence,
            ..
        } = &mut process.connection
        else {
            return;
        };
        if *conn != beating {
            return;
        }
        *sequence += 1;
        let (sequence, next) = (*sequence, *heartbeat);
        if is_noted {
            process.agenda.heartbeat_sent(sequence, instant);
        }
        self.say(beating, Said::Heartbeat(sequence));
        self.after(next, Event::Worker(at, WorkerEvent::Pulse(beating)));
    }

    pub(super) fn arrive_at_worker(&mut self, id: ConnId, told: Told) {
        let Some(at) = self.net.conn(id).map(|conn| conn.worker) else {
            return;
        };
        let now = self.now;
        match self.connection(at) {
            Some(Connection::Dialing { conn, since }) if *conn == id => {
                let since = *since;
                match told {
                    Told::Welcome { .. } => self.welcomed(at, id, since, told),
                    _ => self.not_connected(at, id),
                }
            }
            Some(Connection::Up { conn, heard_at, .. }) if *conn == id => {
                *heard_at = now;
                self.hear(at, id, told);
            }
            _ => return,
        }
        self.settle(at);
    }

    fn welcomed(&mut self, at: usize, conn: ConnId, since: u64, told: Told) {
        let Told::Welcome {
            verdicts,
            lease,
            heartbeat,
            first_heartbeat,
            ..
        } = told
        else {
            return;
        };
        let (now, hello_sent_at) = (self.now, self.instant_of(since));
        let worker = &mut self.workers[at];
        let process = worker.process.as_mut().expect("it was welcomed");
        let verdicts = verdicts.iter();
        let verdicts = verdicts.map(|verdict| (workers_fence(&verdict.fence), verdict.keep));
        let verdicts: Vec<_> = verdicts.collect();
        process
            .agenda
            .connected(&verdicts, hello_sent_at, lease, true);
        let is_draining = process.agenda.is_draining();
        let heartbeat = millis(heartbeat);
        process.connection = Connection::Up {
            conn,
            heard_at: now,
            silence_max: millis(lease) * 2 / 3,
            heartbeat,
            sequence: 0,
        };
        if is_draining {
            self.say(conn, Said::Draining);
        }
        let first = millis(first_heartbeat);
        self.after(first, Event::Worker(at, WorkerEvent::Pulse(conn)));
    }

    fn hear(&mut self, at: usize, conn: ConnId, told: Told) {
        let instant = self.instant();
        let is_noted = !self.plan.is_without(Safeguard::LeaseFromSending);
        let process = self.workers[at].process.as_mut().expect("it hears");
        match told {
            Told::HeartbeatAck(sequence) => {
                if !is_noted {
                    process.agenda.heartbeat_sent(sequence, instant);
                }
                process.agenda.heartbeat_acknowledged(sequence);
                process.backoff = Backoff::default();
            }
            Told::Assignment(assignment) => {
                if let Taken::No(reason) = self.take_attempt(at, &assignment) {
                    self.say(conn, Said::Refused(assignment.fence, reason.to_owned()));
                }
            }
            Told::Stop(fence, reason) => {
                let held = workers_fence(&fence);
                let is_held = process
                    .agenda
                    .stop(&held, &reason, Some(STOP_GRACE), instant);
                if !is_held {
                    self.say(conn, Said::Refused(fence, "not held here".to_owned()));
                }
            }
            Told::ReportAck {
                fence,
                kind,
                accepted,
            } => process
                .agenda
                .acknowledged(&workers_fence(&fence), kind, accepted),
            Told::Goodbye(retry_after) => self.disconnected(at, retry_after),
            Told::Welcome { .. } | Told::End => self.disconnected(at, Duration::ZERO),
        }
    }

    /// Says what is owed, if there is a stream.
    pub(super) fn report(&mut self, at: usize, fence: &pure::Fence, kind: ReportKind) {
        let process = self.workers[at].process.as_ref().expect("it reports");
        let Connection::Up { conn, .. } = process.connection else {
            return;
        };
        let named = boards_fence(fence);
        let said = match process.agenda.report(fence, kind) {
            Some(Report::Started(limit)) => Said::Started(named, limit),
            Some(Report::Ended(ended)) => Said::Ended(named, Box::new(end_report(&ended))),
            Some(Report::Refused(reason)) => Said::Refused(named, reason),
            None => return,
        };
        self.say(conn, said);
    }
}

impl World {
    /// Says that the worker takes no new work, if there is a stream.
    pub(super) fn say_draining(&mut self, at: usize) {
        if let Some(Connection::Up { conn, .. }) = self.connection(at) {
            let conn = *conn;
            self.say(conn, Said::Draining);
        }
    }

    /// The worker finds that a stream broke.
    pub(super) fn stream_broke(&mut self, at: usize, broken: ConnId) {
        match self.connection(at) {
            Some(Connection::Dialing { conn, .. }) if *conn == broken => {
                self.not_connected(at, broken);
            }
            Some(Connection::Up { conn, .. }) if *conn == broken => {
                self.disconnected(at, Duration::ZERO);
            }
            _ => return,
        }
        self.settle(at);
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn end_report(ended: &v1::Ended) -> EndReport {
    let ending = match ended.ending() {
        v1::AttemptEnding::Completed => AttemptEnding::Completed,
        v1::AttemptEnding::Cancelled => AttemptEnding::Cancelled,
        v1::AttemptEnding::TimedOut => AttemptEnding::TimedOut,
        _ => AttemptEnding::Failed,
    };
    let stop_reason = match ended.stop_reason() {
        v1::StopReason::Deadline => Some(StopReason::Deadline),
        v1::StopReason::Timeout => Some(StopReason::Timeout),
        v1::StopReason::Cancelled => Some(StopReason::Cancelled),
        _ => None,
    };
    EndReport {
        ending,
        result: ended.result.as_str().into(),
        error: ended.error.as_str().into(),
        stop_reason,
        outputs: Vec::new(),
        usage: Usage::default(),
    }
}
