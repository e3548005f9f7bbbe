//! Cancelling, holding and resuming what a filter finds.

use super::calls::Who;
use crate::{
    command::{Answer, Sweep},
    draft::Draft,
    refusal::{Obstacle, Refusal},
};

/// Changes up to [`crate::limits::STEP_MAX`] of the tasks that are meant.
pub(super) fn sweep(
    _draft: &mut Draft<'_>,
    _who: &Who,
    _sweep: &Sweep,
) -> Result<Answer, Obstacle> {
    Err(Refusal::BadValue {
        field: "call",
        why: "is to come".into(),
    }
    .into())
}
