//! Making and changing tasks of the model.

use board::{
    command::{NewTask, Update},
    id::{AgentTypeName, MemberName, TaskId},
    limits::CLAIM_LEASE,
    task::{EndStatus, Status},
    team::MemberKind,
};

use super::{Card, State, Wisher};

impl Wisher<'_> {
    pub fn create(&mut self, tasks: &[NewTask]) {
        let first = self.gang.last + 1;
        for (place, new) in tasks.iter().enumerate() {
            self.gang.last += 1;
            let id = TaskId(self.gang.last);
            self.may_assign(new.owner.as_ref());
            let has_prompt = !new.prompt.is_empty();
            self.must_run(new.owner.as_ref(), new.agent_type.as_ref(), has_prompt);
            if new
                .parent
                .is_some_and(|id| !self.gang.cards.contains_key(&id))
            {
                self.no("ReferenceUnknown");
            }
            if new.parent.is_some_and(|id| self.gang.is_cancelled(id)) {
                self.no("TaskOver");
            }
            let card = Card {
                owner: new.owner.clone(),
                maker: self.who.clone(),
                blocked_by: vec![],
                policy: new.blocker_failed_policy,
                priority: new.priority,
                labels: new.labels.clone(),
                agent_type: new.agent_type.clone(),
                has_prompt,
                parent: new.parent,
                deadline: new.deadline,
                state: State::Pending,
                is_paused: false,
                since: self.gang.now,
                attempt: 0,
            };
            self.gang.cards.insert(id, card);
            let items = new.blocked_by_items.iter();
            if items.clone().any(|item| *item >= place) {
                self.no("BadValue");
            }
            let items = items.map(|item| TaskId(first + *item as u64));
            for blocker in new.blocked_by.iter().copied().chain(items) {
                self.bind(id, blocker, blocker, false);
            }
            for dependant in &new.blocks {
                self.bind(*dependant, id, *dependant, false);
            }
            self.gang.heed(id);
        }
    }

    fn may_assign(&mut self, owner: Option<&MemberName>) {
        if !self.leads() && owner.is_some_and(|owner| owner != self.who) {
            self.no("LeadOnly");
        }
    }

    /// Refuses a task that nobody could run as it says.
    fn must_run(
        &mut self,
        owner: Option<&MemberName>,
        agent_type: Option<&AgentTypeName>,
        has_prompt: bool,
    ) {
        let mates = &self.gang.members;
        let mate = owner
            .and_then(|name| mates.get(name))
            .filter(|mate| mate.is_there);
        let own = mate.filter(|mate| mate.kind == MemberKind::Hosted);
        let own = own.and_then(|mate| mate.agent_type.as_ref());
        let runs_by = agent_type.or(own).cloned();
        let is_worker = mate.is_some_and(|mate| mate.kind == MemberKind::Worker);
        if owner.is_some() && mate.is_none() {
            self.no("MemberUnknown");
        }
        match runs_by {
            None if is_worker => self.no("AgentTypeMissing"),
            None => {}
            Some(name) if !self.gang.types.contains(&name) => self.no("AgentTypeUnknown"),
            Some(name) if name.as_str() == "shell" && !has_prompt => self.no("PromptMissing"),
            Some(_) => {}
        }
    }

    /// Lets a task wait for another; `other` is the one that was named.
    fn bind(&mut self, waits: TaskId, blocker: TaskId, other: TaskId, stop: bool) {
        if waits == blocker {
            return self.no("SelfEdge");
        }
        if !self.gang.cards.contains_key(&other) {
            return self.no("ReferenceUnknown");
        }
        let card = self.gang.cards[&waits].clone();
        if card.blocked_by.contains(&blocker) {
            return;
        }
        if self.leads_to(blocker, waits) {
            return self.no("Cycle");
        }
        if card.is_over() {
            return self.no("TaskOver");
        }
        self.gang.set(waits).blocked_by.push(blocker);
        let is_open = self.gang.open(&self.gang.cards[&waits]).contains(&blocker);
        if is_open {
            self.take(waits, stop);
        }
    }

    /// Whether a task waits, over any detour, for another.
    fn leads_to(&self, from: TaskId, to: TaskId) -> bool {
        let blockers = &self.gang.cards[&from].blocked_by;
        from == to || blockers.iter().any(|next| self.leads_to(*next, to))
    }

    /// Takes a task from whoever holds it.
    fn take(&mut self, id: TaskId, stop: bool) {
        if !self.gang.cards[&id].is_claimed() {
            return;
        }
        if !stop {
            return self.no("TaskHeld");
        }
        self.gang.requeue(id);
    }

    fn loosen(&mut self, waits: TaskId, blocker: TaskId, loosened: &mut Vec<TaskId>) {
        let Some(card) = self.gang.cards.get(&waits) else {
            return;
        };
        if card.state == State::Pending && self.gang.open(card).contains(&blocker) {
            loosened.push(waits);
        }
        self.gang.set(waits).blocked_by.retain(|id| *id != blocker);
    }

    pub fn update(&mut self, id: TaskId, change: &Update) {
        let Some(before) = self.card(id) else { return };
        let is_free = before.owner.is_none() && before.state == State::Pending;
        let to_self = change.owner == Some(Some(self.who.clone()));
        let begins = change.owner.is_none() && change.status == Some(Status::InProgress);
        if !(is_free && (to_self || begins)) {
            self.own(id);
        }
        let held_by = self.gang.open(&before);
        self.set_fields(id, change);
        self.set_owner(id, change);
        let (mut loosened, mut bound) = (vec![], vec![]);
        for blocker in &change.remove_blocked_by {
            self.loosen(id, *blocker, &mut loosened);
        }
        for dependant in &change.remove_blocks {
            self.loosen(*dependant, id, &mut loosened);
        }
        for blocker in &change.add_blocked_by {
            self.bind(id, *blocker, *blocker, change.stop_running);
            bound.push(id);
        }
        for dependant in &change.add_blocks {
            let comes_to_wait = |card: &Card| card.is_claimed() && !card.blocked_by.contains(&id);
            if change.stop_running && self.gang.cards.get(dependant).is_some_and(comes_to_wait) {
                self.own(*dependant);
            }
            self.bind(*dependant, id, *dependant, change.stop_running);
            bound.push(*dependant);
        }
        if self.gang.cards[&id].policy != before.policy {
            let open = self.gang.open(&self.gang.cards[&id]);
            if open.iter().any(|id| !held_by.contains(id)) {
                self.take(id, change.stop_running);
            }
            if held_by.iter().any(|id| !open.contains(id)) {
                loosened.push(id);
            }
            bound.push(id);
        }
        if !self.no.is_empty() {
            // Something bound may not even be there.
            return;
        }
        loosened.iter().for_each(|id| self.gang.maybe_freed(*id));
        bound.iter().for_each(|id| self.gang.heed(*id));
        if let Some(to) = change.status {
            self.set_status(id, to);
        }
    }

    fn set_fields(&mut self, id: TaskId, change: &Update) {
        let card = self.gang.set(id);
        card.labels
            .retain(|label| !change.remove_labels.contains(label));
        for label in &change.add_labels {
            if !card.labels.contains(label) {
                card.labels.push(label.clone());
            }
        }
        card.priority = change.priority.unwrap_or(card.priority);
        card.policy = change.blocker_failed_policy.unwrap_or(card.policy);
        card.deadline = change.deadline.unwrap_or(card.deadline);
        let Some(agent_type) = &change.agent_type else {
            return;
        };
        if card.agent_type != *agent_type {
            card.agent_type = agent_type.clone();
            let card = card.clone();
            if !card.is_over() {
                self.must_run(card.owner.as_ref(), agent_type.as_ref(), card.has_prompt);
            }
        }
    }

    fn set_owner(&mut self, id: TaskId, change: &Update) {
        let card = self.gang.cards[&id].clone();
        let Some(owner) = change.owner.clone().filter(|owner| *owner != card.owner) else {
            return;
        };
        self.may_assign(owner.as_ref());
        self.must_run(owner.as_ref(), card.agent_type.as_ref(), card.has_prompt);
        self.take(id, change.stop_running);
        self.gang.set(id).owner = owner;
    }

    fn set_status(&mut self, id: TaskId, to: Status) {
        let card = self.gang.cards[&id].clone();
        let is_blocked = !self.gang.open(&card).is_empty();
        match (card.status(), to) {
            (from, _) if from.is_terminal() => self.no("LateEnding"),
            (from, to) if from == to => {}
            (_, Status::Pending) => self.no("StatusBackward"),
            (_, Status::InProgress) => {
                let holder = card.owner.clone().unwrap_or(self.who.clone());
                self.claim(id, &holder, Some(CLAIM_LEASE));
            }
            (Status::Pending, Status::Completed) if is_blocked => self.no("TaskBlocked"),
            (_, Status::Completed) => self.gang.end(id, EndStatus::Completed),
            (_, Status::Failed) => self.gang.end(id, EndStatus::Failed),
            (_, Status::Cancelled) => self.gang.end(id, EndStatus::Cancelled),
        }
    }
}
