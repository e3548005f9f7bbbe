//! `cycle` and `dispatch`: through a worker that does nothing.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use ganger_proto::v1::{
    self, connect_request::Message as Said, connect_response::Message as Told,
    task_service_client::TaskServiceClient, worker_service_client::WorkerServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{
    Setting, calls, ceiling,
    cluster::{self, Coordinator},
    figures::{Times, line, rate},
};

const SLOTS: usize = 64;
const TYPE: &str = "nothing";

/// A worker's stream, past its welcome.
struct Stream {
    say: mpsc::Sender<v1::ConnectRequest>,
    told: Streaming<v1::ConnectResponse>,
}

impl Stream {
    async fn connect(addr: SocketAddr) -> anyhow::Result<Self> {
        let channel = cluster::connect(addr).await?;
        let (say, said) = mpsc::channel(1_024);
        let hello = v1::Hello {
            name: "idle-hands".into(),
            instance_id: uuid::Uuid::new_v4().to_string(),
            slots: SLOTS as i32,
            agent_types: vec![v1::AgentType {
                name: TYPE.into(),
                runtime: "llm".into(),
                ..v1::AgentType::default()
            }],
            manual: true,
            protocol: ganger_coordinator::fleet::PROTOCOL,
            ..v1::Hello::default()
        };
        say.send(frame(Said::Hello(hello))).await?;
        let mut told = WorkerServiceClient::new(channel)
            .connect(ReceiverStream::new(said))
            .await?
            .into_inner();
        let welcome = told.message().await?.context("no welcome")?;
        anyhow::ensure!(matches!(welcome.message, Some(Told::Welcome(_))));
        Ok(Self { say, told })
    }

    /// The next assignment; counts the ends that are acknowledged meanwhile.
    async fn assignment(&mut self, ends: &mut usize) -> anyhow::Result<v1::Assignment> {
        loop {
            let frame = self.told.message().await?.context("the stream ended")?;
            match frame.message {
                Some(Told::Assignment(assignment)) => return Ok(assignment),
                Some(Told::ReportAck(ack)) if ack.kind() == v1::ReportKind::Ended => {
                    anyhow::ensure!(ack.accepted, "an end was refused: {}", ack.reason);
                    *ends += 1;
                }
                _ => {}
            }
        }
    }

    async fn begin_and_end(&self, fence: Option<v1::Fence>) -> anyhow::Result<()> {
        let started = v1::Started {
            fence: fence.clone(),
            run_limit: None,
        };
        self.say.send(frame(Said::Started(started))).await?;
        let ended = v1::Ended {
            fence,
            ending: v1::AttemptEnding::Completed.into(),
            result: "nothing was to be done".into(),
            ..v1::Ended::default()
        };
        Ok(self.say.send(frame(Said::Ended(ended))).await?)
    }
}

fn frame(message: Said) -> v1::ConnectRequest {
    v1::ConnectRequest {
        session: 0,
        message: Some(message),
    }
}

fn request() -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        agent_type: TYPE.into(),
        ..calls::request()
    }
}

pub fn cycle(setting: &Setting) -> anyhow::Result<()> {
    println!("cycle: created → assigned → started → completed, all durable, {SLOTS} slots");
    let dir = cluster::fresh_dir(setting, "disk")?;
    let (_, disk) = ceiling::fdatasync(&dir, setting.span / 2)?;
    line("  ceiling: append + fdatasync", format!("{disk:.0}/s"), "");
    let coordinator = Coordinator::start(setting, "cycle")?;
    let done = cluster::runtime(1)?.block_on(cycles(coordinator.addr, setting.span))?;
    line("  cycles", format!("{done:.0}/s"), "goal: > 5,000/s");
    Ok(())
}

async fn cycles(addr: SocketAddr, span: Duration) -> anyhow::Result<f64> {
    let mut stream = Stream::connect(addr).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    // Twice the slots in the making, so that a slot never waits for its next task.
    let outstanding = Arc::new(AtomicUsize::new(0));
    for _ in 0..SLOTS {
        let channel = cluster::connect(addr).await?;
        let (is_over, outstanding) = (is_over.clone(), outstanding.clone());
        tokio::spawn(async move {
            let mut client = TaskServiceClient::new(channel);
            while !is_over.load(Ordering::Relaxed) {
                if outstanding.load(Ordering::Relaxed) > 4 * SLOTS {
                    tokio::task::yield_now().await;
                    continue;
                }
                outstanding.fetch_add(1, Ordering::Relaxed);
                if let Err(status) = client.create_task(request()).await {
                    eprintln!("create: {status}");
                    return;
                }
            }
        });
    }
    let start = Instant::now();
    let mut ends = 0;
    while start.elapsed() < span {
        let assignment = stream.assignment(&mut ends).await?;
        outstanding.fetch_sub(1, Ordering::Relaxed);
        stream.begin_and_end(assignment.fence).await?;
    }
    let rate = rate(ends, start);
    is_over.store(true, Ordering::Relaxed);
    Ok(rate)
}

pub fn dispatch(setting: &Setting) -> anyhow::Result<()> {
    println!("dispatch: from the call that makes a task to its assignment, idle fleet");
    let dir = cluster::fresh_dir(setting, "disk")?;
    let (mut disk, _) = ceiling::fdatasync(&dir, setting.span / 2)?;
    line("  ceiling: append + fdatasync", disk.told(), "");
    let coordinator = Coordinator::start(setting, "dispatch")?;
    let mut times = cluster::runtime(1)?.block_on(dispatches(coordinator.addr, setting.span))?;
    line("  dispatch", times.told(), "goal: p50 < 1.5 ms, p99 < 5 ms");
    Ok(())
}

async fn dispatches(addr: SocketAddr, span: Duration) -> anyhow::Result<Times> {
    let mut stream = Stream::connect(addr).await?;
    let channel = cluster::connect(addr).await?;
    let start = Instant::now();
    let mut times = Times::default();
    let mut ends = 0;
    while start.elapsed() < span {
        let mut client = TaskServiceClient::new(channel.clone());
        let began = Instant::now();
        let created = tokio::spawn(async move { client.create_task(request()).await });
        let assignment = stream.assignment(&mut ends).await?;
        times.add(began.elapsed());
        created.await??;
        stream.begin_and_end(assignment.fence).await?;
        // The fleet is idle again when the end is acknowledged.
        let target = times.count();
        while ends < target {
            let frame = stream.told.message().await?.context("the stream ended")?;
            if let Some(Told::ReportAck(ack)) = frame.message
                && ack.kind() == v1::ReportKind::Ended
            {
                ends += 1;
            }
        }
    }
    Ok(times)
}
