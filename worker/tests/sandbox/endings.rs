//! How sandboxes end, and that nothing is left.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, sync::Arc};

use ganger_worker::sandbox::{
    Command, Control, DriverKind, Exit, Level, Process, Sandbox, SandboxId, Workspaces, remove_tree,
};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;

use crate::support::{
    Bench, Doomed, Left, assert_die, await_no_zombies_beneath, await_processes_with, await_stopped,
    processes_with, rare_span, run, sh, start, start_victim, stubborn,
};

claims!(
    terminate_reaches_the_program,
    a_deaf_program_dies_by_kill,
    a_daemon_dies_with_its_sandbox,
    stopping_everything_does_not_prevent_the_kill,
    dropping_a_sandbox_kills_it,
    a_dropped_creation_leaves_nothing,
    a_sandbox_outlives_the_thread_that_asked_for_it,
    killing_the_worker_kills_the_tree,
    fifty_at_once_leave_nothing,
    the_none_driver_kills_what_it_started,
    without_walls_a_daemon_that_wiped_its_environment_dies_with_its_tree,
    without_walls_dropping_a_sandbox_kills_its_tree,
    without_walls_killing_the_worker_kills_the_tree,
    without_walls_orphans_are_reaped_while_their_tree_lives,
    without_walls_a_stopped_supervisor_does_not_prevent_the_kill,
    without_walls_programs_die_with_their_supervisor,
    a_sweep_ends_what_a_killed_supervisor_left,
);

async fn terminate_reaches_the_program() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;
    let span = rare_span();
    let script = format!("trap 'echo asked; exit 5' TERM; echo up; sleep {span}");
    let mut process = start(&*sandbox, &script).await;
    let asleep = await_processes_with(&span, 1);

    sandbox.terminate().await.unwrap();

    assert_eq!(process.wait().await.unwrap(), Exit::Code(5));
    let mut text = String::new();
    process
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    assert_eq!(text, "asked\n");
    assert_die(&asleep);
}

async fn a_deaf_program_dies_by_kill() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;
    let span = rare_span();
    let mut process = start(&*sandbox, &stubborn(&span)).await;
    let alive = await_processes_with(&span, 3);

    sandbox.terminate().await.unwrap();
    assert_eq!(run(&*sandbox, "echo still here").await.1, "still here\n");
    assert_eq!(processes_with(&span).len(), 3);
    sandbox.kill().await.unwrap();

    assert_eq!(processes_with(&span).len(), 0);
    assert_die(&alive);
    assert_eq!(process.wait().await.unwrap(), Exit::Signal(libc::SIGKILL));
    sandbox.kill().await.unwrap();
    sandbox.destroy().await.unwrap();
}

async fn a_daemon_dies_with_its_sandbox() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;
    let span = rare_span();
    let daemon =
        format!("(setsid sh -c '(setsid sh -c \"trap : TERM; sleep {span}; :\" &)' &); true");

    let mut process = sandbox.exec(sh(&daemon)).await.unwrap();
    assert_eq!(process.wait().await.unwrap(), Exit::Code(0));
    let alive = await_processes_with(&span, 1);
    sandbox.destroy().await.unwrap();

    assert_die(&alive);
    assert_eq!(processes_with(&span).len(), 0);
}

async fn stopping_everything_does_not_prevent_the_kill() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;
    let span = rare_span();

    let mut process = sandbox.exec(Command::new(["sleep", &span])).await.unwrap();
    let alive = await_processes_with(&span, 1);
    let (exit, _) = run(&*sandbox, "kill -STOP 1; kill -STOP -1").await;
    assert_eq!(exit, Exit::Code(0));
    await_stopped(alive[0].0);
    sandbox.destroy().await.unwrap();

    assert_die(&alive);
    assert_eq!(process.wait().await.unwrap(), Exit::Signal(libc::SIGKILL));
}

async fn dropping_a_sandbox_kills_it() {
    let bench = Bench::new();
    let sandbox = bench.create("a").await;
    let span = rare_span();
    let mut process = start(&*sandbox, &stubborn(&span)).await;
    let alive = await_processes_with(&span, 3);

    drop(sandbox);

    assert_die(&alive);
    assert_eq!(process.wait().await.unwrap(), Exit::Signal(libc::SIGKILL));
}

async fn a_dropped_creation_leaves_nothing() {
    let bench = Bench::new();
    for round in 0..20 {
        let spec = bench.spec(&format!("dropped-{round}"));
        let creating = bench.driver.create(spec);
        // Cut off at another point each time.
        let _ = tokio::time::timeout(std::time::Duration::from_micros(200 * round), creating).await;
    }
    let left: Vec<_> = (0..20)
        .flat_map(|round| processes_with(&format!("dropped-{round}")))
        .collect();

    assert_die(&left);
}

async fn a_sandbox_outlives_the_thread_that_asked_for_it() {
    let bench = Arc::new(Bench::new());
    let handle = tokio::runtime::Handle::current();
    let asking = Arc::clone(&bench);

    let asked = std::thread::spawn(move || handle.block_on(asking.create("a")));
    let sandbox = tokio::task::spawn_blocking(move || asked.join().unwrap())
        .await
        .unwrap();

    assert_eq!(
        run(&*sandbox, "echo alive").await,
        (Exit::Code(0), "alive\n".into())
    );
    sandbox.destroy().await.unwrap();
}

async fn killing_the_worker_kills_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let span = rare_span();
    let mut victim = start_victim(
        DriverKind::Native,
        &dir.path().join("w"),
        &span,
        &stubborn(&span),
    );
    let mut alive = Left(await_processes_with(&span, 3));
    // The launcher's two processes carry the sandbox's id.
    let launcher = await_processes_with(&format!("victim-{span}"), 2);
    alive.0.extend(launcher);

    victim.kill();

    assert_die(&alive.0);
    assert_eq!(processes_with(&span).len(), 0);
    // What its worker held is free again.
    let workspaces = Workspaces::open(&dir.path().join("w")).unwrap();
    assert_eq!(workspaces.sweep().unwrap().workspaces, 1);
}

async fn fifty_at_once_leave_nothing() {
    let bench = Bench::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let span = rare_span();
    let mut sandboxes = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (driver, spec, script) = (
            Arc::clone(&bench.driver),
            bench.spec(&format!("fifty-{number}")),
            stubborn(&span),
        );
        sandboxes.spawn(async move {
            let sandbox = driver.create(spec).await.unwrap();
            let _running = start(&*sandbox, &script).await;
            sandbox
        });
    }
    let sandboxes = sandboxes.join_all().await;
    let alive = await_processes_with(&span, 150);
    let uids: BTreeSet<_> = (0..50)
        .map(|number| {
            fs::metadata(bench.workspace(&format!("fifty-{number}")))
                .unwrap()
                .uid()
        })
        .collect();

    let mut ending = tokio::task::JoinSet::new();
    sandboxes
        .into_iter()
        .for_each(|sandbox| drop(ending.spawn(sandbox.destroy())));
    ending
        .join_all()
        .await
        .into_iter()
        .for_each(|result| result.unwrap());

    assert_die(&alive);
    assert_eq!(processes_with(&span).len(), 0);
    assert_eq!(
        processes_with("ganger-sandbox-init")
            .iter()
            .filter(|(pid, _)| is_child(*pid))
            .count(),
        0
    );
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
    if rustix::process::geteuid().is_root() {
        assert_eq!(uids.len(), 50, "each has a user of its own");
        assert!(
            uids.is_disjoint(&live_uids()),
            "nothing runs under their users"
        );
    }
    for number in 0..50 {
        remove_tree(&bench.workspace(&format!("fifty-{number}"))).unwrap();
    }
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 0);
}

fn is_child(pid: rustix::process::Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.contains(&format!("PPid:\t{}\n", std::process::id()))
}

fn live_uids() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let statuses = entries.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    statuses
        .filter_map(|status| {
            status.lines().find_map(|line| {
                line.strip_prefix("Uid:\t")?
                    .split('\t')
                    .next()?
                    .parse()
                    .ok()
            })
        })
        .collect()
}

async fn the_none_driver_kills_what_it_started() {
    let bench = Bench::of(DriverKind::None);
    let span = rare_span();
    let mut spec = bench.spec("a");
    spec.env.insert("PATH".into(), "/usr/bin:/bin".into());
    spec.env.insert("HERE".into(), "/workspace/x".into());
    let sandbox = bench.driver.create(spec).await.unwrap();
    assert!(matches!(
        sandbox.assurance().level(Control::Files),
        Level::Missing { .. }
    ));
    let (_, text) = run(&*sandbox, "echo $HERE; exit 0").await;
    let mut process = start(&*sandbox, &stubborn(&span)).await;
    let alive = await_processes_with(&span, 3);

    sandbox.kill().await.unwrap();

    assert_eq!(text, format!("{}/x\n", bench.workspace("a").display()));
    assert_die(&alive);
    assert_eq!(process.wait().await.unwrap(), Exit::Signal(libc::SIGKILL));
    sandbox.destroy().await.unwrap();
}

/// Leaves a daemon that no group, session or environment leads to, beside what [`stubborn`] leaves.
fn untraceable(span: &str) -> String {
    format!(
        "(setsid env -i PATH=/usr/bin:/bin sh -c '(setsid sleep {span} &)' &)
         {}",
        stubborn(span)
    )
}

/// A sandbox of the none driver in which that runs: four processes that sleep, and their supervisor.
async fn untraceable_tree(
    bench: &Bench,
    id: &str,
    span: &str,
) -> (Box<dyn Sandbox>, Process, Left) {
    let mut spec = bench.spec(id);
    spec.env.insert("PATH".into(), "/usr/bin:/bin".into());
    let sandbox = bench.driver.create(spec).await.unwrap();
    let process = start(&*sandbox, &untraceable(span)).await;
    let alive = Left(await_processes_with(span, 4));
    (sandbox, process, alive)
}

async fn without_walls_a_daemon_that_wiped_its_environment_dies_with_its_tree() {
    let bench = Bench::of(DriverKind::None);
    let span = rare_span();
    let (sandbox, mut process, alive) = untraceable_tree(&bench, "wiped", &span).await;

    sandbox.kill().await.unwrap();

    assert_eq!(processes_with(&span).len(), 0);
    assert_die(&alive.0);
    assert_eq!(process.wait().await.unwrap(), Exit::Signal(libc::SIGKILL));
    assert!(
        sandbox.exec(sh("true")).await.is_err(),
        "nothing runs in a dead tree"
    );
    sandbox.kill().await.unwrap();
    sandbox.destroy().await.unwrap();
}

async fn without_walls_dropping_a_sandbox_kills_its_tree() {
    let bench = Bench::of(DriverKind::None);
    let span = rare_span();
    let (sandbox, _process, alive) = untraceable_tree(&bench, "dropped", &span).await;

    drop(sandbox);

    assert_die(&alive.0);
}

async fn without_walls_killing_the_worker_kills_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let span = rare_span();
    let script = untraceable(&span);
    let mut victim = start_victim(DriverKind::None, &dir.path().join("w"), &span, &script);
    let mut alive = Left(await_processes_with(&span, 4));
    let supervisor = await_processes_with(&format!("victim-{span}"), 1);
    alive.0.extend(supervisor);

    victim.kill();

    assert_die(&alive.0);
    assert_eq!(processes_with(&span).len(), 0);
    let workspaces = Workspaces::open(&dir.path().join("w")).unwrap();
    let report = workspaces.sweep().unwrap();
    assert_eq!((report.processes, report.workspaces), (0, 1));
}

async fn without_walls_orphans_are_reaped_while_their_tree_lives() {
    let bench = Bench::of(DriverKind::None);
    let mut spec = bench.spec("orphans");
    spec.env.insert("PATH".into(), "/usr/bin:/bin".into());
    let sandbox = bench.driver.create(spec).await.unwrap();

    // The shell ends first, so its child's end is for somebody else to notice.
    let script = "(setsid sh -c \"while kill -0 $$ 2>&-; do :; done\" &)";
    for _ in 0..6 {
        assert_eq!(run(&*sandbox, script).await.0, Exit::Code(0));
    }

    let supervisor = await_processes_with("orphans", 1)[0].0;
    await_no_zombies_beneath(supervisor.as_raw_nonzero().get());
    sandbox.destroy().await.unwrap();
}

async fn without_walls_a_stopped_supervisor_does_not_prevent_the_kill() {
    let bench = Bench::of(DriverKind::None);
    let span = rare_span();
    let (sandbox, _process, alive) = untraceable_tree(&bench, "stopped", &span).await;
    let supervisor = await_processes_with("stopped", 1);
    rustix::process::pidfd_send_signal(&supervisor[0].1, Signal::STOP).unwrap();
    await_stopped(supervisor[0].0);

    sandbox.destroy().await.unwrap();

    assert_die(&supervisor);
    assert_die(&alive.0);
}

async fn without_walls_programs_die_with_their_supervisor() {
    let bench = Bench::of(DriverKind::None);
    let span = rare_span();
    let mut spec = bench.spec("bereft");
    spec.env.insert("PATH".into(), "/usr/bin:/bin".into());
    let sandbox = bench.driver.create(spec).await.unwrap();
    let mut process = start(&*sandbox, &format!("echo up; exec sleep {span}")).await;
    let alive = Left(await_processes_with(&span, 1));

    let supervisor = await_processes_with("bereft", 1);
    rustix::process::pidfd_send_signal(&supervisor[0].1, Signal::KILL).unwrap();

    assert_die(&alive.0);
    assert_eq!(process.wait().await.unwrap(), Exit::Signal(libc::SIGKILL));
    sandbox.destroy().await.unwrap();
}

async fn a_sweep_ends_what_a_killed_supervisor_left() {
    let dir = tempfile::tempdir().unwrap();
    let (span, foreign) = (rare_span(), rare_span());
    let bystander = std::process::Command::new("sleep").arg(&foreign).spawn();
    let _bystander = Doomed(bystander.unwrap());
    let script = stubborn(&span);
    let mut victim = start_victim(DriverKind::None, &dir.path().join("w"), &span, &script);
    let left = Left(await_processes_with(&span, 3));
    assert!(
        Workspaces::open(&dir.path().join("w")).is_err(),
        "the living worker holds it"
    );
    let supervisor = await_processes_with(&format!("victim-{span}"), 1);
    rustix::process::pidfd_send_signal(&supervisor[0].1, Signal::KILL).unwrap();
    assert_die(&supervisor);
    victim.kill();
    let daemons = processes_with(&span).len();
    assert!(daemons >= 2, "what nobody supervises lives on: {daemons}");

    let workspaces = Workspaces::open(&dir.path().join("w")).unwrap();
    let report = workspaces.sweep().unwrap();

    assert!(report.processes >= daemons, "{report:?}");
    assert_eq!((report.workspaces, report.failures.len()), (1, 0));
    assert_die(&left.0);
    assert_eq!(processes_with(&foreign).len(), 1);
    assert!(
        workspaces
            .create(&SandboxId::try_from(format!("victim-{span}")).unwrap())
            .is_ok()
    );
}
