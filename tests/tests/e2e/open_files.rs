//! Open files: a worker takes as many as it may have, offers no more slots than they are enough for, and
//! hands nothing of that on.

use std::fs;

use ganger_proto::v1;
use ganger_tests::{Cluster, Daemon, WorkerSpec, patiently, programs};

/// A worker that is started with these limits of open files.
fn limited(name: &str, limits: &str) -> WorkerSpec {
    WorkerSpec::named(name).under(["prlimit", &format!("--nofile={limits}")])
}

fn open_files(of: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", of.pid()))
        .unwrap()
        .count()
}

/// The soft and the hard limit of a process.
fn limits(of: &Daemon) -> [String; 2] {
    let text = fs::read_to_string(format!("/proc/{}/limits", of.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let mut words = line.unwrap().split_whitespace().skip(3);
    [(); 2].map(|()| words.next().unwrap().to_owned())
}

#[tokio::test]
async fn a_worker_offers_no_more_slots_than_its_open_files_are_enough_for() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    let worker = cluster.launch_worker(limited("w1", "64:256").slots(1_000));
    let told = worker.logged("fewer are offered").await;
    assert!(told.contains("limit=256"), "{told}");
    worker.logged("connected coordinator").await;
    let offered = client.workers().await[0].slots;
    assert_eq!(offered, 16);

    // All of them at once, each with a file for its long output, and with outputs to be collected.
    let gate = cluster.gate("g");
    let before = open_files(&worker);
    let mut tasks = Vec::new();
    for _ in 0..offered {
        let script = format!(
            "for name in 1 2 3; do echo $name > $name.txt; done; head -c 400000 /dev/zero | tr '\\0' x; \
             echo; {}",
            gate.wait()
        );
        let task = client.start_task(v1::StartTaskRequest {
            prompt: script,
            output_globs: vec!["*.txt".into()],
            ..v1::StartTaskRequest::default()
        });
        tasks.push(task.await.id);
    }
    for task in &tasks {
        client.transcript(*task).await.said("xxxx\n").await;
    }
    let each = (open_files(&worker) - before) as f64 / f64::from(offered);
    assert!(each <= 8.0, "{each} descriptors of each attempt");

    gate.open_for(tasks.len());
    for task in tasks {
        let ended = client.ended(task).await;
        assert_eq!(ended.status(), v1::TaskStatus::Completed, "{ended:?}");
        let paths: Vec<_> = ended.outputs.iter().map(|output| &output.path).collect();
        assert_eq!(paths, ["1.txt", "2.txt", "3.txt", "result.md"]);
    }
}

#[tokio::test]
async fn a_worker_without_open_files_for_one_slot_says_how_many_it_takes() {
    let cluster = Cluster::start(programs!()).await;

    let mut worker = cluster.launch_worker(limited("w1", "64:64"));

    assert_eq!(worker.end().await.code(), Some(1));
    let log = worker.log();
    assert!(log.contains("64 open files are not enough"), "{log}");
    assert!(log.contains("raise the hard limit"), "{log}");
}

#[tokio::test]
async fn sub_agents_do_not_inherit_the_limit_that_a_worker_has_raised() {
    let cluster = Cluster::start(programs!()).await;
    let client = cluster.client();
    for (driver, inner) in [("native", ["1024", "1024"]), ("none", ["1024", "4096"])] {
        if driver == "native" && std::env::var("GANGER_TEST_SANDBOX").is_ok_and(|it| it == "none") {
            continue;
        }
        let mut worker = cluster
            .start_worker(limited(driver, "512:4096").sandbox(driver))
            .await;

        let task = client.start("ulimit -Sn; ulimit -Hn").await;

        let ended = client.ended(task.id).await;
        assert_eq!(ended.result, inner.join("\n") + "\n", "{driver}");
        assert_eq!(limits(&worker), ["4096", "4096"]);
        worker.signal(rustix::process::Signal::TERM);
        worker.end().await;
    }
}

/// Sets the soft limit of a process that runs.
async fn limit(of: &Daemon, soft: &str) {
    let mut prlimit = tokio::process::Command::new("prlimit");
    prlimit.args(["--pid", &of.pid().to_string(), &format!("--nofile={soft}:")]);
    assert!(
        patiently("prlimit", prlimit.status())
            .await
            .unwrap()
            .success()
    );
}

#[tokio::test]
async fn a_coordinator_that_can_open_no_file_says_so_and_serves_who_is_there() {
    let cluster = Cluster::start(programs!()).await;
    let there = cluster.client();
    there.workers().await;

    limit(&cluster.coordinator, "1").await;
    let newcomer = cluster.client();
    let waiting = tokio::spawn(async move { newcomer.workers().await });
    let told = cluster
        .coordinator
        .logged("connections can't be accepted")
        .await;
    assert!(told.contains("Too many open files"), "{told}");
    there.workers().await;

    limit(&cluster.coordinator, "1024").await;
    let workers = patiently("who came meanwhile is served", waiting).await;
    assert!(workers.unwrap().is_empty());
}
