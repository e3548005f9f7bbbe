//! Attacks a coordinator, and tells what honest clients see of it:
//! `cargo run --release -p ganger-tests --bin attack -- all`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use ganger_tests::{Programs, attack};

/// Attacks a coordinator, and tells what honest clients see of it. Exits with 1 where something that is
/// promised did not hold.
#[derive(Debug, Parser)]
struct Args {
    /// Which attack, or all of them
    #[arg(value_enum)]
    attack: Which,
    /// Turns of quiet and attack
    #[arg(long)]
    turns: Option<usize>,
    /// Honest calls of each half of a turn, at the least
    #[arg(long)]
    calls: Option<usize>,
    /// How long each attack goes on, at the least
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// How long a full disk is held
    #[arg(long, value_name = "SECONDS")]
    disk_held: Option<u64>,
    /// How often a filler races for the coordinator's reserve of the disk
    #[arg(long)]
    races: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// 1,100 connections that say nothing
    Silent,
    /// 600 uploads of one connection that bring nothing
    Uploads,
    /// 4,000 long answers that nobody reads
    Unread,
    /// 1,500 calls of one connection that wait
    Waiting,
    /// 10,000 workers that are names alone
    Workers,
    /// A disk that is filled in one go, held, and freed
    Disk,
    /// A program that takes every byte of a disk that gets free
    Race,
    /// All of these
    All,
}

impl Args {
    fn scale(&self) -> attack::Scale {
        let long = attack::Scale::long();
        attack::Scale {
            turns: self.turns.unwrap_or(long.turns).max(1),
            calls: self.calls.unwrap_or(long.calls),
            span: self.seconds.map_or(long.span, Duration::from_secs),
            disk_held: self.disk_held.map_or(long.disk_held, Duration::from_secs),
            races: self.races.unwrap_or(long.races),
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    ganger_worker::sandbox::become_launcher_if_asked();
    // This program is also the daemons, by the names that it has then.
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(|name| name.to_str()) {
        Some("coordinator") => return Ok(ganger_coordinator::main()),
        Some("worker") => return Ok(ganger_worker::main()),
        Some("ganger") => return Ok(ganger_cli::main()),
        _ => {}
    }
    let args = Args::parse();
    let dir = tempfile::tempdir()?;
    let daemon = |name: &str| {
        let path = dir.path().join(name);
        symlink(fs::canonicalize("/proc/self/exe")?, &path)?;
        Ok::<_, std::io::Error>(path)
    };
    let programs = Programs {
        coordinator: daemon("coordinator")?,
        worker: daemon("worker")?,
        ganger: daemon("ganger")?,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    Ok(runtime.block_on(attack_all(&args, &programs)))
}

async fn attack_all(args: &Args, programs: &Programs) -> ExitCode {
    let (scale, programs) = (args.scale(), || programs.clone());
    let mut has_held = true;
    let mut judge = |name: &str, began: Instant, verdict: attack::Verdict| {
        println!("{name}, {:.0} s\n{verdict}", began.elapsed().as_secs_f64());
        if let Err(wrong) = verdict.judge() {
            println!("  BROKEN    {wrong}");
            has_held = false;
        }
    };
    let wants = |which| [which, Which::All].contains(&args.attack);
    let now = Instant::now;
    if wants(Which::Silent) {
        judge(
            "silent sockets",
            now(),
            attack::silent_sockets(programs(), scale).await,
        );
    }
    if wants(Which::Uploads) {
        judge(
            "stalled uploads",
            now(),
            attack::stalled_uploads(programs(), scale).await,
        );
    }
    if wants(Which::Unread) {
        judge(
            "unread answers",
            now(),
            attack::unread_answers(programs(), scale).await,
        );
    }
    if wants(Which::Waiting) {
        judge(
            "waiting calls",
            now(),
            attack::waiting_calls(programs(), scale).await,
        );
    }
    if wants(Which::Workers) {
        judge(
            "invented workers",
            now(),
            attack::invented_workers(programs(), scale).await,
        );
    }
    if wants(Which::Disk) {
        let began = now();
        if let Some(verdict) = attack::filled_in_one_go(programs(), scale).await {
            judge("a disk filled in one go", began, verdict);
        }
    }
    if wants(Which::Race) {
        match attack::raced_for_the_reserve(programs(), scale).await {
            None => {}
            Some(Ok(endings)) => println!(
                "a race for the reserve, {} times: the coordinator ended {endings} times, and lost nothing",
                scale.races
            ),
            Some(Err(lost)) => {
                println!("a race for the reserve\n  BROKEN    {lost}");
                has_held = false;
            }
        }
    }
    match has_held {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
