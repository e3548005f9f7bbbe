//! A coordinator in a process of its own, and what the system says of it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::Context;
use ganger_coordinator::upkeep::{self, Compacted};

use crate::{Setting, cluster, recover};

/// A coordinator's process. It is killed with this.
pub struct Served {
    child: Child,
    dir: PathBuf,
    pub addr: SocketAddr,
    /// From its start to its serving.
    pub started_in: Duration,
}

impl Served {
    /// Starts one on an empty directory.
    pub fn fresh(setting: &Setting, flags: &[&str]) -> anyhow::Result<Self> {
        cluster::fresh_dir(setting, "recover")?;
        Self::again(setting, flags)
    }

    /// Starts one on what is there.
    pub fn again(setting: &Setting, flags: &[&str]) -> anyhow::Result<Self> {
        let began = Instant::now();
        let flags: Vec<&str> = ["serve"].iter().chain(flags).copied().collect();
        let mut child = cluster::again(setting, &flags)?;
        let addr = recover::first_line(&mut child).and_then(|line| Ok(line.parse()?));
        let addr = match addr {
            Ok(addr) => addr,
            Err(failure) => {
                child.kill()?;
                child.wait()?;
                return Err(failure);
            }
        };
        Ok(Self {
            child,
            dir: setting.dir.join("recover"),
            addr,
            started_in: began.elapsed(),
        })
    }

    /// Kills it, as a crash does.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it, as an operator does, and waits for its end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Compacts the database of one that was stopped.
    pub fn compact(&self) -> anyhow::Result<Compacted> {
        Ok(upkeep::compact(&self.dir)?)
    }

    /// Bytes of its files.
    pub fn disk(&self) -> anyhow::Result<u64> {
        ganger_tests::churn::dir_bytes(&self.dir)
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Its memory, in MiB.
    pub fn memory(&self) -> anyhow::Result<f64> {
        Ok(recover::rss_kib(&self.child)? as f64 / 1_024.0)
    }

    /// What it has used of the processors.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may have spaces: what follows its bracket is counted.
        let rest = stat.rsplit(')').next().context("a name in brackets")?;
        let mut fields = rest.split_whitespace().skip(11);
        let mut ticks =
            || -> anyhow::Result<u64> { Ok(fields.next().context("a count")?.parse()?) };
        let ticks = ticks()? + ticks()?;
        // The kernel tells them in hundredths of a second, whatever it counts in.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Bytes that it had written to disk.
    pub fn written(&self) -> anyhow::Result<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let mut lines = io.lines();
        let written = lines.find_map(|line| line.strip_prefix("write_bytes: "));
        Ok(written.context("no write_bytes")?.parse()?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}
