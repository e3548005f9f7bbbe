//! Streams of answers that a spawned task fills.

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Status;

/// A stream of answers, as the services' traits want it.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers that wait for a slow reader before the one who makes them waits.
const WAITING_MAX: usize = 16;

/// Where a spawned task puts its answers.
pub struct Sink<T>(mpsc::Sender<Result<T, Status>>);

/// The reader has gone.
pub struct Gone;

impl<T: Send + 'static> Sink<T> {
    /// A sink, and the stream of what is put into it.
    pub fn new() -> (Self, Answers<T>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), Box::pin(ReceiverStream::new(receiver)))
    }

    /// Puts an answer in, when there is room for it.
    pub async fn put(&self, answer: T) -> Result<(), Gone> {
        self.0.send(Ok(answer)).await.map_err(|_| Gone)
    }

    /// Ends the stream with an error.
    pub async fn fail(&self, status: Status) {
        // A reader that has gone needs no error.
        let _ = self.0.send(Err(status)).await;
    }

    /// Waits until the reader has gone.
    pub async fn gone(&self) {
        self.0.closed().await;
    }
}
