//! `ganger up`, `ganger demo` and `ganger doctor` on this very machine.

use std::path::Path;

use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};

use crate::{ganger, run, signal};

/// The best sandbox that this machine can hold.
async fn sandbox(dir: &Path) -> &'static str {
    let doctor = run(dir, &["doctor", "-o", "json"]).await;
    let told: serde_json::Value = serde_json::from_str(&doctor.out).unwrap();
    let findings = told["findings"].as_array().unwrap();
    let native = findings
        .iter()
        .find(|finding| finding["what"] == "sandbox native")
        .unwrap();
    match native["verdict"].as_str() {
        Some("good") => "native",
        _ => "none",
    }
}

type Log = tokio::io::Lines<BufReader<tokio::process::ChildStderr>>;

/// Reads on to a line that has these words; answers what comes after them.
async fn read_to(log: &mut Log, words: &str) -> String {
    loop {
        let line = log.next_line().await.unwrap().expect("the log goes on");
        if let Some((_, rest)) = line.split_once(words) {
            return rest.to_owned();
        }
    }
}

/// Starts `ganger up`; answers it and where it listens.
async fn up(dir: &Path, sandbox: &str) -> (Child, String) {
    let (child, addr, mut log) = up_with_log(dir, sandbox).await;
    // A full pipe would hold it up.
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    (child, addr)
}

async fn up_with_log(dir: &Path, sandbox: &str) -> (Child, String, Log) {
    let mut command = ganger(dir, &["up", "--addr", "127.0.0.1:0", "--sandbox", sandbox]);
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let rest = read_to(&mut log, "up at ").await;
    let addr = rest.split(',').next().unwrap().to_owned();
    (child, addr, log)
}

#[tokio::test]
async fn up_runs_tasks_stops_cleanly_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(dir.path()).await;
    let (mut first, addr) = up(dir.path(), sandbox).await;

    let args = [
        "--addr",
        &addr,
        "run",
        "--type",
        "shell",
        "echo hello; echo beside >&2",
    ];
    let done = run(dir.path(), &args).await;
    assert_eq!(
        (done.code, done.out.as_str()),
        (0, "hello\n"),
        "{}",
        done.err
    );
    assert_eq!(done.err, "beside\n");
    let failed = run(
        dir.path(),
        &["--addr", &addr, "run", "--type", "shell", "exit 9"],
    )
    .await;
    assert_eq!(failed.code, 3, "{}", failed.err);

    signal(&first, Signal::TERM);
    assert_eq!(first.wait().await.unwrap().code(), Some(0));
    let (mut second, addr) = up(dir.path(), sandbox).await;
    let logs = run(dir.path(), &["--addr", &addr, "logs", "1"]).await;
    let list = run(dir.path(), &["--addr", &addr, "task", "list"]).await;
    signal(&second, Signal::INT);

    assert_eq!(second.wait().await.unwrap().code(), Some(0));
    assert_eq!(logs.out, "hello\n", "{}", logs.err);
    assert!(
        list.out.contains("completed") && list.out.contains("failed"),
        "{}",
        list.out
    );
}

#[tokio::test]
async fn kept_files_come_back_and_inputs_go_in() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(dir.path()).await;
    let (mut child, addr) = up(dir.path(), sandbox).await;
    std::fs::write(dir.path().join("in.txt"), "ganger\n").unwrap();

    let script = "mkdir out; tr a-z A-Z < \"$GANGER_INPUTS\"/deep/in.txt > out/loud.txt";
    let args = [
        "--addr",
        &addr,
        "run",
        "--type",
        "shell",
        "--input",
        "in.txt=deep/in.txt",
        "--output-glob",
        "out/*",
        "--save",
        "saved",
        script,
    ];
    let said = run(dir.path(), &args).await;
    signal(&child, Signal::TERM);
    child.wait().await.unwrap();

    assert_eq!(said.code, 0, "{}", said.err);
    let loud = std::fs::read_to_string(dir.path().join("saved/out/loud.txt")).unwrap();
    assert_eq!(loud, "GANGER\n");
}

#[tokio::test]
async fn second_coordinator_at_the_same_place_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(dir.path()).await;
    let (mut child, addr) = up(dir.path(), sandbox).await;

    let address = run(dir.path(), &["up", "--addr", &addr, "--data-dir", "other"]).await;
    let data = run(dir.path(), &["up", "--addr", "127.0.0.1:0"]).await;
    signal(&child, Signal::TERM);
    child.wait().await.unwrap();

    assert_eq!(address.code, 1, "{}", address.err);
    assert!(
        address.err.contains("choose with --addr"),
        "{}",
        address.err
    );
    assert_eq!(data.code, 1, "{}", data.err);
    assert!(data.err.contains("choose with --data-dir"), "{}", data.err);
}

#[tokio::test]
async fn second_signal_ends_it_at_once_and_what_was_told_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(dir.path()).await;
    let (mut child, addr, mut log) = up_with_log(dir.path(), sandbox).await;
    let args = [
        "--addr",
        &addr,
        "run",
        "--type",
        "shell",
        "echo begun; sleep 600",
    ];
    let mut waiting = ganger(dir.path(), &args).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("begun"));

    signal(&child, Signal::INT);
    read_to(&mut log, "Ctrl-C again").await;
    signal(&child, Signal::INT);

    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    waiting.kill().await.unwrap();
    let (mut child, addr) = up(dir.path(), sandbox).await;
    let args = [
        "--addr",
        &addr,
        "logs",
        "1",
        "--attempt",
        "1",
        "--no-follow",
    ];
    let logs = run(dir.path(), &args).await;
    let cancelled = run(dir.path(), &["--addr", &addr, "task", "cancel", "1"]).await;
    signal(&child, Signal::TERM);
    child.wait().await.unwrap();
    assert_eq!(logs.out, "begun\n", "{}", logs.err);
    assert_eq!(cancelled.code, 0, "{}", cancelled.err);
}

#[tokio::test]
async fn demo_reports_on_a_code_base_and_verifies_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(dir.path()).await;
    let repo = dir.path().join("repo");
    std::fs::create_dir_all(repo.join("src")).unwrap();
    std::fs::write(repo.join("src/main.rs"), "fn main() {}\n").unwrap();
    std::fs::write(repo.join("a b.py"), "print(1)\nprint(2)\n").unwrap();

    let said = run(
        dir.path(),
        &[
            "demo",
            "--repo",
            "repo",
            "--sandbox",
            sandbox,
            "--out",
            "out",
        ],
    )
    .await;

    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    for words in [
        "created: Write the report",
        "#5 unblocked by",
        "#6 completed",
        "| Python | 1 | 2 |",
        "#6  Verify the report",
        "out/report.md",
        "the report is written and verified",
    ] {
        assert!(said.out.contains(words), "no {words:?} in:\n{}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "colours in a pipe");
    let report = std::fs::read_to_string(dir.path().join("out/report.md")).unwrap();
    assert!(report.contains("| all | 2 | 3 |"), "{report}");
    let verification = std::fs::read_to_string(dir.path().join("out/verification.md")).unwrap();
    assert!(verification.contains(" 0 wrong."), "{verification}");
    let left: Vec<_> = std::fs::read_dir(&repo).unwrap().collect();
    assert_eq!(left.len(), 2, "the code base was touched");
}

#[tokio::test]
async fn doctor_says_what_is_wrong_and_how_to_put_it_right() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "s3cret\n").unwrap();
    let args = ["doctor", "--token-file", "token", "--addr", "127.0.0.1:1"];

    let said = run(dir.path(), &args).await;

    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("chmod 600 token"), "{}", said.out);
    assert!(
        said.out.contains("no coordinator at 127.0.0.1:1"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("1 thing is wrong") || said.out.contains("2 things are wrong"),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn doctor_blames_the_capability_that_root_lacks_and_no_filter() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("*** SKIPPED: only root can be without a capability that it had ***");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut bare = tokio::process::Command::new("setpriv");
    bare.args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"])
        .arg(env!("CARGO_BIN_EXE_ganger"))
        .args(["doctor", "-o", "json", "--addr", "127.0.0.1:1"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir.path())
        .current_dir(dir.path());

    let doctor = super::said(bare.output().await.unwrap());

    let told: serde_json::Value = serde_json::from_str(&doctor.out).unwrap();
    let findings = told["findings"].as_array().unwrap();
    let finding = |what: &str| findings.iter().find(|f| f["what"] == what).unwrap();
    let seen = |what: &str| finding(what)["seen"].as_str().unwrap();
    assert!(
        seen("ground").contains("root, without CAP_SYS_ADMIN"),
        "{told}"
    );
    assert!(
        seen("sandbox native").contains("root without CAP_SYS_ADMIN"),
        "{told}"
    );
    assert!(!seen("sandbox native").contains("seccomp"), "{told}");
    let fix = finding("sandbox native")["fixes"][0].as_str().unwrap();
    assert!(
        fix.starts_with("run the worker as an ordinary user"),
        "{fix}"
    );
}
