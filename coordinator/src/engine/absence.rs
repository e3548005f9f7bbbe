//! Workers that are away, and since when: soft state, which a restart forgets (W1).

use std::{collections::BTreeMap, time::Duration};

use board::{
    Board,
    command::FleetCommand,
    id::{MemberName, WorkerName},
    time::Time,
};

use super::Engine;
use crate::fleet::Fleet;

/// How long a worker stays a member of its teams without being there.
const LEAVES_AFTER: Duration = Duration::from_secs(3_600);
/// How often it is looked who is there. Nothing hangs on the minute.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// When each worker that is a member anywhere was last there.
#[derive(Debug)]
pub(super) struct Absence {
    last_there: BTreeMap<MemberName, Time>,
    next_look: Time,
}

impl Absence {
    pub(super) fn new(now: Time) -> Self {
        Self {
            last_there: BTreeMap::new(),
            next_look: now + LOOK_INTERVAL,
        }
    }

    /// When it is looked next, if there is anybody to look for.
    pub(super) fn next_look(&self, board: &Board) -> Option<Time> {
        (!board.serving().is_empty()).then_some(self.next_look)
    }

    /// Notes that a worker dials in: it may be gone again before it is looked for.
    pub(super) fn note(&mut self, worker: &WorkerName, now: Time) {
        self.last_there.insert(MemberName::from(worker), now);
    }

    /// The workers that have been away for so long that they are to leave their teams. Who was
    /// not looked for before counts as there until now.
    fn look(&mut self, board: &Board, fleet: &Fleet, now: Time) -> Vec<WorkerName> {
        if self.next_look > now {
            return Vec::new();
        }
        self.next_look = now + LOOK_INTERVAL;
        let known = fleet.known();
        let before = std::mem::take(&mut self.last_there);
        let mut overdue = Vec::new();
        for member in board.serving().keys() {
            // A worker's member has its name.
            let Ok(name) = WorkerName::parse(member.as_str()) else {
                continue;
            };
            let last = before.get(member).filter(|_| !known.contains(&name));
            let last = *last.unwrap_or(&now);
            if now.since(last) >= LEAVES_AFTER {
                overdue.push(name);
            }
            self.last_there.insert(member.clone(), last);
        }
        overdue
    }
}

impl Engine {
    /// Workers that are away for long leave their teams.
    pub(super) fn see_to_absent(&mut self, now: Time) {
        for worker in self.absence.look(&self.board, &self.fleet, now) {
            let member = MemberName::from(&worker);
            let teams = self.board.serving().get(&member).cloned();
            for team in teams.unwrap_or_default() {
                let reason = "its process was away for an hour".into();
                let leave = FleetCommand::LeaveWorker(team, worker.clone(), reason);
                // A refusal means that it still has an attempt there, or that the team is over.
                self.decide_fleet(&leave, now).ok();
            }
        }
    }
}
