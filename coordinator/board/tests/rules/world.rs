//! A board on which [random doings](crate::acts) are done.

mod placing;

use std::{sync::Arc, time::Duration};

use crate::{
    acts::{Act, Change, Doing, Mail, NewSpec, Report, Roster, Skew},
    support::*,
};
use board::{
    command::{
        Answer, ClaimNext, EndReport, FleetCommand, Lease, NewTask, Removal, TasksKept,
        TeamChanges, Update, Wish,
    },
    id::{AttemptNumber, Epoch, Fence, InstanceId, MemberName, TaskId, TaskKey, TeamName, TeamUid},
    limits::RunningLimits,
    placement::Offer,
    refusal::Refusal,
    task::{AttemptEnding, Retry, StopReason, Task, TaskKind},
    team::MemberKind,
};

const MEMBERS: [&str; 6] = [LEAD, "alice", "bob", "hana", "hugo", "w1"];
const TYPES: [&str; 4] = ["coder", "prover", "shell", "wizard"];
const WORKERS: [&str; 3] = ["w1", "w2", "w3"];

pub fn worker_of(pick: u8) -> &'static str {
    WORKERS[usize::from(pick) % WORKERS.len()]
}

/// Mostly a member; rarely somebody who isn't.
fn member_name(pick: u8) -> &'static str {
    match pick {
        80 => "mallory",
        pick => MEMBERS[usize::from(pick) % MEMBERS.len()],
    }
}

fn label_name(pick: u8) -> Arc<str> {
    ["red", "blue", "old"][usize::from(pick) % 3].into()
}

fn zone_name(pick: u8) -> Arc<str> {
    ["east", "west"][usize::from(pick) % 2].into()
}

fn retry(tries: u8) -> Retry {
    Retry {
        max_attempts: u32::from(tries % 3) + 1,
        initial_backoff: secs(1),
        max_backoff: secs(9),
    }
}

/// Of provers, and of what is red, not much runs at once.
fn limits() -> RunningLimits {
    RunningLimits {
        agent_types: [(agent_type("prover"), 2)].into(),
        labels: [("red".into(), 2), ("old".into(), 0)].into(),
    }
}

/// What came of an act: of each of its commands, the words or the refusal.
pub type Came = Vec<Step>;

/// A board with two teams, on which acts are done.
#[derive(Debug, Clone)]
pub struct World {
    pub script: Script,
    /// What members wished, and what came of it.
    pub wished: Vec<(MemberName, Wish, Result<Answer, Refusal>)>,
}

impl World {
    pub fn new() -> Self {
        let mut script = Script::within(limits());
        script.is_checked = false;
        script.fleet(FleetCommand::OfferTypes(vec![offered("prover", "llm")]));
        let second = board::command::CreateTeam {
            members: vec![
                member("alice", MemberKind::Agent),
                member("bob", MemberKind::Agent),
                member("hana", MemberKind::Hosted),
                member("hugo", MemberKind::Hosted),
            ],
            ..team("u")
        };
        script.by(LEAD, Wish::CreateTeam(second)).unwrap();
        for team in [TEAM, TeamUid(2)] {
            script.fleet(FleetCommand::JoinWorker(team, worker_name("w1")));
        }
        let first = [job("x"), job("x"), card("x"), owned_by("hana", card("x"))];
        script.create(LEAD, &first).unwrap();
        script
            .create(LEAD, &vec![waits_for([1, 2], job("x")); 2])
            .unwrap();
        Self {
            script,
            wished: vec![],
        }
    }

    pub fn act(&mut self, act: &Act) -> Came {
        match act {
            Act::Create(who, is_second, specs) => {
                let uid = TeamUid(1 + u64::from(*is_second));
                let tasks = specs.iter().enumerate();
                let tasks = tasks.map(|(i, spec)| self.new_task(uid, spec, i)).collect();
                vec![self.by(*who, Wish::CreateTasks(self.name_of(uid), tasks))]
            }
            Act::Update(who, task, change) => {
                let (uid, task) = self.any_task(*task);
                let update = Box::new(self.update(uid, change));
                let wish = Wish::UpdateTask(self.name_of(uid), task, update);
                vec![self.by(*who, wish)]
            }
            Act::Do(who, task, doing) => {
                let wish = self.wish(*task, *doing);
                vec![self.by(*who, wish)]
            }
            Act::Place(offers, most) => {
                let offers = offers
                    .iter()
                    .map(|(w, free, types)| self.offer(*w, *free, *types));
                let mut offers: Vec<Offer> = offers.collect();
                offers.sort_by(|a, b| a.worker.cmp(&b.worker));
                offers.dedup_by(|a, b| a.worker == b.worker);
                self.place(offers, usize::from(*most))
            }
            Act::Join(worker) => {
                let command = FleetCommand::JoinWorker(TEAM, worker_name(worker_of(*worker)));
                vec![self.script.try_fleet(command)]
            }
            Act::Share(is_second, weight, max) => {
                let changes = TeamChanges {
                    weight: Some((*weight).into()),
                    max_running: Some((*max).into()),
                    ..TeamChanges::default()
                };
                let team = self.name_of(TeamUid(1 + u64::from(*is_second)));
                vec![self.script.by(LEAD, Wish::UpdateTeam(team, changes))]
            }
            Act::Mail(who, mail) => {
                let wish = self.letter(mail);
                vec![self.by(*who, wish)]
            }
            Act::Roster(who, is_second, doing) => vec![self.roster(*who, *is_second, *doing)],
            Act::Outline(task) => {
                let key = self.any_task(*task);
                self.script.board.outline(key);
                vec![]
            }
            Act::Wait(millis) => {
                self.script.after(Duration::from_millis(u64::from(*millis)));
                self.ticks()
            }
            Act::Keep(count, millis) => {
                self.script.tasks_kept = TasksKept {
                    count: usize::from(*count),
                    span: Duration::from_millis(u64::from(*millis)),
                };
                self.ticks()
            }
            Act::Hear(member) => {
                let key = (TEAM, name(member_name(*member)));
                self.script.seen.insert(key, self.script.now);
                vec![]
            }
            Act::Dispatch(..) | Act::Report(..) | Act::Lost(..) | Act::NeverArrived(..) => {
                vec![self.script.try_fleet(self.bring(act))]
            }
            Act::Spare(workers) => {
                let worker = |w: &u8| instance(WORKERS[usize::from(*w) % WORKERS.len()]);
                self.script.spared = workers.iter().map(worker).collect();
                vec![]
            }
        }
    }

    /// What the fleet brings of an attempt.
    fn bring(&self, act: &Act) -> FleetCommand {
        match act {
            Act::Dispatch(task, worker) => {
                let worker = WORKERS[usize::from(*worker) % WORKERS.len()];
                let key = self.any_task(*task);
                let (name, instance) = (worker_name(worker), instance(worker));
                FleetCommand::Dispatch(key, name, instance)
            }
            Act::Report(task, skew, report) => {
                let (fence, instance) = self.skewed(*task, *skew);
                self.report(fence, instance, report)
            }
            Act::Lost(task, skew) => {
                let (fence, _) = self.skewed(*task, *skew);
                let key = (fence.team, fence.task);
                FleetCommand::Lost(key, fence.attempt, "gone".into())
            }
            Act::NeverArrived(task, skew) => {
                let (fence, _) = self.skewed(*task, *skew);
                let key = (fence.team, fence.task);
                FleetCommand::NeverArrived(key, fence.attempt)
            }
            other => panic!("{other:?} is not the fleet's"),
        }
    }

    /// What is done to one task, or to whichever is the best.
    fn wish(&self, task: u8, doing: Doing) -> Wish {
        let (uid, task) = self.task_that(task, |task| match doing {
            Doing::Reopen => task.end().is_some(),
            Doing::Renew(_) | Doing::Release(_) => task.claim().is_some(),
            Doing::Resume => task.waiting().is_some_and(|w| w.paused.is_some()),
            _ => task.end().is_none(),
        });
        let team = self.name_of(uid);
        let attempt = |skew: Option<u8>| {
            let last = self.last_attempt(task).0;
            skew.map(|skew| AttemptNumber(last + u32::from(skew)))
        };
        match doing {
            Doing::Claim(lease) => {
                let lease = Lease(lease.map(|s| secs(u64::from(s % 4) + 1)));
                Wish::ClaimTask(team, task, None, Some(lease))
            }
            Doing::ClaimNext(label, priority_min) => {
                let labels = label.map(label_name).into_iter().collect();
                let wanted = ClaimNext {
                    labels,
                    priority_min,
                    lease: Lease(Some(secs(3))),
                };
                Wish::ClaimNext(team, wanted)
            }
            Doing::Renew(skew) => Wish::RenewClaim(team, task, attempt(skew)),
            Doing::Release(skew) => Wish::ReleaseTask(team, task, attempt(skew), "".into()),
            Doing::Reopen => Wish::ReopenTask(team, task, None, "again".into()),
            Doing::Delete => Wish::DeleteTask(team, task, None),
            Doing::Pause => Wish::PauseTask(team, task, "".into()),
            Doing::Resume => Wish::ResumeTask(team, task),
            Doing::Cancel => Wish::CancelTask(team, task, "enough".into()),
        }
    }

    /// Words to members, or that what waits is done with.
    fn letter(&self, mail: &Mail) -> Wish {
        let member = |pick: &u8| member_name(*pick);
        match mail {
            Mail::Tell(to) => send(words(to.iter().map(member), "hello")),
            Mail::Answer(task, is_other) => {
                let (team, id) = self.task_that(*task, |task| task.placement().is_some());
                let number = is_other.then_some(2);
                Wish::AnswerQuestion(self.name_of(team), id, number, "yes".into())
            }
            Mail::Steer(task) => {
                let (team, id) = self.task_that(*task, |task| task.placement().is_some());
                Wish::SteerTask(self.name_of(team), id, "go left".into())
            }
            Mail::TellAll => send(to_everybody("hello")),
            Mail::AckTo(back) => {
                let last = self.script.board.team(TEAM).unwrap().last_message.0;
                ack(Some(last.saturating_sub(u64::from(*back))), &[])
            }
            Mail::Ack(ids) => {
                let ids: Vec<u64> = ids.iter().map(|id| u64::from(*id)).collect();
                ack(None, &ids)
            }
        }
    }

    fn last_attempt(&self, task: TaskId) -> AttemptNumber {
        let kept = self.script.shelf.tasks.get(&(TEAM, task));
        kept.map_or(AttemptNumber(0), |task| task.last_attempt)
    }

    /// Only the second team changes its lead and comes to an end: most of what is done is done in
    /// the first by its lead.
    fn roster(&mut self, who: u8, is_second: bool, doing: Roster) -> Step {
        let uid = TeamUid(1 + u64::from(is_second));
        let team = self.name_of(uid);
        let second = self.name_of(TeamUid(2));
        let removal = |force| Removal {
            force,
            reason: "so".into(),
        };
        let wish = match doing {
            Roster::Add(m, is_hosted) => {
                let kind = match is_hosted {
                    true => MemberKind::Hosted,
                    false => MemberKind::Agent,
                };
                Wish::AddMember(team, member(member_name(m), kind))
            }
            Roster::Remove(m, force) => {
                Wish::RemoveMember(team, name(member_name(m)), removal(force))
            }
            Roster::HandOver(to) => Wish::HandOverLead(second, name(member_name(to))),
            Roster::LeaveWorker(worker) => {
                let worker = worker_name(worker_of(worker));
                let leave = FleetCommand::LeaveWorker(uid, worker, "gone".into());
                return self.script.try_fleet(leave);
            }
            Roster::Dissolve(force) => Wish::DissolveTeam(second, removal(force)),
            Roster::MakeAgain => Wish::CreateTeam(crate::support::team("u")),
        };
        self.by(who, wish)
    }

    /// All that is due now: it must come to an end.
    fn ticks(&mut self) -> Came {
        let mut came = vec![];
        while let Some(told) = self.script.tick() {
            came.push(Ok(told));
            assert!(came.len() < 10, "a moment that never ends");
        }
        let next = self.script.next_deadline();
        assert!(next.is_none_or(|at| at > self.script.now), "{next:?}");
        came
    }

    fn by(&mut self, who: u8, wish: Wish) -> Step {
        let running = self.running();
        if let (230.., Some(key)) = (who, running.get(usize::from(who) % running.len().max(1))) {
            let fence = self.script.board.fence(*key).unwrap();
            return self.script.by_fence(fence, wish);
        }
        // Most wishes are the lead's, so that much of what is wished is allowed.
        let who = match who % 3 {
            0 | 1 => LEAD,
            _ => member_name(who / 3),
        };
        let came = self.script.by(who, wish.clone());
        let answer = came.as_ref().map(|told| told.answer.clone());
        self.wished
            .push((name(who), wish, answer.map_err(Clone::clone)));
        came
    }

    /// Mostly a task that is open, sometimes one that is over or not there.
    fn any_task(&self, pick: u8) -> TaskKey {
        self.task_that(pick, |task| task.end().is_none())
    }

    /// Mostly a task that is so, sometimes another or one that is not there.
    fn task_that(&self, pick: u8, is_so: impl Fn(&Task) -> bool) -> TaskKey {
        let tasks = &self.script.shelf.tasks;
        let all = tasks
            .iter()
            .filter(|(_, task)| pick.is_multiple_of(8) || is_so(task));
        let among: Vec<TaskKey> = all.map(|(key, _)| *key).collect();
        let nowhere = key(tasks.len() as u64 + 1);
        match among.len() {
            0 => nowhere,
            _ if pick == 255 => nowhere,
            len => among[usize::from(pick / 8) % len],
        }
    }

    fn name_of(&self, uid: TeamUid) -> TeamName {
        self.script.board.team(uid).unwrap().name.clone()
    }

    /// Ids of lately made tasks of a team; rarely one that isn't there.
    fn ids(&self, team: TeamUid, picks: &[u8]) -> Vec<TaskId> {
        let last = self.script.board.team(team).unwrap().last_task.0;
        let id = |pick: &u8| match (last, *pick) {
            (0, _) | (_, 254..) => TaskId(last + 1),
            (last, pick) => TaskId(last - u64::from(pick) % last.min(12)),
        };
        picks.iter().map(id).collect()
    }

    fn new_task(&self, team: TeamUid, spec: &NewSpec, place: usize) -> NewTask {
        let items = spec.items.iter().filter(|_| place > 0);
        let items = items.map(|item| match item {
            250.. => place,
            item => usize::from(*item) % place,
        });
        let agent_type = |t: u8| agent_type(TYPES[usize::from(t) % TYPES.len()]);
        // Double edges are refused, which is tried often enough by the updates.
        let mut blocked_by = self.ids(team, &spec.blocked_by);
        blocked_by.sort_unstable();
        blocked_by.dedup();
        NewTask {
            owner: spec.owner.map(|m| name(member_name(m))),
            agent_type: spec.agent_type.map(agent_type),
            prompt: "true".into(),
            blocked_by,
            blocked_by_items: items.collect(),
            blocks: self.ids(team, &spec.blocks),
            blocker_failed_policy: spec.policy,
            priority: spec.priority,
            deadline: spec
                .deadline
                .map(|d| self.script.now + Duration::from_millis(d.into())),
            timeout: spec.timeout.map(|t| secs(u64::from(t) + 1)),
            crash_limit: spec.crash_limit.map(u32::from),
            kind: match spec.is_verification {
                true => TaskKind::Verification,
                false => TaskKind::Work,
            },
            labels: spec.label.map(label_name).into_iter().collect(),
            parent: spec
                .parent
                .and_then(|pick| self.ids(team, &[pick]).first().copied()),
            share_todos: spec.share_todos,
            retry: spec.retry.map(retry),
            failure_policy: spec.failure_policy,
            worker_labels: spec
                .zone
                .map(|zone| ("zone".into(), zone_name(zone)))
                .into_iter()
                .collect(),
            window: spec.window.into(),
            ..card("x")
        }
    }

    fn update(&self, team: TeamUid, change: &Change) -> Update {
        let [add_blocks, add_blocked_by, remove_blocks, remove_blocked_by] =
            change.edges.each_ref().map(|picks| self.ids(team, picks));
        let member = |m: u8| name(member_name(m));
        Update {
            status: change.status,
            owner: change.owner.map(|owner| owner.map(member)),
            subject: change.subject.map(|s| format!("x{s}").into()),
            priority: change.priority,
            add_blocks,
            add_blocked_by,
            remove_blocks,
            remove_blocked_by,
            stop_running: change.stop_running,
            add_labels: change.label.map(label_name).into_iter().collect(),
            remove_labels: change.unlabel.map(label_name).into_iter().collect(),
            agent_type: change
                .agent_type
                .map(|t| t.map(|t| agent_type(TYPES[usize::from(t) % TYPES.len()]))),
            blocker_failed_policy: change.policy,
            failure_policy: change.failure_policy,
            retry: change.retry.map(retry),
            window: change.window.map(u32::from),
            deadline: change
                .deadline
                .map(|d| d.map(|d| self.script.now + Duration::from_millis(d.into()))),
            ..Update::default()
        }
    }

    /// The tasks that workers have.
    fn running(&self) -> Vec<TaskKey> {
        let keys = self.script.shelf.tasks.keys().copied();
        keys.filter(|key| self.script.board.fence(*key).is_some())
            .collect()
    }

    /// The fence of something that runs, if anything does, wrong in the way that is wished.
    fn skewed(&self, pick: u8, skew: Skew) -> (Fence, InstanceId) {
        let board = &self.script.board;
        let running = self.running();
        let at = usize::from(pick) % running.len().max(1);
        let (mut fence, mut instance) = match running.get(at) {
            Some(key) => {
                let view = board.view(*key).unwrap();
                let instance = view.task.placement().unwrap().instance;
                (board.fence(*key).unwrap(), instance)
            }
            None => (fence(u64::from(pick), 1), InstanceId(1)),
        };
        match skew {
            Skew::None => {}
            Skew::Epoch => fence.epoch = Epoch(8),
            Skew::Task => fence.task = self.any_task(pick).1,
            Skew::Attempt => fence.attempt = AttemptNumber(fence.attempt.0 + 1),
            Skew::Instance => instance = InstanceId(9),
        }
        (fence, instance)
    }

    /// How many questions an attempt has asked, and how many words it was told.
    fn said(&self, fence: Fence) -> (u32, u32) {
        let task = self.script.shelf.tasks.get(&(fence.team, fence.task));
        let placement = task.and_then(|task| task.placement());
        placement.map_or((0, 0), |placed| (placed.questions, placed.last_word))
    }

    fn report(&self, fence: Fence, instance: InstanceId, report: &Report) -> FleetCommand {
        match report {
            Report::Started(limit) => FleetCommand::Started {
                fence,
                instance,
                run_limit: limit.map(|l| secs(l.into())),
            },
            Report::Ended(ending) => FleetCommand::Ended {
                fence,
                instance,
                report: EndReport {
                    stop_reason: (*ending == AttemptEnding::Failed)
                        .then_some(StopReason::ResourceLimit),
                    ..crate::support::report(*ending, "r", "e")
                },
            },
            Report::Refused => FleetCommand::Refused {
                fence,
                instance,
                reason: "no".into(),
            },
            Report::Asked(ahead, timeout) => FleetCommand::Asked {
                fence,
                instance,
                number: self.said(fence).0 + u32::from(*ahead),
                text: "which one?".into(),
                timeout: timeout.map(|t| secs(t.into())),
            },
            Report::Heeded(but) => FleetCommand::Heeded {
                fence,
                instance,
                through: self.said(fence).1.saturating_sub(u32::from(*but)),
            },
        }
    }
}
