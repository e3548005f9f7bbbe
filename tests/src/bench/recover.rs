//! `recover` and `rest`: a start after kill -9, and what a coordinator weighs.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Child,
    time::Instant,
};

use ::board::{
    command::{Call, Caller, NewTask, Update, Wish},
    id::{Epoch, TaskId, TeamName},
    task::Status,
    time::Time,
};
use anyhow::Context;
use ganger_coordinator::{
    engine::{DEFAULT_TEAM, Engine, Input, Setup},
    fleet::Leases,
    hub::Hub,
    store::{Options, SledStore},
};
use ganger_proto::v1::{self, fleet_service_client::FleetServiceClient};
use tokio::sync::oneshot;

use crate::{
    Setting, cluster,
    figures::{line, millis},
};

/// Tasks that are made, or ended, in one commit.
const GROUP: u64 = 250;

pub fn recover(setting: &Setting, tasks: u64, open: u64) -> anyhow::Result<()> {
    println!("recover: start after kill -9 with {tasks} tasks stored, {open} of them open");
    cluster::fresh_dir(setting, "recover")?;
    let began = Instant::now();
    let mut filler = cluster::again(setting, &["fill", &tasks.to_string(), &open.to_string()])?;
    first_line(&mut filler)?;
    filler.kill()?;
    filler.wait()?;
    let size = dir_size(&setting.dir.join("recover"))?;
    let told = format!("{:.0} s, {} MiB", began.elapsed().as_secs_f64(), size >> 20);
    line("  filled", told, "");
    for start in ["  first start, to serving", "  second start, after kill -9"] {
        let began = Instant::now();
        let mut served = cluster::again(setting, &["serve"])?;
        let addr = first_line(&mut served)?;
        let time = began.elapsed();
        let told = format!("{}, RSS {} MiB", millis(time), rss_kib(&served)? >> 10);
        line(start, told, "goal: < 5 s");
        let counts = cluster::runtime(1)?.block_on(status(&addr))?;
        anyhow::ensure!(counts.pending as u64 == open, "open: {}", counts.pending);
        anyhow::ensure!(counts.completed as u64 == tasks - open);
        served.kill()?;
        served.wait()?;
    }
    Ok(())
}

pub fn rest(setting: &Setting) -> anyhow::Result<()> {
    println!("rest: memory of a coordinator that has nothing to do");
    cluster::fresh_dir(setting, "recover")?;
    let mut served = cluster::again(setting, &["serve"])?;
    let addr = first_line(&mut served)?;
    let status = cluster::runtime(1)?.block_on(status(&addr));
    let told = format!("RSS {:.1} MiB", rss_kib(&served)? as f64 / 1_024.0);
    served.kill()?;
    served.wait()?;
    status?;
    line("  at rest", told, "goal: < 30 MB");
    Ok(())
}

async fn status(addr: &str) -> anyhow::Result<v1::TaskCounts> {
    let channel = cluster::connect(addr.parse()?).await?;
    let status = FleetServiceClient::new(channel)
        .get_status(v1::GetStatusRequest {})
        .await?
        .into_inner();
    Ok(status.tasks.unwrap_or_default())
}

pub fn first_line(child: &mut Child) -> anyhow::Result<String> {
    let out = child.stdout.as_mut().context("its output is read")?;
    let mut text = String::new();
    BufReader::new(out).read_line(&mut text)?;
    anyhow::ensure!(!text.is_empty(), "the process ended");
    Ok(text.trim().to_owned())
}

pub fn rss_kib(child: &Child) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn dir_size(dir: &Path) -> anyhow::Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size += if metadata.is_dir() {
            dir_size(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(size)
}

/// Fills a board through the engine, as a coordinator would, and waits to be killed.
pub fn fill(setting: &Setting, tasks: u64, open: u64, text_len: usize) -> anyhow::Result<()> {
    let dir = setting.dir.join("recover").join("board");
    std::fs::create_dir_all(setting.dir.join("recover"))?;
    let setup = Setup {
        limits: ::board::limits::RunningLimits::default(),
        tombstones_kept: std::time::Duration::from_secs(3_600),
        tasks_kept: board::command::TasksKept::default(),
        store: Box::new(SledStore::open(&dir, Options::default())?),
        hub: Hub::default(),
        new_epoch: Epoch(1),
        leases: Leases::default(),
        expected_types: Vec::new(),
    };
    let mut engine = Engine::start(setup, |floor| floor)?;
    let team = TeamName::parse(DEFAULT_TEAM)?;
    let mut now = Time(1_700_000_000_000);
    let mut made = 0;
    while made < tasks {
        let count = GROUP.min(tasks - made);
        now.0 += 10;
        let create = Wish::CreateTasks(team.clone(), (0..count).map(|_| task(text_len)).collect());
        engine.take(call(create), now);
        engine.commit(now)?;
        now.0 += 10;
        // The last ones stay open.
        let ended = (made + 1..=made + count).filter(|id| *id <= tasks - open);
        for id in ended {
            let update = Update {
                status: Some(Status::Completed),
                result: Some("done, as was asked".into()),
                ..Update::default()
            };
            let wish = Wish::UpdateTask(team.clone(), TaskId(id), Box::new(update));
            engine.take(call(wish), now);
        }
        engine.commit(now)?;
        made += count;
    }
    println!("filled");
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

fn task(text_len: usize) -> NewTask {
    let text = "Write the SQL to alter the users table, and its way back.   ";
    NewTask {
        subject: "Create migration script".into(),
        description: text
            .chars()
            .cycle()
            .take(text_len)
            .collect::<String>()
            .into(),
        ..NewTask::default()
    }
}

fn call(wish: Wish) -> Input {
    let call = Call {
        caller: Caller::default(),
        request: None,
        wish,
    };
    let (reply, _) = oneshot::channel();
    Input::Call(Box::new(call), reply)
}
