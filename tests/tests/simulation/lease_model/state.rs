//! A state of the model: what each party knows, and what is on its way.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use board::{
    Board,
    command::{Call, Caller, CreateTeam, FleetCommand, NewTask, Wish},
    decide,
    decision::Decision,
    id::{
        AgentTypeName, AttemptNumber, Epoch, Fence, InstanceId, MemberName, TaskId, TaskKey,
        TeamName, TeamUid, WorkerName,
    },
    record::OfferedType,
    task::{AttemptEnding, Status},
    time::Time,
};
use ganger_worker::pure::Lease;

use super::Broken;

/// A tick of the model. What it lasts doesn't matter, as long as a lease is some of it.
pub const TICK: Duration = Duration::from_secs(5);
/// The last tick.
pub const LAST_TICK: u8 = 4;
/// Ticks of a lease, on both sides.
pub const LEASE: u8 = 2;
/// The worker to which everything happens. The other one is well: what is said between it and the
/// coordinator gets through at once, and it keeps its stream.
pub const FRAIL: usize = 0;
/// How often the frail worker dials.
pub const DIALS_MAX: u8 = 2;
/// Messages on their way at once.
pub const ON_THE_WAY_MAX: usize = 2;
/// Attempts of the task.
pub const ATTEMPTS_MAX: u32 = 2;

pub const KEY: TaskKey = (TeamUid(1), TaskId(1));
const EPOCH: Epoch = Epoch(1);

static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What is taken out of the model, to see that it is missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// A report is taken for one of the present attempt, whoever says it.
    Fencing,
    /// The worker's lease runs from when a heartbeat is sent.
    LeaseFromSending,
    /// A Hello that comes late is told from the last one.
    DialCount,
}

/// Something on its way, to or from one of the two workers. Streams are told apart by how often
/// their worker had dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    Hello {
        dial: u8,
        held: Option<u32>,
    },
    Welcome {
        dial: u8,
        keeps: bool,
    },
    Beat {
        dial: u8,
        sent: u8,
    },
    Ack {
        dial: u8,
        sent: u8,
    },
    Assignment {
        dial: u8,
        attempt: u32,
    },
    /// By whatever stream there is then: one that broke may have been the first to carry it.
    Ended {
        attempt: u32,
    },
    Answer {
        dial: u8,
        attempt: u32,
    },
}

/// Where an attempt stands at its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Waits for a valid lease.
    Ready,
    Running,
    /// Its end is not acknowledged.
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    pub lease: Lease,
    pub dials: u8,
    /// It has sent a heartbeat in this tick.
    pub has_beaten: bool,
    /// When it dialled last.
    pub dialled_at: u8,
    pub is_up: bool,
    pub holds: Option<(u32, Stage)>,
}

/// What the coordinator knows of a worker that is in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Known {
    pub dial: u8,
    pub heard: u8,
}

#[derive(Debug, Clone)]
pub struct State {
    pub without: Option<Without>,
    pub now: u8,
    pub board: Arc<Board>,
    pub known: [Option<Known>; 2],
    pub workers: [Worker; 2],
    pub on_the_way: BTreeSet<(usize, Message)>,
    pub accepted: u8,
}

/// What tells states apart. Of the board it has what fencing looks at: its times don't matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    now: u8,
    present: Option<(u32, InstanceId)>,
    attempts: Vec<(u32, bool)>,
    known: [Option<Known>; 2],
    workers: [Worker; 2],
    on_the_way: BTreeSet<(usize, Message)>,
    accepted: u8,
}

pub fn instant(tick: u8) -> Instant {
    *BEGINNING + TICK * u32::from(tick)
}

pub fn instance(worker: usize) -> InstanceId {
    InstanceId(worker as u128 + 1)
}

pub fn worker_name(worker: usize) -> WorkerName {
    WorkerName::parse(["a", "b"][worker]).unwrap()
}

pub fn fence(attempt: u32) -> Fence {
    Fence {
        epoch: EPOCH,
        team: KEY.0,
        task: KEY.1,
        attempt: AttemptNumber(attempt),
    }
}

impl State {
    /// One task that waits; the worker that is well was welcomed just now.
    pub fn new(without: Option<Without>) -> Self {
        let frail = Worker {
            lease: Lease::default(),
            dials: 0,
            has_beaten: false,
            dialled_at: 0,
            is_up: false,
            holds: None,
        };
        let mut well = Worker {
            dials: 1,
            is_up: true,
            ..frail.clone()
        };
        well.lease.begin(instant(0), TICK * u32::from(LEASE));
        let mut state = Self {
            without,
            now: 0,
            board: Arc::new(Board::new(EPOCH)),
            known: [None, Some(Known { dial: 1, heard: 0 })],
            workers: [frail, well],
            on_the_way: BTreeSet::new(),
            accepted: 0,
        };
        let agent_type = AgentTypeName::parse("general").unwrap();
        let offered = OfferedType {
            tasks_max: board::limits::ATTEMPT_TASKS,
            may_create_teams: false,
            prompt_is_script: false,
            name: agent_type.clone(),
            description: "".into(),
            runtime: "llm".into(),
            digest: "".into(),
            last_seen: None,
            is_interactive: false,
            hiring_depth: 0,
        };
        assert!(state.decide(&FleetCommand::OfferTypes(vec![offered])));
        let team = TeamName::parse("crew").unwrap();
        state.wish(Wish::CreateTeam(CreateTeam {
            name: team.clone(),
            description: "".into(),
            lead: MemberName::parse("lead").unwrap(),
            lead_role: "".into(),
            members: Vec::new(),
            verification_threshold: None,
            idle_notices: false,
            weight: None,
            max_running: 0,
        }));
        let task = NewTask {
            subject: "work".into(),
            agent_type: Some(agent_type),
            crash_limit: Some(100),
            ..NewTask::default()
        };
        state.wish(Wish::CreateTasks(team, vec![task]));
        state
    }

    pub fn key(&self) -> Key {
        let view = self.board.view(KEY).unwrap();
        let present = view.task.placement();
        let attempts = view.task.attempts.iter();
        let is_own = |ending| ending == AttemptEnding::Completed;
        Key {
            now: self.now,
            present: present.map(|placed| (placed.attempt.0, placed.instance)),
            attempts: attempts.map(|a| (a.number.0, is_own(a.ending))).collect(),
            known: self.known,
            workers: self.workers.clone(),
            on_the_way: self.on_the_way.clone(),
            accepted: self.accepted,
        }
    }

    pub fn is_without(&self, without: Without) -> bool {
        self.without == Some(without)
    }

    /// How many attempts there were.
    pub fn attempts(&self) -> u32 {
        self.board.view(KEY).unwrap().task.last_attempt.0
    }

    pub fn is_over(&self) -> bool {
        self.board.view(KEY).unwrap().task.status() == Status::Completed
    }

    pub fn has_given_up(&self) -> bool {
        let view = self.board.view(KEY).unwrap();
        let given_up = |ending| ending != AttemptEnding::Completed;
        view.task.attempts.iter().any(|a| given_up(a.ending))
    }

    /// What must not be in this state.
    pub fn broken(&self) -> Option<Broken> {
        let now = instant(self.now);
        let is_at_work = |worker: &Worker| {
            matches!(worker.holds, Some((_, Stage::Running))) && worker.lease.is_valid(now)
        };
        if self.workers.iter().all(is_at_work) {
            return Some(Broken::TwoAtWork);
        }
        (self.accepted > 1).then_some(Broken::TwoEnds)
    }

    /// Has the board decide. Says whether it took the command, and changed something by it.
    pub fn decide(&mut self, command: &FleetCommand) -> bool {
        match decide::decide_fleet(&self.board, command, self.time()) {
            Ok(decision) => self.install(decision),
            Err(_) => false,
        }
    }

    fn wish(&mut self, wish: Wish) {
        let call = Call {
            caller: Caller::default(),
            request: None,
            wish,
        };
        let decision = decide::decide(&self.board, &call, self.time()).unwrap();
        assert!(self.install(decision));
    }

    fn install(&mut self, decision: Decision) -> bool {
        let board = Arc::make_mut(&mut self.board);
        decision
            .records
            .iter()
            .for_each(|record| board.install(record));
        !decision.records.is_empty()
    }

    fn time(&self) -> Time {
        Time(1_000_000) + TICK * u32::from(self.now)
    }
}
