//! What to do next, by the reason of a refusal, else by its code.

use tonic::Code;

use super::Refused;

/// Nobody listens there.
pub fn no_coordinator(addr: &str) -> String {
    if addr == crate::config::ADDR_DEFAULT {
        "start one with `ganger up`".into()
    } else {
        "start one with `ganger up`, or name another with --addr (GANGER_ADDR)".into()
    }
}

/// The coordinator said no. Its own advice speaks of the API; where this tool has a verb for it,
/// that is named instead.
pub fn refused(refused: &Refused) -> Option<String> {
    let task = refused.fact("task").unwrap_or("ID");
    let next = match refused.reason.as_deref() {
        Some("TEAM_NOT_FOUND") => {
            "see `ganger team list`, or make it with `ganger team create`".into()
        }
        Some("TEAM_ACTIVE") => {
            "wait for what runs with `ganger task wait`, or repeat with --force to stop it".into()
        }
        Some("MEMBER_NOT_FOUND") => {
            "see the roster with `ganger member list`; speak as another with --member".into()
        }
        Some("MEMBER_ACTIVE") => {
            "ask it to leave with `ganger mail shutdown`, or repeat with --force to stop what it runs"
                .into()
        }
        Some("MAILBOX_FULL") => {
            "its owner must take mail out first: `ganger mail receive --ack`".into()
        }
        Some("REVISION_GONE") => {
            "see from which revision on events are kept with `ganger team show`, and watch --after \
             that one"
                .into()
        }
        Some("ATTEMPT_STALE") => format!(
            "somebody else began another attempt; see `ganger task history {task}`, and claim it \
             anew"
        ),
        Some("TASK_NOT_FOUND") => {
            "see `ganger task list`; another team is named with --team".into()
        }
        Some("AGENT_TYPE_UNKNOWN") => {
            "see what workers offer with `ganger fleet types`; start one with `ganger worker`"
                .into()
        }
        Some("TASK_BLOCKED") => {
            format!("finish its open blockers first; see them with `ganger task show {task}`")
        }
        Some("TASK_HELD") => format!("see who holds it with `ganger task show {task}`"),
        Some("TASK_RUNNING") => {
            format!("stop it with `ganger task cancel {task}`, or repeat with --stop-running")
        }
        Some("TASK_OVER") => {
            format!("it stays as it ended; see it with `ganger task show {task}`")
        }
        Some("REVISION_MISMATCH") => format!(
            "look at it with `ganger task show {task}`, and repeat with its present revision"
        ),
        Some("REQUEST_ID_REUSED") => "leave --request-id out, or give a new one".into(),
        Some("PROMPT_MISSING") => "say what to run with --prompt or --prompt-file".into(),
        Some("NOT_OWNER") => "speak as its owner with --member, or as the lead without".into(),
        Some("TOKEN_INVALID") => token(),
        _ => return refused.advice.clone().or_else(|| by_code(refused)),
    };
    Some(next)
}

fn token() -> String {
    "give the fleet token with --token-file (GANGER_TOKEN_FILE): the file that the coordinator \
     was started with"
        .into()
}

fn by_code(refused: &Refused) -> Option<String> {
    let next = match refused.code {
        Code::Unauthenticated => return Some(token()),
        Code::Unavailable | Code::ResourceExhausted => "try again a little later",
        Code::Internal => "see the coordinator's log",
        Code::Unimplemented => {
            "the coordinator is of another version; compare `ganger fleet status` with \
             `ganger --version`"
        }
        Code::DeadlineExceeded => "it may still happen; look with `ganger task list`",
        _ => return None,
    };
    Some(next.into())
}
