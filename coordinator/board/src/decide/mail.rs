//! Sending and acknowledging messages (M1 to M6).

use super::calls::Who;
use crate::{
    command::{Ack, Answer, NewLetter},
    draft::Draft,
    refusal::{Obstacle, Refusal},
};

pub(super) fn send(
    _draft: &mut Draft<'_>,
    _who: &Who,
    _letter: &NewLetter,
) -> Result<Answer, Obstacle> {
    Err(Refusal::Blank { field: "pending" }.into())
}

pub(super) fn ack(_draft: &mut Draft<'_>, _who: &Who, _ack: &Ack) -> Result<Answer, Obstacle> {
    Err(Refusal::Blank { field: "pending" }.into())
}
