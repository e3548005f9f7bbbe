//! `failover`: from kill -9 of a worker to the start of its task elsewhere.

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use ganger_proto::v1::{
    self, delegation_service_client::DelegationServiceClient,
    fleet_service_client::FleetServiceClient, team_service_client::TeamServiceClient,
};
use tonic::{Streaming, transport::Channel};

use crate::{
    Setting, cluster,
    figures::{line, millis},
    served::Served,
};

/// A worker's process. It is killed with this.
struct Worker(Child);

impl Worker {
    fn start(
        setting: &Setting,
        served: &Served,
        name: &str,
        sandbox: &str,
    ) -> anyhow::Result<Self> {
        let log = std::fs::File::create(setting.dir.join(format!("{name}.log")))?;
        let child = crate::again()?
            .arg("work")
            .args(["--coordinator", &served.addr.to_string()])
            .args(["--name", name, "--slots", "1", "--sandbox", sandbox])
            .arg("--data-dir")
            .arg(setting.dir.join(name))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn failover(setting: &Setting, rounds: usize, sandbox: &str) -> anyhow::Result<()> {
    println!("failover: kill -9 of a worker → its task started elsewhere, {rounds} times");
    for (lease, heartbeat) in [(2_000, 500), (15_000, 5_000)] {
        let flags = [
            "--lease-ms".to_owned(),
            lease.to_string(),
            "--heartbeat-ms".to_owned(),
            heartbeat.to_string(),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut slowest = Duration::ZERO;
        for round in 0..rounds {
            let served = Served::fresh(setting, &flags)?;
            let took = cluster::runtime(1)?.block_on(one(setting, &served, round, sandbox))?;
            slowest = slowest.max(took);
        }
        let lease = Duration::from_millis(lease);
        let over = slowest.as_secs_f64() - lease.as_secs_f64();
        let told = format!("{}, {over:+.3} s over the lease", millis(slowest));
        let name = format!("  lease {} s, the slowest", lease.as_secs());
        line(&name, told, "goal: ≤ lease + 1 s");
    }
    Ok(())
}

/// Has a worker run something, kills it, and waits for another to begin.
async fn one(
    setting: &Setting,
    served: &Served,
    round: usize,
    sandbox: &str,
) -> anyhow::Result<Duration> {
    let channel = cluster::connect(served.addr).await?;
    let mut events = TeamServiceClient::new(channel.clone())
        .watch_team(v1::WatchTeamRequest::default())
        .await?
        .into_inner();
    let first = Worker::start(setting, served, &format!("first-{round}"), sandbox)?;
    connected(&channel, 1).await?;
    let request = v1::StartTaskRequest {
        description: "goes on".into(),
        agent_type: "shell".into(),
        prompt: "sleep 3600".into(),
        ..v1::StartTaskRequest::default()
    };
    DelegationServiceClient::new(channel.clone())
        .start_task(request)
        .await?;
    started(&mut events, 1).await?;
    let _second = Worker::start(setting, served, &format!("second-{round}"), sandbox)?;
    connected(&channel, 2).await?;

    let killed = Instant::now();
    drop(first);
    started(&mut events, 2).await?;
    Ok(killed.elapsed())
}

/// Waits until so many workers are connected.
async fn connected(channel: &Channel, count: i32) -> anyhow::Result<()> {
    let mut fleet = FleetServiceClient::new(channel.clone());
    let until = Instant::now() + Duration::from_secs(60);
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while Instant::now() < until {
        looks.tick().await;
        let status = fleet.get_status(v1::GetStatusRequest {}).await?;
        if status.into_inner().worker_count == count {
            return Ok(());
        }
    }
    anyhow::bail!("the workers did not connect: see their logs in the benchmark's directory")
}

/// Waits for the start of an attempt.
async fn started(
    events: &mut Streaming<v1::WatchTeamResponse>,
    attempt: i32,
) -> anyhow::Result<()> {
    loop {
        let answer = events.message().await?.context("the stream goes on")?;
        for event in answer.events {
            if event.r#type() == v1::EventType::TaskStarted {
                ensure!(event.attempt <= attempt, "attempt {}", event.attempt);
                if event.attempt == attempt {
                    return Ok(());
                }
            }
        }
    }
}
