//! Kill -9 of the coordinator: what was acknowledged is there, what ran goes on, everything ends.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use ganger_proto::v1;
use ganger_tests::{Chance, Client, Cluster, WorkerSpec, proc, programs};
use v1::TaskStatus;

#[tokio::test]
async fn running_sub_agents_are_kept_over_a_crash_of_the_coordinator() {
    let mut cluster = Cluster::start(programs!()).await;
    let gate = cluster.gate("g");
    let worker = cluster.worker("w1").await;
    let client = cluster.client();
    // What it says first is its own: a second process would say another thing.
    let script = format!(
        "head -c 8 /dev/urandom | od -An -tx8; {}; echo done",
        gate.wait()
    );
    let tasks = [client.start(&script).await, client.start(&script).await];
    for task in &tasks {
        client.running(task.id).await;
        client.transcript(task.id).await.said("\n").await;
    }
    let tree = proc::descendants(worker.pid());

    for _ in 0..2 {
        let lines = worker.log_len();
        cluster.crash_coordinator().await;
        worker.logged_after(lines, "connected coordinator").await;
    }
    assert_eq!(proc::descendants(worker.pid()), tree, "the same processes");
    gate.open_for(2);

    let client = cluster.client();
    for task in &tasks {
        let ended = client.ended(task.id).await;
        assert_eq!(
            (ended.status(), ended.attempt_count),
            (TaskStatus::Completed, 1),
            "{ended:?}"
        );
        let said = client.transcript(task.id).await.whole().await;
        assert_eq!(said.lines().count(), 2, "one process said: {said}");
        assert_eq!(ended.result, said);
    }
}

/// What somebody was told: so it must be from then on.
#[derive(Default)]
struct Acknowledged {
    /// Made by which request, under which subject.
    created: BTreeMap<u64, (String, String)>,
    /// The attempt that a claim began.
    claimed: BTreeMap<u64, i32>,
    /// The result that an update wrote.
    completed: BTreeMap<u64, String>,
    /// The last revision that was told of each task.
    revisions: BTreeMap<u64, u64>,
}

/// Plans, claims, completes and delegates without end, and notes what it was told.
struct Caller {
    client: Client,
    told: Arc<Mutex<Acknowledged>>,
    calls: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Caller {
    async fn run(self) {
        while !self.is_over.load(Ordering::Relaxed) {
            // A call that fails was not acknowledged: its caller begins anew.
            let _ = self.round().await;
        }
    }

    async fn round(&self) -> Result<(), tonic::Status> {
        let request_id = uuid::Uuid::new_v4().to_string();
        let subject = format!("by {request_id}");
        let task = v1::CreateTaskRequest {
            subject: subject.clone(),
            request_id: request_id.clone(),
            ..v1::CreateTaskRequest::default()
        };
        let made = self
            .client
            .task()
            .create_task(task)
            .await?
            .into_inner()
            .task
            .unwrap();
        self.note(&made, |told| {
            _ = told.created.insert(made.id, (request_id, subject))
        });

        let claim = v1::ClaimTaskRequest {
            task_id: made.id,
            ..v1::ClaimTaskRequest::default()
        };
        let claimed = self.client.task().claim_task(claim).await?.into_inner();
        let task = claimed.task.unwrap();
        self.note(&task, |told| {
            _ = told.claimed.insert(made.id, claimed.attempt)
        });

        let result = format!("result of {}", made.id);
        let update = v1::UpdateTaskRequest {
            task_id: made.id,
            status: TaskStatus::Completed.into(),
            result: Some(result.clone()),
            ..v1::UpdateTaskRequest::default()
        };
        let updated = self
            .client
            .task()
            .update_task(update)
            .await?
            .into_inner()
            .task
            .unwrap();
        self.note(&updated, |told| _ = told.completed.insert(made.id, result));
        Ok(())
    }

    fn note(&self, task: &v1::Task, note: impl FnOnce(&mut Acknowledged)) {
        let mut told = self.told.lock().unwrap();
        note(&mut told);
        told.revisions.insert(task.id, task.revision);
        drop(told);
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// That everything that was told is so.
async fn check(client: &Client, told: &Mutex<Acknowledged>) {
    let told = std::mem::take(&mut *told.lock().unwrap());
    for (id, (request_id, subject)) in &told.created {
        let task = client.get(*id).await;
        assert_eq!(task.subject, *subject);
        assert!(task.revision >= told.revisions[id], "{task:?}");
        if let Some(attempt) = told.claimed.get(id) {
            assert!(
                task.status() != TaskStatus::Pending && task.attempt_count == *attempt,
                "{task:?}"
            );
        }
        if let Some(result) = told.completed.get(id) {
            assert_eq!(
                (task.status(), &task.result),
                (TaskStatus::Completed, result)
            );
        }
        // The outcome of the request is remembered, too.
        let again = v1::CreateTaskRequest {
            subject: subject.clone(),
            request_id: request_id.clone(),
            ..v1::CreateTaskRequest::default()
        };
        assert_eq!(client.create(again).await.id, *id);
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_missing_after_crashes_at_random_moments_and_everything_ends() {
    const ROUNDS: usize = 5;
    const DELEGATED: u64 = 6;
    let mut chance = Chance::new();
    let mut cluster = Cluster::start(programs!()).await;
    let workers = [
        cluster.start_worker(WorkerSpec::named("w1").slots(3)).await,
        cluster.start_worker(WorkerSpec::named("w2").slots(3)).await,
    ];
    let gate = cluster.gate("g");
    let told = Arc::new(Mutex::new(Acknowledged::default()));
    let mut delegated = Vec::new();

    for round in 0..ROUNDS {
        let client = cluster.client();
        for _ in 0..DELEGATED {
            let script = format!("{}; echo $GANGER_TASK_ID of $GANGER_ATTEMPT", gate.wait());
            delegated.push(client.start(&script).await.id);
        }
        let (calls, is_over) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let callers = (0..4).map(|_| {
            let caller = Caller {
                client: cluster.client(),
                told: told.clone(),
                calls: calls.clone(),
                is_over: is_over.clone(),
            };
            tokio::spawn(caller.run())
        });
        let callers: Vec<_> = callers.collect();

        // The moment is a count of acknowledged calls, and then what the scheduler makes of it.
        let moment = 20 + chance.below(150) as usize;
        let mut turns = 0u64;
        while calls.load(Ordering::Relaxed) < moment {
            tokio::task::yield_now().await;
            turns += 1;
            assert!(turns < 100_000_000, "no calls get through");
        }
        // Some of the sub-agents end right then.
        gate.open_for(chance.below(DELEGATED) as usize);
        let lines = workers.each_ref().map(|worker| worker.log_len());
        cluster.coordinator.kill().await;
        is_over.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        println!(
            "round {round}: killed after {} calls",
            calls.load(Ordering::Relaxed)
        );
        cluster.restart_coordinator().await;
        for (worker, lines) in workers.iter().zip(lines) {
            worker.logged_after(lines, "connected coordinator").await;
        }
        check(&cluster.client(), &told).await;
    }

    gate.open_for(delegated.len());
    let client = cluster.client();
    let mut watch = client.watch().await;
    for id in &delegated {
        watch.ended(*id).await;
    }
    for id in delegated {
        let task = client.get(id).await;
        // Nothing was begun anew: every sub-agent was kept.
        assert_eq!(
            (task.status(), &task.result[..]),
            (
                TaskStatus::Completed,
                &format!("{id} of {}\n", task.attempt_count)[..]
            )
        );
        assert!(
            task.attempts
                .iter()
                .all(|a| a.ending() != v1::AttemptEnding::Lost),
            "{task:?}"
        );
    }
    let revisions: Vec<u64> = watch.events.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (1..=revisions.len() as u64).collect::<Vec<_>>());
}
