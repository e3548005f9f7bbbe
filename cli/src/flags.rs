//! Flags that several verbs share.

use std::{collections::HashMap, time::Duration};

use ganger_proto::v1;

use crate::{client, failure::Failure, input, values};

/// By what a call is known again.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RequestId {
    /// The same call again with the same UUID answers the first outcome
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

impl RequestId {
    /// Whether one was said.
    pub fn is_said(&self) -> bool {
        self.request_id.is_some()
    }

    /// What was said, else a new one.
    pub fn or_new(self) -> String {
        self.request_id.unwrap_or_else(client::request_id)
    }

    /// One that was said.
    #[cfg(test)]
    pub fn said(id: &str) -> Self {
        Self {
            request_id: Some(id.into()),
        }
    }
}

/// What a change is made on condition of.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Expected {
    /// The revision that the task must have
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub expected_revision: u64,
}

/// The claim that the caller goes by.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Attempt {
    /// The attempt that your claim began; refused where the task has another by now
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub attempt: i32,
}

/// How long a claim holds.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Lease {
    /// How long the claim holds while you are silent [default: 30m]
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    lease: Option<Duration>,
    /// Hold the task until it is ended or released, however long you are silent
    #[arg(long, conflicts_with = "lease")]
    pub no_lease: bool,
}

impl Lease {
    /// The span as the wire has it.
    pub fn span(&self) -> Option<pbjson_types::Duration> {
        self.lease.map(values::wire_span)
    }
}

/// Where a task may run, and how many of its children at once.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Placing {
    /// A label that the worker must have, with this value; may be repeated
    #[arg(long = "worker-label", value_name = "KEY=VALUE", value_parser = values::pair)]
    worker_labels: Vec<(String, String)>,
    /// How many of its children workers run at once at the most; 0 for no bound
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub window: i32,
    /// Go on when the task that it is part of is cancelled, or what hired it ends
    #[arg(long)]
    pub outlive_parent: bool,
    /// Wait for all that is part of this task; make its parts first
    #[arg(
        long,
        value_name = "TASK",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub joins: u64,
}

impl Placing {
    /// The labels as the wire has them.
    pub fn worker_labels(&self) -> HashMap<String, String> {
        self.worker_labels.iter().cloned().collect()
    }
}

/// When and how often an agent's own failure is tried again.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Retry {
    /// How many attempts in all, where the agent itself fails [default: one]
    #[arg(long, value_name = "N")]
    max_attempts: Option<i32>,
    /// The longest wait before the second attempt; it doubles [default: 1s]
    #[arg(long, value_name = "SPAN", value_parser = values::span, requires = "max_attempts")]
    backoff: Option<Duration>,
    /// The longest wait of all [default: 5m]
    #[arg(long, value_name = "SPAN", value_parser = values::span, requires = "max_attempts")]
    backoff_max: Option<Duration>,
}

impl Retry {
    /// The policy, where one was said.
    pub fn policy(&self) -> Option<v1::RetryPolicy> {
        Some(v1::RetryPolicy {
            max_attempts: self.max_attempts?,
            initial_backoff: self.backoff.map(values::wire_span),
            max_backoff: self.backoff_max.map(values::wire_span),
        })
    }
}

/// A long text that stands on the line or in a file.
///
/// # Errors
/// Where the file can't be read.
pub fn text_or_file(
    text: Option<String>,
    file: Option<&std::path::Path>,
) -> Result<Option<String>, Failure> {
    match file {
        Some(path) => input::read_text(path).map(Some),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct All {
        #[command(flatten)]
        lease: Lease,
        #[command(flatten)]
        retry: Retry,
        #[command(flatten)]
        id: RequestId,
    }

    fn parse(line: &str) -> Result<All, clap::Error> {
        All::try_parse_from(line.split(' '))
    }

    #[test]
    fn retries_and_leases_are_as_said_and_unset_otherwise() {
        let all = parse("x --lease 90s --max-attempts 3 --backoff 500ms").unwrap();
        assert_eq!(all.lease.span().unwrap().seconds, 90);
        let policy = all.retry.policy().unwrap();
        assert_eq!(policy.max_attempts, 3);
        assert_eq!(policy.initial_backoff.unwrap().nanos, 500_000_000);
        assert_eq!(policy.max_backoff, None);

        let none = parse("x").unwrap();
        assert_eq!(none.lease.span(), None);
        assert_eq!(none.retry.policy(), None);
        assert_eq!(none.id.or_new().len(), 36);
    }

    #[test]
    fn backoff_without_attempts_and_both_kinds_of_lease_are_wrong_usage() {
        assert!(parse("x --backoff 1s").is_err());
        assert!(parse("x --lease 1s --no-lease").is_err());
    }
}
