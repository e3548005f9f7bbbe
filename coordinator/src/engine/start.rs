//! Making an engine: the board is loaded, and what a new one must have is made.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use board::{
    Board,
    command::{Call, Caller, CreateTeam, FleetCommand, TasksKept, Wish},
    decide,
    id::{AgentTypeName, Epoch, MemberName, TeamName},
    limits::RunningLimits,
    record::{OfferedType, Record},
    time::Time,
};

use super::{
    DEFAULT_LEAD, DEFAULT_TEAM, Engine, Group, RecordKey, absence::Absence, hindrance::Situations,
    lending::Lending, presence::Presence,
};
use crate::{
    disk::DiskGauge,
    fleet::{Fleet, Leases},
    hub::{Hub, MailHub},
    store::{Store, StoreError},
};

/// What an engine is made with.
pub struct Setup {
    /// Where the board is kept.
    pub store: Box<dyn Store>,
    /// Where events go that are durable.
    pub hub: Hub,
    /// The epoch that a new board gets.
    pub new_epoch: Epoch,
    /// The spans by which workers are judged.
    pub leases: Leases,
    /// Agent types that are declared before any worker offers them.
    pub expected_types: Vec<AgentTypeName>,
    /// How long a team that is over is kept.
    pub tombstones_kept: Duration,
    /// How long finished tasks are kept.
    pub tasks_kept: TasksKept,
    /// How many tasks workers run at once at the most.
    pub limits: RunningLimits,
}

impl Engine {
    /// Loads the board, and makes what a new one must have. `now` turns the time of the last
    /// commit into the present moment.
    pub fn start(mut setup: Setup, now: impl FnOnce(Time) -> Time) -> Result<Self, StoreError> {
        let mut board = Board::with_limits(setup.new_epoch, Arc::new(setup.limits));
        let opened = setup.store.load(&mut |record| board.install(&record))?;
        let now = now(opened.time);
        let fleet = Fleet::new(setup.leases, &board, now);
        let mut engine = Self {
            board,
            store: setup.store,
            fleet,
            hub: setup.hub,
            mail: MailHub::default(),
            group: Group::default(),
            waiting: BTreeMap::new(),
            finished: VecDeque::new(),
            commits: opened.commit,
            lending: Lending::default(),
            presence: Presence::new(now),
            absence: Absence::new(now),
            situations: Situations::default(),
            tombstones_kept: setup.tombstones_kept,
            tasks_kept: setup.tasks_kept,
            tasks_expired: 0,
            artifacts_noted: None,
            disk: DiskGauge::default(),
            expected_types: setup.expected_types.iter().cloned().collect(),
            types_at: now,
            disk_keeper: None,
            is_stalled: false,
            may_place: true,
            tick_again_at: None,
            unread: BTreeSet::new(),
            read_again_at: None,
            rescan_at: None,
            now,
        };
        if engine.commits == 0 {
            let meta = Record::Meta(engine.board.meta());
            engine.group.records.insert(RecordKey::Meta, meta);
        }
        engine.make_default_team(now);
        engine.expect_types(now);
        engine.commit(now)?;
        Ok(engine)
    }

    /// A team that is used where none is named always exists (T1).
    fn make_default_team(&mut self, now: Time) {
        if self
            .board
            .team_named(DEFAULT_TEAM)
            .is_some_and(|team| team.is_open())
        {
            return;
        }
        let name = |text| TeamName::parse(text).expect("a name by itself");
        let wish = CreateTeam {
            weight: None,
            max_running: 0,
            name: name(DEFAULT_TEAM),
            description: "The team that is used where none is named.".into(),
            lead: MemberName::parse(DEFAULT_LEAD).expect("a name by itself"),
            lead_role: "".into(),
            members: Vec::new(),
            verification_threshold: None,
            idle_notices: false,
        };
        let call = Call {
            caller: Caller::default(),
            request: None,
            wish: Wish::CreateTeam(wish),
        };
        if let Ok(decision) = decide::decide(&self.board, &call, now) {
            self.take_in(decision, now);
        }
    }

    /// Knows the expected types, and forgets what time has made unknown since the last run.
    fn expect_types(&mut self, now: Time) {
        let types = self.expected_types.iter().map(|name| OfferedType {
            is_interactive: false,
            hiring_depth: 0,
            tasks_max: board::limits::ATTEMPT_TASKS,
            may_create_teams: false,
            prompt_is_script: false,
            name: name.clone(),
            description: "".into(),
            runtime: "".into(),
            digest: "".into(),
            last_seen: None,
        });
        self.decide_fleet(&FleetCommand::OfferTypes(types.collect()), now)
            .ok();
        self.see_to_types(now);
    }
}
