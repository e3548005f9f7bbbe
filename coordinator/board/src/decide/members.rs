//! Joining, leaving and leading.

use super::calls::Who;
use crate::{
    command::{Answer, NewMember, Removal},
    draft::Draft,
    id::{MemberKey, MemberName},
    refusal::{Obstacle, Refusal},
};

pub(super) fn add(
    _draft: &mut Draft<'_>,
    _who: &Who,
    _member: &NewMember,
) -> Result<Answer, Obstacle> {
    Err(Refusal::Blank { field: "pending" }.into())
}

pub(super) fn remove(
    _draft: &mut Draft<'_>,
    _who: &Who,
    _member: &MemberName,
    _removal: &Removal,
) -> Result<Answer, Obstacle> {
    Err(Refusal::Blank { field: "pending" }.into())
}

pub(super) fn hand_over(
    _draft: &mut Draft<'_>,
    _who: &Who,
    _to: &MemberName,
) -> Result<Answer, Obstacle> {
    Err(Refusal::Blank { field: "pending" }.into())
}

/// Frees a step of what a member owned who left.
pub(super) fn free_step(_draft: &mut Draft<'_>, _key: &MemberKey) -> Result<(), Obstacle> {
    Ok(())
}
