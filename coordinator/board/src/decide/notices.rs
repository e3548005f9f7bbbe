//! The coordinator's own mail: what happened to a task, told to whom it concerns, in the commit
//! in which it happened.

use std::sync::Arc;

use crate::{
    draft::Draft,
    event::Actor,
    id::{MemberName, TaskId, TaskKey, TeamUid},
    refusal::Obstacle,
    task::Task,
};

/// A task is somebody's now (K8).
pub(super) fn assigned(
    _draft: &mut Draft<'_>,
    _key: TaskKey,
    _owner: &MemberName,
    _actor: &Actor,
) -> Result<(), Obstacle> {
    Ok(())
}

/// A task is somebody's no more (K8).
pub(super) fn unassigned(
    _draft: &mut Draft<'_>,
    _key: TaskKey,
    _owner: &MemberName,
    _actor: &Actor,
    _reason: &Arc<str>,
) -> Result<(), Obstacle> {
    Ok(())
}

/// A task was deleted that was somebody's.
pub(super) fn withdrawn(
    _draft: &mut Draft<'_>,
    _team: TeamUid,
    _task: &Task,
    _owner: &MemberName,
    _actor: &Actor,
) -> Result<(), Obstacle> {
    Ok(())
}

/// A task waits for nothing any more (K5).
pub(super) fn unblocked(
    _draft: &mut Draft<'_>,
    _key: TaskKey,
    _cause: TaskId,
) -> Result<(), Obstacle> {
    Ok(())
}

/// A task is over (M5): its maker is told; of a fan-out, when all of it is.
pub(super) fn finished(
    _draft: &mut Draft<'_>,
    _key: TaskKey,
    _actor: &Actor,
) -> Result<(), Obstacle> {
    Ok(())
}

/// The attempt of a hosted member failed: the lead is told.
pub(super) fn member_failed(
    _draft: &mut Draft<'_>,
    _key: TaskKey,
    _member: &MemberName,
    _reason: &Arc<str>,
) -> Result<(), Obstacle> {
    Ok(())
}

/// A member let go of a task, and may have nothing to do any more (M7).
pub(super) fn maybe_idle(
    _draft: &mut Draft<'_>,
    _key: TaskKey,
    _member: &MemberName,
    _reason: &Arc<str>,
) -> Result<(), Obstacle> {
    Ok(())
}
