//! What can't be beaten: a bare echo over the same wire, and the disk.

use std::{
    fs::File,
    io::Write,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ganger_proto::v1::{
    self,
    task_service_server::{TaskService, TaskServiceServer},
};
use tokio::{net::TcpListener, sync::oneshot};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::{cluster::runtime, figures::Times};

/// Answers a CreateTask at once with a task that says what the request said.
struct Echo;

fn not_measured<T>() -> Result<Response<T>, Status> {
    Err(Status::failed_precondition("only CreateTask is echoed"))
}

#[tonic::async_trait]
impl TaskService for Echo {
    async fn create_task(
        &self,
        request: Request<v1::CreateTaskRequest>,
    ) -> Result<Response<v1::CreateTaskResponse>, Status> {
        let request = request.into_inner();
        let task = v1::Task {
            id: 1,
            subject: request.subject,
            description: request.description,
            ..v1::Task::default()
        };
        Ok(Response::new(v1::CreateTaskResponse { task: Some(task) }))
    }

    async fn batch_create_tasks(
        &self,
        _: Request<v1::BatchCreateTasksRequest>,
    ) -> Result<Response<v1::BatchCreateTasksResponse>, Status> {
        not_measured()
    }

    async fn get_task(
        &self,
        _: Request<v1::GetTaskRequest>,
    ) -> Result<Response<v1::GetTaskResponse>, Status> {
        not_measured()
    }

    async fn list_tasks(
        &self,
        _: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        not_measured()
    }

    async fn update_task(
        &self,
        _: Request<v1::UpdateTaskRequest>,
    ) -> Result<Response<v1::UpdateTaskResponse>, Status> {
        not_measured()
    }

    async fn batch_update_tasks(
        &self,
        _: Request<v1::BatchUpdateTasksRequest>,
    ) -> Result<Response<v1::BatchUpdateTasksResponse>, Status> {
        not_measured()
    }

    async fn claim_task(
        &self,
        _: Request<v1::ClaimTaskRequest>,
    ) -> Result<Response<v1::ClaimTaskResponse>, Status> {
        not_measured()
    }

    async fn claim_next_task(
        &self,
        _: Request<v1::ClaimNextTaskRequest>,
    ) -> Result<Response<v1::ClaimNextTaskResponse>, Status> {
        not_measured()
    }

    async fn renew_claim(
        &self,
        _: Request<v1::RenewClaimRequest>,
    ) -> Result<Response<v1::RenewClaimResponse>, Status> {
        not_measured()
    }

    async fn release_task(
        &self,
        _: Request<v1::ReleaseTaskRequest>,
    ) -> Result<Response<v1::ReleaseTaskResponse>, Status> {
        not_measured()
    }

    async fn reopen_task(
        &self,
        _: Request<v1::ReopenTaskRequest>,
    ) -> Result<Response<v1::ReopenTaskResponse>, Status> {
        not_measured()
    }

    async fn delete_task(
        &self,
        _: Request<v1::DeleteTaskRequest>,
    ) -> Result<Response<v1::DeleteTaskResponse>, Status> {
        not_measured()
    }

    async fn explain_task(
        &self,
        _: Request<v1::ExplainTaskRequest>,
    ) -> Result<Response<v1::ExplainTaskResponse>, Status> {
        not_measured()
    }
}

/// Starts the echo on a thread of its own. It ends with the process.
pub fn echo(threads: usize) -> anyhow::Result<SocketAddr> {
    let (ready, addr) = oneshot::channel();
    thread::spawn(move || {
        let served = runtime(threads).map(|runtime| {
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                // The one who asked waits for it.
                let _ = ready.send(listener.local_addr()?);
                Server::builder()
                    .add_service(TaskServiceServer::new(Echo))
                    .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
                    .await?;
                anyhow::Ok(())
            })
        });
        if let Ok(Err(failure)) = served {
            eprintln!("echo: {failure:#}");
        }
    });
    Ok(addr.blocking_recv()?)
}

/// Appends of 300 bytes, each made durable by fdatasync.
pub fn fdatasync(dir: &Path, span: Duration) -> anyhow::Result<(Times, f64)> {
    let mut file = File::create(dir.join("fdatasync"))?;
    let mut times = Times::default();
    let start = Instant::now();
    while start.elapsed() < span {
        let began = Instant::now();
        file.write_all(&[7; 300])?;
        file.sync_data()?;
        times.add(began.elapsed());
    }
    let rate = crate::figures::rate(times.count(), start);
    Ok((times, rate))
}
