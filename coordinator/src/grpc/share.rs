//! Each call counts for the connection that makes it (DESIGN A7).
//!
//! Some calls wait for something to happen, some carry an artifact, some make a list: each kind has
//! bounds of its own, so that none keeps short calls waiting. The first part of an answer is made
//! when the call is answered, not when there is room for it on the wire: so an answer that nobody
//! reads is bytes that are counted, and not records that are not.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::HeaderMap;
use http_body::{Body as _, Frame};
use prost::bytes::Bytes;
use tokio::time::Sleep;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{
    MESSAGE_LEN_MAX,
    peers::{Call, HEADERS_LEN_MAX, Held, Peer, Place, WAITING_MAX},
    status,
};

/// How long the one message of a call may take to come.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes before a message on the wire.
const PREFIX_LEN: usize = 5;

/// What a call is, as far as it has bounds of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Short,
    /// A short one that may keep the board's thread for milliseconds.
    List,
    /// Waits for something to happen.
    Waiting,
    /// The same, with messages both ways.
    Talking,
    Upload,
    Download,
}

impl Kind {
    fn of(path: &str) -> Self {
        let call = path.rsplit('/').next().unwrap_or_default();
        match call {
            "UploadArtifact" => Self::Upload,
            "DownloadArtifact" | "BackUpBoard" => Self::Download,
            "Connect" | "ServerReflectionInfo" => Self::Talking,
            "RunTask" | "StreamTask" | "WaitTasks" | "Watch" => Self::Waiting,
            _ if call.starts_with("Watch") => Self::Waiting,
            _ if call.starts_with("List") => Self::List,
            _ => Self::Short,
        }
    }

    /// Whether its request is one message.
    fn has_one_message(self) -> bool {
        !matches!(self, Self::Upload | Self::Talking)
    }

    /// Whether its answer is one message.
    fn is_answered_at_once(self) -> bool {
        matches!(self, Self::Short | Self::List)
    }
}

/// The connection that a request came by: none where one service asks another. It is asked for
/// before the request is taken apart.
pub fn peer<T>(request: &tonic::Request<T>) -> Option<Arc<Peer>> {
    request.extensions().get().cloned()
}

/// A place for a call that waits, where it can't be told by its name that it does.
pub fn place_to_wait(peer: Option<Arc<Peer>>) -> Result<Option<Place>, Status> {
    peer.map(|peer| waits(&peer)).transpose()
}

fn waits(peer: &Arc<Peer>) -> Result<Place, Status> {
    peer.wait().ok_or_else(|| status::waits_full(WAITING_MAX))
}

/// Wraps a server so that its calls are counted for their connections.
#[derive(Debug, Clone, Copy)]
pub struct ShareLayer;

/// A server whose calls are counted for their connections.
#[derive(Debug, Clone)]
pub struct Shares<S>(S);

impl<S> Layer<S> for ShareLayer {
    type Service = Shares<S>;

    fn layer(&self, server: S) -> Self::Service {
        Shares(server)
    }
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

impl<S> Service<http::Request<Body>> for Shares<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let len = headers_len(request.headers());
        if len > HEADERS_LEN_MAX {
            let refused = status::headers_too_large(len, HEADERS_LEN_MAX);
            return Box::pin(async move { Ok(refused.into_http()) });
        }
        let Some(peer) = request.extensions().get::<Arc<Peer>>().cloned() else {
            // Nobody is to be kept from anything.
            return Box::pin(self.0.call(request));
        };
        let call = peer.call();
        let kind = Kind::of(request.uri().path());
        let place = match place(&peer, kind) {
            Ok(place) => place,
            Err(refused) => return Box::pin(async move { Ok(refused.into_http()) }),
        };
        let (parts, body) = request.into_parts();
        let arriving = Arriving::new(body, peer.clone());
        // The one that is ready goes with the call.
        let fresh = self.0.clone();
        let mut server = std::mem::replace(&mut self.0, fresh);
        Box::pin(async move {
            if kind == Kind::List {
                // Who has its turn is not waited for.
                let arrived = arriving.all().await;
                let own = peer.own_turn().await;
                // Looked at when it is its turn: until then its other lists leave bytes unread.
                if !peer.reads().await {
                    return Ok(status::unread_answers().into_http());
                }
                let turn = peer.turn(own).await;
                let request = http::Request::from_parts(parts, Body::new(arrived));
                let making = async move {
                    let _turn = turn;
                    let answer = server.call(request).await?;
                    Ok(leaving(answer, kind, peer, call, place).await)
                };
                // A long list takes milliseconds: the server's own threads serve others meanwhile.
                let runtime = tokio::runtime::Handle::current();
                return match tokio::task::spawn_blocking(move || runtime.block_on(making)).await {
                    Ok(made) => made,
                    Err(broken) => match broken.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // The runtime has ended, and with it everybody who could be told.
                        Err(_) => std::future::pending().await,
                    },
                };
            }
            if !peer.reads().await {
                return Ok(status::unread_answers().into_http());
            }
            let body = match kind.has_one_message() {
                true => Body::new(arriving),
                false => arriving.body,
            };
            let answer = server.call(http::Request::from_parts(parts, body)).await?;
            Ok(leaving(answer, kind, peer, call, place).await)
        })
    }
}

/// An answer whose first part is made.
async fn leaving(
    answer: http::Response<Body>,
    kind: Kind,
    peer: Arc<Peer>,
    call: Call,
    place: Option<Place>,
) -> http::Response<Body> {
    let (parts, body) = answer.into_parts();
    let mut body = Leaving {
        body,
        first: None,
        is_over: false,
        is_unread: kind.is_answered_at_once(),
        peer,
        _call: call,
        _place: place,
    };
    std::future::poll_fn(|context| {
        body.make_first(context);
        Poll::Ready(())
    })
    .await;
    http::Response::from_parts(parts, Body::new(body))
}

fn place(peer: &Arc<Peer>, kind: Kind) -> Result<Option<Place>, Status> {
    match kind {
        Kind::Short | Kind::List => Ok(None),
        Kind::Waiting | Kind::Talking => waits(peer).map(Some),
        Kind::Upload => {
            let place = peer.upload();
            let place = place.map_err(|(max, of)| status::transfers_full("upload", max, of));
            place.map(Some)
        }
        Kind::Download => {
            let place = peer.download();
            let place = place.map_err(|(max, of)| status::transfers_full("download", max, of));
            place.map(Some)
        }
    }
}

/// Bytes of a call's headers, names and values together.
fn headers_len(headers: &HeaderMap) -> usize {
    let lens = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    lens.sum()
}

/// A request that may take only so long to come, and whose bytes are held for its connection.
struct Arriving {
    body: Body,
    peer: Arc<Peer>,
    held: Vec<Held>,
    /// What came before anybody asked for it.
    arrived: VecDeque<Result<Frame<Bytes>, Status>>,
    /// Set when there is something to wait for.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Arriving {
    fn new(body: Body, peer: Arc<Peer>) -> Self {
        Self {
            body,
            peer,
            held: Vec::new(),
            arrived: VecDeque::new(),
            sleep: None,
        }
    }

    /// Waits until all of it is there, or more than can be taken.
    async fn all(mut self) -> Self {
        let mut len = 0;
        while len <= MESSAGE_LEN_MAX + PREFIX_LEN {
            let next = std::future::poll_fn(|context| self.poll_arriving(context)).await;
            let Some(next) = next else { break };
            let data = next.as_ref().ok().and_then(Frame::data_ref);
            len += data.map_or(0, Bytes::len);
            let is_broken = next.is_err();
            self.arrived.push_back(next);
            if is_broken {
                break;
            }
        }
        self
    }

    fn poll_arriving(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                self.held.push(self.peer.hold(data.len(), false));
            }
            return Poll::Ready(frame);
        }
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(REQUEST_TIMEOUT)));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Some(Err(status::request_stalled())))
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.arrived.pop_front() {
            Some(next) => Poll::Ready(Some(next)),
            None => self.poll_arriving(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.arrived.is_empty() && self.body.is_end_stream()
    }
}

/// An answer whose bytes are held for its connection until the transport has written them.
struct Leaving {
    body: Body,
    /// What was made before anybody asked for it.
    first: Option<Result<Frame<Bytes>, Status>>,
    is_over: bool,
    is_unread: bool,
    peer: Arc<Peer>,
    _call: Call,
    _place: Option<Place>,
}

type Made = Option<Result<Frame<Bytes>, Status>>;

impl Leaving {
    /// Makes the first part, if it can be made now.
    fn make_first(&mut self, context: &mut Context<'_>) {
        if self.body.is_end_stream() {
            return;
        }
        if let Poll::Ready(made) = self.make(context) {
            self.is_over = made.is_none();
            self.first = made;
        }
    }

    fn make(&mut self, context: &mut Context<'_>) -> Poll<Made> {
        let made = ready!(Pin::new(&mut self.body).poll_frame(context));
        let (peer, is_unread) = (&self.peer, self.is_unread);
        Poll::Ready(
            made.map(|made| {
                made.map(|frame| frame.map_data(|data| peer.hold_answer(data, is_unread)))
            }),
        )
    }
}

impl http_body::Body for Leaving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Made> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        self.make(context)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && (self.is_over || self.body.is_end_stream())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_by_their_names() {
        let of = |call| Kind::of(&format!("/ganger.v1.SomeService/{call}"));

        for short in ["GetStatus", "CreateTask", "CallTool", "ReceiveMessages", ""] {
            assert_eq!(of(short), Kind::Short, "{short}");
        }
        for waiting in ["WatchTeam", "WatchMailbox", "RunTask", "WaitTasks"] {
            assert_eq!(of(waiting), Kind::Waiting, "{waiting}");
        }
        assert_eq!(Kind::of("/grpc.health.v1.Health/Watch"), Kind::Waiting);
        assert_eq!(of("ListTasks"), Kind::List);
        assert_eq!(of("Connect"), Kind::Talking);
        assert!(!of("UploadArtifact").has_one_message());
    }

    #[test]
    fn headers_weigh_by_their_names_and_values() {
        let mut headers = HeaderMap::new();
        headers.append("ganger-team", "default".parse().unwrap());
        headers.append("ganger-team", "red".parse().unwrap());

        assert_eq!(headers_len(&headers), 11 + 7 + 11 + 3);
    }
}
