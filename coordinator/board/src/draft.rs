//! A decision in the making: the board plus a copy-on-write overlay of the records it touched.
//!
//! Reads see the overlay first, so that a later item of a batch sees the earlier ones. A refusal
//! drops the draft; nothing needs to be undone.

mod joining;
mod mail;
mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    board::{Board, Card, holds_back, is_any},
    command::{Answer, Effect},
    decision::Decision,
    event::{Actor, Event, Happening},
    id::{
        AgentTypeName, Fence, MemberKey, MemberName, MessageId, Revision, TaskId, TaskKey,
        TeamName, TeamUid,
    },
    ids::IdSet,
    limits,
    mail::Letter,
    record::{Meta, OfferedType, Outcome, Record},
    refusal::{Obstacle, Refusal},
    task::{BlockerFailedPolicy, Status, Task},
    team::{Member, Team},
    time::Time,
};

pub(crate) use mail::Room;

pub(crate) struct Draft<'b> {
    pub(crate) board: &'b Board,
    pub(crate) now: Time,
    meta: Option<Meta>,
    teams: BTreeMap<TeamUid, Team>,
    members: BTreeMap<(TeamUid, MemberName), Member>,
    tasks: BTreeMap<TaskKey, Task>,
    /// The other direction of the edges that this draft changed.
    dependants: BTreeMap<TaskKey, Vec<TaskId>>,
    /// The tasks that this draft makes, by what they are part of, and by what they join.
    new_children: BTreeMap<TaskKey, Vec<TaskId>>,
    new_joins: BTreeMap<TaskKey, Vec<TaskId>>,
    offered: BTreeMap<AgentTypeName, OfferedType>,
    offered_gone: BTreeSet<AgentTypeName>,
    tasks_gone: BTreeSet<TaskKey>,
    team_gone: Option<TeamUid>,
    letters: BTreeMap<(TeamUid, MessageId), Arc<Letter>>,
    posts: BTreeSet<(MemberKey, MessageId)>,
    letters_gone: BTreeSet<(TeamUid, MessageId)>,
    posts_gone: BTreeSet<(MemberKey, MessageId)>,
    /// How many copies of a message this draft takes away that it did not file.
    copies_gone: BTreeMap<(TeamUid, MessageId), usize>,
    rooms: BTreeMap<MemberKey, Room>,
    /// Bytes of the coordinator's own messages.
    notices_len: usize,
    /// What its tasks weigh, each as it was when it was first touched.
    bytes: usize,
    events: Vec<Event>,
    effects: Vec<Effect>,
    /// Because of which message all of this is done.
    pub(crate) cause_message: Option<MessageId>,
    /// Because of which task, where no event says another.
    pub(crate) cause_task: Option<TaskId>,
    /// On whose behalf.
    pub(crate) on_behalf_of: Option<MemberName>,
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
            new_children: BTreeMap::new(),
            new_joins: BTreeMap::new(),
            offered: BTreeMap::new(),
            offered_gone: BTreeSet::new(),
            tasks_gone: BTreeSet::new(),
            team_gone: None,
            letters: BTreeMap::new(),
            posts: BTreeSet::new(),
            letters_gone: BTreeSet::new(),
            posts_gone: BTreeSet::new(),
            copies_gone: BTreeMap::new(),
            rooms: BTreeMap::new(),
            notices_len: 0,
            bytes: 0,
            events: Vec::new(),
            effects: Vec::new(),
            cause_message: None,
            cause_task: None,
            on_behalf_of: None,
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
        let offered_gone = self.offered_gone.into_iter().map(Record::OfferedGone);
        let letters = self.letters.into_iter();
        let letters = letters.map(|((team, _), letter)| Record::Letter(team, letter));
        let posts = self.posts.into_iter();
        let posts = posts.map(|((team, member), id)| Record::Post(team, member, id));
        let posts_gone = self.posts_gone.into_iter();
        let posts_gone = posts_gone.map(|((team, member), id)| Record::PostGone(team, member, id));
        let letters_gone = self.letters_gone.into_iter();
        let letters_gone = letters_gone.map(|(team, id)| Record::LetterGone(team, id));
        let tasks_gone = self.tasks_gone.into_iter();
        let tasks_gone = tasks_gone.map(|(team, id)| Record::TaskGone(team, id));
        Decision {
            // Teams come before what is theirs, messages before their copies, and what goes last
            // of all: so they are installed.
            records: meta
                .into_iter()
                .chain(teams)
                .chain(members)
                .chain(tasks)
                .chain(offered)
                .chain(offered_gone)
                .chain(letters)
                .chain(posts)
                .chain(posts_gone)
                .chain(letters_gone)
                .chain(tasks_gone)
                .chain(self.team_gone.map(Record::TeamGone))
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

    /// About how many bytes of tasks it would write.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it has become as much as one step of many may write.
    pub(crate) fn is_full(&self) -> bool {
        self.records() >= limits::STEP_MAX || self.bytes >= limits::BYTES_PER_COMMAND_MAX
    }

    /// About how many records it would write.
    pub(crate) fn records(&self) -> usize {
        let mail = self.letters.len() + self.posts.len();
        let gone = self.letters_gone.len() + self.posts_gone.len() + self.tasks_gone.len();
        self.tasks.len() + self.members.len() + mail + gone
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
        let mut previous = Revision(0);
        if let Some(key) = what.task().map(|id| (team, id)) {
            if let Some(task) = self.tasks.get_mut(&key) {
                previous = std::mem::replace(&mut task.revision, revision);
            } else if let Some(card) = self.board.card(key) {
                previous = card.revision();
            }
        }
        self.events.push(Event {
            team,
            revision,
            at: self.now,
            actor: actor.clone(),
            on_behalf_of: self.on_behalf_of.clone(),
            cause: cause.or(self.cause_task),
            cause_message: self.cause_message,
            previous,
            what,
        });
    }

    pub(crate) fn meta_mut(&mut self) -> &mut Meta {
        self.meta.get_or_insert(self.board.meta)
    }

    pub(crate) fn put_team(&mut self, team: Team) {
        self.teams.insert(team.uid, team);
    }

    /// The last team of a name, be it open or not.
    pub(crate) fn team_uid(&self, name: &TeamName) -> Result<TeamUid, Refusal> {
        self.board
            .last_named(name)
            .ok_or_else(|| Refusal::TeamUnknown {
                team: name.to_string(),
            })
    }

    pub(crate) fn remove_team(&mut self, team: TeamUid) {
        self.team_gone = Some(team);
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

    /// Forgets an agent type that was not offered for long.
    pub(crate) fn forget_offered(&mut self, name: AgentTypeName) {
        self.offered_gone.insert(name);
    }

    pub(crate) fn task_unknown(&self, (team, task): TaskKey) -> Refusal {
        self.team(team).task_unknown(task)
    }

    /// Takes a finished task off the board because its time is over (K15), and says so in the
    /// team's history. What is finished, too, and waited for it keeps its edge.
    pub(crate) fn expire(&mut self, (team, task): TaskKey) {
        let expired = Happening::TaskExpired { task };
        self.happened(team, &Actor::Coordinator, None, expired);
        self.tasks_gone.insert((team, task));
        let head = self.team_mut(team);
        head.expired_through = head.expired_through.max(task);
    }

    /// Whether it lets any task go for that.
    pub(crate) fn has_expired(&self) -> bool {
        let head = |key: &TaskKey| self.teams.get(&key.0);
        let mut gone = self.tasks_gone.iter();
        gone.any(|key| head(key).is_some_and(|head| key.1 <= head.expired_through))
    }

    /// Takes a task off the board. Its edges are the caller's to remove first.
    pub(crate) fn remove_task(&mut self, key: TaskKey) {
        self.tasks.remove(&key);
        self.tasks_gone.insert(key);
    }

    pub(crate) fn status(&self, key: TaskKey) -> Option<Status> {
        if self.tasks_gone.contains(&key) {
            return None;
        }
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

    /// The task whose children an open task waits for.
    pub(crate) fn joined(&self, key: TaskKey) -> Option<TaskId> {
        let task = match self.tasks.get(&key) {
            Some(task) => Some(task),
            None => self.board.whole(key).map(Arc::as_ref),
        };
        task.filter(|task| task.end().is_none())?.terms().joins
    }

    /// A task, whole.
    pub(crate) fn task(&self, key: TaskKey) -> Result<&Task, Obstacle> {
        if let Some(task) = self.tasks.get(&key) {
            return Ok(task);
        }
        match self
            .board
            .card(key)
            .filter(|_| !self.tasks_gone.contains(&key))
        {
            Some(Card::Whole(task)) => Ok(task),
            Some(Card::Outline(_)) => Err(Obstacle::Absent(key)),
            None => Err(self.task_unknown(key).into()),
        }
    }

    /// A task as this draft changed it, if it did.
    pub(crate) fn drafted(&self, key: TaskKey) -> Option<&Task> {
        self.tasks.get(&key)
    }

    pub(crate) fn task_mut(&mut self, key: TaskKey) -> Result<&mut Task, Obstacle> {
        if !self.tasks.contains_key(&key) {
            let task = self.task(key)?.clone();
            self.put_task(key.0, task);
        }
        Ok(self
            .tasks
            .get_mut(&key)
            .expect("it was put in a moment ago"))
    }

    pub(crate) fn put_task(&mut self, team: TeamUid, task: Task) {
        self.bytes += weight(&task);
        self.tasks.insert((team, task.id), task);
    }

    /// The task that a task is part of.
    pub(crate) fn parent(&self, key: TaskKey) -> Option<TaskId> {
        match self.tasks.get(&key) {
            Some(task) => task.parent,
            None => self.board.card(key)?.parent(),
        }
    }

    /// Whether a task is this one, or part of it at any depth.
    pub(crate) fn is_below(&self, (team, task): TaskKey, root: TaskId) -> bool {
        let mut at = Some(task);
        while let Some(id) = at {
            if id <= root {
                return id == root;
            }
            // Parents come before their children.
            at = self.parent((team, id));
        }
        false
    }

    /// Whether a task's sub-agent sees the board of whoever hired it.
    pub(crate) fn shares_todos(&self, key: TaskKey) -> bool {
        match self.tasks.get(&key) {
            Some(task) => task.share_todos,
            None => self.board.card(key).is_some_and(Card::shares_todos),
        }
    }

    /// The tasks that are part of this one, as far as they were on the board before this draft.
    pub(crate) fn children(&self, (team, task): TaskKey) -> Vec<TaskId> {
        let board = self.board.teams.get(&team);
        let children = board.and_then(|board| board.index.children.get(&task));
        let children = children.into_iter().flat_map(IdSet::iter);
        children
            .filter(|id| !self.tasks_gone.contains(&(team, *id)))
            .collect()
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

    /// The blockers that hold a task back, and the first of the children that do where it joins
    /// some.
    pub(crate) fn open_blockers(&self, team: TeamUid, task: &Task) -> Vec<TaskId> {
        let policy = task.blocker_failed_policy;
        let is_open = |id: &TaskId| self.holds_back((team, *id), policy);
        let blockers = task.blocked_by.iter().copied().filter(is_open);
        let children = self.holding_children(team, task);
        let children = children
            .into_iter()
            .filter(|id| !task.blocked_by.contains(id));
        blockers.chain(children).collect()
    }

    /// Whether any blocker holds a task back.
    pub(crate) fn is_blocked(&self, team: TeamUid, task: &Task) -> bool {
        let policy = task.blocker_failed_policy;
        is_any(&task.blocked_by, |id| self.holds_back((team, id), policy))
            || self.is_held_by_children(team, task)
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

/// The bytes of a task's long texts.
fn weight(task: &Task) -> usize {
    let texts = [&task.description, &task.prompt, &task.result, &task.error];
    let metadata = task.metadata.iter().flat_map(|(key, value)| [key, value]);
    let all = texts.into_iter().chain(metadata);
    all.map(|text| text.len()).sum()
}
