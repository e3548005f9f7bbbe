//! A decision in the making: the board plus a copy-on-write overlay of the records it touched.
//!
//! Reads see the overlay first, so that a later item of a batch sees the earlier ones. A refusal
//! drops the draft; nothing needs to be undone.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    board::{Board, Card, holds_back, is_any},
    command::{Answer, Effect},
    decision::Decision,
    event::{Actor, Event, Happening},
    id::{AgentTypeName, Fence, MemberName, TaskId, TaskKey, TeamName, TeamUid},
    record::{Meta, OfferedType, Outcome, Record},
    refusal::{Obstacle, Refusal},
    task::{BlockerFailedPolicy, Status, Task},
    team::{Member, Team},
    time::Time,
};

pub(crate) struct Draft<'b> {
    pub(crate) board: &'b Board,
    pub(crate) now: Time,
    meta: Option<Meta>,
    teams: BTreeMap<TeamUid, Team>,
    members: BTreeMap<(TeamUid, MemberName), Member>,
    tasks: BTreeMap<TaskKey, Task>,
    /// The other direction of the edges that this draft changed.
    dependants: BTreeMap<TaskKey, Vec<TaskId>>,
    offered: BTreeMap<AgentTypeName, OfferedType>,
    events: Vec<Event>,
    effects: Vec<Effect>,
}

impl<'b> Draft<'b> {
    pub(crate) fn new(board: &'b Board, now: Time) -> Self {
        Self {
            board,
            now,
            meta: None,
            teams: BTreeMap::new(),
            members: BTreeMap::new(),
            tasks: BTreeMap::new(),
            dependants: BTreeMap::new(),
            offered: BTreeMap::new(),
            events: Vec::new(),
            effects: Vec::new(),
        }
    }

    pub(crate) fn finish(self, answer: Answer, outcome: Option<Outcome>) -> Decision {
        let board = self.board;
        let meta = self.meta.map(Record::Meta);
        let teams = self.teams.into_values().map(Record::Team);
        let members = self
            .members
            .into_iter()
            .map(|((team, _), member)| Record::Member(team, member));
        let tasks = self
            .tasks
            .into_iter()
            // What was only looked at closely, and came out the same, is not worth a write.
            .filter(|(key, task)| board.whole(*key).is_none_or(|before| **before != *task))
            .map(|((team, _), task)| Record::Task(team, Arc::new(task)));
        let offered = self.offered.into_values().map(Record::Offered);
        Decision {
            // Teams come before what is theirs: so they are installed.
            records: meta
                .into_iter()
                .chain(teams)
                .chain(members)
                .chain(tasks)
                .chain(offered)
                .collect(),
            events: self.events,
            outcome,
            effects: self.effects,
            answer,
        }
    }

    /// How many tasks it has touched.
    pub(crate) fn touched(&self) -> usize {
        self.tasks.len()
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Records that something happened: the team's next revision, and that of the task.
    pub(crate) fn happened(
        &mut self,
        team: TeamUid,
        actor: &Actor,
        cause: Option<TaskId>,
        what: Happening,
    ) {
        let head = self.team_mut(team);
        head.revision = head.revision.next();
        let revision = head.revision;
        if let Some(task) = what.task().and_then(|id| self.tasks.get_mut(&(team, id))) {
            task.revision = revision;
        }
        self.events.push(Event {
            team,
            revision,
            at: self.now,
            actor: actor.clone(),
            cause,
            what,
        });
    }

    pub(crate) fn meta_mut(&mut self) -> &mut Meta {
        self.meta.get_or_insert(self.board.meta)
    }

    pub(crate) fn put_team(&mut self, team: Team) {
        self.teams.insert(team.uid, team);
    }

    pub(crate) fn team_uid(&self, name: &TeamName) -> Result<TeamUid, Refusal> {
        self.board
            .names
            .get(name)
            .copied()
            .ok_or_else(|| Refusal::TeamUnknown {
                team: name.to_string(),
            })
    }

    pub(crate) fn team(&self, uid: TeamUid) -> &Team {
        self.teams
            .get(&uid)
            .or_else(|| self.board.team(uid))
            .expect("a uid is only used when its team was found")
    }

    pub(crate) fn team_mut(&mut self, uid: TeamUid) -> &mut Team {
        let board = self.board;
        self.teams.entry(uid).or_insert_with(|| {
            board
                .team(uid)
                .expect("a uid is only used when its team was found")
                .clone()
        })
    }

    /// A member, also one that has left.
    pub(crate) fn ever_member(&self, team: TeamUid, name: &MemberName) -> Option<&Member> {
        self.members
            .get(&(team, name.clone()))
            .or_else(|| self.board.teams.get(&team)?.members.get(name))
    }

    pub(crate) fn member(&self, team: TeamUid, name: &MemberName) -> Result<&Member, Refusal> {
        self.ever_member(team, name)
            .filter(|member| member.is_present())
            .ok_or_else(|| Refusal::MemberUnknown {
                member: name.clone(),
                team: self.team(team).name.clone(),
            })
    }

    pub(crate) fn put_member(&mut self, team: TeamUid, member: Member) {
        self.members.insert((team, member.name.clone()), member);
    }

    pub(crate) fn put_offered(&mut self, offered: OfferedType) {
        self.offered.insert(offered.name.clone(), offered);
    }

    pub(crate) fn task_unknown(&self, (team, task): TaskKey) -> Refusal {
        Refusal::TaskUnknown {
            task,
            team: self.team(team).name.clone(),
        }
    }

    pub(crate) fn status(&self, key: TaskKey) -> Option<Status> {
        match self.tasks.get(&key) {
            Some(task) => Some(task.status()),
            None => self.board.card(key).map(Card::status),
        }
    }

    pub(crate) fn blocked_by(&self, key: TaskKey) -> &[TaskId] {
        match self.tasks.get(&key) {
            Some(task) => &task.blocked_by,
            None => self.board.card(key).map_or(&[], Card::blocked_by),
        }
    }

    /// A task, whole.
    pub(crate) fn task(&self, key: TaskKey) -> Result<&Task, Obstacle> {
        if let Some(task) = self.tasks.get(&key) {
            return Ok(task);
        }
        match self.board.card(key) {
            Some(Card::Whole(task)) => Ok(task),
            Some(Card::Outline(_)) => Err(Obstacle::Absent(key)),
            None => Err(self.task_unknown(key).into()),
        }
    }

    pub(crate) fn task_mut(&mut self, key: TaskKey) -> Result<&mut Task, Obstacle> {
        if !self.tasks.contains_key(&key) {
            let task = self.task(key)?.clone();
            self.tasks.insert(key, task);
        }
        Ok(self
            .tasks
            .get_mut(&key)
            .expect("it was put in a moment ago"))
    }

    pub(crate) fn put_task(&mut self, team: TeamUid, task: Task) {
        self.tasks.insert((team, task.id), task);
    }

    /// The tasks that wait for this one.
    pub(crate) fn dependants(&self, key: TaskKey) -> &[TaskId] {
        match self.dependants.get(&key) {
            Some(list) => list,
            None => self.board_dependants(key),
        }
    }

    fn board_dependants(&self, (team, task): TaskKey) -> &'b [TaskId] {
        self.board
            .teams
            .get(&team)
            .map_or(&[], |board| board.index.dependants(task))
    }

    /// Notes on the blocker's side that an edge came or went. The dependant's own list is changed
    /// by the caller.
    pub(crate) fn note_edge(
        &mut self,
        team: TeamUid,
        blocker: TaskId,
        task: TaskId,
        is_there: bool,
    ) {
        let key = (team, blocker);
        if !self.dependants.contains_key(&key) {
            let list = self.board_dependants(key).to_vec();
            self.dependants.insert(key, list);
        }
        let list = self
            .dependants
            .get_mut(&key)
            .expect("it was put in a moment ago");
        match (list.binary_search(&task), is_there) {
            (Err(place), true) => list.insert(place, task),
            (Ok(place), false) => {
                list.remove(place);
            }
            _ => {}
        }
    }

    /// The blockers that hold a task back.
    pub(crate) fn open_blockers(&self, team: TeamUid, task: &Task) -> Vec<TaskId> {
        let policy = task.blocker_failed_policy;
        let is_open = |id: &TaskId| self.holds_back((team, *id), policy);
        task.blocked_by.iter().copied().filter(is_open).collect()
    }

    /// Whether any blocker holds a task back.
    pub(crate) fn is_blocked(&self, team: TeamUid, task: &Task) -> bool {
        let policy = task.blocker_failed_policy;
        is_any(&task.blocked_by, |id| self.holds_back((team, id), policy))
    }

    fn holds_back(&self, blocker: TaskKey, policy: BlockerFailedPolicy) -> bool {
        match self.tasks.get(&blocker) {
            Some(task) => holds_back(task.status(), task.is_cascade_due(), policy),
            None => self
                .board
                .card(blocker)
                .is_none_or(|card| card.holds_back(policy)),
        }
    }

    pub(crate) fn fence(&self, (team, task): TaskKey, attempt: crate::id::AttemptNumber) -> Fence {
        Fence {
            epoch: self.board.meta.epoch,
            team,
            task,
            attempt,
        }
    }
}
