//! Workers that die, freeze or fall silent: their work is done elsewhere, once.

use std::collections::BTreeMap;

use ganger_proto::v1::{self, connect_request::Message as Says};
use ganger_tests::{Chance, Cluster, HandWorker, WorkerSpec, hello, is_ending, proc, programs};
use rustix::process::Signal;
use v1::{AttemptEnding, EventType, TaskStatus};

#[tokio::test]
async fn task_of_a_killed_worker_runs_elsewhere_when_its_lease_is_over() {
    let cluster = Cluster::hasty(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let mut first = cluster.worker("w1").await;
    let task = client.start(&format!("{}; echo done", gate.wait())).await;
    client.running(task.id).await;
    let tree = proc::descendants(first.pid());
    assert!(!tree.is_empty());

    first.kill().await;
    proc::gone(tree).await;
    let _second = cluster.worker("w2").await;
    client
        .watch()
        .await
        .until(task.id, EventType::TaskRequeued)
        .await;
    gate.open();
    let ended = client.ended(task.id).await;

    assert_eq!(
        (ended.status(), &ended.result[..]),
        (TaskStatus::Completed, "done\n")
    );
    let attempts: Vec<_> = ended
        .attempts
        .iter()
        .map(|a| (a.runner.as_str(), a.ending()))
        .collect();
    assert_eq!(
        attempts,
        [
            ("w1", AttemptEnding::Lost),
            ("w2", AttemptEnding::Completed)
        ]
    );
    let workers: Vec<_> = client
        .workers()
        .await
        .into_iter()
        .map(|worker| worker.name)
        .collect();
    assert_eq!(workers, ["w2"]);
}

#[tokio::test]
async fn report_of_a_worker_whose_lease_is_over_is_refused() {
    let cluster = Cluster::hasty(programs!()).await;
    let client = cluster.client();
    // It never sends a heartbeat: to the coordinator that is a frozen worker.
    let silent = v1::Hello {
        manual: false,
        ..hello("silent")
    };
    let mut worker = HandWorker::connect(&client, silent.clone()).await.unwrap();
    let by_hand = v1::StartTaskRequest {
        agent_type: "by-hand".into(),
        prompt: "x".into(),
        ..v1::StartTaskRequest::default()
    };
    let task = client.start_task(by_hand).await;
    let fence = worker.assignment().await.fence.unwrap();
    worker.say(Says::Started(v1::Started {
        fence: Some(fence.clone()),
        run_limit: None,
    }));
    client.running(task.id).await;

    client
        .watch()
        .await
        .until(task.id, EventType::TaskRequeued)
        .await;
    while let Ok(Some(_)) = worker.hear().await {}
    let held = vec![v1::Held {
        fence: Some(fence.clone()),
        started: true,
    }];
    let mut again = HandWorker::connect(
        &client,
        v1::Hello {
            held,
            manual: true,
            ..silent
        },
    )
    .await
    .unwrap();

    assert!(
        !again.welcome.verdicts[0].keep,
        "{:?}",
        again.welcome.verdicts
    );
    let ack = again.completed(&fence, "stale").await;
    assert!(!ack.accepted, "{ack:?}");
    let second = again.assignment().await.fence.unwrap();
    assert_eq!(second.attempt, 2);
    assert!(again.completed(&second, "fresh").await.accepted);
    let ended = client.ended(task.id).await;
    assert_eq!(
        (&ended.result[..], ended.attempts[0].ending()),
        ("fresh", AttemptEnding::Lost)
    );
}

#[tokio::test]
async fn task_that_takes_its_workers_along_fails_at_its_crash_limit() {
    let flags = [
        "--lease",
        "1s",
        "--heartbeat",
        "200ms",
        "--expect-type",
        "shell",
    ];
    let cluster = Cluster::with(programs!(), &flags).await;
    let client = cluster.client();
    client
        .create(v1::CreateTaskRequest {
            subject: "deadly".into(),
            agent_type: "shell".into(),
            prompt: cluster.gate("never").wait(),
            crash_limit: Some(1),
            ..v1::CreateTaskRequest::default()
        })
        .await;
    let mut watch = client.watch().await;

    for attempt in 1..=2 {
        let mut worker = cluster.worker(&format!("w{attempt}")).await;
        let what = format!("start of attempt {attempt}");
        watch
            .find(&what, |event| {
                event.r#type() == EventType::TaskStarted && event.attempt == attempt
            })
            .await;
        worker.kill().await;
    }
    watch.ended(1).await;

    let ended = client.get(1).await;
    assert_eq!(
        (ended.status(), ended.stop_reason()),
        (TaskStatus::Failed, v1::StopReason::CrashLimit)
    );
    assert_eq!(ended.attempt_count, 2);
    assert!(
        ended
            .attempts
            .iter()
            .all(|attempt| attempt.ending() == AttemptEnding::Lost),
        "{ended:?}"
    );
}

#[tokio::test]
async fn frozen_worker_stops_its_stale_attempt_when_it_thaws_and_the_other_result_stands() {
    let cluster = Cluster::hasty(programs!()).await;
    let (client, gate) = (cluster.client(), cluster.gate("g"));
    let frozen = cluster.worker("w1").await;
    let task = client
        .start(&format!("{}; echo of $GANGER_ATTEMPT", gate.wait()))
        .await;
    client.running(task.id).await;
    let tree = proc::descendants(frozen.pid());

    frozen.signal(Signal::STOP);
    let second = cluster.worker("w2").await;
    let mut watch = client.watch().await;
    let began_again =
        |event: &v1::Event| event.r#type() == EventType::TaskStarted && event.attempt == 2;
    watch.find("a second start", began_again).await;
    let lines = frozen.log_len();
    frozen.signal(Signal::CONT);
    frozen.logged_after(lines, "no longer this worker's").await;
    proc::gone(tree).await;
    gate.open();
    let ended = client.ended(task.id).await;

    assert_eq!(
        (ended.status(), &ended.result[..]),
        (TaskStatus::Completed, "of 2\n")
    );
    // The thawed one is of use again.
    drop(second);
    let next = client.start("echo next").await;
    assert_eq!(client.ended(next.id).await.result, "next\n");
}

#[tokio::test]
async fn no_task_is_completed_twice_however_often_workers_die() {
    const TASKS: u64 = 60;
    const KILLS: u64 = 4;
    let mut chance = Chance::new();
    let cluster = Cluster::hasty(programs!()).await;
    let client = cluster.client();
    let spec = |name: String| WorkerSpec::named(&name).slots(3);
    let mut workers = Vec::new();
    for name in ["w1", "w2", "w3"] {
        workers.push(cluster.start_worker(spec(name.into())).await);
    }
    let tasks = (0..TASKS).map(|n| v1::NewTask {
        subject: n.to_string(),
        agent_type: "shell".into(),
        prompt: "sleep 0.1; echo $GANGER_TASK_ID $GANGER_ATTEMPT".into(),
        crash_limit: Some(100),
        ..v1::NewTask::default()
    });
    let batch = v1::BatchCreateTasksRequest {
        tasks: tasks.collect(),
        ..v1::BatchCreateTasksRequest::default()
    };
    client.task().batch_create_tasks(batch).await.unwrap();

    let mut watch = client.watch().await;
    for kill in 0..KILLS {
        // A worker is killed after some more tasks were completed.
        let wanted = (kill + 1) * TASKS / (KILLS + 2);
        while watch.events.iter().filter(|event| is_ending(event)).count() < wanted as usize {
            watch.more().await.unwrap();
        }
        let victim = chance.below(workers.len() as u64) as usize;
        workers[victim].kill().await;
        workers[victim] = cluster.start_worker(spec(format!("again-{kill}"))).await;
    }
    for id in 1..=TASKS {
        watch.ended(id).await;
    }

    let mut ends = BTreeMap::<u64, Vec<i32>>::new();
    let mut begun = BTreeMap::<(u64, i32), usize>::new();
    for event in &watch.events {
        if is_ending(event) {
            ends.entry(event.task_id).or_default().push(event.attempt);
        }
        if event.r#type() == EventType::TaskDispatched {
            *begun.entry((event.task_id, event.attempt)).or_default() += 1;
        }
    }
    assert_eq!(ends.len() as u64, TASKS);
    assert!(
        ends.values().all(|attempts| attempts.len() == 1),
        "{ends:?}"
    );
    assert!(begun.values().all(|times| *times == 1), "{begun:?}");
    for id in 1..=TASKS {
        let task = client.get(id).await;
        assert_eq!(task.status(), TaskStatus::Completed, "{task:?}");
        assert_eq!(task.result, format!("{id} {}\n", ends[&id][0]));
        let completed = task
            .attempts
            .iter()
            .filter(|a| a.ending() == AttemptEnding::Completed);
        assert_eq!(completed.count(), 1);
    }
}
