//! The caller's own deadline, kept for calls and streams alike.
//!
//! tonic answers a call whose `grpc-timeout` is over with CANCELLED, and does not watch streams.
//! This layer ends either a moment earlier, with DEADLINE_EXCEEDED; what the call began goes on.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body::Frame;
use prost::bytes::Bytes;
use tokio::time::Sleep;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::status;

/// How much before the caller's own clock the answer goes out.
const MARGIN: Duration = Duration::from_millis(10);

/// Wraps a server so that it keeps the callers' deadlines.
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer;

/// A server that keeps the callers' deadlines.
#[derive(Debug, Clone)]
pub struct KeepsDeadline<S>(S);

impl<S> Layer<S> for DeadlineLayer {
    type Service = KeepsDeadline<S>;

    fn layer(&self, server: S) -> Self::Service {
        KeepsDeadline(server)
    }
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

impl<S> Service<http::Request<Body>> for KeepsDeadline<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let timeout = request
            .headers()
            .get("grpc-timeout")
            .and_then(|value| parse(value.to_str().ok()?));
        let answer = self.0.call(request);
        let Some(timeout) = timeout else {
            return Box::pin(answer);
        };
        let wait = timeout.saturating_sub(MARGIN.min(timeout / 4));
        Box::pin(async move {
            let mut sleep = Box::pin(tokio::time::sleep(wait));
            tokio::select! {
                answer = answer => Ok(answer?.map(|body| {
                    Body::new(Limited { body, sleep, is_over: false })
                })),
                () = &mut sleep => Ok(status::deadline_exceeded().into_http()),
            }
        })
    }
}

/// A body that ends at the deadline, if it has not ended before.
struct Limited {
    body: Body,
    sleep: Pin<Box<Sleep>>,
    is_over: bool,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if self.sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.is_over = true;
        // What made the body learns that nobody reads it any more.
        self.body = Body::empty();
        let trailers = status::deadline_exceeded().into_http::<Body>();
        Poll::Ready(Some(Ok(Frame::trailers(trailers.headers().clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }
}

/// `grpc-timeout`: up to eight digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(
            parse("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600))
        );
        for nonsense in ["", "S", "5", "5s", "-5S", "123456789S", "5 S", "١S"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }
}
