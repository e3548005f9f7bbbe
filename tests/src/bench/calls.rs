//! `create`: durable CreateTask.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use ganger_proto::v1::{self, task_service_client::TaskServiceClient};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    Setting, ceiling,
    cluster::{self, Coordinator},
    figures::{Times, line, rate},
};

/// Connections that 64 calls in flight are spread over.
const CONNECTIONS: usize = 4;

pub fn request() -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        subject: "Create migration script".into(),
        description: "Write the SQL to alter the users table, and its way back. ".repeat(4),
        ..v1::CreateTaskRequest::default()
    }
}

/// The same as an item of a batch.
pub fn item() -> v1::NewTask {
    let request = request();
    v1::NewTask {
        subject: request.subject,
        description: request.description,
        ..v1::NewTask::default()
    }
}

pub fn create(setting: &Setting) -> anyhow::Result<()> {
    println!("create: durable CreateTask with a description of 240 bytes");
    let dir = cluster::fresh_dir(setting, "disk")?;
    let echo = ceiling::echo(setting.threads)?;
    let coordinator = Coordinator::start(setting, "create")?;
    let runtime = cluster::runtime(1)?;

    let (mut disk, disk_rate) = ceiling::fdatasync(&dir, setting.span / 2)?;
    let told = format!("{}  {disk_rate:.0}/s", disk.told());
    line("  ceiling: append + fdatasync", told, "");
    let (mut times, echoed) = runtime.block_on(load(echo, 1, setting.span))?;
    let told = format!("{}  {echoed:.0}/s", times.told());
    line("  ceiling: echo, 1 in flight", told, "");
    let (mut times, one) = runtime.block_on(load(coordinator.addr, 1, setting.span))?;
    let told = format!("{}  {one:.0}/s", times.told());
    line("  create, 1 in flight", told, "goal: p50 < 0.8 ms");

    let (mut times, echoed) = runtime.block_on(load(echo, 64, setting.span))?;
    let told = format!("{}  {echoed:.0}/s", times.told());
    line("  ceiling: echo, 64 in flight", told, "");
    let (mut times, many) = runtime.block_on(load(coordinator.addr, 64, setting.span))?;
    let told = format!("{}  {many:.0}/s", times.told());
    line("  create, 64 in flight", told, "goal: > 15,000/s");
    line("  ratio to the echo", format!("{:.2}", many / echoed), "");
    Ok(())
}

/// So many calls in flight, for so long.
async fn load(addr: SocketAddr, in_flight: usize, span: Duration) -> anyhow::Result<(Times, f64)> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS.min(in_flight) {
        channels.push(cluster::connect(addr).await?);
    }
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..in_flight {
        let channel = channels[caller % channels.len()].clone();
        callers.spawn(call(channel, start + span));
    }
    let mut times = Times::default();
    while let Some(called) = callers.join_next().await {
        times.extend(called??);
    }
    let rate = rate(times.count(), start);
    Ok((times, rate))
}

async fn call(channel: Channel, until: Instant) -> anyhow::Result<Times> {
    let mut client = TaskServiceClient::new(channel);
    let mut times = Times::default();
    while Instant::now() < until {
        let began = Instant::now();
        client.create_task(request()).await?;
        times.add(began.elapsed());
    }
    Ok(times)
}
