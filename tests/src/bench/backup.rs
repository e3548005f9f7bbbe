//! `backup`: how long the slowest calls take while a large board is backed up, and while it is not.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ganger_coordinator::writeback::PacedFile;
use ganger_proto::v1::{
    self, fleet_service_client::FleetServiceClient, task_service_client::TaskServiceClient,
};
use tokio::task::JoinSet;

use crate::{
    Setting, calls, cluster,
    figures::{Times, line, rate},
    recover,
    served::Served,
};

/// Calls under way at once, each after the one before, over so many connections.
const IN_FLIGHT: usize = 64;
const CONNECTIONS: usize = 4;
/// Bytes of a task's description, and about what the task takes of the board.
const TEXT_LEN: u64 = 2_000;
const TASK_LEN: u64 = TEXT_LEN + 400;

pub fn backup(setting: &Setting, mib: u64) -> anyhow::Result<()> {
    println!("backup: durable CreateTask, {IN_FLIGHT} in flight, of a board of about {mib} MiB");
    cluster::fresh_dir(setting, "recover")?;
    let tasks = (mib << 20).div_ceil(TASK_LEN).to_string();
    let text_len = TEXT_LEN.to_string();
    let fill = ["fill", &tasks, &tasks, "--text-len", &text_len];
    let mut filler = cluster::again(setting, &fill)?;
    let filled = recover::first_line(&mut filler);
    filler.kill()?;
    filler.wait()?;
    filled?;

    let served = Served::again(setting, &[])?;
    let to = setting.dir.join("backup.part");
    cluster::runtime(2)?.block_on(async {
        let quiet = until_over(served.addr, pause(setting.span)).await?;
        told("  without a backup", quiet);
        let began = Instant::now();
        let (times, bytes) = until_over(served.addr, fetch(served.addr, to.clone())).await?;
        let size = format!(
            "{:.0} MiB in {:.1} s",
            bytes as f64 / f64::from(1 << 20),
            began.elapsed().as_secs_f64()
        );
        line("  a backup", size, "");
        told("  during the backup", (times, ()));
        let quiet = until_over(served.addr, pause(setting.span)).await?;
        told("  without a backup, again", quiet);
        anyhow::Ok(())
    })?;
    remove(&to)
}

fn told<T>(name: &str, (mut times, _): ((Times, f64), T)) {
    line(name, format!("{}  {:.0}/s", times.0.tails(), times.1), "");
    if name.contains("during") {
        line("", "", "goal: longest < 100 ms (P7)");
    }
}

async fn pause(span: Duration) -> anyhow::Result<()> {
    tokio::time::sleep_until((Instant::now() + span).into()).await;
    Ok(())
}

/// Calls for as long as something goes on. Answers the times of the calls, and their rate.
async fn until_over<T>(
    addr: SocketAddr,
    meanwhile: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<((Times, f64), T)> {
    let is_over = Arc::new(AtomicBool::new(false));
    let (began, mut callers) = (Instant::now(), JoinSet::new());
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(cluster::connect(addr).await?);
    }
    for caller in 0..IN_FLIGHT {
        let mut client = TaskServiceClient::new(channels[caller % CONNECTIONS].clone());
        let is_over = is_over.clone();
        callers.spawn(async move {
            let mut times = Times::default();
            while !is_over.load(Relaxed) {
                let began = Instant::now();
                client.create_task(calls::request()).await?;
                times.add(began.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let answer = meanwhile.await;
    is_over.store(true, Relaxed);
    let mut times = Times::default();
    while let Some(called) = callers.join_next().await {
        times.extend(called??);
    }
    let rate = rate(times.count(), began);
    Ok(((times, rate), answer?))
}

/// Takes a backup into a file on the same disk, as `ganger coordinator backup` does.
async fn fetch(addr: SocketAddr, to: PathBuf) -> anyhow::Result<u64> {
    let mut fleet = FleetServiceClient::new(cluster::connect(addr).await?);
    let pieces = fleet.back_up_board(v1::BackUpBoardRequest {}).await?;
    let (mut pieces, mut file) = (pieces.into_inner(), PacedFile::new(File::create(to)?));
    while let Some(piece) = pieces.message().await? {
        // The calls go on meanwhile.
        file = tokio::task::spawn_blocking(move || {
            file.write(&piece.chunk)?;
            anyhow::Ok(file)
        })
        .await??;
    }
    file.sync()?;
    Ok(file.len())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    Ok(std::fs::remove_file(path)?)
}
