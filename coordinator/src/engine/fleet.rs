//! What workers bring: their Hellos, their reports, their silence.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use board::{
    command::{EndReport, FleetCommand},
    id::{Fence, InstanceId, MemberName, TeamName, TeamUid, WorkerName, check_new},
    refusal::{Refusal, Staleness},
    task::Task,
    team::MemberKind,
    time::Time,
    view::TaskView,
};
use tokio::sync::oneshot;

use super::{Engine, Reader, WorkerView, mail::put_before, release::Release};
use crate::fleet::{
    Assignment, Heard, Hello, HelloRefused, Order, Outbox, SessionId, Verdict, Welcome,
};

/// What a Hello is answered.
pub type HelloReply = Result<Welcome, HelloRefused>;

/// What a report is answered: taken, or why it is stale.
pub type ReportReply = Result<(), Refusal>;

/// What comes from a worker's stream, or is wanted of one.
#[derive(Debug)]
pub enum FleetInput {
    /// A worker dials in.
    Hello {
        /// What it says.
        hello: Box<Hello>,
        /// Where its orders go.
        outbox: Outbox,
        /// Where to answer.
        reply: oneshot::Sender<HelloReply>,
    },
    /// A sub-agent began.
    Started {
        /// Who says so.
        from: From,
        /// Which attempt.
        fence: Fence,
        /// How long it may run.
        run_limit: Option<Duration>,
        /// Where to answer.
        reply: oneshot::Sender<ReportReply>,
    },
    /// A sub-agent ended.
    Ended {
        /// Who says so.
        from: From,
        /// Which attempt.
        fence: Fence,
        /// How.
        report: Box<EndReport>,
        /// Where to answer.
        reply: oneshot::Sender<ReportReply>,
    },
    /// An assignment isn't taken, or is given back.
    Refused {
        /// Who says so.
        from: From,
        /// Which attempt.
        fence: Fence,
        /// Why.
        reason: Arc<str>,
        /// Where to answer.
        reply: oneshot::Sender<ReportReply>,
    },
    /// A sub-agent asks its lead.
    Asked {
        /// Who says so.
        from: From,
        /// Which attempt.
        fence: Fence,
        /// The question's number.
        number: u32,
        /// What is asked.
        text: Arc<str>,
        /// How long it waits.
        timeout: Option<Duration>,
        /// Where to answer.
        reply: oneshot::Sender<ReportReply>,
    },
    /// A sub-agent has what it was to be told, up to this word.
    Heeded(From, Fence, u32),
    /// A worker takes no new work.
    Draining(From),
    /// A stream ended.
    Closed(From),
    /// Somebody wants a worker to take no new work and to leave.
    Drain {
        /// Which worker.
        worker: WorkerName,
        /// Why.
        reason: Arc<str>,
        /// How long what it runs may take.
        timeout: Option<Duration>,
        /// Where to answer: the worker, if there is one of that name.
        reply: oneshot::Sender<Option<WorkerView>>,
    },
}

/// The stream that something came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// The worker's name.
    pub worker: WorkerName,
    /// Its process.
    pub instance: InstanceId,
    /// The stream.
    pub session: SessionId,
}

impl Engine {
    pub(super) fn fleet_input(&mut self, input: FleetInput, now: Time) {
        match input {
            FleetInput::Hello {
                hello,
                outbox,
                reply,
            } => {
                let welcome = self.hello(*hello, outbox, now);
                self.group.releases.push(Release::Hello(reply, welcome));
            }
            FleetInput::Started {
                from,
                fence,
                run_limit,
                reply,
            } => {
                let instance = from.instance;
                let command = FleetCommand::Started {
                    fence,
                    instance,
                    run_limit,
                };
                self.report(&from, &command, reply, now);
            }
            FleetInput::Ended {
                from,
                fence,
                report,
                reply,
            } => {
                let command = FleetCommand::Ended {
                    fence,
                    instance: from.instance,
                    report: *report,
                };
                self.report(&from, &command, reply, now);
            }
            FleetInput::Refused {
                from,
                fence,
                reason,
                reply,
            } => {
                let command = FleetCommand::Refused {
                    fence,
                    instance: from.instance,
                    reason,
                };
                self.report(&from, &command, reply, now);
            }
            FleetInput::Asked {
                from,
                fence,
                number,
                text,
                timeout,
                reply,
            } => {
                let command = FleetCommand::Asked {
                    fence,
                    instance: from.instance,
                    number,
                    text,
                    timeout,
                };
                self.report(&from, &command, reply, now);
            }
            FleetInput::Heeded(from, fence, through) => self.heeded(&from, fence, through, now),
            FleetInput::Draining(from) => self.fleet.drain(&from.worker, from.session),
            FleetInput::Closed(from) => self.fleet.close(&from.worker, from.session, now),
            FleetInput::Drain {
                worker,
                reason,
                timeout,
                reply,
            } => {
                self.fleet.order_drain(&worker, &reason, timeout, now);
                let view = Reader::new(self, now).worker(&worker);
                let answered = Box::new(move || drop(reply.send(view)));
                self.group.releases.push(Release::Read(answered));
            }
        }
        self.may_place = true;
    }

    /// A report by a stream that isn't its worker's present one is refused without a look: the
    /// worker will repeat it on the present one.
    fn report(
        &mut self,
        from: &From,
        command: &FleetCommand,
        reply: oneshot::Sender<ReportReply>,
        now: Time,
    ) {
        let taken = if self.fleet.of_session(&from.worker, from.session).is_some() {
            self.check_writable()
                .and_then(|()| self.decide_fleet(command, now))
        } else {
            Err(Refusal::Stale {
                why: Staleness::Instance,
            })
        };
        self.group.releases.push(Release::Report(reply, taken));
    }

    fn hello(&mut self, hello: Hello, outbox: Outbox, now: Time) -> HelloReply {
        self.check_name(&hello)?;
        match self.fleet.check_hello(&hello, now) {
            Err(HelloRefused::Full) if self.fleet.make_room(&self.board, now) => {}
            checked => checked?,
        }
        self.check_teams(&hello)?;
        if self.is_stalled {
            return self.hello_while_full(hello, outbox, now);
        }
        let offered = hello.types.iter().map(|offered| offered.record(now));
        let offered = FleetCommand::OfferTypes(offered.collect());
        if let Err(refusal) = self.decide_fleet(&offered, now) {
            tracing::warn!(worker = %hello.name, %refusal, "agent types are not all noted");
        }
        for team in hello.teams.iter().flatten() {
            self.join(team, &hello.name, now);
        }

        let instance = hello.instance;
        let held: BTreeSet<Fence> = hello.held.iter().copied().collect();
        let (name, ended) = (hello.name.clone(), hello.ended.clone());
        let welcome = self.admit(hello, outbox, now);
        self.bury(&name, &ended, now);
        self.settle_absent(instance, &held, now);
        self.repeat_orders(instance);
        Ok(welcome)
    }

    /// Takes in a worker that only goes on with what it had, so that a disk that is full ends no
    /// attempt. All else that a Hello may bring would have to be written.
    fn hello_while_full(&mut self, hello: Hello, outbox: Outbox, now: Time) -> HelloReply {
        let instance = hello.instance;
        let present = self.fleet.worker(&hello.name);
        let is_known = present.is_some_and(|worker| worker.hello.instance == instance);
        let holds_all = || {
            let mut held = self.board.held_by(instance).into_iter();
            held.all(|fence| hello.held.contains(&fence))
        };
        if !is_known || !holds_all() {
            return Err(HelloRefused::DiskFull);
        }
        let welcome = self.admit(hello, outbox, now);
        self.repeat_orders(instance);
        Ok(welcome)
    }

    /// Takes a worker into the fleet. Changes nothing on the board.
    fn admit(&mut self, hello: Hello, outbox: Outbox, now: Time) -> Welcome {
        let instance = hello.instance;
        let verdicts = hello.held.iter().map(|fence| self.verdict(fence, instance));
        let verdicts: Vec<Verdict> = verdicts.collect();
        let name = hello.name.clone();
        self.absence.note(&name, now);
        let before = self.fleet.worker(&name);
        let before = before.filter(|worker| worker.hello.instance == instance);
        let heard = before.map_or_else(|| Heard::at(now), |worker| worker.heard.again(now));
        let session = self.fleet.admit(hello, outbox, heard.clone(), now);
        let worker = self.fleet.worker(&name).expect("it was admitted");
        Welcome {
            session,
            verdicts,
            leases: worker.spans,
            lease_span: worker.lease_span(),
            first_heartbeat: worker.spans.first_heartbeat(session),
            protocol: worker.hello.spoken(),
            epoch: self.board.meta().epoch,
            heard,
        }
    }

    /// Refuses a name that is reserved, unless the board knows a worker of that name from before.
    fn check_name(&self, hello: &Hello) -> Result<(), HelloRefused> {
        let name = &hello.name;
        let is_known = || {
            let serving = self.board.serving();
            let mut holders = self.board.holders().into_values();
            serving.contains_key(&name.into()) || holders.any(|holder| holder == *name)
        };
        if check_new(name.as_str()).is_ok() || is_known() {
            return Ok(());
        }
        let name = name.clone();
        Err(HelloRefused::NameReserved { name })
    }

    /// Refuses a worker that is to join a team in which somebody else has its name (W1). One that
    /// holds attempts goes on with them, whoever took the name since.
    fn check_teams(&self, hello: &Hello) -> Result<(), HelloRefused> {
        if !hello.held.is_empty() {
            return Ok(());
        }
        let name = MemberName::from(&hello.name);
        for team in hello.teams.iter().flatten() {
            let uid = self.board.team_named(team.as_str()).map(|team| team.uid);
            let member = uid.and_then(|uid| self.board.member(uid, &name));
            let kind = match member.map(|member| member.kind) {
                None | Some(MemberKind::Worker) => continue,
                Some(MemberKind::Lead) => "lead",
                Some(MemberKind::Agent) => "agent",
                Some(MemberKind::Hosted) => "hosted member",
            };
            return Err(HelloRefused::NameInTeam {
                name: hello.name.clone(),
                team: team.clone(),
                kind,
            });
        }
        Ok(())
    }

    fn join(&mut self, team: &TeamName, worker: &WorkerName, now: Time) {
        let Some(team) = self.board.team_named(team.as_str()) else {
            tracing::warn!(%worker, %team, "worker serves a team that isn't there yet");
            return;
        };
        let join = FleetCommand::JoinWorker(team.uid, worker.clone());
        if let Err(refusal) = self.decide_fleet(&join, now) {
            tracing::warn!(%worker, %refusal, "worker can't join a team");
        }
    }

    fn verdict(&self, fence: &Fence, instance: InstanceId) -> Verdict {
        let present = self.board.fence((fence.team, fence.task));
        let keep = present == Some(*fence) && self.board.held_by(instance).contains(fence);
        let reason = if keep {
            String::new()
        } else if present.is_some_and(|present| present.attempt != fence.attempt) {
            "another attempt runs".into()
        } else {
            "the attempt is over".into()
        };
        Verdict {
            fence: *fence,
            keep,
            reason,
        }
    }

    /// What a worker's earlier processes held is lost at once: they are proven dead. What other
    /// workers' processes hold is not this one's to give up.
    fn bury(&mut self, worker: &WorkerName, ended: &[InstanceId], now: Time) {
        let holders = self.board.holders();
        for instance in ended {
            if holders.get(instance) == Some(worker) {
                self.lose_all(*instance, "its worker was started again", now);
                self.fleet.forget(*instance);
            }
        }
    }

    /// What the board thinks the process has and the process doesn't: an assignment that never
    /// arrived goes back at no cost, a sub-agent that had begun is lost.
    fn settle_absent(&mut self, instance: InstanceId, held: &BTreeSet<Fence>, now: Time) {
        for fence in self.board.held_by(instance) {
            if held.contains(&fence) {
                continue;
            }
            let key = (fence.team, fence.task);
            let placement = self.board.view(key).map(|view| view.task);
            let has_begun = placement
                .as_ref()
                .and_then(|task| task.placement())
                .is_some_and(|placement| placement.started_at.is_some());
            let command = if has_begun {
                let reason = "its worker came back without it".into();
                FleetCommand::Lost(key, fence.attempt, reason)
            } else {
                FleetCommand::NeverArrived(key, fence.attempt)
            };
            // A refusal means that it is settled already.
            self.decide_fleet(&command, now).ok();
        }
    }

    /// What was asked for while the worker was away: stops, and words that were not heeded. Words
    /// that it has had it knows by their numbers.
    fn repeat_orders(&mut self, instance: InstanceId) {
        for fence in self.board.held_by(instance) {
            let view = self.board.view((fence.team, fence.task));
            let Some(placement) = view.as_ref().and_then(|view| view.task.placement()) else {
                continue;
            };
            let mut order = |order| self.group.releases.push(Release::Order(instance, order));
            match &placement.stop {
                Some(stop) => order(Order::Stop {
                    fence,
                    reason: stop.reason.clone(),
                }),
                None => {
                    for word in placement.words.iter().cloned() {
                        order(Order::Tell { fence, word });
                    }
                }
            }
        }
    }

    /// What a placed task's sub-agent says that it is doing. Only heard, never on the board.
    pub(super) fn add_doing(&self, team: TeamUid, view: &mut TaskView) {
        let Some(placement) = view.task.placement() else {
            return;
        };
        let worker = self.fleet.of_instance(placement.instance);
        let fence = Fence {
            epoch: self.board.meta().epoch,
            team,
            task: view.task.id,
            attempt: placement.attempt,
        };
        if let Some(progress) = worker.and_then(|worker| worker.heard.progress(&fence)) {
            view.doing = progress.doing;
        }
    }

    /// What a sub-agent has heeded it need not be told again. A worker that says so by an old
    /// stream, or of an attempt that is over, is not answered: it says so again, or nobody minds.
    fn heeded(&mut self, from: &From, fence: Fence, through: u32, now: Time) {
        if self.fleet.of_session(&from.worker, from.session).is_none() {
            return;
        }
        if self.is_stalled {
            // It is told again, by its number, on the next stream.
            return;
        }
        let heeded = FleetCommand::Heeded {
            fence,
            instance: from.instance,
            through,
        };
        if let Err(refusal) = self.decide_fleet(&heeded, now) {
            tracing::debug!(worker = %from.worker, task = %fence.task, %refusal, "words were heeded too late");
        }
    }

    /// What a worker is sent for an attempt.
    pub(super) fn assignment(&mut self, fence: Fence, now: Time) -> Option<Assignment> {
        let key = (fence.team, fence.task);
        let view = self.board.view(key)?;
        let task = &view.task;
        let owner = task
            .owner
            .as_ref()
            .and_then(|name| self.board.member(fence.team, name))
            .filter(|member| member.kind == MemberKind::Hosted)
            .cloned();
        let own_type = owner.as_ref().and_then(|member| member.agent_type.clone());
        let agent_type = task.agent_type.clone().or(own_type)?;
        let offered = self.board.offered_type(&agent_type);
        let is_command = offered.is_some_and(|offered| offered.is_command());
        let is_script = offered.is_some_and(|offered| offered.prompt_is_script);
        let acts_as = match &owner {
            Some(member) => member.name.to_string(),
            None => format!("task:{}", task.id),
        };
        let blockers = self.brought(fence.team, task);
        let mail = task.placement().map(|placed| self.mail_for(key, placed));
        let mut mail = mail.unwrap_or_default();
        let mut prompt = prompt(task, is_script);
        if !is_command && !is_script {
            // A script is never preceded by English, and a program has its mail beside the prompt.
            prompt = put_before(&std::mem::take(&mut mail), &prompt);
        }
        Some(Assignment {
            lender: self.lending.lender(&fence),
            hiring_depth: self.hiring_left(key),
            fence,
            team: view.team.clone(),
            subject: task.subject.clone(),
            prompt,
            agent_type,
            acts_as,
            blockers,
            mail,
            instructions: owner
                .as_ref()
                .map(|m| m.instructions.clone())
                .unwrap_or_default(),
            model: owner.map(|m| m.model).unwrap_or_default(),
            timeout: task.timeout,
            deadline: task.deadline,
            time_left: task.deadline.map(|deadline| deadline.since(now)),
            inputs: task.inputs.clone(),
            output_globs: task.output_globs.clone(),
        })
    }

    /// How deep below a task its sub-agent may have others hired (D7). A hirer that can't be read
    /// takes nothing away: whoever hires is told of the failure.
    fn hiring_left(&mut self, key: board::id::TaskKey) -> u32 {
        loop {
            let (left, absent) = self.board.hiring_left(key);
            if absent.is_none_or(|absent| self.recall(absent).is_err()) {
                return left;
            }
        }
    }
}

/// What the sub-agent is told (K13). A script is never made of what people say of a task: a task
/// without a prompt is refused when it is made, but a type that was only expected then may turn out
/// to run scripts. Its worker fails such an attempt.
fn prompt(task: &Task, is_script: bool) -> Arc<str> {
    if is_script || !task.prompt.trim().is_empty() {
        return task.prompt.clone();
    }
    if task.description.is_empty() {
        return task.subject.clone();
    }
    format!("{}\n\n{}", task.subject, task.description).into()
}
