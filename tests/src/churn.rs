//! A board on which tasks are made and finished for ever (K15).
//!
//! It drives the engine on a store on the disk as the driver does, without a network: what is
//! measured is how board, memory and files grow. Of each thousand tasks the last waits for the
//! first and stays open for a while, so that there always are finished tasks that an open one needs.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use board::{
    board::Card,
    command::{Call, Caller, NewTask, TasksKept, Update, Wish},
    id::{Epoch, TaskId, TeamName, TeamUid},
    limits::RunningLimits,
    task::Status,
    time::Time,
};
use ganger_coordinator::{
    engine::{DEFAULT_TEAM, Engine, Input, Setup},
    fleet::Leases,
    hub::Hub,
    store::{Options, Retention, SledStore},
};
use tokio::sync::oneshot;

/// Tasks that are made by one call.
const MADE_AT_ONCE: usize = 1_000;
/// Tasks that are finished by one commit.
const FINISHED_AT_ONCE: usize = 250;
/// How many thousands later a task is finished that stays open.
const OPEN_FOR: usize = 10;
/// The default team's.
const TEAM: TeamUid = TeamUid(1);

/// What is done, and what is kept of it.
#[derive(Debug, Clone)]
pub struct Churn {
    /// Where the board lies. One that is there already is gone on with.
    pub dir: PathBuf,
    /// How many finished tasks are kept.
    pub kept: usize,
}

/// How large everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Tasks ever made.
    pub made: u64,
    /// Finished tasks on the board.
    pub finished: usize,
    /// Bytes of the database's files.
    pub disk: u64,
    /// Bytes of memory that this process has.
    pub memory: u64,
}

/// A board that is at work.
pub struct Running {
    engine: Engine,
    churn: Churn,
    now: Time,
    /// Tasks that stay open for a while, oldest first.
    open: VecDeque<TaskId>,
}

impl Churn {
    /// Opens the board, and finishes what is open.
    pub fn start(&self) -> anyhow::Result<Running> {
        let options = Options {
            retention: Retention {
                count: self.kept as u64,
                ..Retention::default()
            },
            ..Options::default()
        };
        std::fs::create_dir_all(&self.dir)?;
        let setup = Setup {
            store: Box::new(SledStore::open(&self.dir.join("board"), options)?),
            hub: Hub::default(),
            new_epoch: Epoch(1),
            leases: Leases::default(),
            expected_types: Vec::new(),
            tombstones_kept: Duration::from_secs(3_600),
            tasks_kept: TasksKept {
                count: self.kept,
                ..TasksKept::default()
            },
            limits: RunningLimits::default(),
        };
        let mut now = Time(1_700_000_000_000);
        let engine = Engine::start(setup, |floor| {
            now = now.max(floor);
            now
        })?;
        Ok(Running {
            engine,
            churn: self.clone(),
            now,
            open: VecDeque::new(),
        })
    }
}

impl Running {
    /// Makes and finishes tasks until so many were ever made. Tells the last one that is durably
    /// finished, again and again.
    pub fn run(&mut self, tasks: u64, told: &mut dyn FnMut(TaskId)) -> anyhow::Result<()> {
        let left: Vec<TaskId> = self.open_tasks().collect();
        self.finish(&left, told)?;
        while self.made() < tasks {
            let first = self.made() + 1;
            let mut many = vec![task(); MADE_AT_ONCE];
            many[MADE_AT_ONCE - 1].blocked_by_items = vec![0];
            self.engine
                .take(call(Wish::CreateTasks(team(), many)), self.now);
            self.commit()?;
            let last = self.made();
            ensure!(
                last + 1 - first == MADE_AT_ONCE as u64,
                "no tasks were made"
            );
            self.open.push_back(TaskId(last));
            let mut ended: Vec<TaskId> = (first..last).map(TaskId).collect();
            if self.open.len() > OPEN_FOR {
                ended.extend(self.open.pop_front());
            }
            self.finish(&ended, told)?;
            self.engine.sweep(self.now)?;
        }
        Ok(())
    }

    /// Lets everything happen that is due.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        while self.is_due() {
            self.commit()?;
        }
        while self.engine.sweep(self.now)? {}
        Ok(())
    }

    /// How large everything is.
    pub fn size(&self) -> anyhow::Result<Size> {
        let counts = self.engine.board().counts(TEAM);
        Ok(Size {
            made: self.made(),
            finished: counts.completed + counts.failed + counts.cancelled,
            disk: dir_bytes(&self.churn.dir)?,
            memory: memory()?,
        })
    }

    /// Looks that everything is there that must be, given the last task that was told to be
    /// finished, and that the board is sound.
    pub fn check(&self, told: TaskId) -> anyhow::Result<()> {
        let board = self.engine.board();
        board::invariants::check(board)?;
        ensure!(
            self.made() >= told.0,
            "#{told} is finished, and was never made"
        );
        // Those that stayed open for a while ended late, and count among the newest.
        let newest = self.churn.kept.saturating_sub(2 * OPEN_FOR) as u64;
        for id in told.0.saturating_sub(newest).max(1)..=told.0 {
            let card = board.card_of((TEAM, TaskId(id)));
            ensure!(card.is_some(), "#{id} is lost: it was among the newest");
        }
        for id in self.open_tasks() {
            let view = board.view((TEAM, id)).context("an open task is whole")?;
            for blocker in &view.task.blocked_by {
                let is_there = board.card_of((TEAM, *blocker)).is_some();
                ensure!(is_there, "#{blocker} is lost: #{id} depends on it");
            }
        }
        Ok(())
    }

    fn made(&self) -> u64 {
        let team = self.engine.board().team(TEAM);
        team.map_or(0, |team| team.last_task.0)
    }

    fn open_tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        let cards = self.engine.board().cards_after(TEAM, TaskId(0));
        let is_open = |card: &Card| !card.status().is_terminal();
        cards
            .filter(move |(_, card)| is_open(card))
            .map(|(id, _)| id)
    }

    fn finish(&mut self, tasks: &[TaskId], told: &mut dyn FnMut(TaskId)) -> anyhow::Result<()> {
        for some in tasks.chunks(FINISHED_AT_ONCE) {
            for id in some {
                let update = Update {
                    status: Some(Status::Completed),
                    result: Some("done, as was asked".into()),
                    ..Update::default()
                };
                let wish = Wish::UpdateTask(team(), *id, Box::new(update));
                self.engine.take(call(wish), self.now);
            }
            self.commit()?;
            while self.is_due() {
                self.commit()?;
            }
            if let Some(last) = some.iter().max() {
                told(*last);
            }
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        let next = self.engine.next_deadline(self.now);
        next.is_some_and(|at| at <= self.now)
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        self.now.0 += 1;
        self.engine.elapse(self.now);
        self.engine.commit(self.now)?;
        Ok(())
    }
}

fn team() -> TeamName {
    TeamName::parse(DEFAULT_TEAM).expect("a name by itself")
}

fn task() -> NewTask {
    NewTask {
        subject: "Create migration script".into(),
        description: "Write the SQL to alter the users table, and its way back.".into(),
        ..NewTask::default()
    }
}

fn call(wish: Wish) -> Input {
    let call = Call {
        caller: Caller::default(),
        request: None,
        wish,
    };
    let (reply, _) = oneshot::channel();
    Input::Call(Box::new(call), reply)
}

/// Bytes of all files below a directory.
pub fn dir_bytes(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => dir_bytes(&entry.path())?,
            Ok(metadata) => metadata.len(),
            // It was removed meanwhile.
            Err(_) => 0,
        };
    }
    Ok(bytes)
}

/// Bytes of memory that this process has.
pub fn memory() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kib.parse::<u64>()? * 1_024)
}
