//! What keeps those who wait for tasks from waiting on: questions, and what can't get on (D5).

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use board::{
    command::Caller,
    decide,
    id::{TaskId, TeamName, TeamUid},
    refusal::Refusal,
    stuck::{self, Stuck},
    time::Time,
};

use super::{Engine, reader::Reader};

/// Situations that are remembered, so that the lead hears of each once. A restart forgets them.
const REMEMBERED_MAX: usize = 10_000;

/// What keeps somebody from waiting on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hindrance {
    /// The team.
    pub team: TeamUid,
    /// Who waits leads it.
    pub is_lead: bool,
    /// Tasks whose sub-agents ask.
    pub asking: Vec<TaskId>,
    /// Where none can get on: each that is open and doesn't ask, and why.
    pub stuck: Vec<Stuck>,
}

impl Hindrance {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.asking.is_empty() && self.stuck.is_empty()
    }
}

/// The situations of which leads were told, oldest first, as hashes.
#[derive(Debug, Default)]
pub(super) struct Situations(VecDeque<u64>);

impl Situations {
    /// Remembers one. Says whether it is news.
    pub(super) fn note(&mut self, situation: u64) -> bool {
        if self.0.contains(&situation) {
            return false;
        }
        if self.0.len() == REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(situation);
        true
    }
}

impl Reader<'_> {
    /// What keeps a caller from waiting on for these tasks.
    pub fn hindrance(
        &mut self,
        team: &TeamName,
        awaited: &[TaskId],
        caller: &Caller,
    ) -> Result<Hindrance, Refusal> {
        let uid = self.uid(team)?;
        let board = &self.engine.board;
        let waiter = decide::actor_of(board, uid, caller)?;
        let lead = board.team(uid).map(|team| &team.lead);
        Ok(Hindrance {
            team: uid,
            is_lead: lead.is_some() && waiter.member() == lead,
            asking: stuck::asking(board, uid, awaited),
            stuck: stuck::stuck(board, uid, &waiter, awaited),
        })
    }
}

impl Engine {
    /// Tells a team's lead what can't get on, unless it was told just that before.
    pub(super) fn note_stuck(&mut self, team: TeamUid, stuck: &[Stuck], now: Time) {
        let mut hasher = DefaultHasher::new();
        team.0.hash(&mut hasher);
        for one in stuck {
            let task = self.board.view((team, one.task));
            let revision = task.map(|view| view.task.revision.0);
            (one, revision).hash(&mut hasher);
        }
        if self.situations.note(hasher.finish()) {
            let decision = decide::note_stuck(&self.board, team, stuck, now);
            self.take_in(decision, now);
        }
    }
}
