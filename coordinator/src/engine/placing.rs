//! Giving waiting tasks to workers, and why a task waits.

use std::{sync::Arc, time::Duration};

use board::{
    command::FleetCommand,
    id::{InstanceId, TaskKey, TeamName},
    placement::Why,
    record::Record,
    time::Time,
    view::{Phase, TaskView},
};

use super::Engine;

/// Tasks that one group gives to workers; a group has up to 128 commands beside.
const ASSIGNMENTS_PER_GROUP: usize = 128;

/// How often waiting tasks and free slots are looked at although nothing is known to have changed:
/// what time alone brings, and what was missed, waits no longer than that.
const RESCAN_EVERY: Duration = Duration::from_secs(5);

impl Engine {
    /// Gives waiting tasks to free slots. Says whether there may be more to give.
    pub fn place(&mut self, now: Time) -> bool {
        if self.is_stalled {
            return false;
        }
        // Who takes a slot back goes before who gets one for the first time; and a slot is lent only
        // where none is free.
        self.settle_loans();
        let may_lend = self.may_place && !self.disk.is_low();
        let is_more = self.place_freely(now);
        if may_lend && !is_more {
            self.lend_slots(now);
        }
        is_more
    }

    fn place_freely(&mut self, now: Time) -> bool {
        match self.rescan_at {
            _ if !self.board.is_queueing() => self.rescan_at = None,
            None => self.rescan_at = Some(now + RESCAN_EVERY),
            Some(at) if at <= now => self.rescan(now),
            Some(_) => {}
        }
        if !self.may_place || !self.board.is_queueing() || self.disk.is_low() {
            return false;
        }
        let assignments = self.fleet.place(&self.board, now, ASSIGNMENTS_PER_GROUP);
        self.may_place = assignments.len() == ASSIGNMENTS_PER_GROUP;
        for assignment in assignments {
            let command = FleetCommand::Dispatch(
                assignment.task,
                assignment.worker.clone(),
                assignment.instance,
            );
            if let Err(refusal) = self.decide_fleet(&command, now) {
                tracing::error!(%refusal, "placement chose a task that can't be placed");
                self.fleet.note_held(assignment.instance);
            }
        }
        self.may_place
    }

    fn rescan(&mut self, now: Time) {
        self.rescan_at = Some(now + RESCAN_EVERY);
        self.may_place = true;
        for worker in self.fleet.mend_offers(&self.board) {
            tracing::error!(%worker, "the free slots of a worker were counted wrong");
        }
    }

    /// Installs a record, and notes whose slots it changes.
    pub(super) fn install(&mut self, record: &Record) {
        let key = match record {
            Record::Task(team, task) => Some((*team, task.id)),
            Record::TaskGone(team, task) => Some((*team, *task)),
            _ => None,
        };
        let before = key.and_then(|key| self.board.instance_of(key));
        let made = self.made(record).cloned();
        self.board.install(record);
        let after = key.and_then(|key| self.board.instance_of(key));
        if before != after {
            let both: [Option<InstanceId>; 2] = [before, after];
            for instance in both.into_iter().flatten() {
                self.fleet.note_held(instance);
            }
        }
        if let Some(team) = made {
            self.fleet.note_team(&team);
        }
    }

    /// The name of the team that a record puts on the board.
    fn made<'r>(&self, record: &'r Record) -> Option<&'r TeamName> {
        match record {
            Record::Team(team) if self.board.team(team.uid).is_none() => Some(&team.name),
            _ => None,
        }
    }

    /// Every reason why a task that waits for a worker has none, the strongest first.
    pub(super) fn why(&mut self, key: TaskKey) -> Vec<Why> {
        self.fleet.refresh_offers(&self.board);
        self.fleet.why(&self.board, key, self.now)
    }

    /// Adds to what is told of a queued task why it is not given out.
    pub(super) fn add_queue_reason(&mut self, key: TaskKey, view: &mut TaskView) {
        if view.phase != Some(Phase::Queued) {
            return;
        }
        let scarce = self.scarcity();
        let why = || {
            let why = self.why(key).into_iter().next()?;
            Some(format!("{}: {why}", why.word()).into())
        };
        let Some(reason) = scarce.or_else(why) else {
            return;
        };
        view.phase_reason = match &*view.phase_reason {
            "" => reason,
            again => Arc::from(format!("{reason}; {again}")),
        };
    }
}
