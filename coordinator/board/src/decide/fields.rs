//! What a change of a task says of the task alone: its texts, its plan, what is attached to it.

use std::sync::Arc;

use super::check;
use crate::{
    command::Update,
    draft::Draft,
    event::Fields,
    id::TaskKey,
    limits,
    refusal::{Obstacle, Refusal},
    task::{Status, Task, Terms},
};

/// Sets what a task says of itself, and says which fields that changed.
pub(super) fn set_fields(
    draft: &mut Draft<'_>,
    key: TaskKey,
    changes: &Update,
) -> Result<Fields, Obstacle> {
    let task = draft.task_mut(key)?;
    let mut fields = Fields::default();
    if set(&mut task.subject, changes.subject.as_ref()) {
        fields.add(Fields::SUBJECT);
    }
    if set(&mut task.description, changes.description.as_ref()) {
        fields.add(Fields::DESCRIPTION);
    }
    if set(&mut task.active_form, changes.active_form.as_ref()) {
        fields.add(Fields::ACTIVE_FORM);
    }
    let (result, error) = match changes.status {
        Some(Status::Failed) => (None, changes.result.as_ref().or(changes.reason.as_ref())),
        Some(Status::Cancelled) => (changes.result.as_ref(), changes.reason.as_ref()),
        _ => (changes.result.as_ref(), None),
    };
    if set(&mut task.result, result) {
        fields.add(Fields::RESULT);
    }
    if set(&mut task.error, error) {
        fields.add(Fields::ERROR);
    }
    fields.add(plan(task, changes));
    fields.add(attachments(task, changes)?);
    if let Some(priority) = changes.priority
        && priority != task.priority
    {
        task.priority = priority;
        fields.add(Fields::PRIORITY);
    }
    let mut metadata = task.metadata.clone();
    for (name, value) in &changes.metadata {
        match value {
            Some(value) => metadata.insert(name.clone(), value.clone()),
            None => metadata.remove(name),
        };
    }
    if metadata != task.metadata {
        check::metadata(&metadata)?;
        task.metadata = metadata;
        fields.add(Fields::METADATA);
    }
    Ok(fields)
}

/// Sets a text, and says whether that changed it.
fn set(text: &mut Arc<str>, new: Option<&Arc<str>>) -> bool {
    match new {
        Some(new) if new != text => {
            *text = new.clone();
            true
        }
        _ => false,
    }
}

/// What says how and by when a task is to be done.
fn plan(task: &mut Task, changes: &Update) -> Fields {
    let mut fields = Fields::default();
    let mut note = |has_changed, field| {
        if has_changed {
            fields.add(field);
        }
    };
    note(
        set(&mut task.prompt, changes.prompt.as_ref()),
        Fields::PROMPT,
    );
    note(
        put(&mut task.agent_type, &changes.agent_type),
        Fields::AGENT_TYPE,
    );
    note(put(&mut task.kind, &changes.kind), Fields::KIND);
    note(put(&mut task.deadline, &changes.deadline), Fields::DEADLINE);
    note(
        put(&mut task.timeout, &changes.timeout.map(Some)),
        Fields::TIMEOUT,
    );
    note(
        put(
            &mut task.retry,
            &changes.retry.map(|retry| Some(Box::new(retry))),
        ),
        Fields::RETRY,
    );
    let policy = put(&mut task.failure_policy, &changes.failure_policy);
    note(policy, Fields::FAILURE_POLICY);
    let policy = put(
        &mut task.blocker_failed_policy,
        &changes.blocker_failed_policy,
    );
    note(policy, Fields::BLOCKER_FAILED_POLICY);
    if let Some(window) = changes.window
        && window != task.terms().window
    {
        let terms = task.terms().clone();
        task.set_terms(Terms { window, ..terms });
        note(true, Fields::WINDOW);
    }
    fields
}

/// Labels and outputs: what is added and taken away one by one.
fn attachments(task: &mut Task, changes: &Update) -> Result<Fields, Refusal> {
    let mut fields = Fields::default();
    let mut labels = task.labels.clone();
    labels.retain(|label| !changes.remove_labels.contains(label));
    for label in &changes.add_labels {
        if !labels.contains(label) {
            labels.push(label.clone());
        }
    }
    check::count("labels", labels.len(), limits::LABELS_MAX)?;
    if put(&mut task.labels, &Some(labels)) {
        fields.add(Fields::LABELS);
    }
    let mut outputs = task.outputs.clone();
    outputs.retain(|old| changes.add_outputs.iter().all(|new| new.path != old.path));
    outputs.extend(changes.add_outputs.iter().cloned());
    check::count("outputs", outputs.len(), limits::ARTIFACTS_MAX)?;
    if put(&mut task.outputs, &Some(outputs)) {
        fields.add(Fields::OUTPUTS);
    }
    Ok(fields)
}

/// Sets a field, and says whether that changed it.
fn put<T: PartialEq + Clone>(field: &mut T, new: &Option<T>) -> bool {
    match new {
        Some(new) if new != field => {
            *field = new.clone();
            true
        }
        _ => false,
    }
}
