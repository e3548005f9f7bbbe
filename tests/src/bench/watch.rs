//! `watch`: many watchers of one busy team.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use ganger_proto::v1::{
    self, task_service_client::TaskServiceClient, team_service_client::TeamServiceClient,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tonic::{Streaming, transport::Channel};

use crate::{
    Setting, cluster,
    figures::{Times, line, rate},
    served::Served,
};

/// Watchers that share a connection.
const PER_CONNECTION: usize = 50;

/// Tasks whose changes are watched, so that no two changes in a row are of the same.
const TASKS: u64 = 100;

/// The span in which changes are made together.
const TICK: Duration = Duration::from_millis(10);

/// How many watchers see how many changes a second.
struct Load {
    watchers: usize,
    changes_per_second: usize,
}

pub fn watch(setting: &Setting) -> anyhow::Result<()> {
    println!("watch: every watcher gets every change, in order");
    for (watchers, changes_per_second) in [(1_000, 100), (100, 1_000)] {
        let load = Load {
            watchers,
            changes_per_second,
        };
        let served = Served::fresh(setting, &[])?;
        measure(setting, &served, &load)?;
    }
    Ok(())
}

fn measure(setting: &Setting, served: &Served, load: &Load) -> anyhow::Result<()> {
    let addr = served.addr;
    let runtime = cluster::runtime(1)?;
    runtime.block_on(async {
        let mut board = TaskServiceClient::new(cluster::connect(addr).await?);
        make_tasks(&mut board).await?;
        let alone = served.memory()?;
        let (until, end) = watch::channel(None);
        let mut watchers = begin(addr, load.watchers, &end).await?;
        let watched = served.memory()?;

        let (began, busy) = (Instant::now(), served.cpu_time()?);
        let made = change(&board, load, setting.span).await?;
        let made = rate(made, began);
        let last = revision(addr).await?;
        until.send_replace(Some(last));
        let (mut times, mut most) = (Times::default(), watched);
        while let Some(seen) = watchers.join_next().await {
            times.extend(seen??);
            most = most.max(served.memory()?);
        }
        let busy = (served.cpu_time()? - busy).as_secs_f64() / began.elapsed().as_secs_f64();

        let name = format!("  {} watchers, {made:.0} changes/s", load.watchers);
        line(&name, format!("all got all; lag {}", times.told()), "");
        let told = format!("{alone:.0} MiB alone, {watched:.0} watched, {most:.0} busy");
        line("    memory of the coordinator", told, "bounded");
        line(
            "    processors of the coordinator",
            format!("{busy:.2}"),
            "",
        );
        Ok(())
    })
}

async fn make_tasks(board: &mut TaskServiceClient<Channel>) -> anyhow::Result<()> {
    let task = v1::NewTask {
        subject: "Create migration script".into(),
        ..v1::NewTask::default()
    };
    let request = v1::BatchCreateTasksRequest {
        tasks: vec![task; TASKS as usize],
        ..v1::BatchCreateTasksRequest::default()
    };
    board.batch_create_tasks(request).await?;
    Ok(())
}

/// The default team's revision.
async fn revision(addr: SocketAddr) -> anyhow::Result<u64> {
    let mut teams = TeamServiceClient::new(cluster::connect(addr).await?);
    let team = teams.get_team(v1::GetTeamRequest::default()).await?;
    Ok(team.into_inner().team.context("a team")?.revision)
}

type Watchers = JoinSet<anyhow::Result<Times>>;

/// Has so many watch from now on. Each ends at the revision that is said at last.
async fn begin(
    addr: SocketAddr,
    count: usize,
    end: &watch::Receiver<Option<u64>>,
) -> anyhow::Result<Watchers> {
    let mut watchers = JoinSet::new();
    let mut teams = TeamServiceClient::new(cluster::connect(addr).await?);
    for watcher in 0..count {
        if watcher > 0 && watcher % PER_CONNECTION == 0 {
            teams = TeamServiceClient::new(cluster::connect(addr).await?);
        }
        let stream = teams.watch_team(v1::WatchTeamRequest::default()).await?;
        let mut stream = stream.into_inner();
        let first = stream.message().await?.context("a first word")?;
        watchers.spawn(follow(stream, first.revision, end.clone()));
    }
    Ok(watchers)
}

/// Follows the events to the end, and answers how long after its making each came.
async fn follow(
    mut stream: Streaming<v1::WatchTeamResponse>,
    mut seen: u64,
    mut end: watch::Receiver<Option<u64>>,
) -> anyhow::Result<Times> {
    let mut times = Times::default();
    loop {
        let last = *end.borrow_and_update();
        if last == Some(seen) {
            return Ok(times);
        }
        let answer = tokio::select! {
            answer = stream.message() => answer?.context("the stream goes on")?,
            said = end.changed() => {
                said?;
                continue;
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        for event in &answer.events {
            seen += 1;
            ensure!(
                event.revision == seen,
                "{} after {}",
                event.revision,
                seen - 1
            );
            let at = event.at.as_ref().context("events have a time")?;
            let at = Duration::new(at.seconds.try_into()?, at.nanos.try_into()?);
            times.add(now.saturating_sub(at));
        }
        ensure!(answer.revision == seen, "told up to {}", answer.revision);
    }
}

/// Makes changes at an even pace, and answers how many.
async fn change(
    board: &TaskServiceClient<Channel>,
    load: &Load,
    span: Duration,
) -> anyhow::Result<usize> {
    let per_tick = load.changes_per_second * TICK.as_millis() as usize / 1_000;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (began, mut made) = (Instant::now(), 0);
    let mut calls = JoinSet::new();
    while began.elapsed() < span {
        ticks.tick().await;
        for _ in 0..per_tick {
            let mut board = board.clone();
            let update = v1::UpdateTaskRequest {
                task_id: made as u64 % TASKS + 1,
                active_form: Some(format!("step {made}")),
                ..v1::UpdateTaskRequest::default()
            };
            calls.spawn(async move { board.update_task(update).await });
            made += 1;
        }
        while let Some(done) = calls.try_join_next() {
            done??;
        }
    }
    while let Some(done) = calls.join_next().await {
        done??;
    }
    Ok(made)
}
