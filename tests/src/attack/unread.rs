//! Answers that nobody reads, and calls that wait.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use ganger_proto::v1;
use prost::Message;
use tokio::{net::TcpStream, sync::Semaphore};

use super::{
    Attackers, Scale, Target, Verdict, by_turns,
    honest::{Called, status},
};
use crate::{Client, Programs, patiently};

const CONNECTIONS: usize = 20;
/// Calls of each connection.
const LISTS: usize = 200;
/// Tasks of each answer.
const TASKS: i32 = 1_000;

/// What the coordinator's memory may grow by: the bytes of answers that may be unread (128 MiB), and what it
/// takes to make them.
const GROWTH_MAX: u64 = 160 << 20;

/// Calls of one connection that wait.
const WAITS: usize = 1_500;
/// Those of them that a connection may have.
const WAITS_TAKEN: usize = 1_000;

/// 20 connections of which each asks 200 times for a list of 1,000 tasks, and reads none.
pub async fn unread_answers(programs: Programs, scale: Scale) -> Verdict {
    let target = Target::start(programs, &[], &[]).await;
    fill(&target.cluster.client()).await;
    let addr = target.cluster.addr();
    let mut verdict = by_turns(&target, scale, |_| async move {
        let mut attackers = Attackers::default();
        let sent = Arc::new(Semaphore::new(0));
        for _ in 0..CONNECTIONS {
            let sent = sent.clone();
            attackers.add(async move {
                // A coordinator that cuts it is right.
                let _ = ask_and_not_read(addr, &sent).await;
                sent.add_permits(LISTS);
            });
        }
        let all = sent.acquire_many((CONNECTIONS * LISTS) as u32);
        patiently("every list is asked for", all)
            .await
            .unwrap()
            .forget();
        attackers
    })
    .await;
    let (before, most) = verdict.memory;
    let growth = most.saturating_sub(before);
    verdict.require(growth <= GROWTH_MAX, || {
        format!("memory grew by {} MiB", growth >> 20)
    });
    verdict.note(target.held().await);
    verdict
}

async fn fill(client: &Client) {
    let task = v1::NewTask {
        subject: "one of many tasks".into(),
        description: "Look at it, and say what it is. ".repeat(8),
        ..v1::NewTask::default()
    };
    for _ in 0..TASKS / 100 {
        let request = v1::BatchCreateTasksRequest {
            tasks: vec![task.clone(); 100],
            ..v1::BatchCreateTasksRequest::default()
        };
        let mut board = client.task();
        let made = board.batch_create_tasks(request);
        patiently("BatchCreateTasks", made).await.unwrap();
    }
}

/// Asks for lists until the connection ends. Nothing is taken from its windows, which have 64 KiB.
async fn ask_and_not_read(addr: SocketAddr, sent: &Semaphore) -> anyhow::Result<()> {
    let stream = TcpStream::connect(addr).await?;
    let (mut client, connection) = h2::client::handshake(stream).await?;
    let request = v1::ListTasksRequest {
        page_size: TASKS,
        ..v1::ListTasksRequest::default()
    };
    let message = request.encode_to_vec();
    let len = u32::try_from(message.len()).unwrap_or_default();
    let message = Bytes::from([&[0][..], &len.to_be_bytes(), &message].concat());
    let asking = async {
        let mut unread = Vec::new();
        for _ in 0..LISTS {
            client = client.ready().await?;
            let request =
                http::Request::post(format!("http://{addr}/ganger.v1.TaskService/ListTasks"))
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(())
                    .expect("it is sound");
            let (answer, mut sending) = client.send_request(request, false)?;
            sending.send_data(message.clone(), true)?;
            unread.push((answer, sending));
            sent.add_permits(1);
        }
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        ended = connection => Ok(ended?),
        failed = asking => failed,
    }
}

/// 1,500 calls of one connection wait; short ones go over the same connection.
pub async fn waiting_calls(programs: Programs, scale: Scale) -> Verdict {
    let target = Target::start(programs, &[], &[]).await;
    let task = target.task;
    let own = Arc::new(Mutex::new(Called::default()));
    let mut verdict = by_turns(&target, scale, |client| {
        let own = own.clone();
        async move {
            let attackers = wait(&client, task).await;
            let mut called = Called::default();
            for _ in 0..scale.calls {
                called
                    .note("GetStatus beside waiting calls", status(&client))
                    .await;
            }
            own.lock().unwrap().extend(called);
            attackers
        }
    })
    .await;
    verdict
        .attacked
        .extend(std::mem::take(&mut own.lock().unwrap()));
    verdict.note(target.held().await);
    verdict
}

async fn wait(client: &Client, task: u64) -> Attackers {
    let mut attackers = Attackers::default();
    let refused = Arc::new(Semaphore::new(0));
    for _ in 0..WAITS {
        let (client, refused) = (client.clone(), refused.clone());
        attackers.add(async move {
            let request = v1::WaitTasksRequest {
                task_ids: vec![task],
                wait_on: true,
                ..v1::WaitTasksRequest::default()
            };
            // It ends early where it is one too many.
            let _ = client.delegation().wait_tasks(request).await;
            refused.add_permits(1);
        });
    }
    let too_many = refused.acquire_many((WAITS - WAITS_TAKEN) as u32);
    patiently("waiting calls beyond the bound are refused", too_many)
        .await
        .unwrap()
        .forget();
    attackers
}
