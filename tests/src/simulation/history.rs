//! What became durable, judged batch by batch, without asking the board.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use board::{
    event::{Event, Happening},
    id::{AttemptNumber, InstanceId, MemberName, Revision, TaskId, TaskKey, TeamUid},
    record::Record,
    task::{AttemptEnding, BlockerFailedPolicy, EndedAttempt, Runner, Status, Task, TaskState},
};
use ganger_coordinator::store::Batch;

/// Every task as it was last made durable.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) tasks: BTreeMap<TaskKey, Arc<Task>>,
    /// Those that left since because their time was over, as they were last made durable.
    pub(super) expired: BTreeMap<TaskKey, Arc<Task>>,
    pub(super) revisions: BTreeMap<TeamUid, Revision>,
    /// Attempts that somebody asked to be stopped: what they end with doesn't end their task.
    stopped: BTreeSet<(TaskKey, AttemptNumber)>,
    /// What each process has, as far as is durable.
    placed: BTreeMap<InstanceId, Vec<TaskKey>>,
}

/// An attempt of a worker that a batch ended.
#[derive(Debug, Clone)]
pub(super) struct EndedNow {
    pub(super) key: TaskKey,
    pub(super) instance: InstanceId,
    pub(super) attempt: EndedAttempt,
}

impl History {
    /// Takes a batch in. Tells which attempts it ended, or what must not be.
    pub(super) fn take(&mut self, batch: &Batch) -> Result<Vec<EndedNow>, String> {
        for event in &batch.events {
            let last = self.revisions.entry(event.team).or_default();
            if event.revision != last.next() {
                return Err(format!(
                    "revision {} of team {} follows {last}",
                    event.revision, event.team
                ));
            }
            *last = event.revision;
            if let Happening::TaskStopRequested { task, attempt, .. } = event.what {
                self.stopped.insert(((event.team, task), attempt));
            }
        }
        let mut ended = Vec::new();
        let mut changed = Vec::new();
        for record in &batch.records {
            let Record::Task(team, task) = record else {
                continue;
            };
            let key = (*team, task.id);
            if self.expired.contains_key(&key) {
                return Err(format!("#{} left, and came back", task.id));
            }
            let before = self.tasks.insert(key, task.clone());
            check_change(before.as_deref(), task)?;
            self.check_completed(key, task)?;
            self.note_placement(key, before.as_deref(), task);
            let news = task.attempts.iter().filter(|attempt| {
                before
                    .as_ref()
                    .is_none_or(|before| before.attempts.iter().all(|a| a.number != attempt.number))
            });
            for attempt in news {
                if let Runner::Worker(_, instance) = attempt.runner {
                    let attempt = attempt.clone();
                    ended.push(EndedNow {
                        key,
                        instance,
                        attempt,
                    });
                }
            }
            changed.push((key, before));
        }
        for (key, before) in changed {
            self.check_blockers(key, before.as_deref())?;
        }
        self.take_away(batch)?;
        Ok(ended)
    }

    /// Takes off what a batch takes off: finished tasks whose time is over, each with an event, and
    /// none that an open task needs.
    fn take_away(&mut self, batch: &Batch) -> Result<(), String> {
        let mut gone = Vec::new();
        for record in &batch.records {
            let Record::TaskGone(team, task) = record else {
                continue;
            };
            let key = (*team, *task);
            let of_it = |event: &&Event| event.team == *team && event.what.task() == Some(*task);
            let told: Vec<&Happening> =
                batch.events.iter().filter(of_it).map(|e| &e.what).collect();
            if !matches!(told.last(), Some(Happening::TaskExpired { .. })) {
                return Err(format!("#{task} left without a word: {told:?}"));
            }
            let Some(left) = self.tasks.remove(&key) else {
                return Err(format!("#{task} left, and was never there"));
            };
            // Its end and its leaving may be of one batch, which then has no record of the end.
            let is_ended = |what: &&Happening| matches!(what, Happening::TaskEnded { .. });
            if left.end().is_none() && !told.iter().any(is_ended) {
                return Err(format!("#{task} left, and was not over: {left:?}"));
            }
            self.note_placement_gone(key, &left);
            self.expired.insert(key, left);
            gone.push(key);
        }
        for key in gone {
            let open = self.tasks.iter().filter(|(of, _)| of.0 == key.0);
            let mut open = open.filter(|(_, task)| task.end().is_none());
            if let Some((_, task)) = open.find(|(_, task)| self.needs(key.0, task, key.1)) {
                return Err(format!(
                    "#{} left, and #{} needs it: {task:?}",
                    key.1, task.id
                ));
            }
        }
        Ok(())
    }

    /// Whether an open task keeps a finished one on the board: it depends on it, joins it, or is
    /// above or below it.
    fn needs(&self, team: TeamUid, open: &Task, finished: TaskId) -> bool {
        let task = |id: TaskId| {
            let key = (team, id);
            self.tasks.get(&key).or_else(|| self.expired.get(&key))
        };
        let above = |id: TaskId| {
            let parent = move |id: &TaskId| task(*id)?.parent;
            std::iter::successors(parent(&id), parent)
        };
        let joins = open.terms.as_ref().and_then(|terms| terms.joins);
        open.blocked_by.contains(&finished)
            || joins
                .is_some_and(|joined| joined == finished || above(finished).next() == Some(joined))
            || above(open.id).any(|id| id == finished)
            || above(finished).any(|id| id == open.id)
    }

    /// Every task that was ever made, be it there or not.
    pub(super) fn ever(&self) -> impl Iterator<Item = (&TaskKey, &Arc<Task>)> + Clone {
        self.tasks.iter().chain(&self.expired)
    }

    /// What a member holds.
    pub(super) fn claimed_by(&self, member: &MemberName) -> Option<(TaskId, AttemptNumber)> {
        self.tasks.values().find_map(|task| {
            let claim = task.claim()?;
            (claim.by.member() == Some(member)).then_some((task.id, claim.attempt))
        })
    }

    /// How many attempts a process has.
    pub(super) fn held(&self, instance: InstanceId) -> usize {
        self.placed.get(&instance).map_or(0, Vec::len)
    }

    fn note_placement(&mut self, key: TaskKey, before: Option<&Task>, task: &Task) {
        if let Some(before) = before {
            self.note_placement_gone(key, before);
        }
        if let Some(placement) = task.placement() {
            self.placed.entry(placement.instance).or_default().push(key);
        }
    }

    fn note_placement_gone(&mut self, key: TaskKey, before: &Task) {
        if let Some(placement) = before.placement()
            && let Some(held) = self.placed.get_mut(&placement.instance)
        {
            held.retain(|other| *other != key);
        }
    }

    /// An attempt that completed is the last one, unless it had been asked to stop before.
    fn check_completed(&self, key: TaskKey, task: &Task) -> Result<(), String> {
        let completed = task.attempts.iter().find(|attempt| {
            let is_stopped = self.stopped.contains(&(key, attempt.number));
            let is_last = attempt.number == task.last_attempt;
            let is_end = is_last && task.status() == Status::Completed;
            attempt.ending == AttemptEnding::Completed && !is_stopped && !is_end
        });
        match completed {
            Some(completed) => Err(format!(
                "#{} was completed by {completed:?}, and is not: {task:?}",
                key.1
            )),
            None => Ok(()),
        }
    }

    /// A task is taken up only when nothing is in its way.
    fn check_blockers(&self, key: TaskKey, before: Option<&Task>) -> Result<(), String> {
        let task = &self.tasks[&key];
        let was_pending = before.is_none_or(|before| before.status() == Status::Pending);
        if !was_pending || task.status() != Status::InProgress {
            return Ok(());
        }
        let is_in_the_way = |id: &&TaskId| match self.tasks.get(&(key.0, **id)) {
            None => true,
            Some(blocker) => match blocker.status() {
                Status::Completed => false,
                Status::Failed | Status::Cancelled => {
                    task.blocker_failed_policy != BlockerFailedPolicy::Proceed
                }
                Status::Pending | Status::InProgress => true,
            },
        };
        match task.blocked_by.iter().find(is_in_the_way) {
            Some(blocker) => Err(format!(
                "#{} was taken up before #{blocker} was over",
                key.1
            )),
            None => Ok(()),
        }
    }
}

/// A task only goes forward, and what became of an attempt stays.
fn check_change(before: Option<&Task>, task: &Task) -> Result<(), String> {
    let id = task.id;
    let Some(before) = before else {
        return Ok(());
    };
    if task.revision < before.revision || task.last_attempt < before.last_attempt {
        return Err(format!("#{id} went back: {before:?}, then {task:?}"));
    }
    let first_kept = task.attempts.first().map(|attempt| attempt.number);
    for old in &before.attempts {
        let is_kept = task.attempts.contains(old);
        if !is_kept && first_kept.is_none_or(|first| first <= old.number) {
            return Err(format!("#{id} forgot {old:?}, or changed it: {task:?}"));
        }
    }
    if let TaskState::Ended(end) = &before.state {
        let is_same = match &task.state {
            TaskState::Ended(now) => (now.status, now.at, &now.by) == (end.status, end.at, &end.by),
            _ => false,
        };
        if !is_same || task.result != before.result || task.error != before.error {
            return Err(format!("#{id} ended twice: {before:?}, then {task:?}"));
        }
    }
    Ok(())
}
