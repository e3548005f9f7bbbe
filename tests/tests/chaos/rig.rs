//! One worker with one slot behind a relay, and a task whose attempt is brought to a step of its life.

use ganger_proto::v1::{self, TaskStatus};
use ganger_tests::{Client, Cluster, Daemon, Gate, WorkerSpec, is_ending, proc, programs};
use v1::{AttemptEnding, EventType};

use crate::{
    ledger::Ledger,
    relay::{Relay, Word},
};

/// Where an attempt stands when something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The task waits for the slot, which another one has.
    Queued,
    /// Given to the worker, which hasn't heard of it.
    Dispatched,
    /// The worker makes its workspace.
    Preparing,
    /// Its sub-agent runs, and the coordinator hasn't heard of that.
    Begun,
    /// Its sub-agent runs.
    Running,
    /// Its sub-agent talks without end.
    Talking,
    /// Its sub-agent is done, and the coordinator hasn't heard of that.
    Done,
    /// Its end is on the board, and the worker hasn't heard of that.
    Ended,
    /// It is to stop, and the worker hasn't heard of that.
    Stopping,
}

impl Step {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Dispatched,
        Self::Preparing,
        Self::Begun,
        Self::Running,
        Self::Talking,
        Self::Done,
        Self::Ended,
        Self::Stopping,
    ];

    /// The word without which an attempt doesn't leave this step.
    fn missing(self) -> Option<Word> {
        match self {
            Self::Queued | Self::Running | Self::Talking => None,
            Self::Dispatched => Some(Word::Assignment),
            Self::Preparing => Some(Word::Download),
            Self::Begun => Some(Word::Started),
            Self::Done => Some(Word::Ended),
            Self::Ended => Some(Word::EndedAck),
            Self::Stopping => Some(Word::Stop),
        }
    }

    /// Whether the first attempt's sub-agent has begun.
    pub fn has_begun(self) -> bool {
        !matches!(self, Self::Queued | Self::Dispatched | Self::Preparing)
    }

    /// Whether the first attempt's sub-agent is past the gate.
    pub fn is_through(self) -> bool {
        matches!(self, Self::Done | Self::Ended)
    }
}

/// See the head of this file.
pub struct Rig {
    pub step: Step,
    pub cluster: Cluster,
    pub relay: Relay,
    pub ledger: Ledger,
    /// Where the task's sub-agents wait.
    pub gate: Gate,
    pub worker: Daemon,
    pub task_id: u64,
    /// The task that has the slot while the other one is queued, and its gate.
    pub first: Option<(u64, Gate)>,
    /// What the environment of each of its sub-agents shows.
    mark: String,
}

impl Rig {
    /// A cluster with these flags, and an attempt at this step.
    pub async fn at(step: Step, flags: &[&str]) -> Self {
        let cluster = Cluster::with(programs!(), flags).await;
        let relay = Relay::start(cluster.addr()).await;
        let worker = cluster.start_worker(behind(&relay)).await;
        let mut rig = Self {
            step,
            ledger: Ledger::new(&cluster),
            gate: cluster.gate("g"),
            mark: format!("{step:?}-{}", uuid::Uuid::new_v4()),
            task_id: 0,
            first: None,
            cluster,
            relay,
            worker,
        };
        rig.reach().await;
        rig
    }

    /// The worker of this rig, as it is started again.
    pub fn spec(&self) -> WorkerSpec {
        behind(&self.relay)
    }

    /// Somebody who calls.
    pub fn client(&self) -> Client {
        self.cluster.client()
    }

    async fn reach(&mut self) {
        let client = self.client();
        if self.step == Step::Queued {
            let gate = self.cluster.gate("first");
            let first = self.create("first", &gate, Vec::new()).await;
            client.running(first).await;
            self.first = Some((first, gate));
        }
        if let Some(word) = self.step.missing() {
            self.relay.keep_back(word);
        }
        let mut inputs = Vec::new();
        if self.step == Step::Preparing {
            inputs.push(client.upload("input", b"something to read").await);
        }
        self.task_id = self.create(&self.mark, &self.gate, inputs).await;
        if self.step.has_begun() {
            self.ledger.until("begun", self.task_id, 1).await;
        }
        if self.step.has_begun() && self.step != Step::Begun {
            client.running(self.task_id).await;
        }
        match self.step {
            Step::Talking => client.transcript(self.task_id).await.said("tick 9\n").await,
            Step::Stopping => drop(client.cancel(self.task_id).await),
            _ if self.step.is_through() => self.gate.open(),
            _ => {}
        }
        if let Some(word) = self.step.missing() {
            self.relay.caught(word).await;
        }
        let phase = client.get(self.task_id).await.phase();
        assert_eq!(phase, self.phase(), "the step is reached");
    }

    /// How the coordinator calls the step.
    fn phase(&self) -> v1::TaskPhase {
        match self.step {
            Step::Queued => v1::TaskPhase::Queued,
            Step::Dispatched | Step::Preparing | Step::Begun => v1::TaskPhase::Dispatched,
            Step::Running | Step::Talking | Step::Done => v1::TaskPhase::Running,
            Step::Ended => v1::TaskPhase::Unspecified,
            Step::Stopping => v1::TaskPhase::Stopping,
        }
    }

    async fn create(&self, subject: &str, gate: &Gate, inputs: Vec<v1::Artifact>) -> u64 {
        let wait = match self.step {
            Step::Talking => format!(
                "n=1; echo tick 1; (while n=$((n + 1)); do echo tick $n; sleep 0.02; done) & {}; kill $!; wait",
                gate.wait()
            ),
            _ => gate.wait(),
        };
        let (begun, done) = (Ledger::note("begun"), Ledger::note("done"));
        let script = format!("{begun}; {wait}; {done}; echo of $GANGER_ATTEMPT");
        let request = v1::CreateTaskRequest {
            subject: subject.into(),
            agent_type: "shell".into(),
            prompt: script,
            inputs,
            ..v1::CreateTaskRequest::default()
        };
        self.client().create(request).await.id
    }

    /// Waits until nothing of a lost attempt is left, whoever ran it.
    pub async fn no_sub_agent_is_left(&self) {
        proc::gone(proc::showing(&self.mark)).await;
        assert_eq!(proc::showing(&self.mark), [0; 0]);
    }

    /// That the task ended once, in this way, after attempts that ended so. Where an attempt was
    /// completed, the result is its own.
    pub async fn check(mut self, status: TaskStatus, endings: &[(&str, AttemptEnding)]) {
        let client = self.client();
        let task = client.ended(self.task_id).await;
        assert_eq!(task.status(), status, "{task:?}");
        let attempts = task.attempts.iter();
        let told: Vec<_> = attempts.map(|a| (&a.runner[..], a.ending())).collect();
        assert_eq!(told, endings, "{task:?}");
        assert_eq!(usize::try_from(task.attempt_count).unwrap(), endings.len());
        self.check_result(&task).await;
        self.check_events().await;

        let begun = self.ledger.attempts("begun", self.task_id);
        let done = self.ledger.attempts("done", self.task_id);
        for lines in [&begun, &done] {
            let mut once = lines.clone();
            once.dedup();
            assert_eq!(*lines, once, "no attempt is run twice");
        }
        assert!(done.iter().all(|attempt| begun.contains(attempt)));
        self.no_sub_agent_is_left().await;
        // And the worker is of use.
        let next = client.start("echo next").await;
        assert_eq!(client.ended(next.id).await.result, "next\n");
    }

    async fn check_result(&mut self, task: &v1::Task) {
        let completed: Vec<i32> = (1..)
            .zip(&task.attempts)
            .filter(|(_, attempt)| attempt.ending() == AttemptEnding::Completed)
            .map(|(number, _)| number)
            .collect();
        if task.status() != TaskStatus::Completed {
            assert_eq!(completed, [0; 0]);
            return;
        }
        let [attempt] = completed[..] else {
            panic!("one attempt counts: {task:?}");
        };
        let done = self.ledger.attempts("done", self.task_id);
        assert!(done.contains(&attempt), "{attempt} of {done:?}");
        let said = self.client().transcript(self.task_id).await.whole().await;
        assert_eq!(said, task.result);
        let mut lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.pop(), Some(&*format!("of {attempt}")));
        let all = (1..=lines.len()).map(|n| format!("tick {n}"));
        assert_eq!(lines, all.collect::<Vec<_>>(), "nothing twice, no gap");
        assert_eq!(lines.is_empty(), self.step != Step::Talking);
    }

    /// That everybody was told of one end, and of each attempt once.
    async fn check_events(&self) {
        let client = self.client();
        let mut watch = client.watch().await;
        // Whatever was said of it is there before this.
        let last = client.create(v1::CreateTaskRequest {
            subject: "the last word".into(),
            ..v1::CreateTaskRequest::default()
        });
        let last = last.await.id;
        watch.until(last, EventType::TaskCreated).await;
        let of_it = watch.events.iter().filter(|e| e.task_id == self.task_id);
        assert_eq!(of_it.clone().filter(|e| is_ending(e)).count(), 1);
        for kind in [EventType::TaskDispatched, EventType::TaskStarted] {
            let told = of_it.clone().filter(|event| event.r#type() == kind);
            let told: Vec<i32> = told.map(|event| event.attempt).collect();
            let mut once = told.clone();
            once.dedup();
            assert_eq!(told, once, "{kind:?}");
        }
    }
}

fn behind(relay: &Relay) -> WorkerSpec {
    WorkerSpec::named("w1").slots(1).dials(relay.address())
}
