//! What few tasks say of how they are run.

use std::{collections::BTreeMap, sync::Arc};

use crate::id::{AttemptNumber, TaskId};

/// How a task is run, where that is not as usual.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Labels that a worker must have to be given it, with these values.
    pub worker_labels: BTreeMap<Arc<str>, Arc<str>>,
    /// How many of its children workers run at once at the most; 0 for no bound.
    pub window: u32,
    /// It goes on when the attempt that hired it, or the task that it is part of, ends.
    pub outlives_parent: bool,
    /// The task all of whose children it waits for, as if they were its blockers.
    pub joins: Option<TaskId>,
    /// The attempt whose sub-agent hired it, or put it below its own task; none where it was made
    /// by anybody else.
    pub hired_by: Option<Hirer>,
}

/// An attempt whose sub-agent hires others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hirer {
    /// The sub-agent's own task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: AttemptNumber,
}

impl Terms {
    /// How most tasks are run.
    pub const USUAL: Self = Self {
        worker_labels: BTreeMap::new(),
        window: 0,
        outlives_parent: false,
        joins: None,
        hired_by: None,
    };
}
