//! Letting finished tasks go whose time is over (K15), a bounded number with each tick.

use crate::{command::Soft, draft::Draft, expiry::needed_by, limits};

/// Lets go of finished tasks that nothing needs any more. Says whether there was one.
pub(super) fn step(draft: &mut Draft<'_>, soft: &Soft<'_>) -> bool {
    let (board, now, kept) = (draft.board, draft.now, soft.tasks_kept);
    let mut left = limits::EXPIRED_PER_STEP;
    for uid in board.expiries.due(now, kept) {
        let team = &board.teams[&uid];
        for (_, id) in team.index.expiry.due(now, kept).take(left) {
            left -= 1;
            if draft.is_full() {
                return true;
            }
            let key = (uid, id);
            let is_settled = !team.tasks[&id].card.is_cascade_due();
            // What this tick changed is looked at again with the next one.
            if is_settled && draft.drafted(key).is_none() && needed_by(team, id).is_none() {
                draft.expire(key);
            }
        }
        if left == 0 {
            break;
        }
    }
    draft.has_expired()
}
