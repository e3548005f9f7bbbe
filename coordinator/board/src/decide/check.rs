//! Whether what was given can be taken: lengths, counts, blanks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    command::{NewMember, NewTask, Update},
    draft::Draft,
    id::TaskId,
    limits,
    refusal::Refusal,
    task::{Artifact, Retry},
    team::MemberKind,
};

pub(super) fn len(field: &'static str, text: &str, max: usize) -> Result<(), Refusal> {
    if text.len() > max {
        return Err(Refusal::TooLong {
            field,
            len: text.len(),
            max,
            unit: "bytes",
        });
    }
    Ok(())
}

pub(super) fn count(field: &'static str, count: usize, max: usize) -> Result<(), Refusal> {
    if count > max {
        return Err(Refusal::TooMany { field, count, max });
    }
    Ok(())
}

/// Refuses more open tasks than a team may have.
pub(super) fn open_tasks(count: usize) -> Result<(), Refusal> {
    if count > limits::TASKS_PER_TEAM_MAX {
        return Err(Refusal::Full {
            what: "open tasks in a team",
            max: limits::TASKS_PER_TEAM_MAX,
        });
    }
    Ok(())
}

/// Refuses what would write more than one commit may hold.
pub(super) fn records(draft: &Draft<'_>) -> Result<(), Refusal> {
    let size = draft.records();
    if size > limits::RECORDS_PER_COMMAND_MAX {
        return Err(Refusal::CommandTooLarge {
            size,
            max: limits::RECORDS_PER_COMMAND_MAX,
            unit: "records",
        });
    }
    Ok(())
}

/// Refuses a batch whose tasks are more than one commit may hold.
pub(super) fn bytes(draft: &Draft<'_>) -> Result<(), Refusal> {
    let size = draft.bytes();
    if size > limits::BYTES_PER_COMMAND_MAX {
        return Err(Refusal::CommandTooLarge {
            size,
            max: limits::BYTES_PER_COMMAND_MAX,
            unit: "bytes",
        });
    }
    Ok(())
}

/// Like [`len`], of a bound that is in characters.
fn chars(field: &'static str, text: &str, max: usize) -> Result<(), Refusal> {
    // Bytes first: no text of more than four times the characters needs to be counted.
    let len = if text.len() > 4 * max {
        text.len()
    } else {
        text.chars().count()
    };
    if len > max {
        return Err(Refusal::TooLong {
            field,
            len,
            max,
            unit: "characters",
        });
    }
    Ok(())
}

pub(super) fn subject(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::Blank { field: "subject" });
    }
    chars("subject", text, limits::SUBJECT_CHARS_MAX)
}

/// Refuses more tasks than there may be edges. One that is given twice counts once (K4).
fn edges(field: &'static str, tasks: &[TaskId]) -> Result<(), Refusal> {
    if tasks.len() <= limits::EDGES_MAX {
        return Ok(());
    }
    let distinct: BTreeSet<&TaskId> = tasks.iter().collect();
    count(field, distinct.len(), limits::EDGES_MAX)
}

fn labels(field: &'static str, labels: &[Arc<str>]) -> Result<(), Refusal> {
    count(field, labels.len(), limits::LABELS_MAX)?;
    for label in labels {
        if label.trim().is_empty() {
            return Err(Refusal::Blank { field });
        }
        chars(field, label, limits::LABEL_CHARS_MAX)?;
    }
    Ok(())
}

fn timeout(timeout: Option<Duration>) -> Result<(), Refusal> {
    let fits = |span: Duration| !span.is_zero() && span <= limits::TIMEOUT_MAX;
    if timeout.is_none_or(fits) {
        return Ok(());
    }
    Err(Refusal::BadValue {
        field: "timeout",
        why: format!(
            "is not between 0 and {} seconds",
            limits::TIMEOUT_MAX.as_secs()
        ),
    })
}

fn retry(retry: Option<&Retry>) -> Result<(), Refusal> {
    let Some(retry) = retry else {
        return Ok(());
    };
    if !(1..=limits::ATTEMPTS_MAX).contains(&retry.max_attempts) {
        return Err(Refusal::BadValue {
            field: "retry.max_attempts",
            why: format!("is not between 1 and {}", limits::ATTEMPTS_MAX),
        });
    }
    let waits = [
        ("retry.initial_backoff", retry.initial_backoff),
        ("retry.max_backoff", retry.max_backoff),
    ];
    for (field, wait) in waits {
        if wait > limits::RETRY_BACKOFF_LIMIT {
            let max = limits::RETRY_BACKOFF_LIMIT.as_secs();
            let why = format!("is more than {max} seconds");
            return Err(Refusal::BadValue { field, why });
        }
    }
    Ok(())
}

pub(super) fn metadata(fields: &BTreeMap<Arc<str>, Arc<str>>) -> Result<(), Refusal> {
    let size: usize = fields
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size > limits::METADATA_LEN_MAX {
        return Err(Refusal::TooLong {
            field: "metadata",
            len: size,
            max: limits::METADATA_LEN_MAX,
            unit: "bytes",
        });
    }
    Ok(())
}

pub(super) fn artifacts(field: &'static str, artifacts: &[Artifact]) -> Result<(), Refusal> {
    count(field, artifacts.len(), limits::ARTIFACTS_MAX)?;
    let mut paths = BTreeSet::new();
    for artifact in artifacts {
        path(field, &artifact.path)?;
        if !paths.insert(&artifact.path) {
            return Err(Refusal::BadValue {
                field,
                why: format!("name {:?} twice", artifact.path),
            });
        }
    }
    Ok(())
}

/// A path that stays below the directory that it is meant for.
fn path(field: &'static str, path: &str) -> Result<(), Refusal> {
    len(field, path, limits::ARTIFACT_PATH_LEN_MAX)?;
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if path.split('/').all(is_plain) {
        return Ok(());
    }
    Err(Refusal::BadValue {
        field,
        why: format!("have the path {path:?}, which is not relative and plain"),
    })
}

pub(super) fn new_task(task: &NewTask) -> Result<(), Refusal> {
    subject(&task.subject)?;
    len(
        "description",
        &task.description,
        limits::DESCRIPTION_LEN_MAX,
    )?;
    len(
        "active_form",
        &task.active_form,
        limits::ACTIVE_FORM_LEN_MAX,
    )?;
    len("prompt", &task.prompt, limits::PROMPT_LEN_MAX)?;
    chars(
        "client_task_id",
        &task.client_task_id,
        limits::CLIENT_TASK_ID_CHARS_MAX,
    )?;
    edges("blocks", &task.blocks)?;
    edges("blocked_by", &task.blocked_by)?;
    labels("labels", &task.labels)?;
    count(
        "output_globs",
        task.output_globs.len(),
        limits::OUTPUT_GLOBS_MAX,
    )?;
    for glob in &task.output_globs {
        if glob.is_empty() {
            return Err(Refusal::Blank {
                field: "output_globs",
            });
        }
        len("output_globs", glob, limits::ARTIFACT_PATH_LEN_MAX)?;
        crate::glob::check(glob).map_err(|why| Refusal::BadValue {
            field: "output_globs",
            why: format!("{glob:?} {why}"),
        })?;
    }
    metadata(&task.metadata)?;
    artifacts("inputs", &task.inputs)?;
    if task
        .crash_limit
        .is_some_and(|limit| limit > limits::CRASH_LIMIT_MAX)
    {
        return Err(Refusal::BadValue {
            field: "crash_limit",
            why: format!("is more than {}", limits::CRASH_LIMIT_MAX),
        });
    }
    timeout(task.timeout)?;
    running_max("window", task.window)?;
    worker_labels(&task.worker_labels)?;
    retry(task.retry.as_ref())
}

/// What a task wants of a worker: as a worker's own labels.
fn worker_labels(labels: &BTreeMap<Arc<str>, Arc<str>>) -> Result<(), Refusal> {
    const FIELD: &str = "worker_labels";
    count(FIELD, labels.len(), limits::WORKER_LABELS_MAX)?;
    for (name, value) in labels {
        if name.trim().is_empty() {
            return Err(Refusal::Blank { field: FIELD });
        }
        chars(FIELD, name, limits::LABEL_CHARS_MAX)?;
        chars(FIELD, value, limits::LABEL_CHARS_MAX)?;
    }
    Ok(())
}

pub(super) fn update(update: &Update) -> Result<(), Refusal> {
    running_max("window", update.window.unwrap_or_default())?;
    if let Some(text) = &update.subject {
        subject(text)?;
    }
    let texts = [
        (
            "description",
            &update.description,
            limits::DESCRIPTION_LEN_MAX,
        ),
        (
            "active_form",
            &update.active_form,
            limits::ACTIVE_FORM_LEN_MAX,
        ),
        ("prompt", &update.prompt, limits::PROMPT_LEN_MAX),
        ("result", &update.result, limits::RESULT_LEN_MAX),
        ("reason", &update.reason, limits::NOTE_LEN_MAX),
    ];
    for (field, text, max) in texts {
        if let Some(text) = text {
            len(field, text, max)?;
        }
    }
    let all_edges = [
        ("add_blocks", &update.add_blocks),
        ("add_blocked_by", &update.add_blocked_by),
        ("remove_blocks", &update.remove_blocks),
        ("remove_blocked_by", &update.remove_blocked_by),
    ];
    for (field, ids) in all_edges {
        edges(field, ids)?;
    }
    labels("add_labels", &update.add_labels)?;
    count(
        "remove_labels",
        update.remove_labels.len(),
        limits::LABELS_MAX,
    )?;
    artifacts("add_outputs", &update.add_outputs)?;
    timeout(update.timeout)?;
    retry(update.retry.as_ref())
}

pub(super) fn verification_threshold(threshold: Option<u32>) -> Result<(), Refusal> {
    let max = limits::VERIFICATION_THRESHOLD_MAX;
    if threshold.is_none_or(|threshold| threshold <= max) {
        return Ok(());
    }
    Err(Refusal::BadValue {
        field: "verification_threshold",
        why: format!("is more than {max}"),
    })
}

/// What the fields of a member to be are called where it is described.
pub(super) struct MemberFields {
    kind: &'static str,
    role: &'static str,
    description: &'static str,
    instructions: &'static str,
    agent_type: &'static str,
    model: &'static str,
    plan_required: &'static str,
}

/// In a team to be.
pub(super) const MEMBERS_OF_A_TEAM: MemberFields = MemberFields {
    kind: "members.kind",
    role: "members.role",
    description: "members.description",
    instructions: "members.instructions",
    agent_type: "members.agent_type",
    model: "members.model",
    plan_required: "members.plan_required",
};

/// Alone.
pub(super) const ONE_MEMBER: MemberFields = MemberFields {
    kind: "member.kind",
    role: "member.role",
    description: "member.description",
    instructions: "member.instructions",
    agent_type: "member.agent_type",
    model: "member.model",
    plan_required: "member.plan_required",
};

/// A member that somebody adds: an agent, or one that is hosted.
pub(super) fn new_member(member: &NewMember, fields: &MemberFields) -> Result<(), Refusal> {
    len(fields.role, &member.role, limits::NOTE_LEN_MAX)?;
    len(
        fields.description,
        &member.description,
        limits::NOTE_LEN_MAX,
    )?;
    len(
        fields.instructions,
        &member.instructions,
        limits::INSTRUCTIONS_LEN_MAX,
    )?;
    len(fields.model, &member.model, limits::NAME_LEN_MAX)?;
    let is_hosted = match member.kind {
        MemberKind::Agent => false,
        MemberKind::Hosted => true,
        MemberKind::Lead | MemberKind::Worker => {
            return Err(Refusal::BadValue {
                field: fields.kind,
                why: "is neither agent nor hosted".into(),
            });
        }
    };
    if is_hosted && member.agent_type.is_none() {
        let field = fields.agent_type;
        return Err(Refusal::Blank { field });
    }
    if is_hosted && member.plan_required {
        return Err(Refusal::BadValue {
            field: fields.plan_required,
            why: "is for agents only".into(),
        });
    }
    Ok(())
}

/// Refuses a share of the fleet that is none.
pub(super) fn share(weight: u32) -> Result<(), Refusal> {
    if (1..=limits::WEIGHT_MAX).contains(&weight) {
        return Ok(());
    }
    Err(Refusal::BadValue {
        field: "weight",
        why: format!("is {weight}, and may be from 1 to {}", limits::WEIGHT_MAX),
    })
}

/// Refuses a bound on what runs that is beyond all bounds.
pub(super) fn running_max(field: &'static str, max: u32) -> Result<(), Refusal> {
    if max <= limits::RUNNING_MAX {
        return Ok(());
    }
    Err(Refusal::BadValue {
        field,
        why: format!("is {max}, and may be {} at the most", limits::RUNNING_MAX),
    })
}
