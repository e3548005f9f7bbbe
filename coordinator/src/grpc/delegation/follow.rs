//! Following one task.

use board::{
    command::{Call, Caller, Wish},
    event::Event,
    id::{Revision, TaskId, TaskKey, TeamName},
    view::TaskView,
};
use tonic::Status;

use crate::{
    grpc::{Services, body::Gone, caller::Identity, status},
    hub::Watcher,
    transcripts::TranscriptError,
};

/// Follows one task.
pub(super) struct Follow {
    pub(super) services: Services,
    team: TeamName,
    caller: Caller,
    pub(super) key: TaskKey,
    watcher: Watcher,
    seen: Revision,
}

impl Follow {
    pub(super) async fn new(
        services: &Services,
        identity: &Identity,
        team: TeamName,
        task: TaskId,
    ) -> Result<Self, Status> {
        let (watched, caller) = (team.clone(), identity.caller.clone());
        let asks = caller.clone();
        let look = move |reader: &mut crate::engine::Reader<'_>| {
            let key = reader.task_key(&watched, task, &asks)?;
            reader.watch(&watched).map(|watched| (key, watched.watcher))
        };
        let (key, watcher) = services
            .look(look)
            .await?
            .map_err(|refusal| status::refusal(&refusal))?;
        Ok(Self {
            services: services.clone(),
            team,
            caller,
            key,
            // Nothing is missed: the task is looked at before the first wait.
            seen: watcher.latest(),
            watcher,
        })
    }

    pub(super) async fn view(&self) -> Result<TaskView, Status> {
        let (team, task, caller) = (self.team.clone(), self.key.1, self.caller.clone());
        let view = self
            .services
            .look(move |reader| reader.task(&team, task, &caller))
            .await?;
        view.map_err(|refusal| status::refusal(&refusal))
    }

    /// Waits until something has happened to the task.
    pub(super) async fn changed(&mut self) {
        loop {
            self.watcher.past(self.seen).await;
            let latest = self.watcher.latest();
            let missed = usize::try_from(latest.0 - self.seen.0).unwrap_or(usize::MAX);
            let recent = self.watcher.recent(self.seen, missed);
            self.seen = latest;
            let is_about = |event: &Event| event.what.task() == Some(self.key.1);
            // Where the ring doesn't reach back, it may have been among what is not there.
            if recent.is_none_or(|events| events.iter().any(|told| is_about(&told.event))) {
                return;
            }
        }
    }

    pub(super) fn cancel(&self, identity: &Identity, reason: &str) {
        let reason = reason.into();
        let call = Call {
            caller: identity.caller.clone(),
            request: None,
            wish: Wish::CancelTask(self.team.clone(), self.key.1, reason),
        };
        if let Err(why) = self.services.handle.call_unheard(call) {
            let (team, task) = (&self.team, self.key.1);
            tracing::warn!(%team, %task, %why, "can't cancel for a caller that went away");
        }
    }
}

/// Why a stream ends before its time.
pub(super) enum Stopped {
    Gone,
    Failed(Status),
}

impl From<Gone> for Stopped {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<Status> for Stopped {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

impl From<TranscriptError> for Stopped {
    fn from(error: TranscriptError) -> Self {
        Self::Failed(status::transcript(&error))
    }
}
