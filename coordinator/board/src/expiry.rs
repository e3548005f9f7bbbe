//! Which finished tasks are needed by others, and so stay longer than their time (K15).
//!
//! A task is needed while an open one depends on it, joins it or its siblings, or is above it; and
//! while a child of it is there, open or not: so a task's parent always is, too. A finished task
//! that waited for it needs it no more: its edge stays, and leads to what is not there.

use crate::{
    board::{Board, TeamBoard},
    command::TasksKept,
    id::{TaskId, TeamUid},
    index::Expiry,
    limits,
    time::Time,
};

/// A task that needs this one to stay, if one does.
pub(crate) fn needed_by(team: &TeamBoard, id: TaskId) -> Option<TaskId> {
    let is_open = |id: &TaskId| {
        let entry = team.tasks.get(id);
        entry.is_some_and(|entry| !entry.card.status().is_terminal())
    };
    let index = &team.index;
    let mut dependants = index.dependants(id).iter().copied();
    if let Some(dependant) = dependants.find(is_open) {
        return Some(dependant);
    }
    // The last child mostly goes last.
    if let Some(child) = index
        .children
        .get(&id)
        .and_then(|set| set.descending().next())
    {
        return Some(child);
    }
    let parent = team.tasks.get(&id).and_then(|entry| entry.card.parent());
    let joined = [Some(id), parent];
    let mut joins = joined.into_iter().flatten();
    if let Some(join) = joins.find_map(|of| index.joining.joins(of).next()) {
        return Some(join);
    }
    let above = |id: &TaskId| team.tasks.get(id).and_then(|entry| entry.card.parent());
    std::iter::successors(parent, above).find(is_open)
}

impl Board {
    /// Lets finished tasks whose time has come step aside that others need, so that
    /// [`tick`](crate::decide::tick) finds those that may go. It changes nothing that anybody
    /// sees, and looks at a bounded number of tasks: those that stepped aside are not looked at
    /// again before the task that needs them ends, goes or lets go of them.
    pub fn set_needed_aside(&mut self, now: Time, kept: TasksKept) {
        let mut left = limits::EXPIRED_PER_STEP;
        for uid in self.expiries.due(now, kept) {
            let team = &self.teams[&uid];
            let due: Vec<_> = team.index.expiry.due(now, kept).take(left).collect();
            left -= due.len();
            let needed = due.into_iter().filter_map(|(ended, id)| {
                let by = needed_by(team, id)?;
                Some((ended, id, by))
            });
            let needed: Vec<_> = needed.collect();
            if !needed.is_empty() {
                self.change_expiry(uid, |expiry| {
                    for (ended, id, by) in needed {
                        expiry.set_aside(id, ended, by);
                    }
                });
            }
            if left == 0 {
                return;
            }
        }
    }

    /// Changes in which order a team's finished tasks leave.
    pub(crate) fn change_expiry(&mut self, uid: TeamUid, change: impl FnOnce(&mut Expiry)) {
        let Some(team) = self.teams.get_mut(&uid) else {
            return;
        };
        self.expiries.unlist(uid, &team.index.expiry);
        change(&mut team.index.expiry);
        if team.head.is_open() {
            self.expiries.list(uid, &team.index.expiry);
        }
    }
}
