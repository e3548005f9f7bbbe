//! A small, slow, obviously right board: plain maps, in which everything is looked for anew each
//! time. It knows nothing of what workers do.

mod changes;
mod wishes;

pub use wishes::{No, Wisher};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use board::{
    id::{AgentTypeName, MemberName, MessageId, TaskId},
    task::{BlockerFailedPolicy, EndStatus, Priority, Status},
    team::MemberKind,
    time::Time,
};

#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Pending,
    /// By whom, for how long after the holder was heard of, when that was.
    Claimed(MemberName, Option<Duration>, Time),
    Ended(EndStatus),
}

#[derive(Debug, Clone)]
pub struct Card {
    pub owner: Option<MemberName>,
    pub maker: MemberName,
    pub blocked_by: Vec<TaskId>,
    pub policy: BlockerFailedPolicy,
    pub priority: Priority,
    pub labels: Vec<Arc<str>>,
    pub agent_type: Option<AgentTypeName>,
    pub has_prompt: bool,
    pub parent: Option<TaskId>,
    pub deadline: Option<Time>,
    pub state: State,
    pub is_paused: bool,
    pub since: Time,
    pub attempt: u32,
}

impl Card {
    pub fn status(&self) -> Status {
        match self.state {
            State::Pending => Status::Pending,
            State::Claimed(..) => Status::InProgress,
            State::Ended(how) => how.into(),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    fn is_claimed(&self) -> bool {
        matches!(self.state, State::Claimed(..))
    }
}

#[derive(Debug, Clone)]
pub struct Mate {
    pub kind: MemberKind,
    pub agent_type: Option<AgentTypeName>,
    pub is_there: bool,
}

#[derive(Debug, Clone)]
pub struct Gang {
    pub lead: MemberName,
    pub members: BTreeMap<MemberName, Mate>,
    pub cards: BTreeMap<TaskId, Card>,
    pub last: u64,
    pub is_over: bool,
    /// The words that wait for each member.
    pub mail: BTreeMap<MemberName, Vec<MessageId>>,
    pub types: BTreeSet<AgentTypeName>,
    pub now: Time,
}

impl Gang {
    pub fn is_there(&self, name: &MemberName) -> bool {
        self.members.get(name).is_some_and(|mate| mate.is_there)
    }

    /// The blockers that hold a task back.
    pub fn open(&self, card: &Card) -> Vec<TaskId> {
        let is_open = |id: &TaskId| match self.cards[id].state {
            State::Ended(EndStatus::Completed) => false,
            State::Ended(_) => card.policy != BlockerFailedPolicy::Proceed,
            _ => true,
        };
        card.blocked_by.iter().copied().filter(is_open).collect()
    }

    pub fn is_ready(&self, card: &Card) -> bool {
        let is_held_back = !self.open(card).is_empty() || self.is_orphan(card);
        card.state == State::Pending && !card.is_paused && !is_held_back
    }

    /// Whether what an open task is part of was cancelled.
    pub fn is_orphan(&self, card: &Card) -> bool {
        !card.is_over() && card.parent.is_some_and(|id| self.is_cancelled(id))
    }

    pub fn is_cancelled(&self, id: TaskId) -> bool {
        let card = self.cards.get(&id);
        card.is_some_and(|card| card.state == State::Ended(EndStatus::Cancelled))
    }

    fn orphans(&self) -> Vec<TaskId> {
        let orphans = self.cards.iter().filter(|(_, card)| self.is_orphan(card));
        orphans.map(|(id, _)| *id).collect()
    }

    /// Whether a worker is to run it.
    fn is_for_worker(&self, card: &Card) -> bool {
        let owner = card.owner.as_ref().and_then(|name| self.members.get(name));
        let is_hosted = owner.is_some_and(|m| m.is_there && m.kind == MemberKind::Hosted);
        card.agent_type.is_some() || is_hosted
    }

    fn set(&mut self, id: TaskId) -> &mut Card {
        self.cards.get_mut(&id).unwrap()
    }

    pub fn end(&mut self, id: TaskId, how: EndStatus) {
        self.set(id).state = State::Ended(how);
        for dependant in self.waiting_for(id) {
            let card = &self.cards[&dependant];
            if card.state != State::Pending {
                continue;
            }
            if how != EndStatus::Completed && card.policy == BlockerFailedPolicy::Cancel {
                self.end(dependant, EndStatus::Cancelled);
            } else {
                self.maybe_freed(dependant);
            }
        }
    }

    fn waiting_for(&self, id: TaskId) -> Vec<TaskId> {
        let waits = |(_, card): &(&TaskId, &Card)| card.blocked_by.contains(&id);
        self.cards.iter().filter(waits).map(|(id, _)| *id).collect()
    }

    /// What was held back may be free from now on.
    fn maybe_freed(&mut self, id: TaskId) {
        let card = &self.cards[&id];
        if card.state == State::Pending && self.open(card).is_empty() && !self.is_orphan(card) {
            self.set(id).since = self.now;
        }
    }

    /// What waits for somebody who did not complete long ago is cancelled, if it is so minded.
    fn heed(&mut self, id: TaskId) {
        let card = &self.cards[&id];
        let failed = |id: &TaskId| match self.cards[id].state {
            State::Ended(how) => how != EndStatus::Completed,
            _ => false,
        };
        let is_minded = card.policy == BlockerFailedPolicy::Cancel;
        if card.state == State::Pending && is_minded && card.blocked_by.iter().any(failed) {
            self.end(id, EndStatus::Cancelled);
        }
    }

    pub fn requeue(&mut self, id: TaskId) {
        let now = self.now;
        let card = self.set(id);
        (card.state, card.is_paused, card.since) = (State::Pending, false, now);
        self.heed(id);
    }

    /// Takes what a member owns and is not over from it.
    pub fn disown(&mut self, name: &MemberName) {
        let ids: Vec<TaskId> = self.cards.keys().copied().collect();
        for id in ids {
            let card = self.set(id);
            if card.is_over() || card.owner.as_ref() != Some(name) {
                continue;
            }
            card.owner = None;
            if card.is_claimed() {
                self.requeue(id);
            }
        }
    }

    /// What time brings, and what is left to do of who left.
    pub fn tick(&mut self, heard: impl Fn(&MemberName) -> Option<Time>) {
        let mut orphans = self.orphans();
        let lease_over = |card: &Card| match &card.state {
            State::Claimed(_, lease, since) => lease.map(|lease| *since + lease),
            _ => None,
        };
        let wakes = |card: &Card| {
            let clocks = [card.deadline, lease_over(card)];
            clocks
                .into_iter()
                .flatten()
                .filter(|_| !card.is_over())
                .min()
        };
        let all = self.cards.iter();
        let due = all.filter_map(|(id, card)| Some((wakes(card)?, *id)));
        let mut due: Vec<(Time, TaskId)> = due.filter(|(at, _)| *at <= self.now).collect();
        due.sort_unstable();
        for (_, id) in due {
            let now = self.now;
            let card = self.set(id);
            if card.is_over() {
                continue;
            }
            if card.deadline.is_some_and(|deadline| deadline <= now) {
                self.end(id, EndStatus::Failed);
            } else if let State::Claimed(holder, Some(lease), since) = &mut card.state {
                match heard(holder) {
                    Some(at) if at > *since && at + *lease > now => *since = at,
                    _ => {
                        card.owner = None;
                        self.requeue(id);
                    }
                }
            }
        }
        let gone = self.members.iter().filter(|(_, mate)| !mate.is_there);
        let gone: Vec<MemberName> = gone.map(|(name, _)| name.clone()).collect();
        loop {
            for id in orphans {
                if !self.cards[&id].is_over() {
                    self.end(id, EndStatus::Cancelled);
                }
            }
            gone.iter().for_each(|name| self.disown(name));
            orphans = self.orphans();
            if orphans.is_empty() {
                return;
            }
        }
    }
}
