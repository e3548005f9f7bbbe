//! Calling the coordinator's tools for sub-agents, which have no way to it of their own.
//!
//! A coordinator that is away is waited for, and the same call made again: it has one request id, so it
//! counts once. While the worker's lease is over no call is made. Whoever calls bounds the wait by
//! dropping the future.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ganger_proto::{
    TEAM_KEY,
    v1::{self, CallToolRequest, tool_service_client::ToolServiceClient},
};
use serde_json::Value;
use tokio::{sync::watch, time::sleep};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
};
use tonic_types::StatusExt;

use self::json::{of_struct, to_struct};
use crate::{
    agent::talk::{Call, Outcome},
    clock,
    fence::Fence,
    limits::{FRAME_LEN_MAX, REDIAL_MAX, REDIAL_MIN},
    secrets::Secrets,
    session::{Caller, Door},
};

mod json;

/// The way to the coordinator's tools. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tools {
    client: ToolServiceClient<Caller>,
    secrets: Secrets,
    /// Until when the worker's lease holds.
    lease: Arc<watch::Sender<Option<Instant>>>,
}

impl Tools {
    /// Goes through a door of its own connection, which is opened when it is first wanted. No call is
    /// made before there is a lease.
    pub(crate) fn new(door: &Door, secrets: Secrets) -> Self {
        Self {
            secrets,
            client: ToolServiceClient::new(door.lazily()).max_decoding_message_size(FRAME_LEN_MAX),
            lease: Arc::new(watch::Sender::new(None)),
        }
    }

    /// The lease ends then.
    pub(crate) fn lease_ends(&self, until: Option<Instant>) {
        self.lease.send_if_modified(|known| {
            let is_news = *known != until;
            *known = until;
            is_news
        });
    }

    /// Calls a tool as an attempt's sub-agent.
    pub(crate) async fn call(&self, fence: &Fence, team: &str, call: &Call) -> Outcome {
        let message = CallToolRequest {
            name: call.name.clone(),
            arguments: Some(to_struct(call.arguments.clone())),
            request_id: uuid::Uuid::new_v4().to_string(),
        };
        let mut wait = REDIAL_MIN;
        loop {
            self.leased().await;
            match self.call_once(fence, team, message.clone()).await {
                Ok(answer) => return outcome(answer),
                Err(status) if is_away(&status) => {
                    tracing::debug!(
                        attempt = %fence, tool = call.name, status = status.message(), ?wait,
                        "a call waits for the coordinator"
                    );
                    wait = pause(wait).await;
                }
                Err(status) => return refusal(&status),
            }
        }
    }

    async fn call_once(
        &self,
        fence: &Fence,
        team: &str,
        message: CallToolRequest,
    ) -> Result<v1::CallToolResponse, Status> {
        let mut request = Request::new(message);
        self.secrets.sign(&mut request, fence)?;
        request.metadata_mut().insert(TEAM_KEY, value(team)?);
        let mut client = self.client.clone();
        Ok(client.call_tool(request).await?.into_inner())
    }

    /// Waits until the lease holds.
    async fn leased(&self) {
        let mut lease = self.lease.subscribe();
        let holds = |until: &Option<Instant>| until.is_some_and(|until| clock::now() < until);
        // This holds a sender itself, so that the wait can't fail.
        let _ = lease.wait_for(holds).await;
    }
}

async fn pause(wait: Duration) -> Duration {
    sleep(wait).await;
    (wait * 2).min(REDIAL_MAX)
}

fn value(text: &str) -> Result<MetadataValue<Ascii>, Status> {
    text.parse()
        .map_err(|_| Status::invalid_argument("what names the team is no plain text"))
}

/// What a broken connection looks like (UNKNOWN and CANCELLED come from the transport).
fn is_away(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled
    )
}

fn outcome(answer: v1::CallToolResponse) -> Outcome {
    let mut result = of_struct(answer.result.unwrap_or_default());
    if !answer.is_error {
        return Outcome::Result(Value::Object(result));
    }
    let mut take = |key: &str| match result.remove(key) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    // What a refusal says in words is all of it: what was wrong, and what is possible now.
    Outcome::Error {
        reason: take("reason"),
        message: answer.text,
    }
}

fn refusal(status: &Status) -> Outcome {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone());
    Outcome::Error {
        reason: reason.unwrap_or_else(|| format!("{:?}", status.code())),
        message: status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tonic_types::ErrorDetails;

    use super::*;

    fn answered(result: Value, text: &str, is_error: bool) -> Outcome {
        let Value::Object(result) = result else {
            panic!("a result is an object")
        };
        outcome(v1::CallToolResponse {
            result: Some(to_struct(result)),
            text: text.to_owned(),
            is_error,
        })
    }

    #[tokio::test]
    async fn no_call_is_made_while_there_is_no_lease() {
        let door = Door::new("http://127.0.0.1:9", None).unwrap();
        let tools = Tools::new(&door, Secrets::default());
        let is_leased = async || {
            tokio::select! {
                biased;
                () = tools.leased() => true,
                () = std::future::ready(()) => false,
            }
        };
        assert!(!is_leased().await, "none was given yet");

        tools.lease_ends(Some(clock::now() + Duration::from_secs(3_600)));
        assert!(is_leased().await);

        tools.lease_ends(Some(clock::now()));
        assert!(!is_leased().await, "it is over");
        let waiting = tools.leased();
        tools.lease_ends(Some(clock::now() + Duration::from_secs(3_600)));
        waiting.await;
    }

    #[test]
    fn a_refusal_of_a_tool_is_an_error_with_its_reason_and_its_words() {
        assert_eq!(
            answered(json!({"tasks": [1]}), "1 task", false),
            Outcome::Result(json!({"tasks": [1]}))
        );
        let refused = json!({"error": "it is blocked", "reason": "TASK_BLOCKED", "next": "wait"});
        assert_eq!(
            answered(refused, "it is blocked; wait", true),
            Outcome::Error {
                reason: "TASK_BLOCKED".into(),
                message: "it is blocked; wait".into(),
            }
        );
    }

    #[test]
    fn a_refusal_of_the_call_is_an_error_with_its_reason_or_its_code() {
        let details = ErrorDetails::with_error_info("ATTEMPT_STALE", "ganger.dev", []);
        let stale = Status::with_error_details(Code::Aborted, "it is over", details);

        for (status, reason) in [
            (stale, "ATTEMPT_STALE"),
            (Status::internal("it is over"), "Internal"),
        ] {
            assert_eq!(
                refusal(&status),
                Outcome::Error {
                    reason: reason.into(),
                    message: "it is over".into(),
                }
            );
        }
    }
}
