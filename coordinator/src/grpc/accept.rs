//! Takes connections in, and serves each until it ends (DESIGN A7).
//!
//! A peer that connects and says nothing costs a descriptor, and those are few. So who doesn't
//! begin to speak in time is cut off, and where there is no room for a newcomer, the connection
//! that has been without a call for longest makes some: [`super::peers`] says which. Each has a moment
//! to begin before that, and a crowd that comes at once waits its turn in the system's queue. When the
//! system gives out no descriptor at all, the loop waits before it asks again.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{convert::Infallible, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::{ServiceExt, util::BoxCloneSyncService};

use super::peers::{Full, Peer, Peers, STREAMS_MAX};

/// How long a connection may take to send its preface and its SETTINGS.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it has to do so at the least, where others wait for its place. Longer than a busy client
/// needs; short enough that a crowd which says nothing is soon looked at and let go.
const GREETING_TIME_MIN: Duration = Duration::from_millis(200);

/// How often a silent connection is asked whether it lives, and how long it may take to say so.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection without a call has to end after it was told to.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the server may take to end when it is asked to: a connection that never speaks would
/// hold it for ever.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits after a connection could not be accepted: doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often it is said that connections are not taken.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// Bytes of headers that the transport takes: more than a call may have, so that a call with too
/// many is told so.
const HEADERS_LEN_TAKEN: u32 = 64 * 1024;

/// Bytes of a stream's answer that wait to be written, beyond the part that was made last.
const SEND_BUFFER_LEN: usize = 16 * 1024;

/// What answers calls.
pub type Answering = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Serves whoever comes until `stop` is cancelled, and a little longer for what is under way.
pub async fn serve(
    listener: TcpListener,
    peers: Peers,
    answering: Answering,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let give_up = CancellationToken::new();
    tokio::select! {
        () = accept(&listener, &peers, |stream, peer| {
            let (peers, stop, give_up) = (peers.clone(), stop.clone(), give_up.clone());
            let serving = converse(stream, peer.clone(), answering.clone(), stop, give_up);
            connections.spawn(async move {
                let _ended = Ended(peers, peer);
                serving.await;
            });
        }) => {}
        () = stop.cancelled() => {}
    }
    // Nobody else is to come.
    drop(listener);
    connections.close();
    if timeout(END_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "connections are still open: cutting them"
        );
        give_up.cancel();
        connections.wait().await;
    }
}

/// Tells that a connection has ended, however it did.
struct Ended(Peers, Arc<Peer>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended(&self.1);
    }
}

/// Accepts connections for ever.
async fn accept(listener: &TcpListener, peers: &Peers, begin: impl Fn(TcpStream, Arc<Peer>)) {
    let mut pause = PAUSE_MIN;
    let mut refusals = Refusals::default();
    loop {
        peers.room().await;
        match listener.accept().await {
            Ok((stream, from)) => {
                pause = PAUSE_MIN;
                match peers.admit(from.ip()) {
                    Ok(peer) => begin(stream, peer),
                    Err(full) => refusals.refused(from.ip(), full),
                }
            }
            Err(error) => {
                refusals.failed(&error);
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Says that connections are not taken, and how many, but not each time.
#[derive(Default)]
struct Refusals {
    silent: usize,
    said_until: Option<Instant>,
}

impl Refusals {
    fn refused(&mut self, from: IpAddr, full: Full) {
        if let Some(count) = self.is_due() {
            let why = match full {
                Full::Connections => "there are as many connections as may be, all with calls",
                Full::Address => "its address has its share of connections, all with calls",
            };
            tracing::warn!(%from, count, "a connection is not taken: {why}");
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if let Some(count) = self.is_due() {
            tracing::warn!(%error, count, "connections can't be accepted: trying again");
        }
    }

    /// How many there were since it was said last, if it is time to say so.
    fn is_due(&mut self) -> Option<usize> {
        self.silent += 1;
        // A timer's clock, so that nobody else has to know one.
        let now = sleep(Duration::ZERO).deadline();
        if self.said_until.is_some_and(|until| now < until) {
            return None;
        }
        self.said_until = Some(now + SAID_EVERY);
        Some(std::mem::take(&mut self.silent))
    }
}

/// Serves one connection.
async fn converse(
    stream: TcpStream,
    peer: Arc<Peer>,
    answering: Answering,
    stop: CancellationToken,
    give_up: CancellationToken,
) {
    // Without this a small answer waits 40 ms for the peer's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection is gone already");
        return;
    }
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_LEN_TAKEN)
        .max_send_buf_size(SEND_BUFFER_LEN);
    let io = TokioIo::new(Greeting::new(stream, peer.clone()));
    let calls = Calls {
        peer: peer.clone(),
        answering,
    };
    let connection = builder.serve_connection(io, calls);
    tokio::pin!(connection);
    let mut first_time = std::pin::pin!(sleep(GREETING_TIME_MIN));
    let mut has_first_time = true;
    let mut greeting = std::pin::pin!(sleep(GREETING_TIMEOUT));
    let mut is_greeting_due = true;
    let mut leaving = std::pin::pin!(sleep(LEAVE_TIMEOUT));
    let mut is_leaving = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            () = peer.cut.cancelled() => return,
            () = give_up.cancelled() => return,
            () = &mut first_time, if has_first_time => {
                peer.had_time();
                has_first_time = false;
            }
            () = &mut greeting, if is_greeting_due => {
                if !peer.has_greeted() {
                    tracing::debug!("a connection did not begin to speak in time");
                    return;
                }
                is_greeting_due = false;
            }
            () = asked_to_leave(&peer, &stop), if !is_leaving => {
                if !peer.has_greeted() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                is_leaving = true;
                leaving.as_mut().reset(sleep(LEAVE_TIMEOUT).deadline());
            }
            () = &mut leaving, if is_leaving => {
                if !peer.has_calls() {
                    return;
                }
                // Calls end, or the whole server does. Then it is looked at again.
                leaving.as_mut().reset(sleep(LEAVE_TIMEOUT).deadline());
            }
        }
    }
}

async fn asked_to_leave(peer: &Peer, stop: &CancellationToken) {
    tokio::select! {
        () = peer.leave.cancelled() => {}
        () = stop.cancelled() => {}
    }
}

/// Answers the calls of one connection, each of which knows whose it is.
struct Calls {
    peer: Arc<Peer>,
    answering: Answering,
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer.clone());
        Box::pin(self.answering.clone().oneshot(request))
    }
}

/// What every HTTP/2 connection begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_LEN: usize = 9;
const SETTINGS: u8 = 4;

/// A stream that is looked at until it has brought its preface and its SETTINGS.
struct Greeting<S> {
    stream: S,
    peer: Arc<Peer>,
    heard: Heard,
}

/// How much of a connection's beginning has come.
enum Heard {
    /// The preface and the head of the first frame, in part.
    Head([u8; PREFACE.len() + FRAME_HEAD_LEN], usize),
    /// SETTINGS of which so many bytes are missing.
    Settings(usize),
    /// All of it.
    All,
}

impl Heard {
    /// Takes in what came. An error where it is no beginning of HTTP/2.
    fn hear(&mut self, mut came: &[u8]) -> io::Result<bool> {
        if let Self::Head(head, len) = self {
            let part = came.len().min(head.len() - *len);
            head[*len..*len + part].copy_from_slice(&came[..part]);
            *len += part;
            came = &came[part..];
            let begun = (*len).min(PREFACE.len());
            if head[..begun] != PREFACE[..begun] {
                return Err(no_http_2());
            }
            if *len < head.len() {
                return Ok(false);
            }
            let [.., high, middle, low, kind, _, _, _, _, _] = *head;
            if kind != SETTINGS {
                return Err(no_http_2());
            }
            let len = u32::from_be_bytes([0, high, middle, low]);
            *self = Self::Settings(usize::try_from(len).unwrap_or(usize::MAX));
        }
        if let Self::Settings(missing) = self {
            *missing -= came.len().min(*missing);
            if *missing == 0 {
                *self = Self::All;
            }
        }
        Ok(matches!(self, Self::All))
    }
}

fn no_http_2() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the connection does not begin as HTTP/2 does",
    )
}

impl<S> Greeting<S> {
    fn new(stream: S, peer: Arc<Peer>) -> Self {
        Self {
            stream,
            peer,
            heard: Heard::Head([0; PREFACE.len() + FRAME_HEAD_LEN], 0),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if !matches!(self.heard, Heard::All) && self.heard.hear(&buffer.filled()[before..])? {
            self.peer.greet();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(frame: &[u8]) -> Vec<u8> {
        [&PREFACE[..], frame].concat()
    }

    fn heard() -> Heard {
        Heard::Head([0; PREFACE.len() + FRAME_HEAD_LEN], 0)
    }

    #[test]
    fn a_greeting_is_the_preface_and_the_whole_of_its_settings() {
        let settings = begun(&[0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0]);
        for size in [1, 5, settings.len()] {
            let mut heard = heard();
            let (last, parts) = settings.split_at(settings.len() - 1);
            for part in last.chunks(size) {
                assert!(!heard.hear(part).unwrap());
            }
            assert!(heard.hear(parts).unwrap());
        }
        let empty = begun(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]);
        assert!(heard().hear(&empty).unwrap());
        // What follows is nobody's business here.
        assert!(heard().hear(&[&empty[..], b"more"].concat()).unwrap());
    }

    #[test]
    fn another_beginning_is_none_from_its_first_wrong_byte_on() {
        assert!(heard().hear(b"GET / HTTP/1.1\r\n").is_err());
        assert!(heard().hear(b"P").is_ok());
        assert!(heard().hear(b"PO").is_err());
        let ping = begun(&[0, 0, 8, 6, 0, 0, 0, 0, 0]);
        assert!(heard().hear(&ping).is_err());
    }

    #[test]
    fn what_comes_again_and_again_is_said_now_and_then() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let mut refusals = Refusals::default();

        assert_eq!(refusals.is_due(), Some(1));
        assert!((0..100).all(|_| refusals.is_due().is_none()));
        assert_eq!(refusals.silent, 100);
    }
}
