//! How a member is, as the coordinator sees it (T5): judged when somebody looks, by what is on the
//! board and what was heard, never by what a member says of itself or how often it is asked.

use std::time::Duration;

use board::{
    id::{TaskId, WorkerName},
    team::{Member, MemberKind, Plan},
    time::Time,
};

#[cfg(test)]
mod tests;

/// How long an attempt of a type that says nothing else may make no progress before it counts as
/// stalled.
pub(super) const STALL_SPAN: Duration = Duration::from_secs(5 * 60);

/// What a member is doing, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Holds or runs a task.
    Working,
    /// Asked something, and waits.
    WaitingForAnswer,
    /// Asked for its plan to be approved, and waits.
    WaitingForApproval,
    /// Holds none.
    Idle,
    /// Its attempt's lease is valid, and it makes no progress.
    Stalled,
    /// Its worker is silent; its lease is not over.
    Unreachable,
    /// Left, or its worker's lease is over.
    Gone,
}

/// How a member is, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Living {
    /// In a word.
    pub liveness: Liveness,
    /// Why, for a person.
    pub reason: String,
    /// When it was last heard of, as far as this process of the coordinator knows.
    pub seen_at: Option<Time>,
    /// When one of its attempts last made progress.
    pub progress_at: Option<Time>,
}

/// What is known of a member.
#[derive(Debug, Clone)]
pub(super) struct Known<'k> {
    pub(super) member: &'k Member,
    pub(super) is_team_open: bool,
    /// When it last called by itself.
    pub(super) called_at: Option<Time>,
    /// The tasks that it holds by a claim.
    pub(super) holds: Vec<TaskId>,
    /// The attempts that run in its name; of a worker, those that it runs.
    pub(super) runs: Vec<Run>,
    /// Of a worker: how far it can be reached; none when it isn't there.
    pub(super) contact: Option<Contact>,
}

/// An attempt that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) task: TaskId,
    pub(super) worker: WorkerName,
    /// None when its worker isn't there any more, and its loss is about to be noticed.
    pub(super) contact: Option<Contact>,
    pub(super) started_at: Option<Time>,
    pub(super) is_stopping: bool,
    /// Its sub-agent has asked, and waits for an answer.
    pub(super) is_asking: bool,
    pub(super) progress_at: Option<Time>,
    /// After how long without progress it counts as stalled.
    pub(super) stall_span: Duration,
}

/// How far a worker's process can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contact {
    pub(super) is_reached: bool,
    /// None when this process of the coordinator has not heard of it.
    pub(super) heard_at: Option<Time>,
    /// Since when it is heard, by its present stream.
    pub(super) connected_at: Option<Time>,
    pub(super) lease_until: Option<Time>,
}

impl Run {
    /// Since when it has made no progress. What was not heard because there was no stream is not
    /// held against it.
    fn quiet_since(&self) -> Option<Time> {
        let connected_at = self.contact.and_then(|contact| contact.connected_at);
        let started_at = self.started_at?;
        let times = [Some(started_at), self.progress_at, connected_at];
        times.into_iter().flatten().max()
    }

    pub(super) fn is_stalled(&self, now: Time) -> bool {
        let is_quiet = |since| now.since(since) >= self.stall_span;
        !self.is_stopping && !self.is_asking && self.quiet_since().is_some_and(is_quiet)
    }
}

/// Judges how a member is.
pub(super) fn judge(known: &Known<'_>, now: Time) -> Living {
    let (liveness, reason) = verdict(known, now);
    let heard = known.runs.iter().filter_map(|run| run.contact);
    let heard = heard.chain(known.contact);
    let heard = heard.filter_map(|contact| contact.heard_at);
    // What an earlier one of the name did says nothing of this one.
    let called_at = known.called_at.filter(|at| *at >= known.member.joined_at);
    let progress = known.runs.iter();
    let progress = progress.filter_map(|run| run.progress_at.or(run.started_at));
    Living {
        liveness,
        reason,
        seen_at: heard.chain(called_at).max(),
        progress_at: progress.max(),
    }
}

fn verdict(known: &Known<'_>, now: Time) -> (Liveness, String) {
    if let Some(why) = gone(known) {
        return (Liveness::Gone, why.into());
    }
    if let Some(why) = unreachable(known, now) {
        return (Liveness::Unreachable, why);
    }
    if let Plan::Submitted { request, .. } = &known.member.plan {
        let why = format!("waits for the lead to approve its plan, message {request}");
        return (Liveness::WaitingForApproval, why);
    }
    if let Some(question) = known.member.questions.first() {
        let why = format!("waits for the answer to message {}", question.message);
        return (Liveness::WaitingForAnswer, why);
    }
    // Of a worker, others may be at work.
    let is_hosted = known.member.kind == MemberKind::Hosted;
    if let Some(run) = known.runs.iter().find(|run| is_hosted && run.is_asking) {
        let why = format!("has asked at #{}, and waits for the answer", run.task);
        return (Liveness::WaitingForAnswer, why);
    }
    // A worker that gets on with anything is not stalled.
    let is_stalled = !known.runs.is_empty() && known.runs.iter().all(|run| run.is_stalled(now));
    let quiet = known.runs.iter().filter_map(Run::quiet_since).max();
    if let Some(since) = quiet.filter(|_| is_stalled) {
        let (tasks, span) = (
            listed(known.runs.iter().map(|run| run.task)),
            now.since(since),
        );
        let why = format!("no progress of {tasks} for {} s", span.as_secs());
        return (Liveness::Stalled, why);
    }
    match at_work(known) {
        Some(why) => (Liveness::Working, why),
        None => (Liveness::Idle, String::new()),
    }
}

fn gone(known: &Known<'_>) -> Option<&'static str> {
    if !known.member.is_present() {
        return Some("it left");
    }
    if !known.is_team_open {
        return Some("the team was dissolved");
    }
    let is_worker = known.member.kind == MemberKind::Worker;
    let is_there = known.contact.is_some() || !known.runs.is_empty();
    (is_worker && !is_there).then_some("its process is not connected")
}

fn unreachable(known: &Known<'_>, now: Time) -> Option<String> {
    let own = known.contact.filter(|_| known.runs.is_empty());
    let of_runs = known
        .runs
        .iter()
        .map(|run| (Some(&run.worker), run.contact));
    let mut contacts = own.map(|own| (None, Some(own))).into_iter().chain(of_runs);
    let is_reached = |contact: &Option<Contact>| contact.is_some_and(|c| c.is_reached);
    let (worker, contact) = contacts.find(|(_, contact)| !is_reached(contact))?;
    let who = worker.map_or("its process".into(), |worker| format!("worker {worker}"));
    let silence = match contact.and_then(|contact| contact.heard_at) {
        Some(heard) => format!("was last heard of {} s ago", now.since(heard).as_secs()),
        None => "was not heard of since the coordinator started".into(),
    };
    let lease = match contact.and_then(|contact| contact.lease_until) {
        Some(until) => format!("; its lease is over in {} s", until.since(now).as_secs()),
        None => String::new(),
    };
    Some(format!("{who} {silence}{lease}"))
}

fn at_work(known: &Known<'_>) -> Option<String> {
    let runs = |fits: fn(&&Run) -> bool| known.runs.iter().filter(fits).map(|run| run.task);
    let running = runs(|run| !run.is_stopping && run.started_at.is_some());
    let prepared = runs(|run| !run.is_stopping && run.started_at.is_none());
    let stopping = runs(|run| run.is_stopping);
    let parts = [
        ("holds", listed(known.holds.iter().copied())),
        ("runs", listed(running)),
        ("prepares", listed(prepared)),
        ("is being stopped at", listed(stopping)),
    ];
    let parts = parts.iter().filter(|(_, tasks)| !tasks.is_empty());
    let parts: Vec<String> = parts
        .map(|(does, tasks)| format!("{does} {tasks}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The first few of some tasks.
fn listed(tasks: impl Iterator<Item = TaskId>) -> String {
    const SHOWN_MAX: usize = 5;
    let mut tasks = tasks.map(|id| format!("#{id}"));
    let shown: Vec<String> = tasks.by_ref().take(SHOWN_MAX).collect();
    match tasks.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
