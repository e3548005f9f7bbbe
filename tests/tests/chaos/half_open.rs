//! Links that drop packets in silence, both ways or one way: neither side is told, each finds out.

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, Daemon, Gate, WorkerSpec, patiently, proc, programs};
use v1::{
    AttemptEnding::{Completed, Lost},
    TaskStatus, WorkerState,
};

use crate::{
    ledger::Ledger,
    may_run,
    net::{Cut, NEAR, Net, between_two_machines},
};

async fn far_worker(cluster: &Cluster, net: &Net) -> Daemon {
    let enter = net.far();
    let enter = enter.iter().map(String::as_str);
    cluster
        .start_worker(WorkerSpec::named("far").under(enter))
        .await
}

async fn start(client: &Client, gate: &Gate) -> u64 {
    let (begun, done) = (Ledger::note("begun"), Ledger::note("done"));
    let wait = gate.wait();
    let script = format!("{begun}; {wait}; {done}; echo of $GANGER_ATTEMPT");
    client.start(&script).await.id
}

/// How workers stand.
async fn standing(client: &Client) -> Vec<(String, WorkerState)> {
    let workers = client.workers().await;
    let states = workers.iter().map(|w| (w.name.clone(), w.state()));
    states.collect()
}

async fn is_lost_and_comes_back(net: &Net, cut: Cut) {
    let _permit = may_run().await;
    // Long enough for the time between unreachable and lost to be seen.
    let flags = ["--insecure", "--lease", "6s", "--heartbeat", "500ms"];
    let cluster = Cluster::at(programs!(), NEAR, &flags).await;
    let (client, mut ledger) = (cluster.client(), Ledger::new(&cluster));
    let (early, late) = (cluster.gate("early"), cluster.gate("late"));
    let far = far_worker(&cluster, net).await;
    let (ends, runs) = (start(&client, &early).await, start(&client, &late).await);
    for id in [ends, runs] {
        ledger.until("begun", id, 1).await;
        client.running(id).await;
    }
    let tree = proc::descendants(far.pid());
    let (lines, far_lines) = (cluster.coordinator.log_len(), far.log_len());

    net.cut(cut);
    far.logged_after(far_lines, "keeps silent").await;
    let unreachable = [("far".to_owned(), WorkerState::Unreachable)];
    patiently("the worker is unreachable", async {
        while standing(&client).await != unreachable {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.get(runs).await.attempt_count, 1, "not lost yet");
    cluster
        .coordinator
        .logged_after(lines, "lease of worker is over")
        .await;
    let near = cluster.worker("near").await;
    // One of them ends on both machines, the other one is at it on both.
    early.open_for(2);
    for attempt in 1..=2 {
        ledger.until("done", ends, attempt).await;
    }
    ledger.until("begun", runs, 2).await;
    client.ended(ends).await;
    let far_lines = far.log_len();
    net.mend(cut);
    far.logged_after(far_lines, "connected coordinator").await;
    for attempt in ["/1/1 ", "/2/1 "] {
        let stale = far.logged_after(far_lines, attempt).await;
        assert!(stale.contains("no longer this worker's"), "{stale}");
    }
    proc::gone(tree).await;
    late.open();

    for id in [ends, runs] {
        let task = client.ended(id).await;
        assert_eq!(
            (task.status(), &task.result[..]),
            (TaskStatus::Completed, "of 2\n")
        );
        let attempts = task.attempts.iter();
        let endings: Vec<_> = attempts.map(|a| (&a.runner[..], a.ending())).collect();
        assert_eq!(endings, [("far", Lost), ("near", Completed)]);
    }
    assert_eq!(ledger.attempts("done", runs), [2]);
    let both = ["far", "near"].map(|name| (name.to_owned(), WorkerState::Connected));
    assert_eq!(standing(&client).await, both);
    // And it is of use again.
    drop(near);
    let next = client.start("echo next").await;
    assert_eq!(client.ended(next.id).await.attempts[0].runner, "far");
}

#[test]
fn worker_behind_a_cut_link_is_lost_at_the_end_of_its_lease_and_comes_back_without_its_attempts() {
    between_two_machines(async |net| is_lost_and_comes_back(net, Cut::Both).await);
}

#[test]
fn worker_that_is_heard_and_hears_nothing_finds_out_and_lets_go() {
    between_two_machines(async |net| is_lost_and_comes_back(net, Cut::ToFar).await);
}

#[test]
fn worker_that_hears_and_is_not_heard_finds_out_and_lets_go() {
    between_two_machines(async |net| is_lost_and_comes_back(net, Cut::ToNear).await);
}

#[test]
fn cut_that_is_shorter_than_the_lease_costs_nothing() {
    between_two_machines(async |net| {
        let _permit = may_run().await;
        // The worker notices after two thirds of it.
        let flags = ["--insecure", "--lease", "24s", "--heartbeat", "500ms"];
        let cluster = Cluster::at(programs!(), NEAR, &flags).await;
        let (client, gate) = (cluster.client(), cluster.gate("g"));
        let far = far_worker(&cluster, net).await;
        let script = format!(
            "(n=0; while :; do n=$((n + 1)); echo tick $n; sleep 0.1; done) & {}; kill $!; wait",
            gate.wait()
        );
        let task = client.start(&script).await;
        client.transcript(task.id).await.said("tick 3\n").await;
        let tree = proc::descendants(far.pid());
        let lines = far.log_len();

        net.cut(Cut::Both);
        far.logged_after(lines, "keeps silent").await;
        net.mend(Cut::Both);
        far.logged_after(lines, "connected coordinator").await;
        assert!(tree.iter().any(|pid| proc::lives(*pid)));
        gate.open();
        let ended = client.ended(task.id).await;

        assert_eq!(
            (ended.status(), ended.attempt_count),
            (TaskStatus::Completed, 1)
        );
        let said = client.transcript(task.id).await.whole().await;
        assert_eq!(said, ended.result);
        let all: Vec<String> = (1..=said.lines().count())
            .map(|n| format!("tick {n}"))
            .collect();
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            all,
            "nothing twice, no gap"
        );
    });
}
