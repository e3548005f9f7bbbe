//! What tonic itself says of a call that it can't read or doesn't know, in the contract's words.
//!
//! It answers such a call before any service sees it, with codes of its own and without details.
//! An answer that is an error already when it begins, and has no details, can only be tonic's.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::status;

/// Wraps a server so that all its errors are in the contract's words.
#[derive(Debug, Clone, Copy)]
pub struct WordingLayer;

/// A server all of whose errors are in the contract's words.
#[derive(Debug, Clone)]
pub struct Worded<S>(S);

impl<S> Layer<S> for WordingLayer {
    type Service = Worded<S>;

    fn layer(&self, server: S) -> Self::Service {
        Worded(server)
    }
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

impl<S> Service<http::Request<Body>> for Worded<S>
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
            let answer = answer.await?;
            Ok(match Status::from_header_map(answer.headers()) {
                Some(said) if said.code() != tonic::Code::Ok && said.details().is_empty() => {
                    let mut worded = status::of_tonic(&said).into_http();
                    // Which encodings are understood is told beside the status.
                    if let Some(accepted) = answer.headers().get(ACCEPTED) {
                        worded.headers_mut().insert(ACCEPTED, accepted.clone());
                    }
                    worded
                }
                _ => answer,
            })
        })
    }
}

const ACCEPTED: &str = "grpc-accept-encoding";
