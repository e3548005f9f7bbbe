//! Why a verb didn't do what was asked, what to do next, and the exit code that says it.

use std::{io, process::ExitCode};

use owo_colors::Style;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    config::ConfigError,
    output::{paint, safe_line},
};

mod hint;

/// The exit codes, as `--help` tells them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed
  2    wrong usage
  3    the task failed, or somebody else cancelled it
  4    not found
  5    conflict: exists already, not in the right state, changed since
  69   no coordinator, or it can't serve right now
  75   what is waited for wants something of you first
  124  timed out
  130  interrupted";

/// How a verb ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked is done.
    Done = 0,
    /// It is not.
    Failed = 1,
    /// It was asked in the wrong way.
    Usage = 2,
    /// The task that was waited for failed.
    TaskFailed = 3,
    /// There is no such thing.
    NotFound = 4,
    /// Things stand otherwise.
    Conflict = 5,
    /// Nobody answers.
    Unavailable = 69,
    /// Somebody has to do something before it can go on.
    Wanted = 75,
    /// It took too long.
    TimedOut = 124,
    /// Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was asked in the wrong way.
    #[error("{0}")]
    Usage(String),
    /// Nobody listens.
    #[error("no coordinator at {addr}")]
    NoCoordinator {
        /// Where.
        addr: String,
        /// What came instead.
        cause: String,
    },
    /// The coordinator said no.
    #[error("{}", .0.message)]
    Refused(Box<Refused>),
    /// The wait is over; what was asked for may still happen.
    #[error("no answer within {waited}")]
    WaitOver {
        /// How long it was.
        waited: String,
        /// How to see whether it happened, where that is known.
        next: Option<String>,
    },
    /// Nothing like it on this side.
    #[error("{what}")]
    Local {
        /// What didn't work.
        what: String,
        /// What to do about it, where that is known.
        next: Option<String>,
    },
    /// A configuration file can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Stdout is gone.
    #[error("can't write the answer: {0}")]
    Stdout(#[from] io::Error),
}

/// The coordinator's no, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The code of gRPC.
    pub code: Code,
    /// In words.
    pub message: String,
    /// The stable reason, such as `TASK_BLOCKED`.
    pub reason: Option<String>,
    /// The facts that came with it, by name.
    pub facts: Vec<(String, String)>,
    /// Fields of the request that are wrong, and why.
    pub fields: Vec<(String, String)>,
    /// What the coordinator advises.
    pub advice: Option<String>,
}

impl Failure {
    /// Something on this side didn't work.
    pub fn local(what: impl Into<String>) -> Self {
        Self::Local {
            what: what.into(),
            next: None,
        }
    }

    /// Something on this side didn't work, and this is what to do about it.
    pub fn local_next(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Local {
            what: what.into(),
            next: Some(next.into()),
        }
    }

    /// The exit code that says it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Config(_) => Exit::Usage,
            Self::NoCoordinator { .. } => Exit::Unavailable,
            Self::Refused(refused) => refused.exit(),
            Self::WaitOver { .. } => Exit::TimedOut,
            Self::Local { .. } => Exit::Failed,
            // Whoever read the answer has seen enough: `ganger task list | head`.
            Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Stdout(_) => Exit::Failed,
        }
    }

    /// What to do next, where that is known.
    pub fn next(&self) -> Option<String> {
        match self {
            Self::NoCoordinator { addr, .. } => Some(hint::no_coordinator(addr)),
            Self::Refused(refused) => hint::refused(refused),
            Self::WaitOver { next, .. } => next
                .clone()
                .or_else(|| Some("it may still happen; look with `ganger task list`".into())),
            Self::Local { next, .. } => next.clone(),
            Self::Usage(_) => Some("see `ganger help`".into()),
            Self::Config(_) | Self::Stdout(_) => None,
        }
    }

    /// The failure as it stands on stderr: what, the facts, what next.
    pub fn text(&self) -> String {
        let style = Style::new();
        let mut text = format!(
            "{} {}",
            paint("error:", style.red().bold()),
            safe_line(&self.to_string())
        );
        let mut fact = |name: &str, value: &str| {
            text.push_str(&format!("\n  {}: {}", safe_line(name), safe_line(value)));
        };
        match self {
            Self::NoCoordinator { cause, .. } => fact("cause", cause),
            Self::Refused(refused) => {
                if let Some(reason) = &refused.reason {
                    fact("reason", reason);
                }
                for (name, value) in &refused.facts {
                    fact(name, value);
                }
                for (name, value) in &refused.fields {
                    // Often the message itself.
                    if *value != refused.message {
                        fact(name, value);
                    }
                }
            }
            _ => {}
        }
        if let Some(next) = self.next() {
            text.push_str(&format!(
                "\n{} {}",
                paint("next:", style.bold()),
                safe_line(&next)
            ));
        }
        text
    }

    /// The failure as an object for programs, on stderr too.
    pub fn json(&self) -> serde_json::Value {
        let mut error = serde_json::json!({
            "message": self.to_string(),
            "exitCode": self.exit() as u8,
        });
        if let Self::Refused(refused) = self {
            let object = |pairs: &[(String, String)]| -> serde_json::Value {
                pairs
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone().into()))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            };
            error["code"] = code_name(refused.code).into();
            error["reason"] = refused.reason.clone().into();
            error["metadata"] = object(&refused.facts);
            error["fields"] = object(&refused.fields);
        }
        if let Some(next) = self.next() {
            error["next"] = next.into();
        }
        serde_json::json!({ "error": error })
    }
}

impl Refused {
    /// A fact by its name.
    pub fn fact(&self, name: &str) -> Option<&str> {
        let mut facts = self.facts.iter();
        facts.find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }

    fn exit(&self) -> Exit {
        match self.code {
            Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
            Code::NotFound => Exit::NotFound,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Conflict,
            Code::Unavailable => Exit::Unavailable,
            Code::DeadlineExceeded => Exit::TimedOut,
            _ => Exit::Failed,
        }
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let mut facts: Vec<(String, String)> = info
            .map(|info| info.metadata.clone().into_iter().collect())
            .unwrap_or_default();
        facts.sort();
        let advice = facts.iter().position(|(name, _)| name == "next");
        let advice = advice.map(|at| facts.remove(at).1);
        if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
            facts.push(("retry_after".into(), crate::output::words::span(delay)));
        }
        let message = match status.message() {
            "" => code_name(status.code()).to_lowercase(),
            message => message.to_owned(),
        };
        Self {
            code: status.code(),
            message,
            reason: info.map(|info| info.reason.clone()),
            facts,
            fields: details
                .bad_request()
                .map(|bad| {
                    let violations = bad.field_violations.iter();
                    violations
                        .map(|field| (field.field.clone(), field.description.clone()))
                        .collect()
                })
                .unwrap_or_default(),
            advice,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status.into()))
    }
}

/// The code's name as the contract writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests;
