//! The way to the coordinator: one channel, who calls, and one more try where the wire broke.
//!
//! Every unary call that is tried again is a read, says what is to be rather than what to do, or
//! carries a request id, so that a second try can't do a thing twice. The rest is made once.

use std::{error::Error as _, io, path::Path, time::Duration};

use ganger_proto::{
    BEHALF_KEY, CAUSE_KEY, MEMBER_KEY, TEAM_KEY,
    v1::{
        artifact_service_client::ArtifactServiceClient,
        delegation_service_client::DelegationServiceClient,
        fleet_service_client::FleetServiceClient, mailbox_service_client::MailboxServiceClient,
        task_service_client::TaskServiceClient, team_service_client::TeamServiceClient,
        tool_service_client::ToolServiceClient,
    },
};
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{config::Settings, failure::Failure};

/// A channel that says who calls.
pub type Wire = InterceptedService<Channel, Caller>;

/// How long the dialling may take.
const CONNECT_SPAN: Duration = Duration::from_secs(5);
/// Before the second try, where the coordinator doesn't say how long.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// The longest pause that is worth a wait; a longer one is told to the caller.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(3);

/// A connected coordinator.
#[derive(Debug, Clone)]
pub struct Client {
    addr: String,
    channel: Channel,
    caller: Caller,
}

/// Who calls and why: the token, the team, the member, on whose behalf and because of which
/// message, on every call.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    metadata: Vec<(&'static str, MetadataValue<Ascii>)>,
}

impl Caller {
    /// The caller that the settings speak of.
    ///
    /// # Errors
    /// Where the token file can't be read, or a name can't stand in a header.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let mut metadata = Vec::new();
        if let Some(path) = &settings.token_file {
            let mut token: MetadataValue<Ascii> =
                format!("Bearer {}", read_token(path)?)
                    .parse()
                    .map_err(|_| Failure::local(format!("{} holds no token", path.display())))?;
            token.set_sensitive(true);
            metadata.push(("authorization", token));
        }
        if let Some(message) = settings.because_of {
            metadata.push((CAUSE_KEY, message.into()));
        }
        for (key, name) in [
            (TEAM_KEY, &settings.team),
            (MEMBER_KEY, &settings.member),
            (BEHALF_KEY, &settings.on_behalf_of),
        ] {
            if let Some(name) = name {
                let value = name.parse().map_err(|_| {
                    Failure::Usage(format!("{name:?} can't be the name of a team or a member"))
                })?;
                metadata.push((key, value));
            }
        }
        Ok(Self { metadata })
    }

    /// The same in another team. There a pinned incarnation would be another member's, and an
    /// address another team's.
    fn speak_in(&mut self, team: MetadataValue<Ascii>) {
        self.metadata.retain(|(key, _)| *key != TEAM_KEY);
        self.metadata.push((TEAM_KEY, team));
        for (key, value) in &mut self.metadata {
            let name = value
                .to_str()
                .ok()
                .and_then(|name| name.split_once(['@', '/']));
            if matches!(*key, MEMBER_KEY | BEHALF_KEY)
                && let Some(Ok(name)) = name.map(|(name, _)| name.parse())
            {
                *value = name;
            }
        }
    }
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (key, value) in &self.metadata {
            request.metadata_mut().insert(*key, value.clone());
        }
        Ok(request)
    }
}

impl Client {
    /// Dials the coordinator.
    ///
    /// # Errors
    /// [`Failure::NoCoordinator`] where nobody answers there.
    pub async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let caller = Caller::new(settings)?;
        let channel =
            endpoint(&settings.addr)?
                .connect()
                .await
                .map_err(|error| Failure::NoCoordinator {
                    addr: settings.addr.clone(),
                    cause: deepest(&error),
                })?;
        Ok(Self {
            addr: settings.addr.clone(),
            channel,
            caller,
        })
    }

    /// What a call ended with: a refusal, or nobody to refuse it.
    pub fn failure(&self, status: Status) -> Failure {
        match status.source() {
            None => status.into(),
            Some(cause) => Failure::NoCoordinator {
                addr: self.addr.clone(),
                cause: deepest(cause),
            },
        }
    }

    /// Makes a unary call, and makes it again once where the wire broke or the coordinator is
    /// not ready.
    ///
    /// # Errors
    /// What the coordinator refused, or the second breaking of the wire.
    pub async fn ask<Q, A, F>(&self, request: Q, send: impl Fn(Self, Q) -> F) -> Result<A, Failure>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let first = send(self.clone(), request.clone()).await;
        let answer = match first {
            Err(status) if is_broken(&status) => match retry_pause(&status) {
                Some(pause) => {
                    tokio::time::sleep(pause).await;
                    send(self.clone(), request).await
                }
                None => Err(status),
            },
            answer => answer,
        };
        Ok(answer.map_err(|status| self.failure(status))?.into_inner())
    }

    /// Teams and their rosters.
    pub fn teams(&self) -> TeamServiceClient<Wire> {
        TeamServiceClient::new(self.wire())
    }

    /// The board.
    pub fn tasks(&self) -> TaskServiceClient<Wire> {
        TaskServiceClient::new(self.wire())
    }

    /// Running tasks.
    pub fn delegation(&self) -> DelegationServiceClient<Wire> {
        DelegationServiceClient::new(self.wire())
    }

    /// Mail.
    pub fn mail(&self) -> MailboxServiceClient<Wire> {
        MailboxServiceClient::new(self.wire())
    }

    /// The tools that lead agents know.
    pub fn tools(&self) -> ToolServiceClient<Wire> {
        ToolServiceClient::new(self.wire())
    }

    /// Blobs.
    pub fn artifacts(&self) -> ArtifactServiceClient<Wire> {
        ArtifactServiceClient::new(self.wire())
    }

    /// The fleet.
    pub fn fleet(&self) -> FleetServiceClient<Wire> {
        FleetServiceClient::new(self.wire())
    }

    /// The same, speaking in another team.
    ///
    /// # Errors
    /// Where the name can't stand in a header.
    pub fn in_team(mut self, team: &str) -> Result<Self, Failure> {
        let value = team.parse();
        let value =
            value.map_err(|_| Failure::Usage(format!("{team:?} can't be the name of a team")))?;
        self.caller.speak_in(value);
        Ok(self)
    }

    /// The bare channel, with the caller on it.
    pub fn wire(&self) -> Wire {
        InterceptedService::new(self.channel.clone(), self.caller.clone())
    }
}

/// A new request id.
pub fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Whether the wire broke, or the coordinator asks to come again: not the coordinator's verdict
/// on the call.
pub fn is_broken(status: &Status) -> bool {
    // A status that came over the wire has no source on this side.
    status.code() == Code::Unavailable || status.source().is_some()
}

fn retry_pause(status: &Status) -> Option<Duration> {
    use tonic_types::StatusExt as _;
    let asked = status
        .get_details_retry_info()
        .and_then(|retry| retry.retry_delay);
    match asked {
        Some(pause) if pause > RETRY_PAUSE_MAX => None,
        Some(pause) => Some(pause),
        None => Some(RETRY_PAUSE),
    }
}

/// The endpoint that an address names.
///
/// # Errors
/// Where it is none.
pub fn endpoint(addr: &str) -> Result<Endpoint, Failure> {
    let wrong = |why: String| Failure::Usage(format!("--addr {addr:?}: {why}"));
    let uri = if addr.starts_with("http://") || addr.starts_with("unix:") {
        addr.to_owned()
    } else if addr.contains("://") {
        return Err(wrong(
            "give host:port, http://host:port or unix:/path".into(),
        ));
    } else {
        format!("http://{addr}")
    };
    let endpoint = Endpoint::from_shared(uri).map_err(|error| wrong(deepest(&error)))?;
    Ok(endpoint
        .connect_timeout(CONNECT_SPAN)
        .tcp_nodelay(true)
        // A silent peer is noticed on a stream that has nothing to say for hours.
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10)))
}

fn read_token(path: &Path) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(Failure::local_next(
            format!("can't read the token file {}: {error}", path.display()),
            match error.kind() {
                io::ErrorKind::PermissionDenied => "read it as its owner, or name one of your own",
                _ => "name the file with --token-file or GANGER_TOKEN_FILE",
            },
        )),
    }
}

/// The innermost cause, which is the one that says something.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_host_and_port_or_a_socket_and_never_https() {
        assert!(endpoint("127.0.0.1:50051").is_ok());
        assert!(endpoint("http://coordinator:50051").is_ok());
        assert!(endpoint("[::1]:1").is_ok());
        assert!(endpoint("unix:/run/ganger.sock").is_ok());

        for addr in ["https://x:1", "ftp://x", "a b", ""] {
            assert!(
                matches!(endpoint(addr), Err(Failure::Usage(_))),
                "{addr:?} is taken"
            );
        }
    }

    #[test]
    fn who_calls_and_why_goes_on_every_call() {
        let dir = tempfile::tempdir().unwrap();
        let token_file = dir.path().join("token");
        std::fs::write(&token_file, "s3cret\n").unwrap();
        let settings = Settings {
            addr: "x:1".into(),
            token_file: Some(token_file),
            team: Some("red".into()),
            member: Some("alice/3".into()),
            format: crate::output::Format::Table,
            color: clap::ColorChoice::Auto,
            timeout: None,
            because_of: Some(12),
            on_behalf_of: Some("carol".into()),
        };

        let request = Caller::new(&settings)
            .unwrap()
            .call(Request::new(()))
            .unwrap();

        assert_eq!(
            request.metadata().get("authorization").unwrap(),
            "Bearer s3cret"
        );
        assert_eq!(request.metadata().get("ganger-team").unwrap(), "red");
        assert_eq!(request.metadata().get("ganger-member").unwrap(), "alice/3");
        let why = |key: &str| request.metadata().get(key).unwrap().to_str().unwrap();
        assert_eq!(why("ganger-cause-message"), "12");
        assert_eq!(why("ganger-on-behalf-of"), "carol");
        assert!(!format!("{request:?}").contains("s3cret"));
    }

    #[test]
    fn another_team_is_spoken_in_without_incarnation_and_address_in_the_first() {
        for member in ["alice/3", "alice@red", "alice@red/3"] {
            let mut caller = Caller {
                metadata: vec![
                    (TEAM_KEY, "red".parse().unwrap()),
                    (MEMBER_KEY, member.parse().unwrap()),
                    (BEHALF_KEY, "carol@red".parse().unwrap()),
                ],
            };

            caller.speak_in("blue".parse().unwrap());

            let request = caller.call(Request::new(())).unwrap();
            let said = |key: &str| request.metadata().get(key).unwrap().clone();
            assert_eq!(request.metadata().get_all(TEAM_KEY).iter().count(), 1);
            assert_eq!(said(TEAM_KEY), "blue");
            assert_eq!(said(MEMBER_KEY), "alice");
            assert_eq!(said(BEHALF_KEY), "carol");
        }
    }

    #[test]
    fn second_try_waits_as_asked_but_not_for_long() {
        use tonic_types::{ErrorDetails, StatusExt as _};
        let asked = |delay| {
            let details = ErrorDetails::with_retry_info(Some(delay));
            Status::with_error_details(Code::Unavailable, "starting", details)
        };

        assert_eq!(retry_pause(&Status::unavailable("")), Some(RETRY_PAUSE));
        assert_eq!(
            retry_pause(&asked(Duration::from_secs(1))),
            Some(Duration::from_secs(1))
        );
        assert_eq!(retry_pause(&asked(Duration::from_secs(60))), None);
    }

    #[test]
    fn verdicts_are_not_asked_for_twice() {
        assert!(is_broken(&Status::unavailable("")));
        assert!(is_broken(&Status::from_error(Box::new(io::Error::other(
            "gone"
        )))));
        assert!(!is_broken(&Status::internal("")));
        assert!(!is_broken(&Status::aborted("")));
    }
}
