//! What the tasks that one waited for brought (D13), as it goes with its assignment.

use std::sync::Arc;

use board::{
    id::{TaskId, TaskKey, TeamUid},
    refusal::Refusal,
    task::{EndStatus, Status, Task},
};

use super::Engine;
use crate::fleet::BlockerResult;

/// The part of one result that goes with an assignment, in bytes.
pub const BLOCKER_RESULT_LEN_MAX: usize = 16 * 1024;
/// The bytes of all of them together: an assignment has room for other things too.
const RESULTS_LEN_MAX: usize = 2 * 1024 * 1024;
/// Children of a joined task whose results go with the assignment.
const JOINED_RESULTS_MAX: usize = 256;
/// The subject of a task that can't be read.
const UNREADABLE: &str = "(unreadable)";

impl Engine {
    /// The results of a task's completed blockers, then those of the children that it joins.
    pub(super) fn brought(&mut self, team: TeamUid, task: &Task) -> Vec<BlockerResult> {
        let mut room = RESULTS_LEN_MAX;
        let mut brought = Vec::new();
        for id in &task.blocked_by {
            brought.extend(self.brought_by((team, *id), &mut room));
        }
        let Some(joined) = task.terms().joins else {
            return brought;
        };
        let children = self.board.done_children((team, joined));
        let children = children.filter(|id| *id != task.id && !task.blocked_by.contains(id));
        let some: Vec<TaskId> = children.take(JOINED_RESULTS_MAX).collect();
        for id in &some {
            brought.extend(self.brought_by((team, *id), &mut room));
        }
        let last = some.last().copied().unwrap_or_default();
        let children = self.board.done_children((team, joined));
        let missing = children.filter(|id| *id > last && *id != task.id).count();
        if some.len() == JOINED_RESULTS_MAX && missing > 0 {
            brought.push(self.left_out((team, joined), missing));
        }
        brought
    }

    /// What one task brought, where it completed, as far as there is room.
    fn brought_by(&mut self, key: TaskKey, room: &mut usize) -> Option<BlockerResult> {
        let task = match self.view(key) {
            Ok(view) => view.task,
            Err(Refusal::ReadFailed { reference }) => return self.unread(key, &reference),
            Err(_) => return None,
        };
        if task.status() != Status::Completed {
            return None;
        }
        let (result, mut is_cut) = cut(&task.result, BLOCKER_RESULT_LEN_MAX.min(*room));
        *room -= result.len();
        let files = task.outputs.iter().map(|output| output.path.len() + 64);
        let files: usize = files.sum();
        let mut outputs = task.outputs.clone();
        if files > *room {
            (outputs, is_cut) = (Vec::new(), true);
        } else {
            *room -= files;
        }
        Some(BlockerResult {
            task: key.1,
            subject: task.subject.clone(),
            result,
            is_cut,
            outputs,
        })
    }

    /// Says in the place of a task's result that it can't be read.
    fn unread(&self, key: TaskKey, reference: &str) -> Option<BlockerResult> {
        (self.board.ended(key) == Some(EndStatus::Completed)).then(|| BlockerResult {
            task: key.1,
            subject: UNREADABLE.into(),
            result: format!(
                "The result of task #{} is damaged and cannot be read (reference {reference}).",
                key.1
            )
            .into(),
            is_cut: true,
            outputs: Vec::new(),
        })
    }

    /// Says in the place of a joined task how many of its children's results are missing.
    fn left_out(&mut self, key: TaskKey, missing: usize) -> BlockerResult {
        let joined = self.view(key);
        let text = format!(
            "{missing} more tasks that are part of #{} completed; their results are not here, but \
             in the tasks.",
            key.1
        );
        BlockerResult {
            task: key.1,
            subject: joined.map_or_else(|_| UNREADABLE.into(), |view| view.task.subject.clone()),
            result: text.into(),
            is_cut: true,
            outputs: Vec::new(),
        }
    }
}

/// The beginning of a text, and whether something is missing.
fn cut(text: &Arc<str>, max: usize) -> (Arc<str>, bool) {
    if text.len() <= max {
        return (text.clone(), false);
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (text[..end].into(), true)
}
