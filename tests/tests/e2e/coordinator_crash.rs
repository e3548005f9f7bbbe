//! Kill -9 of the coordinator: what was acknowledged is there, what ran goes on, everything ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use ganger_proto::v1;
use ganger_tests::{Chance, Client, Cluster, Daemon, WorkerSpec, patiently, proc, programs};
use tokio::sync::watch;
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
#[derive(Clone, Default)]
struct Told {
    /// Made by which request.
    created: BTreeMap<u64, String>,
    /// The attempt that a claim began.
    claimed: BTreeMap<u64, i32>,
    /// The result that an update wrote.
    completed: BTreeMap<u64, String>,
    /// The last revision of each task.
    revisions: BTreeMap<u64, u64>,
    /// Requests whose answer never came: each was carried out once, or not at all.
    unsure: BTreeSet<String>,
}

/// Somebody who plans, claims and completes without end, and notes what it was told.
#[derive(Clone)]
struct Caller {
    client: Client,
    told: Arc<Mutex<Told>>,
    /// How many calls were answered.
    calls: Arc<watch::Sender<usize>>,
}

/// What a request makes.
fn task_of(request_id: &str) -> v1::CreateTaskRequest {
    v1::CreateTaskRequest {
        subject: format!("by {request_id}"),
        request_id: request_id.to_owned(),
        ..v1::CreateTaskRequest::default()
    }
}

impl Caller {
    /// Calls until the coordinator is gone.
    async fn run(self) {
        while self.round().await.is_ok() {}
    }

    async fn round(&self) -> Result<(), tonic::Status> {
        let mut client = self.client.task();
        let request_id = uuid::Uuid::new_v4().to_string();
        self.told.lock().unwrap().unsure.insert(request_id.clone());
        let made = client.create_task(task_of(&request_id)).await?.into_inner();
        let made = made.task.unwrap();
        self.note(&made, |told| {
            told.unsure.remove(&request_id);
            told.created.insert(made.id, request_id);
        });

        let claim = v1::ClaimTaskRequest {
            task_id: made.id,
            ..v1::ClaimTaskRequest::default()
        };
        let claimed = client.claim_task(claim).await?.into_inner();
        self.note(&claimed.task.unwrap(), |told| {
            told.claimed.insert(made.id, claimed.attempt);
        });

        let result = format!("result of {}", made.id);
        let update = v1::UpdateTaskRequest {
            task_id: made.id,
            status: TaskStatus::Completed.into(),
            result: Some(result.clone()),
            ..v1::UpdateTaskRequest::default()
        };
        let updated = client.update_task(update).await?.into_inner();
        self.note(&updated.task.unwrap(), |told| {
            told.completed.insert(made.id, result);
        });
        Ok(())
    }

    fn note(&self, task: &v1::Task, note: impl FnOnce(&mut Told)) {
        let mut told = self.told.lock().unwrap();
        note(&mut told);
        told.revisions.insert(task.id, task.revision);
        drop(told);
        self.calls.send_modify(|calls| *calls += 1);
    }
}

/// That everything that was told is so.
async fn check(client: &Client, told: &Mutex<Told>) {
    let mut sure = told.lock().unwrap().clone();
    // Asked again with the same id, what nobody was told of is done once.
    for request_id in std::mem::take(&mut sure.unsure) {
        let task = client.create(task_of(&request_id)).await;
        assert_eq!(client.create(task_of(&request_id)).await.id, task.id);
        sure.revisions.insert(task.id, task.revision);
        sure.created.insert(task.id, request_id);
    }
    for (id, request_id) in &sure.created {
        let task = client.get(*id).await;
        assert_eq!(task.subject, task_of(request_id).subject);
        assert!(task.revision >= sure.revisions[id], "{task:?}");
        if let Some(attempt) = sure.claimed.get(id) {
            assert_ne!(task.status(), TaskStatus::Pending, "{task:?}");
            assert_eq!(task.attempt_count, *attempt, "{task:?}");
        }
        if let Some(result) = sure.completed.get(id) {
            assert_eq!(task.status(), TaskStatus::Completed, "{task:?}");
            assert_eq!(task.result, *result);
        }
        // The outcome of the request is remembered, too.
        assert_eq!(client.create(task_of(request_id)).await.id, *id);
    }
    *told.lock().unwrap() = sure;
}

/// Lets callers loose on the board, and kills the coordinator under them. Answers the events that
/// somebody saw until then.
async fn crash_under_load(
    cluster: &mut Cluster,
    workers: &[Daemon],
    told: &Arc<Mutex<Told>>,
    moment: usize,
    at_that_moment: impl FnOnce(),
) -> Vec<v1::Event> {
    let calls = Arc::new(watch::Sender::new(0));
    let callers = (0..4).map(|_| Caller {
        client: cluster.client(),
        told: told.clone(),
        calls: calls.clone(),
    });
    let callers: Vec<_> = callers.map(|caller| tokio::spawn(caller.run())).collect();
    let mut watch = cluster.client().watch().await;
    let watcher = tokio::spawn(async move {
        while watch.more().await.is_ok() {}
        watch.events
    });

    // The moment is a count of answered calls, and then what the scheduler makes of it.
    let mut reached = calls.subscribe();
    let reached = reached.wait_for(|calls| *calls >= moment);
    drop(patiently("calls are answered", reached).await.unwrap());
    at_that_moment();
    let lines: Vec<usize> = workers.iter().map(Daemon::log_len).collect();
    cluster.coordinator.kill().await;
    for caller in callers {
        patiently("a caller learns of it", caller).await.unwrap();
    }
    let seen = patiently("the watcher learns of it", watcher)
        .await
        .unwrap();
    println!(
        "killed after {} calls and {} events",
        *calls.borrow(),
        seen.len()
    );
    cluster.restart_coordinator().await;
    for (worker, lines) in workers.iter().zip(lines) {
        worker.logged_after(lines, "connected coordinator").await;
    }
    seen
}

#[tokio::test]
async fn nothing_acknowledged_is_missing_after_crashes_at_random_moments_and_everything_ends() {
    const ROUNDS: usize = 5;
    const DELEGATED: u64 = 6;
    let mut chance = Chance::new();
    let mut cluster = Cluster::start(programs!()).await;
    let mut workers = Vec::new();
    for name in ["w1", "w2"] {
        workers.push(cluster.start_worker(WorkerSpec::named(name).slots(3)).await);
    }
    let gate = cluster.gate("g");
    let script = format!("{}; echo $GANGER_TASK_ID of $GANGER_ATTEMPT", gate.wait());
    let told = Arc::new(Mutex::new(Told::default()));
    let mut delegated = Vec::new();
    let mut seen = Vec::new();

    for _ in 0..ROUNDS {
        for _ in 0..DELEGATED {
            delegated.push(cluster.client().start(&script).await.id);
        }
        let moment = 20 + chance.below(150) as usize;
        // Some of the sub-agents end right then.
        let through = chance.below(DELEGATED) as usize;
        let open = || gate.open_for(through);
        seen = crash_under_load(&mut cluster, &workers, &told, moment, open).await;
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
        assert_eq!(task.status(), TaskStatus::Completed, "{task:?}");
        assert_eq!(task.result, format!("{id} of {}\n", task.attempt_count));
        // Nothing was begun anew: every sub-agent was kept.
        let is_lost = |attempt: &v1::Attempt| attempt.ending() == v1::AttemptEnding::Lost;
        assert!(!task.attempts.iter().any(is_lost), "{task:?}");
    }
    let revisions: Vec<u64> = watch.events.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (1..=revisions.len() as u64).collect::<Vec<_>>());
    // Nobody was told of an event that the crash undid.
    assert_eq!(watch.events[..seen.len()], seen[..]);
    // And no request was carried out twice.
    let made = watch
        .events
        .iter()
        .filter(|event| event.subject.starts_with("by "));
    let subjects: Vec<&str> = made.map(|event| &event.subject[..]).collect();
    let unique: BTreeSet<&str> = subjects.iter().copied().collect();
    assert_eq!(
        (unique.len(), subjects.len()),
        (subjects.len(), told.lock().unwrap().created.len())
    );
}
