//! The `ganger` binary, run as people run it: against a scripted coordinator, and for real.

#![allow(clippy::unwrap_used)] // Where a test helper unwraps, the test fails, as it should.

mod fleet;
mod full_board;
mod machine;
mod pages;
mod scripted;
mod talking;
mod verbs;
mod waiting;

use std::{path::Path, process::Stdio};

use tokio::process::Command;

/// What a finished `ganger` said.
pub struct Said {
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// All of stdout.
    pub out: String,
    /// All of stderr.
    pub err: String,
}

/// The binary, without any setting of whoever runs the tests.
pub fn ganger(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
    command
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it to its end.
pub async fn run(dir: &Path, args: &[&str]) -> Said {
    said(ganger(dir, args).output().await.unwrap())
}

/// What it said, once it is over.
pub fn said(output: std::process::Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sends a signal to a child.
pub fn signal(child: &tokio::process::Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
