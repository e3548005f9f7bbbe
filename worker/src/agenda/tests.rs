//! Tables: what happens when, and what the agenda says to it. Then properties of any history.

use std::collections::BTreeMap;

use ganger_proto::v1::{self, AttemptEnding, Ended, StopReason, WordKind};
use proptest::prelude::*;

use super::*;
use crate::{fence::tests::fence, limits::ORPHAN_SPAN};

mod loans;
mod words;

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(15);
const LIMIT: Duration = Duration::from_secs(600);
const DRAIN: Duration = Duration::from_secs(25);

/// An agenda with a made-up clock, connected at its beginning.
struct Desk {
    agenda: Agenda,
    start: Instant,
    now: Instant,
    beats: u64,
}

impl Desk {
    fn new(slots: usize) -> Self {
        let now = Instant::now();
        let mut desk = Self {
            agenda: Agenda::new(slots, DRAIN),
            start: now,
            now,
            beats: 0,
        };
        desk.connect(&[]);
        desk
    }

    fn connect(&mut self, verdicts: &[(u64, bool)]) {
        let verdicts: Vec<_> = verdicts
            .iter()
            .map(|(task, keep)| (fence(*task, 1), *keep))
            .collect();
        self.agenda.connected(&verdicts, self.now, LEASE, true);
    }

    fn beat(&mut self) {
        self.beats += 1;
        self.agenda.heartbeat_sent(self.beats, self.now);
        self.agenda.heartbeat_acknowledged(self.beats);
    }

    fn assign(&mut self, task: u64) -> Taken {
        self.assign_until(task, None)
    }

    fn assign_until(&mut self, task: u64, deadline: Option<Duration>) -> Taken {
        let deadline = deadline.map(|at| self.start + at);
        self.agenda.assign(Terms {
            deadline,
            ..terms(task)
        })
    }

    fn assign_lent_by(&mut self, task: u64, lender: u64) -> Taken {
        self.agenda.assign(Terms {
            lender: Some(fence(lender, 1)),
            ..terms(task)
        })
    }

    /// An attempt whose sub-agent runs.
    fn running(&mut self, task: u64) {
        self.running_by(terms(task));
    }

    fn running_by(&mut self, terms: Terms) {
        let task = v1::Fence::from(&terms.fence).task_id;
        assert_eq!(self.agenda.assign(terms), Taken::Yes);
        assert_eq!(self.settle(), [Action::Prepare(fence(task, 1))]);
        self.agenda.prepared(&fence(task, 1));
        assert_eq!(self.settle(), [Action::Begin(fence(task, 1))]);
        self.agenda.began(&fence(task, 1), self.now);
        assert_eq!(
            self.settle(),
            [Action::Report(fence(task, 1), ReportKind::Started)]
        );
    }

    fn stop(&mut self, task: u64, grace: Option<Duration>) -> bool {
        self.agenda.stop(&fence(task, 1), "enough", grace, self.now)
    }

    fn over(&mut self, task: u64) {
        self.agenda.over(&fence(task, 1), completed());
    }

    fn acknowledge(&mut self, task: u64, kind: ReportKind, accepted: bool) {
        self.agenda.acknowledged(&fence(task, 1), kind, accepted);
    }

    fn settle(&mut self) -> Vec<Action> {
        self.agenda.settle(self.now)
    }

    /// Lets time pass, and looks when the agenda wants to look; heartbeats go on.
    fn pass(&mut self, span: Duration) -> Vec<(Duration, Action)> {
        self.pass_with(span, true)
    }

    /// The same without a word from the coordinator.
    fn pass_unheard(&mut self, span: Duration) -> Vec<(Duration, Action)> {
        self.pass_with(span, false)
    }

    fn pass_with(&mut self, span: Duration, is_heard: bool) -> Vec<(Duration, Action)> {
        let end = self.now + span;
        let mut said = Vec::new();
        loop {
            let next = self
                .agenda
                .next_deadline()
                .map_or(end, |due| due.min(end))
                .min(self.now + 5 * SECOND);
            assert!(
                next > self.now || self.agenda.next_deadline().is_none_or(|due| due > self.now),
                "spins"
            );
            self.now = next.max(self.now);
            if is_heard {
                self.beat();
            }
            let now = self.now;
            said.extend(
                self.settle()
                    .into_iter()
                    .map(|action| (now - self.start, action)),
            );
            if self.now >= end {
                return said;
            }
        }
    }

    fn ended(&self, task: u64) -> (AttemptEnding, StopReason, String) {
        match self.agenda.report(&fence(task, 1), ReportKind::Ended) {
            Some(Report::Ended(ended)) => {
                (ended.ending(), ended.stop_reason(), ended.error.clone())
            }
            other => panic!("no end is owed, but {other:?}"),
        }
    }

    fn refused(&self, task: u64) -> String {
        match self.agenda.report(&fence(task, 1), ReportKind::Refused) {
            Some(Report::Refused(reason)) => reason,
            other => panic!("no refusal is owed, but {other:?}"),
        }
    }
}

fn terms(task: u64) -> Terms {
    Terms {
        fence: fence(task, 1),
        limit: LIMIT,
        deadline: None,
        lender: None,
        stop_on_lease_end: false,
        has_ear: true,
    }
}

fn completed() -> Outcome {
    let mut ended = Ended {
        result: "42".into(),
        ..Ended::default()
    };
    ended.set_ending(AttemptEnding::Completed);
    Outcome::Ended(Box::new(ended))
}

#[test]
fn an_attempt_goes_its_way_and_is_forgotten_when_its_end_is_acknowledged() {
    let mut desk = Desk::new(1);
    desk.running(1);

    desk.acknowledge(1, ReportKind::Started, true);
    desk.agenda.finishing(&fence(1, 1));
    desk.over(1);

    assert_eq!(
        desk.settle(),
        [Action::Report(fence(1, 1), ReportKind::Ended)]
    );
    assert_eq!(
        desk.ended(1),
        (
            AttemptEnding::Completed,
            StopReason::Unspecified,
            String::new()
        )
    );
    desk.acknowledge(1, ReportKind::Ended, true);
    assert_eq!(desk.settle(), [Action::Forget(fence(1, 1))]);
    assert_eq!((desk.agenda.len(), desk.agenda.next_deadline()), (0, None));
}

#[test]
fn a_slot_is_free_when_the_attempt_is_over_not_when_that_is_acknowledged() {
    let mut desk = Desk::new(1);
    desk.running(1);
    assert_eq!(desk.assign(2), Taken::No("no free slot"));
    assert_eq!(desk.assign(1), Taken::Already);

    desk.over(1);

    assert_eq!(desk.assign(2), Taken::Yes);
    assert_eq!(desk.agenda.presented().count(), 2);
}

#[test]
fn a_worker_that_is_unable_refuses_at_no_cost() {
    let mut desk = Desk::new(1);
    desk.assign(1);
    desk.settle();

    desk.agenda
        .over(&fence(1, 1), Outcome::Unable("sandbox: no".into()));

    assert_eq!(
        desk.settle(),
        [Action::Report(fence(1, 1), ReportKind::Refused)]
    );
    assert_eq!(desk.refused(1), "sandbox: no");
    desk.acknowledge(1, ReportKind::Refused, true);
    assert_eq!(desk.settle(), [Action::Forget(fence(1, 1))]);
}

#[test]
fn a_stop_asks_first_and_kills_after_the_grace() {
    for (grace, kill_after) in [(None, 5 * SECOND), (Some(2 * SECOND), 2 * SECOND)] {
        let mut desk = Desk::new(1);
        desk.running(1);

        assert!(desk.stop(1, grace));
        assert!(
            desk.stop(1, Some(Duration::ZERO)),
            "a second stop changes nothing"
        );

        assert_eq!(desk.settle(), [Action::Stop(fence(1, 1))]);
        assert_eq!(
            desk.pass(60 * SECOND),
            [(kill_after, Action::Kill(fence(1, 1)))]
        );
        desk.over(1);
        assert_eq!(
            desk.ended(1),
            (
                AttemptEnding::Cancelled,
                StopReason::Cancelled,
                "enough".into()
            )
        );
    }
    assert!(!Desk::new(1).stop(1, None));
}

#[test]
fn what_has_not_begun_is_killed_without_grace() {
    let mut desk = Desk::new(1);
    desk.assign(1);
    desk.settle();

    desk.stop(1, None);

    assert_eq!(desk.settle(), [Action::Kill(fence(1, 1))]);
    desk.agenda.prepared(&fence(1, 1));
    assert_eq!(desk.settle(), [], "nothing begins after a stop");
    desk.agenda.over(
        &fence(1, 1),
        Outcome::Unable("stopped before its start".into()),
    );
    assert_eq!(desk.ended(1).0, AttemptEnding::Cancelled);
}

#[test]
fn the_run_time_is_limited_from_the_beginning() {
    let mut desk = Desk::new(1);
    desk.pass(7 * SECOND);
    desk.running(1);

    let said = desk.pass(2 * LIMIT);

    let limit = 7 * SECOND + LIMIT;
    assert_eq!(
        said,
        [
            (limit, Action::Stop(fence(1, 1))),
            (limit + 5 * SECOND, Action::Kill(fence(1, 1)))
        ]
    );
    desk.over(1);
    assert_eq!(
        desk.ended(1),
        (
            AttemptEnding::TimedOut,
            StopReason::Timeout,
            "ran longer than 10m".into()
        )
    );
}

#[test]
fn keeping_what_is_left_is_not_run_time() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.agenda.finishing(&fence(1, 1));

    assert_eq!(desk.pass(2 * LIMIT), []);
}

#[test]
fn a_deadline_counts_wherever_the_attempt_stands() {
    let mut desk = Desk::new(2);
    desk.running(1);
    desk.over(1);
    desk.assign_until(2, Some(3 * SECOND));
    desk.assign_until(3, Some(4 * SECOND));
    desk.agenda.prepared(&fence(3, 1));
    desk.settle();
    desk.agenda.began(&fence(3, 1), desk.now);
    desk.settle();

    let said = desk.pass(60 * SECOND);

    assert_eq!(
        said,
        [
            (3 * SECOND, Action::Kill(fence(2, 1))),
            (4 * SECOND, Action::Stop(fence(3, 1))),
            (9 * SECOND, Action::Kill(fence(3, 1))),
        ]
    );
    desk.over(3);
    let text = "the task's deadline passed".to_owned();
    assert_eq!(
        desk.ended(3),
        (AttemptEnding::TimedOut, StopReason::Deadline, text)
    );
}

#[test]
fn nothing_begins_after_the_lease_until_it_is_renewed() {
    let mut desk = Desk::new(1);
    desk.agenda.disconnected();
    desk.assign(1);
    assert_eq!(
        desk.pass_unheard(LEASE),
        [(5 * SECOND, Action::Prepare(fence(1, 1)))]
    );

    desk.agenda.prepared(&fence(1, 1));
    assert_eq!(desk.settle(), []);

    desk.connect(&[(1, true)]);
    assert_eq!(desk.settle(), [Action::Begin(fence(1, 1))]);
}

#[test]
fn without_a_verdict_an_attempt_is_killed_after_the_orphan_span() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.agenda.disconnected();

    let said = desk.pass_unheard(300 * SECOND);

    assert_eq!(said, [(LEASE + ORPHAN_SPAN, Action::Kill(fence(1, 1)))]);
    desk.over(1);
    assert_eq!(desk.settle(), [], "nobody is there to hear it");
    desk.connect(&[(1, true)]);
    assert_eq!(
        desk.settle(),
        [
            Action::Report(fence(1, 1), ReportKind::Started),
            Action::Report(fence(1, 1), ReportKind::Refused)
        ]
    );
    assert_eq!(desk.refused(1), "the lease was over for too long");
}

#[test]
fn a_type_that_wants_so_is_killed_when_the_lease_ends() {
    let mut desk = Desk::new(2);
    desk.running_by(Terms {
        stop_on_lease_end: true,
        ..terms(1)
    });
    desk.running(2);
    assert_eq!(desk.pass(LEASE), []);
    desk.agenda.disconnected();
    let over = LEASE * 2;

    let said = desk.pass_unheard(LEASE + SECOND);

    assert_eq!(said, [(over, Action::Kill(fence(1, 1)))]);
    desk.over(1);
    desk.connect(&[(1, true), (2, true)]);
    assert_eq!(desk.refused(1), "the lease was over");
}

#[test]
fn what_is_being_stopped_when_the_lease_ends_is_killed_then_where_its_type_wants_so() {
    let mut desk = Desk::new(1);
    desk.running_by(Terms {
        stop_on_lease_end: true,
        ..terms(1)
    });
    desk.stop(1, Some(60 * SECOND));
    assert_eq!(desk.settle(), [Action::Stop(fence(1, 1))]);
    desk.agenda.disconnected();

    assert_eq!(
        desk.pass_unheard(300 * SECOND),
        [(LEASE, Action::Kill(fence(1, 1)))]
    );
    desk.over(1);
    assert_eq!(desk.ended(1).0, AttemptEnding::Cancelled);
}

#[test]
fn a_new_stream_hears_what_is_owed_and_only_that() {
    let mut desk = Desk::new(3);
    desk.running(1);
    desk.acknowledge(1, ReportKind::Started, true);
    desk.running(2);
    desk.running(3);
    desk.over(3);
    desk.acknowledge(3, ReportKind::Started, true);
    desk.settle();
    desk.agenda.disconnected();
    let presented: Vec<_> = desk
        .agenda
        .presented()
        .map(|(fence, begun)| (fence.clone(), begun))
        .collect();
    assert_eq!(
        presented,
        [
            (fence(1, 1), true),
            (fence(2, 1), true),
            (fence(3, 1), true)
        ]
    );

    desk.connect(&[(1, true), (2, true), (3, true)]);

    assert_eq!(
        desk.settle(),
        [
            Action::Report(fence(2, 1), ReportKind::Started),
            Action::Report(fence(3, 1), ReportKind::Ended)
        ]
    );
}

#[test]
fn what_is_disowned_dies_unheard_and_holds_its_slot_until_then() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.agenda.disconnected();

    desk.connect(&[(1, false)]);

    assert_eq!(desk.settle(), [Action::Kill(fence(1, 1))]);
    assert_eq!(
        (desk.agenda.presented().count(), desk.assign(2)),
        (0, Taken::No("no free slot"))
    );
    assert_eq!(desk.pass(LIMIT), []);
    desk.over(1);
    assert_eq!(desk.settle(), [Action::Forget(fence(1, 1))]);
    assert_eq!(desk.assign(2), Taken::Yes);
}

#[test]
fn a_stale_report_disowns_wherever_the_attempt_stands() {
    for kind in [ReportKind::Started, ReportKind::Progress] {
        let mut desk = Desk::new(1);
        desk.running(1);
        desk.stop(1, None);
        desk.settle();

        desk.acknowledge(1, kind, false);

        assert_eq!(desk.settle(), [Action::Kill(fence(1, 1))]);
        desk.over(1);
        assert_eq!(desk.settle(), [Action::Forget(fence(1, 1))]);
    }
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.over(1);
    desk.settle();
    desk.acknowledge(1, ReportKind::Ended, false);
    assert_eq!(desk.settle(), [Action::Forget(fence(1, 1))]);
}

#[test]
fn a_verdict_that_is_missing_disowns() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.agenda.disconnected();

    desk.connect(&[]);

    assert_eq!(desk.settle(), [Action::Kill(fence(1, 1))]);
}

#[test]
fn a_drain_lets_run_what_runs_and_hands_back_the_rest() {
    let mut desk = Desk::new(3);
    desk.running(1);
    desk.assign(2);
    desk.settle();

    desk.agenda.drain(desk.now);
    desk.agenda.drain(desk.now + SECOND);

    assert_eq!(desk.assign(3), Taken::No("draining"));
    assert_eq!(desk.settle(), [Action::Kill(fence(2, 1))]);
    assert_eq!(
        desk.pass(DRAIN + 3 * SECOND),
        [
            (DRAIN, Action::Stop(fence(1, 1))),
            (DRAIN + 2 * SECOND, Action::Kill(fence(1, 1)))
        ]
    );
    desk.over(1);
    desk.over(2);
    assert_eq!(
        (desk.refused(1), desk.refused(2)),
        ("draining".to_owned(), "draining".to_owned())
    );
    assert!(!desk.agenda.may_leave(desk.now), "reports are owed");
    desk.acknowledge(1, ReportKind::Refused, true);
    desk.acknowledge(2, ReportKind::Refused, true);
    assert!(desk.agenda.may_leave(desk.now));
}

#[test]
fn of_several_drains_the_one_that_is_over_first_counts() {
    for (first, second) in [(60, 10), (10, 60)] {
        let mut desk = Desk::new(1);
        desk.running(1);

        desk.agenda.drain_within(first * SECOND, desk.now);
        desk.agenda.drain_within(second * SECOND, desk.now);

        assert_eq!(
            desk.pass(13 * SECOND),
            [
                (10 * SECOND, Action::Stop(fence(1, 1))),
                (12 * SECOND, Action::Kill(fence(1, 1)))
            ]
        );
    }
}

#[test]
fn a_drain_outlives_the_stream_that_ordered_it() {
    let mut desk = Desk::new(2);
    desk.running(1);
    desk.agenda.drain_within(60 * SECOND, desk.now);

    desk.agenda.disconnected();
    desk.connect(&[(1, true)]);

    assert!(desk.agenda.is_draining());
    assert_eq!(desk.assign(2), Taken::No("draining"));
    assert_eq!(
        desk.pass(60 * SECOND).last(),
        Some(&(60 * SECOND, Action::Stop(fence(1, 1))))
    );
}

#[test]
fn a_drained_worker_does_not_wait_for_ever() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.agenda.disconnected();
    desk.agenda.drain(desk.now);

    assert!(!desk.agenda.may_leave(desk.now + DRAIN));
    let gone = desk.now + DRAIN + DRAIN_GRACE + DRAIN_FAREWELL;
    desk.now += DRAIN;
    desk.settle();
    desk.now = gone;
    desk.settle();
    assert_eq!(desk.agenda.next_deadline(), Some(gone));
    assert!(desk.agenda.may_leave(gone));
}

#[test]
fn a_cancel_goes_before_the_workers_own_reasons_and_after_the_tasks() {
    let mut desk = Desk::new(1);
    desk.running(1);
    desk.agenda.drain(desk.now);
    desk.pass(DRAIN);
    desk.stop(1, None);
    desk.over(1);
    assert_eq!(desk.ended(1).0, AttemptEnding::Cancelled);

    let mut desk = Desk::new(1);
    desk.running(1);
    desk.pass(LIMIT);
    desk.stop(1, None);
    desk.over(1);
    assert_eq!(desk.ended(1).0, AttemptEnding::TimedOut);
}

/// One thing that may happen; numbers choose among what is there.
#[derive(Clone, Debug)]
enum Happening {
    Assign(u64),
    AssignLent(u64, u64),
    Ask(u64),
    Word(u64, i32),
    Told(u64, i32),
    Prepared(u64),
    Began(u64),
    Finishing(u64),
    Over(u64, bool),
    Stop(u64, u64),
    Acknowledge(u64, u8, bool),
    Disconnect,
    Connect(u64),
    Beat,
    Drain,
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let task = || 1..6u64;
    prop_oneof![
        4 => task().prop_map(Happening::Assign),
        2 => (task(), task()).prop_map(|(task, lender)| Happening::AssignLent(task, lender)),
        1 => task().prop_map(Happening::Ask),
        2 => (task(), 0..4i32).prop_map(|(task, number)| Happening::Word(task, number)),
        2 => (task(), 0..4i32).prop_map(|(task, number)| Happening::Told(task, number)),
        4 => task().prop_map(Happening::Prepared),
        4 => task().prop_map(Happening::Began),
        2 => task().prop_map(Happening::Finishing),
        3 => (task(), any::<bool>()).prop_map(|(task, able)| Happening::Over(task, able)),
        2 => (task(), 0..8u64).prop_map(|(task, grace)| Happening::Stop(task, grace)),
        3 => (task(), 1..6u8, prop::bool::weighted(0.9))
            .prop_map(|(task, kind, accepted)| Happening::Acknowledge(task, kind, accepted)),
        1 => Just(Happening::Disconnect),
        2 => any::<u64>().prop_map(Happening::Connect),
        2 => Just(Happening::Beat),
        1 => prop::bool::weighted(0.1).prop_map(|drain| if drain { Happening::Drain } else { Happening::Beat }),
        3 => (0..40u64).prop_map(Happening::Pass),
    ]
}

/// What the world knows of an attempt, beside the agenda.
#[derive(Default)]
struct Known {
    is_begun: bool,
    is_stopped: bool,
    is_killed: bool,
    /// The last word that it was given to tell.
    told: i32,
}

proptest! {
    #[test]
    fn the_invariants_hold_in_any_history(happenings in prop::collection::vec(happening(), 1..120)) {
        const SLOTS: usize = 2;
        let mut desk = Desk::new(SLOTS);
        let mut known: BTreeMap<Fence, Known> = BTreeMap::new();
        for happening in happenings {
            happen(&mut desk, &known, happening);
            for action in desk.settle() {
                note(&desk, &mut known, action);
            }
            loans::check(&desk.agenda, SLOTS);
            prop_assert!(desk.settle().is_empty(), "settling is done at once");
            prop_assert!(
                desk.agenda.next_deadline().is_none_or(|due| due > desk.now)
                    || desk.agenda.may_leave(desk.now),
                "what is due is done"
            );
            for (fence, held) in &desk.agenda.held {
                prop_assert!(held.stop.is_none() || known[fence].is_stopped, "a stop is always said");
            }
        }

        // Once everybody answers, nothing stays.
        desk.agenda.disconnected();
        let presented: Vec<_> = desk.agenda.presented().map(|(fence, _)| (fence.clone(), true)).collect();
        desk.agenda.connected(&presented, desk.now, LEASE, true);
        for fence in desk.agenda.held.keys().cloned().collect::<Vec<_>>() {
            desk.agenda.over(&fence, completed());
        }
        for action in desk.settle() {
            if let Action::Report(fence, kind) = action && kind != ReportKind::Asked {
                prop_assert_eq!(desk.agenda.report(&fence, kind).map(|report| report.kind()), Some(kind));
                desk.agenda.acknowledged(&fence, kind, true);
            }
        }
        prop_assert_eq!(desk.agenda.len(), 0);
    }
}

fn happen(desk: &mut Desk, known: &BTreeMap<Fence, Known>, happening: Happening) {
    match happening {
        Happening::Assign(task) => drop(desk.assign(task)),
        Happening::AssignLent(task, lender) => drop(desk.assign_lent_by(task, lender)),
        Happening::Ask(task) => desk.agenda.asked(&fence(task, 1), words::question(1)),
        Happening::Word(task, number) => {
            desk.agenda.word(&fence(task, 1), words::steer(number));
        }
        Happening::Told(task, number) => desk.agenda.told(&fence(task, 1), number),
        Happening::Prepared(task) => desk.agenda.prepared(&fence(task, 1)),
        // An attempt begins only when it was told to.
        Happening::Began(task)
            if known
                .get(&fence(task, 1))
                .is_some_and(|known| known.is_begun) =>
        {
            desk.agenda.began(&fence(task, 1), desk.now);
        }
        Happening::Began(_) => {}
        Happening::Finishing(task) => desk.agenda.finishing(&fence(task, 1)),
        Happening::Over(task, true) => desk.over(task),
        Happening::Over(task, false) => desk
            .agenda
            .over(&fence(task, 1), Outcome::Unable("no".into())),
        Happening::Stop(task, grace) => drop(desk.stop(task, Some(grace as u32 * SECOND))),
        Happening::Acknowledge(task, kind, accepted) => {
            let kind = ReportKind::try_from(i32::from(kind)).unwrap();
            desk.acknowledge(task, kind, accepted);
        }
        Happening::Disconnect => desk.agenda.disconnected(),
        Happening::Connect(choice) => {
            let presented: Vec<_> = desk
                .agenda
                .presented()
                .map(|(fence, _)| fence.clone())
                .collect();
            let verdict = |(at, fence)| (fence, choice >> at & 1 == 1);
            let verdicts: Vec<_> = presented.into_iter().enumerate().map(verdict).collect();
            desk.agenda
                .connected(&verdicts, desk.now, LEASE, choice % 8 != 7);
        }
        Happening::Beat => desk.beat(),
        Happening::Drain => desk.agenda.drain(desk.now),
        Happening::Pass(seconds) => desk.now += seconds as u32 * SECOND,
    }
}

fn note(desk: &Desk, known: &mut BTreeMap<Fence, Known>, action: Action) {
    match action {
        Action::Prepare(fence) => {
            assert!(!desk.agenda.is_draining());
            known.insert(fence, Known::default());
        }
        Action::Begin(fence) => {
            let attempt = known.get_mut(&fence).unwrap();
            assert!(!attempt.is_begun && !attempt.is_stopped && !desk.agenda.is_draining());
            assert!(desk.agenda.lease.is_valid(desk.now));
            attempt.is_begun = true;
        }
        Action::Stop(fence) => {
            let attempt = known.get_mut(&fence).unwrap();
            assert!(attempt.is_begun && !attempt.is_stopped);
            attempt.is_stopped = true;
        }
        Action::Kill(fence) => {
            let attempt = known.get_mut(&fence).unwrap();
            assert!(!attempt.is_killed, "once is enough");
            (attempt.is_stopped, attempt.is_killed) = (true, true);
        }
        Action::Tell(fence, word) if word.number > 0 => {
            let attempt = known.get_mut(&fence).unwrap();
            assert!(attempt.is_begun, "there is somebody to be told");
            assert!(word.number > attempt.told, "once, and in order");
            attempt.told = word.number;
        }
        Action::Tell(_, word) => assert_eq!(word.kind, WordKind::NoAnswer),
        Action::Heeded(fence) => {
            let through = desk.agenda.heeded(&fence);
            assert!(through.is_none_or(|through| through <= known[&fence].told));
        }
        Action::Note(..) => panic!("each of them has an ear"),
        // It may be settled by a stop in the same breath.
        Action::Report(_, ReportKind::Asked) => {}
        Action::Report(fence, kind) => {
            let owed = desk.agenda.report(&fence, kind);
            assert_eq!(
                owed.map(|report| report.kind()),
                Some(kind),
                "what is announced can be said"
            );
        }
        Action::Forget(fence) => assert!(!desk.agenda.held.contains_key(&fence)),
    }
}
