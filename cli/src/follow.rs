//! Streams that go on where they were when the wire breaks.

use std::time::Duration;

use ganger_proto::v1;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status};

use crate::{
    client::{Client, is_broken},
    failure::Failure,
};

/// How many times in a row it is tried again: about 20 seconds, enough for a restart.
const TRIES: u32 = 10;
/// The pause before the first new try; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Counts tries and says how long to pause before the next.
#[derive(Debug, Default)]
pub struct Patience {
    tries: u32,
}

impl Patience {
    /// Something came: the count starts again.
    pub fn renew(&mut self) {
        self.tries = 0;
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// What broke, where it isn't worth another try or there were enough.
    pub async fn pause(&mut self, client: &Client, broken: Option<Status>) -> Result<(), Failure> {
        // A stream that just ends was cut by a peer that goes away.
        let status =
            broken.unwrap_or_else(|| Status::unavailable("the coordinator ended the stream"));
        // A watcher that was too slow is cut off, and may come again.
        let again = is_broken(&status) || status.code() == Code::ResourceExhausted;
        if !again || self.tries >= TRIES {
            return Err(client.failure(status));
        }
        tokio::time::sleep(pause_span(self.tries)).await;
        self.tries += 1;
        Ok(())
    }
}

fn pause_span(tries: u32) -> Duration {
    PAUSE_FIRST
        .saturating_mul(1 << tries.min(10))
        .min(PAUSE_MAX)
}

/// What comes, gathered by a task of its own: a wait for it can be given up and taken up again at
/// any time, while dialling and pausing go on. The task ends with its feed.
#[derive(Debug)]
pub struct Feed<T> {
    items: mpsc::Receiver<Result<T, Failure>>,
    _gatherer: AbortOnDropHandle<()>,
}

/// Where a gatherer puts what comes.
pub type Into<T> = mpsc::Sender<Result<T, Failure>>;

impl<T: Send + 'static> Feed<T> {
    /// Starts the gatherer. It ends after it has put in a failure, or when nobody listens.
    pub fn start<F>(gather: impl FnOnce(Into<T>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (into, items) = mpsc::channel(16);
        Self {
            items,
            _gatherer: AbortOnDropHandle::new(tokio::spawn(gather(into))),
        }
    }

    /// What comes next. Cancel safe.
    ///
    /// # Errors
    /// Why nothing more comes.
    pub async fn next(&mut self) -> Result<T, Failure> {
        let gone = || Failure::local("what came from the coordinator could not be read");
        self.items.recv().await.ok_or_else(gone)?
    }
}

/// The events of the team that is spoken in, without gap or repeat.
#[derive(Debug)]
pub struct Events {
    feed: Feed<v1::WatchTeamResponse>,
    seen: u64,
}

impl Events {
    /// The events after a revision; unset for those from now on.
    pub fn after(client: &Client, after: Option<u64>) -> Self {
        let client = client.clone();
        Self {
            feed: Feed::start(move |into| gather(client, after, into)),
            seen: after.unwrap_or(0),
        }
    }

    /// The revision up to which everything was told.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The next events. Cancel safe.
    ///
    /// # Errors
    /// Where the coordinator refuses, or is away for too long.
    pub async fn next(&mut self) -> Result<v1::WatchTeamResponse, Failure> {
        let answer = self.feed.next().await?;
        self.seen = answer.revision;
        Ok(answer)
    }
}

async fn gather(client: Client, after: Option<u64>, into: Into<v1::WatchTeamResponse>) {
    let mut request = v1::WatchTeamRequest {
        after_revision: after,
        ..v1::WatchTeamRequest::default()
    };
    let mut patience = Patience::default();
    loop {
        let broken = match client.teams().watch_team(request.clone()).await {
            Ok(answer) => {
                let mut stream = answer.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(answer)) => {
                            patience.renew();
                            request.after_revision = Some(answer.revision);
                            request.team_uid = answer.team_uid;
                            if into.send(Ok(answer)).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) => break None,
                        Err(status) => break Some(status),
                    }
                }
            }
            Err(status) => Some(status),
        };
        if let Err(failure) = patience.pause(&client, broken).await {
            // Nobody listening is a way to end, too.
            let _ = into.send(Err(failure)).await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let millis: Vec<u128> = (0..6).map(|tries| pause_span(tries).as_millis()).collect();

        assert_eq!(millis, [200, 400, 800, 1_600, 3_000, 3_000]);
        assert_eq!(pause_span(u32::MAX), PAUSE_MAX);
    }
}
