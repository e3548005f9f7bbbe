//! `ganger healthcheck`: whether a daemon serves, for images and probes.
//!
//! The exit codes are those of grpc_health_probe, so that it can take its place.

use std::time::Duration;

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    client::Client,
    context::Context,
    failure::{Exit, Failure},
};

/// How long the answer may take where `--timeout` doesn't say.
const SPAN: Duration = Duration::from_secs(1);

/// What to ask for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service: empty for the whole, `liveness`, `readiness`, or such as ganger.v1.TaskService
    #[arg(long, default_value = "")]
    pub service: String,
}

/// How a daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Serving,
    Unreachable,
    NoAnswer,
    NotServing,
}

impl From<Health> for Exit {
    fn from(health: Health) -> Self {
        // grpc_health_probe's numbers; what they mean elsewhere in this tool doesn't matter here.
        match health {
            Health::Serving => Self::Done,
            Health::Unreachable => Self::Usage,
            Health::NoAnswer => Self::TaskFailed,
            Health::NotServing => Self::NotFound,
        }
    }
}

/// Asks.
///
/// # Errors
/// Where the settings make no sense.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let span = context.settings.timeout.unwrap_or(SPAN);
    let (health, words) = match tokio::time::timeout(span, probe(&args.service, context)).await {
        Ok(answer) => answer?,
        Err(_) => (Health::NoAnswer, "no answer in time".to_owned()),
    };
    if health == Health::Serving {
        context
            .out
            .record(&serde_json::json!({"status": "SERVING"}), || Some(words))?;
    } else {
        anstream::eprintln!("{words}");
    }
    Ok(health.into())
}

async fn probe(service: &str, context: &Context) -> Result<(Health, String), Failure> {
    let client = match Client::connect(&context.settings).await {
        Ok(client) => client,
        Err(Failure::NoCoordinator { addr, cause }) => {
            return Ok((
                Health::Unreachable,
                format!("nobody answers at {addr}: {cause}"),
            ));
        }
        Err(failure) => return Err(failure),
    };
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(client.wire()).check(request).await;
    Ok(match answer {
        Ok(answer) => match answer.into_inner().status() {
            ServingStatus::Serving => (Health::Serving, "serving".into()),
            status => (Health::NotServing, status.as_str_name().to_lowercase()),
        },
        Err(status) => (Health::NoAnswer, status.message().to_owned()),
    })
}
