//! Many who want the same: each task has one winner, whatever happens to the coordinator.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ganger_proto::v1::{
    self, ClaimNextTaskRequest, ClaimTaskRequest, EventType, TaskStatus::InProgress,
};
use ganger_tests::{Chance, Client, Cluster, error_info, new_task, patiently, programs};
use tokio::{sync::Barrier, task::JoinSet};
use tonic::{Code, Status};

const CLAIMANTS: usize = 8;
const TASKS: u64 = 10_000;

/// Far longer than a fight takes on a busy machine; it only bounds a failure.
const LONGEST: Duration = Duration::from_secs(600);

/// Waits for the end of a fight.
async fn over<T>(fight: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let came = tokio::time::timeout(LONGEST, fight).await;
    println!("it took {:?}", begin.elapsed());
    came.expect("a fight comes to its end")
}

/// Which attempt of which task somebody was told to have.
type Won = BTreeMap<u64, i32>;

fn names() -> Vec<String> {
    (0..CLAIMANTS).map(|at| format!("claimant-{at}")).collect()
}

/// A team of claimants, and so many tasks that are nobody's.
async fn team(cluster: &Cluster, tasks: u64) -> Client {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lead = cluster.client().team_of("red", &names).await;
    let mut planned = 0;
    while planned < tasks {
        let batch = 1_000.min(tasks - planned);
        lead.plan((0..batch).map(|_| new_task("wanted")).collect())
            .await;
        planned += batch;
    }
    lead
}

/// Each of them on a connection of its own.
fn claimants(cluster: &Cluster) -> impl Iterator<Item = (String, Client)> + use<'_> {
    names().into_iter().map(|name| {
        let client = cluster.client().in_team("red").member(&name);
        (name, client)
    })
}

fn claim_of(task_id: u64) -> ClaimTaskRequest {
    ClaimTaskRequest {
        task_id,
        ..ClaimTaskRequest::default()
    }
}

/// Who won what, where no two won the same.
fn merged(wins: &BTreeMap<String, Won>) -> BTreeMap<u64, (String, i32)> {
    let mut all = BTreeMap::new();
    for (name, won) in wins {
        for (id, attempt) in won {
            let other = all.insert(*id, (name.clone(), *attempt));
            assert_eq!(other, None, "{name} and another have task {id}");
        }
    }
    all
}

/// That the board, and its history, know each winner, and no other.
async fn check(lead: &Client, won: &BTreeMap<u64, (String, i32)>) {
    let tasks = lead.list(|list| list.page_size = 1_000).await;
    let told: BTreeMap<u64, (String, i32)> = tasks
        .into_iter()
        .filter(|task| task.status() == InProgress)
        .map(|task| (task.id, (task.owner, task.attempt_count)))
        .collect();
    assert_eq!(told, *won);
    let revision = lead.team().get_team(v1::GetTeamRequest::default()).await;
    let revision = revision.unwrap().into_inner().team.unwrap().revision;
    let mut watch = lead.watch().await;
    watch
        .find("the last event", |event| event.revision == revision)
        .await;
    let claims = watch.events.iter();
    let claims = claims.filter(|event| event.r#type() == EventType::TaskClaimed);
    let mut claimed = BTreeMap::new();
    for event in claims {
        let by = (event.member.clone(), event.attempt);
        assert_eq!(event.actor, event.member);
        let other = claimed.insert(event.task_id, by);
        assert_eq!(other, None, "task {} was claimed twice", event.task_id);
    }
    assert_eq!(claimed, *won);
}

/// Claims the tasks in their order as fast as all the others do, and says which it won.
async fn claim_each(client: Client, start: Arc<Barrier>) -> Won {
    /// Calls of one claimant that are under way at once.
    const ABREAST: u64 = 16;
    start.wait().await;
    let mut lanes = JoinSet::new();
    for lane in 0..ABREAST {
        let mut tasks = client.task();
        lanes.spawn(async move {
            let mut won = Won::new();
            for id in (1..=TASKS).filter(|id| id % ABREAST == lane) {
                match tasks.claim_task(claim_of(id)).await {
                    Ok(claimed) => {
                        won.insert(id, claimed.into_inner().attempt);
                    }
                    Err(status) => assert_eq!(status.code(), Code::FailedPrecondition),
                }
            }
            won
        });
    }
    let mut won = Won::new();
    while let Some(part) = lanes.join_next().await {
        won.extend(part.unwrap());
    }
    won
}

/// test_concurrent_claims_serialize_to_one_winner (Q12), 10,000 times with 8 claimants each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_10_000_tasks_that_8_claim_at_once_has_exactly_one_winner() {
    let cluster = Cluster::start(programs!()).await;
    let lead = team(&cluster, TASKS).await;

    let start = Arc::new(Barrier::new(CLAIMANTS));
    let claiming: Vec<_> = claimants(&cluster)
        .map(|(name, client)| (name, tokio::spawn(claim_each(client, start.clone()))))
        .collect();
    let mut wins = BTreeMap::new();
    over(async {
        for (name, won) in claiming {
            wins.insert(name, won.await.unwrap());
        }
    })
    .await;

    let won = merged(&wins);
    assert_eq!(won.len() as u64, TASKS);
    assert!(won.values().all(|(_, attempt)| *attempt == 1));
    assert!(
        wins.values().all(|won| !won.is_empty()),
        "all of them took part"
    );
    check(&lead, &won).await;
}

/// The same where nobody names a task: each call brings another one, until there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_10_000_tasks_that_8_take_as_the_next_one_goes_to_exactly_one() {
    let cluster = Cluster::start(programs!()).await;
    let lead = team(&cluster, TASKS).await;

    let mut claiming = Vec::new();
    for (name, client) in claimants(&cluster) {
        let lanes: Vec<_> = (0..16)
            .map(|_| tokio::spawn(take_all(client.clone())))
            .collect();
        claiming.push((name, lanes));
    }
    let mut wins = BTreeMap::new();
    over(async {
        for (name, lanes) in claiming {
            let mut won = Won::new();
            for lane in lanes {
                won.extend(lane.await.unwrap());
            }
            wins.insert(name, won);
        }
    })
    .await;

    let won = merged(&wins);
    assert_eq!(won.len() as u64, TASKS);
    check(&lead, &won).await;
}

async fn take_all(client: Client) -> Won {
    let mut tasks = client.task();
    let mut won = Won::new();
    loop {
        let next = tasks.claim_next_task(ClaimNextTaskRequest::default()).await;
        let next = next.unwrap().into_inner();
        let Some(task) = next.task else {
            return won;
        };
        let other = won.insert(task.id, next.attempt);
        assert_eq!(other, None, "task {} was given twice", task.id);
    }
}

/// What a claimant was told before the coordinator was gone.
struct Stormed {
    won: Won,
    /// Requests without an answer: each was carried out once, or not at all.
    unsure: Vec<ClaimNextTaskRequest>,
}

/// Claims until the coordinator is gone, every other time the next task and a named one.
async fn storm(client: Client, seed: u64, answered: Arc<AtomicUsize>) -> Stormed {
    let mut tasks = client.task();
    let mut stormed = Stormed {
        won: Won::new(),
        unsure: Vec::new(),
    };
    for at in 0.. {
        let named = 1 + (at * 7 + seed * 131) % TASKS;
        match tasks.claim_task(claim_of(named)).await {
            Ok(claimed) => {
                stormed.won.insert(named, claimed.into_inner().attempt);
            }
            Err(status) if status.code() == Code::FailedPrecondition => {}
            // Whether it was claimed is seen by its owner afterwards: only this one claims it so.
            Err(status) => return gone(stormed, &status),
        }
        let request = ClaimNextTaskRequest {
            request_id: uuid::Uuid::new_v4().to_string(),
            ..ClaimNextTaskRequest::default()
        };
        match tasks.claim_next_task(request.clone()).await {
            Ok(next) => {
                let next = next.into_inner();
                stormed.won.insert(next.task.unwrap().id, next.attempt);
            }
            Err(status) => {
                stormed.unsure.push(request);
                return gone(stormed, &status);
            }
        }
        answered.fetch_add(2, Ordering::Relaxed);
    }
    unreachable!("there is no end to the numbers")
}

/// The coordinator went away: that is no refusal.
fn gone(stormed: Stormed, status: &Status) -> Stormed {
    let is_loss = matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
    );
    assert!(is_loss, "{status:?}");
    if !status.details().is_empty() {
        assert_ne!(error_info(status).reason, "INTERNAL", "{status:?}");
    }
    stormed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_were_acknowledged_outlive_a_crash_in_their_midst_and_no_task_has_two_winners()
{
    const ROUNDS: usize = 3;
    let mut chance = Chance::new();
    let mut cluster = Cluster::start(programs!()).await;
    team(&cluster, TASKS).await;
    let mut wins: BTreeMap<String, Won> = BTreeMap::new();
    let mut sent: BTreeMap<String, Vec<ClaimNextTaskRequest>> = BTreeMap::new();

    for _ in 0..ROUNDS {
        let answered = Arc::new(AtomicUsize::new(0));
        let storms: Vec<_> = claimants(&cluster)
            .map(|(name, client)| {
                let seed = chance.below(TASKS);
                (name, tokio::spawn(storm(client, seed, answered.clone())))
            })
            .collect();
        let moment = 100 + chance.below(900) as usize;
        while answered.load(Ordering::Relaxed) < moment {
            tokio::task::yield_now().await;
        }
        cluster.coordinator.kill().await;
        for (name, storm) in storms {
            let stormed = patiently("a claimant learns of it", storm).await.unwrap();
            wins.entry(name.clone()).or_default().extend(stormed.won);
            sent.entry(name).or_default().extend(stormed.unsure);
        }
        cluster.restart_coordinator().await;
    }

    // Asked again with the same id, a request that nobody heard of is carried out once.
    for (name, client) in claimants(&cluster) {
        for request in &sent[&name] {
            let mut tasks = client.task();
            let mut again = async || {
                tasks
                    .claim_next_task(request.clone())
                    .await
                    .unwrap()
                    .into_inner()
            };
            let (first, second) = (again().await, again().await);
            assert_eq!(first, second);
            wins.get_mut(&name)
                .unwrap()
                .insert(first.task.unwrap().id, first.attempt);
        }
    }
    let lead = cluster.client().in_team("red");
    let told = merged(&wins);
    let mut won = told.clone();
    // A named claim whose answer was lost counts as well.
    let tasks = lead.list(|list| list.page_size = 1_000).await;
    let held: BTreeMap<u64, (String, i32)> = tasks
        .into_iter()
        .filter(|task| task.status() == InProgress)
        .map(|task| (task.id, (task.owner, task.attempt_count)))
        .collect();
    for (id, by) in &held {
        won.entry(*id).or_insert_with(|| by.clone());
    }
    let unheard = won.len() - told.len();
    println!(
        "{} claims were acknowledged, {unheard} were not and are there",
        told.len()
    );
    assert!(
        unheard <= ROUNDS * CLAIMANTS,
        "at most one for each claimant and crash"
    );
    check(&lead, &won).await;
}
