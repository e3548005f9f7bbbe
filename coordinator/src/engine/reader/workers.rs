//! Looking at workers: what each is, and what it holds.

use std::sync::Arc;

use board::{
    id::{AgentTypeName, Fence, TeamName, WorkerName},
    task::Task,
    time::Time,
    view::Phase,
};

use super::{Page, Reader, page};
use crate::{
    engine::Engine,
    fleet::{Hello, Standing, WorkerEntry},
};

/// A worker, as it is told.
#[derive(Debug, Clone)]
pub struct WorkerView {
    /// What it said.
    pub hello: Hello,
    /// How it stands.
    pub standing: Standing,
    /// Its stream is up.
    pub is_stream_up: bool,
    /// Its process was heard of within the time that it may be silent.
    pub is_heard: bool,
    /// What it holds is its own.
    pub is_lease_valid: bool,
    /// When one of its attempts last made progress.
    pub progress_at: Option<Time>,
    /// Why it was told to drain, where it was.
    pub drain_reason: Arc<str>,
    /// Free slots.
    pub free: u32,
    /// When its stream began.
    pub connected_at: Time,
    /// When it was last heard of.
    pub heard_at: Time,
    /// When its attempts are lost unless it is heard of before; none while an open stream is its
    /// heartbeat.
    pub lease_until: Option<Time>,
    /// What it holds.
    pub attempts: Vec<Fence>,
    /// The same in full, where one worker alone is looked at.
    pub held: Vec<HeldView>,
}

/// An attempt that a worker holds, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldView {
    /// Which.
    pub fence: Fence,
    /// The team's name.
    pub team: TeamName,
    /// The task's subject.
    pub subject: Arc<str>,
    /// How it is run.
    pub agent_type: Option<AgentTypeName>,
    /// Who it acts as.
    pub acts_as: String,
    /// Where it stands.
    pub phase: Option<Phase>,
    /// When its sub-agent began.
    pub started_at: Option<Time>,
    /// When it last made progress.
    pub progress_at: Option<Time>,
    /// It has made none for long.
    pub is_stalled: bool,
    /// What its sub-agent says that it is doing.
    pub doing: Arc<str>,
}

impl Reader<'_> {
    /// Workers after a name, by name.
    pub fn workers(&self, after: Option<&str>, size: usize) -> Page<WorkerView, String> {
        let workers = self.engine.fleet.workers();
        let rest = workers.filter(|w| after.is_none_or(|after| w.hello.name.as_str() > after));
        let views = rest.map(|worker| self.engine.worker_view(worker, self.now));
        page(views, size, |view| view.hello.name.to_string())
    }

    /// One worker, with each attempt that it holds.
    pub fn worker(&self, name: &WorkerName) -> Option<WorkerView> {
        let worker = self.engine.fleet.worker(name)?;
        let view = self.engine.worker_view(worker, self.now);
        let held = view.attempts.iter();
        let held = held.filter_map(|fence| self.engine.held_view(worker, fence, self.now));
        let held = held.collect();
        Some(WorkerView { held, ..view })
    }
}

impl Engine {
    fn worker_view(&self, worker: &WorkerEntry, now: Time) -> WorkerView {
        let attempts = self.board.held_by(worker.hello.instance);
        let progress = |fence| Some(worker.heard.progress(fence)?.at);
        let drain = self.fleet.drain_of(worker.hello.instance);
        WorkerView {
            standing: worker.standing(now),
            is_stream_up: worker.is_stream_up(),
            is_heard: worker.is_heard(now),
            is_lease_valid: worker.is_lease_valid(now),
            progress_at: attempts.iter().filter_map(progress).max(),
            drain_reason: drain.map(|drain| drain.reason.clone()).unwrap_or_default(),
            free: worker.free(&self.board),
            connected_at: worker.connected_at,
            heard_at: worker.heard.last(),
            lease_until: worker.lease_until(),
            attempts,
            held: Vec::new(),
            hello: worker.hello.clone(),
        }
    }

    fn held_view(&self, worker: &WorkerEntry, fence: &Fence, now: Time) -> Option<HeldView> {
        let view = self.board.view((fence.team, fence.task))?;
        let placement = view.task.placement()?;
        let progress = worker.heard.progress(fence);
        let run = self.run(fence.team, &view.task, placement, now);
        Some(HeldView {
            fence: *fence,
            subject: view.task.subject.clone(),
            agent_type: self.runs_as(fence.team, &view.task),
            acts_as: match &placement.member {
                Some(member) => member.to_string(),
                None => format!("task:{}", view.task.id),
            },
            phase: view.phase,
            started_at: placement.started_at,
            progress_at: progress.as_ref().map(|progress| progress.at),
            is_stalled: run.is_stalled(now),
            doing: progress.map(|progress| progress.doing).unwrap_or_default(),
            team: view.team,
        })
    }

    /// The agent type by which a placed task is run: its own, else that of the member as whom it
    /// acts.
    pub(super) fn runs_as(&self, team: board::id::TeamUid, task: &Task) -> Option<AgentTypeName> {
        if task.agent_type.is_some() {
            return task.agent_type.clone();
        }
        let member = task.placement()?.member.as_ref()?;
        self.board.member_ever(team, member)?.agent_type.clone()
    }
}
