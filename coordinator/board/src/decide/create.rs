//! Putting tasks on the board.

use std::{collections::BTreeSet, sync::Arc};

use super::{caller, caller::Who, check, edges, ending, holding, notices};
use crate::{
    command::{Answer, NewTask},
    draft::Draft,
    event::Happening,
    graph::{self, End, JoinFields},
    id::{AgentTypeName, AttemptNumber, MemberName, Revision, TaskId, TeamUid},
    limits,
    refusal::{KnownType, Obstacle, Refusal},
    task::{Hirer, Status, Task, TaskState, Terms, Usage, Waiting},
    team::MemberKind,
};

/// What makes a new task wait for others.
const FIELDS: JoinFields = JoinFields {
    blocked_by: "blocked_by",
    joins: "joins_task_id",
};

pub(super) fn create_tasks(
    draft: &mut Draft<'_>,
    who: &Who,
    tasks: &[NewTask],
) -> Result<Answer, Obstacle> {
    if tasks.is_empty() {
        return Err(Refusal::Blank { field: "tasks" }.into());
    }
    check::count("tasks", tasks.len(), limits::BATCH_MAX)?;
    let bytes: usize = tasks.iter().map(weight).sum();
    if bytes > limits::BYTES_PER_COMMAND_MAX {
        return Err(Refusal::CommandTooLarge {
            size: bytes,
            max: limits::BYTES_PER_COMMAND_MAX,
            unit: "bytes",
        }
        .into());
    }
    let here = draft
        .board
        .teams
        .get(&who.team)
        .map_or(0, |team| team.index.open.len());
    check::open_tasks(here + tasks.len())?;

    count_for_attempt(draft, who, tasks.len())?;
    let first = draft.team(who.team).last_task.next();
    for (place, task) in tasks.iter().enumerate() {
        create_task(draft, who, task, first, place)?;
        check::records(draft)?;
    }
    Ok(Answer::Tasks {
        team: who.team,
        first,
        count: u32::try_from(tasks.len()).expect("a batch has 1,000 items at the most"),
    })
}

/// Counts what a sub-agent makes in the record of its own attempt, and refuses what is too much.
fn count_for_attempt(draft: &mut Draft<'_>, who: &Who, count: usize) -> Result<(), Obstacle> {
    let Some(at) = who.at else {
        return Ok(());
    };
    let key = (who.team, at.task);
    let board = draft.board;
    let placement = holding::placed(draft, key)?;
    board.check_tasks_made(key, placement, count)?;
    placement.tasks_made += u32::try_from(count).expect("a batch has 1,000 items at the most");
    Ok(())
}

/// The bytes of a task's texts.
fn weight(task: &NewTask) -> usize {
    let texts = [
        &task.subject,
        &task.description,
        &task.active_form,
        &task.prompt,
        &task.client_task_id,
    ];
    let metadata = task.metadata.iter().flat_map(|(key, value)| [key, value]);
    let paths = task.inputs.iter().map(|input| &input.path);
    texts
        .into_iter()
        .chain(metadata)
        .chain(&task.labels)
        .chain(&task.output_globs)
        .chain(paths)
        .map(|text| text.len())
        .sum()
}

fn create_task(
    draft: &mut Draft<'_>,
    who: &Who,
    new: &NewTask,
    first: TaskId,
    place: usize,
) -> Result<(), Obstacle> {
    check::new_task(new)?;
    // What a sub-agent hires is part of its own task, what else it makes of the list that it sees.
    let hirers = who.at.filter(|_| new.is_delegated).map(|at| at.task);
    let parent = new.parent.or(hirers).or(who.list_of);
    check_parent(draft, who, new, parent)?;
    check_join(draft, who, new.joins)?;
    caller::may_assign(who, new.owner.as_ref())?;
    check_runner(
        draft,
        who.team,
        new.owner.as_ref(),
        new.agent_type.as_ref(),
        &new.prompt,
    )?;

    let hired_by = hirer(draft, who, new, parent)?;
    let team = draft.team_mut(who.team);
    team.last_task = team.last_task.next();
    let id = team.last_task;
    let blocked_by = blockers(draft, who, new, id, first, place)?;
    let mut task = card(draft, who, new, id, blocked_by);
    task.parent = parent;
    let terms = task.terms().clone();
    task.set_terms(Terms { hired_by, ..terms });
    // Whatever shares a board shares it with all that is part of it.
    task.share_todos |= parent.is_some_and(|parent| draft.shares_todos((who.team, parent)));
    for blocker in &task.blocked_by {
        draft.note_edge(who.team, *blocker, id, true);
    }
    draft.note_new(who.team, &task);
    draft.put_task(who.team, task);
    graph::check_new(draft, (who.team, id), FIELDS)?;
    let actor = who.actor.clone();
    let created = Happening::TaskCreated {
        task: id,
        subject: new.subject.clone(),
    };
    draft.happened(who.team, &actor, None, created);
    let mut end = End::waited_for(id);
    for dependant in &new.blocks {
        caller::refer(draft, who, "blocks", *dependant)?;
        if !graph::add_edge(draft, who.team, &mut end, *dependant, "blocks")? {
            continue;
        }
        edges::guard_new_blocker(draft, (who.team, *dependant), id, &actor, false)?;
        edges::note_edges_changed(draft, (who.team, *dependant), &actor, id);
    }
    ending::heed_blockers(draft, (who.team, id))?;
    if let Some(owner) = new.owner.as_ref() {
        notices::assigned(draft, (who.team, id), owner, &actor)?;
    }
    Ok(())
}

/// Refuses a parent that isn't there, is not the caller's to know, is cancelled, or lies too deep.
fn check_parent(
    draft: &Draft<'_>,
    who: &Who,
    new: &NewTask,
    parent: Option<TaskId>,
) -> Result<(), Refusal> {
    if let Some(parent) = parent {
        caller::refer(draft, who, "parent_task_id", parent)?;
        // It would be an orphan from the start.
        if draft.is_called_off((who.team, parent)) && !new.outlives_parent {
            return Err(Refusal::TaskOver {
                task: parent,
                status: Status::Cancelled,
            });
        }
    }
    let mut at = parent;
    let mut depth = 0;
    while let Some(id) = at {
        depth += 1;
        if depth > limits::DEPTH_MAX {
            return Err(Refusal::BadValue {
                field: "parent_task_id",
                why: format!("lies {} tasks deep, and none may be part of it", depth - 1),
            });
        }
        at = draft.parent((who.team, id));
    }
    Ok(())
}

/// Refuses to join what isn't there, or not for the caller to know, or is joined by so many.
fn check_join(draft: &Draft<'_>, who: &Who, joined: Option<TaskId>) -> Result<(), Refusal> {
    const FIELD: &str = "joins_task_id";
    let Some(joined) = joined else {
        return Ok(());
    };
    caller::refer(draft, who, FIELD, joined)?;
    let count = draft.joins_on((who.team, joined)).len() + 1;
    check::count(FIELD, count, limits::EDGES_MAX)
}

/// The attempt that makes a new task, where a sub-agent does: then the task ends with it (D12). What
/// a worker is to run, a sub-agent makes only as far as it may hire (D7); other tasks are its own
/// notes, or the team's.
fn hirer(
    draft: &Draft<'_>,
    who: &Who,
    new: &NewTask,
    parent: Option<TaskId>,
) -> Result<Option<Hirer>, Obstacle> {
    let Some(at) = who.at else {
        return Ok(None);
    };
    let owner = new.owner.as_ref();
    let owner = owner.map(|name| draft.member(who.team, name)).transpose()?;
    let is_run = |kind| matches!(kind, MemberKind::Hosted | MemberKind::Worker);
    let is_hired = new.is_delegated
        || new.agent_type.is_some()
        || owner.is_some_and(|owner| is_run(owner.kind));
    if is_hired {
        draft.board.check_hiring((who.team, at.task))?;
    }
    let is_below = parent.is_some_and(|parent| draft.is_below((who.team, parent), at.task));
    Ok((is_hired || is_below).then_some(at))
}

/// What a new task waits for: ids, then earlier items of its batch. One that is given twice counts
/// once (K4).
fn blockers(
    draft: &Draft<'_>,
    who: &Who,
    new: &NewTask,
    id: TaskId,
    first: TaskId,
    place: usize,
) -> Result<Vec<TaskId>, Refusal> {
    let mut blocked_by = Vec::new();
    let mut seen = BTreeSet::new();
    let items = new.blocked_by_items.iter().map(|item| {
        if *item >= place {
            return Err(Refusal::BadValue {
                field: "blocked_by_items",
                why: format!("names item {item}, which is no earlier one of the batch"),
            });
        }
        Ok(TaskId(first.0 + *item as u64))
    });
    for blocker in new.blocked_by.iter().copied().map(Ok).chain(items) {
        let blocker = blocker?;
        if blocker == id {
            return Err(Refusal::SelfEdge {
                field: FIELDS.blocked_by,
                task: id,
            });
        }
        if !seen.insert(blocker) {
            continue;
        }
        check::count(FIELDS.blocked_by, seen.len(), limits::EDGES_MAX)?;
        caller::refer(draft, who, FIELDS.blocked_by, blocker)?;
        graph::check_room(draft, (who.team, blocker))?;
        blocked_by.push(blocker);
    }
    Ok(blocked_by)
}

fn card(draft: &Draft<'_>, who: &Who, new: &NewTask, id: TaskId, blocked_by: Vec<TaskId>) -> Task {
    let mut task = Task {
        id,
        subject: new.subject.clone(),
        description: new.description.clone(),
        active_form: new.active_form.clone(),
        prompt: new.prompt.clone(),
        owner: new.owner.clone(),
        blocked_by,
        metadata: new.metadata.clone(),
        priority: new.priority,
        labels: new.labels.clone(),
        agent_type: new.agent_type.clone(),
        parent: None,
        kind: new.kind,
        deadline: new.deadline,
        timeout: new.timeout,
        crash_limit: new.crash_limit.unwrap_or(limits::CRASH_LIMIT),
        crashes: 0,
        retry: new.retry.map(Box::new),
        failures: 0,
        failure_policy: new.failure_policy,
        blocker_failed_policy: new.blocker_failed_policy,
        share_todos: new.share_todos,
        inputs: new.inputs.clone(),
        output_globs: new.output_globs.clone(),
        outputs: Vec::new(),
        result: Arc::default(),
        error: Arc::default(),
        usage: Usage::default(),
        created_at: draft.now,
        created_by: who.actor.clone(),
        started_at: None,
        state: TaskState::Pending(Waiting::from(draft.now, Arc::default())),
        last_attempt: AttemptNumber(0),
        attempts: Vec::new(),
        revision: Revision(0),
        client_task_id: new.client_task_id.clone(),
        terms: None,
    };
    task.set_terms(Terms {
        worker_labels: new.worker_labels.clone(),
        window: new.window,
        outlives_parent: new.outlives_parent,
        joins: new.joins,
        hired_by: None,
    });
    task
}

/// Whether there is a way to run the task, where a worker is to run it (D2, K13).
pub(super) fn check_runner(
    draft: &Draft<'_>,
    team: TeamUid,
    owner: Option<&MemberName>,
    agent_type: Option<&AgentTypeName>,
    prompt: &str,
) -> Result<(), Refusal> {
    let owner = owner.map(|name| draft.member(team, name)).transpose()?;
    let hosted_type = owner
        .filter(|member| member.kind == MemberKind::Hosted)
        .and_then(|member| member.agent_type.as_ref());
    let runs_by = agent_type.or(hosted_type);
    if let (None, Some(owner)) = (runs_by, owner)
        && owner.kind == MemberKind::Worker
    {
        return Err(Refusal::AgentTypeMissing {
            owner: owner.name.clone(),
        });
    }
    let Some(agent_type) = runs_by else {
        return Ok(());
    };
    let Some(offered) = draft.board.offered_type(agent_type) else {
        return Err(Refusal::AgentTypeUnknown {
            agent_type: agent_type.clone(),
            known: draft.board.offered().map(KnownType::of).collect(),
            now: draft.now,
        });
    };
    if offered.prompt_is_script && prompt.trim().is_empty() {
        return Err(Refusal::PromptMissing {
            agent_type: agent_type.clone(),
        });
    }
    Ok(())
}
