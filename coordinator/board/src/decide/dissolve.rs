//! The end of a team (T3): first it is written down, then its tasks are stopped and cancelled
//! step by step, then it is kept for a while, then it is gone.

use super::calls::Who;
use crate::{
    command::{Answer, Removal},
    draft::Draft,
    id::TeamUid,
    refusal::{Obstacle, Refusal},
};

pub(super) fn dissolve(
    _draft: &mut Draft<'_>,
    _who: &Who,
    _removal: &Removal,
) -> Result<Answer, Obstacle> {
    Err(Refusal::Blank { field: "pending" }.into())
}

/// Stops and cancels a step of a dissolved team's tasks.
pub(super) fn step(_draft: &mut Draft<'_>, _team: TeamUid) -> Result<(), Obstacle> {
    Ok(())
}
