//! SIGKILL and SIGSTOP of worker and coordinator at each step of an attempt's life: it ends once,
//! in the right way, and leaves nothing behind.

use ganger_proto::v1;
use ganger_tests::{WorkerSpec, proc};
use rustix::process::Signal;
use v1::{
    AttemptEnding::{Cancelled, Completed, HandedBack, Lost},
    TaskStatus, WorkerState,
};

use crate::{
    may_run,
    rig::{Rig, Step},
};

/// A lease whose end is waited for: long enough that no busy machine loses a worker that is well.
const LEASE: [&str; 4] = ["--lease", "4s", "--heartbeat", "500ms"];

/// Lets something go wrong at each step, side by side, and tells all steps at which it ended badly.
async fn at_each_step<F>(case: fn(Step) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let cases = Step::ALL.map(|step| {
        let case = tokio::spawn(async move {
            let _permit = may_run().await;
            case(step).await;
        });
        (step, case)
    });
    let mut bad = Vec::new();
    for (step, case) in cases {
        if case.await.is_err() {
            bad.push(step);
        }
    }
    assert_eq!(bad, [], "it ends badly at these steps");
}

impl Rig {
    /// Waits until this attempt has begun, and lets it end.
    async fn finish(&mut self, attempt: i32) {
        self.ledger.until("begun", self.task_id, attempt).await;
        self.gate.open();
    }

    /// Where the task was queued, lets it and the one that had the slot end, in whatever order they
    /// run; and sees that the latter took so many attempts.
    async fn finish_queued(&self, attempts: i32) {
        if let Some((id, gate)) = &self.first {
            gate.open();
            self.gate.open();
            let first = self.client().ended(*id).await;
            assert_eq!(
                (first.status(), first.attempt_count, &first.result[..]),
                (
                    TaskStatus::Completed,
                    attempts,
                    &*format!("of {attempts}\n")
                )
            );
        }
    }
}

#[tokio::test]
async fn attempt_of_a_worker_that_is_killed_at_any_step_counts_once() {
    at_each_step(|step| async move {
        let mut rig = Rig::at(step, &[]).await;

        rig.worker.kill().await;
        rig.no_sub_agent_is_left().await;
        rig.relay.let_go();
        rig.worker = rig.cluster.start_worker(rig.spec()).await;

        rig.finish_queued(2).await;
        match step {
            Step::Queued | Step::Ended => {
                rig.check(TaskStatus::Completed, &[("w1", Completed)]).await;
            }
            Step::Stopping => rig.check(TaskStatus::Cancelled, &[("w1", Lost)]).await,
            _ => {
                rig.finish(2).await;
                let endings = [("w1", Lost), ("w1", Completed)];
                rig.check(TaskStatus::Completed, &endings).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn attempt_of_a_worker_that_freezes_at_any_step_for_longer_than_its_lease_counts_once() {
    at_each_step(|step| async move {
        let mut rig = Rig::at(step, &LEASE).await;
        let tree = proc::descendants(rig.worker.pid());
        let lines = rig.cluster.coordinator.log_len();

        rig.worker.signal(Signal::STOP);
        if matches!(step, Step::Dispatched | Step::Stopping) {
            // It comes when nobody listens, and is heard far too late.
            rig.relay.let_go();
        }
        let _second = rig.cluster.start_worker(WorkerSpec::named("w2")).await;
        let coordinator = &rig.cluster.coordinator;
        coordinator
            .logged_after(lines, "lease of worker is over")
            .await;
        rig.relay.let_go();
        if step == Step::Running {
            // Both attempts come to their end before the stale one is told.
            rig.gate.open();
            rig.finish(2).await;
            for attempt in 1..=2 {
                rig.ledger.until("done", rig.task_id, attempt).await;
            }
            rig.client().ended(rig.task_id).await;
        }
        let lines = rig.worker.log_len();
        rig.worker.signal(Signal::CONT);
        rig.worker
            .logged_after(lines, "connected coordinator")
            .await;
        let workers = rig.client().workers().await;
        let states = workers.iter().map(|w| (&w.name[..], w.state()));
        let both = ["w1", "w2"].map(|name| (name, WorkerState::Connected));
        assert_eq!(states.collect::<Vec<_>>(), both);
        proc::gone(tree).await;

        rig.finish_queued(2).await;
        match step {
            Step::Queued => rig.check(TaskStatus::Completed, &[("w2", Completed)]).await,
            Step::Ended => rig.check(TaskStatus::Completed, &[("w1", Completed)]).await,
            Step::Stopping => rig.check(TaskStatus::Cancelled, &[("w1", Lost)]).await,
            _ => {
                if step != Step::Running {
                    rig.finish(2).await;
                }
                let begun = rig.ledger.attempts("begun", rig.task_id);
                assert_eq!(begun.contains(&1), step.has_begun(), "{begun:?}");
                let endings = [("w1", Lost), ("w2", Completed)];
                rig.check(TaskStatus::Completed, &endings).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn attempt_of_a_coordinator_that_is_killed_at_any_step_goes_on() {
    at_each_step(|step| async move {
        let mut rig = Rig::at(step, &[]).await;
        let lines = rig.worker.log_len();

        rig.cluster.coordinator.kill().await;
        rig.worker.logged_after(lines, "disconnected").await;
        rig.relay.let_go();
        rig.cluster.restart_coordinator().await;
        rig.worker
            .logged_after(lines, "connected coordinator")
            .await;

        went_on(rig).await;
    })
    .await;
}

#[tokio::test]
async fn attempt_of_a_coordinator_that_freezes_at_any_step_for_longer_than_leases_goes_on() {
    at_each_step(|step| async move {
        let rig = Rig::at(step, &LEASE).await;
        let lines = rig.worker.log_len();

        rig.cluster.coordinator.signal(Signal::STOP);
        rig.worker.logged_after(lines, "keeps silent").await;
        rig.relay.let_go();
        // By now even the handshake took too long, and that alone is longer than a lease.
        rig.worker.logged_after(lines, "not connected").await;
        rig.cluster.coordinator.signal(Signal::CONT);
        rig.worker
            .logged_after(lines, "connected coordinator")
            .await;

        went_on(rig).await;
    })
    .await;
}

/// That all is as if the coordinator had never been away; only an assignment that never arrived
/// was given again.
async fn went_on(mut rig: Rig) {
    rig.finish_queued(1).await;
    match rig.step {
        Step::Dispatched => {
            rig.finish(2).await;
            let endings = [("w1", HandedBack), ("w1", Completed)];
            rig.check(TaskStatus::Completed, &endings).await;
        }
        Step::Stopping => rig.check(TaskStatus::Cancelled, &[("w1", Cancelled)]).await,
        step => {
            if step != Step::Queued && !step.is_through() {
                rig.finish(1).await;
            }
            rig.check(TaskStatus::Completed, &[("w1", Completed)]).await;
        }
    }
}
