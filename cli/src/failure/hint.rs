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
    let reason = refused.reason.as_deref().unwrap_or_default();
    of_tasks(reason, refused)
        .or_else(|| of_people(reason, refused))
        .or_else(|| of_calls(reason))
        .or_else(|| refused.advice.clone())
        .or_else(|| by_code(refused))
}

/// The board is in the way.
fn of_tasks(reason: &str, refused: &Refused) -> Option<String> {
    let task = refused.fact("task").unwrap_or("ID");
    Some(match reason {
        "TASK_NOT_FOUND" => "see `ganger task list`; another team is named with --team".into(),
        "TASK_EXPIRED" => {
            "finished tasks are kept for a time: tasks_kept and tasks_kept_for of the coordinator"
                .into()
        }
        "TASK_BLOCKED" => {
            format!("finish its open blockers first; see them with `ganger task show {task}`")
        }
        "TASK_HELD" => format!("see who holds it with `ganger task show {task}`"),
        "TASK_NOT_HELD" => format!("claim it first: `ganger task claim {task}`"),
        "TASK_RUNNING" => {
            format!("stop it with `ganger task cancel {task}`, or repeat with --stop-running")
        }
        "TASK_PAUSED" => format!("let it go on with `ganger task resume {task}`"),
        "TASK_OPEN" => format!("it is not over; change it with `ganger task update {task}`"),
        "TASK_OVER" => format!(
            "it stays as it ended; see it with `ganger task show {task}`, open it again with \
             `ganger task reopen {task}`"
        ),
        "TASK_HAS_CHILDREN" => {
            format!("delete its children first: `ganger task list --parent {task}`")
        }
        "REVISION_MISMATCH" => format!(
            "look at it with `ganger task show {task}`, and repeat with its present revision"
        ),
        "ATTEMPT_STALE" if refused.fact("task").is_some() => {
            format!("your claim is over; see `ganger task history {task}`, and claim it anew")
        }
        "AGENT_TYPE_UNKNOWN" => {
            "see what workers offer with `ganger fleet types`; start one with `ganger worker`"
                .into()
        }
        "PROMPT_MISSING" => "say what to run with --prompt or --prompt-file".into(),
        _ => return None,
    })
}

/// The roster or a mailbox is in the way.
fn of_people(reason: &str, refused: &Refused) -> Option<String> {
    Some(match reason {
        "TEAM_NOT_FOUND" => "see `ganger team list`, or make it with `ganger team create`".into(),
        "TEAM_DISSOLVED" => {
            "see `ganger team list --all`; its name is free: `ganger team create`".into()
        }
        "TEAM_ACTIVE" => {
            "wait for what runs with `ganger task wait`, or repeat with --force to stop it".into()
        }
        "MEMBER_NOT_FOUND" => {
            "see the roster with `ganger member list`; speak as another with --member".into()
        }
        "MEMBER_ACTIVE" => {
            "ask it to leave with `ganger mail shutdown`, or repeat with --force to stop what it runs"
                .into()
        }
        "MEMBER_LEADS" => "hand the lead over first with `ganger team hand-over`".into(),
        "LEAD_ONLY" => "speak as the lead, who is meant without --member".into(),
        "NOT_OWNER" => "speak as its owner with --member, or as the lead without".into(),
        "PLAN_NOT_APPROVED" => {
            "ask the lead to approve your plan: `ganger mail plan`".into()
        }
        "NOT_ASKED" => {
            "see what is asked with `ganger mail receive`, and answer by message id: `ganger mail \
             answer`, `approve` or `reject`"
                .into()
        }
        "MAILBOX_FULL" => format!(
            "{} must take mail out first: `ganger mail receive --ack`",
            refused.fact("member").unwrap_or("its owner")
        ),
        "MAILBOX_SHARE_FULL" => format!(
            "put several messages into one, or wait until {} takes some out: `ganger mail receive --ack`",
            refused.fact("member").unwrap_or("its owner")
        ),
        "REVISION_GONE" => {
            let oldest = refused.fact("oldest_revision")?.parse::<u64>().ok()?;
            format!(
                "see what is kept with `ganger watch --after {}`",
                oldest.saturating_sub(1)
            )
        }
        _ => return None,
    })
}

/// The call itself is.
fn of_calls(reason: &str) -> Option<String> {
    match reason {
        "REQUEST_ID_REUSED" => Some("leave --request-id out, or give a new one".into()),
        "TOKEN_INVALID" => Some(token()),
        _ => None,
    }
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
