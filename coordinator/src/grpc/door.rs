//! The door: every call, reflection and health too, wants the fleet token where there is one.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use http::HeaderMap;
use subtle::ConstantTimeEq;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::status;

/// Lets calls in that carry the token. Never shows it.
#[derive(Clone)]
pub struct Door(Option<Arc<[u8]>>);

impl Door {
    /// A door that wants this token, or none.
    pub fn new(token: Option<&str>) -> Self {
        Self(token.map(|token| token.as_bytes().into()))
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Status> {
        let Some(token) = &self.0 else {
            return Ok(());
        };
        let Some(given) = headers.get("authorization") else {
            return Err(status::unauthenticated("the call carries no token"));
        };
        let given = given.as_bytes();
        let bearer = given
            .split_at_checked(7)
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        match bearer {
            Some((_, given)) if bool::from(given.ct_eq(token)) => Ok(()),
            Some(_) => Err(status::unauthenticated("the token is another one")),
            None => Err(status::unauthenticated(
                "the authorization is no bearer token",
            )),
        }
    }
}

impl<S> Layer<S> for Door {
    type Service = Guarded<S>;

    fn layer(&self, server: S) -> Self::Service {
        Guarded {
            door: self.clone(),
            server,
        }
    }
}

/// A server behind a door.
#[derive(Clone)]
pub struct Guarded<S> {
    door: Door,
    server: S,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<http::Response<Body>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.server.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.door.check(request.headers()) {
            Ok(()) => Either::Right(self.server.call(request)),
            Err(status) => Either::Left(ready(Ok(status.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn with(authorization: Option<&str>) -> HeaderMap {
        let given = authorization.map(|text| (http::header::AUTHORIZATION, text.parse().unwrap()));
        given.into_iter().collect()
    }

    #[test]
    fn only_the_very_token_opens_the_door() {
        let door = Door::new(Some("s3cret"));

        for good in ["Bearer s3cret", "bearer s3cret"] {
            assert!(door.check(&with(Some(good))).is_ok(), "{good}");
        }
        let bad = [
            "",
            "s3cret",
            "Bearer s3cre",
            "Bearer s3cret1",
            "Basic s3cret",
        ];
        for bad in [None].into_iter().chain(bad.map(Some)) {
            let refused = door.check(&with(bad)).unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{bad:?}");
            assert!(!refused.message().contains("s3cret"));
        }
    }

    #[test]
    fn door_without_token_is_open() {
        assert!(Door::new(None).check(&with(None)).is_ok());
    }
}
