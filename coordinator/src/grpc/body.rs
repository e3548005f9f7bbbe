//! Streams of answers that a spawned task fills.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
};

use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::Status;

/// A stream of answers, as the services' traits want it.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers that wait for a slow reader before the one who makes them waits.
const WAITING_MAX: usize = 16;

/// Where a spawned task puts its answers.
pub struct Sink<T> {
    answers: mpsc::Sender<Result<T, Status>>,
    last: Arc<OnceLock<Status>>,
}

/// The reader has gone.
pub struct Gone;

impl<T: Send + 'static> Sink<T> {
    /// A sink, and the stream of what is put into it.
    pub fn new() -> (Self, Answers<T>) {
        Self::with_room(WAITING_MAX)
    }

    /// The same, where so many answers wait.
    pub fn with_room(room: usize) -> (Self, Answers<T>) {
        let (sender, receiver) = mpsc::channel(room);
        let last = Arc::new(OnceLock::new());
        let sink = Self {
            answers: sender,
            last: last.clone(),
        };
        let told = ReceiverStream::new(receiver);
        let last = futures_util::stream::once(async move { last.get().cloned() });
        let last = last.filter_map(|last| last.map(Err));
        (sink, Box::pin(told.chain(last)))
    }

    /// Puts an answer in, when there is room for it.
    pub async fn put(&self, answer: T) -> Result<(), Gone> {
        self.answers.send(Ok(answer)).await.map_err(|_| Gone)
    }

    /// Ends the stream with an error, when there is room for it.
    pub async fn fail(&self, status: Status) {
        // A reader that has gone needs no error.
        let _ = self.answers.send(Err(status)).await;
    }

    /// Ends the stream with an error, whether there is room or not: the reader finds it behind
    /// what waits already.
    pub fn cut(self, status: Status) {
        // Nobody else can have set it: that takes the sink.
        let _ = self.last.set(status);
    }

    /// Waits until the reader has gone.
    pub async fn gone(&self) {
        self.answers.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reader_of_a_stream_that_was_cut_finds_what_waited_and_then_why() {
        let (sink, mut answers) = Sink::with_room(1);
        sink.put(1).await.ok().unwrap();

        sink.cut(Status::aborted("enough"));

        assert_eq!(answers.next().await.unwrap().unwrap(), 1);
        let status = answers.next().await.unwrap().unwrap_err();
        assert_eq!(status.message(), "enough");
        assert!(answers.next().await.is_none());
    }

    #[tokio::test]
    async fn stream_that_was_not_cut_ends_well() {
        let (sink, mut answers) = Sink::new();
        sink.put(1).await.ok().unwrap();
        drop(sink);

        assert_eq!(answers.next().await.unwrap().unwrap(), 1);
        assert!(answers.next().await.is_none());
    }
}
