//! Scripts: a board is given by commands, then something is done, and the whole of what came of
//! it is compared, as lines that a person can read.
//!
//! Every step also checks what must hold after any step: the invariants, revisions without a gap,
//! a record for each task that an event names, and that a board loaded from what a store would
//! hold equals the live one.

mod lines;
mod shelf;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use board::{
    Board,
    board::Card,
    command::{
        Answer, Call, Caller, CreateTeam, EndReport, FleetCommand, NewLetter, NewTask, Soft,
        TasksKept, Update, Wish,
    },
    decide::{decide, decide_fleet, tick},
    decision::Decision,
    id::{Epoch, Fence, InstanceId, MemberKey, MemberName, MessageId, Revision, TaskId, TaskKey},
    invariants,
    limits::RunningLimits,
    mail::Letter,
    record::Record,
    refusal::{Obstacle, Refusal},
    task::{Status, Task},
    team::{Member, MemberKind},
    time::Time,
};

use lines::{lines, mail_lines};
pub use shelf::{Shelf, outlined};
pub use words::*;

/// How long the boards of scripts keep a team that is over.
pub const TOMBSTONES_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Finished tasks are kept for so long unless a script says otherwise: no script lasts so long.
const FOR_EVER: Duration = Duration::from_secs(1_000 * 365 * 24 * 3_600);

/// A board on which things are done, and what was kept of them.
#[derive(Debug, Clone)]
pub struct Script {
    pub board: Board,
    pub shelf: Shelf,
    pub now: Time,
    pub spared: BTreeSet<InstanceId>,
    /// Worker processes that came back after the coordinator started.
    pub came_back: BTreeMap<InstanceId, Time>,
    /// When members were last heard of.
    pub seen: BTreeMap<MemberKey, Time>,
    /// How long finished tasks are kept.
    pub tasks_kept: TasksKept,
    /// The invariants and the reload are checked after each step.
    pub is_checked: bool,
}

/// What came of a step that was not refused.
#[derive(Debug, Clone)]
pub struct Told {
    pub lines: Vec<String>,
    /// The messages that were sent, as lines.
    pub mail: Vec<String>,
    pub answer: Answer,
    pub decision: Decision,
}

pub type Step = Result<Told, Refusal>;

impl Script {
    /// A board on which nobody has done anything yet.
    pub fn empty() -> Self {
        Self::empty_within(RunningLimits::default())
    }

    fn empty_within(limits: RunningLimits) -> Self {
        let limits = Arc::new(limits);
        Self {
            board: Board::with_limits(Epoch(7), limits.clone()),
            shelf: Shelf::within(limits),
            now: Time(1_000_000),
            spared: BTreeSet::new(),
            came_back: BTreeMap::new(),
            seen: BTreeMap::new(),
            tasks_kept: TasksKept {
                count: usize::MAX,
                span: FOR_EVER,
            },
            is_checked: true,
        }
    }

    /// Team `t`, led by `lead`, with the agents `alice` and `bob` and the hosted members `hana`
    /// and `hugo` of type `coder`. On offer are `coder` and the command type `shell`.
    pub fn new() -> Self {
        Self::within(RunningLimits::default())
    }

    /// The same with bounds on how much runs.
    pub fn within(limits: RunningLimits) -> Self {
        let mut script = Self::empty_within(limits);
        script.fleet(FleetCommand::OfferTypes(vec![
            offered("coder", "llm"),
            offered("shell", "command"),
        ]));
        let team = CreateTeam {
            members: vec![
                member("alice", MemberKind::Agent),
                member("bob", MemberKind::Agent),
                member("hana", MemberKind::Hosted),
                member("hugo", MemberKind::Hosted),
            ],
            ..team("t")
        };
        script.by(LEAD, Wish::CreateTeam(team)).unwrap();
        script
    }

    /// The same with these tasks, put on by the lead.
    pub fn given(tasks: &[NewTask]) -> Self {
        let mut script = Self::new();
        script.by(LEAD, create(tasks)).unwrap();
        script
    }

    pub fn after(&mut self, span: Duration) -> &mut Self {
        self.now = self.now + span;
        self
    }

    /// What a member wishes.
    pub fn by(&mut self, who: &str, wish: Wish) -> Step {
        self.call(&call(who, wish))
    }

    /// What the sub-agent of a task wishes, whose attempt has this number.
    pub fn by_agent(&mut self, task: u64, attempt: u32, wish: Wish) -> Step {
        self.by_fence(fence(task, attempt), wish)
    }

    pub fn by_fence(&mut self, fence: Fence, wish: Wish) -> Step {
        self.call(&agent_call(fence, wish))
    }

    /// Whether a member's wish would be granted, on a board with everything in memory.
    pub fn would(&self, who: &str, wish: Wish) -> Result<(), Refusal> {
        granted(decide(&self.board, &call(who, wish), self.now))
    }

    /// What a member's wish would be answered.
    pub fn would_answer(&self, who: &str, wish: Wish) -> Answer {
        decide(&self.board, &call(who, wish), self.now)
            .unwrap()
            .answer
    }

    /// Whether what the fleet brings would be taken.
    pub fn would_bring(&self, command: &FleetCommand) -> Result<(), Refusal> {
        granted(decide_fleet(&self.board, command, self.now))
    }

    pub fn call(&mut self, call: &Call) -> Step {
        loop {
            match decide(&self.board, call, self.now) {
                Ok(decision) => return Ok(self.take(decision)),
                Err(Obstacle::Refused(refusal)) => return Err(refusal),
                Err(Obstacle::Absent(key)) => self.recall(key),
            }
        }
    }

    /// What the fleet brings, which is expected to be taken.
    pub fn fleet(&mut self, command: FleetCommand) -> Told {
        self.try_fleet(command).unwrap()
    }

    pub fn try_fleet(&mut self, command: FleetCommand) -> Step {
        loop {
            match decide_fleet(&self.board, &command, self.now) {
                Ok(decision) => return Ok(self.take(decision)),
                Err(Obstacle::Refused(refusal)) => return Err(refusal),
                Err(Obstacle::Absent(key)) => self.recall(key),
            }
        }
    }

    /// What time brings.
    pub fn tick(&mut self) -> Option<Told> {
        self.board.set_needed_aside(self.now, self.tasks_kept);
        loop {
            match self.softly(|soft| tick(&self.board, self.now, soft)) {
                Ok(decision) => return Some(self.take(decision?)),
                Err(key) => self.recall(key),
            }
        }
    }

    /// Lets time pass up to the next deadline, and tells what that brings.
    pub fn until_due(&mut self) -> Told {
        let due = self.next_deadline();
        self.now = self.now.max(due.expect("something is due"));
        self.tick().expect("what is due is done")
    }

    pub fn next_deadline(&self) -> Option<Time> {
        let next = self.softly(|soft| self.board.next_deadline(soft));
        next.filter(|at| *at < Time(0) + FOR_EVER)
    }

    fn softly<T>(&self, ask: impl FnOnce(&Soft<'_>) -> T) -> T {
        let seen = |team, member: &MemberName| self.seen.get(&(team, member.clone())).copied();
        ask(&Soft {
            spared: &self.spared,
            came_back: &self.came_back,
            seen: &seen,
            tombstones_kept: TOMBSTONES_KEPT,
            tasks_kept: self.tasks_kept,
            unread: &BTreeSet::new(),
        })
    }

    fn recall(&mut self, key: TaskKey) {
        let kept = self.shelf.tasks[&key].clone();
        self.board.recall(key.0, kept);
    }

    /// The board with everything that is over in memory whole.
    pub fn recalled(&self) -> Board {
        let mut board = self.board.clone();
        for ((team, _), task) in &self.shelf.tasks {
            if task.end().is_some() {
                board.recall(*team, task.clone());
            }
        }
        board
    }

    fn take(&mut self, decision: Decision) -> Told {
        check_decision(&self.board, &decision);
        for record in &decision.records {
            self.board.install(record);
            self.shelf.keep(record);
        }
        if self.is_checked {
            self.check();
        }
        Told {
            lines: lines(&decision),
            mail: mail_lines(&decision),
            answer: decision.answer.clone(),
            decision,
        }
    }

    /// What must hold after any step.
    pub fn check(&self) {
        invariants::check(&self.board).unwrap();
        let epoch = self.board.meta().epoch;
        let stubs = self.shelf.load(epoch, &self.shelf.task_records(true));
        assert_eq!(stubs, outlined(&self.board), "reload equals live");
    }

    // Short forms for what most scripts do.

    pub fn create(&mut self, who: &str, tasks: &[NewTask]) -> Step {
        self.by(who, create(tasks))
    }

    pub fn claim(&mut self, who: &str, task: u64) -> Step {
        self.by(who, Wish::ClaimTask(t(), TaskId(task), None, None))
    }

    pub fn cancel(&mut self, who: &str, task: u64, reason: &str) -> Step {
        self.by(who, Wish::CancelTask(t(), TaskId(task), reason.into()))
    }

    pub fn update(&mut self, who: &str, task: u64, update: Update) -> Step {
        self.by(who, Wish::UpdateTask(t(), TaskId(task), Box::new(update)))
    }

    pub fn set(&mut self, who: &str, task: u64, status: Status) -> Step {
        self.update(who, task, to(status))
    }

    pub fn dispatch(&mut self, task: u64, worker: &str) -> Told {
        self.try_dispatch(task, worker).unwrap()
    }

    pub fn try_dispatch(&mut self, task: u64, worker: &str) -> Step {
        let key = (TEAM, TaskId(task));
        let command = FleetCommand::Dispatch(key, worker_name(worker), instance(worker));
        self.try_fleet(command)
    }

    /// Makes a worker a member of the team.
    pub fn join(&mut self, worker: &str) -> Told {
        self.fleet(FleetCommand::JoinWorker(TEAM, worker_name(worker)))
    }

    /// A report that the task's running attempt began.
    pub fn start(&mut self, task: u64, run_limit: Option<Duration>) -> Told {
        let (fence, instance) = self.running(task);
        self.fleet(FleetCommand::Started {
            fence,
            instance,
            run_limit,
        })
    }

    /// A report that the task's running attempt ended.
    pub fn end(&mut self, task: u64, report: EndReport) -> Told {
        let (fence, instance) = self.running(task);
        self.fleet(FleetCommand::Ended {
            fence,
            instance,
            report,
        })
    }

    /// A refusal of the task's running attempt.
    pub fn hand_back(&mut self, task: u64, reason: &str) -> Told {
        let (fence, instance) = self.running(task);
        self.fleet(FleetCommand::Refused {
            fence,
            instance,
            reason: reason.into(),
        })
    }

    /// The loss of the task's running attempt.
    pub fn lose(&mut self, task: u64) -> Told {
        let (fence, _) = self.running(task);
        let key = (fence.team, fence.task);
        self.fleet(FleetCommand::Lost(key, fence.attempt, "gone".into()))
    }

    pub fn send(&mut self, who: &str, letter: NewLetter) -> Step {
        self.by(who, send(letter))
    }

    /// Takes everything out of a member's mailbox.
    pub fn read(&mut self, who: &str) -> &mut Self {
        self.by(who, ack(Some(u64::MAX), &[])).unwrap();
        self
    }

    /// What waits in a member's mailbox, oldest first, as lines: id, what it is, summary.
    pub fn mailbox(&self, who: &str) -> Vec<String> {
        let mailbox = self.board.mailbox(TEAM, &name(who)).into_iter();
        let ids = mailbox.flat_map(|mailbox| mailbox.after(MessageId(0)));
        let line = |(id, _): (MessageId, _)| {
            let letter = self.letter(id.0);
            format!("{id} {:?}: {}", letter.kind, letter.summary)
        };
        ids.map(line).collect()
    }

    pub fn letter(&self, id: u64) -> Arc<Letter> {
        self.shelf.letter(TEAM, MessageId(id))
    }

    pub fn member(&self, who: &str) -> &Member {
        let mut members = self.board.members_ever(TEAM);
        members.find(|member| member.name == name(who)).unwrap()
    }

    pub fn running(&self, task: u64) -> (Fence, InstanceId) {
        let key = (TEAM, TaskId(task));
        let fence = self.board.fence(key).expect("a worker has it");
        let task = self.task(task);
        (fence, task.placement().unwrap().instance)
    }

    pub fn task(&self, task: u64) -> Arc<Task> {
        self.shelf.tasks[&(TEAM, TaskId(task))].clone()
    }

    /// The board lines of all tasks of the team.
    pub fn lines(&self) -> Vec<String> {
        let keys = self.shelf.tasks.iter().filter(|(key, _)| key.0 == TEAM);
        let view = |(_, task): (&TaskKey, &Arc<Task>)| self.board.view_of(TEAM, task.clone());
        keys.filter_map(view).map(|view| view.line()).collect()
    }

    /// Whether a task waits for a worker.
    pub fn queued_is(&self, task: u64) -> bool {
        let view = self.board.view(key(task)).unwrap();
        view.phase == Some(board::view::Phase::Queued)
    }

    /// The ids of the tasks that wait for a worker.
    pub fn queued(&self) -> Vec<u64> {
        let ids = self.shelf.tasks.keys().filter(|key| key.0 == TEAM);
        let is_queued = |key: &&TaskKey| {
            let view = self.board.view(**key);
            view.is_some_and(|v| v.phase == Some(board::view::Phase::Queued))
        };
        ids.filter(is_queued).map(|key| key.1.0).collect()
    }
}

fn call(who: &str, wish: Wish) -> Call {
    Call {
        caller: Caller {
            member: Some(name(who)),
            ..Caller::default()
        },
        request: None,
        wish,
    }
}

fn agent_call(fence: Fence, wish: Wish) -> Call {
    Call {
        caller: Caller {
            attempt: Some(fence),
            ..Caller::default()
        },
        request: None,
        wish,
    }
}

fn granted(decided: Result<Decision, Obstacle>) -> Result<(), Refusal> {
    match decided {
        Ok(_) => Ok(()),
        Err(Obstacle::Refused(refusal)) => Err(refusal),
        Err(Obstacle::Absent(key)) => panic!("{key:?} is not in memory"),
    }
}

/// The revision of the last event of a task; 0 where there is none.
fn revision_of(board: &Board, key: TaskKey) -> Revision {
    match board.card_of(key) {
        Some(Card::Whole(task)) => task.revision,
        Some(Card::Outline(stub)) => stub.revision,
        None => Revision(0),
    }
}

/// What must be so in every decision.
fn check_decision(board: &Board, decision: &Decision) {
    let mut revisions = BTreeMap::new();
    for event in &decision.events {
        let before = board.team(event.team).map_or(0, |team| team.revision.0);
        let last = revisions.entry(event.team).or_insert(before);
        assert_eq!(event.revision.0, *last + 1, "revisions have no gap");
        *last += 1;
    }
    let mut written = BTreeSet::new();
    for record in &decision.records {
        match record {
            Record::Team(team) => {
                let before = board.team(team.uid).map(|team| team.revision.0);
                let last = revisions.remove(&team.uid).or(before);
                assert_eq!(Some(team.revision.0), last, "a team counts its events");
            }
            Record::Task(team, task) => {
                written.insert((*team, task.id));
            }
            Record::TaskGone(team, task) => {
                written.insert((*team, *task));
            }
            _ => {}
        }
    }
    assert!(revisions.is_empty(), "events without their team's record");
    let mut last = BTreeMap::new();
    for event in &decision.events {
        let before = event.what.task().map_or(Revision(0), |task| {
            let key = (event.team, task);
            last.insert(key, event.revision)
                .unwrap_or_else(|| revision_of(board, key))
        });
        assert_eq!(
            event.previous, before,
            "each names the one before: {event:?}"
        );
    }
    for event in &decision.events {
        if let Some(task) = event.what.task() {
            assert!(written.contains(&(event.team, task)), "{event:?}");
        }
    }
}

impl Told {
    /// Compares the whole outcome.
    #[track_caller]
    pub fn is(&self, expected: &[&str]) -> &Self {
        assert_eq!(self.lines, expected, "what came of it");
        self
    }

    /// Compares the messages that were sent.
    #[track_caller]
    pub fn mails(&self, expected: &[&str]) -> &Self {
        assert_eq!(self.mail, expected, "the mail");
        self
    }

    #[track_caller]
    pub fn answers(&self, expected: &Answer) -> &Self {
        assert_eq!(self.answer, *expected, "the answer");
        self
    }
}
