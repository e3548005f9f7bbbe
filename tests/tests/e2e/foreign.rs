//! Clients that others wrote, as they are: grpcurl, grpc-js, grpcio, the MCP Inspector.
//!
//! `.ci/run` installs them at pinned versions below `target/ci-tools`; `GANGER_TEST_TOOLS` names
//! another directory that is laid out like it. What isn't there is skipped, and said.

mod grpcurl;
mod inspector;
mod printing;
mod stubs;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use ganger_tests::patiently;
use tokio::{io::AsyncWriteExt, process::Command};

/// Where a tool lies below the directory of tools. None where it isn't, which is said.
fn tool(path: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ci-tools");
    let dir = std::env::var_os("GANGER_TEST_TOOLS").map_or(own, PathBuf::from);
    let tool = dir.join(path);
    if tool.exists() {
        return Some(tool);
    }
    let tool = tool.display();
    eprintln!("*** SKIPPED: {tool} is missing; `bash .ci/run` installs it ***");
    None
}

/// A program that is to be run, and to die with its test.
fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.kill_on_drop(true);
    command
}

/// Runs a program to its end.
async fn run(command: &mut Command) -> Output {
    let what = format!("{command:?}");
    patiently(what, command.output()).await.unwrap()
}

/// What a program printed that must end well.
async fn printed(command: &mut Command) -> String {
    let ran = run(command).await;
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?}: {ran:?}\n{errors}");
    String::from_utf8(ran.stdout).unwrap()
}

/// What `jq --compact-output FILTER` makes of a text. None where there is no jq, which is said.
async fn jq(filter: &str, text: &str) -> Option<String> {
    let mut command = program("jq");
    command
        .args(["--compact-output", filter])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("*** SKIPPED: jq is missing; `bash .ci/run` installs it ***");
        return None;
    };
    let mut input = child.stdin.take().unwrap();
    let text = text.to_owned();
    // Beside its output: both may be more than a pipe holds.
    let writing = tokio::spawn(async move { input.write_all(text.as_bytes()).await });
    let ran = patiently("jq", child.wait_with_output()).await.unwrap();
    writing.await.unwrap().unwrap();
    assert!(ran.status.success(), "jq {filter:?}");
    Some(String::from_utf8(ran.stdout).unwrap())
}
