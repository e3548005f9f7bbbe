//! `WorkerService`: the coordinator's end of a worker's stream.
//!
//! Three tasks share a stream. This one only reads: it notes each sign of life at its receipt, and
//! hands everything else on without waiting. The second works off reports, in order for each
//! attempt ([`super::worker_reports`]). The third writes.

use std::time::Duration;

use board::id::Fence;
use ganger_proto::v1::{
    self, connect_request::Message as Said, connect_response::Message as Told,
    worker_service_server::WorkerService,
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Services,
    body::{Answers, Sink},
    from_wire, status, to_wire, transcript,
    worker_reports::Reports,
};
use crate::{
    engine::{FleetInput, From},
    fleet::{Assignment, BlockerResult, Hello, Order, Welcome},
    transcripts::TranscriptError,
};

/// How long a stream may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Orders that wait for a worker's stream. More than a worker has slots, so that only a worker
/// that doesn't read at all is ever cut for it.
const ORDERS_MAX: usize = 4_096;

/// How long a worker that is asked to stop a sub-agent may wait for it.
const STOP_GRACE: Duration = board::limits::STOP_GRACE;

#[tonic::async_trait]
impl WorkerService for Services {
    type ConnectStream = Answers<v1::ConnectResponse>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (sink, answers) = Sink::new();
        let services = self.clone();
        let said = request.into_inner();
        // Answered at once, so that the worker's client has its stream before it says hello.
        self.tasks.spawn(async move {
            if let Err(status) = services.serve_worker(said, &sink).await {
                sink.fail(status).await;
            }
        });
        Ok(Response::new(answers))
    }
}

impl Services {
    async fn serve_worker(
        &self,
        mut said: Streaming<v1::ConnectRequest>,
        sink: &Sink<v1::ConnectResponse>,
    ) -> Result<(), Status> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, said.message())
            .await
            .map_err(|_| status::protocol("no hello came in time"))?
            .map_err(|said| status::of_tonic(&said))?;
        let Some(Said::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(status::protocol("a worker's stream begins with its hello"));
        };
        let hello = from_wire::hello(hello)?;
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        let (name, instance) = (hello.name.clone(), hello.instance);
        let is_manual = hello.manual;
        let reply = self.handle.hello(hello.clone(), orders).await;
        let welcome = reply
            .map_err(status::unavailable)?
            .map_err(|refused| status::hello_refused(&refused))?;
        let from = From {
            worker: name,
            instance,
            session: welcome.session,
        };
        tracing::info!(worker = %from.worker, session = from.session.0, slots = hello.slots, "worker connected");
        let ended = self
            .converse(said, sink, waiting, &from, &welcome, &hello)
            .await;
        tracing::info!(worker = %from.worker, session = from.session.0, is_manual, "worker's stream ended");
        // Not taken only when the driver has ended, and then leases end with it.
        let _ = self.handle.tell_fleet(FleetInput::Closed(from));
        ended
    }

    async fn converse(
        &self,
        said: Streaming<v1::ConnectRequest>,
        sink: &Sink<v1::ConnectResponse>,
        orders: mpsc::Receiver<Order>,
        from: &From,
        welcome: &Welcome,
        hello: &Hello,
    ) -> Result<(), Status> {
        let session = welcome.session.0;
        let greeting = self
            .welcome(welcome)
            .await
            .map_err(|error| status::transcript(&error))?;
        let (acks, ready) = mpsc::channel(ORDERS_MAX);
        let heard = welcome.heard.clone();
        let (reports, work) =
            Reports::new(self.clone(), from.clone(), heard, hello.slots, acks.clone());
        tokio::select! {
            ended = self.read(said, from, welcome, reports, acks) => ended,
            ended = work.run() => ended,
            ended = self.write(sink, session, greeting, orders, ready) => ended,
        }
    }

    /// Reads until the stream ends.
    async fn read(
        &self,
        mut said: Streaming<v1::ConnectRequest>,
        from: &From,
        welcome: &Welcome,
        reports: Reports,
        acks: mpsc::Sender<Told>,
    ) -> Result<(), Status> {
        loop {
            let frame = said.message().await;
            let Some(frame) = frame.map_err(|said| status::of_tonic(&said))? else {
                return Ok(());
            };
            welcome.heard.note(self.clock.now());
            if frame.session != 0 && frame.session != from.session.0 {
                return Err(status::protocol("a frame is of another session"));
            }
            let Some(message) = frame.message else {
                continue;
            };
            match message {
                Said::Hello(_) => return Err(status::protocol("a second hello")),
                Said::Heartbeat(heartbeat) => {
                    let ack = v1::HeartbeatAck {
                        sequence: heartbeat.sequence,
                    };
                    acks.try_send(Told::HeartbeatAck(ack))
                        .map_err(|_| status::protocol("the worker does not read"))?;
                }
                Said::Draining(draining) => {
                    tracing::info!(worker = %from.worker, reason = draining.reason, "worker drains");
                    let draining = FleetInput::Draining(from.clone());
                    self.handle
                        .tell_fleet(draining)
                        .map_err(status::unavailable)?;
                }
                report => reports.hand_on(report)?,
            }
        }
    }

    async fn welcome(&self, welcome: &Welcome) -> Result<v1::Welcome, TranscriptError> {
        let mut verdicts = Vec::with_capacity(welcome.verdicts.len());
        for verdict in &welcome.verdicts {
            let key = transcript::key(
                (verdict.fence.team, verdict.fence.task),
                verdict.fence.attempt,
            );
            let kept_through = if verdict.keep {
                self.transcripts.kept_through(key).await?
            } else {
                0
            };
            let secret = verdict.keep.then(|| self.secret(&verdict.fence));
            verdicts.push(v1::HeldVerdict {
                fence: Some(to_wire::fence(&verdict.fence)),
                secret: secret.unwrap_or_default(),
                keep: verdict.keep,
                reason: verdict.reason.clone(),
                kept_through: i64::try_from(kept_through).unwrap_or(i64::MAX),
            });
        }
        Ok(v1::Welcome {
            heartbeat_interval: Some(to_wire::span(welcome.leases.heartbeat)),
            lease_span: Some(to_wire::span(welcome.lease_span)),
            verdicts,
            epoch: to_wire::epoch(welcome.epoch),
            version: self.about.version.to_owned(),
            protocol: welcome.protocol,
            first_heartbeat: Some(to_wire::span(welcome.first_heartbeat)),
        })
    }

    /// Writes the welcome, then what comes: acknowledgements before orders.
    async fn write(
        &self,
        sink: &Sink<v1::ConnectResponse>,
        session: u64,
        greeting: v1::Welcome,
        mut orders: mpsc::Receiver<Order>,
        mut acks: mpsc::Receiver<Told>,
    ) -> Result<(), Status> {
        let frame = |message| v1::ConnectResponse {
            session,
            message: Some(message),
        };
        let mut next = Told::Welcome(greeting);
        loop {
            let is_goodbye = matches!(next, Told::Goodbye(_));
            if sink.put(frame(next)).await.is_err() || is_goodbye {
                return Ok(());
            }
            next = tokio::select! {
                biased;
                Some(ack) = acks.recv() => ack,
                order = orders.recv() => match order {
                    Some(order) => self.told(order),
                    // The fleet let go of this stream.
                    None => return Ok(()),
                },
                () = sink.gone() => return Ok(()),
            };
        }
    }

    /// An attempt's secret, for its worker alone.
    fn secret(&self, fence: &Fence) -> String {
        self.attempt_key.secret(fence).reveal()
    }

    fn told(&self, order: Order) -> Told {
        match order {
            Order::Assign(assignment) => {
                let secret = self.secret(&assignment.fence);
                Told::Assignment(assigned(*assignment, secret))
            }
            Order::Stop { fence, reason } => Told::Stop(v1::Stop {
                fence: Some(to_wire::fence(&fence)),
                reason: reason.to_string(),
                grace: Some(to_wire::span(STOP_GRACE)),
            }),
            Order::Tell { fence, word } => Told::Word(to_wire::word(&fence, &word)),
            Order::Drain { reason, timeout } => Told::Drain(v1::Drain {
                reason: reason.to_string(),
                timeout: timeout.map(to_wire::span),
            }),
            Order::Goodbye {
                reason,
                retry_after,
            } => Told::Goodbye(v1::Goodbye {
                reason: reason.to_owned(),
                retry_after: Some(to_wire::span(retry_after)),
            }),
        }
    }
}

fn assigned(assignment: Assignment, secret: String) -> v1::Assignment {
    let blocker = |blocker: &BlockerResult| v1::BlockerResult {
        task_id: blocker.task.0,
        subject: blocker.subject.to_string(),
        result: blocker.result.to_string(),
        result_cut: blocker.is_cut,
        outputs: blocker.outputs.iter().map(to_wire::artifact).collect(),
    };
    let (team, member) = (assignment.team.as_str(), &assignment.acts_as);
    let mail = assignment.mail.iter();
    let mail = mail.map(|letter| to_wire::message(team, member, letter));
    let mail = mail.collect();
    v1::Assignment {
        secret,
        fence: Some(to_wire::fence(&assignment.fence)),
        team: assignment.team.to_string(),
        subject: assignment.subject.to_string(),
        prompt: assignment.prompt.to_string(),
        agent_type: assignment.agent_type.to_string(),
        member: assignment.acts_as,
        instructions: assignment.instructions.to_string(),
        model: assignment.model.to_string(),
        timeout: assignment.timeout.map(to_wire::span),
        deadline: assignment.deadline.map(to_wire::time),
        time_left: assignment.time_left.map(to_wire::span),
        inputs: assignment.inputs.iter().map(to_wire::artifact).collect(),
        output_globs: assignment
            .output_globs
            .iter()
            .map(ToString::to_string)
            .collect(),
        blockers: assignment.blockers.iter().map(blocker).collect(),
        mail,
        lender: assignment.lender.as_ref().map(to_wire::fence),
        hiring_depth: i32::try_from(assignment.hiring_depth).unwrap_or(0),
    }
}
