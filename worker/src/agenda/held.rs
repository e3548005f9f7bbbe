//! One attempt as the agenda holds it: where it stands, why it is stopped, what is owed for it.

use std::time::{Duration, Instant};

use ganger_proto::v1::{AttemptEnding, Ended, ReportKind, StopReason};

use super::{Action, Terms, words::Talk};
use crate::{fence::Fence, limits::ORPHAN_SPAN};

/// How an attempt's own work ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The sub-agent, or the task itself, came to an end.
    Ended(Box<Ended>),
    /// The worker could not run it: no fault of the task.
    Unable(String),
}

/// A report that is said until it is acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The sub-agent began, and may run for so long.
    Started(Duration),
    /// The attempt ended.
    Ended(Box<Ended>),
    /// The attempt is given back, and why.
    Refused(String),
}

/// Why an attempt was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The coordinator asked.
    Asked(String),
    /// It ran longer than it may.
    Timeout(Duration),
    /// The task's deadline passed.
    Deadline,
    /// The worker drains.
    Drain,
    /// The lease was over for longer than an attempt is kept without a verdict.
    Orphaned,
    /// The lease was over, and the attempt's type wants it dead then.
    LeaseOver,
    /// The coordinator disowned it: no report of it counts any more.
    Disowned,
}

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// Its workspace and sandbox are being made.
    Preparing,
    /// Waits for its go.
    Ready,
    /// Was told to begin.
    Beginning,
    /// Its sub-agent runs, until then at the longest.
    Running { until: Instant },
    /// Its sub-agent is over; what it left is being kept.
    Finishing,
    /// Its last report waits to be acknowledged.
    Over(Report),
}

/// An attempt from its assignment to the acknowledgement of its last report.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) stage: Stage,
    pub(super) limit: Duration,
    pub(super) deadline: Option<Instant>,
    pub(super) stop: Option<Stop>,
    pub(super) has_begun: bool,
    pub(super) start_acknowledged: bool,
    /// Whose slot it lives in, where that isn't its own; held, too.
    pub(super) lender: Option<Fence>,
    stop_on_lease_end: bool,
    pub(super) talk: Talk,
}

/// The stop ladder, begun.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) cause: Cause,
    /// When to kill; none once that is done.
    pub(super) kill_at: Option<Instant>,
}

impl Held {
    /// An attempt that was just taken.
    pub(super) fn new(terms: Terms, lender: Option<Fence>) -> Self {
        Self {
            stage: Stage::Preparing,
            limit: terms.limit,
            deadline: terms.deadline,
            stop: None,
            has_begun: false,
            start_acknowledged: false,
            lender,
            stop_on_lease_end: terms.stop_on_lease_end,
            talk: Talk::new(terms.has_ear),
        }
    }

    /// Until when it is kept without a verdict, where the worker's lease ends then.
    pub(super) fn orphaned_at(&self, lease_until: Option<Instant>) -> Option<Instant> {
        let kept_for = if self.stop_on_lease_end {
            Duration::ZERO
        } else {
            ORPHAN_SPAN
        };
        lease_until.map(|until| until + kept_for)
    }

    /// Why it is stopped when that time is over.
    pub(super) fn cause_of_orphans(&self) -> Cause {
        if self.stop_on_lease_end {
            Cause::LeaseOver
        } else {
            Cause::Orphaned
        }
    }

    /// When something is due for it, if the worker's own times are these.
    pub(super) fn due_at(
        &self,
        lease_until: Option<Instant>,
        drained: Option<Instant>,
    ) -> Option<Instant> {
        let orphaned = self.orphaned_at(lease_until);
        let (kill_at, mine) = match (&self.stop, &self.stage) {
            _ if !self.is_live() => return None,
            (Some(stop), _) => (
                stop.kill_at,
                [None, None, orphaned.filter(|_| stop.kill_at.is_some())],
            ),
            (None, Stage::Running { until }) => (Some(*until), [self.deadline, drained, orphaned]),
            (None, _) => (None, [self.deadline, drained, orphaned]),
        };
        kill_at.into_iter().chain(mine.into_iter().flatten()).min()
    }

    /// Gives it up: it must die, and no report of it counts. False if it is dying already.
    pub(super) fn disown(&mut self) -> bool {
        let was_dying = self.is_killed();
        self.stop = Some(Stop {
            cause: Cause::Disowned,
            kill_at: None,
        });
        !was_dying
    }

    /// Whether it holds a slot.
    pub(super) fn is_live(&self) -> bool {
        !matches!(self.stage, Stage::Over(_))
    }

    pub(super) fn is_disowned(&self) -> bool {
        self.stop
            .as_ref()
            .is_some_and(|stop| stop.cause == Cause::Disowned)
    }

    pub(super) fn is_unbegun(&self) -> bool {
        matches!(self.stage, Stage::Preparing | Stage::Ready)
    }

    pub(super) fn is_killed(&self) -> bool {
        self.stop
            .as_ref()
            .is_some_and(|stop| stop.kill_at.is_none())
    }

    /// Begins the stop ladder, unless it has begun or there is nothing to stop. The first cause counts.
    pub(super) fn stop(
        &mut self,
        fence: &Fence,
        cause: Cause,
        grace: Duration,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if self.stop.is_some() || !self.is_live() {
            return;
        }
        let is_gentle = !grace.is_zero() && !self.is_unbegun();
        let kill_at = is_gentle.then(|| now + grace);
        actions.push(if is_gentle {
            Action::Stop(fence.clone())
        } else {
            Action::Kill(fence.clone())
        });
        self.stop = Some(Stop { cause, kill_at });
        // Its own task ends the wait for an answer.
        self.talk.question_acknowledged();
    }

    pub(super) fn kill_if_due(
        &mut self,
        fence: &Fence,
        now: Instant,
        at_once: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(stop) = &mut self.stop else { return };
        if stop
            .kill_at
            .is_some_and(|kill_at| at_once || now >= kill_at)
        {
            stop.kill_at = None;
            actions.push(Action::Kill(fence.clone()));
        }
    }

    /// The reports that a new stream has yet to hear.
    pub(super) fn owed(&self) -> impl Iterator<Item = ReportKind> {
        let started = (self.has_begun && !self.start_acknowledged).then_some(ReportKind::Started);
        let (asked, last) = match &self.stage {
            Stage::Over(report) => (None, Some(report.kind())),
            _ => (self.talk.question().map(|_| ReportKind::Asked), None),
        };
        started.into_iter().chain(asked).chain(last)
    }
}

impl Cause {
    /// Whether the worker stopped the attempt for its own sake: the task is to be queued again.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Self::Drain | Self::Orphaned | Self::LeaseOver)
    }

    /// The same for people and sub-agents.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Asked(reason) => reason.clone(),
            Self::Timeout(limit) => {
                format!("ran longer than {}", humantime::format_duration(*limit))
            }
            Self::Deadline => "the task's deadline passed".to_owned(),
            Self::Drain => "draining".to_owned(),
            Self::LeaseOver => "the lease was over".to_owned(),
            Self::Orphaned | Self::Disowned => "the lease was over for too long".to_owned(),
        }
    }

    pub(super) fn report(self, outcome: Outcome) -> Report {
        let error = self.why();
        let (ending, stop_reason) = match self {
            Self::Drain | Self::Orphaned | Self::LeaseOver | Self::Disowned => {
                return Report::Refused(error);
            }
            Self::Asked(_) => (AttemptEnding::Cancelled, StopReason::Cancelled),
            Self::Timeout(_) => (AttemptEnding::TimedOut, StopReason::Timeout),
            Self::Deadline => (AttemptEnding::TimedOut, StopReason::Deadline),
        };
        let mut ended = match outcome {
            Outcome::Ended(ended) => ended,
            Outcome::Unable(_) => Box::default(),
        };
        ended.set_ending(ending);
        ended.set_stop_reason(stop_reason);
        ended.error = error;
        Report::Ended(ended)
    }
}

impl Report {
    /// Which report it is.
    pub fn kind(&self) -> ReportKind {
        match self {
            Self::Started(_) => ReportKind::Started,
            Self::Ended(_) => ReportKind::Ended,
            Self::Refused(_) => ReportKind::Refused,
        }
    }
}
