//! The coordinator's end of the workers' streams: what its sessions do around the engine.

use std::collections::BTreeMap;

use board::{
    id::{AgentTypeName, Fence, InstanceId, TeamName},
    task::AttemptEnding,
};
use ganger_coordinator::{
    engine::{FleetInput, From, HelloReply, Input, ReportReply},
    fleet::{Heard, Hello, Offered, Order, PROTOCOL, PROTOCOL_MIN},
};
use ganger_proto::v1::ReportKind;
use tokio::sync::{
    mpsc::{self, error::TryRecvError as NoOrder},
    oneshot::{self, error::TryRecvError as NoAnswer},
};

use super::{
    Safeguard,
    coordinator::AGENT_TYPE,
    memory::Report,
    net::{ConnId, Said, Told},
    world::{Event, World},
};

/// Orders that wait for a stream.
const ORDERS_MAX: usize = 4_096;

/// All streams of one process.
#[derive(Default)]
pub(super) struct Streams {
    open: BTreeMap<ConnId, Stream>,
    hellos: Vec<Greeted>,
    reports: Vec<Reported>,
}

/// A stream that was welcomed.
struct Stream {
    from: From,
    heard: Heard,
    orders: mpsc::Receiver<Order>,
}

/// A Hello that the engine has not answered.
struct Greeted {
    conn: ConnId,
    hello: Hello,
    answer: oneshot::Receiver<HelloReply>,
    orders: mpsc::Receiver<Order>,
    /// The stream ended before.
    is_over: bool,
}

/// A report that the engine has not answered.
struct Reported {
    conn: ConnId,
    report: Report,
    kind: ReportKind,
    answer: oneshot::Receiver<ReportReply>,
}

impl World {
    pub(super) fn arrive_at_coordinator(&mut self, id: ConnId, said: Said) {
        let now = self.time();
        let boot = self.coordinator.boot;
        let is_there = self.net.conn(id).is_some_and(|conn| conn.boot == boot);
        if !is_there || !self.coordinator.is_up() {
            return;
        }
        match said {
            Said::Hello { held, ended, dials } => return self.greet(id, held, ended, dials),
            Said::End => return self.stream_ended(id),
            _ => {}
        }
        let Some(stream) = self.coordinator.streams.open.get(&id) else {
            return;
        };
        stream.heard.note(now);
        let from = stream.from.clone();
        match said {
            Said::Heartbeat(sequence) => self.tell(id, Told::HeartbeatAck(sequence)),
            Said::Draining => self.put_fleet(Input::Fleet(FleetInput::Draining(from))),
            Said::Ended(..) => {
                // Its transcript has to be on the disk before.
                let sync = self.chance.between(1, 60);
                self.after(sync, Event::Synced(id, said));
            }
            said => self.submit(id, said),
        }
    }

    fn greet(&mut self, id: ConnId, held: Vec<Fence>, ended: Vec<InstanceId>, dials: u64) {
        let conn = self.net.conn(id).expect("it was just used");
        let worker = &self.workers[conn.worker];
        let offered = Offered {
            name: AgentTypeName::parse(AGENT_TYPE).expect("a name"),
            description: "does as it is told".into(),
            runtime: "llm".into(),
            digest: "1".into(),
            is_interactive: false,
            hiring_depth: 0,
            tasks_max: board::limits::ATTEMPT_TASKS,
            may_create_teams: false,
            prompt_is_script: false,
            stall_span: None,
        };
        let hello = Hello {
            name: worker.name.clone(),
            instance: conn.instance,
            version: "1".into(),
            labels: BTreeMap::new(),
            slots: u32::try_from(worker.slots).expect("few"),
            types: vec![offered],
            teams: None::<Vec<TeamName>>,
            held,
            manual: false,
            sandbox: "none".into(),
            sandbox_controls: Vec::new(),
            ended,
            protocol: PROTOCOL,
            protocol_min: PROTOCOL_MIN,
            dials,
        };
        let (outbox, orders) = mpsc::channel(ORDERS_MAX);
        let (reply, answer) = oneshot::channel();
        self.coordinator.streams.hellos.push(Greeted {
            conn: id,
            hello: hello.clone(),
            answer,
            orders,
            is_over: false,
        });
        self.put_fleet(Input::Fleet(FleetInput::Hello {
            hello: Box::new(hello),
            outbox,
            reply,
        }));
    }

    pub(super) fn stream_ended(&mut self, id: ConnId) {
        let streams = &mut self.coordinator.streams;
        let greeted = streams.hellos.iter_mut().find(|hello| hello.conn == id);
        if let Some(greeted) = greeted {
            greeted.is_over = true;
        }
        if let Some(stream) = streams.open.remove(&id) {
            self.put_fleet(Input::Fleet(FleetInput::Closed(stream.from)));
        }
    }

    /// Hands a report to the driver.
    pub(super) fn submit(&mut self, id: ConnId, said: Said) {
        let Some(stream) = self.coordinator.streams.open.get(&id) else {
            return;
        };
        let said_by = stream.from.clone();
        let (fence, kind, ending, result) = match &said {
            Said::Started(fence, _) => (*fence, ReportKind::Started, None, "".into()),
            Said::Ended(fence, report) => {
                let ending = Some(report.ending);
                (*fence, ReportKind::Ended, ending, report.result.clone())
            }
            Said::Refused(fence, _) => {
                let ending = Some(AttemptEnding::HandedBack);
                (*fence, ReportKind::Refused, ending, "".into())
            }
            _ => return,
        };
        let report = Report {
            fence,
            instance: said_by.instance,
            ending,
            result,
        };
        let (from, fence) = self.unfenced(said_by, fence);
        let (reply, answer) = oneshot::channel();
        let input = match said {
            Said::Started(_, limit) => FleetInput::Started {
                from,
                fence,
                run_limit: Some(limit),
                reply,
            },
            Said::Ended(_, report) => FleetInput::Ended {
                from,
                fence,
                report,
                reply,
            },
            Said::Refused(_, reason) => FleetInput::Refused {
                from,
                fence,
                reason: reason.into(),
                reply,
            },
            _ => return,
        };
        self.coordinator.streams.reports.push(Reported {
            conn: id,
            report,
            kind,
            answer,
        });
        self.put_fleet(Input::Fleet(input));
    }

    /// Without fencing, whatever is said of a task is said of its present attempt, whoever says it.
    fn unfenced(&self, from: From, fence: Fence) -> (From, Fence) {
        let engine = self.coordinator.engine.as_ref();
        let is_without = self.plan.is_without(Safeguard::Fencing);
        let Some(engine) = engine.filter(|_| is_without) else {
            return (from, fence);
        };
        let key = (fence.team, fence.task);
        let view = engine.board().view(key);
        let placement = view.as_ref().and_then(|view| view.task.placement());
        let present = placement.and_then(|placement| {
            let mut streams = self.coordinator.streams.open.values();
            let stream = streams.find(|stream| stream.from.instance == placement.instance)?;
            Some((stream.from.clone(), engine.board().fence(key)?))
        });
        present.unwrap_or((from, fence))
    }

    /// Tells workers what their Hellos and reports came to.
    pub(super) fn answer_streams(&mut self) {
        for mut greeted in std::mem::take(&mut self.coordinator.streams.hellos) {
            match greeted.answer.try_recv() {
                Ok(Ok(welcome)) => {
                    let from = From {
                        worker: greeted.hello.name.clone(),
                        instance: greeted.hello.instance,
                        session: welcome.session,
                    };
                    if greeted.is_over {
                        self.put_fleet(Input::Fleet(FleetInput::Closed(from)));
                        continue;
                    }
                    let stream = Stream {
                        from,
                        heard: welcome.heard,
                        orders: greeted.orders,
                    };
                    self.coordinator.streams.open.insert(greeted.conn, stream);
                    let told = Told::Welcome {
                        session: welcome.session.0,
                        verdicts: welcome.verdicts,
                        lease: welcome.leases.lease,
                        heartbeat: welcome.leases.heartbeat,
                        first_heartbeat: welcome.first_heartbeat,
                    };
                    self.tell(greeted.conn, told);
                }
                Ok(Err(_)) | Err(NoAnswer::Closed) => self.tell(greeted.conn, Told::End),
                Err(NoAnswer::Empty) => self.coordinator.streams.hellos.push(greeted),
            }
        }
        for mut reported in std::mem::take(&mut self.coordinator.streams.reports) {
            match reported.answer.try_recv() {
                Ok(reply) => self.report_answered(&reported, reply),
                Err(NoAnswer::Empty) => self.coordinator.streams.reports.push(reported),
                Err(NoAnswer::Closed) => {}
            }
        }
    }

    fn report_answered(&mut self, reported: &Reported, reply: ReportReply) {
        let accepted = reply.is_ok();
        match reply {
            Ok(()) => {
                let noted = self.memory.report_accepted(&reported.report);
                self.hold(noted);
                let disk = &self.coordinator.disk;
                let report = &reported.report;
                let kept = self.memory.check_report(report, disk, &self.history);
                self.hold(kept);
            }
            Err(_) => self.ran.stale += 1,
        }
        if self.coordinator.streams.open.contains_key(&reported.conn) {
            let (fence, kind) = (reported.report.fence, reported.kind);
            let told = Told::ReportAck {
                fence,
                kind,
                accepted,
            };
            self.tell(reported.conn, told);
        }
    }

    /// Writes what the fleet has for the streams.
    pub(super) fn pass_orders_on(&mut self) {
        let conns: Vec<ConnId> = self.coordinator.streams.open.keys().copied().collect();
        for id in conns {
            while let Some(stream) = self.coordinator.streams.open.get_mut(&id) {
                let told = match stream.orders.try_recv() {
                    Ok(Order::Assign(assignment)) => Told::Assignment(assignment),
                    Ok(Order::Stop { fence, reason }) => Told::Stop(fence, reason.to_string()),
                    Ok(Order::Goodbye { retry_after, .. }) => Told::Goodbye(retry_after),
                    // Words for sub-agents and drains are asked for by nobody here.
                    Ok(_) => continue,
                    Err(NoOrder::Empty) => break,
                    // The fleet let go of this stream.
                    Err(NoOrder::Disconnected) => Told::End,
                };
                let is_end = matches!(told, Told::Goodbye(_) | Told::End);
                self.tell(id, told);
                if is_end {
                    self.stream_ended(id);
                }
            }
        }
    }

    /// The process at this end is gone.
    pub(super) fn streams_broke(&mut self, boot: u64) {
        for id in self.net.of_boot(boot) {
            match self.chance.below(3) {
                // The machine is gone as well: nobody says that the stream is over.
                0 => self.cut(id),
                _ => self.tell(id, Told::End),
            }
        }
    }
}
