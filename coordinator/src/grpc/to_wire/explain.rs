//! Why a task is where it is.

use board::{
    event::Actor,
    placement::Why,
    task::TaskState,
    view::{Phase, TaskView},
};
use ganger_proto::v1;

use super::{count, event::event, ids, task};
use crate::engine::Explained;

pub fn explained(explained: &Explained) -> v1::ExplainTaskResponse {
    let view = &explained.view;
    let history = explained.history.iter();
    v1::ExplainTaskResponse {
        task: Some(task(view)),
        because: because(explained),
        history: history.map(|one| event(view.team.as_str(), one)).collect(),
        next_page_token: explained.next.map(|at| at.to_string()).unwrap_or_default(),
        history_cut: explained.is_cut,
    }
}

fn one(reason: &str, text: impl Into<String>) -> v1::Because {
    v1::Because {
        reason: reason.to_owned(),
        text: text.into(),
        ..v1::Because::default()
    }
}

/// Every reason, the strongest first.
fn because(explained: &Explained) -> Vec<v1::Because> {
    let view = &explained.view;
    match &view.task.state {
        TaskState::Ended(_) => Vec::new(),
        TaskState::Claimed(claim) => {
            let holder = match &claim.by {
                Actor::Task(id) => format!("the sub-agent of task #{id}"),
                by => by.to_string(),
            };
            vec![one("CLAIMED", format!("{holder} holds it"))]
        }
        TaskState::Placed(placement) => match &placement.stop {
            Some(stop) => vec![one(
                "STOPPING",
                format!("is being stopped: {}", stop.reason),
            )],
            None => {
                let text = format!(
                    "worker {} runs attempt {}",
                    placement.worker, placement.attempt
                );
                let asks = placement.question.as_ref().map(|asked| {
                    let text = format!("asks, and waits for an answer: {}", asked.text);
                    one("WAITING_FOR_ANSWER", text)
                });
                asks.into_iter().chain([one("IN_PROGRESS", text)]).collect()
            }
        },
        TaskState::Pending(_) => waiting(explained),
    }
}

fn waiting(explained: &Explained) -> Vec<v1::Because> {
    let view = &explained.view;
    let mut because = Vec::new();
    if let Some(waiting) = view.task.waiting() {
        if let Some(paused) = &waiting.paused {
            because.push(one(
                "PAUSED",
                format!("held by {}: {}", paused.by, paused.reason),
            ));
        }
        if waiting.not_before.is_some() {
            because.push(one("BACKING_OFF", waiting.reason.to_string()));
        }
    }
    if !view.open_blockers.is_empty() {
        because.push(v1::Because {
            task_ids: ids(&view.open_blockers),
            ..one(
                "BLOCKED",
                format!("waits for {} other tasks", view.held_back_by),
            )
        });
    }
    because.extend(place(explained));
    if because.is_empty() && view.queue.is_none() {
        let text = match &view.task.owner {
            Some(owner) => format!("{owner} has to claim it"),
            None => "a member has to claim it".to_owned(),
        };
        because.push(one("WAITS_FOR_CLAIM", text));
    }
    because
}

/// Why a task that waits for a worker has none.
fn place(explained: &Explained) -> Vec<v1::Because> {
    let view: &TaskView = &explained.view;
    let Some(place) = explained
        .place
        .filter(|_| view.phase == Some(Phase::Queued))
    else {
        return Vec::new();
    };
    let mut because = Vec::new();
    if let Some(task) = explained.owner_is_at {
        because.push(v1::Because {
            task_ids: ids(&[task]),
            ..one(
                "OWNER_BUSY",
                format!("its owner runs #{task}, and one task at a time"),
            )
        });
    }
    if explained.disk_low {
        because.push(one("DISK_LOW", "the coordinator's disk is nearly full"));
    }
    because.extend(explained.why.iter().map(hindrance));
    let text = match view.task.waiting().map(|waiting| &*waiting.reason) {
        None | Some("") => format!("is at place {place} of its queue"),
        Some(again) => format!("is at place {place} of its queue again: {again}"),
    };
    because.push(v1::Because {
        place: count(place),
        ..one("QUEUED", text)
    });
    because
}

fn hindrance(why: &Why) -> v1::Because {
    let task_ids = match why {
        Why::WindowFull { parent, .. } => ids(&[*parent]),
        _ => Vec::new(),
    };
    v1::Because {
        task_ids,
        ..one(why.word(), why.to_string())
    }
}
