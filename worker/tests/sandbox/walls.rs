//! What a program does not get, whatever it leaves behind.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, symlink},
};

use ganger_worker::sandbox::{Command, Control, Exit, Level, remove_tree};
use tokio::io::AsyncReadExt;

use crate::support::{Bench, processes_with, rare_span, run, sh, start};

/// The argument that makes this binary the program that tries AF_VSOCK.
pub const VSOCK: &str = "vsock";

claims!(
    every_check_of_the_probe_holds,
    levels_say_what_a_program_inside_sees,
    links_that_an_agent_leaves_lead_nowhere,
    a_link_in_place_of_a_workspace_is_refused,
    a_hostile_workspace_can_be_used_again_and_removed,
    processes_are_bounded_and_the_bomb_dies,
    sizes_are_bounded,
    two_sandboxes_do_not_see_each_other,
);

async fn every_check_of_the_probe_holds() {
    let report = Bench::new().driver.probe().await;

    assert!(report.is_usable(), "{report}");
    let is_root = rustix::process::geteuid().is_root();
    for control in [Control::Processes, Control::Kill, Control::Secrets] {
        assert_eq!(
            report.assurance.level(control),
            Level::Enforced,
            "{control:?}"
        );
    }
    assert_eq!(report.assurance.level(Control::Privileges), Level::Enforced);
    assert_eq!(
        report.assurance.level(Control::Identity) == Level::Enforced,
        is_root
    );
}

/// Tried by other programs than the probe's own: what they get is degraded, what they don't is enforced.
async fn levels_say_what_a_program_inside_sees() {
    let bench = Bench::new();
    let report = bench.driver.probe().await;
    let mut spec = bench.spec("seen");
    spec.read_only.push(ganger_worker::sandbox::Mount {
        source: std::env::current_exe().unwrap(),
        target: "/vsock".into(),
    });
    let sandbox = bench.driver.create(spec).await.unwrap();
    let mut trying = sandbox.exec(Command::new(["/vsock", VSOCK])).await.unwrap();
    let vsock = trying.wait().await.unwrap();
    let (_, mountinfo) = run(&*sandbox, "cat /proc/self/mountinfo").await;

    let held = [report.assurance, sandbox.assurance().clone()];
    for levels in &held {
        match vsock {
            Exit::Code(0) => {
                let level = levels.level(Control::Network);
                assert!(level.to_string().contains("AF_VSOCK"), "{level}");
                assert!(matches!(level, Level::Degraded { .. }), "{level}");
            }
            _ => assert_eq!(levels.level(Control::Network), Level::Enforced),
        }
        let level = levels.level(Control::Files);
        assert!(matches!(level, Level::Degraded { .. }), "{level}");
        assert!(level.to_string().contains("mountinfo"), "{level}");
    }
    let named = format!("{} /workspace ", bench.workspace("seen").display());
    assert!(mountinfo.contains(&named), "{named}: {mountinfo}");
}

/// The life of a program that opens a socket of the family AF_VSOCK: its exit code is 0 if it may.
pub fn try_vsock() -> ! {
    let family = rustix::net::AddressFamily::from_raw(40);
    let opened = rustix::net::socket(family, rustix::net::SocketType::STREAM, None);
    std::process::exit(i32::from(opened.is_err()));
}

async fn links_that_an_agent_leaves_lead_nowhere() {
    let bench = Bench::new();
    fs::write(bench.dir.path().join("secret"), "secret").unwrap();
    let secret = bench.dir.path().join("secret").display().to_string();
    let sandbox = bench.create("a").await;

    let script = format!(
        "ln -s {secret} a; ln -s ../secret b; ln -s /proc/self/root{secret} c; ln -s /proc/1/root{secret} d
         cat a b c d {secret} ../secret; ln {secret} e; ls /proc/1/fd /proc/1/cwd/ 2>/dev/null"
    );
    let (_, text) = run(&*sandbox, &format!("{{ {script}; }} 2>/dev/null")).await;

    assert_eq!(text, "");
}

async fn a_link_in_place_of_a_workspace_is_refused() {
    let bench = Bench::new();
    let spec = bench.spec("a");
    fs::remove_dir(bench.workspace("a")).unwrap();
    fs::create_dir(bench.dir.path().join("precious")).unwrap();
    symlink(bench.dir.path().join("precious"), bench.workspace("a")).unwrap();
    let before = fs::metadata(bench.dir.path().join("precious")).unwrap();

    let result = bench.driver.create(spec).await;

    assert!(result.is_err());
    let after = fs::metadata(bench.dir.path().join("precious")).unwrap();
    assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
}

async fn a_hostile_workspace_can_be_used_again_and_removed() {
    let bench = Bench::new();
    let first = bench.create("a").await;
    run(
        &*first,
        "ln -s /oldroot/usr repo; ln -s / root; mkdir closed && touch closed/x && chmod 000 closed
         i=0; while [ $i -lt 400 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done; touch bottom",
    )
    .await;
    first.destroy().await.unwrap();
    let entries = fs::read_dir("/").unwrap().count();

    let second = bench.create("a").await;
    let (_, text) = run(&*second, "ls; echo again > file && cat file").await;
    second.destroy().await.unwrap();

    assert!(text.ends_with("again\n"), "{text}");
    assert_eq!(fs::read_dir("/").unwrap().count(), entries);
    remove_tree(&bench.workspace("a")).unwrap();
    assert!(!bench.workspace("a").exists());
}

async fn processes_are_bounded_and_the_bomb_dies() {
    let bench = Bench::new();
    let span = rare_span();
    let mut spec = bench.spec("a");
    spec.limits.processes = 20;
    let sandbox = bench.driver.create(spec).await.unwrap();

    let bomb = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do sleep {span} & done"
    );
    let (exit, text) = run_until_killed(&*sandbox, &bomb).await;

    assert!(text.to_lowercase().contains("fork"), "{exit} {text}");
    assert_eq!(processes_with(&span).len(), 0);
}

async fn run_until_killed(
    sandbox: &dyn ganger_worker::sandbox::Sandbox,
    script: &str,
) -> (Exit, String) {
    let mut process = sandbox.exec(sh(script)).await.unwrap();
    let exit = process.wait().await.unwrap();
    sandbox.kill().await.unwrap();
    let mut text = String::new();
    process
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    (exit, text)
}

async fn sizes_are_bounded() {
    let bench = Bench::new();
    let mut spec = bench.spec("a");
    spec.limits.file_size = Some(1 << 20);
    spec.limits.tmp_size = 1 << 20;
    spec.limits.memory = Some(64 << 20);
    let sandbox = bench.driver.create(spec).await.unwrap();

    let (exit, _) = run(&*sandbox, "exec head -c 2000000 /dev/zero > big").await;
    let (_, full) = run(
        &*sandbox,
        "head -c 900000 /dev/zero > /tmp/a; head -c 900000 /dev/zero > /tmp/b",
    )
    .await;
    let (hog, _) = run(
        &*sandbox,
        "exec awk 'BEGIN { x = sprintf(\"%200000000s\", \"\") }'",
    )
    .await;

    assert_eq!(exit, Exit::Signal(libc::SIGXFSZ));
    assert_eq!(
        fs::metadata(bench.workspace("a").join("big"))
            .unwrap()
            .len(),
        1 << 20
    );
    assert!(full.contains("No space left"), "{full}");
    assert!(!hog.is_success(), "{hog}");
}

async fn two_sandboxes_do_not_see_each_other() {
    let bench = Bench::new();
    let (one, other) = (bench.create("one").await, bench.create("other").await);
    let span = rare_span();
    let mut running = start(
        &*one,
        &format!("echo mine > file; echo up; exec sleep {span}"),
    )
    .await;

    let (_, text) = run(
        &*other,
        "ls /workspace; for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; done; kill -9 -1",
    )
    .await;

    assert!(!text.contains(&span) && !text.contains("file\n"), "{text}");
    assert_eq!(processes_with(&span).len(), 1);
    if rustix::process::geteuid().is_root() {
        let uids: BTreeSet<_> = ["one", "other"]
            .iter()
            .map(|id| fs::metadata(bench.workspace(id)).unwrap().uid())
            .collect();
        assert_eq!(uids.len(), 2);
    }
    one.kill().await.unwrap();
    assert_eq!(running.wait().await.unwrap(), Exit::Signal(libc::SIGKILL));
}
