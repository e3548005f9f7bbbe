//! Who calls is who it says it is, whatever it calls (DESIGN T6, A5).
//!
//! What says so is there once. Who speaks of no team speaks as a member of the one that the
//! metadata names, or of the default one, and is on its roster; calls that are about a team see to
//! that themselves.
//!
//! A fence is no credential: lists of workers show it. So a call that names an attempt in its
//! metadata carries the attempt's secret there, and the attempt counts at this moment. Both are
//! looked at here, before any service. That the attempt still counts when the call is decided is
//! the board's to see.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use board::{
    command::Caller,
    id::{Fence, TeamName},
};
use futures_util::future::Either;
use ganger_proto::{ATTEMPT_KEY, ATTEMPT_SECRET_KEY, BEHALF_KEY, CAUSE_KEY, MEMBER_KEY, TEAM_KEY};
use http::{HeaderMap, HeaderValue};
use tonic::{Status, body::Body, metadata::MetadataMap};
use tower::{Layer, Service};

use super::{
    caller::{self, Identity},
    status,
};
use crate::{attempt_secret::AttemptKey, handle::Handle};

/// What says who calls. Said twice, it is not clear who does.
const SAID_ONCE: [&str; 6] = [
    TEAM_KEY,
    MEMBER_KEY,
    ATTEMPT_KEY,
    ATTEMPT_SECRET_KEY,
    BEHALF_KEY,
    CAUSE_KEY,
];

/// Calls that are about no team, by the beginnings of their paths. Not among them: who makes a team
/// is nobody in it yet, a tool's call is about the team of what it calls, and the list of tools, a
/// worker's stream, health and reflection are the same for everybody.
const ABOUT_NO_TEAM: [&str; 4] = [
    "/ganger.v1.FleetService/",
    "/ganger.v1.ArtifactService/",
    "/ganger.v1.TeamService/ListTeams",
    "/ganger.v1.DelegationService/ListAgentTypes",
];

/// Lets calls pass that are made by who they say.
#[derive(Clone)]
pub struct Holders {
    key: AttemptKey,
    handle: Handle,
}

impl Holders {
    /// Knows secrets by the key with which they were made.
    pub fn new(key: AttemptKey, handle: Handle) -> Self {
        Self { key, handle }
    }
}

/// What is to be looked up of a call's maker.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    /// It is the sub-agent of this attempt, whose secret it showed.
    Attempt(Fence),
    /// It is this member of this team.
    Member(TeamName, Caller),
}

/// Who a call says that it is, as far as the board must be asked for it.
fn claim(key: &AttemptKey, path: &str, headers: &HeaderMap) -> Result<Option<Claim>, Status> {
    if let Some(attempt) = holder(key, headers)? {
        return Ok(Some(Claim::Attempt(attempt)));
    }
    let is_about_no_team = ABOUT_NO_TEAM.iter().any(|about| path.starts_with(about));
    if !is_about_no_team || !headers.contains_key(MEMBER_KEY) {
        return Ok(None);
    }
    let identity = Identity::of(&MetadataMap::from_headers(headers.clone()))?;
    if identity.caller.member.is_none() {
        return Ok(None);
    }
    let team = identity.team("")?;
    Ok(Some(Claim::Member(team, identity.caller)))
}

/// The attempt in whose name a call is made, its secret shown; none where it is in nobody's.
fn holder(key: &AttemptKey, headers: &HeaderMap) -> Result<Option<Fence>, Status> {
    for name in SAID_ONCE {
        if headers.get_all(name).iter().nth(1).is_some() {
            return Err(status::invalid(name, "is in the metadata more than once"));
        }
    }
    let text = |name| headers.get(name).map(HeaderValue::to_str);
    let attempt = match text(ATTEMPT_KEY) {
        None => return Ok(None),
        Some(Ok(attempt)) if attempt.trim().is_empty() => return Ok(None),
        Some(Ok(attempt)) => caller::attempt(attempt.trim())?,
        Some(Err(_)) => return Err(status::invalid(ATTEMPT_KEY, "is no plain text")),
    };
    match text(ATTEMPT_SECRET_KEY) {
        None => Err(status::attempt_secret_missing(&attempt)),
        Some(Ok(secret)) if key.is_right(&attempt, secret.trim()) => Ok(Some(attempt)),
        Some(_) => Err(status::attempt_secret_wrong(&attempt)),
    }
}

/// Refuses an attempt that doesn't count at this moment, and a member that isn't on the roster.
async fn check(handle: &Handle, claim: Claim) -> Result<(), Status> {
    let counts = handle.read(move |reader| match &claim {
        Claim::Attempt(attempt) => reader.check_fence(attempt),
        Claim::Member(team, caller) => reader.hear(team, caller),
    });
    let counts = counts.await.map_err(status::unavailable)?;
    counts.map_err(|refusal| status::refusal(&refusal))
}

impl<S> Layer<S> for Holders {
    type Service = Held<S>;

    fn layer(&self, server: S) -> Self::Service {
        Held {
            holders: self.clone(),
            server,
        }
    }
}

/// A server that only holders reach in an attempt's name.
#[derive(Clone)]
pub struct Held<S> {
    holders: Holders,
    server: S,
}

type Answered<S> = Result<http::Response<Body>, <S as Service<http::Request<Body>>>::Error>;
type Checked<S> = Pin<Box<dyn Future<Output = Answered<S>> + Send>>;

impl<S> Service<http::Request<Body>> for Held<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Either<Ready<Answered<S>>, Checked<S>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.server.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let claim = match claim(&self.holders.key, path, request.headers()) {
            Ok(None) => return Either::Left(self.server.call(request)),
            Ok(Some(claim)) => claim,
            Err(status) => return Either::Right(Either::Left(ready(Ok(status.into_http())))),
        };
        let handle = self.holders.handle.clone();
        // The one that is ready goes with the call.
        let fresh = self.server.clone();
        let mut server = std::mem::replace(&mut self.server, fresh);
        Either::Right(Either::Right(Box::pin(async move {
            match check(&handle, claim).await {
                Ok(()) => server.call(request).await,
                Err(status) => Ok(status.into_http()),
            }
        })))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    const FENCE: &str = "00000000-0000-0000-0000-000000000007/1/2/3";

    fn key() -> AttemptKey {
        AttemptKey::from_bytes([7; 32])
    }

    fn secret() -> String {
        key().secret(&caller::attempt(FENCE).unwrap()).reveal()
    }

    fn headers(said: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn refused(said: &[(&'static str, &str)]) -> (Code, String, String) {
        let status = holder(&key(), &headers(said)).unwrap_err();
        let info = status.get_details_error_info().unwrap();
        let field = info.metadata.get("field").cloned();
        (status.code(), info.reason, field.unwrap_or_default())
    }

    #[test]
    fn only_who_shows_its_secret_speaks_in_an_attempts_name() {
        let right = secret();
        let shown = headers(&[(ATTEMPT_KEY, FENCE), (ATTEMPT_SECRET_KEY, &right)]);
        assert_eq!(holder(&key(), &shown).unwrap(), caller::attempt(FENCE).ok());
        assert_eq!(
            holder(&key(), &headers(&[(MEMBER_KEY, "bob")])).unwrap(),
            None
        );

        let missing = refused(&[(ATTEMPT_KEY, FENCE)]);
        assert_eq!(missing.0, Code::Unauthenticated);
        assert_eq!(missing.1, "ATTEMPT_SECRET_MISSING");
        let elsewhere = "00000000-0000-0000-0000-000000000007/1/2/4";
        for (fence, secret) in [(FENCE, ""), (FENCE, &right[1..]), (elsewhere, &*right)] {
            let wrong = refused(&[(ATTEMPT_KEY, fence), (ATTEMPT_SECRET_KEY, secret)]);
            assert_eq!(wrong.0, Code::PermissionDenied);
            assert_eq!(wrong.1, "ATTEMPT_SECRET_WRONG");
        }
    }

    #[test]
    fn a_member_is_looked_up_where_the_call_is_about_no_team() {
        let said = headers(&[(MEMBER_KEY, "bob"), (TEAM_KEY, "red")]);
        let asked = |path| claim(&key(), path, &said).unwrap();
        for path in [
            "/ganger.v1.FleetService/GetStatus",
            "/ganger.v1.TeamService/ListTeams",
        ] {
            let Some(Claim::Member(team, caller)) = asked(path) else {
                panic!("{path}: nobody is looked up");
            };
            let member = caller.member.map(|member| member.to_string());
            assert_eq!((team.as_str(), member.as_deref()), ("red", Some("bob")));
        }
        for path in [
            "/ganger.v1.TeamService/CreateTeam",
            "/ganger.v1.TaskService/GetTask",
        ] {
            assert_eq!(asked(path), None, "{path}");
        }
        let nobody = headers(&[(TEAM_KEY, "red"), (MEMBER_KEY, "")]);
        let asked = claim(&key(), "/ganger.v1.FleetService/GetStatus", &nobody);
        assert_eq!(asked.unwrap(), None);
    }

    #[test]
    fn who_calls_is_said_once() {
        for name in SAID_ONCE {
            let twice = refused(&[(name, "1"), (name, "1")]);
            let reason = "VALUE_INVALID".to_owned();
            assert_eq!(twice, (Code::InvalidArgument, reason, name.to_owned()));
        }
    }
}
