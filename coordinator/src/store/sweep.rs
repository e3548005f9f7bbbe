//! Removing, step by step, what lies here of a team that is gone.

use std::path::Path;

use board::id::TeamUid;
use sled::Db;

use super::{StoreError, database, key, stage::Stage};

/// Records that one sweep removes, so that no commit waits long for it. Pieces of long values come
/// on top.
pub(super) const SWEPT_PER_STEP: usize = 256;

/// Removes some of what a gone team has, in the end the mark that it is gone. Says whether that
/// was the end.
pub(super) fn remove_team(
    team: TeamUid,
    db: &Db,
    at: &Path,
    stage: &mut Stage<'_>,
) -> Result<bool, StoreError> {
    let mut left = SWEPT_PER_STEP;
    for prefix in key::all_of_team(team) {
        let mut keys = db.scan_prefix(prefix).keys();
        while let Some(key) = database::guard(at, "reading", || keys.next().transpose())? {
            if left == 0 {
                return Ok(false);
            }
            stage.remove(key.to_vec())?;
            left -= 1;
        }
    }
    stage.remove(key::gone_team(team))?;
    Ok(true)
}
