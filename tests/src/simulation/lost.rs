//! An attempt that ended, held against what its worker truly did.

use board::{id::Fence, task::AttemptEnding};

use super::{history::EndedNow, world::World};

impl World {
    /// An attempt may end by the report of the process that ran it, or be given up for a reason that
    /// is true.
    pub(super) fn check_ended(&mut self, ended: &EndedNow) {
        let (task, attempt) = (ended.key.1, &ended.attempt);
        let fence = Fence {
            epoch: board::id::Epoch(u128::from(self.plan.seed) + 1),
            team: ended.key.0,
            task,
            attempt: attempt.number,
        };
        let is_own_end = !matches!(
            attempt.ending,
            AttemptEnding::Lost | AttemptEnding::HandedBack
        );
        if let Some(mail) = self.memory.prompts.remove(&(ended.instance, fence))
            && is_own_end
        {
            self.memory.read.extend(mail);
        }
        let what = match attempt.ending {
            AttemptEnding::Completed => self.why_not_completed(ended, &fence),
            AttemptEnding::Lost | AttemptEnding::HandedBack => self.why_not_given_up(ended, &fence),
            AttemptEnding::Failed | AttemptEnding::Cancelled | AttemptEnding::TimedOut => {
                let has_ended = self.memory.truth.contains_key(&(ended.instance, fence));
                (!has_ended).then_some("its process never ended it")
            }
        };
        if let Some(what) = what {
            self.broke(format!("#{task} has {attempt:?}, but {what}"));
        }
    }

    fn why_not_completed(&self, ended: &EndedNow, fence: &Fence) -> Option<&'static str> {
        let task = &self.history.tasks[&ended.key];
        match self.memory.truth.get(&(ended.instance, *fence)) {
            None => Some("its process never ended it"),
            Some(result) if **result != *task.result => Some("the result is another attempt's"),
            Some(_) => None,
        }
    }

    /// Whether the reason for which an attempt was given up is none.
    fn why_not_given_up(&self, ended: &EndedNow, fence: &Fence) -> Option<&'static str> {
        let worker = self.workers.iter().find(|w| w.instance() == ended.instance);
        let process = worker.and_then(|worker| worker.process.as_ref())?;
        let is_at_it = process.is_at(fence);
        let lease = process.agenda.lease_until();
        let is_leased = lease.is_some_and(|until| until > self.instant());
        match &*ended.attempt.message {
            "its worker was started again" => Some("its process lives"),
            "its worker came back without it" | "the assignment never reached the worker" => {
                is_at_it.then_some("its worker has it")
            }
            "the lease of its worker is over" => {
                (is_at_it && is_leased).then_some("the worker's own lease is not over")
            }
            "it did not start in time" => {
                let waited = ended.attempt.ended_at.since(ended.attempt.dispatched_at);
                let is_early = waited < board::limits::START_TIMEOUT;
                is_early.then_some("there was time left")
            }
            _ => None,
        }
    }
}
