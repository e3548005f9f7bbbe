//! One daemon: a child process whose log is read, and that dies with its test.

use std::{
    io::{BufRead, BufReader, PipeReader},
    process::ExitStatus,
    sync::{Arc, Mutex},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::watch,
};

use crate::patiently;

/// A child process.
pub struct Daemon {
    name: String,
    pid: Pid,
    child: Child,
    log: Arc<Log>,
}

/// What it wrote, line by line.
struct Log {
    lines: Mutex<Vec<String>>,
    /// How many lines there are, and whether there will be no more.
    extent: watch::Sender<(usize, bool)>,
}

impl Log {
    fn read(&self, pipe: PipeReader) {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            let len = {
                let mut lines = self.lines.lock().unwrap();
                lines.push(line);
                lines.len()
            };
            self.extent.send_replace((len, false));
        }
        self.extent.send_modify(|extent| extent.1 = true);
    }
}

impl Daemon {
    /// Starts a process with nothing of this one's environment but the path.
    pub fn start(name: &str, mut command: Command) -> Self {
        let (log_end, pipe) = std::io::pipe().unwrap();
        let child = command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("RUST_BACKTRACE", "1")
            .envs(std::env::var_os("GANGER_LOG").map(|filter| ("GANGER_LOG", filter)))
            .stdin(std::process::Stdio::null())
            .stdout(pipe.try_clone().unwrap())
            .stderr(pipe)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        // The command still holds our ends of the pipe: without them it ends with the process.
        drop(command);
        let log = Arc::new(Log {
            lines: Mutex::default(),
            extent: watch::Sender::new((0, false)),
        });
        let reader = log.clone();
        thread::spawn(move || reader.read(log_end));
        let pid = child
            .id()
            .expect("a child that was not waited for has an id");
        Self {
            name: name.to_owned(),
            pid: Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(),
            child,
            log,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Kills it as a crash does, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.end().await;
    }

    /// Waits until it ends by itself.
    pub async fn end(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let status = patiently(&what, self.child.wait()).await.unwrap();
        // What it wrote last is read before anybody judges it by its log.
        let mut extent = self.log.extent.subscribe();
        let read = extent.wait_for(|(_, is_over)| *is_over);
        patiently(&what, read).await.unwrap();
        status
    }

    /// Waits for a line of its log that has this text; none where it ends without one.
    pub async fn logged_or_ended(&mut self, text: &str) -> Option<String> {
        let mut extent = self.log.extent.subscribe();
        let what = format!("{} logs {text:?} or ends", self.name);
        let logged = async {
            loop {
                let (len, is_over) = *extent.borrow_and_update();
                let found = {
                    let lines = self.log.lines.lock().unwrap();
                    lines
                        .iter()
                        .take(len)
                        .find(|line| line.contains(text))
                        .cloned()
                };
                if found.is_some() || is_over {
                    return found;
                }
                extent.changed().await.unwrap();
            }
        };
        let found = patiently(&what, logged).await;
        if found.is_none() {
            self.end().await;
        }
        found
    }

    /// Waits for a line of its log that has this text.
    pub async fn logged(&self, text: &str) -> String {
        self.logged_after(0, text).await
    }

    /// The same, among the lines after the first `skip` ones.
    pub async fn logged_after(&self, skip: usize, text: &str) -> String {
        let mut seen = skip;
        let mut extent = self.log.extent.subscribe();
        let what = format!("{} logs {text:?}", self.name);
        patiently(&what, async {
            loop {
                {
                    let lines = self.log.lines.lock().unwrap();
                    let found = lines.iter().skip(seen).find(|line| line.contains(text));
                    if let Some(line) = found {
                        return line.clone();
                    }
                    seen = seen.max(lines.len());
                }
                let more = extent.wait_for(|(len, is_over)| *len > seen || *is_over);
                let (len, is_over) = *more.await.unwrap();
                assert!(
                    !is_over || len > seen,
                    "{} ended, and never logged {text:?}",
                    self.name
                );
            }
        })
        .await
    }

    /// How many lines it has logged so far.
    pub fn log_len(&self) -> usize {
        self.log.lines.lock().unwrap().len()
    }

    /// All that it has logged so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let log = self.log();
        if thread::panicking() {
            eprintln!(
                "--- log of {} ---\n{log}\n--- end of {} ---",
                self.name, self.name
            );
        } else {
            let has_panicked = log.contains("panicked at");
            assert!(!has_panicked, "{} panicked:\n{log}", self.name);
        }
    }
}
