//! Looking at tasks: one, many, and what became of one.

use std::sync::Arc;

use board::{
    board::Card,
    command::Caller,
    decide,
    event::Event,
    id::{AgentTypeName, MemberName, Revision, TaskId, TaskKey, TeamName, TeamUid},
    limits,
    listing::{Among, At, Order},
    placement::Why,
    refusal::Refusal,
    task::{Status, Task},
    view::TaskView,
};

use super::{PAGE_BYTES_MAX, Page, Reader};
use crate::engine::failure::Unread;

/// Finished tasks that one list brings back from the store before it answers a page token.
const LIST_RECALLED_MAX: usize = 1_000;

/// A page of tasks, and the revision at which it was true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPage {
    /// The tasks in their order, each with how many tasks it lies below a root, where the order
    /// is that of the tree.
    pub page: Page<(TaskView, u32), At>,
    /// The team's revision.
    pub revision: Revision,
}

/// Which tasks to list; what is none doesn't filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListFilter {
    /// In this status.
    pub status: Option<Status>,
    /// Of this owner.
    pub owner: Option<MemberName>,
    /// With this label.
    pub label: Option<Arc<str>>,
    /// Of this agent type.
    pub agent_type: Option<AgentTypeName>,
    /// Pending and held back by nothing, or not so.
    pub ready: Option<bool>,
    /// Pending and held back by others, or not so.
    pub blocked: Option<bool>,
    /// Children of this task; all below it in the order of the tree.
    pub parent: Option<TaskId>,
    /// With this text in the subject or the description, in lower case.
    pub text: Option<String>,
}

/// What to list, and from where on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which tasks.
    pub filter: ListFilter,
    /// In which order.
    pub order: Order,
    /// After which place.
    pub after: Option<At>,
    /// How many at the most.
    pub size: usize,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The task.
    pub view: TaskView,
    /// What happened to it, latest first.
    pub history: Vec<Event>,
    /// The revision from which the history goes on backwards.
    pub next: Option<Revision>,
    /// Older events are not kept any more.
    pub is_cut: bool,
    /// Its place in its queue, from 1.
    pub place: Option<usize>,
    /// Its owner runs this one meanwhile.
    pub owner_is_at: Option<TaskId>,
    /// Why no worker has it, the strongest reason first.
    pub why: Vec<Why>,
    /// Nothing is given out until the disk has room.
    pub disk_low: bool,
}

impl Reader<'_> {
    /// Notes that a caller was heard of in a team, and finds the list that is all it sees.
    fn sight(
        &mut self,
        team: &TeamName,
        caller: &Caller,
    ) -> Result<(TeamUid, Option<TaskId>), Refusal> {
        let uid = self.uid(team)?;
        let engine = &mut *self.engine;
        engine
            .presence
            .note(&engine.board, team.as_str(), caller, self.now);
        Ok((uid, decide::list_of(&engine.board, uid, caller)?))
    }

    /// Refuses who sees a list of its own, and not the team's board.
    pub fn whole_board(&mut self, team: &TeamName, caller: &Caller) -> Result<(), Refusal> {
        let (_, list_of) = self.sight(team, caller)?;
        match list_of {
            None => Ok(()),
            Some(task) => Err(Refusal::BadValue {
                field: "ganger-attempt",
                why: format!("is of a sub-agent that sees what is below task #{task} alone"),
            }),
        }
    }

    /// The key of a task that is there, and the caller's to know.
    pub fn task_key(
        &mut self,
        team: &TeamName,
        task: TaskId,
        caller: &Caller,
    ) -> Result<TaskKey, Refusal> {
        let (uid, root) = self.sight(team, caller)?;
        let board = &self.engine.board;
        let is_in_sight = root.is_none_or(|root| board.is_below(uid, task, root));
        if board.card_of((uid, task)).is_none() || !is_in_sight {
            // Who sees a list only isn't told what was ever beside it.
            return Err(match root.and(self.engine.board.team(uid)) {
                Some(head) => Refusal::never_was(task, head.name.clone()),
                None => self.engine.task_unknown((uid, task)),
            });
        }
        Ok((uid, task))
    }

    /// One task, whole.
    pub fn task(
        &mut self,
        team: &TeamName,
        task: TaskId,
        caller: &Caller,
    ) -> Result<TaskView, Refusal> {
        let key = self.task_key(team, task, caller)?;
        self.engine.view(key)
    }

    /// Tasks after a place, in an order.
    pub fn tasks(
        &mut self,
        team: &TeamName,
        wanted: &Wanted,
        caller: &Caller,
    ) -> Result<TaskPage, Refusal> {
        let (uid, root) = self.sight(team, caller)?;
        let revision = self.team(team)?.team.revision;
        let board = &self.engine.board;
        let filter = &wanted.filter;
        let mut items = Vec::new();
        let mut last = wanted.after;
        let mut bytes = 0;
        let mut recalled = 0;
        let mut is_over = true;
        let among = among(filter, wanted.order);
        let walk = board.walk(uid, among, wanted.order, wanted.after)?;
        for (examined, at) in walk.enumerate() {
            let is_full = items.len() == wanted.size
                || bytes >= PAGE_BYTES_MAX
                || recalled == LIST_RECALLED_MAX
                || examined == limits::LIST_EXAMINED_MAX;
            if is_full {
                is_over = false;
                break;
            }
            last = Some(at);
            let id = at.task();
            let Some(card) = board
                .card_of((uid, id))
                .filter(|card| may_pass(filter, card))
            else {
                continue;
            };
            if root.is_some_and(|root| !board.is_below(uid, id, root)) {
                continue;
            }
            let view = match card {
                Card::Whole(task) => board.view_of(uid, task.clone()),
                Card::Outline(stub) => {
                    recalled += 1;
                    match self.stored(uid, id) {
                        Some(task) => board.view_of(uid, task),
                        // What the rest of the filter asks of it nobody knows: it is shown.
                        None => board.view_of_stub(uid, stub),
                    }
                }
            };
            let is_wanted = |view: &TaskView| view.is_unreadable || passes(filter, view);
            if let Some(view) = view.filter(is_wanted) {
                let depth = match wanted.order {
                    Order::Tree => board.depth(uid, id),
                    _ => 0,
                };
                bytes += weight(&view);
                items.push((view, depth));
            }
        }
        for (view, _) in &mut items {
            self.engine.add_queue_reason((uid, view.task.id), view);
            self.engine.add_doing(uid, view);
        }
        Ok(TaskPage {
            page: Page {
                items,
                next: last.filter(|_| !is_over),
            },
            revision,
        })
    }

    /// A task from the store, without taking it back into memory; none where it can't be read.
    fn stored(&self, team: TeamUid, task: TaskId) -> Option<Arc<Task>> {
        let unread = Unread::Task((team, task));
        match self.engine.store.task(team, task) {
            Ok(Some(task)) => return Some(Arc::new(task)),
            Ok(None) => unread.as_missing(),
            Err(failure) => unread.because(&failure),
        };
        None
    }

    /// Why a task is where it is, and what happened to it from a revision on backwards.
    pub fn explain(
        &mut self,
        team: &TeamName,
        task: TaskId,
        before: Option<Revision>,
        size: usize,
        caller: &Caller,
    ) -> Result<Explained, Refusal> {
        let view = self.task(team, task, caller)?;
        let uid = self.uid(team)?;
        let mut history = Vec::new();
        let latest = view.task.revision;
        let mut next = Some(before.unwrap_or(latest)).filter(|at| at.0 > 0);
        if next.is_some_and(|at| at > latest) {
            return Err(no_such_page());
        }
        let mut is_cut = false;
        while let Some(at) = next.filter(|_| history.len() < size) {
            let Some(event) = self.event(uid, at)? else {
                is_cut = true;
                next = None;
                break;
            };
            if event.what.task() != Some(task) {
                // Another's history, which the caller may not even know of.
                return Err(no_such_page());
            }
            next = Some(event.previous).filter(|at| at.0 > 0);
            history.push(event);
        }
        let board = &self.engine.board;
        let place = board.queue_place((uid, task));
        let owner_is_at = board.owner_is_at((uid, task));
        Ok(Explained {
            view,
            history,
            next,
            is_cut,
            place,
            owner_is_at,
            why: self.engine.why((uid, task)),
            disk_low: self.engine.disk.is_low(),
        })
    }

    /// One event of a team: from this group, or from the store.
    fn event(&self, team: TeamUid, revision: Revision) -> Result<Option<Event>, Refusal> {
        let mut here = self.engine.group.events.iter();
        if let Some(event) = here.find(|event| event.team == team && event.revision == revision) {
            return Ok(Some(event.clone()));
        }
        let stored = self.engine.store.event(team, revision);
        stored.map_err(|failure| Unread::Events(team).because(&failure))
    }
}

/// A history does not go on there.
fn no_such_page() -> Refusal {
    Refusal::BadValue {
        field: "page_token",
        why: "is none that an explanation of this task has answered".into(),
    }
}

/// About how many bytes a list has to tell of a task. Its long texts are cut.
fn weight(view: &TaskView) -> usize {
    const TEXT: usize = 200;
    const NUMBER: usize = 8;
    let task = &view.task;
    let long = [&task.description, &task.prompt, &task.result, &task.error];
    let long = long.into_iter().map(|text| text.len().min(4 * TEXT));
    let texts = task.labels.iter().chain(&task.output_globs);
    let metadata = task.metadata.iter().flat_map(|(key, value)| [key, value]);
    let artifacts = task.inputs.iter().chain(&task.outputs);
    let attempts = task.attempts.iter();
    // The subject comes again in the board line.
    2 * task.subject.len()
        + 2 * task.active_form.len()
        + long.sum::<usize>()
        + texts.chain(metadata).map(|text| text.len()).sum::<usize>()
        + artifacts
            .map(|file| file.path.len() + TEXT / 2)
            .sum::<usize>()
        + attempts
            .map(|attempt| attempt.message.len() + TEXT)
            .sum::<usize>()
        + (2 * task.blocked_by.len() + view.blocks.len() + 2 * view.open_blockers.len()) * NUMBER
        + TEXT
}

/// The fewest tasks among which all that pass the filter are.
fn among(filter: &ListFilter, order: Order) -> Among {
    let is_open = matches!(filter.status, Some(Status::Pending | Status::InProgress));
    match filter.parent {
        Some(parent) => Among::Children(parent),
        None if order == Order::Tree => Among::All,
        None if filter.ready == Some(true) => Among::Ready,
        None if is_open || filter.blocked == Some(true) => Among::Open,
        None => Among::All,
    }
}

/// What can be told of a filter by a card alone, so that few tasks have to be brought back.
fn may_pass(filter: &ListFilter, card: &Card) -> bool {
    let owner = match card {
        Card::Whole(task) => &task.owner,
        Card::Outline(stub) => &stub.owner,
    };
    let is_pending = card.status() == Status::Pending;
    filter.status.is_none_or(|status| status == card.status())
        && (filter.owner.is_none() || filter.owner == *owner)
        && (filter.ready != Some(true) || is_pending)
        && (filter.blocked != Some(true) || is_pending)
}

fn passes(filter: &ListFilter, view: &TaskView) -> bool {
    let task = &view.task;
    let is_blocked = task.status() == Status::Pending && !view.open_blockers.is_empty();
    filter.ready.is_none_or(|ready| ready == view.is_ready())
        && filter.blocked.is_none_or(|blocked| blocked == is_blocked)
        && filter
            .label
            .as_ref()
            .is_none_or(|label| task.labels.contains(label))
        && (filter.agent_type.is_none() || filter.agent_type == task.agent_type)
        && filter.text.as_ref().is_none_or(|text| {
            let says = |field: &str| field.to_lowercase().contains(text);
            says(&task.subject) || says(&task.description)
        })
}
