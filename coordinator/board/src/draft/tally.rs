//! What is counted of a draft's tasks: the board's own counts, with what the draft changes.

use std::collections::BTreeSet;

use super::Draft;
use crate::{
    event::Actor,
    id::{MemberKey, MemberName, TaskId, TaskKey, TeamUid},
    ids::IdSet,
    index::queue_of,
    task::{Task, TaskState},
};

impl Draft<'_> {
    /// Whether a task has children that are not over.
    pub(crate) fn has_open_children(&self, (team, task): TaskKey) -> bool {
        let board = self.board.teams.get(&team);
        let kept = board.and_then(|board| board.index.open_children.get(&task));
        let is_child = |child: &Task| child.parent == Some(task);
        let is_open_child = |child: &Task| is_child(child) && child.end().is_none();
        let kept = kept.map_or(0, |kept| *kept as usize);
        self.has_any(team, kept, is_child, is_open_child)
    }

    /// The last children of a task, newest first, as far as they were on the board before.
    pub(crate) fn last_children(&self, (team, task): TaskKey, most: usize) -> Vec<TaskId> {
        let board = self.board.teams.get(&team);
        let children = board.and_then(|board| board.index.children.get(&task));
        let children = children.into_iter().flat_map(IdSet::descending);
        children.take(most).collect()
    }

    /// Whether a member holds a task by a claim, or is run at one.
    pub(crate) fn is_at_work(&self, (team, member): &MemberKey) -> bool {
        let index = self.board.teams.get(team).map(|board| &board.index);
        let holding = index.and_then(|index| index.holding.get(member));
        let running = index.and_then(|index| index.queues.running_members.get(member));
        let kept = holding.into_iter().chain(running);
        let kept: usize = kept.map(BTreeSet::len).sum();
        self.has_any(*team, kept, |_| true, |task| is_its_work(task, member))
    }

    /// Whether something waits to be run for a hosted member.
    pub(crate) fn is_queued_for(&self, (team, member): &MemberKey) -> bool {
        let Some(board) = self.board.teams.get(team) else {
            return false;
        };
        let mut waiting = board.index.queues.of_member(member).flatten();
        let mut drafted = self.tasks.iter().filter(|((of, _), _)| of == team);
        // What the draft didn't touch waits as before.
        waiting.any(|(_, id)| !self.tasks.contains_key(&(*team, *id)))
            || drafted.any(|(_, task)| {
                let queue = queue_of(task, &board.members, &self.board.limits);
                task.waiting().is_some_and(|waiting| waiting.is_free())
                    && queue.is_some_and(|queue| queue.member.as_ref() == Some(member))
                    && !self.is_blocked(*team, task)
            })
    }

    /// Whether any task of a team is so. The board counted `kept` that were so before; of what the
    /// draft changed only those that may be so are looked at.
    pub(super) fn has_any(
        &self,
        team: TeamUid,
        kept: usize,
        may_be: impl Fn(&Task) -> bool,
        is_so: impl Fn(&Task) -> bool,
    ) -> bool {
        let touched = self.tasks.len() + self.tasks_gone.len();
        if kept > touched {
            return true;
        }
        let was_so = |key: &TaskKey| self.board.whole(*key).is_some_and(|task| is_so(task));
        let gone = self.tasks_gone.iter().filter(|key| key.0 == team);
        let mut before = gone.filter(|key| was_so(key)).count();
        let mut now = 0;
        let changed = self.tasks.iter().filter(|(key, _)| key.0 == team);
        for (key, task) in changed.filter(|(_, task)| may_be(task)) {
            before += usize::from(was_so(key));
            now += usize::from(is_so(task));
        }
        kept + now > before
    }
}

fn is_its_work(task: &Task, member: &MemberName) -> bool {
    match &task.state {
        TaskState::Claimed(claim) => matches!(&claim.by, Actor::Member(by) if by == member),
        TaskState::Placed(placement) => placement.member.as_ref() == Some(member),
        TaskState::Pending(_) | TaskState::Ended(_) => false,
    }
}
