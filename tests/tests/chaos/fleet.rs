//! Many workers, and the renewal of all of them under load.

use std::collections::BTreeSet;

use ganger_proto::v1;
use ganger_tests::{Client, Cluster, Daemon, WorkerSpec, is_ending, patiently, proc, programs};
use rustix::process::Signal;
use tokio::sync::watch;
use v1::{
    AttemptEnding::{Completed, HandedBack},
    EventType, TaskStatus, WorkerState,
};

use crate::{CLUSTERS, ledger::Ledger};

fn spec(name: &str) -> WorkerSpec {
    WorkerSpec::named(name).sandbox("none")
}

#[tokio::test]
async fn fifty_workers_do_five_hundred_tasks_once_each_and_drain() {
    const TASKS: u64 = 500;
    let _permits = CLUSTERS.acquire_many(3).await.unwrap();
    let cluster = Cluster::start(programs!()).await;
    let (client, mut ledger) = (cluster.client(), Ledger::new(&cluster));
    let names: Vec<String> = (10..60).map(|n| format!("w{n}")).collect();
    let workers = names.iter().map(|name| cluster.launch_worker(spec(name)));
    let mut workers: Vec<Daemon> = workers.collect();
    for worker in &workers {
        worker.logged("connected coordinator").await;
    }
    let known = client.workers().await;
    let known: Vec<_> = known.iter().map(|w| (w.name.clone(), w.state())).collect();
    let all = names.iter().map(|n| (n.clone(), WorkerState::Connected));
    assert_eq!(known, all.collect::<Vec<_>>());

    let note = Ledger::note("done");
    let tasks = (1..=TASKS).map(|n| v1::NewTask {
        subject: format!("number {n}"),
        agent_type: "shell".into(),
        prompt: format!("{note}; echo result of $GANGER_TASK_ID"),
        ..v1::NewTask::default()
    });
    let ids = client.plan(tasks.collect()).await;
    let mut watch = client.watch().await;
    for id in &ids {
        watch.ended(*id).await;
    }

    assert_eq!(ids, (1..=TASKS).collect::<Vec<_>>());
    let ends = watch.events.iter().filter(|event| is_ending(event));
    assert_eq!(ends.count() as u64, TASKS);
    let mut runners = BTreeSet::new();
    for id in ids {
        let task = client.get(id).await;
        assert_eq!(
            (task.status(), task.attempt_count, task.result),
            (TaskStatus::Completed, 1, format!("result of {id}\n"))
        );
        assert_eq!(ledger.attempts("done", id), [1]);
        runners.insert(task.attempts[0].runner.clone());
    }
    assert_eq!(runners, names.into_iter().collect(), "all of them work");
    for worker in &workers {
        worker.signal(Signal::TERM);
    }
    for worker in &mut workers {
        let status = worker.end().await;
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

/// Keeps so many tasks under way, each of which takes a second, until it is told to stop and all
/// have ended. Answers their ids.
async fn load(client: Client, mark: String, mut is_over: watch::Receiver<bool>) -> Vec<u64> {
    const UNDER_WAY: usize = 16;
    let note = Ledger::note("done");
    let mut ids = Vec::new();
    let mut watch = client.watch().await;
    let (mut seen, mut ended) = (0, 0);
    loop {
        while ids.len() < ended + UNDER_WAY && !*is_over.borrow_and_update() {
            let task = client.create(v1::CreateTaskRequest {
                subject: mark.clone(),
                agent_type: "shell".into(),
                prompt: format!("sleep 1; {note}; echo of $GANGER_ATTEMPT"),
                // The first loss would be its end: what is handed back is none.
                crash_limit: Some(0),
                ..v1::CreateTaskRequest::default()
            });
            ids.push(task.await.id);
        }
        if ids.len() == ended {
            return ids;
        }
        watch.more().await.unwrap();
        ended += watch.events[seen..].iter().filter(|e| is_ending(e)).count();
        seen = watch.events.len();
    }
}

#[tokio::test]
async fn restart_of_all_workers_one_by_one_under_load_fails_no_task() {
    let _permits = CLUSTERS.acquire_many(2).await.unwrap();
    let cluster = Cluster::start(programs!()).await;
    let (client, mut ledger) = (cluster.client(), Ledger::new(&cluster));
    let mark = format!("load-{}", uuid::Uuid::new_v4());
    let names = ["w1", "w2", "w3", "w4", "w5", "w6"];
    // Every second one finishes what it has, the others give it back.
    let spec = |at: usize| match at % 2 {
        0 => spec(names[at]),
        _ => spec(names[at]).args(["--drain-seconds", "0"]),
    };
    let mut workers = Vec::new();
    for at in 0..names.len() {
        workers.push(cluster.start_worker(spec(at)).await);
    }
    let (over, is_over) = watch::channel(false);
    let load = tokio::spawn(load(client.clone(), mark.clone(), is_over));
    let mut watch = client.watch().await;

    for (at, worker) in workers.iter_mut().enumerate() {
        // It has something to lose.
        let seen = watch.events.len();
        let by_it = format!("worker:{}", names[at]);
        let is_its_start =
            |event: &v1::Event| event.r#type() == EventType::TaskStarted && event.actor == by_it;
        patiently(format!("{by_it} has begun something"), async {
            while !watch.events[seen..].iter().any(is_its_start) {
                watch.more().await.unwrap();
            }
        })
        .await;
        worker.signal(Signal::TERM);
        let status = worker.end().await;
        assert_eq!(status.code(), Some(0), "{status}");
        *worker = cluster.start_worker(spec(at)).await;
    }
    over.send(true).unwrap();
    let ids = patiently("what is under way ends", load).await.unwrap();

    let mut handed_back = 0;
    let mut runners = BTreeSet::new();
    for id in ids {
        let task = client.get(id).await;
        assert_eq!(task.status(), TaskStatus::Completed, "{task:?}");
        assert_eq!(task.result, format!("of {}\n", task.attempt_count));
        let (last, before) = task.attempts.split_last().unwrap();
        assert_eq!(last.ending(), Completed, "{task:?}");
        let is_free = |attempt: &v1::Attempt| attempt.ending() == HandedBack;
        assert!(before.iter().all(is_free), "{task:?}");
        handed_back += before.len();
        runners.insert(last.runner.clone());
        let done = ledger.attempts("done", id);
        assert_eq!(done.last(), Some(&task.attempt_count), "{task:?}");
        if before.is_empty() {
            assert_eq!(done, [1], "{task:?}");
        }
    }
    assert!(handed_back > 0, "some had to be given back");
    assert_eq!(runners, names.map(String::from).into());
    assert_eq!(proc::showing(&mark), [0; 0]);
    assert_eq!(client.workers().await.len(), names.len());
}
