//! `ready`, `growth` and `memory`: what calls cost, and tasks weigh, on a large board.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ganger_proto::v1::{
    self, task_service_client::TaskServiceClient, team_service_client::TeamServiceClient,
};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    Setting, calls, ceiling,
    cluster::{self, Coordinator},
    figures::{Times, line, millis, rate},
    recover::{first_line, rss_kib},
};

type Client = TaskServiceClient<Channel>;

/// Tasks that one call makes.
const BATCH: u64 = 1_000;

async fn client(addr: SocketAddr) -> anyhow::Result<Client> {
    let client = TaskServiceClient::new(cluster::connect(addr).await?);
    Ok(client.max_decoding_message_size(usize::MAX))
}

/// Puts tasks on the board until there are so many.
async fn grow(
    client: &mut Client,
    from: u64,
    to: u64,
    task: impl Fn(u64) -> v1::NewTask,
) -> anyhow::Result<()> {
    let mut made = from;
    while made < to {
        let count = BATCH.min(to - made);
        let request = v1::BatchCreateTasksRequest {
            tasks: (made + 1..=made + count).map(&task).collect(),
            ..v1::BatchCreateTasksRequest::default()
        };
        client.batch_create_tasks(request).await?;
        made += count;
    }
    Ok(())
}

/// How long a call takes, one after the other, for so long.
async fn time<F: Future<Output = anyhow::Result<()>>>(
    span: Duration,
    mut call: impl FnMut() -> F,
) -> anyhow::Result<Times> {
    let until = Instant::now() + span;
    let mut times = Times::default();
    while Instant::now() < until {
        let began = Instant::now();
        call().await?;
        times.add(began.elapsed());
    }
    Ok(times)
}

/// The ready list and the next claim, with 100,000 tasks and 200,000 edges: every third task waits
/// for nothing, the others for two earlier ones and, the last of each three, for four.
pub fn ready(setting: &Setting) -> anyhow::Result<()> {
    const TASKS: u64 = 100_000;
    println!("ready: 100,000 tasks with 200,000 edges");
    let dir = cluster::fresh_dir(setting, "disk")?;
    let coordinator = Coordinator::start(setting, "ready")?;
    let (mut disk, _) = ceiling::fdatasync(&dir, setting.span / 4)?;
    line("  ceiling: append + fdatasync", disk.told(), "");
    cluster::runtime(1)?.block_on(async {
        let mut board = client(coordinator.addr).await?;
        let blockers = |id: u64| match id % 3 {
            0 if id > 6 => vec![id - 1, id - 2, id - 3, id - 6],
            2 if id > 3 => vec![id - 1, id - 4],
            _ => vec![],
        };
        let task = |id| v1::NewTask {
            subject: format!("step {id}"),
            blocked_by: blockers(id),
            ..v1::NewTask::default()
        };
        // What is in a batch can't be named by its id yet: edges come in a second pass.
        grow(&mut board, 0, TASKS, |id| v1::NewTask {
            blocked_by: Vec::new(),
            ..task(id)
        })
        .await?;
        let mut edges = 0;
        let mut updates = Vec::new();
        for id in 1..=TASKS {
            let add_blocked_by = blockers(id);
            edges += add_blocked_by.len();
            if !add_blocked_by.is_empty() {
                updates.push(v1::UpdateTaskRequest {
                    task_id: id,
                    add_blocked_by,
                    ..v1::UpdateTaskRequest::default()
                });
            }
            if updates.len() == 500 || id == TASKS {
                let request = v1::BatchUpdateTasksRequest {
                    updates: std::mem::take(&mut updates),
                    ..v1::BatchUpdateTasksRequest::default()
                };
                board.batch_update_tasks(request).await?;
            }
        }
        line("  edges", edges.to_string(), "");
        let list = v1::ListTasksRequest {
            ready: Some(true),
            order: v1::TaskOrder::Priority.into(),
            ..v1::ListTasksRequest::default()
        };
        let mut times = time(setting.span, || {
            let (mut board, list) = (board.clone(), list.clone());
            async move {
                let listed = board.list_tasks(list).await?.into_inner();
                anyhow::ensure!(listed.tasks.len() == 50, "{}", listed.tasks.len());
                Ok(())
            }
        })
        .await?;
        line("  ready list, a page of 50", times.told(), "goal: < 1 ms");
        let mut times = time(setting.span, || {
            let mut board = board.clone();
            async move {
                let claimed = board.claim_next_task(v1::ClaimNextTaskRequest::default());
                anyhow::ensure!(claimed.await?.into_inner().task.is_some(), "none is ready");
                Ok(())
            }
        })
        .await?;
        line("  claim-next, durable", times.told(), "goal: < 1 ms");
        Ok(())
    })
}

/// Tasks of a team, half of what it may have: a larger board has more teams.
const TEAM_TASKS: u64 = 500_000;
/// Tasks for which there is a team before a round: more than it makes in its time.
const ROUND_TASKS_PER_SECOND: u64 = 50_000;

/// The team of the board's nth task, and the task's id in it, from 0 and 1 on.
fn place(nth: u64) -> (String, u64) {
    (team_name(nth / TEAM_TASKS), nth % TEAM_TASKS + 1)
}

fn team_name(nth: u64) -> String {
    format!("growth-{nth}")
}

/// The sizes at which a board is measured: by tens, and the largest.
fn sizes(most: u64) -> impl Iterator<Item = u64> {
    let tens = std::iter::successors(Some(1_000_u64), |size| size.checked_mul(10));
    let tens = tens.take_while(move |size| *size < most);
    tens.chain([most])
}

/// CreateTask and UpdateTask on boards of growing size.
pub fn growth(setting: &Setting, most: u64) -> anyhow::Result<()> {
    println!("growth: calls on boards of growing size, 64 in flight");
    let coordinator = Coordinator::start(setting, "growth")?;
    cluster::runtime(1)?.block_on(async {
        let mut board = client(coordinator.addr).await?;
        let mut teams = TeamServiceClient::new(cluster::connect(coordinator.addr).await?);
        let mut team_count = 0;
        // The next task, of whichever team.
        let next = Arc::new(AtomicU64::new(0));
        let mut first = None;
        for size in sizes(most) {
            let room = size + setting.span.as_secs().max(1) * ROUND_TASKS_PER_SECOND;
            while team_count * TEAM_TASKS < room {
                let request = v1::CreateTeamRequest {
                    team_name: team_name(team_count),
                    ..v1::CreateTeamRequest::default()
                };
                teams.create_team(request).await?;
                team_count += 1;
            }
            grow_teams(&mut board, &next, size).await?;
            // Each round makes some more: they are within the noise of the next size.
            let created = load(coordinator.addr, setting.span, Load::Create(next.clone())).await?;
            let updated = load(coordinator.addr, setting.span, Load::Update(size)).await?;
            let (c, u) = *first.get_or_insert((created, updated));
            let told = format!("create {created:.0}/s, update {updated:.0}/s");
            let ratio = format!("ratio {:.2}, {:.2}", created / c, updated / u);
            line(&format!("  {size} tasks"), told, &ratio);
        }
        println!("  goal: ratios within 20 %");
        Ok(())
    })
}

/// Puts tasks on the board until there are so many.
async fn grow_teams(board: &mut Client, next: &AtomicU64, to: u64) -> anyhow::Result<()> {
    let mut made = next.load(Relaxed);
    while made < to {
        let (team, id) = place(made);
        let left_in_team = TEAM_TASKS + 1 - id;
        let count = BATCH.min(to - made).min(left_in_team);
        let request = v1::BatchCreateTasksRequest {
            team,
            tasks: (0..count).map(|_| calls::item()).collect(),
            ..v1::BatchCreateTasksRequest::default()
        };
        board.batch_create_tasks(request).await?;
        made += count;
    }
    next.store(made, Relaxed);
    Ok(())
}

/// What is called.
#[derive(Clone)]
enum Load {
    /// CreateTask, for this place on the board and those after it.
    Create(Arc<AtomicU64>),
    /// UpdateTask, all over so many tasks.
    Update(u64),
}

/// So many calls a second with 64 in flight.
async fn load(addr: SocketAddr, span: Duration, load: Load) -> anyhow::Result<f64> {
    let mut channels = Vec::new();
    for _ in 0..4 {
        channels.push(client(addr).await?);
    }
    let began = Instant::now();
    let until = began + span;
    let mut callers = JoinSet::new();
    for caller in 0..64_u64 {
        let mut board = channels[caller as usize % 4].clone();
        let load = load.clone();
        callers.spawn(async move {
            let mut count = 0;
            while Instant::now() < until {
                match &load {
                    Load::Create(next) => {
                        let (team, _) = place(next.fetch_add(1, Relaxed));
                        let request = v1::CreateTaskRequest {
                            team,
                            ..calls::request()
                        };
                        board.create_task(request).await?;
                    }
                    Load::Update(size) => {
                        // Spread over the whole board, and never twice the same in a row.
                        let (team, task_id) = place((count * 64 + caller) * 7_919 % size);
                        let update = v1::UpdateTaskRequest {
                            team,
                            task_id,
                            active_form: Some(format!("step {count}")),
                            ..v1::UpdateTaskRequest::default()
                        };
                        board.update_task(update).await?;
                    }
                }
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(done) = callers.join_next().await {
        count += done??;
    }
    Ok(rate(count as usize, began))
}

/// What a pending task with a description of 1 KiB weighs in memory.
pub fn memory(setting: &Setting, tasks: u64) -> anyhow::Result<()> {
    println!("memory: {tasks} pending tasks with a description of 1 KiB");
    cluster::fresh_dir(setting, "recover")?;
    let mut served = cluster::again(setting, &["serve"])?;
    let addr: SocketAddr = first_line(&mut served)?.parse()?;
    let runtime = cluster::runtime(1)?;
    let task = |id| v1::NewTask {
        subject: format!("Create migration script {id}"),
        description: "x".repeat(1_024),
        ..v1::NewTask::default()
    };
    // The first quarter brings buffers and caches to the size at which they stay.
    let few = tasks / 4;
    let filled = runtime.block_on(async {
        let mut board = client(addr).await?;
        grow(&mut board, 0, few, task).await?;
        let before = rss_kib(&served)?;
        grow(&mut board, few, tasks, task).await?;
        anyhow::Ok(before)
    });
    let weighed = rss_kib(&served);
    served.kill()?;
    served.wait()?;
    let (before, after) = (filled?, weighed?);
    let each = (after.saturating_sub(before) * 1_024) / (tasks - few);
    let told = format!("{each} bytes; {} MiB in all", after >> 10);
    line("  each, after a quarter of them", told, "goal: < 2 KiB");
    let began = Instant::now();
    let mut served = cluster::again(setting, &["serve"])?;
    first_line(&mut served)?;
    let start = began.elapsed();
    let weighed = rss_kib(&served);
    served.kill()?;
    served.wait()?;
    let told = format!("{} MiB, started in {}", weighed? >> 10, millis(start));
    line("  all, after a restart", told, "");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn no_team_of_a_growing_board_is_ever_full() {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for nth in 0..3 * TEAM_TASKS {
            let (team, id) = place(nth);
            assert_eq!(id, last.get(&team).map_or(1, |last| last + 1));
            last.insert(team, id);
        }

        assert_eq!(last.len(), 3);
        let max = board::limits::TASKS_PER_TEAM_MAX as u64;
        assert!(last.values().all(|count| 2 * count <= max));
        assert_eq!(
            sizes(2_000_000).collect::<Vec<_>>(),
            [1_000, 10_000, 100_000, 1_000_000, 2_000_000]
        );
        assert_eq!(sizes(1_000).collect::<Vec<_>>(), [1_000]);
    }
}
