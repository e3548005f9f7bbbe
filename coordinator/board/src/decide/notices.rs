//! The coordinator's own mail: what happened to a task, told to whom it concerns, in the commit
//! in which it happened.

use std::{fmt::Write as _, sync::Arc};

use crate::{
    draft::Draft,
    event::Actor,
    id::{MemberKey, MemberName, Revision, TaskId, TaskKey, TeamUid},
    limits,
    mail::{Letter, MailKind, Recipients, Sender},
    nudge,
    refusal::Obstacle,
    stuck::Stuck,
    task::{Status, Task, TaskState},
    team::MemberKind,
};

/// Children of a task that a notice looks through for those that did not complete.
const CHILDREN_LOOKED_AT: usize = 1_000;
/// Those of them that it names.
const CHILDREN_NAMED: usize = 20;

/// A message of the coordinator's to be.
pub(super) struct Notice {
    pub(super) kind: MailKind,
    /// Of the event that it tells of.
    pub(super) revision: Revision,
    pub(super) task: Option<TaskId>,
    pub(super) summary: Arc<str>,
    pub(super) text: Arc<str>,
    pub(super) payload: Arc<str>,
    pub(super) correlation: Arc<str>,
    pub(super) approve: Option<bool>,
}

impl Notice {
    pub(super) fn new(kind: MailKind, revision: Revision, summary: String, text: String) -> Self {
        Self {
            kind,
            revision,
            task: None,
            summary: summary.into(),
            text: text.into(),
            payload: Arc::default(),
            correlation: Arc::default(),
            approve: None,
        }
    }

    /// One about a task, whose last event it tells of.
    fn of(kind: MailKind, task: &Task, text: String) -> Self {
        Self {
            task: Some(task.id),
            ..Self::new(kind, task.revision, task.subject.to_string(), text)
        }
    }

    /// With these texts as its payload.
    pub(super) fn with(self, fields: &[(&str, &str)]) -> Self {
        Self {
            payload: object(fields).into(),
            ..self
        }
    }
}

/// A JSON object of texts.
fn object(fields: &[(&str, &str)]) -> String {
    let mut json = String::from("{");
    for (at, (key, value)) in fields.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(json, "{comma}\"{key}\":\"");
        for sign in value.chars() {
            match sign {
                '"' | '\\' => json.extend(['\\', sign]),
                sign if sign < ' ' => {
                    let _ = write!(json, "\\u{:04x}", u32::from(sign));
                }
                sign => json.push(sign),
            }
        }
        json.push('"');
    }
    json.push('}');
    json
}

/// Puts a notice into a member's mailbox, where somebody reads it: not of who left, nor of a
/// worker. Where there is no room for it, one digest stands for it and all that follow (M5).
pub(super) fn tell(draft: &mut Draft<'_>, team: TeamUid, to: &MemberName, notice: Notice) {
    let reads = |member: &crate::team::Member| member.kind != MemberKind::Worker;
    if !draft.team(team).is_open() || !draft.member(team, to).is_ok_and(reads) {
        return;
    }
    let key = (team, to.clone());
    let mut letter = letter(draft, to, notice);
    let room = draft.room(&key);
    let fits = room.count < limits::MAILBOX_MESSAGES_MAX + limits::MAILBOX_RESERVE
        && room.bytes + letter.size() <= limits::MAILBOX_BYTES_MAX + limits::MAILBOX_RESERVE_LEN;
    if !fits {
        if room.has_digest {
            return;
        }
        letter = digest(letter);
    }
    letter.id = draft.next_message(team);
    draft.file(team, letter);
}

fn letter(draft: &Draft<'_>, to: &MemberName, notice: Notice) -> Letter {
    Letter {
        id: crate::id::MessageId(0),
        from: Sender::Coordinator,
        to: Recipients::One(to.clone()),
        kind: notice.kind,
        text: notice.text,
        summary: notice.summary,
        payload: notice.payload,
        correlation: notice.correlation,
        at: draft.now,
        task: notice.task,
        approve: notice.approve,
        deadline: None,
        revision: Some(notice.revision),
    }
}

/// What stands for a notice that finds no room, and for those after it.
fn digest(missing: Letter) -> Letter {
    let from = missing.revision.unwrap_or_default();
    Letter {
        kind: MailKind::Digest,
        text: format!(
            "The mailbox is full, and notices are missing: from revision {from} on the team's \
             events tell what happened."
        )
        .into(),
        summary: format!("notices are missing from revision {from} on").into(),
        payload: Arc::default(),
        correlation: Arc::default(),
        task: None,
        approve: None,
        ..missing
    }
}

/// As much of a task's text as a notice says. What is cut is said to be cut.
fn cut(draft: &Draft<'_>, text: &str, task: TaskId) -> String {
    let max = match draft.notices_len() < limits::NOTICES_LEN_MAX {
        true => limits::NOTICE_TEXT_LEN_MAX,
        false => limits::NOTICE_LINE_LEN_MAX,
    };
    if text.len() <= max {
        return text.into();
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (said, whole) = (&text[..end], text.len());
    format!("{said}\n\n[Cut: the whole has {whole} bytes, and is in task #{task}.]")
}

/// Why a task is taken from one owner and given to another, or to nobody.
pub(super) fn handed_over(to: Option<&MemberName>) -> Arc<str> {
    match to {
        Some(to) => format!("handed over to {to}").into(),
        None => "taken from its owner".into(),
    }
}

/// Tells a task's owner before and the one after, where they are not the same (K8).
pub(super) fn owners(
    draft: &mut Draft<'_>,
    key: TaskKey,
    before: Option<&MemberName>,
    actor: &Actor,
) -> Result<(), Obstacle> {
    let after = draft.task(key)?.owner.clone();
    if before == after.as_ref() {
        return Ok(());
    }
    if let Some(before) = before {
        unassigned(draft, key, before, actor, &handed_over(after.as_ref()))?;
    }
    match after {
        Some(after) => assigned(draft, key, &after, actor),
        None => Ok(()),
    }
}

/// A task is somebody's now (K8).
pub(super) fn assigned(
    draft: &mut Draft<'_>,
    key: TaskKey,
    owner: &MemberName,
    actor: &Actor,
) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    if task.end().is_some() || actor.member() == Some(owner) {
        return Ok(());
    }
    let text = match task.description.trim() {
        "" => task.subject.to_string(),
        _ => cut(draft, &task.description, task.id),
    };
    let notice = Notice::of(MailKind::TaskAssignment, task, text);
    let notice = notice.with(&[("assigned_by", &actor.to_string())]);
    tell(draft, key.0, owner, notice);
    Ok(())
}

/// A task is somebody's no more (K8).
pub(super) fn unassigned(
    draft: &mut Draft<'_>,
    key: TaskKey,
    owner: &MemberName,
    actor: &Actor,
    reason: &Arc<str>,
) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    if task.end().is_some() || actor.member() == Some(owner) {
        return Ok(());
    }
    let text = cut(draft, reason, task.id);
    let notice = Notice::of(MailKind::TaskUnassigned, task, text);
    let notice = notice.with(&[("unassigned_by", &actor.to_string())]);
    tell(draft, key.0, owner, notice);
    Ok(())
}

/// A task was deleted that was somebody's. It is the last event of the team.
pub(super) fn withdrawn(
    draft: &mut Draft<'_>,
    team: TeamUid,
    task: &Task,
    owner: &MemberName,
    actor: &Actor,
) -> Result<(), Obstacle> {
    let notice = Notice {
        revision: draft.team(team).revision,
        ..Notice::of(
            MailKind::TaskUnassigned,
            task,
            format!("deleted by {actor}"),
        )
    };
    let notice = notice.with(&[("unassigned_by", &actor.to_string())]);
    tell(draft, team, owner, notice);
    Ok(())
}

/// A task waits for nothing any more (K5).
pub(super) fn unblocked(
    draft: &mut Draft<'_>,
    key: TaskKey,
    cause: TaskId,
) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    let Some(owner) = task.owner.clone() else {
        return Ok(());
    };
    let text = format!(
        "#{} waits for nothing any more: #{cause} was the last.",
        task.id
    );
    let notice = Notice::of(MailKind::TaskUnblocked, task, text);
    let notice = notice.with(&[("cause_task_id", &cause.to_string())]);
    tell(draft, key.0, &owner, notice);
    Ok(())
}

/// A task is over (M5): its maker is told; of a fan-out, when all of it is.
pub(super) fn finished(draft: &mut Draft<'_>, key: TaskKey, actor: &Actor) -> Result<(), Obstacle> {
    let (team, id) = key;
    let task = draft.task(key)?;
    let (status, parent) = (task.status(), task.parent);
    let Some(maker) = task.created_by.member().cloned() else {
        return Ok(());
    };
    if actor.member() == Some(&maker) || draft.member(team, &maker).is_err() {
        return Ok(());
    }
    if parent.is_some_and(|parent| draft.has_open_children((team, parent))) {
        return Ok(());
    }
    let said = match status {
        Status::Completed => &task.result,
        _ => &task.error,
    };
    let mut text = match said.trim() {
        "" => format!("#{id} is {}.", status.word()),
        _ => cut(draft, said, id),
    };
    let is_lead = draft.team(team).lead == maker;
    let nudge = nudge::due(draft.team(team)).filter(|_| is_lead && status == Status::Completed);
    let mut notice = Notice::of(MailKind::TaskFinished, task, String::new());
    let mut summary = format!("#{id} is {}: {}", status.word(), task.subject);
    let mut fields = vec![("status", status.word())];
    let of = parent.map(|parent| parent.to_string());
    if let (Some(parent), Some(of)) = (parent, &of) {
        summary = format!("all that is part of #{parent} is over");
        text = fan_out(draft, (team, parent), id, status, &text);
        notice.task = Some(parent);
        fields.push(("parent_task_id", of));
    }
    if let Some(closed) = nudge {
        let _ = write!(text, "\n\n{}", nudge::advice(closed));
        fields.push(("verification_nudge_needed", "true"));
    }
    notice.summary = summary.into();
    notice.text = text.into();
    tell(draft, team, &maker, notice.with(&fields));
    Ok(())
}

/// What is said of a fan-out that is over: the last of it, and what did not complete.
fn fan_out(draft: &Draft<'_>, parent: TaskKey, last: TaskId, status: Status, said: &str) -> String {
    let word = status.word();
    let mut text = format!("All tasks that are part of #{} are over.", parent.1);
    let children = draft.last_children(parent, CHILDREN_LOOKED_AT);
    let not_done = children.into_iter().filter_map(|id| {
        let status = draft.status((parent.0, id))?;
        (status != Status::Completed).then(|| format!("#{id} {}", status.word()))
    });
    let mut not_done: Vec<String> = not_done.collect();
    if !not_done.is_empty() {
        let more = not_done.len().saturating_sub(CHILDREN_NAMED);
        not_done.truncate(CHILDREN_NAMED);
        let _ = write!(text, " Not completed: {}", not_done.join(", "));
        if more > 0 {
            let _ = write!(text, " and {more} more");
        }
        text.push('.');
    }
    let _ = write!(text, " The last one, #{last}, is {word}:\n\n{said}");
    text
}

/// Tasks that somebody waits for can't get on without the lead (D5).
pub(super) fn stuck(draft: &mut Draft<'_>, team: TeamUid, stuck: &[Stuck]) {
    let Some(first) = stuck.first() else {
        return;
    };
    let (summary, text) = match &stuck[1..] {
        [] => (
            format!("#{} can't get on", first.task),
            "Somebody waits for a task that can't get on without you or a person:".to_owned(),
        ),
        more => (
            format!("#{} and {} more can't get on", first.task, more.len()),
            "Somebody waits for tasks that can't get on without you or a person:".to_owned(),
        ),
    };
    let mut text = text;
    for (at, Stuck { task, because }) in stuck.iter().enumerate() {
        if text.len() > limits::NOTICE_TEXT_LEN_MAX {
            let _ = write!(text, "\nand {} more", stuck.len() - at);
            break;
        }
        let _ = write!(text, "\n#{task} {because}");
    }
    let head = draft.team(team);
    let (lead, revision) = (head.lead.clone(), head.revision);
    let notice = Notice {
        task: stuck[1..].is_empty().then_some(first.task),
        ..Notice::new(MailKind::Text, revision, summary, text)
    };
    tell(draft, team, &lead, notice);
}

/// The attempt of a hosted member failed: the lead is told.
pub(super) fn member_failed(
    draft: &mut Draft<'_>,
    key: TaskKey,
    member: &MemberName,
    reason: &Arc<str>,
) -> Result<(), Obstacle> {
    let task = draft.task(key)?;
    let text = match reason.trim() {
        "" => format!("{member} failed at #{}.", task.id),
        _ => cut(draft, reason, task.id),
    };
    let notice = Notice {
        summary: format!("{member} failed at #{}: {}", task.id, task.subject).into(),
        ..Notice::of(MailKind::MemberFailed, task, text)
    };
    let notice = notice.with(&[("member", member.as_str())]);
    let lead = draft.team(key.0).lead.clone();
    tell(draft, key.0, &lead, notice);
    Ok(())
}

/// A member let go of a task, and may have nothing to do any more (M7). Of several such notices
/// about one member the last is kept.
pub(super) fn maybe_idle(
    draft: &mut Draft<'_>,
    key: TaskKey,
    member: &MemberName,
    reason: &Arc<str>,
) -> Result<(), Obstacle> {
    let team = draft.team(key.0);
    let lead = team.lead.clone();
    let is_wanted = team.idle_notices && team.is_open() && lead != *member;
    let who = (key.0, member.clone());
    if !is_wanted || draft.member(key.0, member).is_err() || !is_idle(draft, &who) {
        return Ok(());
    }
    let task = draft.task(key)?;
    let word = match &task.state {
        TaskState::Ended(end) => Status::from(end.status).word(),
        _ => "given back",
    };
    let why = match reason.trim() {
        "" => String::new(),
        why => format!(" ({why})"),
    };
    let text = format!(
        "{member} has nothing to do any more: #{} is {word}{why}.",
        task.id
    );
    let notice = Notice {
        summary: format!("{member} is idle").into(),
        correlation: member.as_str().into(),
        ..Notice::of(MailKind::Idle, task, text)
    };
    let fields = [
        ("member", member.as_str()),
        ("status", word),
        ("reason", reason),
    ];
    let notice = notice.with(&fields);
    let mailbox = (key.0, lead.clone());
    if let Some(before) = draft.last_notice(&mailbox, MailKind::Idle, member) {
        draft.discard(&mailbox, before);
    }
    tell(draft, key.0, &lead, notice);
    Ok(())
}

/// Whether a member holds and runs nothing, and nothing waits to be run for it.
fn is_idle(draft: &Draft<'_>, key: &MemberKey) -> bool {
    !draft.is_at_work(key) && !draft.is_queued_for(key)
}
