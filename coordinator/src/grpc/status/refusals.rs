//! The tables: which code and reason each refusal of the board has, and what can be done about it.

use std::time::SystemTime;

use board::{
    id::TaskId,
    refusal::{Offering, Refusal},
    time::Time,
};
use tonic::Code;

use super::Error;

/// Ids that one fact names. A list of a million tasks is to be had elsewhere.
const IDS_MAX: usize = 32;

/// What to do about a task that expired.
const DO_WITHOUT: &str = "do without it: finished tasks are kept for a time (tasks_kept and \
                          tasks_kept_for of the coordinator); the team's events may still name it";

/// Ids, the first of them where there are many: `1,2,…`.
fn ids(ids: &[TaskId]) -> String {
    let shown = ids.iter().take(IDS_MAX).map(ToString::to_string);
    let more = (ids.len() > IDS_MAX).then(|| "…".to_owned());
    shown.chain(more).collect::<Vec<_>>().join(",")
}

/// A moment as `2026-11-30T08:00:00Z`.
fn moment(at: Time) -> String {
    let at = SystemTime::UNIX_EPOCH + at.since(Time(0));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The code, the reason and the facts of a refusal.
pub(super) fn facts_of(refusal: &Refusal) -> Error {
    of_field(refusal)
        .or_else(|| of_edge(refusal))
        .or_else(|| of_roster(refusal))
        .or_else(|| of_team(refusal))
        .or_else(|| of_mail(refusal))
        .or_else(|| of_type(refusal))
        .or_else(|| of_task(refusal))
        .or_else(|| of_hold(refusal))
        .or_else(|| of_sub_agent(refusal))
        .or_else(|| of_room(refusal))
        .unwrap_or_else(|| {
            // The compiler can't see that the tables have everything; a test does.
            Error::new(Code::FailedPrecondition, "REFUSED", "see the message")
        })
}

fn of_field(refusal: &Refusal) -> Option<Error> {
    let invalid = |reason, next| Error::new(Code::InvalidArgument, reason, next);
    Some(match refusal {
        Refusal::Blank { field } => {
            invalid("FIELD_BLANK", "say something in this field").fact("field", field)
        }
        Refusal::TooLong {
            field,
            len,
            max,
            unit,
        } => invalid("FIELD_TOO_LONG", "shorten it, or upload it as an artifact")
            .fact("field", field)
            .fact("length", len)
            .fact("max", max)
            .fact("unit", unit),
        Refusal::TooMany { field, count, max } => invalid("TOO_MANY", "give fewer")
            .fact("field", field)
            .fact("count", count)
            .fact("max", max),
        Refusal::BadName { field, text, why } => invalid("NAME_INVALID", "choose another name")
            .fact("field", field)
            .fact("text", text)
            .fact("why", why),
        Refusal::BadValue { field, why } => invalid("VALUE_INVALID", "correct this field")
            .fact("field", field)
            .fact("why", why),
        Refusal::CommandTooLarge { size, max, unit } => {
            invalid("COMMAND_TOO_LARGE", "do it in several calls")
                .fact("size", size)
                .fact("max", max)
                .fact("unit", unit)
        }
        _ => return None,
    })
}

fn of_edge(refusal: &Refusal) -> Option<Error> {
    let invalid = |reason, next| Error::new(Code::InvalidArgument, reason, next);
    Some(match refusal {
        Refusal::SelfEdge { field, task } => invalid("EDGE_TO_SELF", "name another task")
            .fact("field", field)
            .fact("task", task),
        Refusal::Cycle { field, path } => {
            let next = "remove one of the edges on the path first";
            invalid("EDGE_CYCLE", next)
                .fact("field", field)
                .fact("path", ids(path))
        }
        Refusal::ReferenceUnknown { field, task, team } => {
            let next = "list the team's tasks with TaskService/ListTasks";
            Error::new(Code::NotFound, "TASK_NOT_FOUND", next)
                .fact("field", field)
                .fact("task", task)
                .fact("team", team)
        }
        _ => return None,
    })
}

fn of_roster(refusal: &Refusal) -> Option<Error> {
    let unknown = |reason, next| Error::new(Code::NotFound, reason, next);
    let exists = |reason, next| Error::new(Code::AlreadyExists, reason, next);
    let denied = |reason, next| Error::new(Code::PermissionDenied, reason, next);
    Some(match refusal {
        Refusal::TeamUnknown { team } => {
            let next = "list the teams with TeamService/ListTeams, or make it with CreateTeam";
            unknown("TEAM_NOT_FOUND", next).fact("team", team)
        }
        Refusal::MemberUnknown { member, team } => {
            let next = "list the members with TeamService/ListMembers";
            unknown("MEMBER_NOT_FOUND", next)
                .fact("member", member)
                .fact("team", team)
        }
        Refusal::TaskUnknown {
            task,
            team,
            was_deleted,
        } => {
            let next = "list the team's tasks with TaskService/ListTasks";
            unknown("TASK_NOT_FOUND", next)
                .fact("task", task)
                .fact("team", team)
                .fact("was_deleted", was_deleted)
        }
        Refusal::TaskExpired { task, team } => unknown("TASK_EXPIRED", DO_WITHOUT)
            .fact("task", task)
            .fact("team", team),
        Refusal::ReferenceExpired { field, task, team } => unknown("TASK_EXPIRED", DO_WITHOUT)
            .fact("field", field)
            .fact("task", task)
            .fact("team", team),
        Refusal::IncarnationStale {
            member,
            wanted,
            present,
        } => {
            let next = "stop: somebody else has this name now";
            Error::new(Code::Aborted, "INCARNATION_STALE", next)
                .fact("member", member)
                .fact("wanted", wanted)
                .fact("present", present)
        }
        Refusal::TeamExists { team } => {
            let next = "use the team that is there, or choose another name";
            exists("TEAM_EXISTS", next).fact("team", team)
        }
        Refusal::MemberExists { member } => {
            exists("MEMBER_EXISTS", "choose another name").fact("member", member)
        }
        Refusal::RequestIdReused => exists(
            "REQUEST_ID_REUSED",
            "use a new request id for a new request",
        ),
        Refusal::LeadOnly { action, member } => denied("LEAD_ONLY", "ask the lead to do it")
            .fact("action", action)
            .fact("member", member),
        Refusal::NotOwner {
            task,
            owner,
            member,
        } => {
            let next = "claim the task if it is free, or ask its owner or the lead";
            denied("NOT_OWNER", next)
                .fact("task", task)
                .fact("owner", owner.as_ref().map_or("", |owner| owner.as_str()))
                .fact("member", member)
        }
        _ => return None,
    })
}

fn of_type(refusal: &Refusal) -> Option<Error> {
    let invalid = |reason, next| Error::new(Code::InvalidArgument, reason, next);
    Some(match refusal {
        Refusal::AgentTypeUnknown {
            agent_type,
            known,
            now: _,
        } => {
            let named = |is_it: fn(Offering) -> bool| -> String {
                let known = known.iter().filter(|known| is_it(known.offering));
                let names: Vec<&str> = known.map(|known| known.name.as_str()).collect();
                names.join(",")
            };
            let seen = known.iter().filter_map(|known| match known.offering {
                Offering::Seen(at) => Some(format!("{} {}", known.name, moment(at))),
                Offering::Now | Offering::Expected => None,
            });
            let seen: Vec<String> = seen.collect();
            let next = "use a type on offer, start a worker that offers this one, or start the \
                        coordinator with --expect-type";
            Error::new(Code::FailedPrecondition, "AGENT_TYPE_UNKNOWN", next)
                .fact("agent_type", agent_type)
                .fact("on_offer", named(|offering| offering == Offering::Now))
                .fact("expected", named(|offering| offering == Offering::Expected))
                .fact("last_seen", seen.join(","))
        }
        Refusal::PromptMissing { agent_type } => {
            invalid("PROMPT_MISSING", "give the command to run as the prompt")
                .fact("field", "prompt")
                .fact("agent_type", agent_type)
        }
        Refusal::AgentTypeMissing { owner } => {
            let next = "name one of the worker's agent types: see FleetService/ListWorkers";
            invalid("AGENT_TYPE_MISSING", next)
                .fact("field", "agent_type")
                .fact("owner", owner)
        }
        _ => return None,
    })
}

fn of_task(refusal: &Refusal) -> Option<Error> {
    let failed = |reason, next| Error::new(Code::FailedPrecondition, reason, next);
    let aborted = |reason, next| Error::new(Code::Aborted, reason, next);
    Some(match refusal {
        Refusal::TaskBlocked { task, blockers } => {
            failed("TASK_BLOCKED", "wait for the blockers, or remove the edges")
                .fact("task", task)
                .fact("blockers", ids(blockers))
        }
        Refusal::TaskOrphaned { task, parent } => {
            let next = "reopen the parent first, or make a task that outlives it";
            failed("TASK_ORPHANED", next)
                .fact("task", task)
                .fact("parent", parent)
        }
        Refusal::TaskHeld { task, holder } => {
            let next = "choose another task; the lead may take it away with stop_running";
            failed("TASK_HELD", next)
                .fact("task", task)
                .fact("holder", holder)
        }
        Refusal::TaskRunning {
            task,
            worker,
            attempt,
        } => failed(
            "TASK_RUNNING",
            "wait for its end, cancel it, or say stop_running",
        )
        .fact("task", task)
        .fact("worker", worker)
        .fact("attempt", attempt),
        Refusal::TaskOver { task, status } => failed("TASK_OVER", "make a new task for more work")
            .fact("task", task)
            .fact("status", status.word()),
        Refusal::LateEnding { task, status } => {
            aborted("TASK_OVER", "take the task as it is: its first end stands")
                .fact("task", task)
                .fact("status", status.word())
        }
        Refusal::StatusBackward { task, from, to } => {
            failed("STATUS_BACKWARD", "a status only moves forward")
                .fact("task", task)
                .fact("from", from.word())
                .fact("to", to.word())
        }
        Refusal::RevisionMismatch {
            task,
            expected,
            actual,
        } => {
            let next = "look at the task as it is now, which is attached, and decide again";
            aborted("REVISION_MISMATCH", next)
                .fact("task", task)
                .fact("expected", expected)
                .fact("actual", actual)
        }
        Refusal::Stale { why } => {
            let next = "stop this attempt: it does not count any more";
            aborted("ATTEMPT_STALE", next).fact("why", why)
        }
        _ => return None,
    })
}

fn of_hold(refusal: &Refusal) -> Option<Error> {
    let failed = |reason, next| Error::new(Code::FailedPrecondition, reason, next);
    Some(match refusal {
        Refusal::TaskNotHeld { task } => {
            failed("TASK_NOT_HELD", "claim the task first").fact("task", task)
        }
        Refusal::TaskOpen { task, status } => failed(
            "TASK_OPEN",
            "only what is over can be opened again: change the task",
        )
        .fact("task", task)
        .fact("status", status.word()),
        Refusal::TaskPaused { task, reason } => {
            failed("TASK_PAUSED", "resume it with DelegationService/ResumeTask")
                .fact("task", task)
                .fact("why", reason)
        }
        Refusal::TaskNotPaused { task } => {
            failed("TASK_NOT_PAUSED", "leave it: it is not held").fact("task", task)
        }
        Refusal::TaskHasChildren { task, children } => failed(
            "TASK_HAS_CHILDREN",
            "delete the children first, or cancel the task",
        )
        .fact("task", task)
        .fact("children", ids(children)),
        Refusal::AttemptOver {
            task,
            expected,
            actual,
        } => {
            let next =
                "stop: the claim is over; look at the task, and claim it again if it is free";
            Error::new(Code::Aborted, "ATTEMPT_STALE", next)
                .fact("task", task)
                .fact("expected", expected)
                .fact("actual", actual)
        }
        _ => return None,
    })
}

fn of_room(refusal: &Refusal) -> Option<Error> {
    let exhausted = |reason, next| Error::new(Code::ResourceExhausted, reason, next);
    Some(match refusal {
        Refusal::MailboxFull {
            member,
            count,
            bytes,
        } => {
            let next = "come again when the recipient has acknowledged some of its messages";
            exhausted("MAILBOX_FULL", next)
                .fact("member", member)
                .fact("count", count)
                .fact("bytes", bytes)
        }
        Refusal::MailboxShareFull {
            member,
            sender,
            count,
            bytes,
        } => {
            let next = "come again when the recipient has acknowledged some of your messages, or \
                        put several into one";
            exhausted("MAILBOX_SHARE_FULL", next)
                .fact("member", member)
                .fact("sender", sender)
                .fact("count", count)
                .fact("bytes", bytes)
                .fact("max", board::limits::MAILBOX_SHARE_MESSAGES_MAX)
                .fact("bytes_max", board::limits::MAILBOX_SHARE_BYTES_MAX)
        }
        Refusal::AttemptTasksFull {
            task,
            attempt,
            agent_type,
            made,
            count,
            max,
        } => {
            let next = "go on with the tasks that are there, or set tasks_max for this agent type \
                        at its worker";
            exhausted("ATTEMPT_TASKS_FULL", next)
                .fact("task", task)
                .fact("attempt", attempt)
                .fact("agent_type", agent_type)
                .fact("made", made)
                .fact("count", count)
                .fact("max", max)
        }
        Refusal::DiskLow => {
            let next = "make room on the coordinator's disk; until then only endings, \
                        acknowledgements, cancels and deletes are taken";
            exhausted("DISK_LOW", next)
        }
        Refusal::ReadFailed { reference } => {
            Error::new(Code::Internal, "INTERNAL", super::INTERNAL_NEXT)
                .fact("reference", reference)
        }
        Refusal::Full { what, max } => {
            let next = "come again when there is less, or use another team";
            Error::new(Code::ResourceExhausted, "BOARD_FULL", next)
                .fact("what", what)
                .fact("max", max)
        }
        _ => return None,
    })
}

fn of_team(refusal: &Refusal) -> Option<Error> {
    let failed = |reason, next| Error::new(Code::FailedPrecondition, reason, next);
    Some(match refusal {
        Refusal::TeamOver { team } => {
            let next = "make a team of this name again with TeamService/CreateTeam";
            failed("TEAM_DISSOLVED", next).fact("team", team)
        }
        Refusal::TeamActive { team, tasks } => failed(
            "TEAM_ACTIVE",
            "wait for these tasks, cancel them, or say force",
        )
        .fact("team", team)
        .fact("count", tasks.len())
        .fact("tasks", ids(tasks)),
        Refusal::TeamPermanent { team } => {
            failed("TEAM_PERMANENT", "cancel or delete its tasks instead").fact("team", team)
        }
        Refusal::MemberActive { member, tasks } => failed(
            "MEMBER_ACTIVE",
            "wait for these tasks, cancel them, or say force",
        )
        .fact("member", member)
        .fact("count", tasks.len())
        .fact("tasks", ids(tasks)),
        Refusal::MemberLeads { member } => {
            let next = "hand the lead over first with TeamService/HandOverLead";
            failed("MEMBER_LEADS", next).fact("member", member)
        }
        Refusal::RevisionGone { after, oldest } => {
            let next = "list what there is now, and watch from the present revision";
            failed("REVISION_GONE", next)
                .fact("after_revision", after)
                .fact("oldest_revision", oldest)
        }
        _ => return None,
    })
}

fn of_mail(refusal: &Refusal) -> Option<Error> {
    let failed = |reason, next| Error::new(Code::FailedPrecondition, reason, next);
    Some(match refusal {
        Refusal::PlanNotApproved { member } => {
            let next = "send the lead a PLAN_APPROVAL_REQUEST, and wait for its response";
            failed("PLAN_NOT_APPROVED", next).fact("member", member)
        }
        Refusal::SelfRecipient { member } => {
            let next = "name another member: see TeamService/ListMembers";
            Error::new(Code::InvalidArgument, "RECIPIENT_SELF", next)
                .fact("field", "to")
                .fact("member", member)
        }
        Refusal::NotAsked { member } => {
            let next = "answer a request that is open, with its correlation id";
            failed("NOT_ASKED", next).fact("member", member)
        }
        _ => return None,
    })
}

fn of_sub_agent(refusal: &Refusal) -> Option<Error> {
    let hindered = |reason, next| Error::new(Code::FailedPrecondition, reason, next);
    Some(match refusal {
        Refusal::NotRunning { task, stands } => {
            let next = "look where the task stands with TaskService/ExplainTask";
            hindered("TASK_NOT_RUNNING", next)
                .fact("task", task)
                .fact("stands", stands)
        }
        Refusal::NotInteractive { agent_type } => {
            let next = "cancel the task and start it anew with what it should know";
            hindered("NOT_INTERACTIVE", next).fact("agent_type", agent_type)
        }
        Refusal::NoQuestion { task, present } => {
            let next = "answer the question that GetTask shows, or steer the task instead";
            let present = present.map_or_else(String::new, |number| number.to_string());
            hindered("NO_QUESTION", next)
                .fact("task", task)
                .fact("present", present)
        }
        Refusal::WouldDeadlock { task, why } => {
            let next = "start the task without waiting for it, or let it outlive this one";
            hindered("WOULD_DEADLOCK", next)
                .fact("task", task)
                .fact("why", why)
        }
        Refusal::TeamCreationRefused { agent_type } => {
            let next = "ask the lead to make the team, or set may_create_teams for this agent type \
                        at its worker, beside the tool";
            Error::new(Code::PermissionDenied, "TEAM_CREATION_REFUSED", next)
                .fact("agent_type", agent_type)
        }
        Refusal::HiringRefused {
            agent_type,
            depth,
            allowed,
        } => {
            let next = "do the work here, or set hiring_depth for this agent type at its worker";
            Error::new(Code::PermissionDenied, "HIRING_REFUSED", next)
                .fact("agent_type", agent_type)
                .fact("depth", depth)
                .fact("allowed", allowed)
        }
        _ => return None,
    })
}
