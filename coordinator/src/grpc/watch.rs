//! WatchTeam: a team's events, each written once for all who watch.
//!
//! Prost would write every event anew for every watcher. A message of protobuf is the sum of its
//! fields, though: so each event is written once, as the field that it is, and an answer is put
//! together from such pieces. That takes a codec of its own, and so a place before the generated
//! server.
//!
//! A watcher holds little here: what waits for it is one answer of at most [`ANSWER_LEN_MAX`]
//! bytes. One that takes nothing for long is cut off, with the revision to go on from.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use board::{
    event::Event,
    id::{Revision, TeamName, TeamUid},
    refusal::Refusal,
};
use ganger_proto::v1::{self, team_service_server::TeamServiceServer};
use prost::{
    Message,
    bytes::{BufMut, Bytes, BytesMut},
};
use tokio::time::{Sleep, sleep, timeout};
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{Codec, EncodeBuf, Encoder},
    codegen::{BoxFuture, Service},
    server::{Grpc, NamedService, ServerStreamingService},
};
use tonic_prost::ProstCodec;

use super::{
    MESSAGE_LEN_MAX, Services,
    body::{Answers, Gone, Sink},
    caller::Identity,
    status, to_wire,
};
use crate::{
    driver::NotTaken,
    engine::Watched,
    handle::Unavailable,
    hub::{Published, Watcher},
};

const PATH: &str = "/ganger.v1.TeamService/WatchTeam";

/// Events of one answer, and the bytes beyond which none is added.
const EVENTS_MAX: usize = 256;
const ANSWER_LEN_MAX: usize = 32 * 1024;

/// Events that are read from the store at once: what doesn't go into the answer is read again.
const READ_MAX: usize = 128;

/// While a team is busy its watchers are told this often; the first news after a while goes out at
/// once.
const PACE: Duration = Duration::from_millis(50);

/// The field of an answer that an event is.
const EVENTS_FIELD: u32 = 1;

/// The team service, with events written once for all watchers.
#[derive(Clone)]
pub struct TeamWatch {
    services: Services,
    generated: TeamServiceServer<Services>,
}

impl TeamWatch {
    /// Stands before the generated server.
    pub fn new(services: Services, generated: TeamServiceServer<Services>) -> Self {
        Self {
            services,
            generated,
        }
    }
}

impl NamedService for TeamWatch {
    const NAME: &'static str = TeamServiceServer::<Services>::NAME;
}

impl Service<http::Request<Body>> for TeamWatch {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PATH {
            return self.generated.call(request);
        }
        let method = WatchTeam(self.services.clone());
        Box::pin(async move {
            let mut grpc = Grpc::new(Pieces)
                .apply_max_message_size_config(Some(MESSAGE_LEN_MAX), None)
                .apply_compression_config(super::server::gzip(), super::server::gzip());
            Ok(grpc.server_streaming(method, request).await)
        })
    }
}

struct WatchTeam(Services);

impl ServerStreamingService<v1::WatchTeamRequest> for WatchTeam {
    type Response = Written;
    type ResponseStream = Answers<Written>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<v1::WatchTeamRequest>) -> Self::Future {
        let services = self.0.clone();
        Box::pin(async move { services.watched(request).await.map(Response::new) })
    }
}

/// A [`v1::WatchTeamResponse`] in writing, in pieces that follow each other.
#[derive(Debug, Default)]
pub(super) struct Written(Vec<Bytes>);

impl Written {
    /// The answer as a whole.
    pub(super) fn read(&self) -> Result<v1::WatchTeamResponse, prost::DecodeError> {
        v1::WatchTeamResponse::decode(&*self.0.concat())
    }
}

/// Reads requests, and writes answers that are written already.
struct Pieces;

impl Codec for Pieces {
    type Encode = Written;
    type Decode = v1::WatchTeamRequest;
    type Encoder = Self;
    type Decoder = <ProstCodec<v1::WatchTeamResponse, v1::WatchTeamRequest> as Codec>::Decoder;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<v1::WatchTeamResponse, v1::WatchTeamRequest>::default().decoder()
    }
}

impl Encoder for Pieces {
    type Item = Written;
    type Error = Status;

    fn encode(&mut self, answer: Written, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        answer.0.into_iter().for_each(|piece| to.put(piece));
        Ok(())
    }
}

/// An event as the field of an answer that it is.
fn write(team: &TeamName, event: &Event) -> Bytes {
    let told = to_wire::event(team.as_str(), event);
    let mut written = BytesMut::new();
    prost::encoding::message::encode(EVENTS_FIELD, &told, &mut written);
    written.freeze()
}

impl Services {
    /// The answers of a watch.
    pub(super) async fn watched(
        &self,
        request: Request<v1::WatchTeamRequest>,
    ) -> Result<Answers<Written>, Status> {
        let identity = Identity::of(request.metadata())?;
        let request = request.into_inner();
        let team = identity.team(&request.team)?;
        let watched = team.clone();
        let look = move |reader: &mut crate::engine::Reader<'_>| {
            reader.whole_board(&watched, &identity.caller)?;
            reader.watch(&watched)
        };
        let begun = self.look(look).await?;
        let Watched { watcher, view } = begun.map_err(|refusal| status::refusal(&refusal))?;
        let uid = view.team.uid;
        if request.team_uid != 0 && request.team_uid != uid.0 {
            return Err(status::team_replaced(team.as_str(), request.team_uid));
        }
        let latest = view.team.revision;
        let after = request.after_revision.map_or(latest, Revision);
        if after > latest {
            let why = format!("is ahead of the team's revision {latest}");
            return Err(status::invalid("after_revision", why));
        }
        if after < latest && after.next() < view.oldest {
            let oldest = view.oldest;
            return Err(status::refusal(&Refusal::RevisionGone { after, oldest }));
        }
        let (sink, answers) = Sink::with_room(1);
        let watch = Watch {
            services: self.clone(),
            team,
            uid,
            watcher,
            told: after,
            patience: self.about.watch_patience,
        };
        let is_from_now_on = request.after_revision.is_none();
        self.tasks.spawn(watch.run(sink, is_from_now_on));
        Ok(answers)
    }
}

/// One watcher of one team. It ends when the caller goes away or the coordinator stops.
struct Watch {
    services: Services,
    team: TeamName,
    uid: TeamUid,
    watcher: Watcher,
    /// The revision up to which everything was told.
    told: Revision,
    /// How long the caller may take nothing.
    patience: Duration,
}

/// Why a watch ends before its time.
enum Ended {
    Gone,
    Slow,
    Failed(Status),
}

impl From<Gone> for Ended {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<Unavailable> for Ended {
    fn from(why: Unavailable) -> Self {
        Self::Failed(status::unavailable(why))
    }
}

/// The coordinator stops.
fn stopped() -> Ended {
    Unavailable::NotTaken(NotTaken::Closed).into()
}

impl Watch {
    async fn run(mut self, sink: Sink<Written>, is_from_now_on: bool) {
        match self.tell_all(&sink, is_from_now_on).await {
            Ended::Gone => {}
            Ended::Slow => {
                let (team, told) = (&self.team, self.told);
                tracing::info!(%team, %told, "a watcher took nothing for long: cutting it off");
                sink.cut(status::watcher_slow(self.uid, told));
            }
            Ended::Failed(status) => sink.cut(status),
        }
    }

    async fn tell_all(&mut self, sink: &Sink<Written>, is_from_now_on: bool) -> Ended {
        let mut answer = is_from_now_on.then(|| (Vec::new(), self.told));
        let mut rest = Box::pin(sleep(Duration::ZERO));
        loop {
            if let Some((pieces, revision)) = answer.take()
                && let Err(ended) = self.tell(sink, pieces, revision).await
            {
                return ended;
            }
            match self.next(sink, rest.as_mut()).await {
                Ok(next) => answer = Some(next),
                Err(ended) => return ended,
            }
            rest = Box::pin(sleep(PACE));
        }
    }

    /// The next events, written, and the last one's revision.
    async fn next(
        &mut self,
        sink: &Sink<Written>,
        rest: Pin<&mut Sleep>,
    ) -> Result<(Vec<Bytes>, Revision), Ended> {
        let told = self.told;
        let (watcher, stop) = (&mut self.watcher, &self.services.stop);
        let news = async {
            watcher.past(told).await;
            // Who is behind is told as fast as it can take it.
            if watcher.latest().0 - told.0 < EVENTS_MAX as u64 {
                rest.await;
            }
        };
        tokio::select! {
            () = news => {}
            () = sink.gone() => return Err(Ended::Gone),
            () = stop.cancelled() => return Err(stopped()),
        }
        let team = &self.team;
        if let Some(recent) = self.watcher.recent(told, EVENTS_MAX) {
            let piece = |told: &Arc<Published>| told.written(|event| write(team, event));
            let pieces = recent.iter().map(|told| (piece(told), told.event.revision));
            return Ok(fitting(pieces, told));
        }
        let uid = self.uid;
        let handle = &self.services.handle;
        let read = handle.read(move |reader| reader.events(uid, told, READ_MAX));
        match read.await? {
            Ok(events) => {
                let pieces = events
                    .iter()
                    .map(|event| (write(team, event), event.revision));
                Ok(fitting(pieces, told))
            }
            Err(refusal) => Err(Ended::Failed(status::refusal(&refusal))),
        }
    }

    async fn tell(
        &mut self,
        sink: &Sink<Written>,
        mut pieces: Vec<Bytes>,
        revision: Revision,
    ) -> Result<(), Ended> {
        pieces.push(rest(revision, self.uid));
        let put = timeout(self.patience, sink.put(Written(pieces)));
        tokio::select! {
            put = put => match put {
                Ok(put) => put?,
                Err(_) => return Err(Ended::Slow),
            },
            () = self.services.stop.cancelled() => return Err(stopped()),
        }
        self.told = revision;
        Ok(())
    }
}

/// What of an answer is not events.
fn rest(revision: Revision, uid: TeamUid) -> Bytes {
    let rest = v1::WatchTeamResponse {
        events: Vec::new(),
        revision: revision.0,
        team_uid: uid.0,
    };
    rest.encode_to_vec().into()
}

/// As many written events as go into one answer, and the last one's revision.
fn fitting(
    pieces: impl Iterator<Item = (Bytes, Revision)>,
    told: Revision,
) -> (Vec<Bytes>, Revision) {
    let (mut fitting, mut last, mut len) = (Vec::new(), told, 0);
    for (piece, revision) in pieces {
        if len > 0 && len + piece.len() > ANSWER_LEN_MAX {
            break;
        }
        len += piece.len();
        last = revision;
        fitting.push(piece);
    }
    (fitting, last)
}

#[cfg(test)]
mod tests {
    use board::{
        event::{Actor, Happening},
        id::TaskId,
        time::Time,
    };

    use super::*;

    fn event(revision: u64, subject: &str) -> Event {
        Event {
            team: TeamUid(3),
            revision: Revision(revision),
            at: Time(1_234),
            actor: Actor::Coordinator,
            on_behalf_of: None,
            cause: None,
            cause_message: None,
            previous: Revision(0),
            what: Happening::TaskCreated {
                task: TaskId(revision),
                subject: subject.into(),
            },
        }
    }

    #[test]
    fn answer_of_pieces_is_the_answer_that_prost_would_write() {
        let team = TeamName::parse("t").unwrap();
        let events = [event(7, "one"), event(8, &"long ".repeat(100))];
        let whole = v1::WatchTeamResponse {
            events: events.iter().map(|e| to_wire::event("t", e)).collect(),
            revision: 8,
            team_uid: 3,
        };

        let mut pieces: Vec<Bytes> = events.iter().map(|e| write(&team, e)).collect();
        pieces.push(rest(Revision(8), TeamUid(3)));
        let written = Written(pieces);

        assert_eq!(written.0.concat(), whole.encode_to_vec());
        assert_eq!(written.read().unwrap(), whole);
    }

    #[test]
    fn answer_takes_what_fits_and_at_least_one_event() {
        let piece = |len: usize, revision| (Bytes::from(vec![0; len]), Revision(revision));
        let lens = |all: &[(usize, u64)]| {
            let pieces = all.iter().map(|(len, revision)| piece(*len, *revision));
            let (pieces, last) = fitting(pieces, Revision(0));
            (pieces.len(), last.0)
        };

        assert_eq!(lens(&[]), (0, 0));
        assert_eq!(lens(&[(ANSWER_LEN_MAX + 1, 1), (1, 2)]), (1, 1));
        assert_eq!(lens(&[(ANSWER_LEN_MAX - 1, 1), (1, 2)]), (2, 2));
        assert_eq!(lens(&[(ANSWER_LEN_MAX - 1, 1), (2, 2), (1, 3)]), (1, 1));
    }
}
