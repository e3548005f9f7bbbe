//! `place`: rounds of placement on a large board, alone and with what they change.

use std::time::{Duration, Instant};

use ::board::{
    Board,
    command::{Call, Caller, CreateTeam, EndReport, FleetCommand, NewTask, TeamChanges, Wish},
    decide::{decide, decide_fleet},
    decision::Decision,
    id::{AgentTypeName, Epoch, Fence, InstanceId, MemberName, TaskKey, TeamName, WorkerName},
    limits::RunningLimits,
    placement::{Assignment, Moment, Offer, Slots, place},
    record::OfferedType,
    task::{AttemptEnding, Usage},
    time::Time,
};
use anyhow::Context;

use crate::figures::{Times, line, millis};

/// What a round gives out at the most, as in the coordinator.
const ROUND: usize = 128;
const TEAMS: u32 = 10;
const TYPES: [&str; 4] = ["coder", "reviewer", "tester", "writer"];
const ZONES: [&str; 5] = ["north", "east", "south", "west", "centre"];
/// Tasks of one call.
const BATCH: usize = 1_000;
/// Slots of each worker.
const SLOTS: u32 = 8;
/// How often each change is made, and met by a round.
const TURNS: usize = 200;

const NOW: Time = Time(1_700_000_000_000);

/// Ten times the board and the fleet must not make a round ten times as long.
pub fn rounds() -> anyhow::Result<()> {
    println!("place: rounds of placement, {TEAMS} teams by weight, labels, bounds and windows");
    for (queued, workers) in [(10_000, 100), (100_000, 1_000)] {
        World::new(queued, workers)?.measure(queued, workers)?;
    }
    Ok(())
}

struct World {
    board: Board,
    slots: Slots,
    /// What runs, and where.
    running: Vec<(TaskKey, WorkerName, InstanceId)>,
}

impl World {
    fn new(queued: usize, workers: u32) -> anyhow::Result<Self> {
        let limits = RunningLimits {
            agent_types: [(AgentTypeName::parse("writer")?, workers)].into(),
            labels: [("model:large".into(), workers)].into(),
        };
        let mut world = Self {
            board: Board::with_limits(Epoch(1), limits.into()),
            slots: Slots::default(),
            running: Vec::new(),
        };
        let types = TYPES.iter().map(|name| offered(name));
        let types = types.collect::<anyhow::Result<_>>()?;
        world.bring(&FleetCommand::OfferTypes(types))?;
        for at in 1..=TEAMS {
            let team = CreateTeam {
                name: team_name(at)?,
                description: "".into(),
                lead: MemberName::parse("lead")?,
                lead_role: "".into(),
                members: Vec::new(),
                verification_threshold: None,
                idle_notices: false,
                weight: Some(at),
                max_running: 0,
            };
            world.wish(Wish::CreateTeam(team))?;
            // The parent of the fan-outs, with a window.
            let parent = NewTask {
                subject: "all of it".into(),
                window: workers / 2,
                ..NewTask::default()
            };
            world.wish(Wish::CreateTasks(team_name(at)?, vec![parent]))?;
        }
        for batch in 0..queued / BATCH {
            let team = u32::try_from(batch)? % TEAMS + 1;
            let tasks = (0..BATCH).map(task).collect::<anyhow::Result<_>>()?;
            world.wish(Wish::CreateTasks(team_name(team)?, tasks))?;
        }
        for at in 0..workers {
            world.slots.put(offer(at)?);
        }
        Ok(world)
    }

    fn measure(&mut self, queued: usize, workers: u32) -> anyhow::Result<()> {
        println!("  {queued} queued, {workers} workers");
        let began = Instant::now();
        let anew = Slots::of(self.slots.offers().cloned());
        line("    all offers, made anew", millis(began.elapsed()), "");
        anyhow::ensure!(anew == self.slots);

        let (time, given) = self.round();
        anyhow::ensure!(given.len() == ROUND);
        line("    first full round", millis(time), "goal: < 10 ms");
        let began = Instant::now();
        self.dispatch(given)?;
        line(
            "    what it gives out, decided",
            millis(began.elapsed()),
            "",
        );
        while let (_, given) = self.round()
            && !given.is_empty()
        {
            self.dispatch(given)?;
        }
        let what = format!("    nothing is free, {} run", self.running.len());
        self.many(&what, |_, _| Ok(()), 0)?;
        self.many("    one slot got free", Self::end_one, 1)?;
        let before = self.running.len();
        self.many("    one worker joined", Self::join, SLOTS as usize)?;
        anyhow::ensure!(self.running.len() > before);
        // They were never given back, so that whatever is bounded is full by now.
        self.change_bounds()?;
        self.many("    one slot got free, teams at bounds", Self::end_one, 1)
    }

    /// Lets something happen many times, each met by a round that gives out so much at the most.
    fn many(
        &mut self,
        what: &str,
        happens: fn(&mut Self, usize) -> anyhow::Result<()>,
        most: usize,
    ) -> anyhow::Result<()> {
        let mut times = Times::default();
        for turn in 0..TURNS {
            happens(self, turn)?;
            let (time, given) = self.round();
            anyhow::ensure!(given.len() <= most, "{what}: {} were given", given.len());
            self.dispatch(given)?;
            times.add(time);
        }
        line(what, times.told(), "");
        Ok(())
    }

    fn round(&mut self) -> (Duration, Vec<Assignment>) {
        let moment = Moment {
            now: NOW,
            is_heard: &|_| true,
        };
        let began = Instant::now();
        let given = place(&self.board, &mut self.slots, moment, ROUND);
        (began.elapsed(), given)
    }

    fn dispatch(&mut self, given: Vec<Assignment>) -> anyhow::Result<()> {
        for one in given {
            let command = FleetCommand::Dispatch(one.task, one.worker.clone(), one.instance);
            self.bring(&command)?;
            self.running.push((one.task, one.worker, one.instance));
        }
        Ok(())
    }

    /// An attempt ends, and its slot is free.
    fn end_one(&mut self, turn: usize) -> anyhow::Result<()> {
        let at = turn * 7_919 % self.running.len();
        let (task, worker, instance) = self.running.swap_remove(at);
        let fence: Fence = self.board.fence(task).context("it runs")?;
        let report = EndReport {
            ending: AttemptEnding::Completed,
            result: "done".into(),
            error: "".into(),
            stop_reason: None,
            usage: Usage::default(),
            outputs: Vec::new(),
        };
        self.bring(&FleetCommand::Ended {
            fence,
            instance,
            report,
        })?;
        let free = self.slots.offer(&worker).context("it is there")?.free;
        self.slots.set_free(&worker, free + 1);
        Ok(())
    }

    fn join(&mut self, turn: usize) -> anyhow::Result<()> {
        self.slots.put(offer(u32::try_from(1_000_000 + turn)?)?);
        Ok(())
    }

    /// All teams but one run as much as they may.
    fn change_bounds(&mut self) -> anyhow::Result<()> {
        for at in 2..=TEAMS {
            let changes = TeamChanges {
                max_running: Some(1),
                ..TeamChanges::default()
            };
            self.wish(Wish::UpdateTeam(team_name(at)?, changes))?;
        }
        Ok(())
    }

    fn wish(&mut self, wish: Wish) -> anyhow::Result<()> {
        let call = Call {
            caller: Caller::default(),
            request: None,
            wish,
        };
        let decided = decide(&self.board, &call, NOW);
        self.take_in(decided.map_err(|obstacle| anyhow::anyhow!("{obstacle:?}"))?);
        Ok(())
    }

    fn bring(&mut self, command: &FleetCommand) -> anyhow::Result<()> {
        let decided = decide_fleet(&self.board, command, NOW);
        self.take_in(decided.map_err(|obstacle| anyhow::anyhow!("{obstacle:?}"))?);
        Ok(())
    }

    fn take_in(&mut self, decision: Decision) {
        for record in &decision.records {
            self.board.install(record);
        }
    }
}

fn team_name(at: u32) -> anyhow::Result<TeamName> {
    Ok(TeamName::parse(&format!("team-{at}"))?)
}

fn offered(name: &str) -> anyhow::Result<OfferedType> {
    Ok(OfferedType {
        name: AgentTypeName::parse(name)?,
        description: "".into(),
        runtime: "llm".into(),
        digest: "".into(),
        is_interactive: false,
        hiring_depth: 0,
        tasks_max: board::limits::ATTEMPT_TASKS,
        may_create_teams: false,
        prompt_is_script: false,
        last_seen: Some(NOW),
    })
}

/// One in three is part of a fan-out, one in five wants a zone, one in seven has a bounded label.
fn task(at: usize) -> anyhow::Result<NewTask> {
    let zone = ZONES[at / 5 % ZONES.len()];
    let zone = at.is_multiple_of(5).then(|| ("zone".into(), zone.into()));
    let label = at.is_multiple_of(7).then(|| "model:large".into());
    Ok(NewTask {
        subject: "Create migration script".into(),
        agent_type: Some(AgentTypeName::parse(TYPES[at % TYPES.len()])?),
        parent: at.is_multiple_of(3).then_some(::board::id::TaskId(1)),
        worker_labels: zone.into_iter().collect(),
        labels: label.into_iter().collect(),
        ..NewTask::default()
    })
}

fn offer(at: u32) -> anyhow::Result<Offer> {
    let types = TYPES.iter().map(|name| AgentTypeName::parse(name));
    let zone = ZONES[at as usize % ZONES.len()];
    Ok(Offer {
        worker: WorkerName::parse(&format!("worker-{at}"))?,
        instance: InstanceId(at.into()),
        slots: SLOTS,
        free: SLOTS,
        types: types.collect::<Result<_, _>>()?,
        teams: None,
        labels: [("zone".into(), zone.into())].into(),
    })
}
