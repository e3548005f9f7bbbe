//! `spawn`: a sub-agent that does nothing, in its sandbox.

use std::sync::Arc;

use ganger_worker::sandbox::{NativeDriver, SandboxDriver, cost};

use crate::{
    Setting, cluster,
    figures::{line, millis},
};

const ROUNDS: usize = 200;
const IN_PARALLEL: usize = 8;

pub fn spawn(setting: &Setting) -> anyhow::Result<()> {
    println!("spawn: a program that does nothing, in a native sandbox");
    let dir = cluster::fresh_dir(setting, "spawn")?.canonicalize()?;
    cluster::runtime(1)?.block_on(async {
        let bare = cost::bare(ROUNDS).await?;
        line("  ceiling: bare spawn", told(&bare), "");
        let driver: Arc<dyn SandboxDriver> = Arc::new(NativeDriver::new()?);
        let times = cost::sandboxed(driver.as_ref(), &dir, ROUNDS).await?;
        line("  sandboxed, to the program's end", told(&times.run), "");
        line("  sandboxed, to the sandbox's end", told(&times.whole), "");
        let more = times.run.percentile(50).saturating_sub(bare.percentile(50));
        line("  over the bare spawn", millis(more), "goal: ≤ 6 ms");
        let rate = cost::throughput(driver, &dir, ROUNDS * 5, IN_PARALLEL).await?;
        line(
            "  sandboxes, 8 at a time",
            format!("{rate:.0}/s"),
            "goal: > 150/s",
        );
        anyhow::Ok(())
    })
}

fn told(spread: &cost::Spread) -> String {
    format!(
        "p50 {}  p99 {}",
        millis(spread.percentile(50)),
        millis(spread.percentile(99))
    )
}
