//! `soak`: how long the slowest calls take, for as long as one likes.
//!
//! Calls come at an even pace, at a part of what the coordinator was measured to bear, whether or
//! not earlier ones were answered, and each counts from when it was due: so a pause of the
//! coordinator shows in all the calls that it kept waiting, not in one. Meanwhile a backup is
//! taken, a worker is exchanged, and the coordinator is stopped, compacted and started again; that
//! last pause is told apart.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use ganger_coordinator::upkeep::Compacted;
use ganger_proto::{
    MEMBER_KEY, TEAM_KEY,
    v1::{
        self, fleet_service_client::FleetServiceClient,
        mailbox_service_client::MailboxServiceClient, task_service_client::TaskServiceClient,
        team_service_client::TeamServiceClient,
    },
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{interval, sleep_until},
};
use tonic::{Request, transport::Channel};

use crate::{
    Setting, calls, cluster,
    figures::{Times, line, millis, rate},
    served::Served,
    simulated::{Role, Simulated, TYPE, completed},
};

const TEAM: &str = "soak";
/// Connections that the calls are spread over.
const CONNECTIONS: usize = 4;
/// Who watch the team meanwhile.
const WATCHERS: usize = 10;
/// Calls under way at once when the most is measured.
const IN_FLIGHT: usize = 64;
/// How often the worker takes a task.
const TURN: Duration = Duration::from_millis(20);
/// How often sizes are told.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// How long, and how much.
#[derive(Clone, Copy)]
pub struct Soak {
    /// Calls a second; by default half of the most.
    pub rate: Option<f64>,
    pub minutes: f64,
    /// Finished tasks, and events, that the coordinator keeps.
    pub kept: u64,
    /// Threads of the coordinator for network work.
    pub threads: usize,
}

/// What the calls have in common.
struct Shared {
    channels: Vec<Channel>,
    /// Tasks that were made, and tasks that were claimed.
    made: Mutex<Vec<u64>>,
    claimed: Mutex<Vec<u64>>,
    events: AtomicU64,
}

/// Kinds of calls, in turn. As many are sent as received, and as many made as completed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Claim,
    Complete,
    Send,
    Receive,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Create, "create"),
    (Kind::Claim, "claim"),
    (Kind::Complete, "complete"),
    (Kind::Send, "send"),
    (Kind::Receive, "receive"),
];

pub fn soak(setting: &Setting, soak: Soak) -> anyhow::Result<()> {
    println!(
        "soak: create, claim, complete, mail and watch, each call counted from when it was due"
    );
    let (kept, threads) = (soak.kept.to_string(), soak.threads.to_string());
    let flags = [
        "--tasks-kept",
        kept.as_str(),
        "--events-kept",
        kept.as_str(),
        "--threads",
        threads.as_str(),
    ];
    let mut served = Served::fresh(setting, &flags)?;
    cluster::runtime(1)?.block_on(async {
        let addr = served.addr;
        make_team(addr).await?;
        let shared = Arc::new(Shared::new(addr).await?);
        let most = most(&shared, setting.span).await?;
        line("  the most", format!("{most:.0} calls/s"), "64 in flight");
        let pace = soak.rate.unwrap_or(most / 2.0);
        line("  the pace", format!("{pace:.0} calls/s"), "");

        let span = Duration::from_secs_f64(soak.minutes * 60.0);
        let mut all = vec![Times::default(); KINDS.len()];
        let worker = tokio::spawn(work(addr));
        let mut load = tokio::spawn(run(shared.clone(), pace, span * 2 / 3));
        let backup = tokio::spawn(back_up(addr, span / 6));
        let exchanged = tokio::spawn(exchange(addr, worker, span / 3));
        tell_sizes(&served, &shared, &mut load, &mut all).await?;
        let told = backup.await??;
        line("  backup under load", told, "");
        let worker = exchanged.await??;

        worker.abort();
        served.stop()?;
        let began = Instant::now();
        let Compacted { before, after } = served.compact()?;
        let told = format!(
            "{:.0} to {:.0} MiB in {}",
            mib(before),
            mib(after),
            millis(began.elapsed())
        );
        line("  compacted", told, "");
        let addr_flag = addr.to_string();
        let again = [&["--addr", addr_flag.as_str()][..], &flags].concat();
        served = Served::again(setting, &again)?;
        let told = millis(served.started_in);
        line("  started again", told, "");
        let shared = Arc::new(Shared::new(addr).await?);
        let mut load = tokio::spawn(run(shared.clone(), pace, span / 3));
        tell_sizes(&served, &shared, &mut load, &mut all).await?;

        let mut every = Times::default();
        for ((_, name), mut times) in KINDS.into_iter().zip(all) {
            line(&format!("  {name}"), times.tails(), "");
            every.extend(times);
        }
        let goal = "goal: p99.9 ≤ 10 ms, none over 100 ms";
        line("  all calls", every.tails(), goal);
        Ok(())
    })
}

impl Shared {
    async fn new(addr: SocketAddr) -> anyhow::Result<Self> {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            channels.push(cluster::connect(addr).await?);
        }
        Ok(Self {
            channels,
            made: Mutex::default(),
            claimed: Mutex::default(),
            events: AtomicU64::new(0),
        })
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn say<T>(member: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let words = request.metadata_mut();
    words.insert(TEAM_KEY, TEAM.parse().expect("a plain name"));
    words.insert(MEMBER_KEY, member.parse().expect("a plain name"));
    request
}

fn push(list: &Mutex<Vec<u64>>, task: u64) {
    list.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(task);
}

fn pop(list: &Mutex<Vec<u64>>) -> Option<u64> {
    list.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

async fn make_team(addr: SocketAddr) -> anyhow::Result<()> {
    let mut teams = TeamServiceClient::new(cluster::connect(addr).await?);
    let member = |name: &str| v1::NewMember {
        name: name.into(),
        kind: v1::MemberKind::Agent.into(),
        ..v1::NewMember::default()
    };
    let team = v1::CreateTeamRequest {
        team_name: TEAM.into(),
        lead: "lead".into(),
        members: vec![member("a"), member("b")],
        ..v1::CreateTeamRequest::default()
    };
    teams.create_team(team).await?;
    Ok(())
}

/// One call. Where nothing is there yet to be claimed or completed, one more is made.
async fn call(shared: &Shared, kind: Kind, number: usize) -> anyhow::Result<()> {
    let channel = shared.channels[number % CONNECTIONS].clone();
    let mut board = TaskServiceClient::new(channel.clone());
    let mut mail = MailboxServiceClient::new(channel);
    let task = match kind {
        Kind::Claim => pop(&shared.made),
        Kind::Complete => pop(&shared.claimed),
        _ => None,
    };
    match (kind, task) {
        (Kind::Claim, Some(task_id)) => {
            let claim = v1::ClaimTaskRequest {
                task_id,
                ..v1::ClaimTaskRequest::default()
            };
            board.claim_task(say("a", claim)).await?;
            push(&shared.claimed, task_id);
        }
        (Kind::Complete, Some(task_id)) => {
            let update = v1::UpdateTaskRequest {
                task_id,
                status: v1::TaskStatus::Completed.into(),
                ..v1::UpdateTaskRequest::default()
            };
            board.update_task(say("a", update)).await?;
        }
        (Kind::Create | Kind::Claim | Kind::Complete, _) => {
            let made = board.create_task(say("a", calls::request())).await?;
            let made = made.into_inner().task.context("the task that was made")?;
            push(&shared.made, made.id);
        }
        (Kind::Send, _) => {
            let message = v1::SendMessageRequest {
                to: vec!["b".into()],
                text: "The schema is ready for review: see schema.sql, lines 1 to 80.".into(),
                ..v1::SendMessageRequest::default()
            };
            mail.send_message(say("a", message)).await?;
        }
        (Kind::Receive, _) => {
            let receive = v1::ReceiveMessagesRequest {
                auto_ack: true,
                ..v1::ReceiveMessagesRequest::default()
            };
            mail.receive_messages(say("b", receive)).await?;
        }
    }
    Ok(())
}

/// Calls a second with many in flight, each after the one before. The watchers watch meanwhile, as
/// they do under the paced load.
async fn most(shared: &Arc<Shared>, span: Duration) -> anyhow::Result<f64> {
    let mut watchers = watchers(shared);
    let (began, mut callers) = (Instant::now(), JoinSet::new());
    for caller in 0..IN_FLIGHT {
        let shared = shared.clone();
        callers.spawn(async move {
            let mut count = 0;
            while began.elapsed() < span {
                let (kind, _) = KINDS[(caller + count) % KINDS.len()];
                call(&shared, kind, caller).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(called) = callers.join_next().await {
        count += called??;
    }
    all_watch(&mut watchers)?;
    Ok(rate(count, began))
}

/// Calls at an even pace for so long, by their kinds, each from when it was due.
async fn run(shared: Arc<Shared>, pace: f64, span: Duration) -> anyhow::Result<Vec<Times>> {
    let mut watchers = watchers(&shared);
    let mut all = vec![Times::default(); KINDS.len()];
    let (began, mut under_way, mut number) = (Instant::now(), JoinSet::new(), 0_usize);
    loop {
        let after = Duration::from_secs_f64(number as f64 / pace);
        if after >= span {
            break;
        }
        let due = began + after;
        sleep_until(due.into()).await;
        let (shared, at) = (shared.clone(), number % KINDS.len());
        under_way.spawn(async move {
            call(&shared, KINDS[at].0, number).await?;
            anyhow::Ok((at, due.elapsed()))
        });
        while let Some(called) = under_way.try_join_next() {
            let (at, time) = called??;
            all[at].add(time);
        }
        number += 1;
    }
    while let Some(called) = under_way.join_next().await {
        let (at, time) = called??;
        all[at].add(time);
    }
    all_watch(&mut watchers)?;
    Ok(all)
}

/// Starts the watchers. They watch the team until this is dropped.
fn watchers(shared: &Arc<Shared>) -> JoinSet<anyhow::Result<()>> {
    let watching = |watcher| watch(shared.clone(), watcher);
    (0..WATCHERS).map(watching).collect()
}

/// Fails where a watcher's stream has ended: the figures would be those of an easier load.
fn all_watch(watchers: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    match watchers.try_join_next() {
        None => Ok(()),
        Some(ended) => {
            ended??;
            anyhow::bail!("the coordinator ended a watcher's stream")
        }
    }
}

/// Follows the team's events for as long as they come.
async fn watch(shared: Arc<Shared>, watcher: usize) -> anyhow::Result<()> {
    let channel = shared.channels[watcher % CONNECTIONS].clone();
    let request = say("a", v1::WatchTeamRequest::default());
    let watched = TeamServiceClient::new(channel).watch_team(request).await?;
    let mut events = watched.into_inner();
    while let Some(answer) = events.message().await? {
        shared.events.fetch_add(answer.events.len() as u64, Relaxed);
    }
    Ok(())
}

/// Tells how large the coordinator is until the load ends, and adds up what that took.
async fn tell_sizes(
    served: &Served,
    shared: &Shared,
    load: &mut JoinHandle<anyhow::Result<Vec<Times>>>,
    all: &mut [Times],
) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let ended = tokio::time::timeout(TOLD_EVERY, &mut *load).await;
        let told = format!(
            "memory {:.0} MiB  disk {:.0} MiB  {} descriptors  {} events seen",
            served.memory()?,
            mib(served.disk()?),
            served.descriptors()?,
            shared.events.load(Relaxed),
        );
        line(
            &format!("  after {:.0} s", began.elapsed().as_secs_f64()),
            told,
            "",
        );
        if let Ok(ended) = ended {
            for (times, more) in all.iter_mut().zip(ended??) {
                times.extend(more);
            }
            return Ok(());
        }
    }
}

/// Takes a backup after a while.
async fn back_up(addr: SocketAddr, after: Duration) -> anyhow::Result<String> {
    sleep_until((Instant::now() + after).into()).await;
    let began = Instant::now();
    let mut fleet = FleetServiceClient::new(cluster::connect(addr).await?);
    let mut pieces = fleet
        .back_up_board(v1::BackUpBoardRequest {})
        .await?
        .into_inner();
    let mut bytes = 0;
    while let Some(piece) = pieces.message().await? {
        bytes += piece.chunk.len() as u64;
    }
    Ok(format!(
        "{:.1} MiB in {:.1} s",
        mib(bytes),
        began.elapsed().as_secs_f64()
    ))
}

/// A worker that runs a task after the other, of the default team.
async fn work(addr: SocketAddr) -> anyhow::Result<()> {
    let channel = cluster::connect(addr).await?;
    let mut board = TaskServiceClient::new(channel.clone());
    let mut stream = Simulated::dial(channel, &Role::new("soaked".into(), 4)).await?;
    let mut turn = interval(TURN);
    loop {
        let task = v1::CreateTaskRequest {
            agent_type: TYPE.into(),
            prompt: "do nothing".into(),
            ..calls::request()
        };
        board.create_task(task).await?;
        let fence = stream.assignment().await?;
        stream.say(completed(fence)).await?;
        turn.tick().await;
    }
}

/// Lets a worker go after a while, and another one come in its place.
async fn exchange(
    addr: SocketAddr,
    worker: JoinHandle<anyhow::Result<()>>,
    after: Duration,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    sleep_until((Instant::now() + after).into()).await;
    worker.abort();
    // A worker that failed before tells why.
    if let Ok(ended) = worker.await {
        ended?;
    }
    Ok(tokio::spawn(work(addr)))
}
