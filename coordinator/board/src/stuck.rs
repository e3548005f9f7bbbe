//! Whether any of the tasks that somebody waits for can still get on without the lead or a person
//! (D5).
//!
//! A task can get on as long as a worker or another agent may take the next step: it is run, or
//! will be, or somebody else may claim it, and so may all that it waits for. What time alone
//! brings, such as the end of a back-off, counts as getting on; that a question will be given up
//! does not, for whoever waits could answer it.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use crate::{
    board::{Board, Card, TeamBoard, is_open},
    event::Actor,
    id::{TaskId, TeamUid},
    index::is_for_worker,
    limits,
    orphans::is_orphan,
    task::{Placement, Status, Task, TaskState},
    team::{Member, MemberKind},
};

/// Characters of a reason that a person gave.
const REASON_CHARS_MAX: usize = 200;

/// A task that can't get on without the lead or a person.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stuck {
    /// Which.
    pub task: TaskId,
    /// Why, for a person: `waits to be claimed`, `waits for #3, which failed`.
    pub because: Arc<str>,
}

/// Of the tasks that somebody waits for, each that is open, if none of them can get on. Those
/// whose own sub-agents ask are left out: they say so themselves.
///
/// A bounded number of tasks is looked at; what lies beyond counts as getting on.
pub fn stuck(board: &Board, team: TeamUid, waiter: &Actor, awaited: &[TaskId]) -> Vec<Stuck> {
    let Some(team) = board.teams.get(&team) else {
        return Vec::new();
    };
    let mut search = Search {
        team,
        waiter,
        known: BTreeMap::new(),
    };
    let mut found = Vec::new();
    for id in awaited {
        let Some(Card::Whole(task)) = team.tasks.get(id).map(|entry| &entry.card) else {
            continue;
        };
        if task.end().is_some() {
            continue;
        }
        let Fate::Stuck { root, via, why } = search.fate(*id) else {
            return Vec::new();
        };
        if !is_asking(task) {
            let because = because(*id, root, via, &why);
            found.push(Stuck { task: *id, because });
        }
    }
    found
}

/// The tasks among these whose sub-agents ask.
pub fn asking(board: &Board, team: TeamUid, awaited: &[TaskId]) -> Vec<TaskId> {
    let whole = |id: &&TaskId| {
        board
            .whole((team, **id))
            .is_some_and(|task| is_asking(task))
    };
    awaited.iter().filter(whole).copied().collect()
}

fn is_asking(task: &Task) -> bool {
    task.placement().is_some_and(asks)
}

fn asks(placement: &Placement) -> bool {
    placement.question.is_some()
}

fn because(task: TaskId, root: TaskId, via: TaskId, why: &str) -> Arc<str> {
    if root == task {
        return why.into();
    }
    let mut text = format!("waits for #{via}");
    if via != root {
        let _ = write!(text, ", and so in the end for #{root}");
    }
    let _ = write!(text, ", which {why}");
    text.into()
}

/// Whether a task can get on.
#[derive(Debug, Clone)]
enum Fate {
    GetsOn,
    Stuck {
        /// What all of it comes from.
        root: TaskId,
        /// What this one waits for because of that; itself where it is the root.
        via: TaskId,
        /// What the root does, as a verb with all that belongs to it.
        why: Arc<str>,
    },
}

/// What can be told of a task by itself.
enum Standing {
    GetsOn,
    Stuck(String),
    WaitsFor(Vec<TaskId>),
}

struct Search<'b> {
    team: &'b TeamBoard,
    waiter: &'b Actor,
    known: BTreeMap<TaskId, Fate>,
}

impl Search<'_> {
    /// Follows what a task waits for, in depth first, without recursion: chains may be long.
    fn fate(&mut self, task: TaskId) -> Fate {
        let mut path: Vec<(TaskId, Vec<TaskId>)> = Vec::new();
        self.step_onto(task, &mut path);
        while let Some((id, blockers)) = path.last_mut() {
            let Some(blocker) = blockers.last().copied() else {
                path.pop();
                continue;
            };
            match self.known.get(&blocker) {
                Some(Fate::GetsOn) => {
                    blockers.pop();
                }
                Some(Fate::Stuck { root, why, .. }) => {
                    let fate = Fate::Stuck {
                        root: *root,
                        via: blocker,
                        why: why.clone(),
                    };
                    self.known.insert(*id, fate);
                    path.pop();
                }
                None if self.known.len() >= limits::LIST_EXAMINED_MAX => return Fate::GetsOn,
                None => self.step_onto(blocker, &mut path),
            }
        }
        self.known.get(&task).cloned().unwrap_or(Fate::GetsOn)
    }

    /// Notes a task's fate where that is clear, or puts it on the path.
    fn step_onto(&mut self, task: TaskId, path: &mut Vec<(TaskId, Vec<TaskId>)>) {
        if self.known.contains_key(&task) {
            return;
        }
        let fate = match self.standing(task) {
            Standing::WaitsFor(mut blockers) => {
                // The first one is looked at first. It gets on, until one is found that doesn't.
                blockers.reverse();
                path.push((task, blockers));
                Fate::GetsOn
            }
            Standing::GetsOn => Fate::GetsOn,
            Standing::Stuck(why) => Fate::Stuck {
                root: task,
                via: task,
                why: why.into(),
            },
        };
        self.known.insert(task, fate);
    }

    fn standing(&self, id: TaskId) -> Standing {
        let Some(entry) = self.team.tasks.get(&id) else {
            return Standing::GetsOn;
        };
        let card = &entry.card;
        let Card::Whole(task) = card else {
            return over(card.status(), card.is_cascade_due());
        };
        match &task.state {
            TaskState::Ended(end) => over(task.status(), end.cascade_due),
            TaskState::Placed(placement) if asks(placement) => {
                Standing::Stuck("has asked, and waits for an answer".into())
            }
            TaskState::Placed(_) => Standing::GetsOn,
            TaskState::Claimed(claim) if claim.by == *self.waiter => {
                Standing::Stuck(format!("is claimed by {}, who waits", claim.by))
            }
            TaskState::Claimed(_) => Standing::GetsOn,
            // It is about to be cancelled.
            TaskState::Pending(_) if is_orphan(self.team, task) => Standing::GetsOn,
            TaskState::Pending(waiting) => {
                if let Some(paused) = &waiting.paused {
                    return Standing::Stuck(held(&paused.reason));
                }
                let blockers = self.blockers(task);
                if !blockers.is_empty() {
                    return Standing::WaitsFor(blockers);
                }
                let is_for_worker = is_for_worker(task, &self.team.members);
                if waiting.not_before.is_some() || is_for_worker {
                    return Standing::GetsOn;
                }
                self.claimable(task)
            }
        }
    }

    /// What holds a task back: its blockers, and the children of the task that it joins.
    fn blockers(&self, task: &Task) -> Vec<TaskId> {
        let edges = task.blocked_by.iter().copied();
        let edges = edges.filter(|id| is_open(&self.team.tasks, task, *id));
        let joined = self.team.index.joining.holders(task);
        edges
            .chain(joined.take(limits::LIST_EXAMINED_MAX))
            .collect()
    }

    /// A task that waits for a claim: whether somebody else than the waiter and the lead may make
    /// it.
    fn claimable(&self, task: &Task) -> Standing {
        let may_claim = |member: &Member| {
            member.is_present()
                && member.kind == MemberKind::Agent
                && self.waiter.member() != Some(&member.name)
        };
        let Some(owner) = &task.owner else {
            return match self.team.members.values().any(may_claim) {
                true => Standing::GetsOn,
                false => Standing::Stuck("waits to be claimed".into()),
            };
        };
        match self.team.members.get(owner) {
            Some(member) if may_claim(member) => Standing::GetsOn,
            Some(member) if member.is_present() => {
                Standing::Stuck(format!("waits to be claimed by {owner}"))
            }
            _ => Standing::Stuck(format!("belongs to {owner}, who has left")),
        }
    }
}

/// What a blocker that is over does to who waits for it.
fn over(status: Status, is_cascade_due: bool) -> Standing {
    match status {
        _ if is_cascade_due => Standing::GetsOn,
        Status::Failed => Standing::Stuck("failed".into()),
        Status::Cancelled => Standing::Stuck("was cancelled".into()),
        _ => Standing::GetsOn,
    }
}

fn held(reason: &str) -> String {
    let first = reason.trim().lines().next().unwrap_or_default();
    match first.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("is held: {}…", &first[..end]),
        None => format!("is held: {first}"),
    }
}
