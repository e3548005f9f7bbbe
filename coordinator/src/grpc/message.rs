//! `grpc-message` as gRPC's rule has it, on every answer.
//!
//! The rule percent-encodes `%`, control characters and everything beyond ASCII. tonic encodes some
//! printable characters too, `#` among them, and not every client decodes those (grpc-js doesn't).
//! This layer is the outermost one: it sees the errors of services, of tonic and of other layers,
//! in headers and in trailers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};
use prost::bytes::Bytes;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// What is encoded, beside everything beyond ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Wraps a server so that its messages are encoded by gRPC's rule.
#[derive(Debug, Clone, Copy)]
pub struct MessageLayer;

/// A server whose messages are encoded by gRPC's rule.
#[derive(Debug, Clone)]
pub struct EncodesMessage<S>(S);

impl<S> Layer<S> for MessageLayer {
    type Service = EncodesMessage<S>;

    fn layer(&self, server: S) -> Self::Service {
        EncodesMessage(server)
    }
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

impl<S> Service<http::Request<Body>> for EncodesMessage<S>
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
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            encode(answer.headers_mut());
            Ok(answer.map(|body| Body::new(WithTrailers(body))))
        })
    }
}

/// A body whose trailers are encoded by the rule.
struct WithTrailers(Body);

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.0).poll_frame(context).map_ok(|frame| {
            frame.into_trailers().map_or_else(
                |frame| frame,
                |mut trailers| {
                    encode(&mut trailers);
                    Frame::trailers(trailers)
                },
            )
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Encodes the message among these headers, if there is one, anew.
fn encode(headers: &mut HeaderMap) {
    let Some(message) = headers.get_mut(Status::GRPC_MESSAGE) else {
        return;
    };
    let text: Vec<u8> = percent_decode(message.as_bytes()).collect();
    let encoded = percent_encode(&text, ENCODED).to_string();
    if let Ok(encoded) = HeaderValue::try_from(encoded) {
        *message = encoded;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message as it is sent.
    fn sent(message: &str) -> String {
        let mut headers = Status::aborted(message).into_http::<()>().into_parts().0;
        encode(&mut headers.headers);
        let sent = headers.headers.get(Status::GRPC_MESSAGE).unwrap();
        sent.to_str().unwrap().to_owned()
    }

    #[test]
    fn printable_ascii_but_the_percent_sign_is_sent_as_it_is() {
        let printable: String = (0x20..=0x7e_u8).map(char::from).collect();

        assert_eq!(sent(&printable), printable.replace('%', "%25"));
        assert_eq!(sent("task #1 is held"), "task #1 is held");
    }

    #[test]
    fn controls_and_what_is_beyond_ascii_are_percent_encoded() {
        assert_eq!(sent("a\tb\nc\u{7f}"), "a%09b%0Ac%7F");
        assert_eq!(sent("…ü 100%"), "%E2%80%A6%C3%BC 100%25");
        // What looks encoded already was text.
        assert_eq!(sent("%23"), "%2523");
    }

    /// A body that is nothing but its trailers.
    struct Trailers(Option<HeaderMap>);

    impl http_body::Body for Trailers {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.take().map(|trailers| Ok(Frame::trailers(trailers))))
        }
    }

    #[tokio::test]
    async fn answer_that_fails_late_is_encoded_in_its_trailers() {
        let failed = |_| async {
            let status = Status::aborted("task #1 is held: 100%").into_http::<()>();
            let trailers = Trailers(Some(status.into_parts().0.headers));
            let answer = http::Response::new(Body::new(trailers));
            Ok::<_, std::convert::Infallible>(answer)
        };
        let mut server = MessageLayer.layer(tower::service_fn(failed));

        let answer = server.call(http::Request::default()).await.unwrap();

        let mut body = answer.into_body();
        let frame = std::future::poll_fn(|context| {
            http_body::Body::poll_frame(Pin::new(&mut body), context)
        });
        let trailers = frame.await.unwrap().unwrap().into_trailers().unwrap();
        let message = trailers.get(Status::GRPC_MESSAGE).unwrap();
        assert_eq!(message, "task #1 is held: 100%25");
    }

    #[test]
    fn headers_without_a_message_stay_as_they_are() {
        let mut headers = HeaderMap::new();
        encode(&mut headers);
        assert!(headers.is_empty());
    }
}
