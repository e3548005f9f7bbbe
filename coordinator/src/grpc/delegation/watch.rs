//! WatchTranscript: what an attempt said, told as it says it.

use board::id::AttemptNumber;
use ganger_proto::v1;

use super::follow::{Follow, Stopped};
use crate::grpc::{
    body::Sink,
    status,
    transcript::{self, Tail},
};

/// One reader of one attempt's transcript.
pub(super) struct WatchTranscript {
    pub(super) follow: Follow,
    pub(super) attempt: AttemptNumber,
    pub(super) after: u64,
    pub(super) is_following: bool,
    /// How many records are still wanted; none for all.
    pub(super) left: Option<usize>,
}

impl WatchTranscript {
    pub(super) async fn run(mut self, sink: Sink<v1::WatchTranscriptResponse>) {
        let told = tokio::select! {
            told = self.tell(&sink) => told,
            () = sink.gone() => Err(Stopped::Gone),
        };
        if let Err(Stopped::Failed(status)) = told {
            sink.fail(status).await;
        }
    }

    async fn tell(&mut self, sink: &Sink<v1::WatchTranscriptResponse>) -> Result<(), Stopped> {
        let mut tail: Option<Tail> = None;
        loop {
            let view = self.follow.view().await?;
            if self.attempt.0 == 0 {
                self.attempt = view.task.last_attempt;
            }
            if tail.is_none() && self.attempt.0 != 0 {
                let key = transcript::key(self.follow.key, self.attempt);
                tail = Some(Tail::new(&self.follow.services, key, self.after).await?);
            }
            if let Some(tail) = &mut tail {
                self.drain(tail, sink).await?;
            }
            if self.left == Some(0) {
                return Ok(());
            }
            let runs = view
                .task
                .placement()
                .is_some_and(|placement| placement.attempt == self.attempt);
            let is_over = view.task.end().is_some() || (self.attempt.0 != 0 && !runs);
            if is_over || !self.is_following {
                return Ok(());
            }
            let stop = self.follow.services.stop.clone();
            tokio::select! {
                () = self.follow.changed() => {}
                () = transcript::news(&mut tail) => {}
                () = stop.cancelled() => return Err(status::unavailable(super::closed()).into()),
            }
        }
    }

    async fn drain(
        &mut self,
        tail: &mut Tail,
        sink: &Sink<v1::WatchTranscriptResponse>,
    ) -> Result<(), Stopped> {
        loop {
            let mut page = tail.page().await?;
            if let Some(left) = &mut self.left {
                page.records.truncate(*left);
                *left -= page.records.len();
            }
            if page.records.is_empty() {
                return Ok(());
            }
            sink.put(v1::WatchTranscriptResponse {
                records: page.records,
                attempt: i32::try_from(self.attempt.0).unwrap_or(i32::MAX),
                synced_through: i64::try_from(page.synced_through).unwrap_or(i64::MAX),
            })
            .await?;
        }
    }
}
