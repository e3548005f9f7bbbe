//! The two handshakes: asking a member to stop and leave, and asking for a plan to be approved
//! (M8).

use crate::{draft::Draft, id::MemberKey, refusal::Obstacle};

/// What a member was asked, or asked, was not answered in time.
pub(super) fn unanswered(_draft: &mut Draft<'_>, _key: &MemberKey) -> Result<(), Obstacle> {
    Ok(())
}
