//! The one thread that starts launchers.
//!
//! A launcher asks the kernel to kill it when its parent dies, and the kernel means the *thread* that
//! started it. Threads of a runtime's pool end when idle; this one ends with the driver and its sandboxes.

use std::{io, os::fd::OwnedFd, process::Stdio, thread};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use crate::sandbox::launcher::INIT_NAME;

/// Launches that may wait for the thread.
const QUEUE_LEN: usize = 64;

/// The front of the thread, which ends when the last front is dropped.
#[derive(Clone)]
pub(super) struct Spawner {
    launches: mpsc::Sender<Launch>,
}

struct Launch {
    control: OwnedFd,
    mark: [String; 2],
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    pub fn new() -> io::Result<Self> {
        let (launches, mut waiting) = mpsc::channel::<Launch>(QUEUE_LEN);
        thread::Builder::new()
            .name("sandbox-spawner".into())
            .spawn(move || {
                while let Some(Launch {
                    control,
                    mark,
                    runtime,
                    reply,
                }) = waiting.blocking_recv()
                {
                    // The runtime watches the child's end. A caller that went away drops the child, and the
                    // launcher ends as its control socket closes.
                    let _entered = runtime.enter();
                    let _ = reply.send(spawn(control, mark));
                }
            })?;
        Ok(Self { launches })
    }

    /// Starts a launcher with its end of the control socket. `mark` shows in its command line, for the
    /// sweep after a crash.
    pub async fn launch(&self, control: OwnedFd, mark: [String; 2]) -> io::Result<Child> {
        let gone = || io::Error::other("the spawner thread has ended");
        let (reply, answer) = oneshot::channel();
        let launch = Launch {
            control,
            mark,
            runtime: Handle::current(),
            reply,
        };
        self.launches.send(launch).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn spawn(control: OwnedFd, mark: [String; 2]) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0(INIT_NAME)
        .args(mark)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(control))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
