//! What a sandbox costs over a bare process: the pieces for a benchmark program.

use std::{
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{Command, SandboxDriver, SandboxError, SandboxId, SandboxSpec, remove_tree};

/// The program that does nothing.
const NOTHING: &str = "/bin/true";

/// Times of single runs, sorted.
#[derive(Clone, Debug)]
pub struct Spread(Vec<Duration>);

impl Spread {
    /// The time that `percent` of the runs did not exceed; zero without runs.
    pub fn percentile(&self, percent: usize) -> Duration {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }

    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }
}

/// Times from the start of a process that does nothing to its end, one after the other.
pub async fn bare(rounds: usize) -> Result<Spread, SandboxError> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        let status = tokio::process::Command::new(NOTHING)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status
            .await
            .map_err(SandboxError::worker("spawn a bare process"))?;
        times.push(start.elapsed());
    }
    Ok(Spread::of(times))
}

/// What one sandboxed no-op takes.
#[derive(Clone, Debug)]
pub struct SandboxTimes {
    /// From nothing to the program's end.
    pub run: Spread,
    /// From nothing to the sandbox destroyed.
    pub whole: Spread,
}

/// Times of sandboxes that do nothing, one after the other, with workspaces beneath `dir`.
pub async fn sandboxed(
    driver: &dyn SandboxDriver,
    dir: &Path,
    rounds: usize,
) -> Result<SandboxTimes, SandboxError> {
    let (mut runs, mut wholes) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for round in 0..rounds {
        let (run, whole) = one(driver, dir, round).await?;
        runs.push(run);
        wholes.push(whole);
    }
    Ok(SandboxTimes {
        run: Spread::of(runs),
        whole: Spread::of(wholes),
    })
}

/// Sandboxes started and destroyed per second, `in_parallel` at a time.
pub async fn rate(
    driver: Arc<dyn SandboxDriver>,
    dir: &Path,
    total: usize,
    in_parallel: usize,
) -> Result<f64, SandboxError> {
    let mut lanes = JoinSet::new();
    let start = Instant::now();
    for lane in 0..in_parallel {
        let (driver, dir) = (Arc::clone(&driver), dir.to_owned());
        lanes.spawn(async move {
            for round in (lane..total).step_by(in_parallel) {
                one(&*driver, &dir, round).await?;
            }
            Ok::<_, SandboxError>(())
        });
    }
    while let Some(ended) = lanes.join_next().await {
        ended
            .map_err(std::io::Error::other)
            .map_err(SandboxError::worker("run a lane"))??;
    }
    Ok(total as f64 / start.elapsed().as_secs_f64())
}

async fn one(
    driver: &dyn SandboxDriver,
    dir: &Path,
    round: usize,
) -> Result<(Duration, Duration), SandboxError> {
    let id = SandboxId::try_from(format!("cost-{round}"))?;
    let workspace = dir.join(id.as_str());
    std::fs::create_dir(&workspace).map_err(SandboxError::worker("make a workspace"))?;
    let start = Instant::now();
    let sandbox = driver.create(SandboxSpec::new(id, &workspace)).await?;
    sandbox.exec(Command::new([NOTHING])).await?.wait().await?;
    let run = start.elapsed();
    sandbox.destroy().await?;
    let whole = start.elapsed();
    remove_tree(&workspace).map_err(SandboxError::worker("remove a workspace"))?;
    Ok((run, whole))
}
