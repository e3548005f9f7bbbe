//! What can happen next in a state, and what comes of it.

use board::{
    command::{EndReport, FleetCommand},
    id::AttemptNumber,
    task::{AttemptEnding, Usage},
};

use super::{
    Broken,
    state::{
        ATTEMPTS_MAX, DIALS_MAX, FRAIL, KEY, Known, LAST_TICK, LEASE, Message, ON_THE_WAY_MAX,
        Stage, State, TICK, Without, fence, instance, instant, worker_name,
    },
};

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Tick,
    /// The task is given to a worker.
    Dispatch(usize),
    /// The coordinator finds a lease over.
    Expire(usize),
    Deliver(usize, Message),
    Lose(usize, Message),
    Beat(usize),
    /// The worker gives its stream up, and dials.
    Dial(usize),
    Finish(usize),
    Report(usize),
}

impl State {
    /// All that can happen next.
    pub fn steps(&self) -> Vec<Step> {
        if self.is_over() {
            return self.steps_after_the_end();
        }
        let mut steps = Vec::new();
        if self.now < LAST_TICK {
            steps.push(Step::Tick);
        }
        for &(worker, message) in &self.on_the_way {
            steps.push(Step::Deliver(worker, message));
            steps.push(Step::Lose(worker, message));
        }
        let has_room = self.on_the_way.len() < ON_THE_WAY_MAX;
        for at in 0..2 {
            if has_room {
                self.steps_that_say(at, &mut steps);
            }
            let worker = &self.workers[at];
            let is_expired = |known: Known| self.now >= known.heard + LEASE;
            if self.known[at].is_some_and(is_expired) {
                steps.push(Step::Expire(at));
            }
            if matches!(worker.holds, Some((_, Stage::Running))) {
                steps.push(Step::Finish(at));
            }
        }
        steps
    }

    /// Nothing counts then but what may be taken for another end.
    fn steps_after_the_end(&self) -> Vec<Step> {
        let said = self.on_the_way.iter().map(|(at, message)| match message {
            Message::Ended { .. } => Step::Deliver(*at, *message),
            _ => Step::Lose(*at, *message),
        });
        let owing = (0..2).filter(|at| {
            let worker = &self.workers[*at];
            worker.is_up && matches!(worker.holds, Some((_, Stage::Over)))
        });
        said.chain(owing.map(Step::Report)).collect()
    }

    fn steps_that_say(&self, at: usize, steps: &mut Vec<Step>) {
        let worker = &self.workers[at];
        let is_beating = self.on_the_way.iter().any(|(other, message)| {
            *other == at && matches!(message, Message::Beat { .. } | Message::Ack { .. })
        });
        if at == FRAIL && worker.is_up && !worker.has_beaten && !is_beating {
            steps.push(Step::Beat(at));
        }
        let is_reporting = self.on_the_way.iter().any(|(other, message)| {
            let is_end = matches!(message, Message::Ended { .. } | Message::Answer { .. });
            *other == at && is_end
        });
        if worker.is_up && !is_reporting && matches!(worker.holds, Some((_, Stage::Over))) {
            steps.push(Step::Report(at));
        }
        if at == FRAIL && worker.dials < DIALS_MAX {
            steps.push(Step::Dial(at));
        }
        let is_free = self.board.is_queueing() && self.attempts() < ATTEMPTS_MAX;
        if self.known[at].is_some_and(|known| self.now < known.heard + LEASE) && is_free {
            steps.push(Step::Dispatch(at));
        }
    }

    /// Lets it happen, and workers begin what they may.
    pub fn take(&mut self, step: Step) -> Result<(), Broken> {
        let taken = self.take_one(step);
        let now = instant(self.now);
        for worker in &mut self.workers {
            if let Some((_, stage @ Stage::Ready)) = &mut worker.holds
                && worker.lease.is_valid(now)
            {
                *stage = Stage::Running;
            }
        }
        taken
    }

    fn take_one(&mut self, step: Step) -> Result<(), Broken> {
        let now = self.now;
        match step {
            Step::Tick => self.tick(),
            Step::Lose(worker, message) => {
                self.on_the_way.remove(&(worker, message));
            }
            Step::Deliver(worker, message) => {
                self.on_the_way.remove(&(worker, message));
                return self.deliver(worker, message);
            }
            Step::Dispatch(at) => return self.dispatch(at),
            Step::Expire(at) => {
                self.known[at] = None;
                self.give_up(at, None, |attempt| {
                    FleetCommand::Lost(KEY, attempt, "the lease of its worker is over".into())
                });
            }
            Step::Beat(at) => {
                let is_noted = !self.is_without(Without::LeaseFromSending);
                let worker = &mut self.workers[at];
                worker.has_beaten = true;
                if is_noted {
                    worker.lease.sent(u64::from(now), instant(now));
                }
                let dial = worker.dials;
                self.on_the_way
                    .insert((at, Message::Beat { dial, sent: now }));
            }
            Step::Dial(at) => {
                let worker = &mut self.workers[at];
                worker.lease.forget_beats();
                worker.is_up = false;
                worker.dials += 1;
                worker.dialled_at = now;
                let (dial, held) = (worker.dials, worker.holds.map(|(attempt, _)| attempt));
                self.on_the_way.insert((at, Message::Hello { dial, held }));
            }
            Step::Finish(at) => self.stand(at, Stage::Over),
            Step::Report(at) => {
                let worker = &self.workers[at];
                let (attempt, _) = worker.holds.expect("it reports");
                return self.send(at, Message::Ended { attempt });
            }
        }
        Ok(())
    }

    fn tick(&mut self) {
        self.now += 1;
        let (now, sequence) = (self.now, u64::from(self.now));
        for (at, worker) in self.workers.iter_mut().enumerate() {
            worker.has_beaten = false;
            if at != FRAIL {
                worker.lease.sent(sequence, instant(now));
                worker.lease.acknowledged(sequence);
                self.known[at] = self.known[at].map(|known| Known {
                    heard: now,
                    ..known
                });
            }
        }
    }

    fn stand(&mut self, at: usize, stage: Stage) {
        let (_, stands) = self.workers[at].holds.as_mut().expect("it is held");
        *stands = stage;
    }

    fn dispatch(&mut self, at: usize) -> Result<(), Broken> {
        let command = FleetCommand::Dispatch(KEY, worker_name(at), instance(at));
        assert!(self.decide(&command), "a task that waits is given out");
        let attempt = self.board.fence(KEY).expect("it was given out").attempt.0;
        let dial = self.known[at].expect("it is connected").dial;
        self.send(at, Message::Assignment { dial, attempt })
    }

    /// Says something, to or from a worker.
    fn send(&mut self, at: usize, message: Message) -> Result<(), Broken> {
        if at != FRAIL {
            return self.deliver(at, message);
        }
        self.on_the_way.insert((at, message));
        Ok(())
    }

    /// What the board thinks a worker has, and it hasn't.
    fn give_up(
        &mut self,
        at: usize,
        held: Option<u32>,
        command: impl Fn(AttemptNumber) -> FleetCommand,
    ) {
        for present in self.board.held_by(instance(at)) {
            if held != Some(present.attempt.0) {
                assert!(
                    self.decide(&command(present.attempt)),
                    "the present attempt ends"
                );
            }
        }
    }

    fn deliver(&mut self, at: usize, message: Message) -> Result<(), Broken> {
        let now = self.now;
        match message {
            Message::Hello { dial, held } => self.greet(at, dial, held),
            Message::Beat { dial, sent } => {
                if let Some(known) = self.known[at].as_mut().filter(|known| known.dial == dial) {
                    known.heard = now;
                    self.on_the_way.insert((at, Message::Ack { dial, sent }));
                }
            }
            Message::Ended { attempt } => {
                if let Some(known) = self.known[at] {
                    return self.hear_the_end(at, known.dial, attempt);
                }
            }
            told => self.hear(at, told),
        }
        Ok(())
    }

    fn greet(&mut self, at: usize, dial: u8, held: Option<u32>) {
        let is_overtaken = self.known[at].is_some_and(|known| dial < known.dial);
        if is_overtaken && !self.is_without(Without::DialCount) {
            return;
        }
        let present = self.board.held_by(instance(at));
        let keeps = held.is_some_and(|held| present.iter().any(|p| p.attempt.0 == held));
        let heard = self.now;
        self.known[at] = Some(Known { dial, heard });
        self.give_up(at, held, |attempt| FleetCommand::NeverArrived(KEY, attempt));
        self.on_the_way
            .insert((at, Message::Welcome { dial, keeps }));
    }

    fn hear_the_end(&mut self, at: usize, dial: u8, attempt: u32) -> Result<(), Broken> {
        let view = self.board.view(KEY).expect("the task is there");
        let was_given_up = view
            .task
            .attempts
            .iter()
            .any(|ended| ended.number.0 == attempt && ended.ending != AttemptEnding::Completed);
        let mut said = (fence(attempt), instance(at));
        if self.is_without(Without::Fencing)
            && let (Some(present), Some(placed)) = (self.board.fence(KEY), view.task.placement())
        {
            said = (present, placed.instance);
        }
        let report = EndReport {
            ending: AttemptEnding::Completed,
            result: "done".into(),
            error: "".into(),
            stop_reason: None,
            outputs: Vec::new(),
            usage: Usage::default(),
        };
        let (fence, instance) = said;
        let command = FleetCommand::Ended {
            fence,
            instance,
            report,
        };
        let is_new = self.decide(&command);
        self.accepted += u8::from(is_new);
        if was_given_up && is_new {
            return Err(Broken::LateReport);
        }
        self.send(at, Message::Answer { dial, attempt })
    }

    /// What a worker is told.
    fn hear(&mut self, at: usize, told: Message) {
        let (now, is_noted) = (self.now, !self.is_without(Without::LeaseFromSending));
        let worker = &mut self.workers[at];
        let is_present = |dial: u8| dial == worker.dials;
        match told {
            Message::Welcome { dial, keeps } if is_present(dial) && !worker.is_up => {
                worker.is_up = true;
                let dialled_at = std::mem::take(&mut worker.dialled_at);
                let span = TICK * u32::from(LEASE);
                worker.lease.begin(instant(dialled_at), span);
                worker.holds = worker.holds.filter(|_| keeps);
            }
            Message::Ack { dial, sent } if is_present(dial) && worker.is_up => {
                if !is_noted {
                    worker.lease.sent(u64::from(sent), instant(now));
                }
                worker.lease.acknowledged(u64::from(sent));
            }
            Message::Assignment { dial, attempt }
                if is_present(dial) && worker.is_up && worker.holds.is_none() =>
            {
                worker.holds = Some((attempt, Stage::Ready));
            }
            // Accepted or stale: it is settled.
            Message::Answer { dial, attempt } if is_present(dial) && worker.is_up => {
                worker.holds = worker.holds.filter(|(held, _)| *held != attempt);
            }
            _ => {}
        }
    }
}
