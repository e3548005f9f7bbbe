//! Tasks, claims and lists.

use board::{
    command::{ClaimNext, Lease, NewTask, Sweep, SweepWhat, Update},
    id::{AgentTypeName, AttemptNumber, Revision, TaskId, TeamName},
    limits,
    listing::{At, Order},
    refusal::Refusal,
    task::{BlockerFailedPolicy, FailurePolicy, Priority, Retry, Status, TaskKind},
};
use ganger_proto::v1;

use super::{
    Parsed, agent_type, arcs, artifacts, known, metadata, metadata_changes, optional_id,
    optional_member, optional_name, page_size, priority, span, status, task_ids, time,
};
use crate::engine::{ListFilter, Wanted};

/// A task for this team.
pub fn new_task(task: v1::NewTask, team: &TeamName) -> Parsed<NewTask> {
    let items = task.blocked_by_items.iter().map(|item| {
        usize::try_from(*item)
            .map_err(|_| status::invalid("blocked_by_items", format!("names item {item}")))
    });
    let crash_limit = task.crash_limit.map(|limit| {
        u32::try_from(limit).map_err(|_| status::invalid("crash_limit", "is below zero"))
    });
    let labels = task.worker_labels.into_iter();
    let labels = labels.map(|(name, value)| (name.into(), value.into()));
    Ok(NewTask {
        worker_labels: labels.collect(),
        window: bound("window", task.window)?,
        outlives_parent: task.outlive_parent,
        joins: optional_id(task.joins_task_id),
        is_delegated: false,
        blocked_by_items: items.collect::<Parsed<_>>()?,
        crash_limit: crash_limit.transpose()?,
        owner: optional_member("owner", &task.owner, team)?,
        blocks: task_ids("blocks", &task.blocks)?,
        blocked_by: task_ids("blocked_by", &task.blocked_by)?,
        metadata: metadata(task.metadata.as_ref())?,
        priority: priority("priority", task.priority)?.unwrap_or_default(),
        agent_type: agent_type(&task.agent_type, &task.subagent_type)?,
        parent: optional_id(task.parent_task_id),
        kind: kind(task.kind)?.unwrap_or_default(),
        deadline: task
            .deadline
            .as_ref()
            .map(|at| time("deadline", at))
            .transpose()?,
        timeout: task
            .timeout
            .as_ref()
            .map(|for_| span("timeout", for_))
            .transpose()?,
        blocker_failed_policy: blocker_failed_policy(task.blocker_failed_policy)?
            .unwrap_or_default(),
        retry: task.retry.as_ref().map(retry).transpose()?,
        failure_policy: failure_policy(task.failure_policy)?.unwrap_or_default(),
        share_todos: task.share_todos,
        inputs: artifacts("inputs", &task.inputs)?,
        labels: arcs(task.labels),
        output_globs: arcs(task.output_globs),
        subject: task.subject.into(),
        description: task.description.into(),
        active_form: task.active_form.into(),
        prompt: task.prompt.into(),
        client_task_id: task.client_task_id.into(),
    })
}

/// The task of a CreateTask, as an item of a batch.
pub fn item(request: v1::CreateTaskRequest) -> v1::NewTask {
    v1::NewTask {
        subject: request.subject,
        description: request.description,
        active_form: request.active_form,
        owner: request.owner,
        blocks: request.blocks,
        blocked_by: request.blocked_by,
        blocked_by_items: Vec::new(),
        metadata: request.metadata,
        priority: request.priority,
        labels: request.labels,
        agent_type: request.agent_type,
        subagent_type: request.subagent_type,
        prompt: request.prompt,
        parent_task_id: request.parent_task_id,
        kind: request.kind,
        deadline: request.deadline,
        timeout: request.timeout,
        crash_limit: request.crash_limit,
        blocker_failed_policy: request.blocker_failed_policy,
        inputs: request.inputs,
        output_globs: request.output_globs,
        client_task_id: request.client_task_id,
        share_todos: request.share_todos,
        retry: request.retry,
        failure_policy: request.failure_policy,
        worker_labels: request.worker_labels,
        window: request.window,
        outlive_parent: request.outlive_parent,
        joins_task_id: request.joins_task_id,
    }
}

/// The task of a delegating call, as an item of a batch.
pub fn delegated(request: v1::RunTaskRequest) -> v1::NewTask {
    v1::NewTask {
        subject: request.description,
        prompt: request.prompt,
        agent_type: request.agent_type,
        subagent_type: request.subagent_type,
        client_task_id: request.client_task_id,
        priority: request.priority,
        labels: request.labels,
        blocked_by: request.blocked_by,
        parent_task_id: request.parent_task_id,
        deadline: request.deadline,
        timeout: request.timeout,
        inputs: request.inputs,
        output_globs: request.output_globs,
        metadata: request.metadata,
        share_todos: request.share_todos,
        retry: request.retry,
        failure_policy: request.failure_policy,
        crash_limit: request.crash_limit,
        worker_labels: request.worker_labels,
        window: request.window,
        outlive_parent: request.outlive_parent,
        joins_task_id: request.joins_task_id,
        ..v1::NewTask::default()
    }
}

fn task_status(value: i32) -> Parsed<Option<Status>> {
    Ok(match known("status", value)? {
        v1::TaskStatus::Unspecified => None,
        v1::TaskStatus::Pending => Some(Status::Pending),
        v1::TaskStatus::InProgress => Some(Status::InProgress),
        v1::TaskStatus::Completed => Some(Status::Completed),
        v1::TaskStatus::Failed => Some(Status::Failed),
        v1::TaskStatus::Cancelled => Some(Status::Cancelled),
    })
}

pub fn revision(revision: u64) -> Option<Revision> {
    (revision != 0).then_some(Revision(revision))
}

/// What is to change of a task of this team.
pub fn update(request: v1::UpdateTaskRequest, team: &TeamName) -> Parsed<Update> {
    let owner = request.owner.as_deref();
    let owner = owner.map(|owner| optional_member("owner", owner, team));
    let agent_type = request.agent_type.as_deref();
    let agent_type = agent_type.map(|name| optional_name("agent_type", name, AgentTypeName::parse));
    let deadline = request.deadline.as_ref().map(|at| time("deadline", at));
    let timeout = request.timeout.as_ref().map(|limit| span("timeout", limit));
    Ok(Update {
        status: task_status(request.status)?,
        owner: owner.transpose()?,
        subject: request.subject.map(Into::into),
        description: request.description.map(Into::into),
        active_form: request.active_form.map(Into::into),
        add_blocks: task_ids("add_blocks", &request.add_blocks)?,
        add_blocked_by: task_ids("add_blocked_by", &request.add_blocked_by)?,
        remove_blocks: task_ids("remove_blocks", &request.remove_blocks)?,
        remove_blocked_by: task_ids("remove_blocked_by", &request.remove_blocked_by)?,
        metadata: metadata_changes(request.metadata.as_ref())?,
        priority: priority("priority", request.priority)?,
        result: request.result.map(Into::into),
        stop_running: request.stop_running,
        expected_revision: revision(request.expected_revision),
        attempt: attempt(request.attempt)?,
        add_labels: arcs(request.add_labels),
        remove_labels: arcs(request.remove_labels),
        agent_type: agent_type.transpose()?,
        prompt: request.prompt.map(Into::into),
        kind: kind(request.kind)?,
        deadline: match (deadline.transpose()?, request.clear_deadline) {
            (Some(_), true) => {
                return Err(status::invalid("clear_deadline", "goes with no deadline"));
            }
            (at, clear) => at.map(Some).or(clear.then_some(None)),
        },
        timeout: timeout.transpose()?,
        blocker_failed_policy: blocker_failed_policy(request.blocker_failed_policy)?,
        failure_policy: failure_policy(request.failure_policy)?,
        retry: request.retry.as_ref().map(retry).transpose()?,
        add_outputs: artifacts("add_outputs", &request.add_outputs)?,
        reason: (!request.reason.is_empty()).then(|| request.reason.into()),
        window: request.window.map(|max| bound("window", max)).transpose()?,
    })
}

/// A bound on how many may run at once.
pub fn bound(field: &'static str, max: i32) -> Parsed<u32> {
    u32::try_from(max).map_err(|_| status::invalid(field, "is below zero"))
}

/// Which tasks of this team a sweep means, and what is to become of them.
pub fn sweep(
    team: &TeamName,
    what: SweepWhat,
    filter: Option<v1::TaskFilter>,
    reason: String,
) -> Parsed<Sweep> {
    let filter = filter.unwrap_or_default();
    Ok(Sweep {
        what,
        reason: reason.into(),
        parent: optional_id(filter.parent_task_id),
        label: (!filter.label.is_empty()).then(|| filter.label.into()),
        agent_type: optional_name(
            "filter.agent_type",
            &filter.agent_type,
            AgentTypeName::parse,
        )?,
        owner: optional_member("filter.owner", &filter.owner, team)?,
        tasks: task_ids("filter.task_ids", &filter.task_ids)?,
        after: TaskId(filter.after_task_id),
    })
}

fn kind(value: i32) -> Parsed<Option<TaskKind>> {
    Ok(match known("kind", value)? {
        v1::TaskKind::Unspecified => None,
        v1::TaskKind::Work => Some(TaskKind::Work),
        v1::TaskKind::Verification => Some(TaskKind::Verification),
    })
}

fn blocker_failed_policy(value: i32) -> Parsed<Option<BlockerFailedPolicy>> {
    Ok(match known("blocker_failed_policy", value)? {
        v1::BlockerFailedPolicy::Unspecified => None,
        v1::BlockerFailedPolicy::Wait => Some(BlockerFailedPolicy::Wait),
        v1::BlockerFailedPolicy::Cancel => Some(BlockerFailedPolicy::Cancel),
        v1::BlockerFailedPolicy::Proceed => Some(BlockerFailedPolicy::Proceed),
    })
}

fn failure_policy(value: i32) -> Parsed<Option<FailurePolicy>> {
    Ok(match known("failure_policy", value)? {
        v1::FailurePolicy::Unspecified => None,
        v1::FailurePolicy::Fail => Some(FailurePolicy::Fail),
        v1::FailurePolicy::Pause => Some(FailurePolicy::Pause),
        v1::FailurePolicy::Release => Some(FailurePolicy::Release),
    })
}

fn retry(policy: &v1::RetryPolicy) -> Parsed<Retry> {
    let backoff = |field, given: Option<&pbjson_types::Duration>, default| match given {
        Some(given) => span(field, given),
        None => Ok(default),
    };
    let max_attempts = u32::try_from(policy.max_attempts)
        .map_err(|_| status::invalid("retry.max_attempts", "is below zero"))?;
    let initial = policy.initial_backoff.as_ref();
    let max = policy.max_backoff.as_ref();
    Ok(Retry {
        max_attempts,
        initial_backoff: backoff("retry.initial_backoff", initial, limits::RETRY_BACKOFF)?,
        max_backoff: backoff("retry.max_backoff", max, limits::RETRY_BACKOFF_MAX)?,
    })
}

/// The attempt that a caller means; none for any.
pub fn attempt(number: i32) -> Parsed<Option<AttemptNumber>> {
    match u32::try_from(number) {
        Ok(0) => Ok(None),
        Ok(number) => Ok(Some(AttemptNumber(number))),
        Err(_) => Err(status::invalid("attempt", "is below zero")),
    }
}

/// Until when to wait: for all tasks unless something else is said.
pub fn wait_until(value: i32) -> Parsed<v1::WaitUntil> {
    known("until", value)
}

/// How long a claim is to last.
pub fn lease(given: Option<&pbjson_types::Duration>, no_lease: bool) -> Parsed<Lease> {
    match (given, no_lease) {
        (Some(_), true) => Err(status::invalid("no_lease", "goes with no lease")),
        (None, true) => Ok(Lease(None)),
        (Some(given), false) => Ok(Lease(Some(span("lease", given)?))),
        (None, false) => Ok(Lease::default()),
    }
}

pub fn claim_next(request: v1::ClaimNextTaskRequest) -> Parsed<ClaimNext> {
    Ok(ClaimNext {
        lease: lease(request.lease.as_ref(), request.no_lease)?,
        priority_min: priority("priority_min", request.priority_min)?,
        labels: arcs(request.labels),
    })
}

/// What a list of this team is to show, and from where on.
pub fn wanted(request: &v1::ListTasksRequest, team: &TeamName) -> Parsed<Wanted> {
    let chars = request.text.chars().count();
    if chars > limits::SEARCH_CHARS_MAX {
        return Err(status::refusal(&Refusal::TooLong {
            field: "text",
            len: chars,
            max: limits::SEARCH_CHARS_MAX,
            unit: "characters",
        }));
    }
    let text = request.text.to_lowercase();
    let filter = ListFilter {
        status: task_status(request.status)?,
        owner: optional_member("owner", &request.owner, team)?,
        label: (!request.label.is_empty()).then(|| request.label.as_str().into()),
        agent_type: optional_name("agent_type", &request.agent_type, AgentTypeName::parse)?,
        ready: request.ready,
        blocked: request.blocked,
        parent: optional_id(request.parent_task_id),
        text: (!text.is_empty()).then_some(text),
    };
    let order = match known("order", request.order)? {
        v1::TaskOrder::Unspecified | v1::TaskOrder::Id => Order::Id,
        v1::TaskOrder::Priority => Order::Priority,
        v1::TaskOrder::Tree => Order::Tree,
    };
    Ok(Wanted {
        filter,
        order,
        after: place(&request.page_token, order)?,
        size: page_size(request.page_size)?,
    })
}

/// Where a page ended, as a token: `7`, `over:7`, or `high:7`.
pub fn place_text(at: At) -> String {
    match at {
        At::Id(id) => id.to_string(),
        At::Over(id) => format!("over:{id}"),
        At::Open(priority, id) => {
            let word = match priority {
                Priority::Low => "low",
                Priority::Normal => "normal",
                Priority::High => "high",
                Priority::Critical => "critical",
            };
            format!("{word}:{id}")
        }
    }
}

/// The place that a token says; none for the beginning. Each order has places of its own.
pub fn place(token: &str, order: Order) -> Parsed<Option<At>> {
    if token.is_empty() {
        return Ok(None);
    }
    let (word, id) = match token.split_once(':') {
        Some((word, id)) => (Some(word), id),
        None => (None, token),
    };
    let id = id.parse().map(TaskId).ok();
    let at = id.and_then(|id| {
        Some(match (order, word) {
            (Order::Id | Order::Tree, None) => At::Id(id),
            (Order::Priority, Some("over")) => At::Over(id),
            (Order::Priority, Some("low")) => At::Open(Priority::Low, id),
            (Order::Priority, Some("normal")) => At::Open(Priority::Normal, id),
            (Order::Priority, Some("high")) => At::Open(Priority::High, id),
            (Order::Priority, Some("critical")) => At::Open(Priority::Critical, id),
            _ => return None,
        })
    });
    match at {
        Some(at) => Ok(Some(at)),
        None => Err(status::invalid(
            "page_token",
            "is none that a list in this order has answered",
        )),
    }
}
