//! `progress`: transcript records through a worker and the coordinator to those who watch.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use anyhow::{Context, ensure};
use ganger_proto::v1::{
    self, connect_request::Message as Said, connect_response::Message as Told,
    delegation_service_client::DelegationServiceClient, task_service_client::TaskServiceClient,
};
use tokio::task::JoinSet;

use crate::{
    Setting, calls, cluster,
    figures::{line, rate},
    served::Served,
    simulated::{Role, Simulated, TYPE, completed},
};

/// What a worker keeps in flight for an attempt.
const CREDIT: usize = 256 << 10;

/// What each record says, in bytes: a line of a build's output.
const TEXT_LEN: usize = 80;

pub fn progress(setting: &Setting, watchers: usize, records: i64) -> anyhow::Result<()> {
    println!("progress: {records} records of {TEXT_LEN} bytes to {watchers} watchers");
    for per_frame in [32, 1] {
        let served = Served::fresh(setting, &[])?;
        let alone = served.memory()?;
        let (cpu, began) = (served.cpu_time()?, Instant::now());
        let (rate, most) = cluster::runtime(1)?.block_on(async {
            let delivered = deliver(served.addr, watchers, records, per_frame);
            tokio::pin!(delivered);
            let mut most = alone;
            let mut looks = tokio::time::interval(std::time::Duration::from_millis(100));
            loop {
                tokio::select! {
                    rate = &mut delivered => return anyhow::Ok((rate?, most)),
                    _ = looks.tick() => most = most.max(served.memory()?),
                }
            }
        })?;
        let busy = (served.cpu_time()? - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        let name = format!("  deliveries, {per_frame} records a frame");
        line(&name, format!("{rate:.0}/s"), "goal: > 50,000/s");
        let told = format!("{alone:.0} MiB alone, {most:.0} at the most; {busy:.2} processors");
        line("    memory of the coordinator", told, "bounded");
    }
    Ok(())
}

/// Deliveries a second: each record counts once for each watcher.
async fn deliver(
    addr: SocketAddr,
    watchers: usize,
    records: i64,
    per_frame: i64,
) -> anyhow::Result<f64> {
    let role = Role::new("chatty".into(), 1);
    let mut stream = Simulated::dial(cluster::connect(addr).await?, &role).await?;
    let request = v1::CreateTaskRequest {
        agent_type: TYPE.into(),
        prompt: "say much".into(),
        ..calls::request()
    };
    TaskServiceClient::new(cluster::connect(addr).await?)
        .create_task(request)
        .await?;
    let fence = stream.assignment().await?;
    let mut all = JoinSet::new();
    for _ in 0..watchers {
        let channel = cluster::connect(addr).await?;
        all.spawn(watch(channel, records));
    }
    let began = Instant::now();
    say(&mut stream, &fence, records, per_frame).await?;
    stream.say(completed(fence)).await?;
    let mut delivered = 0;
    while let Some(seen) = all.join_next().await {
        delivered += seen??;
    }
    Ok(rate(delivered, began))
}

/// Says the records, with no more in flight than a worker may have.
async fn say(
    stream: &mut Simulated,
    fence: &v1::Fence,
    records: i64,
    per_frame: i64,
) -> anyhow::Result<()> {
    let text = "x".repeat(TEXT_LEN - 1) + "\n";
    let (mut next, mut in_flight, mut bytes) = (1, VecDeque::new(), 0);
    while next <= records {
        if bytes + TEXT_LEN > CREDIT {
            let Told::ProgressAck(ack) = stream.hear().await? else {
                continue;
            };
            while in_flight
                .front()
                .is_some_and(|through| *through <= ack.kept_through)
            {
                in_flight.pop_front();
                bytes -= per_frame as usize * TEXT_LEN;
            }
            continue;
        }
        let through = (next + per_frame - 1).min(records);
        let record = |index| v1::TranscriptRecord {
            index,
            kind: v1::TranscriptKind::Stdout.into(),
            text: text.clone(),
            ..v1::TranscriptRecord::default()
        };
        let progress = v1::Progress {
            fence: Some(fence.clone()),
            records: (next..=through).map(record).collect(),
            doing: None,
        };
        stream.say(Said::Progress(progress)).await?;
        in_flight.push_back(through);
        bytes += per_frame as usize * TEXT_LEN;
        next = through + 1;
    }
    Ok(())
}

/// Watches to the end, and answers how many records came.
async fn watch(channel: tonic::transport::Channel, records: i64) -> anyhow::Result<usize> {
    let request = v1::WatchTranscriptRequest {
        task_id: 1,
        ..v1::WatchTranscriptRequest::default()
    };
    let mut stream = DelegationServiceClient::new(channel)
        .watch_transcript(request)
        .await?
        .into_inner();
    let (mut seen, mut count) = (0, 0);
    while seen < records {
        let answer = stream.message().await?.context("it ended early")?;
        for record in answer.records {
            ensure!(record.index == seen + 1, "{} after {seen}", record.index);
            seen = record.index;
            count += 1;
        }
    }
    Ok(count)
}
