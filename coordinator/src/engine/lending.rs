//! Slots that attempts lend to what they wait for (D7).
//!
//! A sub-agent that waits for tasks below its own does nothing meanwhile, and holds a slot. So its
//! attempt lends it: one task below it at a time is given to the same worker beyond its slots. When
//! the wait is over while the borrower still runs, the lender is first in line for the next slot of
//! its worker that is free, and its wait is answered when it has it.
//!
//! Why a worker with one slot finishes a chain of any depth: each attempt of the chain but the last
//! waits, and lends its slot to the one below it; the last one does not wait, so it ends, and its
//! slot goes back to the one that waited for it, which goes on. What holds a slot of a worker is
//! either at work, or waits and lends: so where a task fits on a worker at all, a slot comes, and
//! full workers are no deadlock. What would never come is a task that itself waits for one of those
//! who wait for it: that is refused (`WOULD_DEADLOCK`).
//!
//! All of it is soft state. After a restart nothing is lent: a worker may hold more than it has slots
//! then, and is given nothing until it holds less.

use std::collections::{BTreeMap, BTreeSet};

use board::{
    command::FleetCommand,
    id::{Fence, InstanceId, TaskId, TaskKey},
    refusal::Refusal,
    time::Time,
};
use tokio::sync::oneshot;

use super::{Engine, Reader};

/// The number of a wait.
pub type WaitId = u64;

/// Who waits, and which loans there are.
#[derive(Debug, Default)]
pub(super) struct Lending {
    last: WaitId,
    waits: BTreeMap<WaitId, Wait>,
    /// Who lends to each borrower, as long as that is held.
    loans: BTreeMap<Fence, Fence>,
}

/// Somebody who waits.
#[derive(Debug)]
struct Wait {
    lender: Fence,
    awaited: Vec<TaskKey>,
    /// Closed when who waited is there no more.
    is_there: oneshot::Sender<()>,
    /// The wait is over: who waited is told when it has a slot.
    back: Option<oneshot::Sender<()>>,
}

/// That a sub-agent waits, as long as this is kept.
#[derive(Debug)]
pub struct Waiting {
    id: WaitId,
    _here: oneshot::Receiver<()>,
}

impl Waiting {
    /// By which number the wait is known.
    pub fn id(&self) -> WaitId {
        self.id
    }
}

impl Lending {
    /// Who lends to a borrower.
    pub(super) fn lender(&self, borrower: &Fence) -> Option<Fence> {
        self.loans.get(borrower).copied()
    }

    fn is_waiting(&self, lender: &Fence) -> bool {
        self.waits.values().any(|wait| wait.lender == *lender)
    }

    fn lends(&self, lender: &Fence) -> bool {
        self.loans.values().any(|lent_by| lent_by == lender)
    }
}

impl Reader<'_> {
    /// Notes that a sub-agent waits for tasks, and may lend its slot to what is below its own. None
    /// where nothing of that is. `is_checked` refuses a wait that could never be over.
    pub fn wait_begins(
        &mut self,
        lender: Fence,
        awaited: &[TaskKey],
        is_checked: bool,
    ) -> Result<Option<Waiting>, Refusal> {
        let engine = &mut *self.engine;
        let own = (lender.team, lender.task);
        let is_lent_to = |key: &&TaskKey| {
            let is_below = key.0 == own.0 && engine.board.is_below(own.0, key.1, own.1);
            is_below && key.1 != own.1 && engine.board.ended(**key).is_none()
        };
        let awaited: Vec<TaskKey> = awaited.iter().filter(is_lent_to).copied().collect();
        if awaited.is_empty() || engine.board.fence(own) != Some(lender) {
            return Ok(None);
        }
        if is_checked {
            let waiting = engine.who_waits_above(own);
            let why = |key: &TaskKey| engine.board.deadlock(*key, &waiting);
            if let Some(why) = awaited.iter().find_map(why) {
                let task = lender.task;
                return Err(Refusal::WouldDeadlock { task, why });
            }
        }
        let (is_there, here) = oneshot::channel();
        engine.lending.last += 1;
        let id = engine.lending.last;
        let wait = Wait {
            lender,
            awaited,
            is_there,
            back: None,
        };
        engine.lending.waits.insert(id, wait);
        engine.may_place = true;
        Ok(Some(Waiting { id, _here: here }))
    }

    /// A wait is over. Says when who waited has a slot again.
    pub fn wait_ends(&mut self, waiting: WaitId) -> oneshot::Receiver<()> {
        let (back, has_slot) = oneshot::channel();
        // One that is not known any more has nothing to wait for: its answer is that it is closed.
        if let Some(wait) = self.engine.lending.waits.get_mut(&waiting) {
            wait.back = Some(back);
        }
        has_slot
    }
}

impl Engine {
    /// The tasks whose sub-agents wait for a chain of tasks that ends with this one, which waits too.
    fn who_waits_above(&self, own: TaskKey) -> BTreeSet<TaskId> {
        let lenders = self.lending.waits.values().map(|wait| wait.lender);
        let above = lenders.filter(|lender| {
            lender.team == own.0 && self.board.is_below(own.0, own.1, lender.task)
        });
        above.map(|lender| lender.task).chain([own.1]).collect()
    }

    /// Ends the loans and the waits that are over, and gives slots back to who waited, first come,
    /// first served.
    pub(super) fn settle_loans(&mut self) {
        if self.lending.waits.is_empty() && self.lending.loans.is_empty() {
            return;
        }
        let board = &self.board;
        let is_held = |fence: &Fence| board.fence((fence.team, fence.task)) == Some(*fence);
        let before = self.lending.loans.len() + self.lending.waits.len();
        // The slot of a lender that is over is its borrower's.
        let loans = &mut self.lending.loans;
        loans.retain(|borrower, lender| is_held(borrower) && is_held(lender));
        self.lending
            .waits
            .retain(|_, wait| is_held(&wait.lender) && !wait.is_there.is_closed());
        self.note_lent();
        let ending = self.lending.waits.iter();
        let ending = ending.filter(|(_, wait)| wait.back.is_some());
        let ending: Vec<WaitId> = ending.map(|(id, _)| *id).collect();
        for id in ending {
            self.give_back(id);
        }
        if before != self.lending.loans.len() + self.lending.waits.len() {
            self.may_place = true;
        }
    }

    /// Answers a wait that is over, if who waited has a slot: because nobody has it, because another
    /// one is free, or because it waits for other things still, and goes on lending.
    fn give_back(&mut self, id: WaitId) {
        let lender = self.lending.waits[&id].lender;
        let others = self.lending.waits.iter();
        let mut others = others.filter(|(other, wait)| **other != id && wait.lender == lender);
        let needs_slot = self.lending.lends(&lender) && others.next().is_none();
        if needs_slot && !self.has_free_slot(&lender) {
            return;
        }
        let wait = self.lending.waits.remove(&id);
        if let Some(back) = wait.and_then(|wait| wait.back) {
            // Who went away meanwhile needs none.
            let told = move || {
                let _ = back.send(());
            };
            let release = super::release::Release::Read(Box::new(told));
            self.group.releases.push(release);
        }
        self.note_lent();
    }

    fn has_free_slot(&self, attempt: &Fence) -> bool {
        let instance = self.instance_of(attempt);
        let worker = instance.and_then(|instance| self.fleet.of_instance(instance));
        // Where a worker is away, nobody tells its sub-agents anything anyhow.
        worker.is_none_or(|worker| worker.free(&self.board) > 0)
    }

    fn instance_of(&self, attempt: &Fence) -> Option<InstanceId> {
        let view = self.board.view((attempt.team, attempt.task))?;
        Some(view.task.placement()?.instance)
    }

    /// Tells the fleet how many slots of each worker are lent: attempts that hold none meanwhile.
    fn note_lent(&mut self) {
        let mut lent: BTreeMap<InstanceId, u32> = BTreeMap::new();
        let lenders: BTreeSet<Fence> = self.lending.loans.values().copied().collect();
        let idle = lenders
            .into_iter()
            .filter(|lender| self.lending.is_waiting(lender));
        for instance in idle.filter_map(|lender| self.instance_of(&lender)) {
            *lent.entry(instance).or_default() += 1;
        }
        self.fleet.note_lent(lent);
    }

    /// Gives to each attempt that waits, and has lent its slot to nobody, something below it to run
    /// in that slot.
    pub(super) fn lend_slots(&mut self, now: Time) {
        let mut lenders: BTreeMap<Fence, Vec<TaskKey>> = BTreeMap::new();
        for wait in self
            .lending
            .waits
            .values()
            .filter(|wait| wait.back.is_none())
        {
            let awaited = lenders.entry(wait.lender).or_default();
            awaited.extend(&wait.awaited);
        }
        for (lender, awaited) in lenders {
            if !self.lending.lends(&lender) {
                self.lend(lender, &awaited, now);
            }
        }
    }

    fn lend(&mut self, lender: Fence, awaited: &[TaskKey], now: Time) {
        let Some(offer) = self
            .instance_of(&lender)
            .and_then(|instance| self.fleet.offer_of(instance, &self.board, now))
        else {
            return;
        };
        let own = (lender.team, lender.task);
        // Whoever lends its slot leaves it the room below every bound, too.
        let lenders = self.lending.loans.values().chain([&lender]);
        let idle = lenders.map(|lender| (lender.team, lender.task)).collect();
        let Some(task) = self.board.borrower(own, awaited, &idle, &offer) else {
            return;
        };
        let Some(borrower) = self.board.next_fence(task) else {
            return;
        };
        self.lending.loans.insert(borrower, lender);
        let command = FleetCommand::Dispatch(task, offer.worker, offer.instance);
        if let Err(refusal) = self.decide_fleet(&command, now) {
            tracing::error!(%refusal, "a slot was lent to a task that can't be placed");
            self.lending.loans.remove(&borrower);
        }
        self.note_lent();
    }
}
