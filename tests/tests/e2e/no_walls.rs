//! `--sandbox none`: no walls, and still nothing is left behind.

use ganger_tests::{Cluster, Daemon, WorkerSpec, patiently, proc, programs};
use rustix::process::{Pid, Signal, kill_process};

/// Leaves an orphan that ends after its parent, and is waited for by nobody that it knows.
const ORPHAN: &str = "(setsid sh -c \"while kill -0 $$ 2>&-; do :; done\" >&- 2>&- &); echo made";

/// A worker that is process 1 of a pid namespace of its own, as in a container without an init. None
/// where this user may not make one.
async fn as_pid_1(cluster: &Cluster) -> Option<(Daemon, i32)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("*** SKIPPED: only root makes a pid namespace ***");
        return None;
    }
    let spec = WorkerSpec::named("w1").sandbox("none").under([
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    let unshare = cluster.start_worker(spec).await;
    let [pid_1] = proc::children(unshare.pid())[..] else {
        panic!("unshare has one child")
    };
    Some((unshare, pid_1))
}

async fn until_no_zombies(of: i32) {
    patiently("every orphan is reaped", async {
        while proc::zombies(of) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn worker_as_pid_1_reaps_every_orphan_and_drains_at_sigterm() {
    let cluster = Cluster::start(programs!()).await;
    let Some((mut unshare, pid_1)) = as_pid_1(&cluster).await else {
        return;
    };
    let client = cluster.client();

    for _ in 0..6 {
        let task = client.start(ORPHAN).await;
        assert_eq!(client.ended(task.id).await.result, "made\n");
    }
    // An orphan of nobody's tree, as `docker exec` leaves them.
    let foreign = tokio::process::Command::new("nsenter")
        .args(["--pid", "--mount", "--target", &pid_1.to_string()])
        .args(["sh", "-c", ORPHAN])
        .status();
    assert!(patiently("nsenter", foreign).await.unwrap().success());
    until_no_zombies(unshare.pid()).await;
    let gate = cluster.gate("g");
    let running = client.start(&format!("{}; echo done", gate.wait())).await;
    client.running(running.id).await;
    kill_process(Pid::from_raw(pid_1).unwrap(), Signal::TERM).unwrap();
    cluster.coordinator.logged("worker drains").await;
    gate.open();

    assert_eq!(client.ended(running.id).await.result, "done\n");
    assert_eq!(unshare.end().await.code(), Some(0));
}

#[tokio::test]
async fn sub_agents_die_with_a_killed_worker_whatever_they_did() {
    let cluster = Cluster::hasty(programs!()).await;
    let spec = WorkerSpec::named("w1").sandbox("none");
    let mut worker = cluster.start_worker(spec).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let script = format!(
        "(setsid env -i PATH=/usr/bin:/bin sh -c '(setsid sleep 3600 >&- 2>&- &)' &); \
         echo up; {}",
        gate.wait()
    );
    let task = client.start(&script).await;
    client.transcript(task.id).await.said("up").await;
    // The supervisor, the script, and its daemon.
    let mut tree = proc::descendants(worker.pid());
    patiently("the daemon comes up", async {
        while tree.len() != 3 {
            tokio::task::yield_now().await;
            tree = proc::descendants(worker.pid());
        }
    })
    .await;

    worker.kill().await;

    proc::gone(tree).await;
}
