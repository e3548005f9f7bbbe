//! `dispatch` under load: a fleet that is busy, and tasks that wait for it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;
use ganger_proto::v1::{
    self, connect_response::Message as Told, task_service_client::TaskServiceClient,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{
    Setting, calls, cluster,
    cluster::Coordinator,
    figures::{Times, line},
    simulated::{Role, Simulated, TYPE, channels, completed},
};

/// Slots of a simulated worker.
const SLOTS: usize = 10;

/// The type of the tasks that find a free slot.
const FREE_TYPE: &str = "at-hand";

/// How busy the fleet is.
#[derive(Clone, Copy)]
pub struct Load {
    pub running: usize,
    pub queued: usize,
    pub ends_per_second: u32,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            running: 500,
            queued: 1_000,
            ends_per_second: 100,
        }
    }
}

pub fn dispatch(setting: &Setting, load: Load) -> anyhow::Result<()> {
    println!(
        "dispatch under load: {} tasks running, {} queued, {} end a second",
        load.running, load.queued, load.ends_per_second
    );
    let coordinator = Coordinator::start(setting, "load")?;
    let measured = cluster::runtime(1)?.block_on(measure(coordinator.addr, setting.span, load))?;
    let (mut freed, mut made) = measured;
    let told = format!("{}  {}", freed.told(), freed.count());
    line("  slot freed → next assignment", told, "goal: p99 < 20 ms");
    let told = format!("{}  {}", made.told(), made.count());
    line(
        "  made → assigned to a free slot",
        told,
        "goal: p99 < 20 ms",
    );
    Ok(())
}

fn task(agent_type: &str) -> v1::NewTask {
    v1::NewTask {
        agent_type: agent_type.into(),
        prompt: "do nothing".into(),
        ..calls::item()
    }
}

async fn measure(addr: SocketAddr, span: Duration, load: Load) -> anyhow::Result<(Times, Times)> {
    let workers = load.running.div_ceil(SLOTS);
    let channels = channels(addr, workers, 50).await?;
    let (running, mut begun) = mpsc::unbounded_channel();
    let (mut fleet, mut ends) = (JoinSet::new(), Vec::new());
    for number in 0..workers {
        let role = Role::new(format!("busy-{number}"), SLOTS as i32);
        let stream = Simulated::dial(channels[number / 50].clone(), &role).await?;
        let (end, wanted) = mpsc::unbounded_channel();
        ends.push(end);
        fleet.spawn(be_busy(stream, wanted, running.clone()));
    }
    let free = Role {
        agent_type: FREE_TYPE,
        ..Role::new("free".into(), SLOTS as i32)
    };
    let free = Simulated::dial(channels[0].clone(), &free).await?;
    let mut board = TaskServiceClient::new(cluster::connect(addr).await?);
    for _ in 0..(load.running + load.queued).div_ceil(500) {
        let count = (load.running + load.queued).min(500);
        let request = v1::BatchCreateTasksRequest {
            tasks: vec![task(TYPE); count],
            ..v1::BatchCreateTasksRequest::default()
        };
        board.batch_create_tasks(request).await?;
    }
    for _ in 0..load.running {
        begun.recv().await.context("the fleet runs")?;
    }

    let creator = board.clone();
    let made = probe(free, board, span);
    let pace = pace(&ends, creator, load, span);
    let (made, paced) = tokio::join!(made, pace);
    paced?;
    drop(ends);
    let mut freed = Times::default();
    while let Some(ended) = fleet.join_next().await {
        freed.extend(ended??);
    }
    Ok((freed, made?))
}

/// Has tasks end at an even pace, by one worker after the other, and as many made.
async fn pace(
    ends: &[mpsc::UnboundedSender<()>],
    board: TaskServiceClient<tonic::transport::Channel>,
    load: Load,
    span: Duration,
) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / load.ends_per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let until = Instant::now() + span;
    let mut calls = JoinSet::new();
    for worker in (0..ends.len()).cycle() {
        if Instant::now() >= until {
            break;
        }
        ticks.tick().await;
        ends[worker].send(())?;
        let mut board = board.clone();
        let request = v1::CreateTaskRequest {
            agent_type: TYPE.into(),
            prompt: "do nothing".into(),
            ..calls::request()
        };
        calls.spawn(async move { board.create_task(request).await });
        while let Some(called) = calls.try_join_next() {
            called??;
        }
    }
    while let Some(called) = calls.join_next().await {
        called??;
    }
    Ok(())
}

/// Runs what it is given, ends one when it is told, and answers how long its slots stood free.
async fn be_busy(
    mut stream: Simulated,
    mut wanted: mpsc::UnboundedReceiver<()>,
    running: mpsc::UnboundedSender<()>,
) -> anyhow::Result<Times> {
    let (mut held, mut freed) = (VecDeque::new(), VecDeque::new());
    let mut times = Times::default();
    loop {
        tokio::select! {
            told = stream.hear() => {
                let Told::Assignment(assignment) = told? else {
                    continue;
                };
                if let Some(at) = freed.pop_front() {
                    times.add(Instant::elapsed(&at));
                }
                held.push_back(stream.begin(assignment).await?);
                // Nobody counts them any more when the measuring is over.
                let _ = running.send(());
            }
            end = wanted.recv() => {
                if end.is_none() {
                    return Ok(times);
                }
                if let Some(fence) = held.pop_front() {
                    freed.push_back(Instant::now());
                    stream.say(completed(fence)).await?;
                }
            }
        }
    }
}

/// How long tasks take that are made one after the other and find a free slot.
async fn probe(
    mut stream: Simulated,
    board: TaskServiceClient<tonic::transport::Channel>,
    span: Duration,
) -> anyhow::Result<Times> {
    let until = Instant::now() + span;
    let mut times = Times::default();
    while Instant::now() < until {
        let mut board = board.clone();
        let request = v1::CreateTaskRequest {
            agent_type: FREE_TYPE.into(),
            prompt: "do nothing".into(),
            ..calls::request()
        };
        let began = Instant::now();
        let made = tokio::spawn(async move { board.create_task(request).await });
        let fence = stream.assignment().await?;
        times.add(began.elapsed());
        made.await??;
        stream.say(completed(fence)).await?;
        loop {
            if let Told::ReportAck(ack) = stream.hear().await?
                && ack.kind() == v1::ReportKind::Ended
            {
                break;
            }
        }
    }
    Ok(times)
}
