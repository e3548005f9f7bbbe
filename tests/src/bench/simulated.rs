//! Workers that are played by this process, many to a connection.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use ganger_proto::v1::{
    self, connect_request::Message as Said, connect_response::Message as Told,
    worker_service_client::WorkerServiceClient,
};
use tokio::{
    sync::mpsc,
    time::{Interval, interval_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::cluster;

/// The type that they offer.
pub const TYPE: &str = "simulated";

/// Who is played.
#[derive(Clone)]
pub struct Role {
    pub name: String,
    pub instance: String,
    pub slots: i32,
    pub agent_type: &'static str,
    pub held: Vec<v1::Held>,
}

impl Role {
    pub fn new(name: String, slots: i32) -> Self {
        Self {
            name,
            instance: uuid::Uuid::new_v4().to_string(),
            slots,
            agent_type: TYPE,
            held: Vec::new(),
        }
    }

    fn hello(&self) -> v1::Hello {
        v1::Hello {
            name: self.name.clone(),
            instance_id: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            slots: self.slots,
            agent_types: vec![v1::AgentType {
                name: self.agent_type.into(),
                description: "does nothing".into(),
                runtime: "llm".into(),
                ..v1::AgentType::default()
            }],
            held: self.held.clone(),
            protocol: ganger_coordinator::fleet::PROTOCOL,
            ..v1::Hello::default()
        }
    }
}

/// A worker's stream, past its welcome. It must be told to beat.
pub struct Simulated {
    pub say: mpsc::Sender<v1::ConnectRequest>,
    pub told: Streaming<v1::ConnectResponse>,
    pub welcome: v1::Welcome,
    pub beats: Interval,
    sequence: u64,
}

impl Simulated {
    pub async fn dial(channel: Channel, role: &Role) -> anyhow::Result<Self> {
        let (say, said) = mpsc::channel(64);
        say.send(frame(Said::Hello(role.hello()))).await?;
        let mut told = WorkerServiceClient::new(channel)
            .connect(ReceiverStream::new(said))
            .await?
            .into_inner();
        let first = told.message().await?.context("no welcome")?.message;
        let Some(Told::Welcome(welcome)) = first else {
            anyhow::bail!("no welcome: {first:?}");
        };
        let interval = span(welcome.heartbeat_interval.as_ref())?;
        ensure!(!interval.is_zero(), "heartbeats without pause");
        let first = span(welcome.first_heartbeat.as_ref()).unwrap_or(interval);
        let beats = interval_at((Instant::now() + first).into(), interval);
        Ok(Self {
            say,
            told,
            welcome,
            beats,
            sequence: 0,
        })
    }

    pub async fn beat(&mut self) -> anyhow::Result<()> {
        self.sequence += 1;
        let sequence = self.sequence;
        self.say(Said::Heartbeat(v1::Heartbeat { sequence })).await
    }

    pub async fn say(&self, said: Said) -> anyhow::Result<()> {
        Ok(self.say.send(frame(said)).await?)
    }

    /// What comes next, beating meanwhile.
    pub async fn hear(&mut self) -> anyhow::Result<Told> {
        loop {
            tokio::select! {
                told = self.told.message() => {
                    let told = told?.context("the stream ended")?.message;
                    match told.context("an empty frame")? {
                        Told::HeartbeatAck(_) => {}
                        told => return Ok(told),
                    }
                }
                _ = self.beats.tick() => self.beat().await?,
            }
        }
    }

    /// The next assignment, begun.
    pub async fn assignment(&mut self) -> anyhow::Result<v1::Fence> {
        loop {
            if let Told::Assignment(assignment) = self.hear().await? {
                return self.begin(assignment).await;
            }
        }
    }

    /// Says that an assignment's sub-agent began.
    pub async fn begin(&self, assignment: v1::Assignment) -> anyhow::Result<v1::Fence> {
        let fence = assignment.fence.context("an assignment has a fence")?;
        let started = v1::Started {
            fence: Some(fence.clone()),
            run_limit: None,
        };
        self.say(Said::Started(started)).await?;
        Ok(fence)
    }
}

pub fn completed(fence: v1::Fence) -> Said {
    Said::Ended(v1::Ended {
        fence: Some(fence),
        ending: v1::AttemptEnding::Completed.into(),
        result: "nothing was to be done".into(),
        ..v1::Ended::default()
    })
}

fn frame(message: Said) -> v1::ConnectRequest {
    v1::ConnectRequest {
        session: 0,
        message: Some(message),
    }
}

fn span(span: Option<&pbjson_types::Duration>) -> anyhow::Result<Duration> {
    let span = span.context("a span")?;
    let (seconds, nanos) = (span.seconds.try_into()?, span.nanos.try_into()?);
    Ok(Duration::new(seconds, nanos))
}

/// Connections for so many streams, each for so many of them.
pub async fn channels(
    addr: SocketAddr,
    streams: usize,
    per_connection: usize,
) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..streams.div_ceil(per_connection) {
        channels.push(cluster::connect(addr).await?);
    }
    Ok(channels)
}
