//! What is told of a task: its record, and what is derived from the board around it.

use std::{fmt::Write as _, sync::Arc};

use crate::{
    board::{Board, Card, TeamBoard, is_open, open_blockers},
    id::{MemberName, TaskId, TaskKey, TeamName, TeamUid},
    index::{Queue, queue_of},
    mail::first_line,
    orphans::loss_on_board,
    task::{Runner, Status, Stub, Task, TaskState, Waiting},
    time::Time,
};

/// A task as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// The team's name.
    pub team: TeamName,
    /// The record.
    pub task: Arc<Task>,
    /// The tasks that wait for it.
    pub blocks: Vec<TaskId>,
    /// Those that it waits for and that still hold it back; of the children that it joins the first
    /// few.
    pub open_blockers: Vec<TaskId>,
    /// How many there are in all.
    pub held_back_by: usize,
    /// Where it stands on its way through a worker's or a member's hands.
    pub phase: Option<Phase>,
    /// Since when.
    pub phase_since: Option<Time>,
    /// Why, for a person; the fleet's part of it is added by who knows the fleet.
    pub phase_reason: Arc<str>,
    /// What its sub-agent says that it is doing right now; added by who hears it.
    pub doing: Arc<str>,
    /// The queue in which it stands, when it waits for a worker.
    pub queue: Option<Queue>,
    /// Its record can't be read: this is what its stub tells.
    pub is_unreadable: bool,
}

/// Where a task that isn't over stands. Derived, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Waits for other tasks.
    Blocked,
    /// Waits for a worker.
    Queued,
    /// A worker has it and prepares.
    Dispatched,
    /// Its sub-agent runs.
    Running,
    /// Its sub-agent is being stopped; or it waits, and is about to be cancelled.
    Stopping,
    /// Waits before it is tried again.
    BackingOff,
    /// A member holds it.
    Claimed,
    /// Held until somebody resumes it.
    Paused,
    /// Its sub-agent runs, and waits for an answer.
    WaitingForAnswer,
}

/// How many tasks of a team stand in which status, and how many wait for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Not begun.
    pub pending: usize,
    /// Claimed or placed.
    pub in_progress: usize,
    /// Done.
    pub completed: usize,
    /// Not what was wanted.
    pub failed: usize,
    /// Called off.
    pub cancelled: usize,
    /// Of the pending ones, those that wait for a worker.
    pub queued: usize,
}

impl Board {
    /// What is told of a task that is in memory whole.
    pub fn view(&self, key: TaskKey) -> Option<TaskView> {
        self.view_of(key.0, self.whole(key)?.clone())
    }

    /// What is told of a task whose record was brought from elsewhere.
    pub fn view_of(&self, uid: TeamUid, task: Arc<Task>) -> Option<TaskView> {
        let team = self.teams.get(&uid)?;
        let open: Vec<TaskId> = match task.state {
            TaskState::Pending(_) => open_blockers(team, &task).collect(),
            _ => Vec::new(),
        };
        let queue = match task.state {
            TaskState::Pending(_) => queue_of(&task, &team.members, &self.limits),
            _ => None,
        };
        let held_back_by = match task.state {
            TaskState::Pending(_) if task.terms().joins.is_some() => how_many(team, &task),
            _ => open.len(),
        };
        let lost = loss_on_board(team, &task);
        let (phase, phase_since, phase_reason) = match lost.zip(task.waiting()) {
            Some((loss, waiting)) => (Some(Phase::Stopping), Some(waiting.since), loss.reason()),
            None => phase(&task, held_back_by, queue.is_some()),
        };
        Some(TaskView {
            team: team.head.name.clone(),
            blocks: team.index.dependants(task.id).to_vec(),
            open_blockers: open,
            held_back_by,
            phase,
            phase_since,
            phase_reason,
            doing: Arc::default(),
            queue,
            is_unreadable: false,
            task,
        })
    }

    /// What is told of a task of which only the stub can be read.
    pub fn view_of_stub(&self, uid: TeamUid, stub: &Stub) -> Option<TaskView> {
        let view = self.view_of(uid, Arc::new(stub.outline()))?;
        Some(TaskView {
            is_unreadable: true,
            ..view
        })
    }

    /// The children of a task that completed, by id.
    pub fn done_children(&self, (uid, task): TaskKey) -> impl Iterator<Item = TaskId> + '_ {
        let index = self.teams.get(&uid).map(|team| &team.index);
        let children = index.and_then(|index| index.children.get(&task));
        let is_done =
            move |id: &TaskId| index.is_some_and(|index| index.joining.is_done(task, *id));
        let children = children.into_iter().flat_map(crate::ids::IdSet::iter);
        children.filter(is_done)
    }

    /// The tasks of a team from one id on, by id, as they lie in memory.
    pub fn cards_after(
        &self,
        uid: TeamUid,
        after: TaskId,
    ) -> impl Iterator<Item = (TaskId, &Card)> {
        self.teams
            .get(&uid)
            .into_iter()
            .flat_map(move |team| team.tasks.after(after))
            .map(|(id, entry)| (id, &entry.card))
    }

    /// How a task lies in memory.
    pub fn card_of(&self, key: TaskKey) -> Option<&Card> {
        self.card(key)
    }

    /// How many tasks of a team workers have.
    pub fn running(&self, uid: TeamUid) -> u32 {
        self.teams
            .get(&uid)
            .map_or(0, |team| team.index.queues.running)
    }

    /// A team's counts.
    pub fn counts(&self, uid: TeamUid) -> Counts {
        let Some(team) = self.teams.get(&uid) else {
            return Counts::default();
        };
        Counts {
            pending: team.index.in_status(Status::Pending),
            in_progress: team.index.in_status(Status::InProgress),
            completed: team.index.in_status(Status::Completed),
            failed: team.index.in_status(Status::Failed),
            cancelled: team.index.in_status(Status::Cancelled),
            queued: team.index.queued(),
        }
    }

    /// A task's place among those of its team that the same workers run for the same member, from
    /// 1: what goes before it unless a bound holds it back.
    pub fn queue_place(&self, (team, task): TaskKey) -> Option<usize> {
        let team = self.teams.get(&team)?;
        let (queue, place) = team.tasks.get(&task)?.marks.queued.as_deref()?;
        let competes = |other: &&Arc<Queue>| {
            other.want.agent_type == queue.want.agent_type
                && other.want.worker == queue.want.worker
                && other.member == queue.member
        };
        let lines = team.index.queues.lines.iter();
        let lines = lines.filter(|(other, _)| competes(other));
        Some(
            lines
                .map(|(_, places)| places.range(..=*place).count())
                .sum(),
        )
    }

    /// What the hosted owner of a waiting task runs meanwhile.
    pub fn owner_is_at(&self, (team, task): TaskKey) -> Option<TaskId> {
        let board = self.teams.get(&team)?;
        let (queue, _) = board.tasks.get(&task)?.marks.queued.as_deref()?;
        let member = queue.member.as_ref()?;
        let owned = board.index.owned.get(member)?.iter().copied();
        let mut running = owned.filter(|id| {
            let placement = self.whole((team, *id)).and_then(|task| task.placement());
            placement.is_some_and(|placement| placement.member.as_ref() == Some(member))
        });
        running.next()
    }

    /// The tasks that a member holds by a claim, or is run at.
    pub fn at_work<'b>(
        &'b self,
        uid: TeamUid,
        member: &MemberName,
    ) -> impl Iterator<Item = &'b Arc<Task>> + use<'b> {
        let index = self.teams.get(&uid).map(|team| &team.index);
        let held = index.and_then(|index| index.holding.get(member));
        let run = index.and_then(|index| index.queues.running_members.get(member));
        let tasks = held.into_iter().chain(run).flatten();
        tasks.filter_map(move |id| self.whole((uid, *id)))
    }

    /// The tasks of a team that somebody is at: those that workers have, then those that members
    /// hold.
    pub fn in_progress(&self, uid: TeamUid) -> impl Iterator<Item = &Arc<Task>> {
        let of_team = (uid, TaskId(0))..=(uid, TaskId(u64::MAX));
        let placed = self
            .placed
            .values()
            .flat_map(move |held| held.range(of_team.clone()))
            .filter_map(|key| self.whole(*key));
        let claimed = self
            .teams
            .get(&uid)
            .into_iter()
            .flat_map(|team| team.index.claimed())
            .filter_map(move |id| self.whole((uid, *id)));
        placed.chain(claimed)
    }
}

/// How many tasks hold one back.
fn how_many(team: &TeamBoard, task: &Task) -> usize {
    let blockers = task.blocked_by.iter();
    let open = blockers.filter(|id| is_open(&team.tasks, task, **id));
    open.count() + team.index.joining.held_by(task)
}

fn phase(
    task: &Task,
    open_blockers: usize,
    is_for_worker: bool,
) -> (Option<Phase>, Option<Time>, Arc<str>) {
    if let Some(paused) = task.waiting().and_then(|waiting| waiting.paused.as_ref()) {
        return (Some(Phase::Paused), Some(paused.at), paused.reason.clone());
    }
    match &task.state {
        TaskState::Pending(waiting) if open_blockers > 0 => {
            let reason = format!("waits for {open_blockers} other tasks").into();
            (Some(Phase::Blocked), Some(waiting.since), reason)
        }
        TaskState::Pending(waiting) if is_for_worker => {
            let phase = match waiting.not_before {
                Some(_) => Phase::BackingOff,
                None => Phase::Queued,
            };
            (Some(phase), Some(waiting.since), waiting.reason.clone())
        }
        TaskState::Pending(waiting) if waiting.not_before.is_some() => {
            let reason = waiting.reason.clone();
            (Some(Phase::BackingOff), Some(waiting.since), reason)
        }
        TaskState::Pending(_) | TaskState::Ended(_) => (None, None, Arc::default()),
        TaskState::Claimed(claim) => (Some(Phase::Claimed), Some(claim.since), Arc::default()),
        TaskState::Placed(placement) => match (&placement.stop, placement.started_at) {
            (Some(stop), _) => (Some(Phase::Stopping), Some(stop.at), stop.reason.clone()),
            (None, Some(at)) => match &placement.question {
                Some(asked) => {
                    let phase = Some(Phase::WaitingForAnswer);
                    (phase, Some(asked.at), first_line(&asked.text))
                }
                None => (Some(Phase::Running), Some(at), Arc::default()),
            },
            (None, None) => {
                let since = Some(placement.dispatched_at);
                (Some(Phase::Dispatched), since, Arc::default())
            }
        },
    }
}

impl TaskView {
    /// Whether it is pending and held back by nothing.
    pub fn is_ready(&self) -> bool {
        let waiting = self.task.waiting();
        let is_held_back = !self.open_blockers.is_empty() || self.phase == Some(Phase::Stopping);
        !is_held_back && waiting.is_some_and(Waiting::is_free)
    }

    /// The board line: `#3 [pending] Update unit tests [blocked by #2]`, or with who is at it:
    /// `#2 [in_progress] Create migration script (Bob): Writing SQL…`.
    pub fn line(&self) -> String {
        let task = &self.task;
        let mut line = format!("#{} [{}] {}", task.id, task.status().word(), task.subject);
        if let Some(who) = self.who() {
            let _ = write!(line, " ({who})");
        }
        if !self.open_blockers.is_empty() {
            let ids: Vec<String> = self
                .open_blockers
                .iter()
                .map(|id| format!("#{id}"))
                .collect();
            let more = match self.held_back_by.saturating_sub(ids.len()) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let _ = write!(line, " [blocked by {}{more}]", ids.join(", "));
        }
        let doing = match self.doing.is_empty() {
            true => &task.active_form,
            false => &self.doing,
        };
        if task.status() == Status::InProgress && !doing.is_empty() {
            let _ = write!(line, ": {}…", doing.trim_end_matches(['.', '…']));
        }
        line
    }

    /// Whose it is, else who runs or ran it.
    fn who(&self) -> Option<String> {
        let task = &self.task;
        if let Some(owner) = &task.owner {
            return Some(owner.to_string());
        }
        if let Some(placement) = task.placement() {
            return Some(placement.worker.to_string());
        }
        if let Some(claim) = task.claim() {
            return Some(claim.by.to_string());
        }
        task.end()?;
        match &task.attempts.last()?.runner {
            Runner::Claimant(by) => Some(by.to_string()),
            Runner::Worker(worker, _) => Some(worker.to_string()),
        }
    }
}
