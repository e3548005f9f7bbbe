//! One stream to the coordinator: dialling, the handshake, and the three lanes of what is said.
//!
//! A [`Link`] is up when its Welcome came. What it carries is the engine's business; that heartbeats
//! go before control and control before progress is decided here.

use std::{
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use ganger_proto::v1::{
    ConnectRequest, ConnectResponse, Heartbeat, Hello, Welcome, connect_request,
    connect_response::Message, worker_service_client::WorkerServiceClient,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::Stream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use crate::{
    clock::{self, given_or},
    config,
    limits::{
        BEATS_MAX, CONTROL_LANE_LEN, FRAME_BATCH_MAX, FRAME_LEN_MAX, HANDSHAKE_SPAN,
        HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL_MIN, HEARTBEAT_LANE_LEN, KEEPALIVE_INTERVAL,
        KEEPALIVE_TIMEOUT, PROGRESS_LANE_LEN, PROTOCOL, PROTOCOL_MIN, REDIAL_MAX, REDIAL_MIN,
        REDIAL_SPREAD_MAX,
    },
};

/// A connection that shows the token with every call.
pub(crate) type Caller = InterceptedService<Channel, Bearer>;

/// Shows the token, where there is one.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Where the coordinator is and what it wants to see.
#[derive(Clone)]
pub(crate) struct Door {
    endpoint: Endpoint,
    bearer: Bearer,
}

/// Why there is no door.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    /// The address.
    #[error("{0} is not an address")]
    Address(String),
    /// The token.
    #[error("cannot read the token from {path}: {source}")]
    Token {
        /// Its file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl Door {
    /// Reads the token; nothing is dialled yet.
    pub(crate) fn new(coordinator: &str, token_file: Option<&PathBuf>) -> Result<Self, DoorError> {
        let endpoint = Endpoint::from_shared(coordinator.to_owned())
            .map_err(|_| DoorError::Address(coordinator.to_owned()))?
            .connect_timeout(HANDSHAKE_SPAN)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let token = token_file.map(|path| {
            config::read_token(path).map_err(|source| DoorError::Token {
                path: path.clone(),
                source,
            })
        });
        let bearer = token.transpose()?.map(|token| {
            let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
                .parse()
                .expect("a token of visible ASCII is a metadata value");
            value.set_sensitive(true);
            value
        });
        Ok(Self {
            endpoint,
            bearer: Bearer(bearer),
        })
    }

    /// A connection that is made when it is first used, and made again when it broke.
    pub(crate) fn lazily(&self) -> Caller {
        InterceptedService::new(self.endpoint.connect_lazy(), self.bearer.clone())
    }
}

/// Why a stream didn't come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Nobody answers, or the connection broke.
    #[error("the coordinator can't be reached: {0}")]
    Unreachable(String),
    /// The connection stands, but no Welcome came.
    #[error(
        "the coordinator didn't say Welcome within {}",
        humantime::format_duration(HANDSHAKE_SPAN)
    )]
    Silent,
    /// The token is missing or wrong.
    #[error("the coordinator doesn't know this worker's token: {0}")]
    Unauthenticated(String),
    /// Another worker has the name.
    #[error("another worker has this name: {0}")]
    NameTaken(String),
    /// A member of a team that it is to serve has the name.
    #[error("a team has a member of this worker's name: {0}")]
    NameInTeam(String),
    /// The two have no version of the stream in common: what each speaks, and what to do.
    #[error("{0}")]
    Version(String),
    /// The Hello is refused for good.
    #[error("the coordinator refuses this worker: {0}")]
    Refused(String),
}

/// A stream that is up.
pub(crate) struct Link {
    /// The coordinator's first word.
    pub(crate) welcome: Welcome,
    /// When Hello was sent: the lease runs from there.
    pub(crate) hello_sent_at: Instant,
    /// The number of this stream.
    pub(crate) session: u64,
    /// The version of the stream that is spoken.
    pub(crate) protocol: i32,
    /// Heartbeats, noted before they are sent.
    pub(crate) beats: mpsc::Receiver<(u64, Instant)>,
    control: mpsc::Sender<ConnectRequest>,
    progress: mpsc::Sender<ConnectRequest>,
    frames: Streaming<ConnectResponse>,
    pulse: AbortOnDropHandle<()>,
}

/// The lanes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Goes first.
    Control,
    /// Goes when there is no control.
    Progress,
}

impl Link {
    /// Says something; answers false, and nothing is said, while the lane is full or the stream over.
    pub(crate) fn try_say(
        &self,
        lane: Lane,
        make: impl FnOnce() -> Option<connect_request::Message>,
    ) -> bool {
        let Ok(permit) = self.lane(lane).try_reserve() else {
            return false;
        };
        if let Some(message) = make() {
            permit.send(ConnectRequest {
                session: self.session,
                message: Some(message),
            });
        }
        true
    }

    /// What came, at least one frame; or none when a lane that is waited for has room again. An error
    /// is the end of the stream. Cancel safe.
    pub(crate) async fn next_or_room(
        &mut self,
        wants_control: bool,
        wants_progress: bool,
    ) -> Option<Result<Vec<ConnectResponse>, Status>> {
        let (control, progress) = (self.control.clone(), self.progress.clone());
        tokio::select! {
            frames = std::future::poll_fn(|cx| self.poll_next(cx)) => Some(frames),
            Ok(_) = control.reserve(), if wants_control => None,
            Ok(_) = progress.reserve(), if wants_progress => None,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<ConnectResponse>, Status>> {
        let mut frames = Vec::new();
        while frames.len() < FRAME_BATCH_MAX {
            match Pin::new(&mut self.frames).poll_next(cx) {
                Poll::Ready(Some(Ok(frame))) => frames.push(frame),
                Poll::Ready(_) | Poll::Pending if !frames.is_empty() => break,
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Err(status)),
                Poll::Ready(None) => {
                    return Poll::Ready(Err(Status::unavailable("the stream ended")));
                }
                Poll::Pending => {
                    // Without its pulse a stream is as good as broken.
                    return match Pin::new(&mut self.pulse).poll(cx) {
                        Poll::Ready(_) => Poll::Ready(Err(Status::internal("the pulse ended"))),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
        Poll::Ready(Ok(frames))
    }

    fn lane(&self, lane: Lane) -> &mpsc::Sender<ConnectRequest> {
        match lane {
            Lane::Control => &self.control,
            Lane::Progress => &self.progress,
        }
    }
}

/// Dials, says Hello, and waits for the Welcome.
pub(crate) async fn dial(door: Door, hello: Hello) -> Result<Link, DialError> {
    timeout(HANDSHAKE_SPAN, shake_hands(door, hello))
        .await
        .unwrap_or(Err(DialError::Silent))
}

async fn shake_hands(door: Door, hello: Hello) -> Result<Link, DialError> {
    let channel = door
        .endpoint
        .connect()
        .await
        .map_err(|error| DialError::Unreachable(root_cause(&error)))?;
    let mut client = WorkerServiceClient::new(InterceptedService::new(channel, door.bearer))
        .max_decoding_message_size(FRAME_LEN_MAX);
    let (heartbeats, heartbeat_lane) = mpsc::channel(HEARTBEAT_LANE_LEN);
    let (control, control_lane) = mpsc::channel(CONTROL_LANE_LEN);
    let (progress, progress_lane) = mpsc::channel(PROGRESS_LANE_LEN);
    let lanes = Lanes {
        hello: Some(ConnectRequest {
            session: 0,
            message: Some(connect_request::Message::Hello(hello)),
        }),
        heartbeats: heartbeat_lane,
        control: control_lane,
        progress: progress_lane,
    };

    let hello_sent_at = clock::now();
    let mut frames = client.connect(lanes).await.map_err(refusal)?.into_inner();
    let first = frames.message().await.map_err(refusal)?;
    let Some(ConnectResponse {
        session,
        message: Some(Message::Welcome(welcome)),
    }) = first
    else {
        return Err(DialError::Unreachable(
            "its first word was not Welcome".to_owned(),
        ));
    };

    let protocol = spoken(welcome.protocol)?;
    let rhythm = Rhythm::of(&welcome);
    let (noted, beats) = mpsc::channel(BEATS_MAX);
    let pulse = AbortOnDropHandle::new(tokio::spawn(beat(rhythm, session, heartbeats, noted)));
    Ok(Link {
        welcome,
        hello_sent_at,
        session,
        protocol,
        beats,
        control,
        progress,
        frames,
        pulse,
    })
}

/// The version that a Welcome names, if this worker speaks it.
fn spoken(named: i32) -> Result<i32, DialError> {
    let named = if named == 0 { 1 } else { named };
    if (PROTOCOL_MIN..=PROTOCOL).contains(&named) {
        return Ok(named);
    }
    let older = if named > PROTOCOL {
        "worker"
    } else {
        "coordinator"
    };
    Err(DialError::Version(format!(
        "the coordinator speaks version {named} of the workers' stream, and this worker {PROTOCOL_MIN} to \
         {PROTOCOL}: upgrade the {older}"
    )))
}

/// When heartbeats are due.
#[derive(Debug, PartialEq, Eq)]
struct Rhythm {
    /// From the Welcome to the first.
    first: Duration,
    /// From each to the next.
    interval: Duration,
}

impl Rhythm {
    /// What a Welcome says. The first is never later than others would be, so that a lease that is
    /// long enough for them is long enough for it.
    fn of(welcome: &Welcome) -> Self {
        let interval = given_or(welcome.heartbeat_interval.as_ref(), HEARTBEAT_INTERVAL);
        let interval = interval.max(HEARTBEAT_INTERVAL_MIN);
        let first = welcome.first_heartbeat.as_ref().map(clock::span);
        Self {
            first: first.map_or(interval, |first| first.min(interval)),
            interval,
        }
    }
}

/// Beats until the stream is gone. It has a task of its own, so that a busy engine is not taken for
/// a dead worker.
async fn beat(
    rhythm: Rhythm,
    session: u64,
    heartbeats: mpsc::Sender<ConnectRequest>,
    noted: mpsc::Sender<(u64, Instant)>,
) {
    let first = clock::now() + rhythm.first;
    let mut ticks = tokio::time::interval_at(first.into(), rhythm.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for sequence in 1.. {
        ticks.tick().await;
        let Ok(permit) = heartbeats.reserve().await else {
            return;
        };
        // Noted before it is sent: its answer must find it. One that can't be noted renews nothing.
        let _ = noted.try_send((sequence, clock::now()));
        permit.send(ConnectRequest {
            session,
            message: Some(connect_request::Message::Heartbeat(Heartbeat { sequence })),
        });
    }
}

/// What a stream says, the most urgent first. It ends when nobody can say anything any more.
struct Lanes {
    hello: Option<ConnectRequest>,
    heartbeats: mpsc::Receiver<ConnectRequest>,
    control: mpsc::Receiver<ConnectRequest>,
    progress: mpsc::Receiver<ConnectRequest>,
}

impl Stream for Lanes {
    type Item = ConnectRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ConnectRequest>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(hello));
        }
        let Self {
            heartbeats,
            control,
            progress,
            ..
        } = &mut *self;
        let mut is_over = true;
        for lane in [heartbeats, control, progress] {
            match lane.poll_recv(cx) {
                Poll::Ready(Some(frame)) => return Poll::Ready(Some(frame)),
                Poll::Ready(None) => {}
                Poll::Pending => is_over = false,
            }
        }
        if is_over {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

/// What a status before the Welcome means.
fn refusal(status: Status) -> DialError {
    let message = status.message().to_owned();
    let reason = status
        .get_error_details()
        .error_info()
        .map(|info| info.reason.clone());
    match (status.code(), reason.as_deref()) {
        (_, Some("WORKER_NAME_TAKEN")) => DialError::NameTaken(message),
        (_, Some("WORKER_NAME_IN_TEAM")) => DialError::NameInTeam(message),
        (_, Some("WORKER_VERSION_UNSUPPORTED")) => DialError::Version(message),
        (Code::Unauthenticated | Code::PermissionDenied, _) => DialError::Unauthenticated(message),
        (Code::InvalidArgument | Code::Unimplemented, _) => DialError::Refused(message),
        _ => DialError::Unreachable(message),
    }
}

/// What lies at the bottom of a chain of causes: "connection refused", not "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// How long to wait before dialling again: doubled each time, and spread by chance so that a fleet
/// doesn't come all at once.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: REDIAL_MIN }
    }
}

impl Backoff {
    /// The next wait; `chance` is any number.
    pub fn step(&mut self, chance: u64) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(REDIAL_MAX);
        // Half of it for sure, the rest by chance.
        full / 2 + (full / 2).mul_f64((chance % 1_000) as f64 / 1_000.0)
    }
}

/// How much later a worker dials whose stream was up: anything up to a fifth of its heartbeat
/// interval, so that a fleet that lost its coordinator doesn't come back all at once; `chance` is
/// any number.
pub(crate) fn spread(interval: Duration, chance: u64) -> Duration {
    let longest = (interval / 5).min(REDIAL_SPREAD_MAX);
    longest.mul_f64((chance % 1_000) as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_comes_back_over_a_part_of_its_heartbeat_interval() {
        let at = |interval, chance| spread(Duration::from_millis(interval), chance);
        assert_eq!(at(5_000, 0), Duration::ZERO);
        assert_eq!(at(5_000, 500), Duration::from_millis(500));
        assert_eq!(at(200, 500), Duration::from_millis(20));
        assert!(at(60_000, 999) < REDIAL_SPREAD_MAX);
    }

    #[test]
    fn waits_grow_to_a_bound_and_are_spread() {
        let mut backoff = Backoff::default();
        let mut earlier = Duration::ZERO;
        for _ in 0..10 {
            let wait = backoff.step(0);
            assert!(wait >= earlier && wait >= REDIAL_MIN / 2);
            earlier = wait;
        }

        assert_eq!(earlier, REDIAL_MAX / 2);
        assert!((REDIAL_MAX / 2..=REDIAL_MAX).contains(&backoff.step(999)));
    }

    #[test]
    fn the_first_heartbeat_is_due_when_the_welcome_says_and_no_later_than_the_next_would_be() {
        let seconds = Duration::from_secs;
        for (first, interval, due) in [
            (None, Some(seconds(5)), (seconds(5), seconds(5))),
            (Some(seconds(2)), Some(seconds(5)), (seconds(2), seconds(5))),
            (Some(seconds(0)), Some(seconds(5)), (seconds(0), seconds(5))),
            (Some(seconds(9)), Some(seconds(5)), (seconds(5), seconds(5))),
            (None, None, (HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL)),
            (
                None,
                Some(Duration::from_nanos(1)),
                (HEARTBEAT_INTERVAL_MIN, HEARTBEAT_INTERVAL_MIN),
            ),
        ] {
            let rhythm = Rhythm::of(&Welcome {
                heartbeat_interval: interval.map(Into::into),
                first_heartbeat: first.map(Into::into),
                ..Welcome::default()
            });

            assert_eq!(
                (rhythm.first, rhythm.interval),
                due,
                "{first:?} {interval:?}"
            );
        }
    }

    #[test]
    fn a_version_that_this_worker_does_not_speak_says_who_is_to_be_upgraded() {
        assert_eq!(spoken(0).ok(), Some(1));
        assert_eq!(spoken(1).ok(), Some(1));
        assert_eq!(spoken(PROTOCOL).ok(), Some(PROTOCOL));
        for (named, older) in [(PROTOCOL + 1, "worker"), (-1, "coordinator")] {
            let told = spoken(named).unwrap_err().to_string();

            assert!(told.ends_with(&format!("upgrade the {older}")), "{told}");
            assert!(told.contains(&format!("version {named} ")), "{told}");
        }
    }

    #[tokio::test]
    async fn heartbeats_go_before_control_and_control_before_progress() {
        let frame = |session| ConnectRequest {
            session,
            message: None,
        };
        let (heartbeats, heartbeat_lane) = mpsc::channel(1);
        let (control, control_lane) = mpsc::channel(1);
        let (progress, progress_lane) = mpsc::channel(1);
        let mut lanes = Lanes {
            hello: Some(frame(0)),
            heartbeats: heartbeat_lane,
            control: control_lane,
            progress: progress_lane,
        };
        progress.send(frame(3)).await.unwrap();
        control.send(frame(2)).await.unwrap();
        heartbeats.send(frame(1)).await.unwrap();
        drop((heartbeats, control, progress));

        let mut order = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut lanes).poll_next(cx)).await
        {
            order.push(frame.session);
        }

        assert_eq!(order, [0, 1, 2, 3]);
    }
}
