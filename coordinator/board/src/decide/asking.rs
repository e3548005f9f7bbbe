//! What a running sub-agent asks its lead, and what it is told (D6).

use std::{sync::Arc, time::Duration};

use super::calls::Who;
use crate::{
    command::Answer,
    decision::Decision,
    draft::Draft,
    id::{Fence, InstanceId, TaskId},
    refusal::{Obstacle, Refusal},
};

fn to_come() -> Obstacle {
    Refusal::BadValue {
        field: "call",
        why: "is to come".into(),
    }
    .into()
}

/// Answers the question that a task's sub-agent has asked; of this number, if that is said.
pub(super) fn answer(
    _draft: &mut Draft<'_>,
    _who: &Who,
    _task: TaskId,
    _number: Option<u32>,
    _text: &Arc<str>,
) -> Result<Answer, Obstacle> {
    Err(to_come())
}

/// Tells a task's sub-agent something that it has not asked.
pub(super) fn steer(
    _draft: &mut Draft<'_>,
    _who: &Who,
    _task: TaskId,
    _text: &Arc<str>,
) -> Result<Answer, Obstacle> {
    Err(to_come())
}

/// A sub-agent asks.
pub(super) fn asked(
    _draft: Draft<'_>,
    _fence: &Fence,
    _instance: InstanceId,
    _number: u32,
    _text: &Arc<str>,
    _timeout: Option<Duration>,
) -> Result<Decision, Obstacle> {
    Err(to_come())
}

/// A sub-agent has what it was to be told.
pub(super) fn heeded(
    _draft: Draft<'_>,
    _fence: &Fence,
    _instance: InstanceId,
    _through: u32,
) -> Result<Decision, Obstacle> {
    Err(to_come())
}
