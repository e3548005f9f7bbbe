//! Scripts: a board is given by commands, then something is done, and the whole of what came of
//! it is compared, as lines that a person can read.
//!
//! Every step also checks what must hold after any step: the invariants, revisions without a gap,
//! a record for each task that an event names, and that a board loaded from what a store would
//! hold equals the live one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use board::{
    Board,
    command::{
        Answer, Call, Caller, CreateTeam, Effect, EndReport, FleetCommand, NewMember, NewTask,
        Update, Wish,
    },
    decide::{decide, decide_fleet, tick},
    decision::Decision,
    event::{Actor, Event, Happening},
    id::{
        AgentTypeName, AttemptNumber, Epoch, Fence, InstanceId, MemberName, TaskId, TaskKey,
        TeamName, TeamUid, WorkerName,
    },
    invariants,
    record::{OfferedType, Record},
    refusal::{Obstacle, Refusal},
    task::{AttemptEnding, Status, Task, Usage},
    team::MemberKind,
    time::Time,
};

pub const TEAM: TeamUid = TeamUid(1);
pub const LEAD: &str = "lead";

/// What a store holds: the latest record of each key.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    meta: Option<Record>,
    teams: BTreeMap<TeamUid, Record>,
    members: BTreeMap<(TeamUid, MemberName), Record>,
    pub tasks: BTreeMap<TaskKey, Arc<Task>>,
    offered: BTreeMap<AgentTypeName, Record>,
}

impl Shelf {
    pub fn keep(&mut self, record: &Record) {
        let copy = record.clone();
        match record {
            Record::Meta(_) => self.meta = Some(copy),
            Record::Team(team) => {
                self.teams.insert(team.uid, copy);
            }
            Record::Member(team, member) => {
                self.members.insert((*team, member.name.clone()), copy);
            }
            Record::Task(team, task) => {
                self.tasks.insert((*team, task.id), task.clone());
            }
            Record::Offered(offered) => {
                self.offered.insert(offered.name.clone(), copy);
            }
            Record::Stub(..) => panic!("no decision writes a stub"),
        }
    }

    /// What there is but tasks, in the order in which it is installed.
    pub fn heads(&self) -> impl Iterator<Item = &Record> {
        self.meta
            .iter()
            .chain(self.teams.values())
            .chain(self.members.values())
            .chain(self.offered.values())
    }

    /// The tasks' records; those that are over as stubs, where it is so wished.
    pub fn task_records(&self, as_stubs: bool) -> Vec<Record> {
        let record = |((team, _), task): (&TaskKey, &Arc<Task>)| match task.stub() {
            Some(stub) if as_stubs => Record::Stub(*team, stub),
            _ => Record::Task(*team, task.clone()),
        };
        self.tasks.iter().map(record).collect()
    }

    /// A board loaded from it, with its tasks in this order.
    pub fn load(&self, epoch: Epoch, tasks: &[Record]) -> Board {
        let mut board = Board::new(epoch);
        self.heads().chain(tasks).for_each(|r| board.install(r));
        board
    }
}

/// The board with everything that is over in outline only.
pub fn outlined(board: &Board) -> Board {
    let mut outlined = board.clone();
    for team in board.teams() {
        for (id, card) in board.cards_after(team.uid, TaskId(0)) {
            if card.status().is_terminal() {
                outlined.outline((team.uid, id));
            }
        }
    }
    outlined
}

/// A board on which things are done, and what was kept of them.
#[derive(Debug, Clone)]
pub struct Script {
    pub board: Board,
    pub shelf: Shelf,
    pub now: Time,
    pub spared: BTreeSet<InstanceId>,
    /// The invariants and the reload are checked after each step.
    pub is_checked: bool,
}

/// What came of a step that was not refused.
#[derive(Debug, Clone)]
pub struct Told {
    pub lines: Vec<String>,
    pub answer: Answer,
    pub decision: Decision,
}

pub type Step = Result<Told, Refusal>;

impl Script {
    /// A board on which nobody has done anything yet.
    pub fn empty() -> Self {
        Self {
            board: Board::new(Epoch(7)),
            shelf: Shelf::default(),
            now: Time(1_000_000),
            spared: BTreeSet::new(),
            is_checked: true,
        }
    }

    /// Team `t`, led by `lead`, with the agents `alice` and `bob` and the hosted members `hana`
    /// and `hugo` of type `coder`. On offer are `coder` and the command type `shell`.
    pub fn new() -> Self {
        let mut script = Self::empty();
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

    /// Whether a member's wish would be granted, on a board with everything in memory.
    pub fn would(&self, who: &str, wish: Wish) -> Result<(), Refusal> {
        granted(decide(&self.board, &call(who, wish), self.now))
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
        loop {
            match tick(&self.board, self.now, &self.spared) {
                Ok(decision) => return Some(self.take(decision?)),
                Err(key) => self.recall(key),
            }
        }
    }

    /// Lets time pass up to the next deadline, and tells what that brings.
    pub fn until_due(&mut self) -> Told {
        let due = self.board.next_deadline(&self.spared);
        self.now = self.now.max(due.expect("something is due"));
        self.tick().expect("what is due is done")
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
        self.by(who, Wish::ClaimTask(t(), TaskId(task), None))
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
            incarnation: None,
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
                let last = revisions.remove(&team.uid);
                assert_eq!(Some(team.revision.0), last, "a team counts its events");
            }
            Record::Task(team, task) => {
                written.insert((*team, task.id));
            }
            _ => {}
        }
    }
    assert!(revisions.is_empty(), "events without their team's record");
    for event in &decision.events {
        if let Some(task) = event.what.task() {
            assert!(written.contains(&(event.team, task)), "{event:?}");
        }
    }
}

/// A decision as lines: its events, its effects, and what it wrote that no event speaks of.
fn lines(decision: &Decision) -> Vec<String> {
    let mut lines: Vec<String> = decision.events.iter().map(event_line).collect();
    lines.extend(decision.effects.iter().map(effect_line));
    let spoken_of = |id: TaskId| decision.events.iter().any(|e| e.what.task() == Some(id));
    for record in &decision.records {
        match record {
            Record::Task(_, task) if !spoken_of(task.id) => {
                lines.push(format!("writes #{}", task.id));
            }
            Record::Offered(offered) => lines.push(format!("writes type {}", offered.name)),
            _ => {}
        }
    }
    lines
}

fn event_line(event: &Event) -> String {
    let actor = match &event.actor {
        Actor::Member(name) => name.to_string(),
        Actor::Worker(name) => format!("worker {name}"),
        Actor::Coordinator => "coordinator".into(),
    };
    let what = match &event.what {
        Happening::TeamCreated => "team created".into(),
        Happening::MemberJoined { member } => format!("{member} joined"),
        Happening::MemberLeft { member } => format!("{member} left"),
        Happening::TaskCreated { task, subject } => format!("#{task} created: {subject}"),
        Happening::TaskUpdated { task, fields } => {
            let names: Vec<&str> = fields.names().collect();
            format!("#{task} updated: {}", names.join(", "))
        }
        Happening::TaskClaimed { task, by, attempt } => {
            format!("#{task} claimed by {by} as attempt {attempt}")
        }
        Happening::TaskDispatched {
            task,
            attempt,
            worker,
        } => format!("#{task} dispatched to {worker} as attempt {attempt}"),
        Happening::TaskStarted { task, attempt } => format!("#{task} started attempt {attempt}"),
        Happening::TaskStopRequested {
            task,
            attempt,
            reason,
        } => format!("#{task} stop of attempt {attempt}: {reason}"),
        Happening::TaskRequeued {
            task,
            attempt,
            reason,
        } => format!("#{task} requeued after attempt {attempt}: {reason}"),
        Happening::TaskUnblocked { task } => format!("#{task} unblocked"),
        Happening::TaskEnded {
            task,
            attempt,
            from,
            to,
            message,
        } => {
            let attempt = attempt.map_or(String::new(), |a| format!(" in attempt {a}"));
            let message = if message.is_empty() {
                String::new()
            } else {
                format!(": {message}")
            };
            format!("#{task} {} → {}{attempt}{message}", from.word(), to.word())
        }
    };
    let cause = event
        .cause
        .map_or(String::new(), |id| format!(" (because of #{id})"));
    format!("{actor}: {what}{cause}")
}

fn effect_line(effect: &Effect) -> String {
    let at = |fence: &Fence| format!("#{}/{}", fence.task, fence.attempt);
    match effect {
        Effect::Assign(fence, worker, _) => format!("> assign {} to {worker}", at(fence)),
        Effect::Stop { fence, reason, .. } => format!("> stop {}: {reason}", at(fence)),
        Effect::CutOff(instance) => format!("> cut off {}", instance.0),
        Effect::TaskOver(key) => format!("> #{} is over", key.1),
    }
}

impl Told {
    /// Compares the whole outcome.
    #[track_caller]
    pub fn is(&self, expected: &[&str]) -> &Self {
        assert_eq!(self.lines, expected, "what came of it");
        self
    }

    #[track_caller]
    pub fn answers(&self, expected: &Answer) -> &Self {
        assert_eq!(self.answer, *expected, "the answer");
        self
    }
}

// What scripts are made of.

pub fn t() -> TeamName {
    TeamName::parse("t").unwrap()
}

pub fn name(name: &str) -> MemberName {
    MemberName::parse(name).unwrap()
}

pub fn worker_name(name: &str) -> WorkerName {
    WorkerName::parse(name).unwrap()
}

/// Each worker has one process: `w1` has the instance 1, and so on.
pub fn instance(worker: &str) -> InstanceId {
    let digits = worker.trim_start_matches(|c: char| !c.is_ascii_digit());
    InstanceId(digits.parse().unwrap())
}

pub fn agent_type(name: &str) -> AgentTypeName {
    AgentTypeName::parse(name).unwrap()
}

pub fn key(task: u64) -> TaskKey {
    (TEAM, TaskId(task))
}

pub fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<TaskId> {
    ids.into_iter().map(TaskId).collect()
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn fence(task: u64, attempt: u32) -> Fence {
    Fence {
        epoch: Epoch(7),
        team: TEAM,
        task: TaskId(task),
        attempt: AttemptNumber(attempt),
    }
}

pub fn offered(name: &str, runtime: &str) -> OfferedType {
    OfferedType {
        name: agent_type(name),
        description: "".into(),
        runtime: runtime.into(),
        digest: "d1".into(),
        last_seen: Some(Time(0)),
    }
}

pub fn team(name: &str) -> CreateTeam {
    CreateTeam {
        name: TeamName::parse(name).unwrap(),
        description: "".into(),
        lead: self::name(LEAD),
        lead_role: "".into(),
        members: vec![],
    }
}

/// A member; a hosted one is of type `coder`.
pub fn member(name: &str, kind: MemberKind) -> NewMember {
    NewMember {
        name: self::name(name),
        kind,
        role: "".into(),
        description: "".into(),
        instructions: "".into(),
        agent_type: (kind == MemberKind::Hosted).then(|| agent_type("coder")),
        model: "".into(),
    }
}

pub fn create(tasks: &[NewTask]) -> Wish {
    Wish::CreateTasks(t(), tasks.to_vec())
}

/// A card that waits for a claim.
pub fn card(subject: &str) -> NewTask {
    NewTask {
        subject: subject.into(),
        ..NewTask::default()
    }
}

/// Work for the type `coder`.
pub fn job(subject: &str) -> NewTask {
    NewTask {
        agent_type: Some(agent_type("coder")),
        ..card(subject)
    }
}

pub fn waits_for(blockers: impl IntoIterator<Item = u64>, task: NewTask) -> NewTask {
    NewTask {
        blocked_by: ids(blockers),
        ..task
    }
}

pub fn owned_by(owner: &str, task: NewTask) -> NewTask {
    NewTask {
        owner: Some(name(owner)),
        ..task
    }
}

pub fn to(status: Status) -> Update {
    Update {
        status: Some(status),
        ..Update::default()
    }
}

pub fn report(ending: AttemptEnding, result: &str, error: &str) -> EndReport {
    EndReport {
        ending,
        result: result.into(),
        error: error.into(),
        stop_reason: None,
        outputs: vec![],
        usage: Usage {
            wall_ms: 5,
            cpu_ms: 3,
            output_bytes: 2,
        },
    }
}

pub fn done(result: &str) -> EndReport {
    report(AttemptEnding::Completed, result, "")
}
