//! RunTask, with the task's id on the wire before the task is over.
//!
//! tonic sends the headers of a unary answer together with its message, which for RunTask may be
//! hours later. On the wire a unary answer and a stream of one message are the same: so the one
//! path is answered as a stream, and everything else by the generated server.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use ganger_proto::v1::{self, delegation_service_server::DelegationServiceServer};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service},
    server::{Grpc, NamedService, ServerStreamingService},
};
use tonic_prost::ProstCodec;

use super::{MESSAGE_LEN_MAX, Services, body::Answers};

const PATH: &str = "/ganger.v1.DelegationService/RunTask";

/// The delegation service, with RunTask's headers sent at once.
#[derive(Clone)]
pub struct Delegation {
    services: Services,
    generated: DelegationServiceServer<Services>,
}

impl Delegation {
    /// Stands before the generated server.
    pub fn new(services: Services, generated: DelegationServiceServer<Services>) -> Self {
        Self {
            services,
            generated,
        }
    }
}

impl NamedService for Delegation {
    const NAME: &'static str = DelegationServiceServer::<Services>::NAME;
}

struct RunTask(Services);

impl ServerStreamingService<v1::RunTaskRequest> for RunTask {
    type Response = v1::RunTaskResponse;
    type ResponseStream = Answers<v1::RunTaskResponse>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<v1::RunTaskRequest>) -> Self::Future {
        let services = self.0.clone();
        Box::pin(async move { services.run(request).await })
    }
}

impl Service<http::Request<Body>> for Delegation {
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
        let method = RunTask(self.services.clone());
        Box::pin(async move {
            let codec = ProstCodec::<v1::RunTaskResponse, v1::RunTaskRequest>::default();
            let mut grpc = Grpc::new(codec)
                .apply_max_message_size_config(Some(MESSAGE_LEN_MAX), None)
                .apply_compression_config(super::server::gzip(), super::server::gzip());
            Ok(grpc.server_streaming(method, request).await)
        })
    }
}
