//! A relay between a worker and its coordinator. It passes on what both say, and keeps back the
//! words that it is told to: so an attempt stays at a step for as long as a test wants, while
//! heartbeats go on.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use ganger_proto::v1::{
    self, ConnectRequest, ConnectResponse,
    artifact_service_server::{ArtifactService, ArtifactServiceServer},
    connect_request::Message as Says,
    connect_response::Message as Hears,
    worker_service_server::{WorkerService, WorkerServiceServer},
};
use ganger_tests::{Client, patiently};
use tokio::sync::{mpsc, watch};
use tokio_stream::{
    StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// What a relay can keep back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// To the worker: an assignment.
    Assignment,
    /// To the worker: a stop.
    Stop,
    /// To the worker: the acknowledgement of an attempt's end.
    EndedAck,
    /// To the coordinator: a sub-agent began.
    Started,
    /// To the coordinator: an attempt ended.
    Ended,
    /// To the coordinator: the worker wants an input.
    Download,
}

/// A relay to one coordinator; it goes with its test.
pub struct Relay {
    address: String,
    valve: Arc<Valve>,
    _serving: AbortOnDropHandle<()>,
}

struct Valve {
    /// What is kept back.
    shut: watch::Sender<BTreeSet<Word>>,
    /// What came and was kept back.
    caught: watch::Sender<BTreeSet<Word>>,
}

impl Relay {
    /// A relay to the coordinator that listens here. It needs not be there yet.
    pub async fn start(coordinator: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind((coordinator.ip(), 0)).await;
        let listener = listener.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let valve = Arc::new(Valve {
            shut: watch::Sender::default(),
            caught: watch::Sender::default(),
        });
        let half = Half {
            coordinator: format!("http://{coordinator}"),
            valve: valve.clone(),
        };
        let serving = Server::builder()
            .add_service(
                WorkerServiceServer::new(half.clone()).max_decoding_message_size(usize::MAX),
            )
            .add_service(ArtifactServiceServer::new(half))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            address,
            valve,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Where workers find it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Keeps a word back from now on.
    pub fn keep_back(&self, word: Word) {
        self.valve.shut.send_modify(|shut| {
            shut.insert(word);
        });
    }

    /// Waits until a word came that is kept back.
    pub async fn caught(&self, word: Word) {
        let mut caught = self.valve.caught.subscribe();
        let is_caught = caught.wait_for(|caught| caught.contains(&word));
        drop(patiently(format!("the relay has {word:?}"), is_caught).await);
    }

    /// Passes everything on. What was kept back for a stream that is over is gone with it.
    pub fn let_go(&self) {
        self.valve.shut.send_modify(BTreeSet::clear);
    }
}

impl Valve {
    fn keeps(&self, word: Option<Word>) -> bool {
        word.is_some_and(|word| self.shut.borrow().contains(&word))
    }

    fn note(&self, word: Option<Word>) {
        self.caught.send_modify(|caught| caught.extend(word));
    }

    /// Passes on what one side says until either side is gone.
    async fn pass_on<T>(
        &self,
        mut from: Streaming<T>,
        to: mpsc::Sender<Result<T, Status>>,
        word_of: fn(&T) -> Option<Word>,
    ) {
        let mut kept = Vec::new();
        let mut shut = self.shut.subscribe();
        loop {
            tokio::select! {
                biased;
                () = to.closed() => return,
                Ok(()) = shut.changed() => {
                    let (still, free) = kept.into_iter().partition(|it| self.keeps(word_of(it)));
                    kept = still;
                    for it in free {
                        to.send(Ok(it)).await.ok();
                    }
                }
                said = from.message() => match said.transpose() {
                    Some(Ok(it)) if self.keeps(word_of(&it)) => {
                        self.note(word_of(&it));
                        kept.push(it);
                    }
                    Some(it) => {
                        to.send(it).await.ok();
                    }
                    None => return,
                },
            }
        }
    }
}

fn said(frame: &ConnectRequest) -> Option<Word> {
    match frame.message.as_ref()? {
        Says::Started(_) => Some(Word::Started),
        Says::Ended(_) => Some(Word::Ended),
        _ => None,
    }
}

fn heard(frame: &ConnectResponse) -> Option<Word> {
    match frame.message.as_ref()? {
        Hears::Assignment(_) => Some(Word::Assignment),
        Hears::Stop(_) => Some(Word::Stop),
        Hears::ReportAck(ack) if ack.kind() == v1::ReportKind::Ended => Some(Word::EndedAck),
        _ => None,
    }
}

/// What serves workers. Each stream gets a connection of its own, which is gone with it.
#[derive(Clone)]
struct Half {
    coordinator: String,
    valve: Arc<Valve>,
}

#[tonic::async_trait]
impl WorkerService for Half {
    type ConnectStream = ReceiverStream<Result<ConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (up, going_up) = mpsc::channel(1_024);
        let (down, going_down) = mpsc::channel(1_024);
        let (says, valve) = (request.into_inner(), self.valve.clone());
        tokio::spawn(async move { valve.pass_on(says, up, said).await });
        let going_up = ReceiverStream::new(going_up).map_while(Result::ok);
        let mut coordinator = Client::of(&self.coordinator).worker();
        let hears = coordinator.connect(going_up).await?.into_inner();
        let valve = self.valve.clone();
        tokio::spawn(async move { valve.pass_on(hears, down, heard).await });
        Ok(Response::new(ReceiverStream::new(going_down)))
    }
}

#[tonic::async_trait]
impl ArtifactService for Half {
    type DownloadArtifactStream = Streaming<v1::DownloadArtifactResponse>;

    async fn download_artifact(
        &self,
        request: Request<v1::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let mut shut = self.valve.shut.subscribe();
        if shut.borrow().contains(&Word::Download) {
            self.valve.note(Some(Word::Download));
            let is_open = shut.wait_for(|shut| !shut.contains(&Word::Download));
            drop(is_open.await);
        }
        let mut coordinator = Client::of(&self.coordinator).artifact();
        coordinator.download_artifact(request.into_inner()).await
    }

    async fn upload_artifact(
        &self,
        request: Request<Streaming<v1::UploadArtifactRequest>>,
    ) -> Result<Response<v1::UploadArtifactResponse>, Status> {
        let parts = request.into_inner().map_while(Result::ok);
        let mut coordinator = Client::of(&self.coordinator).artifact();
        coordinator.upload_artifact(parts).await
    }

    async fn get_artifact(
        &self,
        request: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<v1::GetArtifactResponse>, Status> {
        let mut coordinator = Client::of(&self.coordinator).artifact();
        coordinator.get_artifact(request.into_inner()).await
    }
}
