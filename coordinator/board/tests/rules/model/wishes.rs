//! What members wish of the model, but for making and changing tasks.
//!
//! Where a wish has several things against it, all of them are said: the board tells one.

use std::{collections::BTreeSet, time::Duration};

use board::{
    command::{ClaimNext, Lease},
    id::{AttemptNumber, MemberName, TaskId},
    task::EndStatus,
};

use super::{Card, Gang, State};

/// What is against a wish: refusals by their names.
pub type No = BTreeSet<&'static str>;

/// Somebody who wishes something of a gang.
pub struct Wisher<'g> {
    pub gang: &'g mut Gang,
    pub who: &'g MemberName,
    pub no: &'g mut No,
}

impl Wisher<'_> {
    pub fn no(&mut self, why: &'static str) {
        self.no.insert(why);
    }

    pub fn leads(&self) -> bool {
        self.gang.lead == *self.who
    }

    pub fn must_lead(&mut self) {
        if !self.leads() {
            self.no("LeadOnly");
        }
    }

    /// The task, of which everybody may speak.
    pub fn card(&mut self, id: TaskId) -> Option<Card> {
        let card = self.gang.cards.get(&id).cloned();
        if card.is_none() {
            self.no("TaskUnknown");
        }
        card
    }

    /// The task, of which the caller must have a say.
    pub fn own(&mut self, id: TaskId) -> Option<Card> {
        let card = self.card(id)?;
        let has_say = match &card.owner {
            Some(owner) => owner == self.who,
            None => card.maker == *self.who,
        };
        if !self.leads() && !has_say {
            self.no("NotOwner");
        }
        Some(card)
    }

    pub fn claim(&mut self, id: TaskId, by: &MemberName, lease: Option<Duration>) {
        let Some(card) = self.card(id) else { return };
        match card.state {
            State::Ended(_) => self.no("TaskOver"),
            State::Claimed(..) => self.no("TaskHeld"),
            State::Pending if card.is_paused => self.no("TaskPaused"),
            State::Pending => {}
        }
        if card.owner.as_ref().is_some_and(|owner| owner != by) {
            self.no("TaskHeld");
        }
        if !card.is_over() && !self.gang.open(&card).is_empty() {
            self.no("TaskBlocked");
        }
        if self.gang.is_orphan(&card) {
            self.no("TaskOrphaned");
        }
        let state = State::Claimed(by.clone(), lease, self.gang.now);
        let card = self.gang.set(id);
        (card.state, card.owner) = (state, Some(by.clone()));
        card.attempt += 1;
    }

    /// Claims a task, or renews the claim that the caller has.
    pub fn claim_task(&mut self, id: TaskId, lease: Option<Lease>) {
        let (who, now) = (self.who, self.gang.now);
        if let Some(card) = self.gang.cards.get_mut(&id)
            && let State::Claimed(by, span, since) = &mut card.state
            && by == who
        {
            *since = now;
            *span = lease.map_or(*span, |lease| lease.0);
            return;
        }
        self.claim(id, who, lease.unwrap_or_default().0);
    }

    /// The best of what is ready for the caller.
    pub fn claim_next(&mut self, wanted: &ClaimNext) -> Option<TaskId> {
        let gang = &*self.gang;
        let fits = |card: &Card| {
            gang.is_ready(card)
                && !gang.is_for_worker(card)
                && card.owner.as_ref().is_none_or(|owner| owner == self.who)
                && wanted
                    .priority_min
                    .is_none_or(|least| card.priority >= least)
                && wanted
                    .labels
                    .iter()
                    .all(|label| card.labels.contains(label))
        };
        let fitting = gang.cards.iter().filter(|(_, card)| fits(card));
        let rank = |(id, card): (&TaskId, &Card)| {
            let worth = card.since - card.priority.bonus();
            (worth, card.owner.is_none(), *id)
        };
        let (_, _, best) = fitting.map(rank).min()?;
        let who = self.who.clone();
        self.claim(best, &who, wanted.lease.0);
        Some(best)
    }

    /// Refuses what the caller does not hold.
    pub fn must_hold(&mut self, id: TaskId, attempt: Option<AttemptNumber>, may_lead: bool) {
        let Some(card) = self.card(id) else { return };
        if attempt.is_some_and(|n| n.0 != card.attempt || !card.is_claimed()) {
            self.no("AttemptOver");
        }
        match &card.state {
            State::Pending => self.no("TaskNotHeld"),
            State::Ended(_) => self.no("TaskOver"),
            State::Claimed(by, ..) if by == self.who || may_lead && self.leads() => {}
            State::Claimed(..) => self.no("TaskHeld"),
        }
    }

    pub fn release(&mut self, id: TaskId, attempt: Option<AttemptNumber>) {
        self.must_hold(id, attempt, true);
        if self.no.is_empty() {
            self.gang.set(id).owner = None;
            self.gang.requeue(id);
        }
    }

    pub fn reopen(&mut self, id: TaskId) {
        let Some(card) = self.own(id) else { return };
        if !card.is_over() {
            return self.no("TaskOpen");
        }
        if card.parent.is_some_and(|id| self.gang.is_cancelled(id)) {
            return self.no("TaskOrphaned");
        }
        let now = self.gang.now;
        let card = self.gang.set(id);
        card.deadline = card.deadline.filter(|deadline| *deadline > now);
        self.gang.requeue(id);
    }

    pub fn delete(&mut self, id: TaskId) {
        if self.own(id).is_none() {
            return;
        }
        if self.gang.cards.values().any(|card| card.parent == Some(id)) {
            return self.no("TaskHasChildren");
        }
        let held = |gang: &Gang, waits: &TaskId| gang.open(&gang.cards[waits]).contains(&id);
        for waits in self.gang.waiting_for(id) {
            let was_held = held(self.gang, &waits);
            self.gang
                .set(waits)
                .blocked_by
                .retain(|blocker| *blocker != id);
            if was_held {
                self.gang.maybe_freed(waits);
            }
        }
        self.gang.cards.remove(&id);
    }

    pub fn pause(&mut self, id: TaskId) {
        let Some(card) = self.own(id) else { return };
        match card.state {
            State::Pending => self.gang.set(id).is_paused = true,
            State::Claimed(..) => self.no("TaskHeld"),
            State::Ended(_) => self.no("TaskOver"),
        }
    }

    /// No worker is there in the model: no sub-agent is at work.
    pub fn tell(&mut self, id: TaskId) {
        if self.own(id).is_some() {
            self.no("NotRunning");
        }
    }

    pub fn resume(&mut self, id: TaskId) {
        let Some(card) = self.own(id) else { return };
        if card.state != State::Pending || !card.is_paused {
            return self.no("TaskNotPaused");
        }
        let now = self.gang.now;
        let card = self.gang.set(id);
        (card.is_paused, card.since) = (false, now);
    }

    pub fn cancel(&mut self, id: TaskId) {
        match self.own(id) {
            Some(card) if card.is_over() => self.no("TaskOver"),
            Some(_) => self.gang.end(id, EndStatus::Cancelled),
            None => {}
        }
    }

    pub fn leave(&mut self, name: &MemberName) {
        if !self.gang.is_there(name) {
            return self.no("MemberUnknown");
        }
        if self.gang.lead == *name {
            return self.no("MemberLeads");
        }
        self.gang.members.get_mut(name).unwrap().is_there = false;
        self.gang.mail.remove(name);
        self.gang.disown(name);
    }
}
