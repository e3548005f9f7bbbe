//! A task of which only the stub can be read.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    BlockerFailedPolicy, End, FailurePolicy, Priority, Stub, Task, TaskKind, TaskState, Usage,
};
use crate::{
    event::Actor,
    id::{AttemptNumber, Revision},
    time::Time,
};

/// The subject of a task that can't be read.
const SUBJECT: &str = "(unreadable)";

impl Stub {
    /// What can still be told of a task whose record can't be read: its number, how and when it
    /// ended, what it waited for, whose and what it was part of. It is to be shown, and never stored.
    pub fn outline(&self) -> Task {
        let nothing = Arc::<str>::default;
        Task {
            id: self.id,
            subject: SUBJECT.into(),
            description: nothing(),
            active_form: nothing(),
            prompt: nothing(),
            owner: self.owner.clone(),
            blocked_by: self.blocked_by.to_vec(),
            metadata: BTreeMap::new(),
            priority: Priority::default(),
            labels: Vec::new(),
            agent_type: None,
            parent: self.parent,
            kind: TaskKind::default(),
            deadline: None,
            timeout: None,
            crash_limit: 0,
            crashes: 0,
            retry: None,
            failures: 0,
            failure_policy: FailurePolicy::default(),
            blocker_failed_policy: BlockerFailedPolicy::default(),
            share_todos: self.share_todos,
            inputs: Vec::new(),
            output_globs: Vec::new(),
            outputs: Vec::new(),
            result: nothing(),
            error: nothing(),
            usage: Usage::default(),
            created_at: Time(0),
            created_by: Actor::Coordinator,
            started_at: None,
            state: TaskState::Ended(End {
                status: self.status,
                at: self.ended_at,
                by: Actor::Coordinator,
                stop_reason: None,
                cascade_due: self.cascade_due,
            }),
            last_attempt: AttemptNumber(0),
            attempts: Vec::new(),
            revision: Revision(self.revision.0),
            client_task_id: nothing(),
            terms: None,
        }
    }
}
