//! The server: services, health and reflection behind one door, on one address.

use std::{io, net::SocketAddr};

use ganger_proto::v1::{
    artifact_service_server::ArtifactServiceServer,
    delegation_service_server::DelegationServiceServer, fleet_service_server::FleetServiceServer,
    mailbox_service_server::MailboxServiceServer, task_service_server::TaskServiceServer,
    team_service_server::TeamServiceServer, tool_service_server::ToolServiceServer,
    worker_service_server::WorkerServiceServer,
};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tonic::{
    codec::{CompressionEncoding, EnabledCompressionEncodings},
    server::NamedService,
    service::Routes,
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::{ServiceBuilder, util::BoxCloneSyncService};

use super::{
    MESSAGE_LEN_MAX, Services,
    accept::{self, Answering},
    deadline::DeadlineLayer,
    door::Door,
    holder::Holders,
    message::MessageLayer,
    peers::{Bounds, Peers},
    run_task::Delegation,
    share::ShareLayer,
    watch::TeamWatch,
    wording::WordingLayer,
};

/// Names that health is asked by, beside those of the services.
const LIVENESS: &str = "liveness";
const READINESS: &str = "readiness";

/// A server that listens.
pub struct Serving {
    listener: TcpListener,
    health: HealthReporter,
    answering: Answering,
    peers: Peers,
}

/// Why the server can't serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can't be listened on.
    #[error("can't listen on {addr}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The descriptors of the contract are not sound.
    #[error("the contract's descriptors can't be served")]
    Reflection(#[from] tonic_reflection::server::Error),
}

pub(super) fn gzip() -> EnabledCompressionEncodings {
    let mut enabled = EnabledCompressionEncodings::default();
    enabled.enable(CompressionEncoding::Gzip);
    enabled
}

macro_rules! with_limits {
    ($server:expr) => {
        $server
            .max_decoding_message_size(MESSAGE_LEN_MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
    };
}

/// Connections that wait to be accepted, of which the system may allow fewer (`net.core.somaxconn`).
/// Beyond it a client's first packet is dropped, and sent again a second later.
const BACKLOG: u32 = 4_096;

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of the process before may still be closing.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Listens, and makes ready to serve.
pub async fn serve(
    addr: SocketAddr,
    services: Services,
    token: Option<&str>,
    bounds: Bounds,
) -> Result<Serving, ServeError> {
    let listener = listen(addr).map_err(|source| ServeError::Listen { addr, source })?;
    let (health, health_server) = tonic_health::server::health_reporter();
    let delegation = DelegationServiceServer::new(services.clone());
    let delegation = Delegation::new(services.clone(), with_limits!(delegation));
    let team = TeamServiceServer::new(services.clone());
    let team = TeamWatch::new(services.clone(), with_limits!(team));
    let routes = Routes::builder()
        .routes()
        .add_service(health_server)
        .add_service(reflection()?.build_v1()?)
        .add_service(reflection()?.build_v1alpha()?)
        .add_service(team)
        .add_service(with_limits!(TaskServiceServer::new(services.clone())))
        .add_service(delegation)
        .add_service(with_limits!(ArtifactServiceServer::new(services.clone())))
        .add_service(with_limits!(FleetServiceServer::new(services.clone())))
        .add_service(with_limits!(MailboxServiceServer::new(services.clone())))
        .add_service(with_limits!(ToolServiceServer::new(services.clone())))
        .add_service(with_limits!(WorkerServiceServer::new(services.clone())))
        .prepare();
    let answering = ServiceBuilder::new()
        .layer(MessageLayer)
        .layer(DeadlineLayer)
        .layer(ShareLayer)
        .layer(Door::new(token))
        .layer(Holders::new(services.attempt_key, services.handle))
        .layer(WordingLayer)
        .service(routes);
    Ok(Serving {
        listener,
        health,
        answering: BoxCloneSyncService::new(answering),
        peers: Peers::new(bounds),
    })
}

fn reflection() -> Result<tonic_reflection::server::Builder<'static>, ServeError> {
    Ok(tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(ganger_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET))
}

impl Serving {
    /// Where it listens.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Says how the coordinator is to those who ask for its health.
    pub fn health(&self) -> HealthReporter {
        self.health.clone()
    }

    /// Serves until `stop` is cancelled, and a little longer for what is under way.
    pub async fn run(self, stop: CancellationToken) {
        accept::serve(self.listener, self.peers, self.answering, stop).await;
    }
}

/// Says of every service whether it serves.
pub async fn set_health(health: &HealthReporter, serves: bool) {
    let status = if serves {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    let services = [
        "",
        READINESS,
        TeamWatch::NAME,
        TaskServiceServer::<Services>::NAME,
        Delegation::NAME,
        ArtifactServiceServer::<Services>::NAME,
        FleetServiceServer::<Services>::NAME,
        MailboxServiceServer::<Services>::NAME,
        ToolServiceServer::<Services>::NAME,
        WorkerServiceServer::<Services>::NAME,
    ];
    for service in services {
        health.set_service_status(service, status).await;
    }
    // It lives as long as it answers.
    health
        .set_service_status(LIVENESS, ServingStatus::Serving)
        .await;
}
