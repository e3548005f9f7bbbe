//! The coordinator that is measured, and clients of it.

use std::{net::SocketAddr, path::PathBuf, process::Child, thread, time::Duration};

use anyhow::Context;
use ganger_coordinator::Config;
use tokio::{runtime::Runtime, sync::oneshot};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::{Serve, Setting};

/// A coordinator on a thread of this process, with a runtime of its own as the daemon has it.
pub struct Coordinator {
    pub addr: SocketAddr,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Coordinator {
    pub fn start(setting: &Setting, name: &str) -> anyhow::Result<Self> {
        let dir = fresh_dir(setting, name)?;
        let mut config = Config::local("127.0.0.1:0".parse()?, dir);
        config.threads = setting.threads;
        let stop = CancellationToken::new();
        let (ready, addr) = oneshot::channel();
        let stopping = stop.clone();
        let thread = thread::spawn(move || {
            let served = runtime(config.threads)
                .map(|runtime| runtime.block_on(ganger_coordinator::run(config, stopping, ready)));
            if let Ok(Err(failure)) = served {
                eprintln!("coordinator: {failure:#}");
            }
        });
        Ok(Self {
            addr: addr
                .blocking_recv()
                .context("the coordinator did not start")?,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed.
            let _ = thread.join();
        }
    }
}

/// A directory for one benchmark, empty.
pub fn fresh_dir(setting: &Setting, name: &str) -> anyhow::Result<PathBuf> {
    let dir = setting.dir.join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

pub fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = if threads > 1 {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.worker_threads(threads).enable_all().build()
}

pub async fn connect(addr: SocketAddr) -> anyhow::Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{addr}"))?
        .tcp_nodelay(true)
        .connect()
        .await?)
}

/// This program again, in a process of its own.
pub fn again(setting: &Setting, args: &[&str]) -> anyhow::Result<Child> {
    let child = crate::again()?
        .args(args)
        .arg("--dir")
        .arg(&setting.dir)
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    Ok(child)
}

/// Serves from the directory `recover` below the setting's, says where, and goes on until killed.
pub fn serve(setting: &Setting, serve: &Serve) -> anyhow::Result<()> {
    let addr = serve.addr.unwrap_or("127.0.0.1:0".parse()?);
    let mut config = Config::local(addr, setting.dir.join("recover"));
    if let (Some(lease), Some(heartbeat)) = (serve.lease_ms, serve.heartbeat_ms) {
        config.leases.lease = Duration::from_millis(lease);
        config.leases.heartbeat = Duration::from_millis(heartbeat);
        config.leases.silence = config.leases.lease * 2 / 3;
    }
    if let Some(count) = serve.tasks_kept {
        config.tasks_kept.count = count;
    }
    if let Some(count) = serve.events_kept {
        config.retention.count = count;
    }
    let (ready, addr) = oneshot::channel();
    runtime(serve.threads)?.block_on(async {
        let stop = ganger_coordinator::shutdown::on_signals()?;
        let run = ganger_coordinator::run(config, stop, ready);
        let say = async {
            if let Ok(addr) = addr.await {
                println!("{addr}");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = run => Ok(ended?),
            () = say => Ok(()),
        }
    })
}
