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

/// The coordinator said no.
pub fn refused(refused: &Refused) -> Option<String> {
    let fact = |name: &str| {
        let mut facts = refused.facts.iter();
        facts.find_map(|(known, value)| (known == name).then_some(value.as_str()))
    };
    let task = fact("task")
        .or(fact("task_id"))
        .map(|id| id.trim_start_matches('#'));
    let look = match task {
        Some(id) => format!("`ganger task show {id}`"),
        None => "`ganger task show ID`".into(),
    };
    let next = match refused.reason.as_deref() {
        Some("TEAM_UNKNOWN") => "see `ganger team list`, or make it with `ganger team create`".into(),
        Some("MEMBER_UNKNOWN" | "INCARNATION_STALE") => {
            "see the roster with `ganger team show`; speak as another with --member".into()
        }
        Some("TASK_UNKNOWN" | "REFERENCE_UNKNOWN") => {
            "see `ganger task list`; another team is named with --team".into()
        }
        Some("AGENT_TYPE_UNKNOWN" | "NO_WORKER_FOR_TYPE") => {
            "see what workers offer with `ganger fleet types`; start one with `ganger worker`".into()
        }
        Some("TASK_BLOCKED") => format!("finish its open blockers first; see them with {look}"),
        Some("TASK_HELD") => format!("see who holds it with {look}"),
        Some("TASK_RUNNING") => match task {
            Some(id) => format!("stop it with `ganger task cancel {id}`, or repeat with --stop-running where that is offered"),
            None => "stop it with `ganger task cancel ID`, or repeat with --stop-running where that is offered".into(),
        },
        Some("TASK_OVER" | "LATE_ENDING") => format!("it stays as it ended; see it with {look}"),
        Some("REVISION_MISMATCH") => format!("look at it with {look}, and repeat with its present revision"),
        Some("REQUEST_ID_REUSED") => "leave --request-id out, or give a new one".into(),
        Some("PROMPT_MISSING") => "say what to run with --prompt or --prompt-file".into(),
        Some("NOT_OWNER" | "LEAD_ONLY") => "speak as the one who may with --member".into(),
        Some("DISK_LOW") => "free space on the coordinator's disk; see `ganger fleet status`".into(),
        _ => return by_code(refused),
    };
    Some(next)
}

fn by_code(refused: &Refused) -> Option<String> {
    let next = match refused.code {
        Code::Unauthenticated => {
            "give the fleet token with --token-file (GANGER_TOKEN_FILE): the file the coordinator was started with"
        }
        Code::Unavailable | Code::ResourceExhausted => "try again a little later",
        Code::Internal => "see the coordinator's log for the reference above",
        Code::Unimplemented => {
            "the coordinator is of another version; compare with `ganger --version`"
        }
        Code::DeadlineExceeded => "it may still happen; look with `ganger task list`",
        _ => return None,
    };
    Some(next.into())
}
