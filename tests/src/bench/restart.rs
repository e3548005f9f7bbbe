//! `restart`: kill -9 of a coordinator with a busy fleet, and its start.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use ganger_proto::v1::{
    self, connect_response::Message as Told, fleet_service_client::FleetServiceClient,
    task_service_client::TaskServiceClient,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{interval, interval_at, timeout},
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    Setting, calls, cluster,
    figures::{line, millis},
    served::Served,
    simulated::{Role, Simulated, TYPE},
};

/// How a worker waits before it dials again: half of it for sure, the rest by chance, doubled each
/// time.
const REDIAL_MIN: Duration = Duration::from_millis(100);
const REDIAL_MAX: Duration = Duration::from_secs(5);

/// The parts of time in which dials are counted.
const PART: Duration = Duration::from_millis(100);

/// What the fleet tells of itself.
enum News {
    /// One has begun its task.
    Running,
    /// One is back, and whether it may keep what it has.
    Back(bool),
}

/// When somebody dialled.
#[derive(Clone, Default)]
struct Dials(Arc<Mutex<Vec<Instant>>>);

impl Dials {
    fn note(&self) {
        let mut dials = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dials.push(Instant::now());
    }

    /// How many fell into the fullest part of time since then, and how many there were.
    fn most(&self, since: Instant) -> (usize, usize) {
        let dials = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = BTreeMap::<u128, usize>::new();
        for at in dials.iter().filter(|at| **at >= since) {
            let part = at.duration_since(since).as_millis() / PART.as_millis();
            *parts.entry(part).or_default() += 1;
        }
        (
            parts.values().copied().max().unwrap_or(0),
            parts.values().sum(),
        )
    }
}

pub fn restart(setting: &Setting, workers: usize, per_connection: usize) -> anyhow::Result<()> {
    println!("restart: kill -9 of a coordinator with {workers} workers that each run a task");
    let mut served = Served::fresh(setting, &[])?;
    let addr = served.addr;
    cluster::runtime(1)?.block_on(async {
        let dials = Dials::default();
        let (tell, mut news) = mpsc::unbounded_channel();
        let mut fleet = JoinSet::new();
        let mut channel = lazily(addr)?;
        for number in 0..workers {
            if number % per_connection == 0 {
                channel = lazily(addr)?;
            }
            let role = Role::new(format!("w{number:05}"), 1);
            fleet.spawn(live(channel.clone(), role, dials.clone(), tell.clone()));
        }
        make_tasks(addr, workers).await?;
        let mut running = 0;
        while running < workers {
            match news.recv().await.context("the fleet lives")? {
                News::Running => running += 1,
                News::Back(_) => anyhow::bail!("a stream broke before its time"),
            }
        }

        served.kill()?;
        let killed = Instant::now();
        served = Served::again(setting, &["--addr", &addr.to_string()])?;
        let told = millis(served.started_in);
        line("  serving again after", told, "goal: < 5 s");
        let mut kept = 0;
        for _ in 0..workers {
            match timeout(Duration::from_secs(120), news.recv())
                .await?
                .context("news")?
            {
                News::Back(true) => kept += 1,
                News::Back(false) => {}
                News::Running => anyhow::bail!("a task was begun again"),
            }
        }
        let told = format!("{}, {kept} kept what they had", millis(killed.elapsed()));
        line("  all back after", told, &format!("goal: {workers} kept"));
        let (most, all) = dials.most(killed);
        let told = format!("{most} of {all} within 100 ms");
        line("  dials", told, "no thundering herd");
        check(addr, workers).await
    })
}

fn lazily(addr: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))?;
    Ok(endpoint.tcp_nodelay(true).connect_lazy())
}

async fn make_tasks(addr: SocketAddr, count: usize) -> anyhow::Result<()> {
    let mut board = TaskServiceClient::new(cluster::connect(addr).await?);
    let task = v1::NewTask {
        agent_type: TYPE.into(),
        prompt: "go on".into(),
        ..calls::item()
    };
    for at in (0..count).step_by(500) {
        let request = v1::BatchCreateTasksRequest {
            tasks: vec![task.clone(); 500.min(count - at)],
            ..v1::BatchCreateTasksRequest::default()
        };
        // The type is known as soon as the first worker has said hello.
        let mut looks = interval(Duration::from_millis(20));
        while let Err(status) = board.batch_create_tasks(request.clone()).await {
            ensure!(status.message().contains("offer"), "{status:?}");
            looks.tick().await;
        }
    }
    Ok(())
}

/// A worker's life: it dials, again and again where that is needed, and holds its task.
async fn live(
    channel: Channel,
    mut role: Role,
    dials: Dials,
    tell: mpsc::UnboundedSender<News>,
) -> anyhow::Result<()> {
    let mut chance = uuid::Uuid::parse_str(&role.instance)?.as_u128() as u64;
    let mut wait = REDIAL_MIN;
    loop {
        dials.note();
        if let Ok(mut stream) = Simulated::dial(channel.clone(), &role).await {
            wait = REDIAL_MIN;
            if !role.held.is_empty() {
                let verdict = stream.welcome.verdicts.first();
                tell.send(News::Back(verdict.is_some_and(|verdict| verdict.keep)))?;
            }
            if role.held.is_empty()
                && let Ok(fence) = stream.assignment().await
            {
                role.held = vec![v1::Held {
                    fence: Some(fence),
                    started: true,
                }];
                acknowledged(&mut stream).await?;
                tell.send(News::Running)?;
            }
            while stream.hear().await.is_ok() {}
        }
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let spread = (wait / 2).mul_f64((chance >> 33) as f64 / 2_f64.powi(31));
        let dial_at = Instant::now() + wait / 2 + spread;
        interval_at(dial_at.into(), wait).tick().await;
        wait = (wait * 2).min(REDIAL_MAX);
    }
}

/// Waits until the start is on the board.
async fn acknowledged(stream: &mut Simulated) -> anyhow::Result<()> {
    loop {
        if let Told::ReportAck(ack) = stream.hear().await? {
            ensure!(ack.accepted, "a start was refused: {}", ack.reason);
            return Ok(());
        }
    }
}

/// That every task is still at its first attempt, and every worker there.
async fn check(addr: SocketAddr, workers: usize) -> anyhow::Result<()> {
    let channel = cluster::connect(addr).await?;
    let status = FleetServiceClient::new(channel.clone())
        .get_status(v1::GetStatusRequest {})
        .await?
        .into_inner();
    let running = status.tasks.unwrap_or_default().in_progress;
    ensure!(running as usize == workers, "{running} tasks run");
    ensure!(status.worker_count as usize == workers);
    let mut board = TaskServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut request = v1::ListTasksRequest {
        page_size: 1_000,
        ..v1::ListTasksRequest::default()
    };
    loop {
        let page = board.list_tasks(request.clone()).await?.into_inner();
        let again = page.tasks.iter().filter(|task| task.attempt_count != 1);
        ensure!(again.count() == 0, "some were begun again");
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}
