//! `FleetService`.

use std::time::Duration;

use board::{id::WorkerName, limits, refusal::Refusal};
use ganger_proto::v1::{self, fleet_service_server::FleetService};
use tonic::{Request, Response, Status};

use super::{
    Services,
    body::{Answers, Sink},
    caller::bad_name,
    from_wire, status, to_wire,
};
use crate::{
    disk::disk_free,
    spool::{Fetched, SpoolError, spool},
};

/// The longest that a drain may give what runs.
const DRAIN_MAX: Duration = Duration::from_secs(24 * 3_600);

#[tonic::async_trait]
impl FleetService for Services {
    type BackUpBoardStream = Answers<v1::BackUpBoardResponse>;

    async fn back_up_board(
        &self,
        _request: Request<v1::BackUpBoardRequest>,
    ) -> Result<Response<Self::BackUpBoardStream>, Status> {
        self.check_room()?;
        let permit = self.backups.clone().try_acquire_owned();
        let permit = permit.map_err(|_| status::backup_under_way())?;
        let about = self.about.clone();
        let (writer, mut reader) = self
            .block(move || spool(&about.data_dir))
            .await?
            .map_err(|error| status::internal(&error))?;
        self.handle
            .back_up(Box::new(writer))
            .map_err(status::unavailable)?;
        let (sink, answers) = Sink::new();
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            // Held until the last of it is fetched, and its file is gone.
            let _permit = permit;
            loop {
                let fetched = tokio::select! {
                    fetched = reader.next() => fetched,
                    () = sink.gone() => return,
                    () = stop.cancelled() => Err(SpoolError::Abandoned),
                };
                let answer = match fetched {
                    Ok(Fetched::Piece(chunk)) => v1::BackUpBoardResponse {
                        chunk: chunk.into(),
                        commit: 0,
                    },
                    Ok(Fetched::End(commit)) => v1::BackUpBoardResponse {
                        commit,
                        ..v1::BackUpBoardResponse::default()
                    },
                    Err(error) => return sink.fail(status::backup(&error)).await,
                };
                let is_end = answer.commit != 0;
                if sink.put(answer).await.is_err() || is_end {
                    return;
                }
            }
        });
        Ok(Response::new(answers))
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let request = request.into_inner();
        let size = from_wire::page_size(request.page_size)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => {
                let name = WorkerName::parse(token);
                Some(name.map_err(|why| bad_name("page_token", token, why))?)
            }
        };
        let page = self
            .look(move |reader| reader.workers(after.as_ref().map(WorkerName::as_str), size))
            .await?;
        Ok(Response::new(v1::ListWorkersResponse {
            workers: page.items.iter().map(to_wire::worker).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn get_worker(
        &self,
        request: Request<v1::GetWorkerRequest>,
    ) -> Result<Response<v1::GetWorkerResponse>, Status> {
        let name = worker_name(&request.into_inner().name)?;
        let wanted = name.clone();
        let view = self.look(move |reader| reader.worker(&wanted)).await?;
        let view = view.ok_or_else(|| status::worker_unknown(&name))?;
        let worker = Some(to_wire::worker(&view));
        Ok(Response::new(v1::GetWorkerResponse { worker }))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        let request = request.into_inner();
        let name = worker_name(&request.name)?;
        if request.reason.len() > limits::NOTE_LEN_MAX {
            return Err(status::invalid("reason", "is over 4 KiB"));
        }
        let timeout = request.timeout.as_ref();
        let timeout = timeout.map(|span| from_wire::span("timeout", span));
        let timeout = timeout.transpose()?;
        if timeout.is_some_and(|timeout| timeout > DRAIN_MAX) {
            return Err(status::invalid("timeout", "is over 24 hours"));
        }
        let reason = request.reason.into();
        let drained = self.handle.drain_worker(name.clone(), reason, timeout);
        let view = drained.await.map_err(status::unavailable)?;
        let view = view.ok_or_else(|| status::worker_unknown(&name))?;
        tracing::info!(worker = %name, reason = %view.drain_reason, "worker is told to drain");
        let worker = Some(to_wire::worker(&view));
        Ok(Response::new(v1::DrainWorkerResponse { worker }))
    }

    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let view = self.look(|reader| reader.status()).await?;
        let about = self.about.clone();
        let free = self.block(move || disk_free(&about.data_dir)).await?;
        let whole = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        Ok(Response::new(v1::GetStatusResponse {
            version: self.about.version.to_owned(),
            epoch: to_wire::epoch(view.epoch),
            commit: view.commits,
            serving_since: Some(to_wire::time(self.about.serving_since)),
            recovery_time: Some(to_wire::span(self.about.recovery_time)),
            team_count: to_wire::count(view.teams),
            tasks: Some(to_wire::counts(&view.counts)),
            worker_count: to_wire::count(view.workers),
            slots: whole(view.slots),
            free_slots: whole(view.free),
            queued: to_wire::count(view.counts.queued),
            running_limits: to_wire::running_limits(&view),
            running: whole(view.running),
            disk_low: self.disk.is_low(),
            retention: Some(to_wire::retention(&view, self.about.swept.view())),
            remembered_requests: i32::try_from(view.remembered).unwrap_or(i32::MAX),
            request_horizon: Some(to_wire::span(view.request_horizon)),
            token_required: self.about.token_required,
            disk_free_bytes: free
                .ok()
                .and_then(|free| i64::try_from(free.free).ok())
                .unwrap_or(-1),
        }))
    }
}

fn worker_name(name: &str) -> Result<WorkerName, Status> {
    WorkerName::parse(name).map_err(|why| bad_name("name", name, why))
}

impl Services {
    /// Refuses what would take room while the disk is nearly full.
    pub(super) fn check_room(&self) -> Result<(), Status> {
        if self.disk.is_low() {
            return Err(status::refusal(&Refusal::DiskLow));
        }
        Ok(())
    }
}
