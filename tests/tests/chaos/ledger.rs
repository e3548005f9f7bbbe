//! What sub-agents really did: each writes a line when it begins and one when it is done, past
//! worker and coordinator.

use ganger_tests::{Cluster, patiently};
use rustix::fs::{CWD, FileType, Mode, chmod, mknodat};
use tokio::net::unix::pipe;

/// A pipe with a name, into which sub-agents write below `$GATES`.
pub struct Ledger {
    pipe: pipe::Receiver,
    text: String,
}

impl Ledger {
    /// The ledger of a cluster's sub-agents.
    pub fn new(cluster: &Cluster) -> Self {
        let path = cluster.dir().join("gates/ledger");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        // Whatever the umask took away: sub-agents are other users.
        chmod(&path, Mode::from_raw_mode(0o666)).unwrap();
        // Open for both, so that it never ends and nobody waits to open it.
        let pipe = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(&path)
            .unwrap();
        Self {
            pipe,
            text: String::new(),
        }
    }

    /// The line of a script that notes this of its attempt.
    pub fn note(word: &str) -> String {
        format!("echo {word} $GANGER_TASK_ID $GANGER_ATTEMPT > $GATES/ledger")
    }

    /// Waits until this was noted.
    pub async fn until(&mut self, word: &str, task_id: u64, attempt: i32) {
        let line = format!("{word} {task_id} {attempt}");
        patiently(format!("the ledger says {line:?}"), async {
            while !self.lines().contains(&line) {
                self.pipe.readable().await.unwrap();
            }
        })
        .await;
    }

    /// All that was noted so far.
    pub fn lines(&mut self) -> Vec<String> {
        let mut some = [0; 4_096];
        // An error means that there is no more for now.
        while let Ok(len) = self.pipe.try_read(&mut some) {
            self.text += std::str::from_utf8(&some[..len]).unwrap();
        }
        // A line is written at once, so that the last one is whole.
        self.text.lines().map(ToOwned::to_owned).collect()
    }

    /// The attempts of a task of which this was noted, in their order.
    pub fn attempts(&mut self, word: &str, task_id: u64) -> Vec<i32> {
        let head = format!("{word} {task_id} ");
        let lines = self.lines();
        let attempts = lines.iter().filter_map(|line| line.strip_prefix(&head));
        attempts.map(|attempt| attempt.parse().unwrap()).collect()
    }
}
