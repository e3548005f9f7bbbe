//! What this worker holds, what it owes, and what it does next: pure, synchronous, given `now`.
//!
//! Owns the state of every attempt from its assignment until the coordinator has acknowledged its
//! last report, the credit of slots, the worker's own lease, the drain, and what sub-agents ask and are
//! told. It knows nothing of streams, sandboxes or output: it is told what happened, and answers with
//! [`Action`]s.
//!
//! Invariants:
//! 1. No more attempts hold a slot of their own than there are slots. One that was lent a slot lives in
//!    it: its lender is held, and lends to nobody else. When a lender is over, what it had (its own
//!    slot, or the one that it was lent) is its borrower's.
//! 2. Nothing begins while the lease is over, after a stop, or in a drain.
//! 3. Every attempt taken ends in exactly one report that is said again on each new stream until it
//!    is acknowledged, or is forgotten because it was fenced.
//! 4. After a stop comes a kill, unless the attempt is over before.
//! 5. A sub-agent is told each word once, in the order of their numbers; a question is said again on
//!    each new stream until it is acknowledged.
//!
//! The surprising thing: why an attempt was stopped decides how it is reported, not how its
//! sub-agent then ended.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ganger_proto::v1::ReportKind;

use self::held::{Cause, Held, Stage};
use crate::{
    fence::Fence,
    lease::Lease,
    limits::{DRAIN_FAREWELL, DRAIN_GRACE, STOP_GRACE},
};

pub use self::{
    held::{Outcome, Report},
    words::{Question, Word},
};

mod held;
mod words;

/// What the engine is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make the workspace and the sandbox.
    Prepare(Fence),
    /// Start the sub-agent.
    Begin(Fence),
    /// Ask the sub-agent to end.
    Stop(Fence),
    /// Kill the sub-agent.
    Kill(Fence),
    /// Send this report; [`Agenda::report`] has it, and [`Agenda::question`] what is asked.
    Report(Fence, ReportKind),
    /// Tell the sub-agent; [`Agenda::told`] wants to know.
    Tell(Fence, Word),
    /// Say how far the sub-agent was told; [`Agenda::heeded`] has it.
    Heeded(Fence),
    /// Put this into the transcript, in the worker's own name.
    Note(Fence, String),
    /// Nothing is owed any more: drop what is left of the attempt.
    Forget(Fence),
}

/// An assignment, as far as the agenda cares.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Which attempt.
    pub fence: Fence,
    /// How long the sub-agent may run.
    pub limit: Duration,
    /// When it must be over, however it stands.
    pub deadline: Option<Instant>,
    /// An attempt that waits for it, and lends it its slot.
    pub lender: Option<Fence>,
    /// It is killed as soon as the lease is over.
    pub stop_on_lease_end: bool,
    /// Its sub-agent can be told something.
    pub has_ear: bool,
}

/// What became of an assignment.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It holds a slot now.
    Yes,
    /// It was already held.
    Already,
    /// It is not taken, and why.
    No(&'static str),
}

/// See the head of this file.
#[derive(Debug)]
pub struct Agenda {
    slots: usize,
    drain_span: Duration,
    held: BTreeMap<Fence, Held>,
    lease: Lease,
    is_connected: bool,
    /// The coordinator knows questions and words.
    hears_questions: bool,
    /// When the drain time is over.
    drained_at: Option<Instant>,
    actions: Vec<Action>,
}

impl Agenda {
    /// An agenda that holds nothing.
    pub fn new(slots: usize, drain_span: Duration) -> Self {
        Self {
            slots,
            drain_span,
            held: BTreeMap::new(),
            lease: Lease::default(),
            is_connected: false,
            hears_questions: true,
            drained_at: None,
            actions: Vec::new(),
        }
    }

    /// What there is to do now, in order; call it after whatever else was called.
    pub fn settle(&mut self, now: Instant) -> Vec<Action> {
        self.enforce_times(now);
        if !self.is_draining() && self.lease.is_valid(now) {
            for (fence, held) in &mut self.held {
                if held.stage == Stage::Ready && held.stop.is_none() {
                    held.stage = Stage::Beginning;
                    self.actions.push(Action::Begin(fence.clone()));
                }
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// When to call [`Agenda::settle`] again if nothing else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let lease_until = self.lease.until();
        let attempts = self
            .held
            .values()
            .filter_map(|held| held.due_at(lease_until, self.drained_at));
        attempts.chain(self.gone_at()).min()
    }

    // What the coordinator says.

    /// Takes an assignment, or says why not.
    pub fn assign(&mut self, terms: Terms) -> Taken {
        if self.held.contains_key(&terms.fence) {
            return Taken::Already;
        }
        if self.is_draining() {
            return Taken::No("draining");
        }
        let lender = terms.lender.clone().filter(|lender| self.can_lend(lender));
        if lender.is_none() && self.slots_taken() >= self.slots {
            return Taken::No("no free slot");
        }
        let fence = terms.fence.clone();
        self.held.insert(fence.clone(), Held::new(terms, lender));
        self.actions.push(Action::Prepare(fence));
        Taken::Yes
    }

    /// Stops an attempt by the stop ladder; false if it isn't held.
    pub fn stop(
        &mut self,
        fence: &Fence,
        reason: &str,
        grace: Option<Duration>,
        now: Instant,
    ) -> bool {
        let Some(held) = self.held.get_mut(fence) else {
            return false;
        };
        let cause = Cause::Asked(reason.to_owned());
        // A cancel decides more than the worker's own leaving: the task must not be queued again.
        if let Some(stop) = held.stop.as_mut().filter(|stop| stop.cause.is_ours()) {
            stop.cause = cause;
        } else {
            held.stop(
                fence,
                cause,
                grace.unwrap_or(STOP_GRACE),
                now,
                &mut self.actions,
            );
        }
        true
    }

    /// Notes what became of a report.
    pub fn acknowledged(&mut self, fence: &Fence, kind: ReportKind, accepted: bool) {
        if !accepted {
            return self.disown(fence);
        }
        let Some(held) = self.held.get_mut(fence) else {
            return;
        };
        match (kind, &held.stage) {
            (ReportKind::Started, _) => held.start_acknowledged = true,
            (ReportKind::Asked, _) => held.talk.question_acknowledged(),
            (ReportKind::Ended, Stage::Over(Report::Ended(_)))
            | (ReportKind::Refused, Stage::Over(Report::Refused(_))) => self.forget(fence),
            _ => {}
        }
    }

    /// A stream is up: the verdicts are on what its Hello presented. What has no verdict is disowned.
    pub fn connected(
        &mut self,
        verdicts: &[(Fence, bool)],
        hello_sent_at: Instant,
        lease_span: Duration,
        hears_questions: bool,
    ) {
        self.is_connected = true;
        self.hears_questions = hears_questions;
        self.lease.begin(hello_sent_at, lease_span);
        let kept: Vec<_> = verdicts
            .iter()
            .filter(|(_, keep)| *keep)
            .map(|(fence, _)| fence)
            .collect();
        let disowned: Vec<_> = self
            .held
            .keys()
            .filter(|fence| !kept.contains(fence))
            .cloned()
            .collect();
        for fence in disowned {
            self.disown(&fence);
        }
        for (fence, held) in &mut self.held {
            held.talk.on_new_stream();
            if !held.is_disowned() {
                self.actions
                    .extend(held.owed().map(|kind| Action::Report(fence.clone(), kind)));
            }
        }
        if !hears_questions {
            self.answer_questions_for_the_deaf();
        }
    }

    /// The stream broke: everything goes on until the lease is over.
    pub fn disconnected(&mut self) {
        self.is_connected = false;
        self.lease.forget_beats();
    }

    /// A heartbeat is about to be sent.
    pub fn heartbeat_sent(&mut self, sequence: u64, at: Instant) {
        self.lease.sent(sequence, at);
    }

    /// A heartbeat was acknowledged: the lease runs from its sending.
    pub fn heartbeat_acknowledged(&mut self, sequence: u64) {
        self.lease.acknowledged(sequence);
    }

    // What attempts say.

    /// An attempt's sandbox stands.
    pub fn prepared(&mut self, fence: &Fence) {
        if let Some(held) = self
            .held
            .get_mut(fence)
            .filter(|held| held.stage == Stage::Preparing)
        {
            held.stage = Stage::Ready;
        }
    }

    /// An attempt's sub-agent began.
    pub fn began(&mut self, fence: &Fence, now: Instant) {
        let Some(held) = self
            .held
            .get_mut(fence)
            .filter(|held| held.stage == Stage::Beginning)
        else {
            return;
        };
        held.stage = Stage::Running {
            until: now + held.limit,
        };
        held.has_begun = true;
        if self.is_connected && !held.is_disowned() {
            self.actions
                .push(Action::Report(fence.clone(), ReportKind::Started));
        }
        self.tell_next(fence);
    }

    /// An attempt's sub-agent is over; its limit of time no longer counts.
    pub fn finishing(&mut self, fence: &Fence) {
        if let Some(held) = self.held.get_mut(fence)
            && matches!(held.stage, Stage::Running { .. })
        {
            held.stage = Stage::Finishing;
        }
    }

    /// An attempt is over, its sandbox gone and its slot free.
    pub fn over(&mut self, fence: &Fence, outcome: Outcome) {
        let Some(held) = self.held.get_mut(fence).filter(|held| held.is_live()) else {
            return;
        };
        let lender = held.lender.take();
        let is_disowned = held.is_disowned();
        self.pass_on(fence, lender);
        if is_disowned {
            return self.forget(fence);
        }
        let Some(held) = self.held.get_mut(fence) else {
            return;
        };
        let report = match held.stop.take() {
            Some(stop) => stop.cause.report(outcome),
            None => match outcome {
                Outcome::Ended(ended) => Report::Ended(ended),
                Outcome::Unable(reason) => Report::Refused(reason),
            },
        };
        let kind = report.kind();
        held.stage = Stage::Over(report);
        if self.is_connected {
            self.actions.push(Action::Report(fence.clone(), kind));
        }
    }

    // Draining.

    /// No new work from now on; what runs gets the worker's own drain time.
    pub fn drain(&mut self, now: Instant) {
        self.drain_within(self.drain_span, now);
    }

    /// The same with a time for what runs. Of several drains the one that is over first counts: who
    /// ends a process doesn't wait for what somebody else has allowed.
    pub fn drain_within(&mut self, span: Duration, now: Instant) {
        let at = now + span;
        self.drained_at = Some(self.drained_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Whether new work is turned away.
    pub fn is_draining(&self) -> bool {
        self.drained_at.is_some()
    }

    /// Whether a draining worker may go: it owes nothing, or has waited long enough.
    pub fn may_leave(&self, now: Instant) -> bool {
        self.is_draining()
            && (self.held.is_empty() || self.gone_at().is_some_and(|gone_at| now >= gone_at))
    }

    // Looking.

    /// What Hello presents: each attempt, and whether its sub-agent has begun.
    pub fn presented(&self) -> impl Iterator<Item = (&Fence, bool)> {
        self.held
            .iter()
            .filter(|(_, held)| !held.is_disowned())
            .map(|(fence, held)| (fence, held.has_begun))
    }

    /// A report that is owed, to be sent.
    pub fn report(&self, fence: &Fence, kind: ReportKind) -> Option<Report> {
        let held = self.held.get(fence).filter(|held| !held.is_disowned())?;
        match &held.stage {
            Stage::Over(report) if report.kind() == kind => Some(report.clone()),
            _ if kind == ReportKind::Started && held.has_begun => Some(Report::Started(held.limit)),
            _ => None,
        }
    }

    /// Why an attempt is being stopped.
    pub fn stop_reason(&self, fence: &Fence) -> Option<String> {
        let stop = self.held.get(fence)?.stop.as_ref()?;
        Some(stop.cause.why())
    }

    /// Until when what is held is this worker's own, as far as it knows.
    pub fn lease_until(&self) -> Option<Instant> {
        self.lease.until()
    }

    /// How many attempts are held, their last reports included.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    // Inside.

    fn enforce_times(&mut self, now: Instant) {
        let lease_until = self.lease.until();
        let is_drained = self.drained_at.is_some_and(|at| now >= at);
        let is_draining = self.is_draining();
        for (fence, held) in self.held.iter_mut().filter(|(_, held)| held.is_live()) {
            let actions = &mut self.actions;
            let is_orphaned = held.orphaned_at(lease_until).is_some_and(|at| now >= at);
            if is_orphaned {
                let cause = held.cause_of_orphans();
                held.stop(fence, cause, Duration::ZERO, now, actions);
            }
            if held.deadline.is_some_and(|deadline| now >= deadline) {
                held.stop(fence, Cause::Deadline, STOP_GRACE, now, actions);
            }
            if matches!(held.stage, Stage::Running { until } if now >= until) {
                held.stop(fence, Cause::Timeout(held.limit), STOP_GRACE, now, actions);
            }
            if is_drained || (is_draining && held.is_unbegun()) {
                held.stop(fence, Cause::Drain, DRAIN_GRACE, now, actions);
            }
            held.kill_if_due(fence, now, is_orphaned, actions);
        }
    }

    fn disown(&mut self, fence: &Fence) {
        let Some(held) = self.held.get_mut(fence) else {
            return;
        };
        if !held.is_live() {
            return self.forget(fence);
        }
        if held.disown() {
            self.actions.push(Action::Kill(fence.clone()));
        }
    }

    fn forget(&mut self, fence: &Fence) {
        self.held.remove(fence);
        self.actions.push(Action::Forget(fence.clone()));
    }

    fn slots_taken(&self) -> usize {
        let holds_own = |held: &&Held| held.is_live() && held.lender.is_none();
        self.held.values().filter(holds_own).count()
    }

    fn can_lend(&self, lender: &Fence) -> bool {
        let is_held = |held: &Held| held.is_live() && !held.is_disowned();
        let mut borrowers = self.held.values().filter_map(|held| held.lender.as_ref());
        self.held.get(lender).is_some_and(is_held) && borrowers.all(|lent_by| lent_by != lender)
    }

    /// What an attempt that is over had goes to the one that it lent to.
    fn pass_on(&mut self, over: &Fence, lender: Option<Fence>) {
        let mut held = self.held.values_mut();
        if let Some(borrower) = held.find(|held| held.lender.as_ref() == Some(over)) {
            borrower.lender = lender;
        }
    }

    /// When a draining worker goes, whatever it still owes.
    fn gone_at(&self) -> Option<Instant> {
        self.drained_at.map(|at| at + DRAIN_GRACE + DRAIN_FAREWELL)
    }
}

#[cfg(test)]
mod tests;
