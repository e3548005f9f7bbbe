//! Why a task that waits for a worker has none yet.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use super::{Moment, Share, Slots, avoided, is_at_limit};
use crate::{
    board::Board,
    id::{AgentTypeName, TaskId, TaskKey, WorkerName},
    index::{Place, Queue, Want},
};

/// Values of a label that are told, and workers.
const TOLD_MAX: usize = 8;

/// A reason why a task that waits for a worker has none yet, for a person with its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// No worker that is connected runs its type, for its team.
    NoWorkerForType {
        /// Which type.
        agent_type: AgentTypeName,
        /// The only worker that may run it.
        only: Option<WorkerName>,
    },
    /// None of those that do has the labels that it wants.
    NoWorkerForLabels {
        /// Which type.
        agent_type: AgentTypeName,
        /// What it wants.
        wanted: BTreeMap<Arc<str>, Arc<str>>,
        /// The values that connected workers have of these labels, as many as are told.
        have: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    },
    /// Its team runs as much as it may.
    TeamAtLimit {
        /// How much that is.
        running: u32,
        /// How much it may be.
        max: u32,
    },
    /// As much of its type runs as may.
    TypeAtLimit {
        /// Which type.
        agent_type: AgentTypeName,
        /// How much that is, over all teams.
        running: u32,
        /// How much it may be.
        max: u32,
    },
    /// As much with one of its labels runs as may.
    LabelAtLimit {
        /// Which label.
        label: Arc<str>,
        /// How much that is, over all teams.
        running: u32,
        /// How much it may be.
        max: u32,
    },
    /// As many children of its parent run as may.
    WindowFull {
        /// Which parent.
        parent: TaskId,
        /// How many that are.
        running: u32,
        /// How many it may be.
        window: u32,
    },
    /// It is kept from those with free slots, because attempts on them came to nothing.
    AvoidsWorker {
        /// From these, as many as are told.
        workers: Vec<WorkerName>,
        /// For so much longer at the most.
        span: Duration,
    },
    /// Those that could take it are busy.
    NoFreeSlot {
        /// Which type.
        agent_type: AgentTypeName,
        /// How many slots there are for its type.
        slots: u32,
        /// How many of them are free.
        free: u32,
    },
}

/// Every reason why a task that waits for a worker has none yet, the strongest first. Without any,
/// it is about to be given out.
pub fn why(board: &Board, slots: &Slots, moment: Moment<'_>, key: TaskKey) -> Vec<Why> {
    let team = &board.teams.get(&key.0);
    let Some((team, entry)) = team.and_then(|team| Some((team, team.tasks.get(&key.1)?))) else {
        return Vec::new();
    };
    let Some((queue, place)) = entry.marks.queued.as_deref() else {
        return Vec::new();
    };
    let mut reasons = Vec::new();
    reasons.extend(no_worker(slots, moment, key, &queue.want));
    let share = Share::of(team);
    if is_at_limit(team, share.running) {
        reasons.push(Why::TeamAtLimit {
            running: share.running,
            max: team.head.max_running,
        });
    }
    reasons.extend(limits(board, &queue.want));
    let queues = &team.index.queues;
    if let Some(parent) = queue
        .parent
        .filter(|parent| queues.is_window_full(*parent, 0))
    {
        reasons.push(Why::WindowFull {
            parent,
            running: queues.children_running(parent),
            window: queues.windows[&parent],
        });
    }
    if reasons.is_empty() {
        reasons.extend(busy(slots, moment, key, queue, *place));
    }
    reasons
}

/// That there is nobody who could ever take it, as things stand.
fn no_worker(slots: &Slots, moment: Moment<'_>, key: TaskKey, want: &Want) -> Option<Why> {
    if slots.is_any_fitting(key.0, want, None, moment.is_heard) {
        return None;
    }
    let anyhow = Want {
        worker_labels: BTreeMap::new(),
        ..want.clone()
    };
    if !slots.is_any_fitting(key.0, &anyhow, None, moment.is_heard) {
        return Some(Why::NoWorkerForType {
            agent_type: want.agent_type.clone(),
            only: want.worker.clone(),
        });
    }
    let have = want.worker_labels.keys().map(|key| {
        let mut values: Vec<_> = slots.values(key).cloned().collect();
        values.dedup();
        values.truncate(TOLD_MAX);
        (key.clone(), values)
    });
    Some(Why::NoWorkerForLabels {
        agent_type: want.agent_type.clone(),
        wanted: want.worker_labels.clone(),
        have: have.collect(),
    })
}

/// The bounds over all teams that are reached.
fn limits(board: &Board, want: &Want) -> Vec<Why> {
    let mut reasons = Vec::new();
    let running = board.running.of_type(&want.agent_type);
    let max = board.limits.agent_types.get(&want.agent_type);
    if let Some(max) = max.filter(|max| running >= **max) {
        reasons.push(Why::TypeAtLimit {
            agent_type: want.agent_type.clone(),
            running,
            max: *max,
        });
    }
    for label in &want.limited {
        let running = board.running.of_label(label);
        let max = board.limits.labels.get(label);
        if let Some(max) = max.filter(|max| running >= **max) {
            reasons.push(Why::LabelAtLimit {
                label: label.clone(),
                running,
                max: *max,
            });
        }
    }
    reasons
}

/// That those who could take it have no slot for it right now.
fn busy(
    slots: &Slots,
    moment: Moment<'_>,
    key: TaskKey,
    queue: &Queue,
    place: Place,
) -> Option<Why> {
    let want = &*queue.want;
    let avoids = avoided(key.0, want, place, slots, moment);
    if slots.best(key.0, want, avoids, moment.is_heard).is_some() {
        return None;
    }
    if let Some(avoids) = avoids
        && slots.best(key.0, want, None, moment.is_heard).is_some()
    {
        let offers = slots.offers();
        let offers = offers.filter(|offer| avoids.has(&offer.worker, offer.instance));
        let workers = offers.map(|offer| offer.worker.clone());
        return Some(Why::AvoidsWorker {
            workers: workers.take(TOLD_MAX).collect(),
            span: avoids.until(place).since(moment.now),
        });
    }
    let supply = slots.supply(&want.agent_type);
    Some(Why::NoFreeSlot {
        agent_type: want.agent_type.clone(),
        slots: supply.slots,
        free: supply.free,
    })
}

impl Why {
    /// Its word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoWorkerForType { .. } => "NO_WORKER_FOR_TYPE",
            Self::NoWorkerForLabels { .. } => "NO_WORKER_FOR_LABELS",
            Self::TeamAtLimit { .. } => "TEAM_AT_LIMIT",
            Self::TypeAtLimit { .. } => "TYPE_AT_LIMIT",
            Self::LabelAtLimit { .. } => "LABEL_AT_LIMIT",
            Self::WindowFull { .. } => "WINDOW_FULL",
            Self::AvoidsWorker { .. } => "AVOIDS_WORKER",
            Self::NoFreeSlot { .. } => "NO_FREE_SLOT",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorkerForType {
                agent_type,
                only: None,
            } => write!(f, "no connected worker offers {agent_type}"),
            Self::NoWorkerForType {
                agent_type,
                only: Some(only),
            } => write!(
                f,
                "worker {only}, whose it is, is not connected or does not offer {agent_type}"
            ),
            Self::NoWorkerForLabels {
                agent_type,
                wanted,
                have,
            } => {
                let wanted: Vec<_> = wanted.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let have = have.iter().map(|(key, values)| match values.as_slice() {
                    [] => format!("none has {key}"),
                    values => format!("{key} is {}", values.join(", ")),
                });
                let have: Vec<_> = have.collect();
                let (wanted, have) = (wanted.join(", "), have.join("; "));
                write!(
                    f,
                    "no connected worker that offers {agent_type} has {wanted}; on connected \
                     workers {have}"
                )
            }
            Self::TeamAtLimit { running, max } => {
                write!(f, "its team runs {running} tasks, and may run {max}")
            }
            Self::TypeAtLimit {
                agent_type,
                running,
                max,
            } => write!(f, "{running} tasks of {agent_type} run, and {max} may"),
            Self::LabelAtLimit {
                label,
                running,
                max,
            } => write!(f, "{running} tasks labelled {label} run, and {max} may"),
            Self::WindowFull {
                parent,
                running,
                window,
            } => write!(f, "{running} children of #{parent} run, and {window} may"),
            Self::AvoidsWorker { workers, span } => {
                let workers: Vec<_> = workers.iter().map(WorkerName::as_str).collect();
                write!(
                    f,
                    "is kept from {}, where its last attempts came to nothing, while another \
                     worker could take it, for {} s more at the most",
                    workers.join(", "),
                    span.as_secs() + 1
                )
            }
            Self::NoFreeSlot {
                agent_type,
                slots,
                free,
            } => write!(f, "{free} of {slots} slots for {agent_type} are free"),
        }
    }
}
