//! The engine: board, store and fleet, put through one group of inputs at a time.
//!
//! It is synchronous and is told the time, so that the driver can run it on a thread and a
//! simulation under a clock of its own. For each group: every input is decided and evolved in
//! memory, what time and free slots bring is added, all changes are committed in one write, and
//! only then [`Engine::commit`] lets answers, orders and events out. Reads are members of the
//! group like everything else: nobody is ever told of something that a crash could undo.

mod absence;
mod brought;
mod calls;
mod failure;
mod fleet;
mod hindrance;
mod lending;
mod liveness;
mod mail;
mod placing;
mod presence;
mod reader;
mod release;
mod scarcity;
mod start;
mod types;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use board::{
    Board,
    command::{Call, Effect, FleetCommand, Soft, TasksKept},
    decide,
    decision::Decision,
    id::{
        AgentTypeName, Digest, InstanceId, MemberKey, MemberName, MessageId, TaskId, TaskKey,
        TeamName, TeamUid,
    },
    mail::Letter,
    record::{Outcome, Record, RequestKey},
    refusal::{Obstacle, Refusal},
    stuck::Stuck,
    time::Time,
    view::TaskView,
};

use self::{
    absence::Absence, failure::Unread, hindrance::Situations, lending::Lending, presence::Presence,
    release::Release,
};
pub use self::{
    brought::BLOCKER_RESULT_LEN_MAX,
    calls::{CallReply, Refused, Told, ToldUpdate},
    fleet::{FleetInput, From, HelloReply, ReportReply},
    hindrance::Hindrance,
    lending::Waiting,
    liveness::{Liveness, Living},
    mail::{MailFilter, MailPage, MailReply, MailWanted},
    reader::{
        Explained, HeldView, ListFilter, MemberView, OfferedView, Page, Reader, StatusView,
        TaskPage, TeamPlace, TeamView, Wanted, Watched, WorkerView,
    },
    start::Setup,
};
use crate::{
    disk::{DiskGauge, DiskKeeper},
    fleet::Fleet,
    hub::{Hub, MailHub},
    store::{BackupSink, Batch, Store, StoreError},
};

/// How long, and how many, finished tasks stay in memory whole.
const FINISHED_KEPT_SPAN: Duration = Duration::from_secs(600);
const FINISHED_KEPT_MAX: usize = 10_000;

/// How long what is due waits after a record that it needs could not be read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Outlined per group, so that letting go never stalls one.
const OUTLINED_PER_GROUP: usize = 512;

/// What the engine is asked.
pub enum Input {
    /// Somebody calls.
    Call(Box<Call>, tokio::sync::oneshot::Sender<CallReply>),
    /// Somebody looks.
    Read(Box<dyn for<'e> FnOnce(&mut Reader<'e>) -> Answered + Send>),
    /// Somebody waits for a task to be over.
    Wait(
        TaskKey,
        tokio::sync::oneshot::Sender<Result<TaskView, Refusal>>,
    ),
    /// Somebody waits in vain for tasks: the lead is to hear of it.
    NoteStuck(TeamUid, Vec<Stuck>),
    /// Somebody wants their mail.
    Mail(Box<MailWanted>, tokio::sync::oneshot::Sender<MailReply>),
    /// The fleet brings something.
    Fleet(FleetInput),
    /// Somebody wants a backup.
    BackUp(Box<dyn BackupSink>),
}

/// A read's answer, kept until it may be told.
pub type Answered = Box<dyn FnOnce() + Send>;

/// Board, store and fleet.
pub struct Engine {
    board: Board,
    store: Box<dyn Store>,
    fleet: Fleet,
    hub: Hub,
    mail: MailHub,
    group: Group,
    /// Who waits for which task.
    waiting: BTreeMap<TaskKey, Vec<tokio::sync::oneshot::Sender<Result<TaskView, Refusal>>>>,
    /// Finished tasks that are in memory whole, and since when.
    finished: VecDeque<(Time, TaskKey)>,
    commits: u64,
    lending: Lending,
    presence: Presence,
    absence: Absence,
    situations: Situations,
    /// How long a team that is over is kept.
    tombstones_kept: Duration,
    /// How long finished tasks are kept.
    tasks_kept: TasksKept,
    /// How many left since the start because they were finished long ago.
    tasks_expired: u64,
    /// The artifacts that tasks name which were written since somebody wanted to know.
    artifacts_noted: Option<BTreeSet<Digest>>,
    disk: DiskGauge,
    /// Agent types that are expected, be they offered or not.
    expected_types: BTreeSet<AgentTypeName>,
    /// When it is looked next which types are still offered.
    types_at: Time,
    /// What measures the disk, where it is one.
    disk_keeper: Option<DiskKeeper>,
    /// The disk is full: nothing is decided that would have to be written.
    is_stalled: bool,
    /// Free slots and waiting tasks may have come together since placement looked last.
    may_place: bool,
    /// When they are looked at again although nothing is known to have changed; none while
    /// nothing waits.
    rescan_at: Option<Time>,
    /// When what is due on the board is tried again, after a record that it needs could not be
    /// read.
    tick_again_at: Option<Time>,
    /// Finished tasks that could not be read and whose ends bring something about, and when they
    /// are tried again. Nothing else waits for them.
    unread: BTreeSet<TaskKey>,
    read_again_at: Option<Time>,
    /// The moment of the last input.
    now: Time,
}

/// What one group of inputs has come to so far.
#[derive(Default)]
struct Group {
    records: BTreeMap<RecordKey, Record>,
    events: Vec<board::event::Event>,
    outcomes: BTreeMap<RequestKey, Outcome>,
    /// Copies of messages, and the mailboxes into which they go.
    mail: Vec<(MemberKey, Arc<Letter>)>,
    /// Mailboxes that are nobody's any more; without a name all of a team's.
    closed: Vec<(TeamUid, Option<MemberName>)>,
    releases: Vec<Release>,
}

/// What makes two records the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum RecordKey {
    Meta,
    Team(TeamUid),
    Member(TeamUid, MemberName),
    Task(TaskKey),
    Offered(AgentTypeName),
    Letter(TeamUid, MessageId),
    Post(TeamUid, MemberName, MessageId),
    TeamGone(TeamUid),
}

impl RecordKey {
    fn of(record: &Record) -> Self {
        match record {
            Record::Meta(_) => Self::Meta,
            Record::Team(team) => Self::Team(team.uid),
            Record::Member(team, member) => Self::Member(*team, member.name.clone()),
            Record::Task(team, task) => Self::Task((*team, task.id)),
            Record::TaskGone(team, task) => Self::Task((*team, *task)),
            Record::Stub(team, stub) => Self::Task((*team, stub.id)),
            Record::Offered(offered) => Self::Offered(offered.name.clone()),
            Record::OfferedGone(name) => Self::Offered(name.clone()),
            Record::Letter(team, letter) => Self::Letter(*team, letter.id),
            Record::LetterGone(team, id) => Self::Letter(*team, *id),
            Record::Post(team, member, id) | Record::PostGone(team, member, id) => {
                Self::Post(*team, member.clone(), *id)
            }
            Record::TeamGone(team) => Self::TeamGone(*team),
        }
    }
}

impl Engine {
    /// Takes one input. Its answer is kept until [`Engine::commit`].
    pub fn take(&mut self, input: Input, now: Time) {
        self.now = now;
        match input {
            Input::Call(call, reply) => self.call(&call, reply, now),
            Input::Read(read) => {
                let answered = read(&mut Reader::new(self, now));
                self.group.releases.push(Release::Read(answered));
            }
            Input::Wait(key, reply) => self.wait(key, reply),
            // Who waits notes it again at the next look.
            Input::NoteStuck(..) if self.is_stalled => {}
            Input::NoteStuck(team, stuck) => self.note_stuck(team, &stuck, now),
            Input::Mail(wanted, reply) => self.receive(&wanted, reply, now),
            Input::Fleet(input) => self.fleet_input(input, now),
            Input::BackUp(sink) => self.store.begin_backup(sink),
        }
    }

    /// Adds what time brings.
    pub fn elapse(&mut self, now: Time) {
        self.now = now;
        if self.is_stalled {
            // What is due happens when it can be kept.
            return;
        }
        if self.fleet.next_deadline().is_some_and(|at| at <= now) {
            // A worker that was silent may have been heard again: its slots are on offer, and
            // nothing else says so.
            self.may_place = true;
        }
        for (instance, reason) in self.fleet.expire(now) {
            self.lose_all(instance, reason, now);
        }
        self.see_to_absent(now);
        self.see_to_types(now);
        if self.read_again_at.take_if(|at| *at <= now).is_some() {
            self.unread.clear();
        }
        let spared = self.fleet.spared(now);
        let due = self.softly(&spared, |soft| self.board.next_deadline(soft));
        if due.is_none_or(|at| at > now) || self.tick_again_at.is_some_and(|at| at > now) {
            return;
        }
        self.tick_again_at = None;
        self.board.set_needed_aside(now, self.tasks_kept);
        loop {
            match self.softly(&spared, |soft| decide::tick(&self.board, now, soft)) {
                Ok(Some(decision)) => {
                    let is_gone = |record: &&Record| matches!(record, Record::TaskGone(..));
                    // Time takes no task off the board but those that were finished long ago.
                    let gone = decision.records.iter().filter(is_gone).count();
                    self.tasks_expired += gone as u64;
                    return self.take_in(decision, now);
                }
                Ok(None) => return,
                Err(absent) => {
                    // Tried again, but not in every group: each try is a line in the log.
                    let again_at = now + READ_AGAIN_AFTER;
                    if self.unread.contains(&absent) {
                        self.tick_again_at = Some(again_at);
                        return;
                    }
                    if self.recall(absent).is_err() {
                        self.unread.insert(absent);
                        self.read_again_at.get_or_insert(again_at);
                    }
                }
            }
        }
    }

    /// Writes what the group changed, in one commit, and lets out what waited for that. An error
    /// is final: memory has run ahead of the disk, and the process must end.
    pub fn commit(&mut self, now: Time) -> Result<(), StoreError> {
        let group = std::mem::take(&mut self.group);
        if !group.records.is_empty() || !group.outcomes.is_empty() {
            let batch = Batch {
                at: now,
                // In an order in which they can be installed: a team before what is its own.
                records: group.records.into_values().collect(),
                events: group.events,
                outcomes: group.outcomes.into_values().collect(),
            };
            self.store.commit(&batch)?;
            self.commits += 1;
            self.hub.publish(batch.events);
            self.mail.publish(group.mail);
            for (team, member) in group.closed {
                match member {
                    Some(member) => self.mail.close(&(team, member)),
                    None => self.mail.close_team(team),
                }
            }
        }
        for release in group.releases {
            release.let_out(&mut self.fleet, now);
        }
        self.let_go(now);
        Ok(())
    }

    /// Goes on with a backup by a step. Says whether there is more.
    pub fn back_up(&mut self) -> bool {
        self.store.back_up()
    }

    /// Removes a little of what need not be kept any more. Says whether there is more. An error is
    /// final.
    pub fn sweep(&mut self, now: Time) -> Result<bool, StoreError> {
        if self.is_stalled {
            return Ok(false);
        }
        match self.store.sweep(now) {
            // Nothing was written: what can't be read stays, and the process goes on.
            Err(failure @ (StoreError::Corrupt { .. } | StoreError::NewerFormat { .. })) => {
                tracing::error!(%failure, "what is past its retention can't be read");
                Ok(false)
            }
            swept => swept,
        }
    }

    /// The next moment at which [`Engine::elapse`] has something to do.
    pub fn next_deadline(&self, now: Time) -> Option<Time> {
        if self.is_stalled {
            return None;
        }
        let fleet = self.fleet.next_deadline();
        let spared = self.fleet.spared(now);
        let board = self.softly(&spared, |soft| self.board.next_deadline(soft));
        let board = board.map(|at| self.tick_again_at.map_or(at, |again| at.max(again)));
        let look = self.absence.next_look(&self.board);
        [
            fleet,
            board,
            look,
            self.next_look_at_types(),
            self.read_again_at,
            self.rescan_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Asks the board something that wants to know what lives in memory alone.
    fn softly<T>(&self, spared: &BTreeSet<InstanceId>, ask: impl FnOnce(&Soft<'_>) -> T) -> T {
        let seen = |team, member: &MemberName| Some(self.presence.seen(team, member));
        ask(&Soft {
            spared,
            came_back: self.fleet.came_back(),
            seen: &seen,
            tombstones_kept: self.tombstones_kept,
            tasks_kept: self.tasks_kept,
            unread: &self.unread,
        })
    }

    /// The coordinator was away for so long: leases are longer by that.
    pub fn forgive(&mut self, gap: Duration) {
        self.fleet.forgive(gap);
    }

    /// Tells all workers that the coordinator stops.
    pub fn farewell(&mut self, retry_after: Duration) {
        self.fleet.farewell(retry_after);
    }

    /// The board, to look at in tests.
    pub fn board(&self) -> &Board {
        &self.board
    }

    fn wait(
        &mut self,
        key: TaskKey,
        reply: tokio::sync::oneshot::Sender<Result<TaskView, Refusal>>,
    ) {
        // One that was deleted before the wait came would never end it.
        let is_open = self.board.card_of(key).is_some() && self.board.ended(key).is_none();
        if is_open {
            let waiting = self.waiting.entry(key).or_default();
            waiting.retain(|other| !other.is_closed());
            waiting.push(reply);
            return;
        }
        let view = self.view(key);
        self.group.releases.push(Release::Over(reply, view));
    }

    /// What is told of a task, be it in memory or not.
    fn view(&mut self, key: TaskKey) -> Result<TaskView, Refusal> {
        if let Some(board::board::Card::Outline(_)) = self.board.card_of(key) {
            self.recall(key)?;
        }
        let Some(mut view) = self.board.view(key) else {
            return Err(self.task_unknown(key));
        };
        self.add_queue_reason(key, &mut view);
        self.add_doing(key.0, &mut view);
        Ok(view)
    }

    /// Brings a finished task back into memory, of which that has an outline. Fails where it can't
    /// be read.
    fn recall(&mut self, key: TaskKey) -> Result<(), Refusal> {
        let unread = Unread::Task(key);
        let stored = self.store.task(key.0, key.1);
        let stored = stored.map_err(|failure| unread.because(&failure))?;
        // The board knows it: that it is not there is a failure, too.
        let task = stored.ok_or_else(|| unread.as_missing())?;
        self.board.recall(key.0, Arc::new(task));
        // It goes again with the next ones that are let go.
        self.finished.push_front((Time(0), key));
        Ok(())
    }

    fn task_unknown(&self, (team, task): TaskKey) -> Refusal {
        match self.board.team(team) {
            Some(head) => head.task_unknown(task),
            None => Refusal::TeamUnknown {
                team: team.to_string(),
            },
        }
    }

    /// Evolves the board, and adds the decision to the group.
    fn take_in(&mut self, decision: Decision, now: Time) {
        for record in decision.records {
            self.install(&record);
            match &record {
                Record::Task(team, task) if task.end().is_some() => {
                    self.finished.push_back((now, (*team, task.id)));
                }
                Record::Member(team, member) if !member.is_present() => {
                    self.presence.forget(&(*team, member.name.clone()));
                }
                Record::TeamGone(team) => self.presence.forget_team(*team),
                _ => {}
            }
            if let (Some(noted), Record::Task(_, task)) = (&mut self.artifacts_noted, &record) {
                let named = task.inputs.iter().chain(&task.outputs);
                noted.extend(named.map(|artifact| artifact.digest));
            }
            self.note_mail(&record);
            self.group.records.insert(RecordKey::of(&record), record);
        }
        self.group.events.extend(decision.events);
        if let Some(outcome) = decision.outcome {
            self.group.outcomes.insert(outcome.request.key, outcome);
        }
        self.may_place = true;
        for effect in decision.effects {
            self.effect(effect, now);
        }
    }

    fn effect(&mut self, effect: Effect, now: Time) {
        match effect {
            Effect::Assign(fence, _, instance) => {
                if let Some(assignment) = self.assignment(fence, now) {
                    let order = crate::fleet::Order::Assign(Box::new(assignment));
                    self.group.releases.push(Release::Order(instance, order));
                }
            }
            Effect::Stop {
                instance,
                fence,
                reason,
            } => {
                let order = crate::fleet::Order::Stop { fence, reason };
                self.group.releases.push(Release::Order(instance, order));
            }
            Effect::Tell {
                instance,
                fence,
                word,
            } => {
                let order = crate::fleet::Order::Tell { fence, word };
                self.group.releases.push(Release::Order(instance, order));
            }
            Effect::CutOff(instance) => {
                self.fleet.cut_off(instance, now);
                self.lose_all(instance, "its worker was cut off", now);
            }
            Effect::TaskOver(key) => {
                for reply in self.waiting.remove(&key).unwrap_or_default() {
                    let view = self.view(key);
                    self.group.releases.push(Release::Over(reply, view));
                }
            }
        }
    }

    /// Lets go of tasks that were finished a while ago.
    fn let_go(&mut self, now: Time) {
        for _ in 0..OUTLINED_PER_GROUP {
            let is_old = |(since, _): &(Time, TaskKey)| now.since(*since) > FINISHED_KEPT_SPAN;
            let is_crowded = self.finished.len() > FINISHED_KEPT_MAX;
            if !is_crowded && !self.finished.front().is_some_and(is_old) {
                return;
            }
            if let Some((_, key)) = self.finished.pop_front() {
                self.board.outline(key);
            }
        }
    }

    fn decide_fleet(&mut self, command: &FleetCommand, now: Time) -> Result<(), Refusal> {
        loop {
            match decide::decide_fleet(&self.board, command, now) {
                Ok(decision) => {
                    self.take_in(decision, now);
                    return Ok(());
                }
                Err(Obstacle::Refused(refusal)) => return Err(refusal),
                Err(Obstacle::Absent(key)) => self.recall(key)?,
            }
        }
    }

    fn lose_all(&mut self, instance: InstanceId, reason: &str, now: Time) {
        for fence in self.board.held_by(instance) {
            let key = (fence.team, fence.task);
            let lost = FleetCommand::Lost(key, fence.attempt, reason.into());
            // A refusal means that it is lost already.
            self.decide_fleet(&lost, now).ok();
        }
    }
}

pub use board::team::DEFAULT_TEAM;
/// The name of a lead that nobody named.
pub const DEFAULT_LEAD: &str = "team-lead";

/// The key of a task of a team that is known by name.
fn key_of(board: &Board, team: &TeamName, task: TaskId) -> Result<TaskKey, Refusal> {
    match board.team_named(team.as_str()) {
        Some(team) => Ok((team.uid, task)),
        None => Err(Refusal::TeamUnknown {
            team: team.to_string(),
        }),
    }
}
