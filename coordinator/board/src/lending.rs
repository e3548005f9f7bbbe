//! What a board knows for attempts that wait for others and lend them their slots (D7).

use std::collections::{BTreeSet, VecDeque};

use crate::{
    board::{Board, Card, is_open},
    id::{AttemptNumber, Fence, TaskId, TaskKey, TeamUid},
    index::{Placed, Want, queue_of},
    limits,
    placement::Offer,
    task::Task,
};

impl Board {
    /// The next attempt of a task that is in memory whole.
    pub fn next_fence(&self, (team, task): TaskKey) -> Option<Fence> {
        Some(Fence {
            epoch: self.meta.epoch,
            team,
            task,
            attempt: self.next_attempt((team, task))?,
        })
    }

    fn next_attempt(&self, key: TaskKey) -> Option<AttemptNumber> {
        Some(self.whole(key)?.last_attempt.next())
    }

    /// The task that a slot is lent to: of what stands in a queue among the awaited, else of all
    /// below the lender, the first in line that fits. A bounded number is looked at. What is idle
    /// leaves its room below bounds on what runs.
    pub fn borrower(
        &self,
        lender: TaskKey,
        awaited: &[TaskKey],
        idle: &BTreeSet<TaskKey>,
        offer: &Offer,
    ) -> Option<TaskKey> {
        let uid = lender.0;
        let team = self.teams.get(&uid)?;
        let place = |id: TaskId| {
            let (queue, place) = team.tasks.get(&id)?.marks.queued.as_deref()?;
            let fits = offer.fits(uid, &queue.want)
                && !team.index.queues.is_held(queue)
                && self.has_room(&queue.want, idle);
            fits.then_some(*place)
        };
        let first = awaited.iter().filter_map(|key| place(key.1)).min();
        let first = first.or_else(|| {
            let below = self.below(uid, lender.1).take(limits::LIST_EXAMINED_MAX);
            below.filter_map(place).min()
        });
        first.map(|(_, id)| (uid, id))
    }

    /// Whether one more of what wants this may run, where what is idle doesn't count.
    fn has_room(&self, want: &Want, idle: &BTreeSet<TaskKey>) -> bool {
        let idle = idle.iter().filter_map(|(team, task)| {
            let entry = self.teams.get(team)?.tasks.get(task)?;
            entry.marks.placed.as_deref()
        });
        let idle: Vec<&Placed> = idle.collect();
        let count = |is_so: &dyn Fn(&Placed) -> bool| {
            u32::try_from(idle.iter().filter(|placed| is_so(placed)).count()).unwrap_or(u32::MAX)
        };
        let of_type = &want.agent_type;
        let type_max = self.limits.agent_types.get(of_type);
        let is_type_full = type_max.is_some_and(|max| {
            let idle = count(&|placed| placed.agent_type.as_ref() == Some(of_type));
            self.running.of_type(of_type).saturating_sub(idle) >= *max
        });
        let is_label_full = want.limited.iter().any(|label| {
            let idle = count(&|placed| placed.limited.contains(label));
            let max = self.limits.labels.get(label);
            max.is_some_and(|max| self.running.of_label(label).saturating_sub(idle) >= *max)
        });
        !is_type_full && !is_label_full
    }

    /// All below a task, the nearest first.
    fn below(&self, uid: TeamUid, root: TaskId) -> impl Iterator<Item = TaskId> + '_ {
        let children = self.teams.get(&uid).map(|team| &team.index.children);
        let mut open = VecDeque::from([root]);
        let next = move || {
            let at = open.pop_front()?;
            let of = children.and_then(|children| children.get(&at));
            let of: Vec<TaskId> = of.into_iter().flat_map(|set| set.iter()).collect();
            open.extend(&of);
            Some(of)
        };
        std::iter::from_fn(next).flatten()
    }

    /// Why a task would never run while these wait for it, each of them at work: because it waits
    /// for one of them, or because it is a hosted member's who is at one of them.
    pub fn deadlock(&self, (uid, task): TaskKey, waiting: &BTreeSet<TaskId>) -> Option<String> {
        let team = self.teams.get(&uid)?;
        let mut seen = BTreeSet::from([task]);
        let mut open = VecDeque::from([task]);
        while let Some(id) = open.pop_front() {
            if waiting.contains(&id) {
                return Some(format!("#{task} waits for #{id}"));
            }
            let Some(Card::Whole(card)) = team.tasks.get(&id).map(|entry| &entry.card) else {
                continue;
            };
            if let Some(why) = self.is_its_members(uid, card, waiting) {
                return Some(why);
            }
            let blockers = card.blocked_by.iter().copied();
            let blockers = blockers.filter(|id| is_open(&team.tasks, card, *id));
            let children = team.index.joining.holders(card);
            for next in blockers.chain(children) {
                if seen.len() < limits::LIST_EXAMINED_MAX && seen.insert(next) {
                    open.push_back(next);
                }
            }
        }
        None
    }

    fn is_its_members(
        &self,
        uid: TeamUid,
        card: &Task,
        waiting: &BTreeSet<TaskId>,
    ) -> Option<String> {
        card.waiting()?;
        let queue = queue_of(card, &self.teams.get(&uid)?.members, &self.limits)?;
        let member = queue.member?;
        let at = self.at_work(uid, &member);
        let at = at.map(|task| task.id).find(|id| waiting.contains(id))?;
        let task = card.id;
        Some(format!(
            "#{task} belongs to {member}, who is at #{at} and runs one task at a time"
        ))
    }
}
