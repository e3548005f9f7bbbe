//! `idle`: what a large fleet that has nothing to do costs its coordinator.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::transport::Channel;

use crate::{
    Setting, cluster,
    figures::{line, millis},
    served::Served,
    simulated::{Role, Simulated, channels},
};

/// Workers that dial in at the same time.
const DIALS: usize = 64;

pub fn idle(
    setting: &Setting,
    workers: usize,
    per_connection: usize,
    span: Duration,
) -> anyhow::Result<()> {
    println!("idle: {workers} workers on streams, {per_connection} to a connection");
    let served = Served::fresh(setting, &[])?;
    let alone = served.memory()?;
    cluster::runtime(1)?.block_on(async {
        let dials = Arc::new(Semaphore::new(DIALS));
        let (there, beaten) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let channels = channels(served.addr, workers, per_connection).await?;
        let began = Instant::now();
        let mut fleet = JoinSet::new();
        for number in 0..workers {
            let channel = channels[number / per_connection].clone();
            let permit = dials.clone().acquire_owned().await?;
            let (there, beaten) = (there.clone(), beaten.clone());
            fleet.spawn(async move {
                let stream = Simulated::dial(channel, &role(number)).await?;
                drop(permit);
                there.fetch_add(1, Ordering::Relaxed);
                be_idle(stream, &beaten).await
            });
        }
        let all = dials.acquire_many(u32::try_from(DIALS)?).await?;
        drop(all);
        let connected = there.load(Ordering::Relaxed);
        if connected < workers {
            let ended = fleet.join_next().await.context("a worker that ended")?;
            ended??;
        }
        let took = began.elapsed();
        line("  all connected after", millis(took), "");

        let (cpu, written) = (served.cpu_time()?, served.written()?);
        let (from, beats) = (Instant::now(), beaten.load(Ordering::Relaxed));
        // None of them ends by itself.
        if let Ok(Some(ended)) = tokio::time::timeout(span, fleet.join_next()).await {
            ended??;
        }
        let span = from.elapsed().as_secs_f64();
        let busy = (served.cpu_time()? - cpu).as_secs_f64() / span * 100.0;
        let beats = (beaten.load(Ordering::Relaxed) - beats) as f64 / span;
        let written = served.written()? - written;
        let told = format!("{:.0} MiB, {alone:.0} without them", served.memory()?);
        line("  memory of the coordinator", told, "goal: < 1 GB");
        let told = format!("{busy:.2} % of one, {beats:.0} heartbeats/s");
        line(
            "  processors of the coordinator",
            told,
            "goal: < 5 % of one",
        );
        line(
            "  written to disk",
            format!("{written} bytes"),
            "goal: none",
        );
        is_known(channels[0].clone(), workers).await
    })
}

fn role(number: usize) -> Role {
    Role::new(format!("w{number:05}"), 4)
}

async fn be_idle(mut stream: Simulated, beaten: &AtomicUsize) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            told = stream.told.message() => {
                told?.context("the stream ended")?;
            }
            _ = stream.beats.tick() => {
                stream.beat().await?;
                beaten.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// That nobody was given up meanwhile.
async fn is_known(channel: Channel, workers: usize) -> anyhow::Result<()> {
    use ganger_proto::v1::{self, fleet_service_client::FleetServiceClient};
    let mut fleet = FleetServiceClient::new(channel);
    let status = fleet.get_status(v1::GetStatusRequest {}).await?;
    let known = status.into_inner().worker_count;
    ensure!(known as usize == workers, "{known} workers are reached");
    Ok(())
}
