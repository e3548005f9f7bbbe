//! Joins as a draft sees them: the board's own, with what the draft makes and changes.

use super::Draft;
use crate::{
    board::holds_back,
    id::{TaskId, TaskKey, TeamUid},
    ids::IdSet,
    index::{JOIN_SHOWN, is_undone},
    task::Task,
};

impl Draft<'_> {
    /// Notes a task that this draft makes, by what it is part of and what it joins.
    pub(crate) fn note_new(&mut self, team: TeamUid, task: &Task) {
        if let Some(parent) = task.parent {
            let children = self.new_children.entry((team, parent)).or_default();
            children.push(task.id);
        }
        if let Some(joined) = task.terms().joins {
            let joins = self.new_joins.entry((team, joined)).or_default();
            joins.push(task.id);
        }
    }

    /// The tasks that wait for the children of this one, and are not over.
    pub(crate) fn joins_on(&self, (team, parent): TaskKey) -> Vec<TaskId> {
        let board = self.board.teams.get(&team).into_iter();
        let kept = board.flat_map(|board| board.index.joining.joins(parent));
        let new = self.new_joins.get(&(team, parent));
        let all = kept.chain(new.into_iter().flatten().copied());
        let is_open = |id: &TaskId| {
            let status = self.status((team, *id));
            status.is_some_and(|status| !status.is_terminal())
        };
        all.filter(is_open).collect()
    }

    /// The children of a task, with those that this draft makes.
    pub(crate) fn all_children(&self, (team, parent): TaskKey) -> impl Iterator<Item = TaskId> {
        let board = self.board.teams.get(&team);
        let kept = board.and_then(|board| board.index.children.get(&parent));
        let new = self.new_children.get(&(team, parent));
        let kept = kept.into_iter().flat_map(IdSet::iter);
        kept.chain(new.into_iter().flatten().copied())
            .filter(move |id| !self.tasks_gone.contains(&(team, *id)))
    }

    /// Whether children of the task that this one joins hold it back.
    pub(crate) fn is_held_by_children(&self, team: TeamUid, join: &Task) -> bool {
        let Some(parent) = join.terms().joins else {
            return false;
        };
        let policy = join.blocker_failed_policy;
        let is_child = |task: &Task| task.parent == Some(parent) && task.id != join.id;
        let holds = |task: &Task| {
            is_child(task) && holds_back(task.status(), task.is_cascade_due(), policy)
        };
        let board = self.board.teams.get(&team);
        let kept = board.map_or(0, |board| board.index.joining.held_by(join));
        self.has_any(team, kept, is_child, holds)
    }

    /// The first of the children that hold a join back.
    pub(crate) fn holding_children(&self, team: TeamUid, join: &Task) -> Vec<TaskId> {
        if !self.is_held_by_children(team, join) {
            return Vec::new();
        }
        let policy = join.blocker_failed_policy;
        let board = self.board.teams.get(&team).into_iter();
        let kept = board.flat_map(|board| board.index.joining.holders(join));
        let kept = kept.filter(|id| {
            self.status((team, *id)).is_some() && self.holds_back((team, *id), policy)
        });
        let parent = join.terms().joins.unwrap_or_default();
        let is_fresh = |key: &TaskKey| {
            let board = self.board.teams.get(&team);
            board.is_none_or(|board| {
                let holders = &board.index.joining;
                !board.tasks.contains_key(&key.1) || holders.is_done(parent, key.1)
            })
        };
        let drafted = self.tasks.iter().filter(|((of, id), task)| {
            *of == team
                && task.parent == Some(parent)
                && *id != join.id
                && holds_back(task.status(), task.is_cascade_due(), policy)
        });
        let drafted = drafted.map(|(key, _)| *key).filter(is_fresh);
        let all = kept.chain(drafted.map(|(_, id)| id));
        all.take(JOIN_SHOWN).collect()
    }

    /// A child of the task that this one joins that is over, and did not complete.
    pub(crate) fn undone_child(&self, team: TeamUid, join: &Task) -> Option<TaskId> {
        let parent = join.terms().joins?;
        let board = self.board.teams.get(&team).into_iter();
        let kept = board.flat_map(|board| board.index.joining.undone(parent));
        let is_undone_now = |id: &TaskId| match self.tasks.get(&(team, *id)) {
            Some(task) => is_undone(task),
            None => !self.tasks_gone.contains(&(team, *id)),
        };
        let drafted = self.tasks.iter().filter(|((of, _), task)| {
            *of == team && task.parent == Some(parent) && is_undone(task)
        });
        let drafted = drafted.map(|((_, id), _)| *id);
        let all = kept.filter(is_undone_now).chain(drafted);
        all.into_iter().find(|id| *id != join.id)
    }
}
